"""Read the entries of one structure file, or the reasons why they are unusable.

For all formats, an entry must be complete, ordered and consistent with its file; otherwise it is
rejected with a reason, and the others are kept. pymatgen reads CIFs, RDKit molfiles and SD files,
ASE all other formats. Problems that they ignore are checked here: occupancies and disorder,
implicit hydrogens, charges, stated numbers of atoms and columns, the formula stated by a CIF.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import re
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from pymatgen.core import Molecule, Structure
from rdkit import Chem, rdBase

from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.files import file_errors
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.sources.base import short
from logan_campaign.sources.cif import OCCUPANCY_TOLERANCE, cif_blocks, is_full

#: Files larger than this, unpacked where they are compressed, are refused (bytes).
MAX_FILE_BYTES = 256 * 2**20

#: Longest line of an xyz file; comment lines are parsed character by character.
MAX_LINE_LENGTH = 100_000

_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz")
_MOLFILE_SUFFIXES = (".mol", ".sdf", ".sd")


class Entry(NamedTuple):
    """One entry of a file: the structure, or the reason for rejection."""

    label: str
    """Number of the entry in its file, from 0, with its name if there is one."""
    structure: Atoms | StructureError
    charge: float = 0.0


def read_entries(path: Path, format: str | None = None, pymatgen: bool = False) -> Iterator[Entry]:
    """Yield the entries of one file.

    Args:
        path: the file, which may be compressed (gzip, bzip2, xz).
        format: ASE's name of the format; by default from the file's name and content.
        pymatgen: whether pymatgen reads all formats that it supports, including its JSON.

    Raises:
        InputError: the whole file cannot be read.
    """
    with plain_file(path) as plain:
        for entry in _entries(plain, path, format, pymatgen):
            yield entry if isinstance(entry.structure, StructureError) else _checked(entry)


def _entries(plain: Path, path: Path, format: str | None, pymatgen: bool) -> Iterator[Entry]:
    # brings SciPy: whoever only checks a spec does not wait for it
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    suffix = plain.suffix.lower()
    if format is None and suffix == ".json":
        if not pymatgen:
            raise InputError(f"{path}: JSON is read by pymatgen: give the reader 'pymatgen'")
        return _by_pymatgen(plain, path)
    try:
        with file_errors("read", path):
            name = format or filetype(str(plain))
    except UnknownFileTypeError:
        name = ""
    if name == "cif":
        return _cif(plain, path)
    if name in ("sdf", "mol") or (format is None and suffix in _MOLFILE_SUFFIXES):
        return _molfile(plain, path)
    if name in ("xyz", "extxyz"):
        return _xyz(plain, path, name, pymatgen)
    if name not in ioformats:
        if format is not None:
            raise InputError(f"{path}: ASE has no file format named {name!r}")
        raise InputError(f"{path}: no file format that ASE knows; set 'format'")
    if name == "vasp":
        _check_poscar(plain, path)
    if name == "proteindatabank":
        _check_pdb(plain, path)
    return _by_pymatgen(plain, path) if pymatgen else _by_ase(plain, path, name)


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """Yield the file itself, or an unpacked copy in UTF-8 without byte-order mark.

    Raises:
        InputError: the file is empty, too large, damaged, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(6)
            size = file.seek(0, 2)
        if not head:
            raise InputError(f"file is empty: {path}")
        opener = next((found for magic, found in _OPENERS.items() if head.startswith(magic)), None)
        if opener is None and size > MAX_FILE_BYTES:
            raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MB: split it")
        with (opener or open)(path, "rb") as packed:
            data: bytes = packed.read(MAX_FILE_BYTES + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as err:
        raise InputError(f"{path}: the compressed file is damaged or ends early") from err
    except OSError as err:
        raise InputError(f"cannot read {path}: {err.strerror or err}") from err
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MB when unpacked: split it")
    text = _as_utf8(data)
    if opener is None and text is data:
        yield path
        return
    named = path.stem if path.suffix.lower() in COMPRESSED_SUFFIXES else path.name
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / named
        plain.write_bytes(text)
        yield plain


def _as_utf8(data: bytes) -> bytes:
    """Convert text of other encodings to UTF-8; return binary data unchanged."""
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16").encode()
        except UnicodeDecodeError:
            return data
    if b"\0" in data[:4096]:
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1").encode()
    return data


def _lines(plain: Path, path: Path) -> list[str]:
    try:
        text = plain.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise InputError(f"{path}: not a text file") from err
    if "\0" in text:
        raise InputError(f"{path}: not a text file")
    return text.splitlines()


def _checked(entry: Entry) -> Entry:
    """Refuse charged or partly occupied structures, and positions that are not finite."""
    atoms = entry.structure
    assert isinstance(atoms, Atoms)
    charge = entry.charge
    for key in ("charge", "total_charge"):
        value = getattr(atoms.calc, "results", {}).get(key, atoms.info.get(key))
        if isinstance(value, Real):
            charge = float(value)
    if not np.isfinite(charge) or abs(charge) > 1e-3:
        reason = f"charge {charge:+g}: only neutral structures are supported"
        return Entry(entry.label, StructureError(reason))
    problem = _occupancy_problem(atoms)
    return Entry(entry.label, StructureError(problem)) if problem else entry


def _occupancy_problem(atoms: Atoms) -> str | None:
    """Describe a partly occupied site, by the occupancies that ASE read."""
    occupancy = atoms.arrays.get("occupancy")
    if occupancy is not None and np.issubdtype(occupancy.dtype, np.number):
        partial = np.flatnonzero(~(np.abs(occupancy - 1) <= OCCUPANCY_TOLERANCE))
        if len(partial):
            i = int(partial[0])
            return f"disordered: atom {i} ({atoms.symbols[i]}) has occupancy {occupancy[i]:g}"
    shared = atoms.info.get("occupancy")
    if isinstance(shared, dict):
        for kind, species in shared.items():
            if isinstance(species, dict) and (
                len(species) != 1 or any(not is_full(value) for value in species.values())
            ):
                return f"disordered: site {kind} is occupied by {species}"
    return None


def _cif(plain: Path, path: Path) -> Iterator[Entry]:
    found = [Entry(*block) for block in cif_blocks("\n".join(_lines(plain, path)))]
    if not found:
        raise InputError(f"{path}: not a CIF: no data block lists atoms")
    yield from found


def _entry(label: str, name: str, read: Callable[[], tuple[Atoms, float]]) -> Entry:
    """Return the atoms and the charge (e) that ``read`` returns, or why they cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is mended while reading
            return Entry(label, *read())
    except StructureError as err:
        return Entry(label, err)
    except Exception as err:  # noqa: BLE001  whatever it is, this entry cannot be read
        return Entry(label, _unreadable(err, name))


def _unreadable(err: Exception, name: str) -> StructureError:
    """Return what kept a library from reading an entry, in words that are not its own."""
    if isinstance(err, KeyError):
        return StructureError(f"unknown species {short(str(err))}")
    return StructureError(f"not readable as {name}")


def _molfile(plain: Path, path: Path) -> Iterator[Entry]:
    """Yield the records of an SD file or molfile, by RDKit."""
    text = "\n".join(_lines(plain, path))
    records = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
    if len(records) > 1 and not records[-1].strip():
        records.pop()
    for number, record in enumerate(records):
        yield _entry(str(number), "molfile", partial(_of_molfile, record))


def _of_molfile(record: str) -> tuple[Atoms, float]:
    with rdBase.BlockLogs():
        # Not sanitised: the drawn bonds must not lead to rejection of a geometry.
        mol = Chem.MolFromMolBlock(record, sanitize=False, removeHs=False)
        if mol is None:
            raise StructureError("not a readable molfile")
        if mol.GetNumAtoms() == 0:
            raise StructureError("the record lists no atoms")
        if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
            raise StructureError("the record has query atoms or R groups")
        try:
            mol.UpdatePropertyCache(strict=False)
        except RuntimeError as err:
            raise StructureError("the record has atoms of impossible valence") from err
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        raise StructureError("a radical: only closed shells are supported")
    implied = sum(atom.GetTotalNumHs(includeNeighbors=False) for atom in mol.GetAtoms())
    if implied:
        raise StructureError(f"{implied} hydrogens are implied and have no coordinates")
    program = record.split("\n")[1:2]  # the header's line of program, date and dimension
    positions = mol.GetConformer().GetPositions()
    if program and program[0].rstrip().upper().endswith("2D") and len(positions) > 1:
        raise StructureError("a drawing: it has no third dimension")
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    return Atoms(numbers, positions), float(Chem.GetFormalCharge(mol))


def _xyz(plain: Path, path: Path, name: str, pymatgen: bool) -> Iterator[Entry]:
    """Yield the frames of an (extended) xyz file, each on its own."""
    lines = _lines(plain, path)
    if pymatgen and any("lattice=" in line.lower() for line in lines):
        raise InputError(f"{path}: pymatgen reads no cell from xyz files: leave out its reader")
    for number, frame in enumerate(_xyz_frames(lines)):
        if isinstance(frame, StructureError):
            yield Entry(str(number), frame)
        elif pymatgen:
            yield _entry(str(number), "xyz", partial(_frame_by_pymatgen, frame))
        else:
            yield _entry(str(number), name, partial(_frame_by_ase, frame, name))


def _frame_by_pymatgen(frame: list[str]) -> tuple[Atoms, float]:
    from pymatgen.io.xyz import XYZ  # brings pandas

    return to_atoms(XYZ.from_str("\n".join(frame) + "\n").molecule), 0.0


def _frame_by_ase(frame: list[str], name: str) -> tuple[Atoms, float]:
    from ase.io import iread

    _check_columns(frame)
    (atoms,) = iread(io.StringIO("\n".join(frame) + "\n"), ":", format=name)
    return atoms, 0.0


def _xyz_frames(lines: list[str]) -> Iterator[list[str] | StructureError]:
    """Split an xyz file into frames; where one does not follow the last, the rest is lost."""
    at = 0
    while at < len(lines):
        header = lines[at].strip()
        if not header:
            rest = next((n for n in range(at, len(lines)) if lines[n].strip()), None)
            if rest is not None:
                yield StructureError(
                    f"empty line {at + 1} where the number of atoms should be, but more follows "
                    f"in line {rest + 1}"
                )
            return
        if header.startswith("VEC"):
            at += 1
            continue
        if not re.fullmatch(r"\+?\d{1,9}", header):
            yield StructureError(
                f"line {at + 1} should be the number of atoms, not {short(header)!r}"
            )
            return
        n_atoms = int(header)
        frame = lines[at : at + n_atoms + 2]
        long = next((n for n, line in enumerate(frame) if len(line) > MAX_LINE_LENGTH), None)
        if long is not None:
            yield StructureError(
                f"line {at + long + 1} is longer than {MAX_LINE_LENGTH} characters"
            )
            at += n_atoms + 2
            continue
        if len(frame) < n_atoms + 2:
            yield StructureError(f"file ends after {max(len(frame) - 2, 0)} of {n_atoms} atoms")
            return
        at += n_atoms + 2
        vectors = list(itertools.takewhile(lambda line: line.startswith("VEC"), lines[at : at + 3]))
        at += len(vectors)
        yield frame + vectors


def _check_columns(frame: list[str]) -> None:
    """Refuse a frame in which an atom has fewer columns than the frame announces."""
    announced = re.search(r"\bProperties=\"?([^\s\"]+)", frame[1])
    n_columns = 4
    if announced:
        try:
            n_columns = sum(int(n) for n in announced.group(1).split(":")[2::3])
        except ValueError as err:
            told = short(announced.group(1))
            raise StructureError(f"Properties={told} cannot be understood") from err
    for number, line in enumerate(frame[2 : 2 + int(frame[0])]):
        found = line.split()
        if len(found) < n_columns:
            what = "Properties announces" if announced else "needed are"
            raise StructureError(f"atom {number} has {len(found)} columns, {what} {n_columns}")
        wrong = next((x for x in found[1:4] if not announced and not _is_number(x)), None)
        if wrong is not None:
            raise StructureError(f"atom {number} has the coordinate {short(wrong)!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _by_ase(plain: Path, path: Path, name: str) -> Iterator[Entry]:
    """Yield the frames of a file by ASE, up to the first unreadable one."""
    from ase.io import iread

    reader = iread(str(plain), ":", format=name, do_not_split_by_at_sign=True)
    for number in itertools.count():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it mends while reading
                atoms = next(reader)
        except StopIteration:
            if number == 0:
                raise InputError(f"no structures in {path}") from None
            return
        except OSError as err:
            raise InputError(f"{path}: frame {number}: {err.strerror or err}") from err
        except Exception as err:  # noqa: BLE001  whatever it is, this frame cannot be read
            yield Entry(str(number), _unreadable(err, name))
            return
        if not isinstance(atoms, Atoms):
            raise InputError(f"{path}: frame {number} is not a structure")
        if name == "proteindatabank" and number and not len(atoms):
            continue  # ASE reads END after the last ENDMDL as another model
        yield Entry(str(number), atoms)


def _by_pymatgen(plain: Path, path: Path) -> Iterator[Entry]:
    """Yield the structures of one file by pymatgen, or the reasons for rejection."""
    suffix = plain.suffix.lower()
    if suffix == ".json":
        yield from _json(plain, path)
        return
    kind = Molecule if suffix in (".pdb", ".gjf", ".com") else Structure
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it mends while reading
            found = kind.from_file(plain)
    except Exception as err:
        raise InputError(f"{path}: pymatgen cannot read it") from err
    yield _entry("0", "pymatgen's structure", lambda: (to_atoms(found), float(found.charge or 0)))


def _json(plain: Path, path: Path) -> Iterator[Entry]:
    """Yield the contents of pymatgen's JSON: a structure, a molecule, or a list of them."""
    try:
        data = json.loads(plain.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise InputError(f"{path}: not readable JSON") from err
    items = data if isinstance(data, list) else [data]
    if not items:
        raise InputError(f"{path}: the list holds no structure")
    for number, item in enumerate(items):
        yield _entry(str(number), "pymatgen's JSON", partial(_of_json, item))


def _of_json(item: Any) -> tuple[Atoms, float]:
    if not isinstance(item, dict) or "sites" not in item:
        raise StructureError("not pymatgen's JSON of a structure or molecule")
    kind = Structure if "lattice" in item else Molecule
    # pymatgen refuses charges inconsistent with the spin; all charges are refused here.
    found = kind.from_dict({**item, "charge": 0, "spin_multiplicity": None})
    return to_atoms(found), float(item.get("charge") or 0)


def _check_poscar(plain: Path, path: Path) -> None:
    """Check that a POSCAR lists as many atoms as it states.

    Raises:
        InputError: it does not.
    """
    lines = _lines(plain, path)
    counts_at = 5
    if len(lines) > 5 and lines[5].split() and not lines[5].split()[0].lstrip("-").isdigit():
        counts_at = 6
    if len(lines) <= counts_at:
        raise InputError(f"{path}: file ends before the numbers of atoms")
    counts = lines[counts_at].split("!")[0].split("#")[0].split()
    if not counts or not all(re.fullmatch(r"\d{1,9}", text) for text in counts):
        raise InputError(f"{path}: line {counts_at + 1} should be the numbers of atoms")
    if counts_at == 6 and len(lines[5].split()) != len(counts):
        raise InputError(
            f"{path}: {len(lines[5].split())} species in line 6, {len(counts)} numbers in line 7"
        )
    mode = counts_at + 1
    if len(lines) > mode and lines[mode].strip()[:1].lower() == "s":
        mode += 1
    n_atoms = sum(int(text) for text in counts)
    listed = 0
    for line in lines[mode + 1 : mode + 1 + n_atoms]:
        if len(line.split()) < 3 or not all(_is_number(x) for x in line.split()[:3]):
            break
        listed += 1
    if listed < n_atoms:
        raise InputError(f"{path}: file ends after {listed} of {n_atoms} atoms")
    after = "".join(lines[mode + 1 + n_atoms : mode + 2 + n_atoms]).split()
    # Velocities are preceded by a line without numbers.
    if len(after) >= 3 and all(_is_number(x) for x in after[:3]):
        raise InputError(f"{path}: more positions follow than the {n_atoms} announced")


def _check_pdb(plain: Path, path: Path) -> None:
    """Refuse a PDB file with alternate locations or charged atoms.

    Raises:
        InputError: it has one; the message names the atom.
    """
    for line in _lines(plain, path):
        if not line.startswith(("ATOM", "HETATM")):
            continue
        name, charge = line[12:16].strip(), line[78:80].strip()
        if line[16:17].strip():
            raise InputError(f"{path}: disordered: atom {name} has alternate locations")
        if re.fullmatch(r"[1-9][-+]|[-+][1-9]", charge):
            raise InputError(f"{path}: atom {name} has the charge {charge}: ions are not read")
