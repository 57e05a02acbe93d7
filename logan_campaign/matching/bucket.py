"""Crystals with the same exact key, side by side as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from logan_campaign.matching.fingerprint import fingerprint
from logan_campaign.matching.reduction import Reduced

#: Cells per direction of the grid in which vectors between sites are counted.
GRID = 16


class _Rows:
    """An array that rows are added to."""

    def __init__(self) -> None:
        self._array: NDArray[Any] | None = None
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, row: NDArray[Any]) -> None:
        if self._array is None:
            self._array = np.empty((16, *row.shape), row.dtype)
        elif self._n == len(self._array):
            self._array = np.concatenate([self._array, np.empty_like(self._array)])
        self._array[self._n] = row
        self._n += 1

    def get(self) -> NDArray[Any]:
        assert self._array is not None  # asked for only where something is
        return self._array[: self._n]


def by_species(crystal: Reduced) -> list[NDArray[np.float32]]:
    """Return fractional coordinates, (n_sites, 3) per species, the rarest species first."""
    species, counts = np.unique(crystal.numbers, return_counts=True)
    return [
        crystal.frac[crystal.numbers == species[i]].astype(np.float32)
        for i in np.lexsort((species, counts))
    ]


class Bucket:
    """Crystals of one key, in the order in which they were added."""

    def __init__(self) -> None:
        self.items: list[Reduced] = []
        self._lattices: dict[bytes, int] = {}
        self._lattice_of: list[int] = []
        self._sites: list[_Rows] = []
        self._fingerprints = _Rows()
        self._cells = _Rows()

    def __len__(self) -> int:
        """Return how many crystals there are."""
        return len(self.items)

    def add(self, crystal: Reduced) -> None:
        """Add a crystal at the end."""
        self.items.append(crystal)
        name = crystal.lattice.tobytes()
        self._lattice_of.append(self._lattices.setdefault(name, len(self._lattices)))
        sites = by_species(crystal)
        self._sites = self._sites or [_Rows() for _ in sites]
        for rows, coordinates in zip(self._sites, sites, strict=True):
            rows.add(coordinates)

    def lattice_of(self, indices: NDArray[Any]) -> NDArray[np.int64]:
        """Return a number for the lattice of each crystal, the same for equal lattices."""
        return np.array([self._lattice_of[index] for index in indices], dtype=np.int64)

    def sites(self, indices: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return fractional coordinates, (n, n_sites, 3) per species, rarest first."""
        return [rows.get()[indices] for rows in self._sites]

    def fingerprints(self) -> NDArray[np.float32]:
        """Return the fingerprints of all, shape (n, n_features)."""
        for crystal in self.items[len(self._fingerprints) :]:
            self._fingerprints.add(fingerprint(crystal))
        return self._fingerprints.get()

    def vector_cells(self) -> NDArray[np.int32]:
        """Return the grid cells of the vectors between sites of the rarest species.

        Shape (n, n_sites, n_sites - 1): from each site to all others, as the number of the
        cell, of ``GRID``³ in the unit cell, that holds the vector.
        """
        done = len(self._cells)
        if done < len(self.items):
            sites = self._sites[0].get()[done:].astype(np.float64)
            n_sites = sites.shape[1]
            vectors = sites[:, None, :, :] - sites[:, :, None, :]
            vectors = vectors[:, ~np.eye(n_sites, dtype=bool)]
            places = np.minimum((vectors - np.floor(vectors)) * GRID, GRID - 1).astype(np.int32)
            numbers = (places[..., 0] * GRID + places[..., 1]) * GRID + places[..., 2]
            for row in numbers.reshape(len(sites), n_sites, n_sites - 1):
                self._cells.add(row)
        found: NDArray[np.int32] = self._cells.get()
        return found
