"""ASE's optimizers, and a BFGS that small errors in the forces do not lead astray.

BFGS learns the Hessian from the change of the forces y along each step s. Where the energy hardly
curves along a step, y·s is little more than the error of the forces, and the largest eigenvalue
that the update brings in, y·y / y·s, may come out thousands of times too large, of either sign: the
relaxation then hardly moves along that direction any more, and the matrix does not unlearn it. A
crystal in plane waves, whose forces err as it moves against the grid, gets there in flat valleys.
Such updates are passed over, as cautious ones are by D.-H. Li and M. Fukushima, SIAM J. Optim. 11,
1054 (2001), doi:10.1137/S1052623499354242, who bound y·s from below.
"""

from __future__ import annotations

import numpy as np
from ase.optimize import BFGS, FIRE, FIRE2, LBFGS
from ase.optimize.optimize import Optimizer

#: Largest curvature (eV/Å²) that an update may bring in. Bonds have up to some 100 along
#: themselves, and the stiffest directions of several atoms a few times that.
MOST_CURVATURE = 1000.0


class CautiousBFGS(BFGS):
    """ASE's BFGS, less the updates of the Hessian that bring in a curvature no bond has."""

    def update(
        self,
        pos: np.ndarray,
        forces: np.ndarray,
        pos0: np.ndarray | None,
        forces0: np.ndarray | None,
    ) -> None:
        """Update the Hessian, if the change of the forces can be believed.

        Args:
            pos: (3 n_atoms,) positions (Å).
            forces: (3 n_atoms,) forces there (eV/Å).
            pos0: (3 n_atoms,) positions one step before; None at the first.
            forces0: (3 n_atoms,) forces there; None at the first.
        """
        if self.state is not None:
            moved, changed = pos - pos0, forces0 - forces
            if changed @ changed > MOST_CURVATURE * abs(changed @ moved):
                return
        # by its full name, which mypy knows to be without types, as it does not with super()
        BFGS.update(self, pos, forces, pos0, forces0)


#: By the name that a level gives them.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "FIRE": FIRE,
    "FIRE2": FIRE2,
    "LBFGS": LBFGS,
    "BFGS": CautiousBFGS,
}
