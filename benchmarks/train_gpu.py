"""Time of training steps with all members of an ensemble trained together (vmap).

    python benchmarks/train_gpu.py --members 12 --json

Prints milliseconds per step of the whole ensemble and the hours that 12 x 60,000 steps take.
It runs on whatever device JAX finds; only on a GPU is the figure of interest.
"""

from __future__ import annotations

import argparse
import json
import time

from systems import SYSTEMS, system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, default="c5h12o")
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--steps", type=int, default=200, help="steps per timing")
    parser.add_argument("--repeats", type=int, default=3, help="timings; the best counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import jax
    import jax.numpy as jnp

    from logan_campaign.generators.environments import real_environments, training_species
    from logan_campaign.generators.wgan import Hyperparameters
    from logan_campaign.generators.wgan.step import Problem, Program

    structures, target, settings = system(options.system)
    hyperparameters = Hyperparameters(**settings)
    species = training_species(structures, target)
    program = Program(Problem.of(target, hyperparameters, species))
    reals = [
        real_environments(structures, target, hyperparameters, species, seed=seed)
        for seed in range(options.members)
    ]
    real = jax.tree.map(lambda *a: jnp.stack([jnp.asarray(x) for x in a]), *reals)
    keys = jax.random.split(jax.random.key(0), options.members)
    state = jax.jit(jax.vmap(program.init))(keys)

    def many(state, real, keys, count):  # type: ignore[no-untyped-def]
        step = jax.vmap(program.step)
        return jax.lax.fori_loop(0, count, lambda _, s: step(s, real, keys), state)

    begun = time.perf_counter()
    run = jax.jit(many).lower(state, real, keys, jnp.int32(1)).compile()
    compile_s = time.perf_counter() - begun
    state = jax.block_until_ready(run(state, real, keys, jnp.int32(2)))
    times = []
    for _ in range(options.repeats):
        begun = time.perf_counter()
        state = jax.block_until_ready(run(state, real, keys, jnp.int32(options.steps)))
        times.append((time.perf_counter() - begun) / options.steps)
    row = {
        "system": options.system,
        "device": jax.devices()[0].device_kind,
        "members": options.members,
        "ms_per_step": 1e3 * min(times),
        "ms_per_step_and_member": 1e3 * min(times) / options.members,
        "hours_for_60000_steps": min(times) * 60_000 / 3600,
        "compile_s": compile_s,
    }
    if options.json:
        print(json.dumps(row, indent=1))
    else:
        print(
            f"{row['system']} on {row['device']}: {options.members} members together, "
            f"{row['ms_per_step']:.1f} ms per step, {row['hours_for_60000_steps']:.2f} h for "
            f"60,000 steps; compile {compile_s:.1f} s"
        )


if __name__ == "__main__":
    main()
