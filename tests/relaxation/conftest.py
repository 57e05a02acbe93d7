"""Shared by the tests of relaxation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pymatgen.core import Molecule

from logan_campaign.relaxation.levels import ASELevel

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    """Let relaxations that are not told where put their files where pytest clears up."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def misbehaving(monkeypatch):
    """Return a function that makes a level of the calculators in ``misbehaving.py``."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def level(**settings):
        names = {"trouble", "at", "log", "delay_s", "once"}
        kwargs = {name: settings.pop(name) for name in names & settings.keys()}
        settings.setdefault("isolate", False)  # starting a process takes longer than the tests
        return ASELevel(target="misbehaving:Spring", kwargs=kwargs, **settings)

    return level


@pytest.fixture
def triangle():
    """Three carbon atoms, not yet at their springs' length."""
    return Molecule(["C", "C", "C"], [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.2, 1.3, 0.1]])
