"""ASE's optimizers, and a BFGS that is robust against small errors in the forces.

BFGS updates the Hessian from the change of the forces y along each step s. If the energy hardly
curves along a step, y·s is dominated by the error of the forces, and the largest eigenvalue of the
update, y·y / y·s, can be thousands of times too large, with either sign. The relaxation then hardly
moves along that direction any more, and later updates do not correct this. It happens to crystals
in plane waves, whose forces have errors from the grid, in flat valleys. Such updates are skipped,
as in the cautious update of D.-H. Li and M. Fukushima, SIAM J. Optim. 11, 1054 (2001),
doi:10.1137/S1052623499354242, who bound y·s from below.
"""

from __future__ import annotations

import numpy as np
from ase.optimize import BFGS, FIRE, FIRE2, LBFGS
from ase.optimize.optimize import Optimizer

#: Largest curvature (eV/Å²) of an accepted update. Bonds have up to about 100 along their
#: direction, and the stiffest directions of several atoms a few times that.
MOST_CURVATURE = 1000.0


class CautiousBFGS(BFGS):
    """ASE's BFGS without updates of the Hessian by unphysically large curvatures."""

    def update(
        self,
        pos: np.ndarray,
        forces: np.ndarray,
        pos0: np.ndarray | None,
        forces0: np.ndarray | None,
    ) -> None:
        """Update the Hessian, if the change of the forces is plausible.

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
        # by its full name, since mypy does not recognise super() as untyped
        BFGS.update(self, pos, forces, pos0, forces0)


#: Optimizers by their name in levels.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "FIRE": FIRE,
    "FIRE2": FIRE2,
    "LBFGS": LBFGS,
    "BFGS": CautiousBFGS,
}
