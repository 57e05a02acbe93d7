"""Candidates as OPTIMADE structures (https://www.optimade.org), served or in a file.

The structure is the relaxed one, or the generated one if nothing was relaxed. Fields that
OPTIMADE does not define have the prefix ``_logan_``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from ase import Atoms

from logan_campaign.core.documents import columns
from logan_campaign.results import convert
from logan_campaign.stores.filters import single_type
from logan_campaign.stores.records import CandidateRecord

#: Prefix of fields that OPTIMADE does not define.
PREFIX = "logan"


_TYPES = {str: "string", int: "integer", float: "float"}

#: Fields of candidates that OPTIMADE does not define, served as ``_logan_<name>``; scalars or
#: null.
PROVIDER_FIELDS = tuple(
    name for name, column in columns(CandidateRecord).items() if column.optimade
)


def structure_attributes(atoms: Atoms, formula: str) -> dict[str, Any]:
    """Return the standard OPTIMADE attributes of a structure.

    Args:
        atoms: the structure.
        formula: its Hill formula.
    """
    from optimade.adapters.structures.ase import from_ase_atoms  # slow import

    bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    attributes: dict[str, Any] = from_ase_atoms(bare).model_dump(mode="json", exclude_unset=True)
    attributes["chemical_formula_descriptive"] = formula
    attributes["chemical_formula_hill"] = formula
    if not atoms.pbc.any():
        attributes["lattice_vectors"] = None
    return attributes


def attributes(record: CandidateRecord) -> dict[str, Any]:
    """Return the OPTIMADE attributes of a candidate, including ``_logan_`` fields.

    Raises:
        InputError: the record was read without structures.
    """
    found = structure_attributes(convert.atoms(record), record.formula)
    for name in PROVIDER_FIELDS:
        value = getattr(record, name)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        found[f"_{PREFIX}_{name}"] = value
    return found


def entry(record: CandidateRecord) -> dict[str, Any]:
    """Return a candidate as an OPTIMADE structure resource.

    Raises:
        InputError: the record was read without structures.
    """
    return {"id": record.id, "type": "structures", "attributes": attributes(record)}


def properties() -> dict[str, dict[str, Any]]:
    """Return the OPTIMADE property definitions of our fields, by name without prefix."""
    found = {}
    for name in PROVIDER_FIELDS:
        field = CandidateRecord.model_fields[name]
        kind, _ = single_type(field.annotation)
        found[name] = {"description": field.description, "type": _TYPES[kind]}
        if unit := columns(CandidateRecord)[name].unit:
            found[name]["unit"] = unit
    return found


def json_lines(records: Iterable[CandidateRecord]) -> Iterator[str]:
    """Yield the lines of an OPTIMADE JSON Lines file, without line ends.

    The first line is the header, the second describes the fields, and one line per structure
    follows: the form that optimade-python-tools reads.

    Raises:
        InputError: a record was read without structures.
    """
    from optimade import __api_version__

    yield _line({"x-optimade": {"meta": {"api_version": __api_version__}}})
    about = {
        "description": "Candidates of campaigns",
        "properties": {f"_{PREFIX}_{name}": said for name, said in properties().items()},
    }
    yield _line({"type": "info", "id": "structures", **about})
    for record in records:
        yield _line(entry(record))


def _line(obj: Any) -> str:
    return json.dumps(obj, separators=(",", ":"), allow_nan=False)
