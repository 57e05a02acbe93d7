"""ASE calculators for levels, and the remedies that are tried when an SCF cycle fails."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from logan_campaign.relaxation.checks import load_target
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, KPointDensity, XTBLevel
from logan_campaign.relaxation.symmetry import SymmetryFrame, symmetry_frame

#: GPAW's own grid spacing in LCAO (Å), and what it rounds numbers of grid points to.
DEFAULT_GRID_SPACING = 0.2
GRID_MULTIPLE = 4

#: Remedies for an SCF cycle that does not converge, in the order in which they are added to
#: one another; each names what it does. They stay on for the rest of the relaxation, so that
#: its steps see one energy, and are recorded with the result.
GPAW_REMEDIES: tuple[tuple[str, dict[str, Any]], ...] = (
    # Small, strongly damped density steps against charge sloshing.
    ("mixing", {"mixer": {"name": "pulay", "beta": 0.02, "nmaxold": 8, "weight": 100.0}}),
    # Fractional occupations where levels cross at the Fermi energy.
    ("smearing", {"occupations": {"name": "fermi-dirac", "width": 0.2}}),
    # Empty bands help iterative eigensolvers; LCAO diagonalises fully and needs none.
    ("bands", {"nbands": "150%"}),
    ("eigensolver", {"eigensolver": {"name": "rmm-diis", "niter": 4}}),
)
_PLANE_WAVES_ONLY = {"bands", "eigensolver"}

XTB_REMEDIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mixing", {"mixer_damping": 0.1}),
    # Warm electrons, for stretched bonds and radicals.
    ("smearing", {"electronic_temperature": 2000.0}),
)


#: Remedies that change the energy itself; the others change the way to it.
CHANGE_ENERGY = frozenset({"smearing"})


def remedies(level: XTBLevel | GPAWLevel | ASELevel) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the ladder of remedies of a level: names and changed arguments."""
    if isinstance(level, XTBLevel):
        return XTB_REMEDIES
    if isinstance(level, GPAWLevel):
        if level.mode == "pw":
            return GPAW_REMEDIES
        return tuple(r for r in GPAW_REMEDIES if r[0] not in _PLANE_WAVES_ONLY)
    return ()


def frame_for(level: GPAWLevel, atoms: Atoms) -> SymmetryFrame | None:
    """Return the origin and the symmetry of a crystal for GPAW, None where there is none.

    Operations with translations are for plane waves, whose grid GPAW fits to them; that of LCAO
    has numbers of points of its own.
    """
    return symmetry_frame(
        atoms.numbers,
        atoms.positions,
        atoms.cell.array,
        level.symmetry_tolerance,
        with_translations=level.mode == "pw",
    )


def gpaw_parameters(
    level: GPAWLevel,
    *,
    periodic: bool,
    applied: Collection[str] = (),
    frame: SymmetryFrame | None = None,
) -> dict[str, Any]:
    """Return GPAW's arguments for a level as a plain dictionary.

    Args:
        level: the level.
        periodic: crystal (True) or molecule in a box (False).
        applied: names of the remedies in force.
        frame: symmetry of a crystal whose atoms stand about that origin; None: GPAW looks itself.
    """
    if level.mode == "pw":
        parameters: dict[str, Any] = {"mode": {"name": "pw", "ecut": level.ecut_ev}}
    else:
        parameters = {"mode": {"name": "lcao"}, "basis": level.basis}
        parameters["h"] = level.grid_spacing_angstrom or DEFAULT_GRID_SPACING
    parameters["xc"] = level.xc
    parameters["setups"] = level.setups
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
        # At the Γ point symmetry saves nothing, and breaks as soon as the atoms move.
        parameters["symmetry"] = {"point_group": False}
    if level.spinpol:
        parameters["spinpol"] = True
    if level.convergence:
        parameters["convergence"] = dict(level.convergence)
    if level.smearing is not None:
        parameters["occupations"] = level.smearing.model_dump()
    if level.davidson_iterations is not None:
        parameters["eigensolver"] = {"name": "davidson", "niter": level.davidson_iterations}
    for name, change in remedies(level):
        if name not in applied:
            continue
        if name == "smearing" and level.smearing is not None:
            width = max(2 * level.smearing.width, 0.2)
            change = {"occupations": {"name": level.smearing.name, "width": width}}
        parameters.update(change)
    return parameters


def make_calculator(
    level: XTBLevel | GPAWLevel | ASELevel,
    atoms: Atoms,
    *,
    charge: float = 0.0,
    applied: Collection[str] = (),
    frame: SymmetryFrame | None = None,
    log_file: Path | None = None,
    restart: Path | None = None,
) -> Any:
    """Return an ASE calculator for ``atoms`` at ``level``.

    Args:
        level: the level.
        atoms: tells periodic from not; gets initial moments where the level wants spin.
        charge: total charge (e).
        applied: names of the remedies in force.
        frame: symmetry of a crystal whose atoms stand about that origin; GPAW only.
        log_file: where GPAW writes its text; nowhere if None.
        restart: GPAW's file of density and wave functions, made with the same arguments; they
            are taken from it if it is there and can be read.
    """
    if isinstance(level, XTBLevel):
        from tblite.ase import TBLite

        arguments: dict[str, Any] = {"max_iterations": level.max_scf_iterations}
        for name, change in remedies(level):
            if name in applied:
                arguments.update(change)
        return TBLite(method="GFN2-xTB", charge=charge, verbosity=0, **arguments)
    if isinstance(level, GPAWLevel):
        from gpaw import GPAW

        from logan_campaign.relaxation import functionals

        xc = functionals.parameter(level.xc, level.setups_xc)
        txt = None if log_file is None else str(log_file)
        if restart is not None and restart.exists():
            try:
                return GPAW(str(restart), txt=txt, object_hooks={"xc": lambda _: xc})
            except Exception:  # noqa: BLE001 - a file of another version fails in many ways
                restart.unlink(missing_ok=True)
        if level.spinpol and not atoms.get_initial_magnetic_moments().any():
            # A non-magnetic start is a stationary point that the SCF would never leave.
            atoms.set_initial_magnetic_moments(np.full(len(atoms), 1.0))
        periodic = bool(atoms.pbc.any())
        parameters = gpaw_parameters(level, periodic=periodic, applied=applied, frame=frame)
        if charge:
            parameters["charge"] = charge
        return GPAW(txt=txt, **{**parameters, "xc": xc})
    return load_target(level.target)(**level.kwargs)


def estimate_memory_mb(level: GPAWLevel, atoms: Atoms) -> float:
    """Return a rough lower estimate of GPAW's memory (MiB), from its real-space grids.

    Good to a factor of two or three: enough to refuse a 200 Å cell before it starts.
    """
    from ase.units import Bohr, Hartree

    if level.mode == "pw":
        spacing = np.pi / np.sqrt(4 * level.ecut_ev / Hartree) * Bohr
    else:
        spacing = level.grid_spacing_angstrom or DEFAULT_GRID_SPACING
    points = abs(float(np.linalg.det(atoms.cell.array))) / spacing**3
    # Densities and potentials: about two arrays on the grid, three on the fine one (8 x).
    arrays = 26.0
    if level.mode == "pw":
        # Half the valence electrons as bands, each on about half the grid, complex.
        arrays += float(atoms.numbers.sum()) / 4
    return points * arrays * 8 / 2**20
