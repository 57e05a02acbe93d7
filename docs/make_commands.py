"""Write ``docs/reference/commands.md``: every local command with what it prints.

    python docs/make_commands.py

runs a small part of ``examples/quick.yaml`` with random molecules, and the commands below in a
temporary folder, nearly all in this process: each would otherwise import its libraries anew. Long
lines and long outputs are cut, and the page says so.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from logan_campaign.cli import main as logan_campaign
from logan_campaign.cli.app import GROUPS, command

ROOT = Path(__file__).parents[1]
_WIDTH, _LINES = 110, 14
_background: list[subprocess.Popen[bytes]] = []

#: Heading, what it is about, and its commands. `{new}` stands for a candidate of the campaign.
SECTIONS: list[tuple[str, str, list[str]]] = [
    (
        "Installation and specs",
        "`doctor` says what is missing and how to install it. `init` writes a commented spec.",
        ["logan-campaign doctor", "logan-campaign init my.yaml --formula C4H10O"],
    ),
    (
        "Running",
        "`run` starts a campaign, and continues it if it was stopped. You can inspect, pause or "
        "cancel a running campaign from a second terminal. `extend` shows and changes when a "
        "campaign of several [rounds](../howto/rounds.md) stops.",
        [
            "logan-campaign run quick.yaml --check",
            "logan-campaign run quick.yaml --quiet --workers 1",
            "logan-campaign status quick",
            "logan-campaign build quick",
            "logan-campaign retry quick --failed",
            "logan-campaign run again.yaml --quiet --workers 1 &",
            "logan-campaign pause again",
            "logan-campaign cancel again",
            "logan-campaign resume again --quiet --workers 1",
            "logan-campaign extend again",
        ],
    ),
    (
        "Results",
        "Ids may be shortened. `--json` prints whole records for other programs. In Python, use "
        "[`Campaign`](../howto/results.md).",
        [
            "logan-campaign results quick",
            "logan-campaign show quick {new}",
            "logan-campaign lineage quick {new}",
            "logan-campaign map quick map.png",
            "logan-campaign reproduce quick {new}",
        ],
    ),
    (
        "Taking results elsewhere",
        "All formats are listed in [results](../howto/results.md#export). The report has a "
        "[page of its own](../howto/report.md).",
        [
            "logan-campaign export quick found.extxyz",
            "logan-campaign export quick found.csv --max-energy 1",
            "logan-campaign export quick quick.campaign --format campaign",
            "logan-campaign import quick.campaign --store elsewhere",
            "logan-campaign report quick -o report.html",
        ],
    ),
    (
        "Training sets and known structures",
        "There are pages about [sources](../howto/sources.md) and the "
        "[index of known structures](../howto/known-index.md). The QM9 archive used here holds "
        "three made-up entries. The OPTIMADE provider is `logan-campaign serve quick` on the same "
        "machine.",
        [
            "logan-campaign data import --builtin alcohols-and-ethers --formula C3H8O",
            "logan-campaign data pull spec quick.yaml",
            "logan-campaign data pull qm9 --archive qm9.tar.bz2 --keep-uncharacterized "
            "--formula C2H6O",
            "logan-campaign data pull optimade --kind molecule --max 2 "
            "--filter 'chemical_formula_reduced=\"C2H6O\"' "
            "--provider http://127.0.0.1:8642/optimade",
            "logan-campaign data list",
            "logan-campaign data show {set}",
            "logan-campaign data remove {set}",
            "logan-campaign data check molecules.xyz --against quick.xyz",
            "logan-campaign known add index molecules.xyz",
            "logan-campaign known count index",
            "logan-campaign known match index quick.xyz",
        ],
    ),
]


def main() -> None:
    """Run everything and write the page."""
    os.environ["NO_COLOR"] = "1"
    text = [
        "# Commands",
        "",
        "Every command has `--help`. Exit codes: 0, done; 1, it ran, but part of it failed; 2, "
        "wrong input (one line says how to fix it); 130 and 143, stopped by Ctrl-C or SIGTERM.",
        "",
        "`python docs/make_commands.py` ran the commands below and recorded what they print; "
        "`quick.yaml` is a small part of the [example](../tutorials/first-campaign.md) with random "
        "molecules. Long lines end in `…`; a line with only `…` stands for lines left out. "
        "Commands for queues and clusters are shown in [other machines](../howto/remote.md), "
        "`serve` in [browser](../howto/browser.md), and `schema` in "
        "[editors](../howto/editors.md).",
        "",
        "| for | command | what it does |",
        "| --- | --- | --- |",
    ]
    root = command()
    for title, group in GROUPS.items():
        for name, example in group.items():
            about = (root.commands[name].help or "").split("\n")[0]
            text.append(f"| {title.lower()} | `{' '.join((name, example)).strip()}` | {about} |")
    text += [
        "",
        "`CAMPAIGN` is the campaign's folder, or its name together with `--store` "
        "(`mongodb://host/database`, an SQLite file, a folder, or `jf://PROJECT` for a queue). "
        "Commands that read take `--json`.",
        "",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        provider: subprocess.Popen[bytes] | None = None
        try:
            for heading, about, commands in SECTIONS:
                text += [f"## {heading}", "", about, "", "```console"]
                for each in commands:
                    if "optimade" in each:
                        provider = _provider(folder)
                    text += _shown(each, folder)
                text += ["```", ""]
        finally:
            if provider is not None:
                provider.terminate()
                provider.wait()
    page = ROOT / "docs/reference/commands.md"
    page.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


def _prepare(folder: Path) -> None:
    from ase.build import molecule
    from ase.io import write

    quick = (ROOT / "examples/quick.yaml").read_text()
    quick = quick[: quick.index("    - {name: lcao")].replace("per_model: 150", "per_model: 40")
    # nothing is compiled, which would take longer than all the rest
    quick = quick.replace("{keep: 1.0, exchange: 0.75}", "{method: random}")
    (folder / "quick.yaml").write_text(quick)
    again = quick.replace("name: quick", "name: again", 1).replace("count: 2", "count: 1")
    (folder / "again.yaml").write_text(again + "rounds: {stop: {rounds: 1}}\n")
    write(folder / "molecules.xyz", [molecule("CH3CH2OH"), molecule("CH3OCH3")])
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from qm9_archive import embed, write_archive

    molecules = [found for smiles in ("CCO", "COC", "CCC") if (found := embed(smiles))]
    write_archive(folder / "qm9.tar.bz2", molecules)
    write(folder / "quick.xyz", [molecule("CH3CH2OH"), molecule("CH3OH")])


def _provider(folder: Path) -> subprocess.Popen[bytes]:
    """Start the browser of the campaign, whose OPTIMADE interface is asked."""
    command = [sys.executable, "-m", "logan_campaign", "serve", "quick", "--port", "8642"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    for _ in range(120):
        try:
            urllib.request.urlopen("http://127.0.0.1:8642/optimade/v1/info", timeout=2).close()
        except OSError:
            time.sleep(0.5)
        else:
            return process
    process.kill()
    raise SystemExit("the browser does not start")


def _shown(words: str, folder: Path) -> list[str]:
    """Run a command; return it and what it prints, cut."""
    if "{new}" in words:
        listed = _run("logan-campaign results quick --state rediscovered --json", folder)
        found = re.search(r"cand-[0-9a-f]{16}", listed)
        assert found is not None
        words = words.replace("{new}", found[0][:9])
    if "{set}" in words:
        found = re.search(r"set-[0-9a-f]{16}", _run("logan-campaign data list --json", folder))
        assert found is not None
        words = words.replace("{set}", found[0][:8])
    print(f"{sum(os.times()[:4]):6.1f} s of processor time before {words}", file=sys.stderr)
    if " resume " in words:
        while _background:  # paused or cancelled: its jobs come to their end first
            _background.pop().wait(600)
    if words.endswith("&"):
        parts = shlex.split(words.removesuffix("&"))
        _background.append(
            subprocess.Popen([sys.executable, "-m", "logan_campaign", *parts[1:]], cwd=folder)
        )
        while not _can_be_steered(Path(parts[2]).stem, folder):
            if _background[-1].poll() is not None:
                raise SystemExit(f"{words}: ended before it could be steered")
            time.sleep(1)
        return [f"$ {words}"]
    lines = [
        line.rstrip() if len(line.rstrip()) <= _WIDTH else line[: _WIDTH - 1] + "…"
        for line in _run(words, folder).splitlines()
    ]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], "…"]
    return [f"$ {words}", *lines]


def _can_be_steered(name: str, folder: Path) -> bool:
    """Return whether a campaign is in the database and one of its jobs is running."""
    try:
        status = json.loads(_run(f"logan-campaign status {name} --json", folder))
    except SystemExit:
        return False
    return status["state"] == "running" and bool(status["running"])


def _run(words: str, folder: Path) -> str:
    """Run a command in this process, and return what it prints."""
    said, argv = io.StringIO(), ["logan-campaign", *shlex.split(words)[1:]]
    with (
        chdir(folder),
        mock.patch.object(sys, "argv", argv),
        redirect_stdout(said),
        redirect_stderr(said),
    ):
        try:
            logan_campaign()
        except SystemExit as ended:
            code = ended.code
    if code not in (None, 0, 1):
        raise SystemExit(f"{words}: exit code {code}: {said.getvalue()}")
    return said.getvalue().replace(str(folder), ".").replace(f"{ROOT}/", "")


if __name__ == "__main__":
    main()
