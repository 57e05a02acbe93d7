"""A short vector for a crystal that is near for crystals that match.

For every ordered pair of species (A, B): the mean over the atoms A of their distances to
the nearest, second nearest, … atom B, that is average minimum distances (Widdowson, Mosca,
Pulido, Cooper, Kurlin, MATCH 87, 529 (2022), doi 10.46793/match.87-3.529W) kept apart by
species. Lengths are in free lengths (volume per atom)^(1/3), as StructureMatcher scales
them; what is farther than a cut-off counts as at the cut-off, so that the vector changes
continuously as atoms move. It depends on no choice of cell, origin or order of atoms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from logan_campaign.matching.reduction import Reduced

#: Neighbours of each species counted for each species.
N_NEIGHBOURS = 10

#: Distances are cut off here (in free lengths): a sphere that holds 33 atoms on average.
CUTOFF = 2.0


def fingerprint(crystal: Reduced) -> NDArray[np.float32]:
    """Return the fingerprint, shape (n_species² * N_NEIGHBOURS,), in free lengths."""
    scale = (len(crystal.numbers) / crystal.volume) ** (1 / 3)
    lattice = crystal.lattice * scale
    reciprocal = np.linalg.norm(np.linalg.inv(lattice), axis=0)
    ranges = [np.arange(-n, n + 1) for n in np.floor(CUTOFF * reciprocal + 0.5)]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ lattice
    apart = crystal.frac[:, None, :] - crystal.frac[None, :, :]
    apart -= np.rint(apart)
    vectors = (apart @ lattice)[:, :, None, :] + images
    squared = np.einsum("ijnx,ijnx->ijn", vectors, vectors)
    # the atom itself, which is no neighbour
    squared[np.arange(len(squared)), np.arange(len(squared)), len(images) // 2] = CUTOFF**2
    squared = np.minimum(squared, CUTOFF**2)
    species = np.unique(crystal.numbers)
    parts = []
    for one in species:
        rows = squared[crystal.numbers == one]
        for other in species:
            near = rows[:, crystal.numbers == other].reshape(len(rows), -1)
            if near.shape[1] < N_NEIGHBOURS:
                missing = ((0, 0), (0, N_NEIGHBOURS - near.shape[1]))
                near = np.pad(near, missing, constant_values=CUTOFF**2)
            near = np.partition(near, np.arange(N_NEIGHBOURS), axis=1)[:, :N_NEIGHBOURS]
            parts.append(np.sqrt(near).mean(axis=0))
    return np.concatenate(parts).astype(np.float32)


def distances(one: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root-mean-square difference of a fingerprint to others (n, n_features)."""
    return np.sqrt(np.mean((others - one) ** 2, axis=1))
