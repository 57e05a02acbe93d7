"""Check that the running environment holds all that requirements.lock names, whole.

Exit code 0 and no output if so; otherwise 1 and a line per fault. A virtual environment
whose installation was interrupted, or that lost files, is found out here rather than by
an odd failure later.

Usage: python scripts/check_environment.py requirements.lock
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path


def locked(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and version of each requirement that holds for this Python and platform."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in path.read_text().splitlines():
        if not line or line[0] in " #":  # hashes and comments
            continue
        requirement = Requirement(line.rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate():
            (specifier,) = requirement.specifier
            yield canonicalize_name(requirement.name), specifier.version


def missing_file(distribution: Distribution) -> str | None:
    """Return one file that was installed with a distribution and is gone, if any."""
    files = distribution.files
    if files is None:
        return "its list of files"
    for file in files:
        # Byte code comes and goes; Python makes it anew.
        if file.suffix != ".pyc" and not Path(distribution.locate_file(file)).exists():
            return str(file)
    return None


def faults(lock: Path) -> Iterator[str]:
    """Yield what is wrong with this environment."""
    from packaging.utils import canonicalize_name

    installed: dict[str, Distribution] = {}
    for found in distributions():  # in the order of sys.path: the first one is imported
        installed.setdefault(canonicalize_name(found.metadata["Name"]), found)
    for name, version in locked(lock):
        distribution = installed.get(name)
        if distribution is None:
            yield f"{name} {version} is not installed"
        elif distribution.version != version:
            yield f"{name} is {distribution.version} instead of {version}"
        elif gone := missing_file(distribution):
            yield f"{name} {version} has lost {gone}"
    try:
        import _gpaw
    except ImportError as err:
        yield f"GPAW's compiled part cannot be loaded: {err}"
    else:
        # Left out without an error when GPAW was built where libxc was not found.
        if not hasattr(_gpaw, "libxc_version"):
            yield "GPAW was built without libxc"


def main() -> int:
    """Run the check."""
    try:
        found = list(faults(Path(sys.argv[1])))
    except ImportError as err:  # packaging itself is not there yet
        found = [str(err)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
