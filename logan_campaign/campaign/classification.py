"""Classify candidates: implausible, duplicate, known or new.

Three pure functions: before any relaxation, between two levels, and after the last level.
Molecules are equal if their molecular graphs are, crystals if StructureMatcher says so.

Three rules apply throughout. A raw or partly relaxed candidate is never dropped for matching
a *target* (a ``known`` entry): the last level decides that. A candidate that equals a
*training* entry is not relaxed further: it is ``rediscovered``, or a ``duplicate`` of the
candidate that is. Of equal candidates the one with the lowest energy is kept; of equal
energies, the earliest.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from scipy.stats import median_abs_deviation

from logan_campaign.campaign.identity import Identity, Item, Known, KnownSet
from logan_campaign.core.documents import (
    Candidate,
    Geometry,
    RelaxationDoc,
    RelaxationState,
    StructureEntry,
    TargetKind,
    Verdict,
)
from logan_campaign.geometry.structures import formula, kind_of
from logan_campaign.matching.spec import MatchingSpec, Tolerance
from logan_campaign.selection.screening import ScreeningSpec, screen

__all__ = ["KnownSet", "MatchingSpec", "between_levels", "classify", "reserves", "screen_and_match"]

#: States of relaxations with a usable result.
DEFAULT_GOOD_STATES: frozenset[RelaxationState] = frozenset({"converged"})

#: With at least this many energies, one is an artefact of the potential if it is below the median
#: by more than this (eV/atom), and by more than this multiple of the scaled MAD of the others.
_FEWEST_FOR_HOLES = 5
_HOLE_EV_PER_ATOM = 2.0
_HOLE_SPREADS = 10.0

#: Only the flow knows how, which is another place.
NO_JOB = "relaxation job ended without a result; 'status' of the campaign says how"


def screen_and_match(
    candidates: Sequence[Candidate],
    known: Sequence[KnownSet],
    screening: ScreeningSpec,
    matching: MatchingSpec,
) -> list[Verdict]:
    """Judge raw candidates before any relaxation.

    - Implausible geometry is ``rejected`` with its reason.
    - With ``matching.before_relaxation``, the first candidate that equals a training entry
      has ``rediscovered`` it, and one that equals an earlier candidate is its ``duplicate``;
      crystals are compared at ``tolerance_before_relaxation``, molecules by the graph of the
      raw geometry.
    - Everything else is ``pending``, including molecules whose raw geometry has no graph and
      candidates that look like a target.

    Args:
        candidates: the picks, in order.
        known: training set and sets of targets.
        screening: limits of plausible geometry.
        matching: when structures are equal.

    Returns:
        One verdict per candidate, in order.
    """
    kind = _kind([candidate.goes_on for candidate in candidates])
    identity = Identity(known, matching, kind)
    tolerance = matching.tolerance_before_relaxation
    learned = screening.learn(
        entry.structure for s in known if s.role == "training" for entry in s.entries
    )
    verdicts: dict[str, Verdict] = {}
    plausible: list[Item] = []
    for candidate in candidates:
        item = Item(candidate.id, candidate.goes_on)
        reason = screen(candidate.goes_on, screening, kind == "crystal", learned)
        if reason is not None:
            verdicts[item.candidate_id] = item.verdict("rejected", reason)
            continue
        identity.describe(item)
        plausible.append(item)
    if matching.before_relaxation:
        _compare(plausible, identity, tolerance, verdicts)
    else:
        verdicts.update({item.candidate_id: item.verdict("pending") for item in plausible})
    return _in_order(verdicts, [candidate.id for candidate in candidates])


def between_levels(
    candidate_ids: Sequence[str],
    relaxations: Sequence[RelaxationDoc | None],
    known: Sequence[KnownSet],
    matching: MatchingSpec,
    good_states: Collection[RelaxationState] = DEFAULT_GOOD_STATES,
    window_ev_per_atom: float | None = None,
) -> list[Verdict]:
    """Judge candidates after one level of relaxation and before the next.

    - A candidate whose relaxation is missing or unusable is ``failed``.
    - A molecule without a graph (fragments, impossible valence) is ``failed``: dissociated.
    - One far below all others in energy is ``failed``: an artefact of the potential.
    - One whose energy is too far above the lowest is ``rejected``.
    - Of equal candidates the lowest in energy is kept, the others are its ``duplicate``.
    - A candidate nearer to a training entry than to any target has ``rediscovered`` that.
    - All others are ``pending``, including those that equal a target.

    Args:
        candidate_ids: the candidates.
        relaxations: one per candidate, in order; None if the job ended without a result.
        known: training set and sets of targets.
        matching: when structures are equal; crystals at ``tolerance``.
        good_states: relaxation states of candidates that continue.
        window_ev_per_atom: largest energy above the lowest of this level (eV/atom).

    Returns:
        One verdict per candidate, in order.
    """
    identity, items, verdicts = _relaxed(candidate_ids, relaxations, known, matching, good_states)
    if window_ev_per_atom is not None:
        items = _within(items, window_ev_per_atom, verdicts)
    _compare(items, identity, matching.tolerance, verdicts)
    return _in_order(verdicts, candidate_ids)


def classify(
    candidate_ids: Sequence[str],
    relaxations: Sequence[RelaxationDoc | None],
    known: Sequence[KnownSet],
    matching: MatchingSpec,
    good_states: Collection[RelaxationState] = DEFAULT_GOOD_STATES,
) -> list[Verdict]:
    """Judge candidates after the last level.

    - ``failed``: no usable result, a molecule without a graph (dissociated), or an energy far
      below all others (an artefact of the potential).
    - ``rediscovered``: equals a known entry, of the training set or of a set of targets;
      the nearest one is named, with rms distance for crystals.
    - ``new``: equals no known entry; if no known entry has its composition, the reason says so.
    - ``duplicate``: equals another candidate, which is named. Every known entry is
      rediscovered once, by the candidate of lowest energy; every new structure likewise.

    Arguments and order of results as in :func:`between_levels`.
    """
    tolerance = matching.tolerance
    identity, items, verdicts = _relaxed(candidate_ids, relaxations, known, matching, good_states)
    matches = [identity.known(item, tolerance) for item in items]

    by_entry: dict[tuple[str, str], list[int]] = {}
    for index, found in enumerate(matches):
        if found is not None:
            by_entry.setdefault((found.known_set.id, found.entry.id), []).append(index)
    representative: dict[int, int] = {}
    for members in by_entry.values():
        best = _lowest(items, members)
        representative.update(dict.fromkeys(members, best))

    # Matching is not transitive: a structure that matches no entry may still equal a
    # candidate that does; it is then a duplicate of that candidate, not a discovery.
    for members in identity.groups(items, tolerance):
        matched = [index for index in members if matches[index] is not None]
        best = representative[_lowest(items, matched)] if matched else _lowest(items, members)
        for index in members:
            representative.setdefault(index, best)

    for index, item in enumerate(items):
        found, best = matches[index], representative[index]
        if found is not None and found.known_set.role == "found":
            verdict = _found_before(item, found)
        elif best != index:
            verdict = _duplicate(identity, item, items[best], tolerance)
        elif found is not None:
            verdict = item.verdict("rediscovered", known=found)
        else:
            verdict = item.verdict("new", _unsupported(item))
        verdicts[item.candidate_id] = verdict
    return _in_order(verdicts, candidate_ids)


def judge_again(
    found: Sequence[StructureEntry], known: Sequence[KnownSet], matching: MatchingSpec
) -> list[Verdict]:
    """Judge structures that were called new by other known sets.

    Args:
        found: relaxed structures, labelled by candidate.
        known: training set and known sets as they are now.
        matching: when structures are equal; crystals at ``tolerance``.

    Returns:
        One verdict per structure, in order: ``new`` or ``rediscovered``.
    """
    identity = Identity(known, matching, _kind([entry.structure for entry in found]))
    verdicts = []
    for entry in found:
        item = Item(entry.label, entry.structure, entry.energy_ev)
        identity.describe(item)
        match = identity.known(item, matching.tolerance)
        verdict = (
            item.verdict("new", _unsupported(item))
            if match is None
            else item.verdict("rediscovered", known=match)
        )
        verdicts.append(verdict)
    return verdicts


def _compare(
    items: Sequence[Item], identity: Identity, tolerance: Tolerance, verdicts: dict[str, Verdict]
) -> None:
    """Add verdicts on plausible candidates before the last level.

    Candidates that equal a training entry or a structure of an earlier round are removed first:
    a candidate that equals one of them, but not the entry itself, may still be a target.
    """
    found = [identity.known(item, tolerance) for item in items]
    by_entry: dict[tuple[str, str], list[int]] = {}
    left: list[int] = []
    for index, known in enumerate(found):
        if known is not None and known.known_set.role != "known":
            by_entry.setdefault((known.known_set.id, known.entry.id), []).append(index)
        else:
            left.append(index)
    groups = [
        [left[place] for place in members]
        for members in identity.groups([items[index] for index in left], tolerance)
    ]
    for members in [*by_entry.values(), *groups]:
        best = _lowest(items, members)
        known = found[best]
        for index in members:
            item = items[index]
            if known is not None and known.known_set.role == "found":
                verdict = _found_before(item, known)
            elif index != best:
                verdict = _duplicate(identity, item, items[best], tolerance)
            elif known is not None and known.known_set.role == "training":
                verdict = item.verdict("rediscovered", known=known)
            else:
                verdict = item.verdict("pending")
            verdicts[item.candidate_id] = verdict


def _relaxed(
    candidate_ids: Sequence[str],
    relaxations: Sequence[RelaxationDoc | None],
    known: Sequence[KnownSet],
    matching: MatchingSpec,
    good_states: Collection[RelaxationState],
) -> tuple[Identity, list[Item], dict[str, Verdict]]:
    """Return what tells structures apart, the usable ones, and verdicts on the others."""
    if len(relaxations) != len(candidate_ids):
        raise ValueError("one relaxation (or None) per candidate is needed")
    kind = _kind([relaxation.structure for relaxation in relaxations if relaxation])
    identity = Identity(known, matching, kind)
    items: list[Item] = []
    verdicts: dict[str, Verdict] = {}
    for candidate_id, relaxation in zip(candidate_ids, relaxations, strict=True):
        if relaxation is None:
            verdicts[candidate_id] = Verdict(
                candidate_id=candidate_id, state="failed", reason=NO_JOB
            )
            continue
        if relaxation.candidate_id != candidate_id:
            raise ValueError(f"relaxation of {relaxation.candidate_id} given for {candidate_id}")
        energy = relaxation.energy_ev if relaxation.comparable else None
        item = Item(candidate_id, relaxation.structure, energy)
        if relaxation.state not in good_states:
            state = relaxation.state.replace("_", " ")
            reason = f"{state}: {relaxation.reason}" if relaxation.reason else state
            verdicts[candidate_id] = item.verdict("failed", reason)
            continue
        identity.describe(item)
        if kind == "molecule" and item.key is None:
            verdicts[candidate_id] = item.verdict("failed", f"dissociated: {item.reason}")
            continue
        items.append(item)
    return identity, _above_holes(items, verdicts), verdicts


def _per_atom(items: Sequence[Item]) -> dict[str, float]:
    """Return the energies (eV/atom) that compare with others, by candidate."""
    return {
        item.candidate_id: item.energy_ev / len(item.structure)
        for item in items
        if item.energy_ev is not None
    }


def _above_holes(items: Sequence[Item], verdicts: dict[str, Verdict]) -> list[Item]:
    """Return the items without artefacts of the potential, and add verdicts on those.

    Minima of one composition lie within a few eV/atom of each other. One far below the others is
    an error of the calculator, and would rank as the best candidate.
    """
    energies = _per_atom(items)
    if len(energies) < _FEWEST_FOR_HOLES:
        return list(items)
    values = np.array(list(energies.values()))
    median = float(np.median(values))
    spread = float(median_abs_deviation(values, scale="normal"))
    depth = max(_HOLE_EV_PER_ATOM, _HOLE_SPREADS * spread)
    kept = []
    for item in items:
        below = median - energies.get(item.candidate_id, median)
        if below <= depth:
            kept.append(item)
            continue
        reason = (
            f"energy implausible: {below:.2f} eV/atom below the median of the level: check "
            "the structure; if it is right, relax it with another calculator"
        )
        verdicts[item.candidate_id] = item.verdict("failed", reason)
    return kept


def _within(
    items: Sequence[Item], window_ev_per_atom: float, verdicts: dict[str, Verdict]
) -> list[Item]:
    """Return the items within an energy window, and add verdicts on the others."""
    energies = _per_atom(items)
    lowest = min(energies.values(), default=0.0)
    kept = []
    for item in items:
        above = energies.get(item.candidate_id, lowest) - lowest
        if above <= window_ev_per_atom:
            kept.append(item)
            continue
        reason = (
            f"{above:.3f} eV/atom above the lowest of the level, "
            f"energy_window_ev_per_atom is {window_ev_per_atom:g}"
        )
        verdicts[item.candidate_id] = item.verdict("rejected", reason)
    return kept


def reserves(
    verdicts: Sequence[Verdict], relaxations: Sequence[RelaxationDoc | None] = ()
) -> dict[str, list[str]]:
    """Return the duplicates of each candidate that continues, by energy.

    Args:
        verdicts: of one stage.
        relaxations: the stage's relaxations, if it follows a level.

    Returns:
        Ids of the duplicates by the id of the candidate that represents them.
    """
    energies = {
        doc.candidate_id: doc.energy_per_atom_ev
        for doc in relaxations
        if doc is not None and doc.comparable and doc.energy_per_atom_ev is not None
    }
    pending = {verdict.candidate_id for verdict in verdicts if verdict.state == "pending"}
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.state == "duplicate" and verdict.match in pending:
            found.setdefault(str(verdict.match), []).append(verdict.candidate_id)
    for members in found.values():
        members.sort(key=lambda member: energies.get(member, math.inf))
    return found


def _lowest(items: Sequence[Item], members: Sequence[int]) -> int:
    """Return the member of lowest energy; those without energy last, ties by order."""

    def rank(index: int) -> tuple[bool, float, int]:
        energy = items[index].energy_ev
        if energy is None:
            return True, 0.0, index
        # Per atom, since equal crystals may come in cells of different size.
        return False, energy / len(items[index].structure), index

    return min(members, key=rank)


def _duplicate(identity: Identity, item: Item, of: Item, tolerance: Tolerance) -> Verdict:
    distance = identity.distance(item, of, tolerance)
    return item.verdict("duplicate", match=of.candidate_id, distance=distance)


def _found_before(item: Item, known: Known) -> Verdict:
    """Return the verdict on a copy of a structure found by an earlier round."""
    return item.verdict("duplicate", match=known.entry.label, distance=known.distance)


def _unsupported(item: Item) -> str:
    """Return a note if no known entry has the composition of a new structure, else ''."""
    if item.compared and any(item.compared.values()):
        return ""
    return f"no known entry of {formula(item.structure)} to compare with"


def _in_order(verdicts: dict[str, Verdict], candidate_ids: Sequence[str]) -> list[Verdict]:
    return [verdicts[candidate_id] for candidate_id in candidate_ids]


def _kind(structures: Sequence[Geometry]) -> TargetKind:
    """Return the kind of the candidates; an arbitrary one if there are none."""
    kinds = {kind_of(structure) for structure in structures}
    if len(kinds) > 1:
        raise ValueError("candidates of one campaign are molecules or crystals, not both")
    return kinds.pop() if kinds else "molecule"
