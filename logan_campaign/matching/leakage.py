"""Whether targets stand in a training set, exactly or nearly.

A model that was trained on its target shows nothing by finding it again. Crystals are
compared at pymatgen's default tolerances and at stricter and looser ones; molecules have
a graph or not, so a match holds at all tolerances and has no distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from pymatgen.core import Structure

from logan_campaign.core import progress
from logan_campaign.core.documents import KnownLeak, MoleculeIdentity, StructureEntry, TargetLeaks
from logan_campaign.geometry.molecules import perceive
from logan_campaign.matching.arrangements import arrangement_rmsd
from logan_campaign.matching.crystals import CrystalMatcher
from logan_campaign.matching.spec import Tolerance

#: From the tightest to the loosest.
TOLERANCES: tuple[Tolerance, ...] = get_args(Tolerance)


def find_leaks(
    targets: Sequence[StructureEntry],
    training: Sequence[StructureEntry],
    identity: MoleculeIdentity = "smiles",
    rmsd: float = 0.25,
) -> list[TargetLeaks]:
    """Return, for every target, the training entries that match it.

    Args:
        targets: what is to be found.
        training: what models train on.
        identity: what tells molecules apart.
        rmsd: distance (Å) within which clusters and other molecules without a graph are equal.

    Returns:
        One item per target; its matches are one per training entry and tolerance, tightest
        tolerance first and nearest entry first within it.
    """
    matchers: list[CrystalMatcher] = []
    for tolerance in TOLERANCES:
        # the reduction of a structure is the same at all tolerances
        matchers.append(CrystalMatcher(tolerance, share=matchers[0] if matchers else None))
    keys: dict[str, str | None] = {}
    found = []
    for done, target in enumerate(targets):
        progress.report("compare", done, len(targets), target.label)
        if isinstance(target.structure, Structure):
            matches = _crystal_matches(target.structure, training, matchers)
        else:
            matches = _molecule_matches(target, training, identity, rmsd, keys)
        found.append(
            TargetLeaks(
                target=target.label, target_id=target.id, formula=target.formula, matches=matches
            )
        )
    progress.report("compare", len(targets), len(targets))
    return found


def _crystal_matches(
    target: Structure, training: Sequence[StructureEntry], matchers: Sequence[CrystalMatcher]
) -> list[KnownLeak]:
    # What no loose tolerance matches, no stricter one does: looked at loosest first.
    left = training
    by_tolerance = []
    for matcher in reversed(matchers):
        matches = matcher.matches(target, left)
        left = [match.entry for match in matches]
        by_tolerance.append((matcher.tolerance, matches))
    return [
        KnownLeak(
            entry=match.entry.label,
            entry_id=match.entry.id,
            tolerance=tolerance,
            rms_normalised=match.rms,
        )
        for tolerance, matches in reversed(by_tolerance)
        for match in matches
    ]


def _molecule_matches(
    target: StructureEntry,
    training: Sequence[StructureEntry],
    identity: MoleculeIdentity,
    rmsd: float,
    keys: dict[str, str | None],
) -> list[KnownLeak]:
    def key(entry: StructureEntry) -> str | None:
        if entry.id not in keys:
            keys[entry.id] = perceive(entry.structure, identity).key
        return keys[entry.id]

    def equal(entry: StructureEntry) -> bool:
        if key(target) is None:
            return arrangement_rmsd(entry.structure, target.structure, rmsd) is not None
        return key(entry) == key(target)

    same = [
        entry
        for entry in training
        if not isinstance(entry.structure, Structure)
        and entry.formula == target.formula
        and equal(entry)
    ]
    return [
        KnownLeak(entry=entry.label, entry_id=entry.id, tolerance=tolerance, rms_normalised=None)
        for tolerance in TOLERANCES
        for entry in same
    ]
