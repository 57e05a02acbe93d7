"""How few relaxations find all isomers: selection strategies on ensembles of C5H12O models.

python benchmarks/selection.py pools --out DIR        # trains 3 x 12 models: over an hour
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selection_pools import PUBLISHED, make

from logan_campaign.processors import pin_to_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pools",))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    pin_to_cores([options.core])
    source = PUBLISHED if PUBLISHED.exists() else None
    make(options.out, options.seeds, options.members, options.steps, options.samples, source)


if __name__ == "__main__":
    main()
