"""The GPAW calculator of a level and its arguments."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from logan_campaign.relaxation.backends.gpaw.level import GPAWLevel, KPointDensity
from logan_campaign.relaxation.base import Setup
from logan_campaign.relaxation.magnetism import initial_moments, unpaired

if TYPE_CHECKING:
    from logan_campaign.relaxation.symmetry import SymmetryFrame


def gpaw_parameters(
    level: GPAWLevel,
    *,
    periodic: bool,
    applied: Collection[str] = (),
    frame: SymmetryFrame | None = None,
    multiplicity: int = 1,
) -> dict[str, Any]:
    """Return GPAW's arguments for a level as a plain dictionary.

    Args:
        level: the level.
        periodic: crystal (True) or molecule in a box (False).
        applied: names of the remedies in force.
        frame: symmetry of a crystal shifted to that origin; None: GPAW determines it.
        multiplicity: of a molecule; above 1 its total moment is fixed.
    """
    if level.mode == "pw":
        parameters: dict[str, Any] = {"mode": {"name": "pw", "ecut": level.ecut_ev}}
    else:
        parameters = {"mode": {"name": "lcao"}, "basis": level.basis}
        parameters["h"] = level.grid_spacing
    parameters["xc"] = level.xc
    parameters["setups"] = level.setups
    if level.hubbard_u:
        kinds = level.setups if isinstance(level.setups, dict) else {"default": level.setups}
        parameters["setups"] = kinds | {
            symbol: f"{kinds.get(symbol, kinds.get('default', 'paw'))}:{u.orbital},{u.value_ev:g}"
            for symbol, u in level.hubbard_u.items()
        }
    parameters["maxiter"] = level.max_scf_iterations
    if periodic:
        tolerance = level.symmetry_tolerance
        found = {"tolerance": tolerance} if frame is None else frame.for_gpaw(tolerance)
        parameters["symmetry"] = found
        if isinstance(level.kpts, KPointDensity):
            parameters["kpts"] = {"density": level.kpts.density, "gamma": level.kpts.gamma}
        else:
            parameters["kpts"] = list(level.kpts)
    else:
        # At the Γ point symmetry saves no time, and it breaks when the atoms move.
        parameters["symmetry"] = {"point_group": False}
    if level.spinpol or level.magnetic_moments or multiplicity > 1:
        parameters["spinpol"] = True
    if level.convergence:
        parameters["convergence"] = dict(level.convergence)
    if level.smearing is not None:
        parameters["occupations"] = level.smearing.model_dump()
    if level.davidson_iterations is not None:
        parameters["eigensolver"] = {"name": "davidson", "niter": level.davidson_iterations}
    for name, change in level.remedies:
        if name not in applied:
            continue
        if name == "smearing" and level.smearing is not None:
            width = max(2 * level.smearing.width, 0.2)
            change = {"occupations": {"name": level.smearing.name, "width": width}}
        parameters.update(change)
    if multiplicity > 1:
        occupations = parameters.get("occupations", {"name": "fermi-dirac", "width": 0.0})
        parameters["occupations"] = {**occupations, "fixmagmom": True}
    return parameters


def make_calculator(level: GPAWLevel, atoms: Atoms, setup: Setup) -> Any:
    """Return GPAW for ``atoms`` at ``level``.

    Args:
        level: the level.
        atoms: periodic or not; receives initial magnetic moments if the level or the molecule
            has spin.
        setup: density and wave functions are read from its restart file if possible.
    """
    from gpaw import GPAW

    from logan_campaign.relaxation.backends.gpaw import functionals

    xc = functionals.parameter(level.xc, level.setups_xc)
    txt = None if setup.log_file is None else str(setup.log_file)
    if setup.restart is not None and setup.restart.exists():
        try:
            return GPAW(str(setup.restart), txt=txt, object_hooks={"xc": lambda _: xc})
        except Exception:  # noqa: BLE001 - a file of another version fails in many ways
            setup.restart.unlink(missing_ok=True)
    multiplicity = atoms.info.get("spin", 1)
    if multiplicity > 1:
        atoms.set_initial_magnetic_moments(unpaired(atoms, multiplicity))
    elif level.magnetic_moments:
        atoms.set_initial_magnetic_moments(
            initial_moments(atoms, level.magnetic_moments, level.magnetic_order)
        )
    elif level.spinpol and not atoms.get_initial_magnetic_moments().any():
        # The SCF cycle would never leave a non-magnetic start, which is a stationary point.
        atoms.set_initial_magnetic_moments(np.full(len(atoms), 1.0))
    periodic = bool(atoms.pbc.any())
    parameters = gpaw_parameters(
        level,
        periodic=periodic,
        applied=setup.remedies,
        frame=setup.frame,
        multiplicity=multiplicity,
    )
    if charge := atoms.info.get("charge"):
        parameters["charge"] = charge
    return GPAW(txt=txt, **{**parameters, "xc": xc})


def estimate_memory_mb(level: GPAWLevel, atoms: Atoms) -> float:
    """Return a rough lower estimate of GPAW's memory (MiB), from its real-space grids.

    Accurate to a factor of two or three: enough to refuse a 200 Å cell in advance.
    """
    from ase.units import Bohr, Hartree

    if level.mode == "pw":
        spacing = np.pi / np.sqrt(4 * level.ecut_ev / Hartree) * Bohr
    else:
        spacing = level.grid_spacing
    points = abs(float(np.linalg.det(atoms.cell.array))) / spacing**3
    # Densities and potentials: about two arrays on the grid, three on the fine one (8 x).
    arrays = 26.0
    if level.mode == "pw":
        # Half the valence electrons as bands, each on about half the grid, complex.
        arrays += float(atoms.numbers.sum()) / 4
    return points * arrays * 8 / 2**20
