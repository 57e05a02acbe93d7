"""Time to describe many structures for selection, beside the time of training steps.

    python benchmarks/descriptors.py --system c5h12o --structures 24000 --json

The descriptor is the one of selection (r_cut 5 Å, n_max 4, 20 neighbours). The yardstick is
200 training steps, measured by ``train_step.py`` on the same machine.
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
    import numpy as np

    from logan_campaign.descriptors import structure_descriptors

    _, target, _ = system(options.system)
    rng = np.random.default_rng(0)
    positions = rng.random((options.structures, len(target.numbers), 3)) @ target.cell_array
    settings = {
        "periodic": target.periodic,
        "species": sorted(set(target.numbers)),
        "radial": "bessel",
        "r_cut": 5.0,
        "n_max": 4,
        "n_neighbour": 20,
    }
    begun = time.perf_counter()
    structure_descriptors(positions[:1], target.cell_array, target.numbers, **settings)
    compile_s = time.perf_counter() - begun
    probe = Probe()
    probe.measure()
    begun, cpu = time.perf_counter(), time.process_time()
    structure_descriptors(positions, target.cell_array, target.numbers, **settings)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    row = {
        "system": options.system,
        "structures": options.structures,
        "cores": options.cores,
        "describe_s": wall,
        "cpu_describe_s": cpu,
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
