"""Equality of molecules and clusters by geometry, for those without a molecular graph.

Two arrangements of the same atoms are compared by the root mean square distance of their atoms
after the best rotation, reflection and exchange of equal atoms. pymatgen finds it: by the principal
axes of inertia and an assignment (fast, but only an upper limit, and at random where axes are
equivalent), then by matching atom after atom, which keeps every order that stays within the limit.
"""

from __future__ import annotations

import numpy as np
from pymatgen.core import Molecule
from pymatgen.core.molecule_matcher import GeneticOrderMatcher, HungarianOrderMatcher


def arrangement_rmsd(first: Molecule, second: Molecule, limit: float) -> float | None:
    """Return the RMSD (Å) of two arrangements of atoms, None above a limit.

    Mirror images are equal, as they have the same energy. Charge and spin are not compared.

    Args:
        first, second: with the same composition, or the result is None.
        limit: largest RMSD (Å).
    """
    if sorted(first.atomic_numbers) != sorted(second.atomic_numbers):
        return None
    if len(first) == 1:
        return 0.0
    one, two = (_sorted_distances(molecule) for molecule in (first, second))
    # atoms that move by d_i and d_j change their distance by at most d_i + d_j, so the root mean
    # square over all pairs is at most twice the RMSD; sorting makes it least
    if np.sqrt(np.mean((one - two) ** 2)) > 2.0 * limit:
        return None
    target = _rare_first(first)
    images = [Molecule(second.species, sign * second.cart_coords) for sign in (1.0, -1.0)]
    quick = min(HungarianOrderMatcher(target).fit(image)[1] for image in images)
    if quick <= limit / 2:
        return float(quick)
    thorough = [
        rmsd
        for image in images
        for _, rmsd in GeneticOrderMatcher(target, threshold=limit).fit(image)
    ]
    best = min([quick, *thorough])
    return float(best) if best <= limit else None


def _sorted_distances(molecule: Molecule) -> np.ndarray:
    """Return the distances of all pairs, sorted within each pair of species, (n_pairs,)."""
    numbers = np.array(molecule.atomic_numbers)
    i, j = np.triu_indices(len(numbers), 1)
    low, high = np.minimum(numbers[i], numbers[j]), np.maximum(numbers[i], numbers[j])
    distances = molecule.distance_matrix[i, j]
    return np.asarray(distances[np.lexsort((distances, high, low))])


def _rare_first(molecule: Molecule) -> Molecule:
    """Return the atoms in an order in which few partial matches arise: rare species first."""
    numbers = np.array(molecule.atomic_numbers)
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    away = np.linalg.norm(molecule.cart_coords - molecule.cart_coords.mean(axis=0), axis=1)
    # far atoms first: they fix the orientation
    order = np.lexsort((-away, counts[inverse]))
    return Molecule.from_sites([molecule[int(k)] for k in order])
