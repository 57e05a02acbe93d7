"""Relaxation Makers: serialisation, documents, and runs through jobflow."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import molecule
from atomate2.ase.jobs import AseMaker, AseRelaxMaker
from jobflow import Flow, Job, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.core.arrays import unpack_arrays
from logan_campaign.core.documents import RelaxationDoc
from logan_campaign.core.errors import InputError
from logan_campaign.flows.relax import (
    ASECalculatorRelaxMaker,
    GPAWRelaxMaker,
    GPAWStaticMaker,
    LevelRelaxMaker,
    XTBRelaxMaker,
    maker_for,
    relaxation_doc,
)
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, XTBLevel
from logan_campaign.relaxation.run import relax

pytestmark = [
    # jobflow 0.4 runs jobs inside monty's cd(), which monty deprecates.
    pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning"),
]

MAKERS = [
    LevelRelaxMaker(),
    XTBRelaxMaker(level=XTBLevel(fmax=0.1)),
    GPAWRelaxMaker.from_preset("production", smearing={"width": 0.2}, kpts=[3, 3, 1]),
    ASECalculatorRelaxMaker(),
    GPAWStaticMaker.from_preset("paper"),
]


@pytest.fixture
def store():
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


@pytest.fixture
def methanol():
    atoms = molecule("CH3OH")
    return Molecule(atoms.get_chemical_symbols(), atoms.positions)


def through_json(obj):
    return json.loads(json.dumps(obj, cls=MontyEncoder), cls=MontyDecoder)


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: type(maker).__name__)
def test_a_maker_decoded_elsewhere_is_the_same(maker):
    again = through_json(maker)
    assert type(again) is type(maker)
    assert again.name == maker.name
    assert again.level == maker.level
    assert type(again.level) is type(maker.level)


@pytest.mark.parametrize("maker", MAKERS[:-1], ids=lambda maker: type(maker).__name__)
def test_the_level_governs_atomate2_s_settings(maker):
    assert isinstance(maker, AseRelaxMaker)
    assert maker.steps == maker.level.max_steps
    assert maker.relax_kwargs == {"fmax": maker.level.fmax}
    assert maker.relax_cell == maker.level.relax_cell


def test_the_static_maker_is_atomate2_s():
    assert isinstance(GPAWStaticMaker(), AseMaker)
    assert not isinstance(GPAWStaticMaker(), AseRelaxMaker)


@pytest.mark.parametrize(
    "level",
    [
        XTBLevel(name="quick"),
        GPAWLevel(name="dft"),
        ASELevel(name="emt", target="ase.calculators.emt:EMT"),
    ],
)
def test_each_level_has_its_maker(level):
    maker = maker_for(level)
    assert maker.level is level
    assert level.name in maker.name


def test_a_level_may_be_given_as_plain_data():
    maker = GPAWRelaxMaker(level={"calculator": "gpaw", "preset": "paper"})
    assert maker.level == GPAWLevel(preset="paper")


def test_check_refuses_before_the_job_starts():
    crystal = Structure(Lattice.cubic(4), ["Si"], [[0, 0, 0]])
    with pytest.raises(InputError, match="molecules"):
        XTBRelaxMaker().check(crystal)
    with pytest.raises(InputError, match="functional"):
        GPAWRelaxMaker(level=GPAWLevel(xc="LDB")).check(crystal)


def test_a_job_sent_through_json_returns_a_document_and_keeps_the_trajectory_apart(
    store, methanol, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    job = XTBRelaxMaker().make("cand-1", methanol, "camp-1", 0)
    job = Job.from_dict(json.loads(json.dumps(job, cls=MontyEncoder)))
    run_locally(job, store=store, log=False, ensure_success=True)

    stored = store.query_one({"uuid": job.uuid})["output"]
    assert stored["doc_type"] == "relaxation"
    assert stored["state"] == "converged"
    assert isinstance(stored["trajectory"], dict)  # a reference into the store 'data'

    doc = MontyDecoder().process_decoded(store.get_output(job.uuid, load=True))
    assert isinstance(doc, RelaxationDoc)
    assert (doc.candidate_id, doc.campaign_id, doc.level_index) == ("cand-1", "camp-1", 0)
    assert doc.energy_per_atom_ev == pytest.approx(doc.energy_ev / 6)
    arrays = unpack_arrays(doc.trajectory)
    assert arrays["positions"].shape == arrays["forces"].shape == (doc.n_steps + 1, 6, 3)
    np.testing.assert_allclose(arrays["positions"][-1], doc.structure.cart_coords)
    np.testing.assert_allclose(arrays["energy"], doc.energies_ev)


def test_levels_follow_one_another_by_reference(store, methanol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = maker_for(XTBLevel(name="rough", fmax=0.5)).make("cand-1", methanol, "camp-1", 0)
    second = maker_for(XTBLevel(name="fine", fmax=0.01)).make(
        "cand-1", first.output.structure, "camp-1", 1
    )
    run_locally(Flow([first, second]), store=store, log=False, ensure_success=True)
    rough, fine = (store.get_output(job.uuid) for job in (first, second))
    assert (rough["level"], fine["level"]) == ("rough", "fine")
    assert rough["max_force_ev_per_angstrom"] <= 0.5
    assert fine["max_force_ev_per_angstrom"] <= 0.01
    assert fine["energies_ev"][0] == pytest.approx(rough["energy_ev"], abs=1e-5)


def test_a_failed_relaxation_is_a_document(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    collided = Molecule(["C", "O"], [[0, 0, 0], [0, 0, 0.1]])
    job = GPAWRelaxMaker().make("cand-1", collided, "camp-1", 1)
    run_locally(job, store=store, log=False, ensure_success=True)
    doc = store.get_output(job.uuid)
    assert doc["state"] == "atoms_collided"
    assert doc["reason"]
    assert doc["energy_ev"] is None
    assert doc["trajectory"] is None


def test_the_document_s_id_follows_from_candidate_start_and_level(methanol):
    def doc_id(candidate_id, level):
        return relaxation_doc(
            relax(methanol, XTBLevel(max_steps=0)),
            start=methanol,
            level=level,
            candidate_id=candidate_id,
            campaign_id="camp-1",
            level_index=0,
        ).id

    same = doc_id("cand-1", XTBLevel())
    assert same == doc_id("cand-1", XTBLevel())
    assert len({same, doc_id("cand-2", XTBLevel()), doc_id("cand-1", XTBLevel(fmax=0.1))}) == 3


def test_gpaw_relaxes_and_evaluates_through_jobflow(store, tmp_path, monkeypatch):
    pytest.importorskip("gpaw")
    monkeypatch.chdir(tmp_path)
    level = GPAWLevel(grid_spacing_angstrom=0.28, optimizer="BFGS")
    hydrogen = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.8]])
    relaxed = GPAWRelaxMaker(level=level).make("cand-1", hydrogen, "camp-1", 0)
    static = GPAWStaticMaker(level=level).make(relaxed.output.structure)
    run_locally(
        Flow([relaxed, static]), store=store, log=False, ensure_success=True, create_folders=True
    )
    doc = store.get_output(relaxed.uuid)
    assert doc["state"] == "converged"
    assert doc["calculator"] == "gpaw"
    assert doc["settings"]["xc"] == "LDA"
    energy = store.get_output(static.uuid)["output"]["energy"]
    assert energy == pytest.approx(doc["energy_ev"], abs=2e-3)


@pytest.mark.parametrize("tidy", [False, True], ids=["folder there", "folder gone"])
def test_where_the_steps_end_further_jobs_go_on(store, methanol, tmp_path, monkeypatch, tidy):
    monkeypatch.chdir(tmp_path)
    level = XTBLevel(max_steps=5, continuations=2, isolate=not tidy, fmax=1e-5)
    job = XTBRelaxMaker(level=level).make("cand-1", methanol, "camp-1", 0)
    run_locally(job, store=store, log=False, ensure_success=True, create_folders=True)
    docs = [d["output"] for d in store.query({"uuid": job.uuid}, sort={"index": 1})]
    assert [d["attempt"] for d in docs] == [1, 2, 3]
    assert [d["continues"] for d in docs] == [None, docs[0]["id"], docs[1]["id"]]
    assert [d["n_steps"] for d in docs] == [5, 10, 15]
    assert [d["state"] for d in docs] == ["not_converged"] * 3
    assert docs[2]["energies_ev"][-1] < docs[1]["energies_ev"][-1] < docs[0]["energies_ev"][-1]
    whole = relax(methanol, XTBLevel(max_steps=15, fmax=1e-5))
    if not tidy:  # with trajectory and optimizer, as if it had never stopped
        assert docs[2]["energies_ev"] == pytest.approx(whole.energies_ev, abs=1e-6)
    assert docs[2]["smiles"] == "CO"
    assert docs[2]["cpu_s"] > 0
