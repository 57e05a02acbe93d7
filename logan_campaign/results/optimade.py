"""Candidates as OPTIMADE structures (https://www.optimade.org), served or in a file.

The structure is the relaxed one, or the generated one where nothing was relaxed. What
OPTIMADE has no name for stands in fields that begin with ``_logan_``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ase import Atoms

from logan_campaign.results import convert
from logan_campaign.stores.schemas import CandidateRecord

#: Prefix of what is not OPTIMADE's own.
PREFIX = "logan"


class ProviderField(NamedTuple):
    """A field of candidates that OPTIMADE has no name for; ``_logan_<name>`` there."""

    name: str
    type: str
    unit: str | None = None

    @property
    def description(self) -> str:
        """What the record says of it."""
        return CandidateRecord.model_fields[self.name].description or ""


#: Fields with prefix, all of them scalars or null.
PROVIDER_FIELDS = (
    ProviderField("campaign", "string"),
    ProviderField("campaign_id", "string"),
    ProviderField("round", "integer"),
    ProviderField("order", "integer"),
    ProviderField("state", "string"),
    ProviderField("reason", "string"),
    ProviderField("smiles", "string"),
    ProviderField("spacegroup", "string"),
    ProviderField("level", "string"),
    ProviderField("energy_ev", "float", "eV"),
    ProviderField("energy_per_atom_ev", "float", "eV"),
    ProviderField("energy_above_min_ev", "float", "eV"),
    ProviderField("energy_above_hull_ev_per_atom", "float", "eV"),
    ProviderField("model_id", "string"),
    ProviderField("training_set_id", "string"),
    ProviderField("pool_id", "string"),
    ProviderField("sample_index", "integer"),
    ProviderField("strategy", "string"),
    ProviderField("represents", "integer"),
    ProviderField("match", "string"),
    ProviderField("match_label", "string"),
    ProviderField("material_id", "string"),
)


def structure_attributes(atoms: Atoms, formula: str) -> dict[str, Any]:
    """Return OPTIMADE's own attributes of a structure.

    Args:
        atoms: the structure.
        formula: its Hill formula.
    """
    from optimade.adapters.structures.ase import from_ase_atoms  # takes its time

    bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    attributes: dict[str, Any] = from_ase_atoms(bare).model_dump(mode="json", exclude_unset=True)
    attributes["chemical_formula_descriptive"] = formula
    attributes["chemical_formula_hill"] = formula
    if not atoms.pbc.any():
        attributes["lattice_vectors"] = None
    return attributes


def attributes(record: CandidateRecord) -> dict[str, Any]:
    """Return the attributes of a candidate as a structure, with those of our own.

    Raises:
        InputError: if the record was read without structures.
    """
    found = structure_attributes(convert.atoms(record), record.formula)
    for field in PROVIDER_FIELDS:
        value = getattr(record, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        found[f"_{PREFIX}_{field.name}"] = value
    return found


def entry(record: CandidateRecord) -> dict[str, Any]:
    """Return a candidate as an OPTIMADE structure resource.

    Raises:
        InputError: if the record was read without structures.
    """
    return {"id": record.id, "type": "structures", "attributes": attributes(record)}


def properties() -> dict[str, dict[str, Any]]:
    """Return OPTIMADE's description of the fields of our own."""
    found = {}
    for field in PROVIDER_FIELDS:
        about: dict[str, Any] = {"description": field.description, "type": field.type}
        if field.unit is not None:
            about["unit"] = field.unit
        found[f"_{PREFIX}_{field.name}"] = about
    return found


def json_lines(records: Iterable[CandidateRecord]) -> Iterator[str]:
    """Yield the lines of an OPTIMADE JSON Lines file, without line ends.

    The first is the header, the second describes the fields, then there is one line per
    structure: what ``optimade``'s reference server and client take.

    Raises:
        InputError: if a record was read without structures.
    """
    from optimade import __api_version__

    yield _line({"x-optimade": {"meta": {"api_version": __api_version__}}})
    about = {"description": "Candidates of campaigns", "properties": properties()}
    yield _line({"type": "info", "id": "structures", **about})
    for record in records:
        yield _line(entry(record))


def _line(obj: Any) -> str:
    return json.dumps(obj, separators=(",", ":"), allow_nan=False)
