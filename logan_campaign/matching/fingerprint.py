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

from logan_campaign.geometry.neighbours import neighbours
from logan_campaign.matching.reduction import Reduced

#: Neighbours of each species counted for each species.
N_NEIGHBOURS = 10

#: Distances are cut off here (in free lengths): a sphere that holds 33 atoms on average.
CUTOFF = 2.0


def fingerprint(crystal: Reduced) -> NDArray[np.float32]:
    """Return the fingerprint, shape (n_species² * N_NEIGHBOURS,), in free lengths."""
    scale = (len(crystal.numbers) / crystal.volume) ** (1 / 3)
    lattice = crystal.lattice * scale
    found = neighbours(crystal.frac @ lattice, lattice, CUTOFF)
    species, kinds = np.unique(crystal.numbers, return_inverse=True)
    groups = found.first * len(species) + kinds[found.second]
    order, rank = found.ranks(groups)
    kept = rank < N_NEIGHBOURS
    near = np.full((len(kinds) * len(species), N_NEIGHBOURS), CUTOFF)
    near[groups[order[kept]], rank[kept]] = found.distance[order[kept]]
    near = near.reshape(len(kinds), -1)
    parts = [near[kinds == kind].mean(axis=0) for kind in range(len(species))]
    return np.concatenate(parts).astype(np.float32)


def distances(one: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root-mean-square difference of a fingerprint to others (n, n_features)."""
    return np.sqrt(np.mean((others - one) ** 2, axis=1))
