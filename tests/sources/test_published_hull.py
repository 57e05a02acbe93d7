"""The hull of published energies: pulled from a server on loopback, and apart from one's own."""

from __future__ import annotations

import pytest
from ase.build import bulk, molecule
from local_servers import MaterialsProjectServer, legacy_id, summary_documents
from pymatgen.core import Lattice, Structure

from logan_campaign.campaign.stability import corrected_energy
from logan_campaign.core.documents import ReferenceDoc, ReferenceEnergy, compact
from logan_campaign.core.errors import InputError
from logan_campaign.flows.data import TrainingSetMaker
from logan_campaign.flows.reference import PublishedHullMaker
from logan_campaign.sources import MaterialsProjectSource
from logan_campaign.stores.hulls import add_hull, add_published_hull
from logan_campaign.stores.records import CandidateRecord

#: MADE UP energies (eV/atom) of Mg, O2, MgO and a polymorph of MgO above it.
ENERGIES = [-1.5, -4.9, -6.2, -6.1]


@pytest.fixture
def magnesia(mp_server: MaterialsProjectServer) -> MaterialsProjectServer:
    oxygen = molecule("O2", cell=[8.0, 8.1, 8.2], pbc=True)
    found = [
        bulk("Mg", "hcp", a=3.2, c=5.2),
        oxygen,
        bulk("MgO", "rocksalt", a=4.2),
        bulk("MgO", "zincblende", a=4.6),
    ]
    documents = summary_documents(found)
    for document, energy in zip(documents, ENERGIES, strict=True):
        document["energy_per_atom"] = energy
    mp_server.documents = {legacy_id(d["material_id"]): d for d in documents}
    return mp_server


def published(systems: list[str]) -> ReferenceDoc:
    source = MaterialsProjectSource(chemical_systems=systems)
    pulled = TrainingSetMaker.make.original(TrainingSetMaker(source=source, role="known"))
    maker = PublishedHullMaker(species=["Mg", "O"])
    return PublishedHullMaker.make.original(maker, pulled, "camp-a")


def candidate() -> CandidateRecord:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0] * 3, [0.5] * 3])
    return CandidateRecord.model_construct(
        id="cand-a",
        formula="Mg4O4",
        n_atoms=8,
        kind="crystal",
        level="emt",
        round=0,
        state="new",
        spacegroup="Fm-3m",
        structure=compact(cell),
        energy_ev=8 * -6.25,
        material_id="mat-a",
        pressure_gpa=None,
    )


def energy_of(record: CandidateRecord) -> float | None:
    return record.energy_ev


def test_only_the_phases_on_the_published_hull_are_kept(magnesia: MaterialsProjectServer) -> None:
    found = published(["Mg-O", "Mg", "O"]).references
    assert {(r.formula, r.role, r.level) for r in found} == {
        ("Mg2", "published", "Materials Project"),
        ("O2", "published", "Materials Project"),
        ("MgO", "published", "Materials Project"),
    }
    with pytest.raises(InputError, match=r"relax\.hull\.published: no energy of Mg, O"):
        published(["Mg-O"])


def test_published_energies_are_never_mixed_with_computed_ones(
    magnesia: MaterialsProjectServer,
) -> None:
    theirs = published(["Mg-O", "Mg", "O"]).references
    record = candidate()
    # without elements of its own, a campaign has no hull: the published ones do not count
    assert add_hull([record], theirs, "emt", energy_of, {}) is None
    ours = [
        ReferenceEnergy(
            structure_id=f"struct-{s}",
            label=s,
            set_id="",
            role="element",
            formula=s,
            level="emt",
            state="converged",
            reason="",
            energy_ev=0.0,
            energy_per_atom_ev=0.0,
        )
        for s in ("Mg", "O")
    ]
    own = add_hull([record], [*ours, *theirs], "emt", energy_of, {})
    assert own is not None
    assert {phase.id for phase in own.at()} == {"struct-Mg", "struct-O", "cand-a"}
    hull = add_published_hull([record], [*ours, *theirs], "emt", energy_of, {})
    assert hull is not None
    assert {phase.role for phase in hull.at()} == {"published"}
    assert hull.level == "Materials Project"
    assert record.energy_above_published_ev_per_atom is None  # nobody declared them comparable


def test_candidates_of_a_comparable_level_are_placed_on_it(
    magnesia: MaterialsProjectServer,
) -> None:
    theirs = published(["Mg-O", "Mg", "O"]).references
    record = candidate()
    add_published_hull([record], theirs, "emt", energy_of, {"comparable": True})
    assert record.energy_above_published_ev_per_atom == pytest.approx(-6.25 + 6.2)
    settings = {"comparable": True, "corrections": "MP2020"}
    add_published_hull([record], theirs, "emt", energy_of, settings)
    # the correction of oxides is -0.687 eV per oxygen atom
    assert record.energy_above_published_ev_per_atom == pytest.approx(-6.25 - 0.687 / 2 + 6.2)


def test_settings_other_than_those_of_the_scheme_have_no_corrected_energy() -> None:
    iron = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.3), ["Fe", "O"], [[0] * 3, [0.5] * 3])
    assert corrected_energy(iron, -50.0) is None  # it wants GGA+U
    copper = Structure(Lattice.cubic(2.6), ["Cu"], [[0.0, 0.0, 0.0]])
    assert corrected_energy(copper, -3.7) == pytest.approx(-3.7)
