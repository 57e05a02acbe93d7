"""Equality of structures within a campaign: candidates and entries of known sets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pymatgen.core import Molecule, Structure

from logan_campaign.core.documents import (
    CandidateState,
    Geometry,
    StructureEntry,
    TargetKind,
    Verdict,
    marks,
)
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.geometry.molecular_crystals import whole_molecules
from logan_campaign.geometry.molecules import conformer_rmsd, has_no_graph, perceive
from logan_campaign.geometry.neighbours import BOND_FACTOR
from logan_campaign.geometry.structures import (
    formula,
    spacegroup_symbol,
    structure_id,
    to_atoms,
)
from logan_campaign.matching.arrangements import arrangement_rmsd
from logan_campaign.matching.crystals import CrystalMatcher, KnownCrystals
from logan_campaign.matching.placements import placement_rmsd
from logan_campaign.matching.spec import MatchingSpec, Tolerance
from logan_campaign.relaxation.geometry import FAR_FACTOR, fragments


class KnownSet(NamedTuple):
    """A set of structures to compare candidates with."""

    id: str
    role: Literal["training", "known", "found"]
    """Training set, set of unseen targets, or structures found by earlier rounds (labelled by
    candidate)."""
    entries: Sequence[StructureEntry]


#: Normalised rms distance (None for molecules) and distance in Å.
Apart = tuple[float | None, float]


class Known(NamedTuple):
    """The known entry that a candidate equals."""

    known_set: KnownSet
    entry: StructureEntry
    distance: Apart | None
    """None for molecules if conformers are not told apart."""


@dataclass
class Item:
    """One structure under comparison, at its place in the order of candidates."""

    candidate_id: str
    structure: Geometry
    energy_ev: float | None = None  # also None if it is not comparable
    smiles: str | None = None
    spacegroup: str | None = None
    molecules: str | None = None
    key: str | None = None
    reason: str = ""
    compared: dict[str, int] | None = None

    def verdict(
        self,
        state: CandidateState,
        reason: str = "",
        known: Known | None = None,
        match: str | None = None,
        distance: Apart | None = None,
    ) -> Verdict:
        distance = known.distance if known else distance
        return Verdict(
            candidate_id=self.candidate_id,
            state=state,
            reason=reason,
            match=known.entry.id if known else match,
            match_label=known.entry.label if known else None,
            match_set=known.known_set.id if known else None,
            rms=distance[0] if distance else None,
            rms_angstrom=distance[1] if distance else None,
            smiles=self.smiles,
            spacegroup=self.spacegroup,
            molecules=self.molecules,
            compared=self.compared,
        )


class Identity:
    """Equality of structures of one kind."""

    def __init__(self, known: Sequence[KnownSet], matching: MatchingSpec, kind: TargetKind) -> None:
        # Structures found before come first: matches are copies. Then targets: an entry that is
        # both a target and in the training set counts as a target.
        order = ("found", "known", "training")
        self._known = sorted(known, key=lambda known_set: order.index(known_set.role))
        self._matching = matching
        self.kind = kind
        self._matchers: dict[Tolerance, CrystalMatcher] = {}
        self._reductions = CrystalMatcher()
        self._crystals = [
            (known_set, KnownCrystals(known_set.entries)) for known_set in self._known
        ]
        self._by_key: dict[str, dict[str, list[Known]]] = {}
        self._compositions = {
            known_set.role: Counter(
                _composition(entry.formula, kind)
                for other in self._known
                if other.role == known_set.role
                for entry in other.entries
            )
            for known_set in self._known
        }

    def describe(self, item: Item) -> None:
        """Fill in SMILES and key, or the space group, and how many entries may be equal."""
        composition = _composition(formula(item.structure), self.kind)
        item.compared = {role: names[composition] for role, names in self._compositions.items()}
        if isinstance(item.structure, Structure):
            item.spacegroup = spacegroup_symbol(item.structure)
            found_in = whole_molecules(item.structure)
            item.molecules = ", ".join(f"{n} {name}" for name, n in found_in.items()) or None
        if _by_geometry(item.structure):
            item.key, item.reason = _arrangement(item.structure)
        elif self.kind == "molecule":
            found = perceive(item.structure, self._matching.identity)
            item.smiles, item.key, item.reason = found

    def known(self, item: Item, tolerance: Tolerance) -> Known | None:
        """Return the known entry that ``item`` equals; the nearest, then a target."""
        if self.kind == "molecule" or _by_geometry(item.structure):
            return self._known_molecule(item)
        best: Known | None = None
        nearest = math.inf
        for known_set, crystals in self._crystals:
            if best is not None and best.known_set.role == "found":
                break
            match = self._matcher(tolerance).match(_crystal(item.structure), crystals)
            if match is None:
                continue
            if match.rms < nearest:
                best, nearest = (
                    Known(known_set, match.entry, (match.rms, match.rms_angstrom)),
                    match.rms,
                )
        return best

    def groups(self, items: Sequence[Item], tolerance: Tolerance) -> list[list[int]]:
        """Group equal items: lists of indices."""
        if self.kind == "crystal" and not (items and _by_geometry(items[0].structure)):
            return self._matcher(tolerance).group([_crystal(item.structure) for item in items])
        groups: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            # A molecule without a graph equals only itself.
            name = f"key {item.key}" if item.key is not None else f"item {index}"
            groups.setdefault(name, []).append(index)
        return [part for members in groups.values() for part in self._conformers(items, members)]

    def _conformers(self, items: Sequence[Item], members: Sequence[int]) -> list[list[int]]:
        """Split molecules of one graph into conformers, with leaders in order of content hash.

        Without a graph, the molecules of one composition and state are split.
        """
        if self._limit(items[members[0]].structure) is None:
            return [list(members)]
        groups: list[list[int]] = []
        for index in sorted(members, key=lambda i: (structure_id(items[i].structure), i)):
            for group in groups:
                if self._same_conformer(items[group[0]].structure, items[index].structure):
                    group.append(index)
                    break
            else:
                groups.append([index])
        return groups

    def _same_conformer(self, first: Geometry, second: Geometry) -> bool:
        limit, apart = self._limit(first), self._apart(first, second)
        return limit is not None and apart is not None and apart <= limit

    def _limit(self, molecule: Geometry) -> float | None:
        """Return the RMSD (Å) within which geometries are equal; None: it does not count."""
        if _by_geometry(molecule):
            return self._matching.rmsd
        return self._matching.conformer_rmsd

    def _apart(self, first: Geometry, second: Geometry) -> float | None:
        """Return the RMSD (Å) of two molecules; None if they differ in more than geometry."""
        if isinstance(first, Structure):
            return placement_rmsd(first, _crystal(second))
        if not has_no_graph(first):
            return conformer_rmsd(first, second)
        assert isinstance(second, Molecule)
        return arrangement_rmsd(first, second, self._matching.rmsd)

    def distance(self, first: Item, second: Item, tolerance: Tolerance) -> Apart | None:
        """Return the rms distance of two comparable items, None if they differ."""
        if self.kind == "molecule" or _by_geometry(first.structure):
            if self._limit(first.structure) is None:
                return None
            apart = self._apart(first.structure, second.structure)
            return None if apart is None else (None, apart)
        one, two = _crystal(first.structure), _crystal(second.structure)
        return self._matcher(tolerance).distance(one, two)

    def _matcher(self, tolerance: Tolerance) -> CrystalMatcher:
        if tolerance not in self._matchers:
            self._matchers[tolerance] = CrystalMatcher(
                tolerance, share=self._reductions, mode=self._matching.mode
            )
        return self._matchers[tolerance]

    def _known_molecule(self, item: Item) -> Known | None:
        """Return the known molecule that an item equals; the nearest conformer if they count."""
        if item.key is None:
            return None
        limit = self._limit(item.structure)
        if _by_geometry(item.structure):
            found = self._without_graph(item)
        else:
            found = self._index(formula(item.structure)).get(item.key, [])
        if limit is None:
            return found[0] if found else None
        best: Known | None = None
        nearest = limit
        for known in found:
            apart = self._apart(item.structure, known.entry.structure)
            if apart is not None and (apart < nearest or (best is None and apart <= nearest)):
                best, nearest = known._replace(distance=(None, apart)), apart
        return best

    def _without_graph(self, item: Item) -> list[Known]:
        """Return the entries that may equal an item without a graph.

        Sources state neither charge nor spin. Earlier results do, and have to agree.
        """
        composition = formula(item.structure)
        return [
            Known(known_set, entry, None)
            for known_set in self._known
            for entry in known_set.entries
            if entry.formula == composition
            and isinstance(entry.structure, Molecule) == (self.kind == "molecule")
            and (
                known_set.role != "found"
                or self.kind == "crystal"
                or _arrangement(entry.structure)[0] == item.key
            )
        ]

    def _index(self, composition: str) -> dict[str, list[Known]]:
        """Return the known molecules of a composition by key; targets before training sets.

        Keys are perceived from geometries, like those of candidates.
        """
        if composition not in self._by_key:
            by_key = self._by_key.setdefault(composition, {})
            for known_set in self._known:
                for entry in known_set.entries:
                    if entry.formula != composition:
                        continue
                    key = perceive(entry.structure, self._matching.identity).key
                    if key is not None:
                        by_key.setdefault(key, []).append(Known(known_set, entry, None))
        return self._by_key[composition]


def _composition(hill: str, kind: TargetKind) -> str:
    """Return a key that equal structures share, whatever the size of their cells."""
    return hill if kind == "molecule" else reduced_formula(hill)


def _arrangement(molecule: Geometry) -> tuple[str | None, str]:
    """Return what structures equal by geometry share, or None and why a molecule is in pieces."""
    if isinstance(molecule, Structure):
        return formula(molecule), ""
    atoms = to_atoms(molecule)
    parts = fragments(atoms, FAR_FACTOR if "cluster" in atoms.info else BOND_FACTOR)
    if len(parts) > 1:
        return None, f"in {len(parts)} fragments ({' + '.join(parts)})"
    charge, spin = atoms.info.get("charge", 0), atoms.info.get("spin", 1)
    return f"{formula(atoms)} {charge:+d} {spin}", ""


def _by_geometry(structure: Geometry) -> bool:
    """Return whether geometry decides: no molecular graph, or a crystal with given atoms."""
    placed = isinstance(structure, Structure) and "fixed" in marks(structure)
    return placed or has_no_graph(structure)


def _crystal(structure: Geometry) -> Structure:
    if not isinstance(structure, Structure):
        raise ValueError("a crystal is needed to match crystals")
    return structure
