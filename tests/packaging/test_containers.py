"""What conda, Docker and Apptainer install is what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKER = (ROOT / "Dockerfile").read_text()
APPTAINER = (ROOT / "Apptainer.def").read_text()


def conda() -> tuple[dict[str, Requirement], list[str]]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    (by_pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    return {r.name: r for r in names}, by_pip


def test_conda_brings_the_python_and_the_gpaw_that_the_project_wants():
    found, _ = conda()
    gpaw = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "gpaw")
    assert found["python"].specifier == Requirement(f"python{PROJECT['requires-python']}").specifier
    assert found["gpaw"].specifier == gpaw.specifier


def test_pip_then_installs_this_checkout_with_extras_that_there_are():
    _, by_pip = conda()
    assert len(by_pip) == 1
    extras = re.fullmatch(r"\.\[(.*)\]", by_pip[0])[1].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()


def test_both_images_start_from_one_debian_with_the_same_steps():
    base = re.search(r"^FROM (.*)$", DOCKER, re.MULTILINE)[1]
    assert re.search(r"^From: (.*)$", APPTAINER, re.MULTILINE)[1] == base
    steps = re.findall(r"^RUN (.*)$", DOCKER, re.MULTILINE)
    post = APPTAINER.partition("%post\n")[2].partition("\n\n")[0]
    assert [line.strip() for line in post.splitlines()] == steps
    distribution = re.fullmatch(r"debian:(\w+)-slim", base)[1]
    assert distribution in (ROOT / "scripts" / "fresh").read_text()
    assert f"scripts/fresh {distribution} FOLDER scripts/image" in DOCKER


@pytest.mark.parametrize("name", ["Dockerfile", "Apptainer.def", "environment.yml"])
def test_what_was_not_run_says_so(name):
    assert re.search(r"^# Not (built|run): ", (ROOT / name).read_text(), re.MULTILINE)
