"""Pools of crystals in a given cell, and what selection by framework picks from them.

As in ``crystal_systems.py``, every function is a function of its arguments and sees of the target
only its atoms and its cell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import crystal_systems
import numpy as np
from ase import Atoms
from crystal_systems import bare

#: Members of an ensemble of descents, at their defaults, and samples of each.
MEMBERS, PER_MEMBER = 4, 100

#: The paper's settings for crystals, one member of each, but for the steps (the paper: 45,001);
#: and how many samples of each.
WGAN: dict[str, Any] = {
    "count": 4,
    "hyperparameters": {
        "steps": 2000,
        "learning_rate": 10**-3.5,
        "r_cut": 4.0,
        "n_max": 4,
        "rattle_copies": 10,
        "rattle_stdev": 0.03,
        "environments_per_species": 20,
    },
    "vary": {"radial": ["bessel", "gaussian"], "n_neighbour": [12, 25]},
}
WGAN_PER_MEMBER = 1000


def picked(
    pool: Any, n: int, seed: int, extend: bool, **settings: Any
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return ``n`` structures that selection by framework picks, in order, as they go on.

    Args:
        pool: what they are picked from.
        n: how many, as far as the strategy finds so many.
        seed: of the selection.
        extend: where it finds fewer, continue with more of the same networks, in the order of
            the same strategy.
        settings: of the strategy, where they differ from its defaults.

    Returns:
        Positions (k, n_atoms, 3) Å, their rows in the pool, and the selection before it was
        continued.
    """
    from logan_campaign.selection import FrameworkSelection, select

    first = select(pool, FrameworkSelection(n_picks=n, **settings), seed)
    order, moved = first.indices.tolist(), first.starts
    if extend and len(order) < n:
        more = select(pool, FrameworkSelection(n_picks=n, **{**settings, "per_key": n}), seed)
        order += [row for row in more.indices.tolist() if row not in order][: n - len(order)]
        moved = moved | more.starts
    positions = [moved[row].positions if row in moved else pool.positions[row] for row in order]
    shape = (-1, *pool.positions.shape[1:])
    return np.array(positions).reshape(shape), np.array(order, dtype=int), first


class Picks(NamedTuple):
    """What :func:`selected` gives.

    Attributes:
        positions: (k, n_atoms, 3) Å, in the order in which they go on.
        figures: numbers of samples, of those that are plausible and that fit; processor time.
    """

    positions: np.ndarray
    figures: dict[str, Any]


def descent_pool(
    numbers: np.ndarray,
    cell: np.ndarray,
    training: Sequence[Atoms],
    seed: int,
) -> tuple[Any, int]:
    """Return what descents at their defaults give and the default screening leaves.

    The members of the ensemble differ in their seed alone.

    Returns:
        A ``logan_campaign.selection.Pool``, and how many samples there were before screening.

    Raises:
        ValueError: if a member has nothing to learn from.
    """
    from logan_campaign.generators import models

    settings = [models.settings_from({"method": "descent"})] * MEMBERS
    seeds = [
        int(np.random.SeedSequence([seed, member]).generate_state(1)[0]) >> 1
        for member in range(MEMBERS)
    ]
    return _pool(numbers, cell, training, settings, seeds, PER_MEMBER)


def wgan_pool(
    numbers: np.ndarray,
    cell: np.ndarray,
    training: Sequence[Atoms],
    seed: int,
) -> tuple[Any, int]:
    """Return what the paper's networks give and the default screening leaves, as descents do.

    Four members, the paper's settings for crystals with fewer steps.

    Raises:
        ValueError: if a training fails.
    """
    from logan_campaign.campaign.spec import ModelsSpec
    from logan_campaign.flows.rounds import member_seed

    settings = ModelsSpec.model_validate(WGAN).members()
    seeds = [member_seed(seed, member) for member in range(len(settings))]
    return _pool(numbers, cell, training, settings, seeds, WGAN_PER_MEMBER)


def _pool(
    numbers: np.ndarray,
    cell: np.ndarray,
    training: Sequence[Atoms],
    settings: Sequence[Any],
    seeds: Sequence[int],
    per_member: int,
) -> tuple[Any, int]:
    """Return the plausible samples of one member for each of the settings."""
    from logan_campaign.generators.target import Target

    target = Target(tuple(int(z) for z in numbers), tuple(map(tuple, cell.tolist())), True)
    structures = [bare(atoms) for atoms in training]
    positions = []
    for member, (own, seed) in enumerate(zip(settings, seeds, strict=True)):
        result = own.train(structures, target, seed=seed, training_set_id="crystals")
        if result.model is None:
            raise ValueError(f"member {member}: {result.reason}")
        positions.append(result.model.generate(per_member, seed=seed).positions)
    samples = np.concatenate(positions).astype(float)
    group = np.repeat(np.arange(len(settings)), per_member)
    return _plausible(numbers, cell, training, samples, group), len(samples)


def symmetric_pool(
    numbers: np.ndarray, cell: np.ndarray, training: Sequence[Atoms], seed: int
) -> tuple[Any, int]:
    """Return what is plausible of as many symmetric random crystals as descents give."""
    samples = crystal_systems.symmetric_random(numbers, cell, training, MEMBERS * PER_MEMBER, seed)
    group = np.zeros(len(samples), dtype=int)
    return _plausible(numbers, cell, training, samples, group), len(samples)


def _plausible(
    numbers: np.ndarray,
    cell: np.ndarray,
    training: Sequence[Atoms],
    samples: np.ndarray,
    group: np.ndarray,
) -> Any:
    """Return what the default screening leaves of samples, to select from."""
    from logan_campaign.geometry.structures import from_atoms
    from logan_campaign.selection import Pool
    from logan_campaign.selection.screening import ScreeningSpec, screen_pool

    cells = np.repeat(np.asarray(cell, dtype=float)[None], len(samples), axis=0)
    plausible = screen_pool(samples, cells, np.asarray(numbers), True, ScreeningSpec()) == ""
    return Pool(
        numbers=np.asarray(numbers),
        positions=samples[plausible],
        cells=cells[plausible],
        periodic=True,
        group=group[plausible],
        training=[from_atoms(bare(atoms)) for atoms in training],
    )


def selected(
    numbers: np.ndarray,
    cell: np.ndarray,
    training: Sequence[Atoms],
    n: int,
    seed: int,
    make: Callable[..., tuple[Any, int]],
    **settings: Any,
) -> Picks:
    """Return ``n`` picks from what ``make`` gives, such as :func:`descent_pool`.

    Selection by framework learns its coordination from the training set, and its first picks
    stand for the most samples; short lists are extended. ``settings``: see :func:`picked`.
    """
    begun = time.process_time()
    pool, n_samples = make(numbers, cell, training, seed)
    made = time.process_time()
    positions, _, chosen = picked(pool, n, seed, True, **settings)
    fitting = [one for one in chosen.keys if one is not None]
    return Picks(
        positions,
        {
            "n_samples": n_samples,
            "n_plausible": len(pool),
            "n_picks_before_extension": len(chosen.indices),
            "n_networks_picked": len(set(fitting)),
            "n_picks_with_network": len(fitting),
            "represents": chosen.represents.tolist(),
            "generate_cpu_s": round(made - begun, 1),
            "select_cpu_s": round(time.process_time() - made, 1),
        },
    )
