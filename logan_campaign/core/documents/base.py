"""Building blocks of documents and records: models, structures, blobs, columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from logan_campaign.core.arrays import pack_numbers, unpack_numbers
from logan_campaign.core.software import software_versions

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure

SCHEMA_VERSION = 1

#: Keys whose values are stored in the additional store ``data`` instead of the document.
DATA_KEYS = ["structures", "records", "weights", "pool", "map", "trajectory"]

TargetKind = Literal["molecule", "crystal"]

#: Identity of molecules: canonical SMILES without or with stereochemistry, or InChI.
MoleculeIdentity = Literal["smiles", "smiles-stereo", "inchi"]

#: ``context`` to keep structures in stored form when validating.
AS_STORED = {"structures": "stored"}
#: ``context`` to write structures in pymatgen's form when dumping.
AS_PYMATGEN = {"structures": "pymatgen"}

T = TypeVar("T")


class Part(BaseModel):
    """A document or a part of one, without unknown fields; each field has a description."""

    # Built on first use: most programs need only a few.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _without_type_marks(cls, data: Any) -> Any:
        """Drop keys that monty adds to stored documents ('@class' and the like)."""
        if isinstance(data, Mapping) and any(key.startswith("@") for key in data):
            return {key: value for key, value in data.items() if not key.startswith("@")}
        return data


class Document(Part):
    """Base of job outputs, with layout version and software versions."""

    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout")
    software: dict[str, str] = Field(
        default_factory=software_versions, description="Versions of the software that wrote it"
    )


# --- structures -------------------------------------------------------------------------


#: What a structure may state besides its atoms and cell; see :func:`marks`.
MARKS = ("charge", "multiplicity", "cluster", "fixed")


def marks(structure: Molecule | Structure) -> dict[str, Any]:
    """Return what a structure states besides its atoms and cell; nothing for most.

    Returns:
        For molecules ``charge`` (e) unless neutral, ``multiplicity`` unless the lowest, and
        ``cluster`` (True) if they are clusters; for all ``fixed``, the indices of atoms that no
        relaxation moves.
    """
    found: dict[str, Any] = {}
    if not hasattr(structure, "lattice"):
        if structure.charge:
            found["charge"] = round(structure.charge)
        if structure.spin_multiplicity > 2:
            found["multiplicity"] = int(structure.spin_multiplicity)
        if structure.properties.get("cluster"):
            found["cluster"] = True
    free = [site.properties.get("selective_dynamics") for site in structure]
    if fixed := [index for index, moves in enumerate(free) if moves is not None and not any(moves)]:
        found["fixed"] = fixed
    return found


def marked(
    structure: Molecule | Structure,
    *,
    charge: int = 0,
    multiplicity: int | None = None,
    cluster: bool = False,
    fixed: Sequence[int] = (),
) -> Molecule | Structure:
    """State in a structure what :func:`marks` returns; it is changed and returned.

    Raises:
        ValueError: no molecule with this charge has this multiplicity.
    """
    if charge or multiplicity is not None:
        structure.set_charge_and_spin(charge, multiplicity)
    if cluster:
        structure.properties["cluster"] = True
    if len(fixed):
        free = [[index not in set(fixed)] * 3 for index in range(len(structure))]
        structure.add_site_property("selective_dynamics", free)
    return structure


def compact(structure: Molecule | Structure) -> dict[str, Any]:
    """Return a structure as a few short texts, exact and a tenth of pymatgen's form in size.

    Returns:
        ``symbols`` (element symbols in order, runs counted), ``positions`` ((n_atoms, 3) Å,
        see :func:`~logan_campaign.core.arrays.pack_numbers`), for crystals ``cell``
        ((3, 3) vectors as rows, Å), and the :func:`marks`.
    """
    from ase.symbols import Symbols

    symbols = Symbols.fromsymbols([site.specie.symbol for site in structure])
    packed = {
        "symbols": symbols.get_chemical_formula(mode="reduce"),
        "positions": pack_numbers(structure.cart_coords),
        **marks(structure),
    }
    if hasattr(structure, "lattice"):
        packed["cell"] = pack_numbers(structure.lattice.matrix)
    return packed


def symbols_of(packed: Mapping[str, Any]) -> list[str]:
    """Return the element symbol of each atom of a result of :func:`compact`."""
    from ase.symbols import string2symbols

    return string2symbols(packed["symbols"])


def expand(packed: Any) -> Any:
    """Return the structure in a result of :func:`compact` or in pymatgen's dictionary.

    Raises:
        ValueError: anything else.
    """
    from pymatgen.core import Lattice, Molecule, Structure

    if isinstance(packed, Molecule | Structure):
        return packed
    if not isinstance(packed, Mapping) or not {"symbols", "sites"} & packed.keys():
        raise ValueError("a molecule or crystal is needed")
    if "sites" in packed:
        kind = Structure if "lattice" in packed else Molecule
        return kind.from_dict(dict(packed))
    positions = unpack_numbers(packed["positions"]).reshape(-1, 3)
    found: Molecule | Structure
    if packed.get("cell") is None:
        found = Molecule(symbols_of(packed), positions)
    else:
        cell = Lattice(unpack_numbers(packed["cell"]).reshape(3, 3))
        found = Structure(cell, symbols_of(packed), positions, coords_are_cartesian=True)
    return marked(found, **{name: packed[name] for name in MARKS if name in packed})


def _read_structure(value: Any, info: ValidationInfo) -> Any:
    stored = isinstance(info.context, dict) and info.context.get("structures") == "stored"
    return value if stored else expand(value)


def _write_structure(value: Any, info: SerializationInfo) -> Any:
    if isinstance(value, Mapping):
        return value
    whole = isinstance(info.context, dict) and info.context.get("structures") == "pymatgen"
    return value.as_dict() if whole else compact(value)


if TYPE_CHECKING:
    Geometry = Molecule | Structure
else:
    #: A molecule or crystal of pymatgen; in JSON as :func:`compact` writes it. The type is
    #: not named: pymatgen would be imported by whoever reads a record.
    Geometry = Annotated[
        Any,
        BeforeValidator(_read_structure),
        PlainSerializer(_write_structure),
        WithJsonSchema({"type": "object"}),
    ]


# --- blobs ------------------------------------------------------------------------------


class BlobRef(Part):
    """Reference to a large part of a job document in jobflow's additional store."""

    blob_uuid: str = Field(description="Id of the blob")
    store: str = Field(description="Name of the additional store")


def _value_or_reference(value: Any, handler: Any) -> Any:
    if isinstance(value, BlobRef):
        return value
    if isinstance(value, Mapping) and "blob_uuid" in value:
        return BlobRef(blob_uuid=value["blob_uuid"], store=value["store"])
    return handler(value)


#: A large part of a document; replaced by a reference in the JobStore.
Blob = Annotated[T, WrapValidator(_value_or_reference)]


def blob_ref(value: Any) -> BlobRef | None:
    """Return jobflow's reference to a blob; None for other values."""
    return value if isinstance(value, BlobRef) else None


# --- records ----------------------------------------------------------------------------


class Source(Part):
    """The job document that a record was derived from, and the software that wrote it."""

    job_uuid: str = Field(description="The job")
    job_index: int = Field(description="Its index, raised when a job replaces itself")
    completed_at: str | None = Field(description="Time at which it finished (ISO 8601)")
    hosts: list[str] = Field(description="Flows that the job belongs to")
    software: dict[str, str] = Field(description="Versions of the software that ran")


class Record(Part):
    """Base of the records of the campaign database."""

    id: str = Field(description="Identity, unique in the collection")
    schema_version: int = Field(SCHEMA_VERSION, description="Version of the record's layout")


@dataclass(frozen=True)
class Column:
    """Annotation of a field of a record.

    It determines filters, orders, indexes, options of commands, parameters of pages and fields of
    the OPTIMADE interface; see :mod:`logan_campaign.stores.filters`.

    Attributes:
        filter: Name of the filter on it; none if empty. A number with ``window`` has three:
            ``…_gte``, ``…_lt``, ``…_lte``.
        option: Name of the filter in commands and pages, if different; for a window, the part
            after ``max_`` and ``min_``.
        help: Selected records, for help texts.
        label: Label of the filter in the form of a page; not shown if empty.
        window: Whether the filter is a range instead of a value.
        order: Name of the ascending order by this field; none if empty.
        refers: Collection whose ids it contains; unique prefixes are accepted.
        few: Whether each value has only few records.
        optimade: Whether OPTIMADE shows it, as ``_logan_<field>``.
        about: Whether it is written to files of single structures.
        unit: Unit of its numbers.
    """

    filter: str = ""
    option: str = ""
    help: str = ""
    label: str = ""
    window: bool = False
    order: str = ""
    refers: str = ""
    few: bool = False
    optimade: bool = True
    about: bool = False
    unit: str = ""


def columns(record: type[Record]) -> dict[str, Column]:
    """Return the annotations of a record's fields."""
    found = {}
    for name, field in record.model_fields.items():
        for note in field.metadata:
            if isinstance(note, Column):
                found[name] = note
    return found


def shared(source: BaseModel, target: type[BaseModel]) -> dict[str, Any]:
    """Return the values of a document's fields shared with another model."""
    return {name: getattr(source, name) for name in target.model_fields if hasattr(source, name)}
