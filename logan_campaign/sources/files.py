"""Structures from files: whatever ASE reads."""

from __future__ import annotations

import glob
import hashlib
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype
from pydantic import Field, field_validator, model_validator
from pymatgen.core import Molecule, Structure
from pymatgen.io.cif import CifParser

from logan_campaign import progress
from logan_campaign.errors import InputError, StructureError
from logan_campaign.schemas import Manifest, Origin, TargetKind
from logan_campaign.sources.base import Collector, FormulaText, LoadedSet, Source
from logan_campaign.structures import to_atoms

#: What counts as a structure file when a whole folder is given.
FOLDER_SUFFIXES = (
    *(".xyz", ".extxyz", ".cif", ".vasp", ".poscar", ".sdf", ".mol", ".pdb"),
    *(".traj", ".db", ".xsf", ".res", ".cell", ".gen"),
)
# what pymatgen reads as molecules; all else is periodic to it
_MOLECULE_SUFFIXES = (".xyz", ".mol", ".sdf", ".pdb", ".gjf", ".com")
_FOLDER_NAMES = ("POSCAR", "CONTCAR")


class FilesSource(Source):
    """Files, folders or glob patterns, in any format that ASE reads."""

    type: Literal["files"] = "files"
    path: str | list[str] = Field(
        description="File, folder or glob pattern, or a list of them; relative to the spec"
    )
    format: str | None = Field(
        None, description="ASE's name of the format, where the file name does not tell"
    )
    reader: Literal["ase", "pymatgen"] = Field(
        "ase",
        description="Library that reads the files; pymatgen also reads its own JSON, and says "
        "of each CIF site that is partly occupied",
    )
    formulas: list[FormulaText] | None = Field(
        None, description="Keep only these compositions (crystals: reduced formulas)"
    )
    kind: TargetKind | None = Field(
        None,
        description="Read all structures as this kind; by default periodic ones are crystals",
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
        """Short name for people: the names of the files or folders."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        return ", ".join(Path(text).name or text for text in paths) + _of(self.formulas)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Read every frame of every file. See :meth:`Source.load`."""
        collector = Collector(self.formulas)
        files: list[Path] = []
        for text in [self.path] if isinstance(self.path, str) else self.path:
            found, passed_over = _resolve(text, base or Path.cwd())
            files.extend(path for path in found if path not in files)
            for path in passed_over:
                collector.reject(path.name, "not a structure file by its name")
        for done, path in enumerate(files):
            progress.report("read", done, len(files), path.name)
            for frame, atoms in enumerate(self._read(path)):
                if isinstance(atoms, StructureError):
                    collector.reject(f"{path.name}#{frame}", str(atoms))
                    continue
                if self.kind is not None:
                    _set_kind(atoms, self.kind, f"{path}: frame {frame}")
                collector.add(atoms, f"{path.name}#{frame}", energy_ev=_energy(atoms))
        progress.report("read", len(files), len(files))
        names = self.path if isinstance(self.path, str) else ", ".join(self.path)
        return collector.finish(names, Origin(name=names, checksum=_checksum(files)))

    def _read(self, path: Path) -> Iterator[Atoms | StructureError]:
        if self.reader == "ase":
            yield from _frames(path, self.format)
        else:
            yield from _pymatgen_frames(path)


def _pymatgen_frames(path: Path) -> Iterator[Atoms | StructureError]:
    """Yield the structures of one file by pymatgen, or why one cannot be used.

    Raises:
        InputError: if pymatgen cannot read the file.
    """
    found: list[Molecule | Structure]
    try:
        if path.suffix.lower() == ".cif":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it mends while reading
                found = list(CifParser(path).parse_structures(primitive=False))
        elif path.suffix.lower() in _MOLECULE_SUFFIXES:
            found = [Molecule.from_file(path)]
        else:
            found = [Structure.from_file(path)]
    except Exception as err:
        raise InputError(f"{path}: pymatgen cannot read it: {_one_line(err)}") from err
    for structure in found:
        try:
            yield to_atoms(structure)
        except StructureError as err:
            yield err


def _of(formulas: list[str] | None) -> str:
    return f" ({', '.join(formulas)})" if formulas else ""


def _checksum(files: list[Path]) -> str:
    """Return the SHA-256 of the names and bytes of files, in their order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0".encode())
        try:
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as err:
            raise InputError(f"cannot read {path}: {err.strerror or err}") from err
    return digest.hexdigest()


def _resolve(text: str, base: Path) -> tuple[list[Path], list[Path]]:
    """Return the files that ``text`` names, sorted, and those of a folder passed over."""
    path = base / Path(text).expanduser()
    if path.is_file():
        return [path], []
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        wanted = [
            p
            for p in inside
            if p.suffix.lower() in FOLDER_SUFFIXES or p.name.startswith(_FOLDER_NAMES)
        ]
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


def _frames(path: Path, format: str | None) -> Iterator[Atoms]:
    """Yield the structures of one file.

    Raises:
        InputError: naming the file and, within it, the frame (from 0) that is malformed.
    """
    try:
        if path.stat().st_size == 0:
            raise InputError(f"file is empty: {path}")
        name = format or filetype(str(path))
    except OSError as err:
        raise InputError(f"cannot read {path}: {err.strerror or err}") from err
    except UnknownFileTypeError as err:
        raise InputError(f"{path}: no file format that ASE knows; set 'format'") from err
    if name in ("xyz", "extxyz"):
        _check_xyz(path)
    reader = iread(str(path), ":", format=name, do_not_split_by_at_sign=True)
    for frame in itertools.count():
        try:
            atoms = next(reader)
        except StopIteration:
            if frame == 0:
                raise InputError(f"no structures in {path}") from None
            return
        except OSError as err:
            raise InputError(f"{path}: frame {frame}: {err.strerror or err}") from err
        except UnknownFileTypeError as err:
            raise InputError(f"{path}: ASE has no file format named {name!r}") from err
        except Exception as err:
            raise InputError(f"{path}: frame {frame}: {_one_line(err)}") from err
        if not isinstance(atoms, Atoms):
            raise InputError(f"{path}: frame {frame} is not a structure")
        yield atoms


def _check_xyz(path: Path) -> None:
    """Check that the frames of an (ext)xyz file follow one another without a gap.

    ASE's reader looks for all headers before it reads a structure, so its errors name no
    frame, and it takes an empty line in the middle for the end of the file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = enumerate(file, start=1)
            for frame in itertools.count():
                number, header = next(lines, (0, ""))
                if not header.strip():
                    rest = next((n for n, line in lines if line.strip()), None)
                    if rest is not None:
                        raise InputError(
                            f"{path}: frame {frame}: empty line {number} where the number "
                            f"of atoms should be, but more follows in line {rest}"
                        )
                    return
                if header.lstrip().startswith("VEC"):
                    continue
                try:
                    n_atoms = int(header)
                except ValueError:
                    raise InputError(
                        f"{path}: frame {frame}: line {number} should be the number of "
                        f"atoms, not {_short(header)!r}"
                    ) from None
                body = list(itertools.islice(lines, n_atoms + 1))
                if len(body) < n_atoms + 1:
                    raise InputError(
                        f"{path}: frame {frame}: file ends after {max(len(body) - 1, 0)} "
                        f"of {n_atoms} atoms"
                    )
    except UnicodeDecodeError as err:
        raise InputError(f"{path}: not a text file") from err
    except OSError as err:
        raise InputError(f"cannot read {path}: {err.strerror or err}") from err


def _set_kind(atoms: Atoms, kind: TargetKind, where: str) -> None:
    if kind == "molecule":
        atoms.pbc = False
    elif atoms.cell.rank < 3:
        raise InputError(f"{where} has no cell: not a crystal")
    else:
        atoms.pbc = True


def _energy(atoms: Atoms) -> float | None:
    """Return the total energy (eV) that the file gives, if any."""
    results: dict[str, Any] = getattr(atoms.calc, "results", {})
    value = results.get("energy", atoms.info.get("energy"))
    return float(value) if isinstance(value, int | float) else None


def _one_line(err: BaseException) -> str:
    if isinstance(err, KeyError):
        return f"unknown species or name {err}"
    return _short(str(err) or type(err).__name__)


def _short(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "…"
