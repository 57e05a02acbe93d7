"""Structures of other generators are candidates like generated ones, and say their origin."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from jobflow import JobStore, run_locally
from test_without_training import SPEC

from logan_campaign.campaign.allocation import Progress
from logan_campaign.campaign.rounds import StopSpec, stop_reason
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.target import TargetSpec
from logan_campaign.core.documents import RoundSummary
from logan_campaign.core.errors import InputError
from logan_campaign.flows import CampaignMaker
from logan_campaign.flows.external import fitted
from logan_campaign.geometry.structures import from_arrays, from_atoms, spacegroup_symbol
from logan_campaign.results import Results
from logan_campaign.results.report.methods import methods
from logan_campaign.results.reproduce import reproduce
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store


def ordered(a: float) -> Atoms:
    """Return L1_0 CuAu in its conventional cell of four atoms, gold first."""
    atoms = bulk("Cu", cubic=True, a=a)
    atoms.symbols[[0, 1]] = "Au"
    return atoms


def test_a_crystal_fits_as_given_or_by_its_primitive_cell() -> None:
    whole = from_atoms(ordered(3.9))
    target = TargetSpec(kind="crystal", formula="CuAu", cell="learned").resolve(Path())
    found = fitted(whole, target)
    assert found is not None
    made = from_arrays(target.numbers, *found)
    assert len(made) == 2
    assert spacegroup_symbol(made) == spacegroup_symbol(whole) == "P4/mmm"
    assert made.volume == pytest.approx(whole.volume / 2)
    doubled = TargetSpec(kind="crystal", formula="Cu2Au2", cell="learned").resolve(Path())
    same = fitted(whole, doubled)
    assert same is not None
    assert np.allclose(same[1], whole.lattice.matrix)
    other = TargetSpec(kind="crystal", formula="Cu3Au", cell="learned").resolve(Path())
    assert fitted(whole, other) is None
    assert fitted(from_atoms(molecule("H2O")), target) is None


def test_a_given_cell_takes_only_structures_in_it() -> None:
    whole = from_atoms(ordered(3.9))
    for a, fits in ((3.9, True), (3.95, False)):
        cell = (a * np.eye(3)).tolist()
        given = TargetSpec(kind="crystal", formula="Cu2Au2", cell=cell).resolve(Path())
        assert (fitted(whole, given) is not None) == fits


def test_a_molecule_stands_in_the_middle_of_the_box_in_the_order_of_the_target() -> None:
    target = TargetSpec(kind="molecule", formula="H2O").resolve(Path())
    water = molecule("H2O")
    found = fitted(from_atoms(water), target)
    assert found is not None
    assert np.allclose(found[0].mean(axis=0), np.diag(found[1]) / 2)
    made = Atoms(target.numbers, found[0])
    oxygen = int(np.flatnonzero(made.numbers == 8)[0])
    assert sorted(made.get_distances(oxygen, range(3)).round(4)) == pytest.approx(
        sorted(water.get_distances(0, range(3)).round(4))
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def lengths(positions: np.ndarray, cells: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        return np.linalg.norm(cells, axis=2) + positions.std(axis=1)

    for module in ("base", "chart"):  # descriptors take long to compile
        selection = import_module(f"logan_campaign.selection.{module}")
        monkeypatch.setattr(selection, "structure_descriptors", lengths)
    monkeypatch.chdir(tmp_path)
    other = bulk("NaCl", "rocksalt", a=5.6)
    alloys = [ordered(3.9), ordered(4.1), ordered(3.8)]
    alloys[1].cell[2] *= 1.1
    alloys[2].positions[0] += 0.3
    write("made.extxyz", [*alloys, other])
    with open("made.extxyz", "a") as file:
        file.write("2\nnot a structure\nCu 0 0 0\nAu 1\n")
    return tmp_path


def test_what_was_brought_shares_the_rounds_and_none_of_it_is_picked_twice(folder: Path) -> None:
    external = [{"source": {"type": "files", "path": "made.extxyz"}, "generator": "Elsewhere 2"}]
    generate = {"per_model": 2, "external": external}
    select = {"strategy": "framework", "accept": "all", "group_by": "match", "n_picks": 3}
    target = {**SPEC["target"], "formulas": ["CuAu"]}
    models = {"count": 1, "hyperparameters": {"method": "random", "tries": 2}}
    said = {**SPEC, "target": target, "generate": generate, "select": select, "models": models}
    maker = CampaignMaker(spec=CampaignSpec.model_validate(said))
    before = maker.campaign_id
    with open_store(folder / "store", create=True) as stores:
        jobs = JobStore(stores.docs, {"data": stores.data})
        run_locally(maker.make(), store=jobs, raise_immediately=True, log=False)
        CampaignBuilder.from_stores(stores).build()
    with Results.open(folder / "store") as results:
        campaign = results.campaign()
        record = campaign.record
        [brought] = [results.database.training_set(name) for name in record.external_set_ids]
        assert (brought.role, brought.name) == ("external", "made.extxyz")
        assert [r.label.split("#")[0] for r in brought.rejected] == ["made.extxyz"]
        assert record.known_set_ids == record.training_set_ids == []
        candidates = list(campaign.candidates())
        mine = [c for c in candidates if c.origin is not None]
        assert 0 < len(mine) < len(candidates)
        assert len({c.origin_id for c in mine}) == len(mine) <= 3
        assert {c.origin_id for c in mine} <= set(brought.structure_ids)
        assert {c.origin_id for c in mine} == {n for past in record.rounds for n in past.brought}
        lineage = str(results.database.lineage(mine[0].id))
        assert "Elsewhere 2" in lineage
        assert str(mine[0].origin) in lineage
        assert brought.id in lineage
        with pytest.raises(InputError, match="was brought"):
            reproduce(results, mine[0].id)
        assert "Elsewhere 2" in " ".join(methods(record, campaign.models, []))
    (folder / "made.extxyz").write_text((folder / "made.extxyz").read_text().replace("3.8", "3.7"))
    assert CampaignMaker(spec=maker.spec).campaign_id != before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": {"count": 0}}, "'generate.external' must bring"),
        ({"generate": {"external": [{"source": {"type": "files", "path": "x"}}]}}, "generator"),
    ],
)
def test_a_spec_without_any_candidates_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CampaignSpec.model_validate(SPEC | change)


@pytest.mark.usefixtures("folder")
def test_structures_alone_need_no_generator_and_no_training_set() -> None:
    external = [{"source": {"type": "files", "path": "nothing.cif"}, "generator": "me"}]
    said = {**SPEC, "models": {"count": 0}, "generate": {"external": external}}
    spec = CampaignSpec.model_validate(said)
    assert not spec.models.trains
    with pytest.raises(InputError, match="no such file or folder"):
        CampaignMaker(spec=spec).make()


def past(index: int, target: int, n_generated: int) -> RoundSummary:
    share = {
        "target": target, "formula": "AuCu", "n_generated": n_generated, "n_last_level": 0,
        "n_found": 0, "sightings": {},
    }  # fmt: skip
    return RoundSummary.model_validate(
        {
            "index": index, "formula": "AuCu", "shares": [share], "training_set_id": None,
            "model_ids": [], "n_generated": n_generated, "n_picked": 0, "states": {},
            "relaxations": {}, "n_last_level": 0, "cpu_s": 0, "started_at": "", "finished_at": "",
            "found": [], "sightings": {}, "n_unseen": None, "coverage": None, "stop": {},
            "decision": "continue", "reason": "",
        }
    )  # fmt: skip


def test_compositions_of_which_nothing_was_brought_are_passed_over() -> None:
    history = [past(0, 0, 0), past(1, 1, 0)]
    progress = Progress(["AuCu", "Au2Cu", "AuCu2"], history, only_brought=True)
    assert progress.left == [2]
    assert stop_reason(history, StopSpec(), (), system=True, only_brought=True) == ""
    assert "nothing was generated" in stop_reason(history, StopSpec(), (), system=True)
