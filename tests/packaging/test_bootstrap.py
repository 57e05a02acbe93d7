"""What the scripts say and do where something is missing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = (ROOT / "scripts" / "_bootstrap").read_text()
NOBODY = 65534


@pytest.fixture
def tools(tmp_path) -> Path:
    """A folder for PATH with what the scripts use and neither compiler, apt-get nor sudo."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("cat", "env", "id"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def add_tool(folder: Path, name: str, script: str) -> None:
    tool = folder / name
    tool.write_text(f"#!/bin/bash\n{script}\n")
    tool.chmod(0o755)


def bash(
    code: str, path: Path, user: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("bash"), "-c", f"set -euo pipefail\n{BOOTSTRAP}\n{code}", "scripts/test"],
        env={"PATH": str(path), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=user,
    )


PYTHON = shlex.quote(sys.executable)
INSTALL = f"install_system_packages {PYTHON}"


def test_without_apt_the_message_names_the_packages_and_conda_forge(tools):
    done = bash(INSTALL, tools)
    assert done.returncode == 1
    assert "g++ libxc-dev libopenblas-dev" in done.stderr
    assert "conda create -n logan-campaign -c conda-forge" in done.stderr
    assert "there is no apt-get here" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize(
    ("sudo", "reason"),
    [(None, "there is no sudo"), ("return 1", "sudo asks for a password")],
)
def test_without_root_rights_nothing_is_tried_and_the_reason_is_told(tmp_path, sudo, reason):
    # Any user may read /usr/bin; pytest's own folders are private. So no tools but bash's.
    done = bash(
        f"""
        apt-get() {{ echo 'apt-get ran' >&2; }}
        {"" if sudo is None else f"sudo() {{ {sudo}; }}"}
        missing_packages() {{ echo g++; echo libxc-dev; }}
        install_system_packages python3
        """,
        tmp_path,
        user=NOBODY,
    )
    assert done.returncode == 1
    assert "missing: g++ libxc-dev" in done.stderr
    assert reason in done.stderr
    assert "apt-get ran" not in done.stderr


def test_as_root_apt_get_installs_what_is_missing_and_failure_is_told(tools, tmp_path):
    if os.geteuid() != 0:
        add_tool(tools, "sudo", '[[ $1 == -n ]] && shift; exec "$@"')
    log = tmp_path / "log"
    write = f'echo "$*" >>{shlex.quote(str(log))}'
    add_tool(tools, "apt-get", f'{write}\n[[ " $* " != *" install "* ]]')
    done = bash(INSTALL, tools)
    assert done.returncode == 1
    update, install = log.read_text().splitlines()
    assert update.endswith("update")
    assert install.endswith("--no-install-recommends install g++ libxc-dev libopenblas-dev")
    assert "apt-get failed, as shown above" in done.stderr


def test_packages_that_apt_get_did_not_bring_are_named(tools):
    if os.geteuid() != 0:
        add_tool(tools, "sudo", '[[ $1 == -n ]] && shift; exec "$@"')
    add_tool(tools, "apt-get", "exit 0")
    done = bash(INSTALL, tools)
    assert done.returncode == 1
    assert "yet they cannot be used" in done.stderr


def test_where_nothing_is_missing_nothing_is_installed(tools):
    add_tool(tools, "g++", "cat >/dev/null")  # compiles and links anything
    done = bash(INSTALL, tools)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_the_library_that_cannot_be_linked_is_missing(tools):
    add_tool(tools, "g++", 'cat >/dev/null; [[ "$*" != *-lxc* ]]')
    done = bash(f"missing_packages {PYTHON}", tools)
    assert done.stdout.split() == ["libxc-dev"]


def test_what_is_optional_and_cannot_be_installed_is_a_warning(tools):
    done = bash("have_fftw || install_optional libfftw3-dev 'it is slower'", tools)
    assert done.returncode == 0
    assert done.stderr == "warning: no libfftw3-dev here; it is slower\n"


@pytest.mark.parametrize(("linker", "wanted"), [("exit 0", "1"), ("exit 1", "")])
def test_gpaw_is_built_with_fftw_where_it_can_be_linked(tools, linker, wanted):
    add_tool(tools, "g++", f"cat >/dev/null; {linker}")
    add_tool(tools, "awk", "exit 0")
    asked = 'pip_install() { echo "FFTW=${WITH_FFTW:-}" >&2; }; cd "$HOME"'
    home = tools.parent
    (home / ".venv").mkdir()
    done = bash(f"{asked}; install_locked", tools, HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"FFTW={wanted}"


def test_the_configuration_of_gpaw_names_fftw_only_if_told(monkeypatch):
    read = (ROOT / "scripts" / "gpaw_siteconfig.py").read_text()
    for told in ("", "1"):
        monkeypatch.setenv("WITH_FFTW", told)
        found: dict[str, object] = {}
        exec(read, found)  # as GPAW's setup.py does
        assert found.get("fftw", False) is bool(told)
        assert ("fftw3" in found["libraries"]) is bool(told)
        assert {"xc", "blas"} <= set(found["libraries"])


def test_no_python_is_an_error_that_says_how_to_name_one(tools):
    done = bash("python=$(find_python)", tools)
    assert done.returncode == 1
    assert "no Python 3.11 to 3.14 found" in done.stderr
    assert "PYTHON=" in done.stderr


def test_a_python_named_by_hand_must_run_and_be_supported(tools):
    add_tool(tools, "python9", "exit 1")
    done = bash("python=$(find_python)", tools, PYTHON="python9")
    assert done.returncode == 1
    assert "PYTHON=python9 is not a Python 3.11 to 3.14" in done.stderr


def test_a_python_that_is_only_a_shim_is_passed_over(tools):
    add_tool(tools, "python3.11", "echo 'not installed' >&2; exit 127")
    add_tool(tools, "python3", f'exec {PYTHON} "$@"')
    done = bash("find_python", tools)
    assert done.stdout.strip() == "python3"


def check(lock: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_environment.py", lock],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def distribution(tmp_path) -> Path:
    """A folder with an installed distribution, spam 1.0, of two files."""
    folder = tmp_path / "packages"
    info = folder / "spam-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "spam.py").touch()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spam\nVersion: 1.0\n")
    (info / "RECORD").write_text("spam.py,,\n__pycache__/spam.pyc,,\nspam-1.0.dist-info/RECORD,,\n")
    return folder


def test_an_environment_as_locked_passes(tmp_path, distribution):
    lock = tmp_path / "lock"
    lock.write_text("# made by hand\nspam==1.0 \\\n    --hash=sha256:00\n    # via nothing\n")
    done = check(lock, distribution)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("spam==2.0", "spam is 1.0 instead of 2.0"),
        ("no-eggs==1.0", "no-eggs 1.0 is not installed"),
    ],
)
def test_an_environment_other_than_locked_fails(tmp_path, distribution, line, fault):
    lock = tmp_path / "lock"
    lock.write_text(f"{line} \\\n    --hash=sha256:00\n")
    done = check(lock, distribution)
    assert (done.returncode, done.stdout.strip()) == (1, fault)


@pytest.mark.parametrize("lost", ["spam.py", "spam-1.0.dist-info/RECORD"])
def test_a_distribution_that_lost_a_file_fails(tmp_path, distribution, lost):
    lock = tmp_path / "lock"
    lock.write_text("spam==1.0\n")
    (distribution / lost).unlink()
    done = check(lock, distribution)
    assert done.returncode == 1
    assert "spam 1.0 has lost" in done.stdout


def test_a_package_for_other_platforms_is_not_looked_for(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("no-eggs==1.0 ; sys_platform == 'win32'\n")
    assert check(lock).returncode == 0


def test_the_lock_names_no_index_and_no_machine():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links|(?<!\w)/\w", lock)


def test_every_locked_package_has_a_hash():
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text())[1:]
    assert len(blocks) > 100
    assert [b.splitlines()[0] for b in blocks if "--hash=sha256:" not in b] == []
