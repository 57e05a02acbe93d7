"""Candidates as structures of other libraries, and as rows of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logan_campaign.core.documents import columns
from logan_campaign.core.errors import InputError
from logan_campaign.stores.records import CandidateRecord

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.core.documents import Geometry

_NESTED = ("relaxations", "raw_structure", "structure", "source", "schema_version")
_NOT_IN_TABLES = (*_NESTED, "compared")
#: Columns of a table of candidates, in the order of the record.
COLUMNS = tuple(name for name in CandidateRecord.model_fields if name not in _NOT_IN_TABLES)

#: Properties of a structure in files.
_ABOUT = ("id", *(name for name, column in columns(CandidateRecord).items() if column.about))


def is_relaxed(record: CandidateRecord) -> bool:
    """Whether the record has a relaxed structure."""
    return record.structure is not None


def summary(record: CandidateRecord, raw: bool = False) -> dict[str, Any]:
    """Return the fields of a candidate as JSON values, without structures and relaxations.

    Args:
        record: the candidate.
        raw: describe the generated structure: without energies, which belong to the relaxed
            one.
    """
    found = record.model_dump(mode="json", exclude={"raw_structure", "structure", "relaxations"})
    if raw:
        found = {key: value for key, value in found.items() if not key.startswith("energy_")}
        del found["level"]
    return found


def about(record: CandidateRecord, raw: bool = False) -> dict[str, Any]:
    """Return the properties of a structure for files: ids, state, energies.

    Args:
        record: the candidate.
        raw: describe the generated structure: without energies.
    """
    known = summary(record, raw or not is_relaxed(record))
    return {key: known[key] for key in _ABOUT if known.get(key) is not None}


def row(record: CandidateRecord) -> dict[str, Any]:
    """Return a candidate as a row of a table with :data:`COLUMNS`."""
    return {name: getattr(record, name) for name in COLUMNS}


def geometry(record: CandidateRecord, raw: bool = False) -> Geometry:
    """Return a candidate's structure, relaxed if available; its id is in ``properties``.

    Args:
        record: the candidate.
        raw: return the generated structure.

    Raises:
        InputError: the record was read without structures.
    """
    found = record.raw_structure if raw or record.structure is None else record.structure
    if found is None:
        raise InputError(f"{record.id} was read without its structure")
    copy = found.copy()
    copy.properties["id"] = record.id
    return copy


def atoms(record: CandidateRecord, raw: bool = False) -> Atoms:
    """Return a candidate as ASE's ``Atoms``.

    ``info`` contains the other fields; a single-point calculator has the energy of the last
    relaxation, if there was one (under pressure, where ``info`` has the enthalpy, too).

    Args:
        record: the candidate.
        raw: return the generated structure, without energies.

    Raises:
        InputError: the record was read without structures.
    """
    from ase.calculators.singlepoint import SinglePointCalculator

    from logan_campaign.geometry.structures import to_atoms
    from logan_campaign.relaxation.run import pressure_energy

    made = to_atoms(geometry(record, raw))
    made.info = about(record, raw)
    if "energy_ev" in made.info:
        work = pressure_energy(made.cell.array, record.pressure_gpa or 0.0)
        made.calc = SinglePointCalculator(made, energy=made.info["energy_ev"] - work)
    return made
