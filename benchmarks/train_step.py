"""Time of one training step against the matrix-product bound, on one core or several.

    python benchmarks/train_step.py --system c5h12o --json
    python benchmarks/train_step.py --members 2        # one process per core

The bound is the operations of the step's matrix products over the rate of a matrix product
on the same core in the same run. On a machine that others use too, the figures by processor
time (``cpu_…``) are the ones to trust.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from systems import SYSTEMS, Probe, step_flops, system

from logan_campaign.core.processors import pin_to_cores


def measure(name: str, core: int, steps: int, repeats: int, cache: Path) -> dict[str, object]:
    """Return the figures of one member on one core, whose compiled programs are kept in cache."""
    pin_to_cores([core])
    import jax
    import jax.numpy as jnp

    from logan_campaign.descriptors.cache import enable_compilation_cache
    from logan_campaign.generators.environments import real_environments, training_species
    from logan_campaign.generators.wgan import Hyperparameters
    from logan_campaign.generators.wgan.step import Problem, Program
    from logan_campaign.generators.wgan.stored import stored_run

    structures, target, settings = system(name)
    hyperparameters = Hyperparameters(**settings)
    species = training_species(structures, target)
    begun = time.perf_counter()
    real = real_environments(structures, target, hyperparameters, species, seed=0)
    setup_s = time.perf_counter() - begun
    enable_compilation_cache(cache)
    key = jax.random.key(0)

    def compiled() -> tuple[Any, Program, float, float]:
        program = Program(Problem.of(target, hyperparameters, species))
        state = program.jit_init(key)
        jax.block_until_ready(state)
        begun, cpu = time.perf_counter(), time.process_time()
        run = stored_run(program, state, real, key)
        # no step is left to be done: what takes time is to have the program
        jax.block_until_ready(run(state, real, key, jnp.int32(0)))
        return run, program, time.perf_counter() - begun, time.process_time() - cpu

    run, program, compile_s, compile_cpu_s = compiled()
    jax.clear_caches()
    run, program, cached_s, cached_cpu_s = compiled()
    state = jax.block_until_ready(run(program.jit_init(key), real, key, jnp.int32(2)))
    probe, wall, cpu = Probe(), [], []
    for k in range(repeats):
        # as long as the steps that are timed after it
        probe.measure(steps * (wall[-1] if wall else 0.03))
        begun, begun_cpu = time.perf_counter(), time.process_time()
        state = jax.block_until_ready(run(state, real, key, jnp.int32(2 + (k + 1) * steps)))
        wall.append((time.perf_counter() - begun) / steps)
        cpu.append((time.process_time() - begun_cpu) / steps)
    flops = 2.3e9 if name == "c5h12o" else step_flops(program)
    return {
        "system": name,
        "core": core,
        "ms_per_step": 1e3 * min(wall),
        "cpu_ms_per_step": 1e3 * min(cpu),
        "probe_gflops": probe.best,
        "cpu_probe_gflops": probe.best_cpu,
        "bound_ms": flops / probe.best / 1e6,
        "bound_fraction": flops / probe.best / 1e9 / min(wall),
        "cpu_bound_fraction": flops / probe.best_cpu / 1e9 / min(cpu),
        "flops_per_step": flops,
        "compile_s": compile_s,
        "cpu_compile_s": compile_cpu_s,
        "cached_compile_s": cached_s,
        "cpu_cached_compile_s": cached_cpu_s,
        "setup_s": setup_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, default="c5h12o")
    parser.add_argument("--core", type=int, default=0, help="core of the first member")
    parser.add_argument("--members", type=int, default=1, help="processes, one per core")
    parser.add_argument("--steps", type=int, default=10, help="steps per timing")
    parser.add_argument("--repeats", type=int, default=10, help="timings; the best counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.members == 1:
        with tempfile.TemporaryDirectory() as directory:
            rows = [
                measure(
                    options.system,
                    options.core,
                    options.steps,
                    options.repeats,
                    Path(directory) / "cache",
                )
            ]
    else:
        shared = [sys.executable, __file__, "--json", "--system", options.system]
        shared += ["--steps", str(options.steps), "--repeats", str(options.repeats)]
        processes = [
            subprocess.Popen(
                [*shared, "--core", str(options.core + k)], stdout=subprocess.PIPE, text=True
            )
            for k in range(options.members)
        ]
        rows = [json.loads(process.communicate()[0]) for process in processes]
    if options.json:
        print(json.dumps(rows[0] if len(rows) == 1 else rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['system']}, core {row['core']}: {row['ms_per_step']:.1f} ms per step, bound "
            f"{row['bound_ms']:.1f} ms at {row['probe_gflops']:.0f} GF/s: fraction "
            f"{row['bound_fraction']:.2f}"
        )
        print(
            f"  by processor time: {row['cpu_ms_per_step']:.1f} ms per step, fraction "
            f"{row['cpu_bound_fraction']:.2f}"
        )
        print(
            f"  compile {row['compile_s']:.1f} s (processor {row['cpu_compile_s']:.1f} s), from "
            f"cache {row['cached_compile_s']:.1f} s (processor "
            f"{row['cpu_cached_compile_s']:.1f} s); set-up {row['setup_s']:.1f} s"
        )


if __name__ == "__main__":
    main()
