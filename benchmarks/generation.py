"""Time to generate many structures with a model of the paper's size.

python benchmarks/generation.py --system c5h12o --structures 24000 --json
"""

from __future__ import annotations

import argparse
import json
import time

from systems import SYSTEMS, Probe, system

from logan_campaign.processors import pin_to_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, default="c5h12o")
    parser.add_argument("--structures", type=int, default=24_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pin_to_cores(range(options.cores))
    import jax

    from logan_campaign.gan import Hyperparameters, LoganModel, generate
    from logan_campaign.gan.step import Problem, program_for

    _, target, settings = system(options.system)
    hyperparameters = Hyperparameters(**settings)
    species = tuple(sorted(set(target.numbers)))
    state = program_for(Problem.of(target, hyperparameters, species)).init(jax.random.key(0))
    model = LoganModel(
        state.generator, state.critic, hyperparameters, species, target, "set-none", 0, 0
    )
    begun = time.perf_counter()
    generate(model, 1, seed=0)
    compile_s = time.perf_counter() - begun
    probe = Probe()
    probe.measure()
    begun, cpu = time.perf_counter(), time.process_time()
    generate(model, options.structures, seed=0)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    row = {
        "system": options.system,
        "structures": options.structures,
        "cores": options.cores,
        "generate_s": wall,
        "cpu_generate_s": cpu,
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


if __name__ == "__main__":
    main()
