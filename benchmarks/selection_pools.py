"""Pools for the selection benchmark: ensembles of C5H12O models and what they generate.

The paper's four sets of hyperparameters (r_cut 5 and 6 Å, n_max 3 and 4), 12 models per
ensemble, one ensemble per seed. Every model and its pool are a file of their own; those that
exist are not made again, and a model that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Where the 39 molecules that the paper trains on may lie, from the checkout.
PUBLISHED = Path("../shared/data/c5h12o/training_C4H10O_C6H14O.extxyz")

BOX = ((8.0, 0.0, 0.0), (0.0, 7.0, 0.0), (0.0, 0.0, 6.0))
NUMBERS = (1,) * 12 + (6,) * 5 + (8,)


@dataclass(frozen=True)
class Ensemble:
    """What one ensemble generated.

    Attributes:
        seed: seed of the ensemble.
        positions: (n, 18, 3) Å, member after member.
        member: (n,) which member generated each.
        models: file of each member's model.
        cpu_s: processor time of training and generation (s), all members together; None for
            pools that were made before it was noted.
    """

    seed: int
    positions: np.ndarray
    member: np.ndarray
    models: list[Path]
    cpu_s: tuple[float, float] | None = None


def training_set(path: Path | None) -> tuple[str, list[object]]:
    """Return id and structures of the training set: the published one or the built-in one."""
    from logan_campaign.geometry.structures import to_atoms
    from logan_campaign.sources import BuiltinSource, FilesSource, set_id

    if path is not None:
        loaded = FilesSource(type="files", path=str(path), kind="molecule").load(Path())
    else:
        loaded = BuiltinSource(
            type="builtin", name="alcohols-and-ethers", formulas=["C4H10O", "C6H14O"]
        ).load()
    entries = sorted(loaded.entries, key=lambda entry: entry.id)
    return set_id(entries), [to_atoms(entry.structure) for entry in entries]


def make(
    folder: Path, seeds: list[int], members: int, steps: int, samples: int, source: Path | None
) -> None:
    """Train and generate what is not in ``folder`` yet."""
    from logan_campaign.campaign.spec import ModelsSpec
    from logan_campaign.descriptors.cache import enable_compilation_cache
    from logan_campaign.flows.rounds import member_seed
    from logan_campaign.generators.target import Target
    from logan_campaign.generators.wgan import generate, train

    enable_compilation_cache()
    folder.mkdir(parents=True, exist_ok=True)
    set_name, structures = training_set(source)
    target = Target(NUMBERS, BOX, periodic=False)
    settings = ModelsSpec.model_validate(
        {
            "count": members,
            "hyperparameters": {"steps": steps, "n_neighbour": 12},
            "vary": {"r_cut": [5.0, 6.0], "n_max": [3, 4]},
        }
    ).members()
    for seed in seeds:
        for index, hyperparameters in enumerate(settings):
            pool = pool_path(folder, seed, index)
            if pool.exists():
                continue
            own = member_seed(seed, index)
            checkpoint = folder / "checkpoint.safetensors"
            begun = time.process_time()
            result = train(
                structures,
                target,
                hyperparameters,
                seed=own,
                training_set_id=set_name,
                checkpoint=checkpoint,
            )
            if result.model is None:
                raise SystemExit(f"seed {seed}, member {index}: {result.reason}")
            result.model.save(pool.with_suffix(".safetensors"))
            trained = time.process_time()
            positions = generate(result.model, samples, seed=own).positions
            beside = pool.with_suffix(".part.npz")
            spent = [trained - begun, time.process_time() - trained]
            np.savez_compressed(beside, positions=positions, cpu_s=spent)
            beside.replace(pool)
            checkpoint.unlink(missing_ok=True)
            print(f"{pool}: {result.elapsed_s:.0f} s", flush=True)


def pool_path(folder: Path, seed: int, index: int) -> Path:
    """Return the file of one member's pool; its model lies beside it."""
    return folder / f"seed{seed}-member{index:02d}.npz"


def load(folder: Path, seed: int, members: int) -> Ensemble | None:
    """Return an ensemble, or None if not all of its members are there."""
    paths = [pool_path(folder, seed, index) for index in range(members)]
    if not all(path.exists() for path in paths):
        return None
    pools, spent = [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as archive:
            pools.append(archive["positions"])
            spent.append(archive["cpu_s"] if "cpu_s" in archive else np.full(2, np.nan))
    training, generation = np.sum(spent, axis=0).tolist()
    return Ensemble(
        seed,
        np.concatenate(pools),
        np.concatenate([np.full(len(pool), index) for index, pool in enumerate(pools)]),
        [path.with_suffix(".safetensors") for path in paths],
        None if np.isnan(training) else (training, generation),
    )
