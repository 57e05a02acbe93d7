"""Time to describe many structures for selection, beside the time of training steps.

    python benchmarks/descriptors.py --system c5h12o --structures 24000 --json

The descriptor is the one of selection (r_cut 5 Å, n_max 4, 20 neighbours). The yardstick is
200 training steps, measured by ``train_step.py`` on the same machine.
"""

from __future__ import annotations

from systems import options_of, system, time_structures


def main() -> None:
    """Run the command line."""
    options = options_of(__doc__.splitlines()[0])
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
    time_structures(
        options,
        "describe",
        lambda n: structure_descriptors(
            positions[:n], target.cell_array, target.numbers, **settings
        ),
    )


if __name__ == "__main__":
    main()
