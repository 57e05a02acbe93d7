"""Build the project's wheel and install it in an empty environment.

The environment sees the dependencies of the running one (by a ``.pth`` file, which
saves minutes), but the project itself only from the wheel: an editable installation in
the running environment does not reach it, and nothing of the checkout does.

Usage: python scripts/wheel_environment.py FOLDER
"""

from __future__ import annotations

import os
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


def make(folder: Path) -> Path:
    """Make the environment in ``folder`` and return its Python."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch) / "sources"
        sources.mkdir()
        copy_sources(sources)
        # --no-isolation: setuptools is there, and the network may not be.
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", scratch]
            + [str(sources)],
            check=True,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        python = folder / "bin" / "python"
        # --ignore-installed: leave an editable installation of the project alone.
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
            + ["--no-deps", "--no-index", "--ignore-installed", str(wheel)],
            check=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(dependency_folders()) + "\n")
    return python


if __name__ == "__main__":
    make(Path(sys.argv[1]))
