"""Structures from files, folders and glob patterns."""

from __future__ import annotations

import glob
import hashlib
import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from ase import Atoms
from pydantic import Field, field_validator, model_validator

from logan_campaign.core import progress
from logan_campaign.core.documents import Manifest, Origin
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.sources.base import Collector, FormulaText, LoadedSet, Source
from logan_campaign.sources.readers import COMPRESSED_SUFFIXES, MAX_FILE_BYTES, read_entries

#: Suffixes of structure files in a folder, compressed or not.
FOLDER_SUFFIXES = (
    *(".xyz", ".extxyz", ".cif", ".vasp", ".poscar", ".sdf", ".mol", ".pdb"),
    *(".traj", ".db", ".xsf", ".res", ".cell", ".gen", ".zip"),
)
_FOLDER_NAMES = ("POSCAR", "CONTCAR")

_NO_STRUCTURE_FILE = "not a structure file by its name"


class FilesSource(Source):
    """Files, folders, zip archives or glob patterns: CIF, molfiles, any format that ASE reads."""

    type: Literal["files"] = "files"
    path: str | list[str] = Field(
        description="File, folder, zip archive or glob pattern, or a list of them; relative to the "
        "spec"
    )
    format: str | None = Field(
        None, description="ASE's name of the format, if it does not follow from the file name"
    )
    reader: Literal["auto", "ase", "pymatgen"] = Field(
        "auto",
        description="Library for formats other than CIF (pymatgen) and molfile (RDKit): ASE, or "
        "pymatgen, which also reads its own JSON",
    )
    formulas: list[FormulaText] | None = Field(
        None, description="Keep only these compositions (crystals: reduced formulas)"
    )
    kind: Literal["molecule", "cluster", "crystal"] | None = Field(
        None,
        description="Read all structures as this kind; by default periodic ones are crystals; "
        "cluster: molecules without a molecular graph too, such as radicals",
    )

    @field_validator("path")
    @classmethod
    def _not_empty(cls, value: str | list[str]) -> str | list[str]:
        if not value or not all([value] if isinstance(value, str) else value):
            raise ValueError("give at least one path")
        return value

    @model_validator(mode="after")
    def _format_is_of_ase(self) -> FilesSource:
        if self.reader == "pymatgen" and self.format is not None:
            raise ValueError("'format' is ASE's; pymatgen goes by the file's name")
        return self

    @property
    def title(self) -> str:
        """Short name for display: the names of the files or folders."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        return ", ".join(Path(text).name or text for text in paths) + _of(self.formulas)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Read every frame of every file. See :meth:`Source.load`."""
        collector = Collector(self.formulas, need_graphs=self.kind != "cluster")
        files: list[Path] = []
        for text in [self.path] if isinstance(self.path, str) else self.path:
            found, passed_over = _resolve(text, base or Path.cwd())
            files.extend(path for path in found if path not in files)
            for path in passed_over:
                collector.reject(path.name, _NO_STRUCTURE_FILE)
        for done, path in enumerate(files):
            progress.report("read", done, len(files), path.name)
            for label, atoms in self._read(path):
                if isinstance(atoms, StructureError):
                    collector.reject(label, str(atoms))
                else:
                    collector.add(atoms, label, energy_ev=_energy(atoms))
        progress.report("read", len(files), len(files))
        names = self.path if isinstance(self.path, str) else ", ".join(self.path)
        return collector.finish(names, Origin(name=names, checksum=_checksum(files)))

    def _read(self, path: Path) -> Iterator[tuple[str, Atoms | StructureError]]:
        """Yield label and structure, or the reason for rejection, of each entry of a file."""
        if path.suffix.lower() == ".zip":
            yield from self._packed(path)
            return
        try:
            for entry in read_entries(path, self.format, self.reader == "pymatgen"):
                atoms = entry.structure
                if isinstance(atoms, Atoms) and self.kind is not None:
                    if self.kind == "crystal" and atoms.cell.rank < 3:
                        atoms = StructureError("has no cell: not a crystal")
                    else:
                        atoms.pbc = self.kind == "crystal"
                yield f"{path.name}#{entry.label}", atoms
        except InputError as err:
            yield path.name, StructureError(str(err).removeprefix(f"{path}: "))

    def _packed(self, path: Path) -> Iterator[tuple[str, Atoms | StructureError]]:
        """Yield the same of the files in a zip archive, in the order of their names."""
        try:
            with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
                for name in sorted(n for n in archive.namelist() if not n.endswith("/")):
                    plain = Path(folder) / Path(name).name
                    if not _is_structure_file(plain) or plain.suffix.lower() == ".zip":
                        yield f"{path.name}/{name}", StructureError(_NO_STRUCTURE_FILE)
                        continue
                    with archive.open(name) as packed:
                        # larger files are refused when they are read
                        plain.write_bytes(packed.read(MAX_FILE_BYTES + 1))
                    for label, atoms in self._read(plain):
                        yield f"{path.name}/{label}", atoms
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as err:
            yield path.name, StructureError(f"the zip archive is damaged: {err}")
        except RuntimeError:
            yield path.name, StructureError("the zip archive is encrypted")


def _of(formulas: list[str] | None) -> str:
    return f" ({', '.join(formulas)})" if formulas else ""


def _checksum(files: list[Path]) -> str:
    """Return the SHA-256 of the names and bytes of files, in their order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0".encode())
        # An unreadable file is refused with a reason when it is read.
        with suppress(OSError), open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _resolve(text: str, base: Path) -> tuple[list[Path], list[Path]]:
    """Return the sorted files that ``text`` names, and the skipped files of a folder."""
    path = base / Path(text).expanduser()
    if path.is_file():
        return [path], []
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        wanted = [p for p in inside if _is_structure_file(p)]
        if not wanted:
            raise InputError(f"no structure files in folder {path}")
        return wanted, [p for p in inside if p not in wanted]
    if glob.has_magic(text):
        matched = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        matched = [p for p in matched if p.is_file()]
        if matched:
            return matched, []
        raise InputError(f"no file matches {path}")
    raise InputError(f"no such file or folder: {path}")


def _is_structure_file(path: Path) -> bool:
    return _bare_suffix(path) in FOLDER_SUFFIXES or path.name.startswith(_FOLDER_NAMES)


def _bare_suffix(path: Path) -> str:
    """Return the suffix of a file name without that of compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED_SUFFIXES else suffix


def _energy(atoms: Atoms) -> float | None:
    """Return the total energy (eV) in the file, if it is finite."""
    results: dict[str, Any] = getattr(atoms.calc, "results", {})
    value = results.get("energy", atoms.info.get("energy"))
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None
