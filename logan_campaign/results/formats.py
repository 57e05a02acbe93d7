"""The formats that candidates are written in; :mod:`logan_campaign.results.export` picks one."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from monty.json import jsanitize

from logan_campaign.core.documents import TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.core.files import whole_file, write_atomically
from logan_campaign.core.registry import Registry
from logan_campaign.results import convert, optimade
from logan_campaign.stores.records import CandidateRecord

#: Columns of a crystal's cell in a table (Å, degrees, Å³).
_CELL = ("a", "b", "c", "alpha", "beta", "gamma", "volume")


class ExportFormat(ABC):
    """A format; plugins name theirs in the entry-point group ``logan_campaign.exports``."""

    #: How names of files end; the first is what a file gets.
    suffixes: ClassVar[tuple[str, ...]]
    #: Kinds of structures that the format can hold.
    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule", "crystal")
    #: Media type under which pages offer a candidate in the format; '' if they do not.
    media_type: ClassVar[str] = ""
    #: Whether many candidates are best kept in a folder of files.
    one_per_file: ClassVar[bool] = False

    def pieces(self, records: Iterable[CandidateRecord], raw: bool) -> Iterator[str]:
        """Yield the text of a file of candidates, piece by piece.

        Args:
            records: candidates, read with their structures.
            raw: as generated instead of as relaxed.

        Raises:
            InputError: if the format cannot hold them, or is not a text.
        """
        for record in records:
            yield self.piece(record, raw)

    @abstractmethod
    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return the text of one candidate; see :meth:`pieces`."""

    def write(self, records: Iterable[CandidateRecord], path: Path, raw: bool) -> None:
        """Write candidates to a file, or to a folder of files; see :meth:`pieces`."""
        if self.one_per_file and not path.name.lower().endswith(self.suffixes):
            path.mkdir(parents=True, exist_ok=True)
            for record in records:
                beside = path / f"{record.id}{self.suffixes[0]}"
                write_atomically(beside, self.piece(record, raw), durable=False)
            return
        with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
            file.writelines(self.pieces(records, raw))


class ExtXYZ(ExportFormat):
    """Extended XYZ."""

    suffixes = (".extxyz", ".xyz")
    media_type = "chemical/x-xyz"

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a frame."""
        from ase.io import write

        buffer = io.StringIO()
        write(buffer, convert.atoms(record, raw), format="extxyz")
        return buffer.getvalue()


class CIF(ExportFormat):
    """Crystallographic information file; several blocks follow one another."""

    suffixes = (".cif",)
    kinds = ("crystal",)
    media_type = "chemical/x-cif"
    one_per_file = True

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a block, whose name tells one candidate from the next in a file of several."""
        from pymatgen.io.cif import CifWriter

        crystal: Any = convert.geometry(record, raw)
        lines = str(CifWriter(crystal)).splitlines()
        return "\n".join(f"data_{record.id}" if x.startswith("data_") else x for x in lines) + "\n"


class SymmetrizedCIF(CIF):
    """CIF of the conventional cell, symmetrized, with the operations of the space group."""

    suffixes = (".sym.cif",)

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a block with the asymmetric unit.

        Raises:
            InputError: the structure has no symmetry that spglib finds.
        """
        from pymatgen.io.cif import CifWriter

        from logan_campaign.results.description import SYMPREC, crystal

        structure: Any = convert.geometry(record, raw)
        found = crystal(structure)
        if found is None:
            raise InputError(f"spglib finds no symmetry of {record.id}: write it as cif")
        # the cell has been symmetrized: a tight tolerance finds the same group
        text = str(CifWriter(found.conventional, symprec=0.1 * SYMPREC))
        return text.replace("data_", f"data_{record.id} # ", 1)


class POSCAR(ExportFormat):
    """VASP's POSCAR; several follow one another."""

    suffixes = (".vasp", ".poscar")
    kinds = ("crystal",)
    media_type = "text/plain"
    one_per_file = True

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a POSCAR, atoms sorted by element."""
        from pymatgen.io.vasp import Poscar

        crystal: Any = convert.geometry(record, raw)
        comment = f"{record.id} {record.formula}"
        return Poscar(crystal.get_sorted_structure(), comment=comment).get_str()


class SDF(ExportFormat):
    """Structure-data file, with bonds."""

    suffixes = (".sdf",)
    kinds = ("molecule",)
    media_type = "chemical/x-mdl-sdfile"

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a molecule with its data."""
        from rdkit import Chem

        from logan_campaign.geometry.molecules import bonded  # brings RDKit

        mol = bonded(convert.geometry(record, raw))
        mol.SetProp("_Name", record.id)
        buffer = io.StringIO()
        with Chem.SDWriter(buffer) as writer:
            for key, value in convert.about(record, raw).items():
                mol.SetProp(key, str(value))
            writer.write(mol)
        return buffer.getvalue()


class CSV(ExportFormat):
    """One row per candidate: the columns of tables, and lengths, angles and volume of a cell."""

    suffixes = (".csv",)
    media_type = "text/csv"

    def pieces(self, records: Iterable[CandidateRecord], raw: bool) -> Iterator[str]:
        """Yield the header and the rows."""
        buffer = io.StringIO()
        table = csv.DictWriter(buffer, [*convert.COLUMNS, *_CELL])
        table.writeheader()
        for record in records:
            told = convert.summary(record, raw or not convert.is_relaxed(record))
            row = {name: told.get(name) for name in convert.COLUMNS}
            structure: Any = convert.geometry(record, raw)
            if record.kind == "crystal":
                lattice = structure.lattice
                values = (*lattice.parameters, lattice.volume)
                row |= dict(zip(_CELL, (round(value, 6) for value in values), strict=True))
            table.writerow(row)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a table of one."""
        return "".join(self.pieces([record], raw))


class JSONList(ExportFormat):
    """One JSON list of candidates."""

    suffixes = (".json",)
    media_type = "application/json"

    def pieces(self, records: Iterable[CandidateRecord], raw: bool) -> Iterator[str]:
        """Yield the list."""
        documents = [{**convert.summary(r, raw), **_structure(r, raw)} for r in records]
        yield json.dumps(documents, indent=1, allow_nan=False)

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a list of one."""
        return "".join(self.pieces([record], raw))


class JSONLines(ExportFormat):
    """One line of JSON per candidate, with its relaxations."""

    suffixes = (".jsonl", ".ndjson")

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a line."""
        document = {
            **convert.summary(record, raw),
            "relaxations": [r.model_dump(mode="json") for r in record.relaxations],
            **_structure(record, raw),
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


class OptimadeLines(ExportFormat):
    """OPTIMADE JSON Lines."""

    suffixes = (".optimade.jsonl", ".optimade")
    media_type = "application/jsonl"

    def pieces(self, records: Iterable[CandidateRecord], raw: bool) -> Iterator[str]:
        """Yield the header and the entries."""
        if raw:
            raise InputError("OPTIMADE files hold structures as relaxed; leave out 'raw'")
        for line in optimade.json_lines(records):
            yield line + "\n"

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a file of one entry."""
        return "".join(self.pieces([record], raw))


class AseDatabase(ExportFormat):
    """An SQLite database of ASE."""

    suffixes = (".db",)

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Raise InputError: a database is no text."""
        raise InputError("ase.db is not a text format")

    def write(self, records: Iterable[CandidateRecord], path: Path, raw: bool) -> None:
        """Write the database."""
        from ase.db import connect

        with whole_file(path) as beside, connect(beside, type="db", append=False) as database:
            for record in records:
                about = convert.about(record, raw)
                # ASE has an id and the formula of its own, and refuses texts that read as
                # numbers, which labels may.
                pairs = {"candidate": about.pop("id"), **about}
                del pairs["formula"]
                data = {"match_label": pairs.pop("match_label", None)}
                made = convert.atoms(record, raw)
                made.info = {}
                database.write(made, key_value_pairs=pairs, data=data)


def _structure(record: CandidateRecord, raw: bool) -> dict[str, Any]:
    found = record.raw_structure if raw or record.structure is None else record.structure
    if found is None:
        raise InputError(f"{record.id} was read without its structure")
    return {"structure": jsanitize(found.as_dict())}


EXPORTS = Registry(
    "format",
    "logan_campaign.exports",
    ExportFormat,  # type: ignore[type-abstract]
    {
        "extxyz": "logan_campaign.results.formats:ExtXYZ",
        "cif": "logan_campaign.results.formats:CIF",
        "cif-symmetrized": "logan_campaign.results.formats:SymmetrizedCIF",
        "poscar": "logan_campaign.results.formats:POSCAR",
        "sdf": "logan_campaign.results.formats:SDF",
        "csv": "logan_campaign.results.formats:CSV",
        "json": "logan_campaign.results.formats:JSONList",
        "jsonl": "logan_campaign.results.formats:JSONLines",
        "ase.db": "logan_campaign.results.formats:AseDatabase",
        "optimade": "logan_campaign.results.formats:OptimadeLines",
    },
)
