"""Raw results of the benchmarks: JSON Lines, one record per finished piece of work.

A record that is there is not computed again, so every benchmark goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: Where results that the documents report are kept.
RESULTS = Path(__file__).parent / "results"

_PACKAGES = ("jax", "numpy", "ase", "pymatgen", "rdkit", "tblite", "gpaw", "pyxtal")


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, none if there is no file; a torn last line is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a record, on a line of its own even after a torn one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")


@contextmanager
def alone(folder: Path, name: str = "lock") -> Iterator[None]:
    """Keep a second run out of the folder, whose files it would spoil.

    Args:
        folder: Where both would work; made if it is not there.
        name: What is locked; runs with other names may go on beside this one.

    Raises:
        SystemExit: if there is one already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            # given back by the system, however this process ends
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run is at work in {folder}") from None
        yield


def environment() -> dict[str, Any]:
    """Return what the figures depend on: processor, versions, load of the machine."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
    model = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    found["processor"] = model[0] if model else platform.machine()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:  # an extra that is not installed
            continue
    if "gpaw" in found:
        from gpaw.fftw import have_fftw

        found["gpaw_fftw"] = have_fftw()  # plane waves are faster with it
    return found


def common_options(parser: argparse.ArgumentParser) -> None:
    """Add what run, report and figure take alike."""
    parser.add_argument("--to", type=Path, help="file of the figure")
    parser.add_argument("--core", type=int, default=0, help="processor core to keep to")
    parser.add_argument("--json", action="store_true", help="print JSON")


def save_figure(figure: Any, path: Path, dpi: int = 110) -> None:
    """Write a matplotlib figure to a file, whose folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)


def show(table: list[dict[str, Any]], as_json: bool) -> None:
    """Print a table, a line per row or as JSON."""
    if as_json:
        print(json.dumps(table, indent=1))
        return
    for row in table:
        print(" | ".join(f"{name} {value}" for name, value in row.items()))


def run_or_report(
    parser: argparse.ArgumentParser,
    out: Path,
    run: Callable[[argparse.Namespace], None],
    report: Callable[[argparse.Namespace], list[dict[str, Any]]],
) -> None:
    """Add the options of a benchmark without figures, whose records go to ``out``, and run it."""
    from logan_campaign.core.processors import pin_to_cores

    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--out", type=Path, default=out, help="file of the records")
    parser.add_argument("--core", type=int, default=0, help="processor core to keep to")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.what == "run":
        pin_to_cores([args.core])
        run(args)
    else:
        show(report(args), args.json)


def run_report_figure(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    run: Callable[[argparse.Namespace], None],
    report: Callable[[Path], Any],
    show: Callable[[Any], str],
    figure: Callable[[Path, Path], None],
) -> None:
    """Do what ``args.what`` says, on the results in ``args.out``."""
    from logan_campaign.core.processors import pin_to_cores

    if args.what == "run":
        pin_to_cores([args.core])
        run(args)
    elif args.what == "figure":
        if args.to is None:
            parser.error("figure needs --to FILE")
        figure(args.out, args.to)
    else:
        table = report(args.out)
        print(json.dumps(table, indent=1) if args.json else show(table))
