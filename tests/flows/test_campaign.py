"""A whole campaign on real parts: GFN2-xTB, a trained model, GPAW; and what its Flow promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, JobStore, Maker, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder

from logan_campaign import flows
from logan_campaign.core.documents import Candidate, expand
from logan_campaign.core.errors import InputError
from logan_campaign.flows import CampaignMaker
from logan_campaign.geometry.structures import spacegroup_symbol

TINY = """\
name: tiny
target: {kind: molecule, formula: CH4O, box: [5.0, 4.5, 4.5]}
training: {source: {type: smiles, smiles: [CCO, COC]}}
known: [{type: smiles, smiles: [CO]}]
models: {count: 2, hyperparameters: {steps: 150, n_max: 2, n_neighbour: 5, r_cut: 4.0}}
generate: {per_model: 20}
select: [{strategy: critic, n_picks: 30}, {strategy: graph, n_picks: 4}]
relax:
  levels:
    - {name: xtb, calculator: gfn2-xtb, fmax: 0.1, max_steps: 200}
"""


CRYSTAL = """\
name: crystal
target:
  kind: crystal
  formula: Si2O4
  cell: [[5.136, 0.0, 0.0], [0.158, 5.133, 0.0], [-2.647, -2.567, 3.575]]
training: {source: {type: builtin, name: sio2-prototypes}}
models: {count: 1, hyperparameters: {n_max: 2, n_neighbour: 8, r_cut: 4.0, keep: 1.0}}
generate: {per_model: 40}
select: {strategy: framework, n_picks: 2, descriptor: {n_max: 1, n_neighbour: 8}}
screen: {allow_isolated_atoms: true, volume_per_atom: training}
relax:
  reference: true
  levels: # a tolerance that every geometry meets: one self-consistent field each
    - {name: pw, calculator: gpaw, mode: pw, ecut_ev: 200.0, xc: LDA, kpts: [1, 1, 1], fmax: 1000.0}
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def finished(spec_file: Path) -> JobStore:
    """Run a campaign with jobflow alone; return the store that holds its outputs."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    flow = CampaignMaker.from_file(spec_file).make()
    run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
    return store


def relaxations(store: JobStore) -> list[dict[str, Any]]:
    """Return all relaxations, done by jobs of their own or several in one."""
    alone = [d["output"] for d in store.query({"output.doc_type": "relaxation"})]
    batches = [d["output"] for d in store.query({"output.doc_type": "relaxations"})]
    return [*alone, *(one for batch in batches for one in batch["relaxations"])]


def test_the_flow_round_trips_as_json(spec_file: Path) -> None:
    flow = CampaignMaker.from_file(spec_file).make()
    again = json.loads(json.dumps(flow, cls=MontyEncoder), cls=MontyDecoder)
    assert isinstance(again, Flow)
    assert [j.name for j, _ in again.iterflow()] == [j.name for j, _ in flow.iterflow()]
    # a Maker that a worker could not import would come back as a dictionary
    for job, _ in again.iterflow():
        assert job.maker is None or type(job.maker).__module__.startswith("logan_campaign.flows")


def test_every_maker_is_public() -> None:
    for name in flows.__all__:
        assert issubclass(getattr(flows, name), Maker)
    with pytest.raises(AttributeError, match="NoSuchMaker"):
        flows.NoSuchMaker  # noqa: B018


def test_members_differ_in_seed(spec_file: Path) -> None:
    jobs = [job for job, _ in CampaignMaker.from_file(spec_file).make().iterflow()]
    seeds = [job.maker.seed for job in jobs if job.name.startswith("train ")]
    assert len(seeds) == len(set(seeds)) == 2


def test_a_cell_that_cannot_hold_the_atoms_is_refused_before_any_job(spec_file: Path) -> None:
    maker = CampaignMaker.from_file(spec_file, ["target.box=[1.5, 1.5, 1.5]"])
    with pytest.raises(InputError, match="target"):
        maker.make()


def test_jobflow_run_locally_takes_the_flow_unchanged(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = finished(spec_file)

    campaigns = {d["metadata"]["campaign"] for d in store.query({}, properties=["metadata"])}
    assert campaigns == {"tiny"}  # jobs added on the way belong to it as well
    training = store.query_one({"output.doc_type": "training_set"})["output"]
    model = store.query_one({"output.doc_type": "model"})["output"]
    pool = store.query_one({"output.doc_type": "pool"})["output"]
    for large in (training["structures"], model["weights"], pool["pool"]):
        assert large["store"] == "data"  # documents stay small; jobflow left a reference
    selected = store.query_one({"output.doc_type": "selection"})["output"]
    assert {pick["strategy"].split(":")[0] for pick in selected["candidates"]} == {"critic > graph"}
    assert sum(pick["represents"] for pick in selected["candidates"]) <= 30
    classified = store.query_one({"output.doc_type": "classification"})["output"]
    states = {verdict["state"] for verdict in classified["verdicts"]}
    assert states <= {"new", "rediscovered", "duplicate", "failed"}
    relaxed = relaxations(store)
    assert relaxed
    assert len({r["candidate_id"] for r in relaxed}) == len(relaxed)


SYMMETRIC = """\
name: symmetric
target:
  kind: crystal
  formula: Si2O4
  cell: [[5.136, 0.0, 0.0], [0.158, 5.133, 0.0], [-2.647, -2.567, 3.575]]
training: {source: {type: builtin, name: sio2-prototypes, formulas: [Si2O4]}}
models: {count: 1, hyperparameters: {method: descent, n_max: 4, n_neighbour: 25, keep: 0.25}}
generate: {per_model: 16}
select: {strategy: framework, coverage: 0.8, symmetrize: 0.5, fill: false, n_picks: 2}
relax:
  levels: # a tolerance that every geometry meets
    - {name: near, calculator: ase, target: "ase.calculators.lj:LennardJones", fmax: 1.0e+6}
"""


def test_what_is_nearly_symmetric_goes_on_as_symmetric_and_is_kept_as_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "symmetric.yaml"
    path.write_text(SYMMETRIC)
    store = finished(path)

    selected = store.query_one({"output.doc_type": "selection"}, load=True)["output"]
    picked = Candidate.model_validate(selected["candidates"][0])
    assert picked.strategy == "framework, symmetrized"
    assert picked.start is not None
    assert spacegroup_symbol(picked.structure, 1e-4) == "P1"
    found = spacegroup_symbol(picked.start, 0.02)
    assert found != "P1"
    assert str(picked.graph).endswith(f" {found}")
    # it is that one which was compared: the training set's cristobalite, rediscovered
    screened = store.query_one({"output.doc_type": "screening"}, load=True)["output"]
    verdict = next(v for v in screened["verdicts"] if v["candidate_id"] == picked.id)
    assert verdict["state"] == "rediscovered"


def test_a_crystal_campaign_ends_in_plane_waves_with_reference_energies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "crystal.yaml"
    path.write_text(CRYSTAL)
    store = finished(path)

    relaxed = relaxations(store)
    assert relaxed
    for document in relaxed:
        assert document["state"] == "converged"
        assert document["settings"]["mode"] == "pw"
        # the cell is the target's, whatever happened to the atoms
        lattice = expand(document["structure"]).lattice.matrix
        assert lattice[0] == pytest.approx([5.136, 0.0, 0.0])
    references = store.query_one({"output.doc_type": "reference"})["output"]["references"]
    assert [r["state"] for r in references] == ["converged"]
    # random-looking raw structures lie above a real crystal
    assert min(d["energy_per_atom_ev"] for d in relaxed) > references[0]["energy_per_atom_ev"]
