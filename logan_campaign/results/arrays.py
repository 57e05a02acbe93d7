"""Large data of a campaign as arrays: pools, maps, trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logan_campaign.core.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms


@dataclass(frozen=True)
class StoredPool:
    """The structures that one model generated.

    Attributes:
        id: id of the pool.
        symbols: element of each atom, the same in all structures.
        positions: (n, n_atoms, 3) Å.
        cells: (n, 3, 3) lattice vectors as rows, Å; the box for molecules.
        periodic: True for crystals.
    """

    id: str
    symbols: list[str]
    positions: np.ndarray
    cells: np.ndarray
    periodic: bool

    def __len__(self) -> int:
        return len(self.positions)

    def to_ase(self, index: int) -> Atoms:
        """Return one structure."""
        from ase import Atoms

        return Atoms(
            self.symbols,
            positions=self.positions[index],
            cell=self.cells[index] if self.periodic else None,
            pbc=self.periodic,
        )


@dataclass(frozen=True)
class PcaMap:
    """The PCA map of one round: principal components of all screened structures.

    Attributes:
        round: the round, from 0.
        pca: (n, n_components).
        label: (n,) cluster of each structure.
        pool_ids: the pools.
        pool: (n,) index of each structure's pool in ``pool_ids``.
        sample: (n,) index of each structure in its pool.
        known_pca: (m, n_components) of the known structures of the target's composition.
        explained_variance: fraction of the variance per component.
        candidate_ids: the candidates picked.
        picks: (n_candidates,) row of each candidate in the map.
    """

    round: int
    pca: np.ndarray
    label: np.ndarray
    pool_ids: list[str]
    pool: np.ndarray
    sample: np.ndarray
    known_pca: np.ndarray
    explained_variance: list[float]
    candidate_ids: list[str]
    picks: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """A relaxation, step by step.

    Attributes:
        symbols: element of each atom.
        positions: (n, n_atoms, 3) Å.
        cells: (n, 3, 3) Å.
        energies_ev: (n,) eV.
        forces: (n, n_atoms, 3) eV/Å.
        stresses: (n, 6) eV/Å³ (xx yy zz yz xz xy) if the cell was relaxed, else None.
        periodic: True for a crystal.
    """

    symbols: list[str]
    positions: np.ndarray
    cells: np.ndarray
    energies_ev: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray | None
    periodic: bool

    def __len__(self) -> int:
        return len(self.positions)

    def to_ase(self) -> list[Atoms]:
        """Return all steps as ASE ``Atoms`` with energies and forces."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        images = []
        for n, positions in enumerate(self.positions):
            atoms = Atoms(self.symbols, positions=positions, cell=self.cells[n], pbc=self.periodic)
            found = {"energy": float(self.energies_ev[n]), "forces": self.forces[n]}
            if self.stresses is not None:
                found["stress"] = self.stresses[n]
            atoms.calc = SinglePointCalculator(atoms, **found)
            images.append(atoms)
        return images


def part(arrays: Mapping[str, np.ndarray], name: str, what: str) -> np.ndarray:
    """Return one array of a packed set.

    Raises:
        StoreError: there is no such array.
    """
    if name not in arrays:
        raise StoreError(f"{what} holds no {name!r}: the store is damaged")
    return arrays[name]
