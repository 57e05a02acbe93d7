"""Build the source archive and from it the wheel; install that in an empty environment.

The environment sees the dependencies of the running one (by a ``.pth`` file, which
saves minutes), but the project itself only from the wheel: an editable installation in
the running environment does not reach it, and nothing of the checkout does.

Usage: python scripts/wheel_environment.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: All that a wheel is made of.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "logan_campaign", "flows", "stores")


def copy_sources(folder: Path) -> None:
    """Copy the project's sources; building in the checkout would take up an old build/."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def dependency_folders() -> list[str]:
    """Return the folders that the running Python takes installed packages from."""
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return [p for p in sys.path if p in own or Path(p).name in ("site-packages", "dist-packages")]


def run_module(*arguments: str) -> None:
    """Run a Python module as a program; show what it printed only if it failed.

    Raises:
        SystemExit: if it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}")


def make(folder: Path) -> Path:
    """Make the environment in ``folder`` and return its Python."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch) / "sources"
        sources.mkdir()
        copy_sources(sources)
        # --no-isolation: setuptools is there, and the network may not be.
        run_module("build", "--no-isolation", "--outdir", scratch, str(sources))
        (wheel,), (archive,) = Path(scratch).glob("*.whl"), Path(scratch).glob("*.tar.gz")
        run_module("twine", "check", "--strict", str(wheel), str(archive))
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        python = folder / "bin" / "python"
        # --ignore-installed: leave an editable installation of the project alone.
        install = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
        run_module(
            "pip", "--disable-pip-version-check", "--python", str(python), *install, str(wheel)
        )
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(dependency_folders()) + "\n")
    return python


if __name__ == "__main__":
    make(Path(sys.argv[1]))
