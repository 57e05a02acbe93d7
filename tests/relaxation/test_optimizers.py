"""BFGS that errors of the forces do not lead astray."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from logan_campaign.relaxation.optimizers import CautiousBFGS

#: A step along x (Å), and what the forces change by across it (eV/Å): all but no curvature.
STEP, ACROSS = np.array([0.01, 0, 0, 0, 0, 0]), np.array([0, 0.05, 0, 0, 0, 0])


def two_points(optimizer: type[BFGS], curvature: float, across: np.ndarray) -> BFGS:
    """Return an optimizer that has seen the forces before and after the step."""
    run = optimizer(Atoms("O2", positions=[(0, 0, 0), (0, 0, 1.2)]), logfile=None)
    run.update(np.zeros(6), np.zeros(6), None, None)
    run.update(STEP, -(curvature * STEP + across), np.zeros(6), np.zeros(6))
    return run


@pytest.mark.parametrize("curvature", [1e-3, -1e-3], ids=["positive", "negative"])
def test_a_force_is_followed_after_an_update_that_erred(curvature: float) -> None:
    gradient = np.array([0, 0.03, 0, 0, 0, 0])
    plain = two_points(BFGS, curvature, ACROSS).state.compute_step(gradient)
    assert abs(plain[0]) > 1.0  # for 0.03 eV/Å along y
    cautious = two_points(CautiousBFGS, curvature, ACROSS).state.compute_step(gradient)
    np.testing.assert_allclose(cautious, -gradient / 70.0)


@pytest.mark.parametrize("curvature", [20.0, -20.0, 500.0])
def test_a_curvature_that_a_bond_may_have_is_learned(curvature: float) -> None:
    run = two_points(CautiousBFGS, curvature, np.zeros(6))
    assert run.H[0, 0] == pytest.approx(curvature)


def test_where_forces_are_right_nothing_changes() -> None:
    ended = []
    for optimizer in (BFGS, CautiousBFGS):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.1, seed=0)
        atoms.calc = EMT()
        run = optimizer(atoms, logfile=None)
        assert run.run(fmax=0.01, steps=200)
        ended.append((run.nsteps, atoms.positions))
    assert ended[0][0] == ended[1][0] > 10
    np.testing.assert_array_equal(ended[0][1], ended[1][1])
