"""What can be said of a source before it is loaded, so that mistakes are found at once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ase.data import chemical_symbols
from ase.formula import Formula
from rdkit import Chem

from logan_campaign.core.documents import TargetKind
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.molecules import parse_smiles
from logan_campaign.sources.base import Source, set_id
from logan_campaign.sources.builtin import BuiltinSource
from logan_campaign.sources.download import checksum
from logan_campaign.sources.materials_project import MaterialsProjectSource
from logan_campaign.sources.optimade import OptimadeSource
from logan_campaign.sources.qm9 import QM9Source
from logan_campaign.sources.smiles import SmilesSource, read_smi


class Preview(NamedTuple):
    """What a source holds."""

    kind: TargetKind
    species: set[str] | None
    """Element symbols; None where only the source itself knows."""
    content: str | None
    """Content id of what stands outside the spec, in files; None where the spec says it all."""


def preview(source: Source, base: Path) -> Preview:
    """Return what a source holds, without embedding or relaxing anything.

    Files are read and validated whole.

    Args:
        source: the source.
        base: folder that relative paths are meant from.

    Raises:
        InputError: a file is missing, unreadable or holds nothing usable, or a SMILES is wrong.
    """
    if isinstance(source, BuiltinSource):
        if source.name == "sio2-prototypes":
            return Preview("crystal", {"O", "Si"}, None)
        return Preview("molecule", {"C", "H", "O"}, None)
    if isinstance(source, MaterialsProjectSource):
        return Preview("crystal", _mp_species(source), None)
    if isinstance(source, OptimadeSource):
        return Preview(source.kind, None, None)
    if isinstance(source, QM9Source):
        archive = source.archive_path(base)
        return Preview("molecule", _qm9_species(source), checksum(archive) if archive else None)
    if isinstance(source, SmilesSource):
        texts = source.smiles
        if texts is None:
            texts = read_smi(base / Path(str(source.path)).expanduser())
        species = {
            chemical_symbols[atom.GetAtomicNum()]
            for text in texts
            for atom in Chem.AddHs(parse_smiles(text)).GetAtoms()
        }
        content = None if source.path is None else content_id("smiles", texts)
        return Preview("molecule", species, content)
    loaded = source.load(base)
    return Preview(loaded.kind, set(loaded.species), set_id(loaded.entries))


def _mp_species(source: MaterialsProjectSource) -> set[str] | None:
    if source.formulas:
        return {symbol for text in source.formulas for symbol in Formula(text).count()}
    if source.chemical_systems and "*" not in "".join(source.chemical_systems):
        return {symbol for text in source.chemical_systems for symbol in text.split("-")}
    return None


def _qm9_species(source: QM9Source) -> set[str] | None:
    if source.formulas:
        return {symbol for text in source.formulas for symbol in Formula(text).count()}
    return None
