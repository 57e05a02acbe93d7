"""Relaxations on a potential that learns end where others do, with fewer force calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.io.ase import AseAtomsAdaptor

from logan_campaign.campaign.spec import TurnsSpec
from logan_campaign.core.documents import ScreeningDoc, Verdict
from logan_campaign.flows.data import TrainingSetMaker
from logan_campaign.flows.levels import RelaxLevelsMaker
from logan_campaign.flows.relax import LevelRelaxMaker
from logan_campaign.potentials.settings import PotentialSettings
from logan_campaign.potentials.surrogate import SurrogateOptimizer
from logan_campaign.relaxation.backends.ase import ASELevel
from logan_campaign.sources import FilesSource

SETTINGS = PotentialSettings(r_cut=3.5, n_max=3, force_noise=0.002)
LEVEL = ASELevel(
    name="emt",
    target="ase.calculators.emt:EMT",
    optimizer="surrogate",
    potential=SETTINGS,
    fmax=0.01,
    isolate=False,
)


def start(seed: int = 0, amount: float = 0.25) -> Atoms:
    """Return Cu3Au with displaced atoms."""
    atoms = bulk("Cu", cubic=True, a=3.75)
    atoms.symbols[0] = "Au"
    atoms.rattle(amount, seed=seed)
    atoms.calc = EMT()
    return atoms


def relaxed(atoms: Atoms, target: object = None, **how: object) -> list[Atoms]:
    """Relax and return all frames with their results."""
    run = SurrogateOptimizer(target or atoms, settings=SETTINGS, logfile=None, **how)
    frames = []
    for _ in run.irun(fmax=0.01, steps=60):
        frame = atoms.copy()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01
    return frames


def test_fewer_force_calls_lead_to_the_same_minimum() -> None:
    plain = start()
    bfgs = BFGS(plain, logfile=None)
    bfgs.run(fmax=0.01)
    atoms = start()
    frames = relaxed(atoms)
    assert len(frames) < 0.5 * (bfgs.nsteps + 1)
    assert atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-3)


def test_a_later_relaxation_is_shorter() -> None:
    known = relaxed(start(7, 0.5))
    alone, with_known = relaxed(start(1, 0.5)), relaxed(start(1, 0.5), known=known)
    assert len(with_known) < len(alone)


def test_cells_relax_under_pressure_as_with_bfgs() -> None:
    cells = []
    for own in (False, True):
        atoms = start(amount=0.05)
        target = FrechetCellFilter(atoms, scalar_pressure=20 * GPa)
        if own:
            run = SurrogateOptimizer(target, settings=SETTINGS, logfile=None)
        else:
            run = BFGS(target, logfile=None)
        assert run.run(fmax=0.01, steps=60)
        cells.append(atoms.cell.cellpar())
    np.testing.assert_allclose(cells[0], cells[1], rtol=2e-3)


def test_fixed_atoms_stay() -> None:
    atoms = start()
    atoms.set_constraint(FixAtoms([0, 2]))
    held = atoms.positions[[0, 2]].copy()
    relaxed(atoms)
    np.testing.assert_array_equal(atoms.positions[[0, 2]], held)


def test_energies_are_foretold_before_they_are_known() -> None:
    atoms = start()
    run = SurrogateOptimizer(atoms, settings=SETTINGS, logfile=None)
    run.run(fmax=0.01, steps=60)
    assert len(run.foretold) == run.nsteps - 1
    assert set(run.summary()) == {"energy_error_ev_per_atom", "calibration"}
    assert run.summary()["energy_error_ev_per_atom"] < 0.05


@pytest.mark.parametrize("isolate", [False, True])
def test_candidates_of_one_job_learn_from_one_another(
    isolate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maker = LevelRelaxMaker(level=LEVEL.model_copy(update={"isolate": isolate}))
    starts = {f"cand-{k}": AseAtomsAdaptor.get_structure(start(k)) for k in range(2)}
    together = maker.make_many.original(maker, starts, "camp-1", 0).relaxations
    assert [one.state for one in together] == ["converged", "converged"]
    about = together[1].settings["surrogate"]
    assert about["learned_from"] == [together[0].id]
    assert about["known_frames"] == together[0].n_steps + 1


def test_a_turn_learns_from_the_turns_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"cand-{k}" for k in range(4)]
    screening = ScreeningDoc(
        campaign_id="camp-0",
        before_level="emt",
        known_set_ids=[],
        verdicts=[Verdict(candidate_id=name, state="pending") for name in names],
        structures={name: AseAtomsAdaptor.get_structure(start(k)) for k, name in enumerate(names)},
    )
    bulk("Al", cubic=True).write("known.cif")
    known = TrainingSetMaker(
        source=FilesSource(path=str(tmp_path / "known.cif")), role="known"
    ).make()
    turns = TurnsSpec(at_a_time=2)
    levels = RelaxLevelsMaker(makers=[LevelRelaxMaker(level=LEVEL)], turns=turns)
    flow = Flow([known, levels.make(screening, [known.output])])
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
    found = [
        relaxation
        for doc in store.query({"output.doc_type": "relaxations"})
        for relaxation in doc["output"]["relaxations"]
    ]
    by_name = {doc["candidate_id"]: doc for doc in found}
    ids = [by_name[name]["id"] for name in names]
    learned = [by_name[name]["settings"]["surrogate"]["learned_from"] for name in names]
    assert learned == [ids[:k] for k in range(4)]


class OnAGrid(EMT):  # type: ignore[misc]
    """EMT with a mean force that depends on where the crystal stands, as from a grid of 0.2 Å."""

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        phase = 2 * np.pi * self.atoms.positions[:, 0].mean() / 0.2
        n = len(self.atoms)
        self.results["energy"] += 0.001 * n * np.cos(phase)
        self.results["free_energy"] = self.results["energy"]
        self.results["forces"] = self.results["forces"] + np.array(
            [0.001 * 2 * np.pi / 0.2 * np.sin(phase), 0.0, 0.0]
        )


def test_a_mean_force_from_a_grid_is_followed() -> None:
    atoms = start()
    atoms.translate((0.07, 0.0, 0.0))
    atoms.calc = OnAGrid()
    assert np.linalg.norm(atoms.get_forces().mean(axis=0)) > 0.01  # eV/Å, above fmax
    relaxed(atoms)
