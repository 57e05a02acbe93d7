"""``logan-campaign export``: structures for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from ase import Atoms
from ase.io import write
from pymatgen.io.ase import AseAtomsAdaptor
from rich.markup import escape

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    StateOption,
    StoreOption,
    err_console,
    opened,
)
from logan_campaign.cli.read import summary
from logan_campaign.errors import InputError
from logan_campaign.stores.schemas import CandidateRecord

_FORMATS = {".extxyz": "extxyz", ".xyz": "extxyz", ".cif": "cif", ".json": "json"}


@app.command()
def export(
    campaign: CampaignArgument,
    path: Annotated[Path, typer.Argument(help="File to write; for CIF, a folder.")],
    fmt: Annotated[
        Literal["extxyz", "cif", "json"] | None,
        typer.Option("--format", help="Format; by default from the file's name."),
    ] = None,
    state: StateOption = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Structures as generated, not as relaxed.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Write candidates as extended XYZ, CIF (crystals) or JSON."""
    chosen = fmt or _FORMATS.get(path.suffix.lower()) or ("cif" if path.is_dir() else None)
    if chosen is None:
        raise InputError(f"cannot tell the format from {path}; give --format extxyz, cif or json")
    with opened(campaign, store) as (database, record):
        if chosen == "cif" and record.kind == "molecule":
            raise InputError("CIF is for crystals; export molecules as extxyz or json")
        found = list(
            database.candidates(
                record.id,
                state=[s.value for s in state] if state else ["new", "rediscovered"],
                sort="energy",
            )
        )
    if not found:
        raise InputError("no candidate is in such a state; see 'logan-campaign results'")
    try:
        if chosen == "json":
            _write_whole(path, json.dumps([_document(c, raw) for c in found], indent=1))
        elif chosen == "extxyz":
            _write_atoms(path, [_atoms(c, raw) for c in found])
        else:
            path.mkdir(parents=True, exist_ok=True)
            for candidate in found:
                _write_whole(path / f"{candidate.id}.cif", _structure(candidate, raw).to(fmt="cif"))
    except OSError as err:
        raise InputError(f"cannot write {path}: {err.strerror or err}") from err
    err_console().print(escape(f"{len(found)} structures written to {path}"), soft_wrap=True)


def _structure(candidate: CandidateRecord, raw: bool) -> Any:
    return candidate.raw_structure if raw or candidate.structure is None else candidate.structure


def _about(candidate: CandidateRecord, raw: bool) -> dict[str, Any]:
    """Return what holds for the structure written: the energies are those of the relaxed one."""
    about = summary(candidate)
    if raw:
        about = {key: value for key, value in about.items() if not key.startswith("energy_")}
        del about["level"]
    return about


def _document(candidate: CandidateRecord, raw: bool) -> dict[str, Any]:
    return {**_about(candidate, raw), "structure": _structure(candidate, raw).as_dict()}


def _atoms(candidate: CandidateRecord, raw: bool) -> Atoms:
    atoms = AseAtomsAdaptor.get_atoms(_structure(candidate, raw), msonable=False)
    atoms.calc = None
    atoms.info = {
        key: value
        for key, value in _about(candidate, raw).items()
        if key
        in (
            "id",
            "state",
            "formula",
            "smiles",
            "spacegroup",
            "level",
            "energy_ev",
            "model_id",
            "match_label",
        )
        and value is not None
    }
    return atoms


def _write_atoms(path: Path, images: list[Atoms]) -> None:
    """Write beside, then rename: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.part")
    write(beside, images, format="extxyz")
    beside.replace(path)


def _write_whole(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
