"""The wheel works without the checkout, and the rooms import only what they may."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Prints, as one JSON list, every Maker of logan_campaign.flows that has defaults for all.
ENCODE_MAKERS = """
import dataclasses, importlib, inspect, json, pkgutil
from jobflow import Maker
from monty.json import MontyEncoder
import logan_campaign.flows as flows

makers = {}
for module in pkgutil.walk_packages(flows.__path__, flows.__name__ + "."):
    for name, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
        if not (issubclass(cls, Maker) and cls.__module__.startswith(flows.__name__)):
            continue
        nothing = dataclasses.MISSING
        if all(
            field.default is not nothing or field.default_factory is not nothing
            for field in dataclasses.fields(cls) if field.init
        ):
            makers[name] = cls()
print(json.dumps(list(makers.values()), cls=MontyEncoder))
"""

#: Reads that list and prints which class each became, and from which file.
DECODE_MAKERS = """
import inspect, json, sys
from monty.json import MontyDecoder, MontyEncoder

text = sys.stdin.read()
makers = json.loads(text, cls=MontyDecoder)
print(json.dumps([[type(m).__name__, inspect.getfile(type(m))] for m in makers]))
assert json.loads(json.dumps(makers, cls=MontyEncoder)) == json.loads(text)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment that has the project from its wheel alone."""
    folder = tmp_path_factory.mktemp("wheel")
    script = ROOT / "scripts" / "wheel_environment.py"
    subprocess.run([sys.executable, script, folder], check=True)
    return folder


@pytest.fixture
def package(environment) -> Path:
    (package,) = environment.glob("lib/python*/site-packages/logan_campaign")
    return package


def run(*command: object, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, input=stdin, env=clean, capture_output=True, text=True
    )


def test_the_wheel_holds_every_module_and_nothing_else(package):
    expected = {
        (prefix / file.relative_to(ROOT / room)).as_posix()
        for room, prefix in (
            ("logan_campaign", Path()),
            ("flows", Path("flows")),
            ("stores", Path("stores")),
        )
        for file in (ROOT / room).rglob("*")
        if file.suffix in {".py", ".typed", ".bib", ".jinja"}
    }
    found = {f.relative_to(package).as_posix() for f in package.rglob("*") if f.suffix != ".pyc"}
    assert {f for f in found if (package / f).is_file()} >= expected
    beside = {p.name for p in package.parent.iterdir() if not p.name.endswith(".dist-info")}
    assert beside == {"logan_campaign", "dependencies.pth"}


def test_makers_written_in_the_checkout_are_decoded_from_the_wheel(environment, package, tmp_path):
    written = run(sys.executable, "-c", ENCODE_MAKERS, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    python = environment / "bin" / "python"
    read = run(python, "-c", DECODE_MAKERS, cwd=tmp_path, stdin=written.stdout)
    assert read.returncode == 0, read.stderr
    decoded = dict(json.loads(read.stdout))
    assert "GPAWRelaxMaker" in decoded
    assert len(decoded) == len(json.loads(written.stdout))
    assert {name for name, file in decoded.items() if not Path(file).is_relative_to(package)} == (
        set()
    )


@pytest.mark.parametrize("room", ["flows", "stores"])
def test_a_bare_import_in_the_checkout_is_refused_with_the_right_name(environment, room):
    done = run(environment / "bin" / "python", "-c", f"import {room}", cwd=ROOT)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == (f"ImportError: import this package as 'logan_campaign.{room}', not as '{room}'")


@pytest.mark.parametrize("room", ["flows", "stores"])
def test_bare_names_do_not_reach_site_packages(environment, tmp_path, room):
    done = run(environment / "bin" / "python", "-c", f"import {room}", cwd=tmp_path)
    assert f"No module named '{room}'" in done.stderr


def test_the_command_starts_outside_the_checkout(environment, tmp_path):
    done = run(environment / "bin" / "logan-campaign", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout


@pytest.fixture
def copied_package(tmp_path) -> Path:
    copy = tmp_path / "logan_campaign"
    shutil.copytree(ROOT / "logan_campaign", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("module", "statement", "allowed"),
    [
        ("core/errors.py", "import jobflow", False),
        ("core/errors.py", "from maggma.stores import MemoryStore", False),
        ("core/errors.py", "from logan_campaign import flows", False),
        ("core/errors.py", "from logan_campaign import stores", False),
        ("core/errors.py", "import logan_campaign.cli", False),
        ("core/errors.py", "import ase, pymatgen.core, rdkit, jax", True),
        ("geometry/structures.py", "from logan_campaign.relaxation import run", False),
        ("campaign/spec.py", "from logan_campaign import flows", False),
        ("flows/__init__.py", "import jobflow, atomate2.ase, logan_campaign.core.errors", True),
        ("flows/__init__.py", "import maggma.stores", False),
        ("flows/__init__.py", "import logan_campaign.stores", False),
        ("stores/__init__.py", "import maggma.stores, logan_campaign.core.errors", True),
        ("stores/__init__.py", "import jobflow", False),
        ("stores/__init__.py", "import logan_campaign.flows", False),
        ("cli/__init__.py", "import jobflow, maggma, logan_campaign.flows", True),
    ],
)
def test_an_import_that_a_room_may_not_make_breaks_a_contract(
    copied_package, module, statement, allowed
):
    with (copied_package / module).open("a") as file:
        file.write(f"\n\ndef late():\n    {statement}\n")
    done = run(
        sys.executable,
        Path(sys.executable).parent / "lint-imports",
        "--no-logo",
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
        cwd=copied_package.parent,
    )
    assert (done.returncode == 0) == allowed, done.stdout + done.stderr
    if not allowed:
        assert "BROKEN" in done.stdout
