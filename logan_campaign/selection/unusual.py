"""How unusual the environments in a crystal are, beside those of the training set.

The measure is that of generation by descent, so that it needs no model and judges structures of
any generator; chance is what atoms at random places in the same cells score.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms

from logan_campaign.core import progress
from logan_campaign.descriptors.environments import atom_spectra
from logan_campaign.geometry.placement import random_placements
from logan_campaign.geometry.structures import from_atoms, to_atoms
from logan_campaign.geometry.symmetrization import find_operations
from logan_campaign.matching.crystals import CrystalMatcher
from logan_campaign.selection.base import Pool

#: Random placements to which structures are compared.
N_RANDOM = 300

#: Misfits that differ by less are equal.
_EQUAL = 0.05

#: In given cells of so few atoms, many random placements equal the crystal that is looked for.
_FEW_ATOMS = 6

#: Largest number of environments per species to compare with.
_REFERENCES = 200

# Structures per batch, to bound memory.
_CHUNK = 64


def usual(
    pool: Pool, chance: float, symmetrize: float | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return which structures are more usual than random placements.

    Args:
        pool: crystals, and the training set.
        chance: share of random placements of the same atoms, in cells of the pool, that may be
            as usual.
        symmetrize: tolerance (Å) of symmetry, if the pool has been symmetrized. In small given
            cells, structures with all symmetries of the lattice are not compared with random
            placements that equal them.
        seed: of the random placements and of the choice of environments.

    Returns:
        (n,) misfits, lower is more usual, and (n,) whether they are low enough.

    Raises:
        InputError: the training set is empty or lacks a species.
    """
    rng = np.random.default_rng([seed, 0x0DD])
    cells = pool.cells[rng.integers(len(pool), size=N_RANDOM)]
    placements = random_placements(pool.numbers, cells, rng)
    places = np.concatenate([placements, pool.positions])
    misfit = misfits_of(pool, places, np.concatenate([cells, pool.cells]), seed)
    random, own = misfit[:N_RANDOM], misfit[N_RANDOM:]
    fits = own <= np.quantile(random, chance) + _EQUAL
    if symmetrize is not None and pool.fixed_cell and len(pool.numbers) <= _FEW_ATOMS:
        _excuse(pool, own, fits, random, placements, symmetrize, int(chance * N_RANDOM))
    return own, fits


def _excuse(
    pool: Pool,
    misfit: np.ndarray,
    fits: np.ndarray,
    random: np.ndarray,
    placements: np.ndarray,
    symmetrize: float,
    allowed: int,
) -> None:
    """Accept structures with all symmetries of the lattice that only displaced copies surpass.

    Args:
        pool: crystals in one given cell.
        misfit: (n,) of the pool.
        fits: (n,) which ones are accepted; changed.
        random: misfits of random placements.
        placements: their positions (Å).
        symmetrize: tolerance (Å) of symmetry.
        allowed: number of other placements that may be more usual.
    """
    matcher, cell = CrystalMatcher("default"), pool.cells[0]
    full = find_operations(pool.numbers[:1], np.zeros((1, 3)), cell, symmetrize, True).n
    judged: dict[float, bool] = {}
    for row in np.flatnonzero(~fits).tolist():
        operations = find_operations(pool.numbers, pool.positions[row], cell, symmetrize, True)
        if operations.n < full:
            continue
        key = round(float(misfit[row]), 2)  # most samples are copies of others
        if key not in judged:
            own = from_atoms(pool.atoms(row))
            lower = placements[random < misfit[row] - _EQUAL]
            crystals = (Atoms(pool.numbers, places, cell=cell, pbc=True) for places in lower)
            others = (c for c in crystals if not matcher.same(own, from_atoms(c)))
            judged[key] = len(list(itertools.islice(others, allowed + 1))) <= allowed
        fits[row] = judged[key]


def misfits_of(pool: Pool, positions: np.ndarray, cells: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return (n,) misfits of structures (n, N, 3) with a pool's atoms to its training set."""
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
    width = jnp.float32(settings.last_bandwidth)
    every, total = np.arange(len(numbers)), np.zeros(len(positions))
    for start in range(0, len(positions), _CHUNK):
        progress.report("compare environments", start, len(positions))
        part = slice(start, start + _CHUNK)
        crystals = [
            Atoms(numbers, places, cell=cell, pbc=True)
            for places, cell in zip(positions[part], cells[part], strict=True)
        ]
        spectra = [atom_spectra(channels.descriptor, atoms, every) for atoms in crystals]
        parted = channels.split(np.stack(spectra))
        for reference, own in zip(references, rows, strict=True):
            atom = parted[:, own].reshape(-1, *parted.shape[2:])
            found = np.asarray(misfits(reference, atom, width)).reshape(-1, len(own))
            total[part] += found.sum(axis=1)
    return total / len(numbers)
