"""Phase diagrams: what is on the hull, where compositions are, and what effort went where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from logan_campaign.results.report import phases
from logan_campaign.results.report.pictures import write_picture
from logan_campaign.stores.records import CandidateRecord, HullPhase, HullRecord


def phase(formula: str, per_atom: float, since: int = 0, until: int | None = None) -> HullPhase:
    role = "element" if len([c for c in formula if c.isupper()]) == 1 else "candidate"
    return HullPhase(
        id=f"cand-{formula}",
        role=role,
        label="P1",
        formula=formula,
        energy_per_atom_ev=per_atom,
        formation_ev_per_atom=per_atom,
        since=since,
        until=until,
    )


def hull(*found: HullPhase) -> HullRecord:
    return HullRecord(
        level="emt",
        pressure_gpa=None,
        window_ev_per_atom=0.0,
        phases=list(found),
        n_stable=1,
        n_unique=2,
        n_new=1,
        n_stable_new=1,
    )


def candidate(formula: str, n_atoms: int, per_atom: float, above: float) -> CandidateRecord:
    return CandidateRecord.model_construct(
        id=f"cand-{formula}{above}",
        state="new",
        formula=formula,
        n_atoms=n_atoms,
        level="emt",
        spacegroup="P1",
        energy_ev=n_atoms * per_atom,
        energy_above_hull_ev_per_atom=above,
        relaxations=[object()],
    )


BINARY = hull(
    phase("Cu", 0.0),
    phase("Au", 0.0),
    phase("AuCu", -0.04, 0, 1),
    phase("Au2Cu2", -0.06, 1),
    phase("AuCu3", -0.04, 2),
)
SYSTEMS = {
    2: (BINARY, [candidate("AuCu", 2, -0.05, 0.01), candidate("AuCu2", 3, -0.01, 0.04)]),
    3: (
        hull(phase("Al", 0.0), phase("Ni", 0.0), phase("Pd", 0.0), phase("AlNi", -0.3)),
        [candidate("AlNiPd", 3, -0.1, 0.1), candidate("Al2Pd", 3, -0.1, 0.0)],
    ),
    4: (
        hull(*(phase(s, 0.0) for s in ("Li", "P", "S", "O")), phase("Li3PO4", -0.8)),
        [candidate("Li2S", 3, -0.1, 0.02), candidate("Li3PO3S", 8, -0.3, 0.03)],
    ),
}


@pytest.mark.parametrize("n_species", SYSTEMS)
def test_every_phase_and_candidate_has_its_place(n_species, tmp_path: Path):
    found, candidates = SYSTEMS[n_species]
    diagram = phases.phase_diagram(found, candidates)
    shown = [text for trace in diagram.data for text in trace.hovertext or trace.text or ()]
    assert all(any(one.id in text for text in shown) for one in (*found.at(), *candidates))
    effort = phases.effort_chart(found, candidates)
    for name, figure in (("phases", diagram), ("effort", effort)):
        assert write_picture(figure, tmp_path / f"{name}.png").stat().st_size > 5000


def test_mixtures_are_between_what_they_are_made_of():
    found, _ = SYSTEMS[4]
    space = phases._space(found)
    middle = np.mean([space.place(symbol) for symbol in space.species], axis=0)
    np.testing.assert_allclose(space.place("LiPSO"), middle)
    np.testing.assert_allclose(space.place("Li2S"), (2 * space.place("Li") + space.place("S")) / 3)


def test_the_hull_of_each_round_comes_down_to_the_last():
    growth = phases.growth_chart(BINARY, {0: 10, 1: 5, 2: 5})
    most, mean, number = growth.data
    assert most.x == (10, 15, 20)
    # AuCu3 was a mixture of Cu and AuCu: -0.02, then -0.03 eV/atom
    assert most.y == pytest.approx([20.0, 10.0, 0.0])
    assert mean.y == pytest.approx([(20 + 20) / 4, 10 / 4, 0.0])
    assert number.y == (3, 3, 4)
    assert phases.growth_chart(BINARY, {0: 10}) is None


def test_other_numbers_of_species_are_not_drawn():
    many = hull(*(phase(symbol, 0.0) for symbol in ("Li", "P", "S", "O", "Si")))
    assert phases.phase_diagram(many, []) is None
    assert phases.effort_chart(hull(phase("Si", 0.0)), []) is None
