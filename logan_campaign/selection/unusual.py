"""How unusual the environments in a crystal are, beside those of the training set.

The measure is that of generation by descent, so that it needs no model and judges structures of
any generator; chance is what atoms at random places in the same cells score.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from logan_campaign.core import progress
from logan_campaign.descriptors.environments import atom_spectra
from logan_campaign.geometry.placement import random_placements
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.selection.base import Pool

#: Random placements to which structures are compared.
N_RANDOM = 300

#: Largest number of environments per species to compare with.
_REFERENCES = 200

_REPORT_EVERY = 200

# Structures per batch, to bound memory.
_CHUNK = 64


def unusualness(pool: Pool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the misfit of each structure and of random placements; lower is more usual.

    Args:
        pool: crystals, and the training set.
        seed: of the random placements and of the choice of environments.

    Returns:
        (n,) misfits of the pool, and (N_RANDOM,) sorted misfits of random placements of the same
        atoms in cells of the pool.

    Raises:
        InputError: the training set is empty or lacks a species.
    """
    import jax.numpy as jnp

    from logan_campaign.generators.descent.reference import channels_of, fit, misfits
    from logan_campaign.generators.descent.settings import DescentHyperparameters
    from logan_campaign.generators.environments import training_species
    from logan_campaign.generators.target import Target

    volumes = np.abs(np.linalg.det(pool.cells)) / len(pool.numbers)
    middle = float(np.median(volumes))
    numbers = tuple(int(z) for z in pool.numbers)
    target = Target(numbers, None, True, lattice="drawn", volumes=(middle, middle))
    settings = DescentHyperparameters(references=_REFERENCES).for_target(target)
    training = [to_atoms(structure) for structure in pool.training]
    references = fit(training, target, settings, seed=seed)
    channels = channels_of(settings.descriptor(training_species(training, target)), True)
    species = sorted(set(numbers))
    rows = [np.flatnonzero(pool.numbers == z) for z in species]
    rng = np.random.default_rng([seed, 0x0DD])

    def misfit_of(positions: np.ndarray, cells: np.ndarray, first: int) -> np.ndarray:
        every, features = np.arange(len(numbers)), []
        for row, (places, cell) in enumerate(zip(positions, cells, strict=True)):
            atoms = Atoms(numbers, places, cell=cell, pbc=True)
            features.append(atom_spectra(channels.descriptor, atoms, every))
            if row % _REPORT_EVERY == 0:
                progress.report("compare environments", first + row, N_RANDOM + len(pool))
        total = np.zeros(len(positions))
        for start in range(0, len(positions), _CHUNK):
            part = slice(start, start + _CHUNK)
            parted = channels.split(np.stack(features[part]))
            for reference, own in zip(references, rows, strict=True):
                atom = parted[:, own].reshape(-1, *parted.shape[2:])
                found = np.asarray(misfits(reference, atom, width)).reshape(-1, len(own))
                total[part] += found.sum(axis=1)
        return total / len(numbers)

    width = jnp.float32(settings.last_bandwidth)
    cells = pool.cells[rng.integers(len(pool), size=N_RANDOM)]
    random = misfit_of(random_placements(pool.numbers, cells, rng), cells, 0)
    return misfit_of(pool.positions, pool.cells, N_RANDOM), np.sort(random)
