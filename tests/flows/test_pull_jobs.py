"""Jobs that pull: what they take from the pull before, and what they promise a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk, molecule
from ase.io import write
from jobflow import Flow, Job, JobStore
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from logan_campaign.core.documents import LeakageDoc, Manifest
from logan_campaign.flows import CampaignMaker, LeakageMaker, TrainingSetMaker
from logan_campaign.sources import FilesSource, set_id

SPEC = """\
name: crystal
target: {kind: crystal, formula: ZnO, cell: [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}
training: {source: {type: files, path: training.extxyz}}
known: [{type: files, path: known.extxyz}]
select: {strategy: kmeans, n_picks: 1}
relax: {levels: [{name: pw, calculator: gpaw, mode: pw, ecut_ev: 200.0}]}
"""


@pytest.fixture
def store() -> JobStore:
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


@pytest.fixture
def source(tmp_path: Path) -> FilesSource:
    write(tmp_path / "two.extxyz", [molecule("CH4"), molecule("NH3")])
    return FilesSource(path=str(tmp_path / "two.extxyz"))


def output(job: Job, store: JobStore) -> Any:
    """Run a job; return what it left in the store, as the next job would be given it."""
    job.run(store)
    return MontyDecoder().process_decoded(store.get_output(job.uuid, load=True))


def test_a_pull_takes_the_manifest_of_the_one_before(source: FilesSource, store: JobStore) -> None:
    first = output(TrainingSetMaker(source=source).make(), store)
    assert (first.previous_at, first.unchanged) == ("", False)
    manifest = first.manifest()
    assert manifest.set_id == first.id == set_id(source.load().entries)
    again = output(TrainingSetMaker(source=source).make(manifest), store)
    assert again.previous_at == first.pulled_at
    assert [entry.id for entry in again.structures] == first.structure_ids


def test_structures_are_left_out_only_where_nothing_changed_and_one_asked_for_it(
    source: FilesSource, store: JobStore
) -> None:
    maker = TrainingSetMaker(source=source, leave_out_unchanged=True)
    first = output(maker.make(), store)
    assert len(first.structures) == 2
    again = output(maker.make(first.manifest()), store)
    assert (again.unchanged, again.structures, again.id) == (True, [], first.id)
    write(source.path, [molecule("CH4"), molecule("H2O")])
    changed = output(maker.make(Manifest.model_validate(again.manifest())), store)
    assert (changed.unchanged, len(changed.structures)) == (False, 2)


def test_a_campaign_with_known_structures_checks_for_them_in_its_training_set(
    tmp_path: Path, store: JobStore
) -> None:
    zno = bulk("ZnO", "zincblende", a=4.6)
    write(tmp_path / "training.extxyz", [zno, bulk("MgO", "rocksalt", a=4.2)])
    write(tmp_path / "known.extxyz", [zno * (2, 1, 1), bulk("NaCl", "rocksalt", a=5.6)])
    (tmp_path / "spec.yaml").write_text(SPEC)
    flow = CampaignMaker.from_file(tmp_path / "spec.yaml").make()
    jobs = {job.name: job for job in flow.jobs}
    for name in ("describe_campaign", "training set", "known set", "leakage"):
        assert not isinstance(jobs[name], Flow)
        found = output(jobs[name], store)
    assert isinstance(found, LeakageDoc)
    assert [leak.target for leak in found.targets] == ["known.extxyz#0", "known.extxyz#1"]
    assert [match.tolerance for match in found.targets[0].matches] == ["strict", "default", "loose"]
    assert found.targets[0].matches[0].entry == "training.extxyz#0"
    assert found.targets[1].matches == []


def test_molecules_leak_by_their_graph(source: FilesSource, store: JobStore) -> None:
    training = TrainingSetMaker(source=source).make()
    training.run(store)
    job = LeakageMaker().make([training.output], [training.output], "camp-0")
    found = output(job, store)
    assert [leak.matches[0].entry for leak in found.targets] == ["two.extxyz#0", "two.extxyz#1"]
    assert found.targets[0].matches[0].rms_normalised is None
