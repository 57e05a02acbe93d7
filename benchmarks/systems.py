"""What the benchmarks share: two systems that need no data files, a probe, a stopwatch.

The machine's speed drifts, so times are compared with a matrix product measured on the same
core in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits


def molecules() -> tuple[list[Any], Any, dict[str, Any]]:
    """Return training molecules, the C5H12O target and the paper's hyperparameters."""
    from ase import Atoms
    from rdkit import Chem
    from rdkit.Chem import AllChem

    from logan_campaign.generators.target import Target

    structures = []
    for smiles in ("CCCCO", "CCOCC", "CC(C)CO", "CCCCCCO", "CC(C)OC(C)C", "CCC(O)(C)CC"):
        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(molecule, randomSeed=1)
        structures.append(
            Atoms(
                [a.GetSymbol() for a in molecule.GetAtoms()],
                molecule.GetConformer().GetPositions(),
            )
        )
    target = Target((6,) * 5 + (1,) * 12 + (8,), ((8, 0, 0), (0, 7, 0), (0, 0, 6)), False)
    return structures, target, {}


def crystals(radial: str) -> tuple[list[Any], Any, dict[str, Any]]:
    """Return SiO2 crystals, an 18-atom target and the paper's hyperparameters."""
    from ase.spacegroup import crystal

    from logan_campaign.generators.target import Target

    quartz = crystal(
        ("Si", "O"),
        [(0.4697, 0.0, 1 / 3), (0.4135, 0.2669, 0.2142)],
        spacegroup=152,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )
    cristobalite = crystal(
        ("Si", "O"),
        [(0.3, 0.3, 0.0), (0.24, 0.10, 0.18)],
        spacegroup=92,
        cellpar=[4.971, 4.971, 6.922, 90, 90, 90],
    )
    target = quartz.repeat((1, 1, 2))
    settings = {
        "radial": radial,
        "r_cut": 4.0,
        "n_max": 4,
        "n_neighbour": 25,
        "learning_rate": 10**-3.5,
        "rattle_copies": 10,
        "rattle_stdev": 0.03,
        "environments_per_species": 20,
    }
    cell = tuple(tuple(row) for row in target.cell.array)
    return [quartz, cristobalite], Target(tuple(target.numbers), cell, True), settings


def system(name: str) -> tuple[list[Any], Any, dict[str, Any]]:
    """Return the system called 'c5h12o', 'sio2-bessel' or 'sio2-gaussian'."""
    return molecules() if name == "c5h12o" else crystals(name.removeprefix("sio2-"))


SYSTEMS = ("c5h12o", "sio2-bessel", "sio2-gaussian")


def step_flops(program: Any) -> float:
    """Return the floating-point operations of one step's matrix products.

    C5H12O with the paper's settings: 2.3e9.
    """
    h = program.problem.hyperparameters
    rows = h.batch_size * len(program.problem.target.numbers)

    def weights(sizes: tuple[int, ...]) -> int:
        return sum(a * b for a, b in itertools.pairwise(sizes))

    n_features = program.descriptor.n_features
    critic = weights((n_features, *h.critic_widths, 1))
    first = n_features * h.critic_widths[0]
    generator = weights((h.latent_size, *h.generator_widths, program.place.n_outputs))
    batches = 1 + h.critic_updates + h.penalty_updates
    return 2.0 * (
        h.critic_updates * 2 * rows * (3 * critic - first)
        + h.penalty_updates * rows * 4 * critic
        + h.batch_size * generator * (batches + 2)
        + rows * 2 * critic
    )


class Probe:
    """The rate of a 270 x 256 x 128 matrix product: the faster of NumPy's and JAX's."""

    def __init__(self) -> None:
        import jax

        rng = np.random.default_rng(0)
        self.a = rng.normal(size=(270, 256)).astype(np.float32)
        self.b = rng.normal(size=(256, 128)).astype(np.float32)
        self.on_device = jax.device_put((self.a, self.b))
        self.product = jax.jit(lambda a, b: a @ b)
        self.block = jax.block_until_ready
        self.best = 0.0
        self.best_cpu = 0.0

    def measure(self, seconds: float = 0.1) -> None:
        """Measure once more; the best rates so far are kept, by wall and by processor time.

        Args:
            seconds: how long each product is repeated. As long as what the rate is compared
                with: over a few milliseconds the machine bursts, and the best of many short
                windows is a rate that nothing longer can keep.
        """
        flops = 2.0 * 270 * 256 * 128
        # NumPy's BLAS has started its threads before this process was pinned to a core
        with threadpool_limits(limits=1):
            self._measure(flops, seconds)

    def _measure(self, flops: float, seconds: float) -> None:
        for function, args in ((np.matmul, (self.a, self.b)), (self.product, self.on_device)):
            self.block(function(*args))
            count, wall, cpu = 0, time.perf_counter(), time.process_time()
            while (spent := time.perf_counter() - wall) < seconds:
                for _ in range(20):
                    result = function(*args)
                self.block(result)
                count += 20
            cpu = time.process_time() - cpu
            self.best = max(self.best, flops * count / spent / 1e9)
            self.best_cpu = max(self.best_cpu, flops * count / cpu / 1e9)


def options_of(description: str) -> argparse.Namespace:
    """Return what the benchmarks of many structures are asked for, pinned to their cores."""
    from logan_campaign.core.processors import pin_to_cores

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--system", choices=SYSTEMS, default="c5h12o")
    parser.add_argument("--structures", type=int, default=24_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pin_to_cores(range(options.cores))
    return options


def time_structures(options: argparse.Namespace, verb: str, work: Callable[[int], Any]) -> None:
    """Time ``work(n)`` after it has been compiled for one structure, and print the figures."""
    begun = time.perf_counter()
    work(1)
    compile_s = time.perf_counter() - begun
    probe = Probe()
    probe.measure()
    begun, cpu = time.perf_counter(), time.process_time()
    work(options.structures)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    row = {
        "system": options.system,
        "structures": options.structures,
        "cores": options.cores,
        f"{verb}_s": wall,
        f"cpu_{verb}_s": cpu,
        "compile_s": compile_s,
        "probe_gflops": probe.best,
        # 200 steps of the C5H12O benchmark at the full matrix-product rate of one core
        "bound_of_200_steps_s": 200 * 2.3 / probe.best_cpu,
    }
    if options.json:
        print(json.dumps(row, indent=1))
    else:
        print(
            f"{row['system']}: {options.structures} structures in {wall:.2f} s (processor time "
            f"{cpu:.2f} s) after {compile_s:.1f} s of compiling; 200 training steps take at "
            f"least {row['bound_of_200_steps_s']:.1f} s on one core"
        )
