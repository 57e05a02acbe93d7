"""The convex hull of a campaign's records: where each candidate is, and how the hull grew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logan_campaign.core.documents import ReferenceEnergy
from logan_campaign.stores.records import CandidateRecord, HullPhase, HullRecord

if TYPE_CHECKING:  # it imports pymatgen
    from logan_campaign.campaign.stability import Hull, HullEntry

#: Energies above the hull (eV/atom) that rounding makes.
_ROUNDING = 1e-8


def add_hull(
    candidates: Sequence[CandidateRecord],
    references: Sequence[ReferenceEnergy],
    level: str,
    energy_of: Callable[[CandidateRecord], float | None],
    settings: Mapping[str, Any],
) -> HullRecord | None:
    """Add energies above the hull and decompositions to candidates, and return the hull.

    Args:
        candidates: of one campaign; those at other levels are left alone.
        references: elements, known and competing phases.
        level: the level whose energies make the hull.
        energy_of: returns the energy (eV) of a candidate, None if it does not count.
        settings: section ``relax.hull`` of the spec; may be empty.

    Returns:
        The hull, None unless every element was computed.
    """
    mine = [r for r in candidates if r.level == level and r.kind == "crystal"]
    given = [r for r in references if r.level == level and _counts(r)]
    if not mine or not given:
        return None
    from logan_campaign.campaign.stability import (  # imports pymatgen
        HullEntry,
        is_element,
        reachable,
    )

    first = [HullEntry(r.structure_id, r.formula, r.energy_ev or 0.0) for r in given]
    of = {record.id: record for record in mine}
    entries = [HullEntry(r.id, r.formula, e) for r in mine if (e := energy_of(r)) is not None]
    usable = {entry.id for entry in reachable([*first, *entries])}
    entries = [entry for entry in entries if entry.id in usable]
    # of elements among the candidates alone, all count from the start
    first = reachable([*first, *(e for e in entries if is_element(e.formula))])
    rounds: defaultdict[int, list[HullEntry]] = defaultdict(list)
    for entry in entries:
        rounds[of[entry.id].round].append(entry)
    hull, spans = _grown(first, rounds)
    if hull is None:
        return None
    texts: dict[str, str] = {}
    for entry in entries:
        above = hull.above(entry)
        of[entry.id].energy_above_hull_ev_per_atom = max(0.0, above)
        if above > _ROUNDING:
            if entry.formula not in texts:
                texts[entry.formula] = _as_text(hull, entry.formula)
            of[entry.id].decomposition = texts[entry.formula]
    window = float(settings.get("window_ev_per_atom", 0.0))
    return HullRecord(
        level=level,
        pressure_gpa=next((r.pressure_gpa for r in mine if r.pressure_gpa), None),
        window_ev_per_atom=window,
        phases=_phases(hull, spans, mine, given),
        **_counted(mine, window),
    )


def add_published_hull(
    candidates: Sequence[CandidateRecord],
    references: Sequence[ReferenceEnergy],
    level: str,
    energy_of: Callable[[CandidateRecord], float | None],
    settings: Mapping[str, Any],
) -> HullRecord | None:
    """Return the hull of published energies, and add energies above it to candidates.

    Args:
        candidates: of one campaign.
        references: all of it; those that were published count.
        level: the last level.
        energy_of: as in :func:`add_hull`.
        settings: section ``relax.hull.published`` of the spec; may be empty.

    Returns:
        The hull, None if nothing was published.
    """
    given = [r for r in references if r.role == "published"]
    if not given:
        return None
    from logan_campaign.campaign.stability import HullEntry, corrected_energy, hull_of
    from logan_campaign.core.documents.base import expand

    entries = [HullEntry(r.structure_id, r.formula, r.energy_ev or 0.0) for r in given]
    hull = hull_of(entries)
    assert hull is not None  # the job keeps no others
    record = HullRecord(
        level=given[0].level,
        pressure_gpa=None,
        window_ev_per_atom=0.0,
        phases=_phases(hull, {entry.id: (entry, 0, None) for entry in entries}, [], given),
        **_counted([], 0.0),
    )
    for candidate in candidates if settings.get("comparable") else ():
        energy = energy_of(candidate) if candidate.level == level else None
        if energy is not None and settings.get("corrections") == "MP2020":
            energy = corrected_energy(expand(candidate.structure), energy)
        if energy is not None:
            entry = HullEntry(candidate.id, candidate.formula, energy)
            candidate.energy_above_published_ev_per_atom = hull.above(entry)
    return record


def _counts(reference: ReferenceEnergy) -> bool:
    return bool(
        reference.state == "converged" and reference.formula and reference.energy_ev is not None
    )


#: Entry, and the rounds from which on and until which it was on the hull.
_Spans = dict[str, "tuple[HullEntry, int, int | None]"]


def _grown(
    first: Iterable[HullEntry], rounds: Mapping[int, Sequence[HullEntry]]
) -> tuple[Hull | None, _Spans]:
    """Return the hull after all rounds, and when each of its phases was on it."""
    from logan_campaign.campaign.stability import hull_of

    hull = hull_of(first)
    spans: _Spans = {}
    for index, entries in sorted(rounds.items()):
        if hull is None:
            break
        # only phases below the hull can change it
        below = [entry for entry in entries if hull.above(entry) < -_ROUNDING]
        hull = hull_of([*hull.stable, *below]) if below else hull
        assert hull is not None  # the elements are among its phases
        now = {entry.id: entry for entry in hull.stable}
        for name, (entry, since, until) in spans.items():
            if name not in now and until is None:
                spans[name] = entry, since, index
        spans.update(
            (name, (entry, index, None)) for name, entry in now.items() if name not in spans
        )
    return hull, spans


def _as_text(hull: Hull, formula: str) -> str:
    """Return what a composition falls into, such as '0.75 SiO2 + 0.25 Si' (shares of atoms)."""
    from pymatgen.core import Composition

    named = {entry.id: Composition(entry.formula).reduced_formula for entry in hull.stable}
    parts = [(round(share, 6), named[k]) for k, share in hull.decomposition(formula).items()]
    return " + ".join(f"{share:.3g} {name}" for share, name in sorted(parts, reverse=True) if share)


def _phases(
    hull: Hull,
    spans: _Spans,
    candidates: Sequence[CandidateRecord],
    references: Sequence[ReferenceEnergy],
) -> list[HullPhase]:
    from logan_campaign.geometry.formulas import reduced_formula  # brings ASE

    of = {record.id: record for record in candidates}
    known = {reference.structure_id: reference for reference in references}
    found = []
    for name, (entry, since, until) in spans.items():
        record = of.get(name)
        n_atoms = record.n_atoms if record is not None else hull.n_atoms(entry.formula)
        found.append(
            HullPhase(
                id=name,
                role="candidate" if record is not None else known[name].role,
                label=(record.spacegroup or "") if record is not None else known[name].label,
                formula=entry.formula,
                energy_per_atom_ev=entry.energy_ev / n_atoms,
                formation_ev_per_atom=hull.formation(entry.formula, entry.energy_ev),
                since=since,
                until=until,
            )
        )
    return sorted(found, key=lambda phase: (phase.since, reduced_formula(phase.formula)))


def _counted(candidates: Sequence[CandidateRecord], window: float) -> dict[str, int]:
    """Return the number of materials that are stable, unique, new, and both stable and new."""
    unique = {r.material_id for r in candidates} - {None}
    stable = {
        r.material_id
        for r in candidates
        if r.energy_above_hull_ev_per_atom is not None
        and r.energy_above_hull_ev_per_atom <= window + _ROUNDING
    } - {None}
    new = {r.material_id for r in candidates if r.state == "new"} - {None}
    return {
        "n_stable": len(stable),
        "n_unique": len(unique),
        "n_new": len(new),
        "n_stable_new": len(stable & new),
    }
