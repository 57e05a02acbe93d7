"""What doctor reports: the truth about this machine, and faults made by real means."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from logan_campaign.core import doctor


def diagnose_elsewhere(code: str, **variables: str) -> str:
    """Run code in a fresh Python, with the names of doctor and other variables."""
    done = subprocess.run(
        [sys.executable, "-c", f"from logan_campaign.core.doctor import *\n{code}"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def report() -> tuple[list[doctor.Check], float]:
    start = time.monotonic()
    return doctor.diagnose(), time.monotonic() - start


def test_a_sound_installation_passes_all_required_checks(report):
    checks, _ = report
    assert [check for check in checks if check.required and not check.ok] == []


def test_the_whole_diagnosis_takes_less_than_fifteen_seconds(report):
    assert report[1] < 15


def test_every_failure_has_a_remedy_and_no_success_has_one(report):
    for check in report[0]:
        assert bool(check.remedy) != check.ok, check


def test_every_declared_package_is_reported_with_its_version(report):
    found = {check.name: check.detail for check in report[0]}
    for name in ("ase", "jax", "jobflow", "pymatgen", "rdkit", "pymongo"):
        assert re.match(r"\d+\.", found[f"package {name}"])


def test_packages_of_extras_are_optional(report):
    required = {check.name: check.required for check in report[0]}
    assert required["package gpaw"]
    assert not required["package jobflow-remote"]
    assert "package pytest" not in required


def test_nothing_is_printed():
    assert diagnose_elsewhere("diagnose()") == ""


def test_an_absent_package_is_missed_with_the_way_to_get_it():
    check = doctor.check_package(Requirement("no-such-package>=2"), "pip install it")
    assert (check.ok, check.detail, check.remedy) == (False, "not installed", "pip install it")


def test_a_version_outside_the_declared_range_fails():
    check = doctor.check_package(Requirement("numpy<1"), "pip install 'numpy<1'")
    assert not check.ok
    assert "<1 is needed" in check.detail


def test_a_version_known_to_be_bad_fails_even_inside_the_range(monkeypatch):
    installed = doctor.version("jax")
    monkeypatch.setitem(doctor.KNOWN_BAD, ("jax", installed), "it miscounts")
    check = doctor.check_package(Requirement("jax"), "pip install another")
    assert not check.ok
    assert check.detail == f"{installed}: it miscounts"


@pytest.mark.parametrize(("version", "ok"), [("3.10.9", False), ("3.13.5", True), ("4.0", False)])
def test_pythons_that_the_project_admits_pass(monkeypatch, version, ok):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    assert doctor.check_python().ok is ok


def test_an_unusable_jax_platform_is_reported_in_one_line():
    out = diagnose_elsewhere("print(check_jax())", JAX_PLATFORMS="no_such_platform")
    assert "ok=False" in out
    assert "no_such_platform" in out
    assert "\\n" not in out


def test_paw_data_sets_that_gpaw_cannot_find_are_named(tmp_path):
    # GPAW puts the gpaw-data package on its path by itself; ~/.gpaw/rc.py may take it off.
    (tmp_path / ".gpaw").mkdir()
    (tmp_path / ".gpaw" / "rc.py").write_text("setup_paths.clear()\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    out = diagnose_elsewhere(
        "print(check_paw_data(['Si']))", HOME=str(tmp_path), GPAW_SETUP_PATH=str(empty)
    )
    assert "ok=False" in out
    assert f"Si.LDA, Si.dzp.basis not found in {empty}" in out
    assert "gpaw-data" in out


def test_elements_without_a_data_set_are_named_alone():
    check = doctor.check_paw_data(["O", "Pu"])
    assert not check.ok
    assert check.detail.startswith("Pu.LDA, Pu.dzp.basis not found")


def test_a_gpaw_that_cannot_be_loaded_is_reported_with_the_packages_to_install(tmp_path):
    (tmp_path / "_gpaw.py").write_text("raise ImportError('libxc.so.9: cannot open it')\n")
    out = diagnose_elsewhere("print(check_gpaw())", PYTHONPATH=str(tmp_path))
    assert "ok=False" in out
    assert "libxc.so.9" in out
    assert "apt-get install" in out
    assert "conda-forge" in out


@pytest.mark.parametrize("built", [True, False])
def test_a_gpaw_without_fftw_works_and_the_way_to_get_it_is_told(monkeypatch, built):
    monkeypatch.setattr("gpaw.fftw.have_fftw", lambda: built)
    check = doctor.check_fftw()
    assert (check.ok, check.required) == (built, False)
    assert ("libfftw3-dev" in check.remedy and "GPAW_CONFIG" in check.remedy) is not built


def test_a_tblite_that_cannot_be_loaded_is_reported(tmp_path):
    (tmp_path / "tblite").mkdir()
    (tmp_path / "tblite" / "__init__.py").write_text("raise ImportError('no library')\n")
    out = diagnose_elsewhere("print(check_tblite())", PYTHONPATH=str(tmp_path))
    assert "ok=False" in out
    assert "no library" in out


def test_a_folder_that_is_not_there_fails(tmp_path):
    check = doctor.check_disk(tmp_path / "absent")
    assert not check.ok
    assert "No such file" in check.detail


def test_too_little_room_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_MIN_DISK_GIB", 1e9)
    assert not doctor.check_disk(tmp_path).ok


def test_a_dead_server_is_reported_soon_and_without_the_password():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = unused.getsockname()[1]
        start = time.monotonic()
        check = doctor.check_mongodb(f"mongodb://bob:secret@127.0.0.1:{port}/x")
        elapsed = time.monotonic() - start
    assert not check.ok
    assert elapsed < 10
    assert "refused" in check.detail
    assert "mongodb://***@127.0.0.1" in check.detail
    assert not re.search("bob|secret", str(check))


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://bob:hunter2@127.0.0.1:port",
        "mongodb://bob:hunter2/x@127.0.0.1/db",
        "mongodb://bob:x@hunter2@127.0.0.1/db",
        "mongodb://bob:%zzhunter2@127.0.0.1/db",
        "mongodb://bob:hunter2@127.0.0.1:1/db",
        "mongodb+srv://bob:hunter2@127.0.0.1/db",
        "mongodb://127.0.0.1:1/db?authMechanism=PLAIN&authSource=hunter2",
        "bob:hunter2@127.0.0.1:1",
    ],
)
def test_a_uri_that_does_not_work_never_shows_its_password(uri, monkeypatch):
    monkeypatch.setattr(doctor, "_SERVER_TIMEOUT_MS", 10)
    check = doctor.check_mongodb(uri)
    assert not check.ok
    assert "hunter2" not in str(check)
    assert "127.0.0.1" in check.detail


def test_an_embedded_store_passes(tmp_path):
    with sqlite3.connect(tmp_path / "campaign.sqlite") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    check = doctor.check_embedded_store(tmp_path)
    assert check.ok
    assert "campaign.sqlite" in check.detail


def test_a_damaged_embedded_store_fails(tmp_path):
    path = tmp_path / "campaign.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    check = doctor.check_embedded_store(path)
    assert not check.ok
    assert str(path) in check.detail


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_place_without_a_store_fails_and_none_is_made(tmp_path, name):
    check = doctor.check_embedded_store(tmp_path / name)
    assert not check.ok
    assert list(tmp_path.iterdir()) == []


def test_a_locked_embedded_store_is_reported(tmp_path):
    path = tmp_path / "campaign.sqlite"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    check = doctor.check_embedded_store(path)
    holder.close()
    assert not check.ok
    assert "locked" in check.detail


@pytest.mark.parametrize(
    ("key", "ok", "detail"),
    [("k3y" * 10 + "xy", True, "set"), ("k3yk3y", False, "set, but not 32 characters long")],
)
def test_the_materials_project_key_is_never_shown(monkeypatch, key, ok, detail):
    monkeypatch.setenv("MP_API_KEY", key)
    check = doctor.check_materials_project_key()
    assert (check.ok, check.detail) == (ok, detail)
    assert not check.required
    assert "k3y" not in str(check)


def test_a_private_compilation_cache_passes(tmp_path):
    tmp_path.chmod(0o700)
    assert doctor.check_compilation_cache(tmp_path).ok


def test_a_compilation_cache_that_others_may_write_to_fails(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    check = doctor.check_compilation_cache(folder)
    assert not check.ok
    assert str(folder) in check.detail


def test_a_planted_file_in_the_compilation_cache_fails(tmp_path):
    tmp_path.chmod(0o700)
    planted = tmp_path / "jit_step-cache"
    planted.touch()
    planted.chmod(0o666)
    assert str(planted) in doctor.check_compilation_cache(tmp_path).detail


def test_the_cache_folder_is_the_one_that_trainings_use(tmp_path):
    out = diagnose_elsewhere(
        "from logan_campaign.descriptors.cache import enable_compilation_cache\n"
        "print(check_compilation_cache().detail, enable_compilation_cache(), sep='\\n')\n"
        "print(check_compilation_cache().detail)",
        XDG_CACHE_HOME=str(tmp_path),
    )
    before, folder, after = out.splitlines()
    assert (before, after) == (f"{folder} (not there yet)", f"{folder}, private")


def test_the_folder_of_a_campaign_is_checked_for_room():
    (check,) = (c for c in doctor.diagnose(folder=Path("/")) if c.name == "disk")
    assert check.detail.endswith("/")
