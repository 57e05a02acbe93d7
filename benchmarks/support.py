"""Lets benchmarks import the servers and rigs of the tests: ``import support`` before them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
