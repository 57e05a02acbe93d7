"""Put the tables of the raw results into the documents, or say which are out of date.

    python benchmarks/tables.py            # writes docs/benchmarks/*.md anew
    python benchmarks/tables.py --check    # says which tables differ, and ends with 1 if any do

A table in a document stands below a comment that names its command, without "python benchmarks/",
and which of the tables that it prints is meant:

    <!-- table 2 of isomers_report.py -->
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "benchmarks"

_MARKED = re.compile(
    r"(?P<mark><!-- table (?P<number>\d+) of (?P<command>[^>]+) -->\n\n)(?P<table>(?:\|.*\n)*)"
)


@cache
def printed(command: str) -> list[str]:
    """Return the tables in Markdown that a benchmark prints, each with its line ends.

    Raises:
        ValueError: if the command fails.
    """
    script, *words = command.split()
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"{command}: {done.stderr.strip().splitlines()[-1]}")
    runs = groupby(done.stdout.splitlines(), key=lambda line: line.startswith("|"))
    return ["\n".join(lines) + "\n" for is_table, lines in runs if is_table]


def renewed(text: str) -> str:
    """Return a document with the tables that its comments name.

    Raises:
        ValueError: if a command fails, or prints fewer tables.
    """

    def one(found: re.Match[str]) -> str:
        tables, number = printed(found["command"]), int(found["number"])
        if not 1 <= number <= len(tables):
            raise ValueError(f"{found['command']} prints {len(tables)} tables, not {number}")
        # a comment that stands without a table gets one, and a blank line below it
        return found["mark"] + tables[number - 1] + ("" if found["table"] else "\n")

    return _MARKED.sub(one, text)


def differences(path: Path) -> list[str]:
    """Return the lines in which a document differs from the raw results."""
    text = path.read_text(encoding="utf-8")
    pair = text.splitlines(), renewed(text).splitlines()
    return list(difflib.unified_diff(*pair, path.name, "raw results", n=0, lineterm=""))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    found = {path: differences(path) for path in sorted(DOCS.glob("*.md"))}
    for path, lines in found.items():
        if lines and not options.check:
            path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
        if lines:
            print("\n".join(lines))
    raise SystemExit(1 if options.check and any(found.values()) else 0)


if __name__ == "__main__":
    main()
