"""Check the installation: what is usable, and how to install what is missing.

Checks are real: libraries are loaded, an energy is computed, a server is queried. Nothing is
printed and nothing is changed.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import joblib
import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from logan_campaign.core.redaction import redact

DISTRIBUTION = "logan-campaign"

#: Elements of the built-in training sets and of the shipped examples.
ELEMENTS = ("H", "C", "N", "O", "Si")

#: Releases in or near the declared range that give wrong results.
KNOWN_BAD = {("jax", "0.10.2"): "reported to miscompile on CPU (jax issue 39352)"}

#: Packages that pip alone cannot install, with instructions.
_REMEDIES = {
    "gpaw": "apt-get install g++ libxc-dev libopenblas-dev && CC=g++ pip install gpaw; "
    "or conda install -c conda-forge gpaw",
}

_BUILD_GPAW = "CC=g++ pip install --force-reinstall --no-deps --no-cache-dir --no-binary gpaw gpaw"

#: Extras whose packages are checked; ``dev`` is for developers only.
_USER_EXTRAS = ("mongo", "remote", "web")

_MIN_MEMORY_GIB = 2.0  # one GPAW plane-wave relaxation of the examples, with a margin
_MIN_DISK_GIB = 1.0  # several campaigns the size of the examples
_SERVER_TIMEOUT_MS = 3000

#: GFN2-xTB energy of H2 at 0.74 Å (eV), by tblite 0.4 to 0.8.
_H2_ENERGY = -26.7211


class Check(NamedTuple):
    """The result of one check.

    Attributes:
        name: Name of the check.
        ok: Whether it passed.
        required: Whether campaigns need it.
        detail: Result.
        remedy: How to fix it; '' if ``ok``.
    """

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str


def diagnose(
    store: str | None = None,
    *,
    folder: Path | None = None,
    elements: Sequence[str] = ELEMENTS,
) -> list[Check]:
    """Return all checks, in the order of display.

    Args:
        store: Store of campaigns: a ``mongodb://`` URI, a folder or an SQLite file; not checked
            if None.
        folder: Folder for campaigns; the working directory if None.
        elements: Chemical symbols for which PAW data sets are needed.
    """
    checks = [check_python()]
    checks += check_packages()
    checks += [
        check_jax(),
        check_cores(),
        check_memory(),
        check_disk(folder or Path.cwd()),
        check_rdkit(),
        check_tblite(),
        check_gpaw(),
        check_fftw(),
        check_paw_data(elements),
    ]
    if store is not None:
        remote = store.startswith(("mongodb://", "mongodb+srv://"))
        checks.append(check_mongodb(store) if remote else check_embedded_store(Path(store)))
    checks += [check_materials_project_key(), check_compilation_cache()]
    return checks


def _passed(name: str, detail: str, *, required: bool = True) -> Check:
    return Check(name, True, required, detail, "")


def _failed(name: str, detail: str, remedy: str, *, required: bool = True) -> Check:
    return Check(name, False, required, _one_line(detail), remedy)


def _one_line(text: object) -> str:
    """Return the first line of a message, where libraries state the error."""
    lines = str(text).strip().splitlines()
    return lines[0] if lines else "no reason given"


def check_python() -> Check:
    """Check that the project supports this version of Python."""
    found = f"{platform.python_version()} ({sys.executable})"
    wanted = metadata(DISTRIBUTION)["Requires-Python"]
    if platform.python_version() in SpecifierSet(wanted, prereleases=True):
        return _passed("Python", found)
    return _failed("Python", found, f"make a virtual environment with Python {wanted}")


def check_packages(distribution: str = DISTRIBUTION) -> list[Check]:
    """Check every package that a distribution requires, with its version.

    Packages of optional extras are checked as optional.
    """
    needed: dict[str, Requirement] = {}
    optional: dict[str, tuple[Requirement, str]] = {}
    for line in requires(distribution) or []:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name == canonicalize_name(distribution):
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed[name] = requirement
            continue
        for extra in _USER_EXTRAS:
            if requirement.marker.evaluate({"extra": extra}):
                optional.setdefault(name, (requirement, extra))
    checks = [
        check_package(requirement, _REMEDIES.get(name, f"pip install '{_specified(requirement)}'"))
        for name, requirement in needed.items()
    ]
    checks += [
        check_package(requirement, f"pip install '{distribution}[{extra}]'", required=False)
        for name, (requirement, extra) in optional.items()
        if name not in needed
    ]
    return checks


def _specified(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def check_package(requirement: Requirement, remedy: str, *, required: bool = True) -> Check:
    """Check that a package is installed in an allowed version that is not known to be bad."""
    name = f"package {requirement.name}"
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return _failed(name, "not installed", remedy, required=required)
    if reason := KNOWN_BAD.get((canonicalize_name(requirement.name), found)):
        return _failed(name, f"{found}: {reason}", remedy, required=required)
    if not requirement.specifier.contains(found, prereleases=True):
        detail = f"{found}, but {requirement.specifier} is needed"
        return _failed(name, detail, remedy, required=required)
    return _passed(name, found, required=required)


def check_jax() -> Check:
    """Check that JAX starts, and report its devices."""
    try:
        import jax

        devices = jax.devices()
    except (ImportError, RuntimeError) as err:  # RuntimeError: a plugin or driver fails
        return _failed(
            "JAX devices",
            str(err),
            "repair the GPU driver, or compute on the CPU: export JAX_PLATFORMS=cpu",
        )
    named = ", ".join(f"{device.platform}:{device.id} ({device.device_kind})" for device in devices)
    return _passed("JAX devices", named)


def check_cores() -> Check:
    """Report the usable cores, by affinity and container quota."""
    return _passed("cores", f"{joblib.cpu_count()} usable", required=False)


def check_memory() -> Check:
    """Check that there is enough memory for one relaxation."""
    memory = psutil.virtual_memory()
    available = memory.available / 2**30
    detail = f"{available:.1f} GiB of {memory.total / 2**30:.1f} GiB available"
    if available >= _MIN_MEMORY_GIB:
        return _passed("memory", detail, required=False)
    remedy = f"end other programs: {_MIN_MEMORY_GIB:.0f} GiB should be available"
    return _failed("memory", detail, remedy, required=False)


def check_disk(folder: Path) -> Check:
    """Check that ``folder`` is writable and has space for a campaign."""
    try:
        free = shutil.disk_usage(folder).free / 2**30
    except OSError as err:
        return _failed("disk", f"{folder}: {err.strerror}", "name a folder that exists")
    if not os.access(folder, os.W_OK | os.X_OK):
        return _failed("disk", f"{folder} cannot be written to", "work in a folder of your own")
    detail = f"{free:.1f} GiB free in {folder}"
    if free >= _MIN_DISK_GIB:
        return _passed("disk", detail)
    return _failed("disk", detail, f"make room: {_MIN_DISK_GIB:.0f} GiB should be free")


def check_rdkit() -> Check:
    """Check that RDKit reads and writes a molecule."""
    remedy = "pip install --force-reinstall rdkit"
    try:
        from rdkit import Chem
    except ImportError as err:
        return _failed("RDKit", str(err), remedy)
    smiles = Chem.MolToSmiles(Chem.MolFromSmiles("OCC"))
    if smiles != "CCO":
        return _failed("RDKit", f"writes ethanol as {smiles!r} instead of 'CCO'", remedy)
    return _passed("RDKit", "reads and writes molecules")


def check_tblite() -> Check:
    """Check the GFN2-xTB energy of H2."""
    name = "tblite (GFN2-xTB)"
    remedy = "pip install --force-reinstall tblite; or conda install -c conda-forge tblite-python"
    try:
        from ase import Atoms
        from tblite.ase import TBLite

        molecule = Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.74)])
        molecule.calc = TBLite(method="GFN2-xTB", verbosity=0)
        energy = float(molecule.get_potential_energy())
    except (ImportError, OSError, RuntimeError) as err:
        return _failed(name, str(err), remedy)
    detail = f"energy of H2: {energy:.4f} eV"
    if abs(energy - _H2_ENERGY) < 1e-3:
        return _passed(name, detail)
    return _failed(name, f"{detail} instead of {_H2_ENERGY} eV", remedy)


def check_gpaw() -> Check:
    """Check that GPAW's compiled part loads and was built with libxc."""
    try:
        import _gpaw
        import gpaw
    except ImportError as err:
        return _failed("GPAW", str(err), _REMEDIES["gpaw"])
    libxc = getattr(_gpaw, "libxc_version", None)
    if libxc is None:
        return _failed(
            "GPAW",
            f"{gpaw.__version__} was built without libxc",
            f"apt-get install g++ libxc-dev libopenblas-dev && {_BUILD_GPAW}",
        )
    return _passed("GPAW", f"{gpaw.__version__} with libxc {libxc}")


def check_fftw() -> Check:
    """Check that GPAW was built with FFTW, which makes plane waves faster."""
    try:
        from gpaw.fftw import have_fftw
    except ImportError as err:
        return _failed("FFTW", str(err), _REMEDIES["gpaw"], required=False)
    if have_fftw():
        return _passed("FFTW", "GPAW was built with it", required=False)
    return _failed(
        "FFTW",
        "GPAW was built without; plane waves take 1.2 to 1.7 times as long",
        "apt-get install libfftw3-dev && "
        "echo \"libraries = ['xc', 'blas', 'fftw3']; noblas = False; fftw = True\" >siteconfig.py "
        f"&& GPAW_CONFIG=$PWD/siteconfig.py {_BUILD_GPAW}",
        required=False,
    )


def check_paw_data(elements: Iterable[str] = ELEMENTS) -> Check:
    """Check that GPAW finds an LDA data set and a double-zeta basis for each element."""
    name = "PAW data sets"
    remedy = "pip install gpaw-data; or set GPAW_SETUP_PATH to their folder"
    try:
        from gpaw import setup_paths
        from gpaw.setup_data import search_for_file
    except ImportError as err:
        return _failed(name, str(err), _REMEDIES["gpaw"])
    lacking = []
    for symbol in elements:
        for file in (f"{symbol}.LDA", f"{symbol}.dzp.basis"):
            try:
                search_for_file(file)
            except (FileNotFoundError, RuntimeError):  # RuntimeError: GPAW before 26
                lacking.append(file)
    folders = ", ".join(map(str, setup_paths)) or "no folder"
    if lacking:
        return _failed(name, f"{', '.join(lacking)} not found in {folders}", remedy)
    return _passed(name, f"LDA and dzp for {', '.join(elements)} in {folders}")


def check_embedded_store(path: Path) -> Check:
    """Check that an SQLite file, or all such files in a folder, can be read and written.

    Nothing is created; files are opened for reading.
    """
    name = "store"
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        files = [file for file in files if file.is_file() and _is_sqlite(file)]
    except OSError as err:
        return _failed(name, f"{path}: {err.strerror}", "name a folder or file that can be read")
    if not files:
        return _failed(name, f"{path} contains no SQLite file", "name the folder of a campaign")
    for file in files:
        if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK | os.X_OK):
            return _failed(name, f"{file} cannot be written to", f"chown or chmod {file.parent}")
        try:
            uri = f"{file.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=1)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as err:
            remedy = "end the program that has locked it; if damaged, restore it from a copy"
            return _failed(name, f"{file}: {err}", remedy)
    return _passed(name, f"{', '.join(file.name for file in files)} in {files[0].parent}")


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\0"


def _reason(error: Exception, uri: str) -> str:
    """Return a driver's error without secrets of the URI."""
    # Without the driver's settings and its description of the servers.
    message = _one_line(error).partition(" (configured timeouts:")[0].partition(", Timeout:")[0]
    userinfo = uri.partition("://")[2].rpartition("@")[0]
    password = userinfo.partition(":")[2]
    return redact(message, password, unquote(password), uri.partition("?")[2])


def check_mongodb(uri: str) -> Check:
    """Check that a MongoDB server answers, and report its version.

    The result contains neither user name nor password.
    """
    name = "MongoDB server"
    # without a scheme it is not a URI, but may still contain a password
    where = redact(uri if "://" in uri else f"mongodb://{uri}")
    try:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError
    except ImportError as err:
        remedy = f"pip install '{DISTRIBUTION}[mongo]'"
        return _failed(name, str(err), remedy, required=False)
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            uri, serverSelectionTimeoutMS=_SERVER_TIMEOUT_MS
        )
        with client:
            found = client.admin.command("buildInfo")["version"]
            # buildInfo needs no rights; this command fails without authentication.
            client.admin.command("connectionStatus")
    except (PyMongoError, ValueError) as err:  # ValueError: invalid port
        return _failed(
            name,
            f"{where}: {_reason(err, uri)}",
            "start the server, and check host, port, user and password in the URI",
        )
    return _passed(name, f"{found} at {where}")


def check_materials_project_key() -> Check:
    """Report whether a Materials Project key is set, without the key."""
    name = "Materials Project key"
    remedy = "only for that source: get one at materialsproject.org/api, export MP_API_KEY=..."
    key = os.environ.get("MP_API_KEY")
    if not key:
        try:
            from pymatgen.core import SETTINGS
        except ImportError:  # reported with the packages
            SETTINGS = {}
        key = SETTINGS.get("PMG_MAPI_KEY")
    if not key:
        return _failed(name, "not set", remedy, required=False)
    if len(key) != 32:  # refused by mp-api without asking the server
        return _failed(name, "set, but not 32 characters long", remedy, required=False)
    return _passed(name, "set", required=False)


def compilation_cache_folder() -> Path:
    """Return the folder of JAX's compilation cache."""
    # The same as in logan_campaign.descriptors.cache.enable_compilation_cache.
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "logan-campaign" / "jax"


def _writable_by_others(path: Path) -> Iterator[Path]:
    """Yield ``path`` and files in it that another user owns or can write to."""
    for entry in (path, *path.iterdir()):
        status = entry.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            yield entry


def check_compilation_cache(folder: Path | None = None) -> Check:
    """Check that no other user can write to the compilation cache.

    JAX runs programs from the cache. The first training creates a missing folder, private to its
    user.

    Args:
        folder: The folder; that of trainings if None.
    """
    name = "compilation cache"
    path = folder or compilation_cache_folder()
    try:
        if not path.exists():
            return _passed(name, f"{path} (not there yet)", required=False)
        if not path.is_dir():
            return _failed(name, f"{path} is no folder", f"rm {path}", required=False)
        exposed = next(_writable_by_others(path), None)
    except OSError as err:
        detail = f"{path}: {err.strerror}"
        return _failed(name, detail, f"make {path} readable, or remove it", required=False)
    if exposed is None:
        return _passed(name, f"{path}, private", required=False)
    return _failed(
        name,
        f"other users may write to {exposed}: what they put there would be run",
        f"rm -r {path} (it is made anew, for you alone)",
        required=False,
    )
