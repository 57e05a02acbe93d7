"""Molecules from SMILES: embedded by RDKit, relaxed with GFN2-xTB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdDistGeom
from rdkit.Chem import rdForceFieldHelpers as force_fields

from logan_campaign.core import progress
from logan_campaign.core.documents import Manifest, Origin
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.files import read_text
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.molecules import canonical, parse_smiles, perceive
from logan_campaign.relaxation.backends.xtb import XTBLevel
from logan_campaign.sources.base import Collector, LoadedSet, Preview, Source

_FORCE_FIELD_STEPS = 2000


class SmilesSource(Source):
    """A list of SMILES, or a ``.smi`` file with one per line, optionally followed by a name."""

    type: Literal["smiles"] = "smiles"
    smiles: list[str] | None = Field(None, description="SMILES, one per molecule")
    path: str | None = Field(
        None, description="File with one SMILES per line; relative to the spec"
    )
    n_conformers: int = Field(
        1, ge=1, le=1000, description="Number of embedded conformers; the lowest (MMFF94) is kept"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the embedding")
    relax: bool = Field(True, description="Relax with GFN2-xTB after the force field")
    fmax: float = Field(0.05, gt=0, description="Largest force at convergence (eV/Å)")
    steps: int = Field(500, ge=1, description="Maximum number of relaxation steps")

    @model_validator(mode="after")
    def _one_origin(self) -> SmilesSource:
        if (self.smiles is None) == (self.path is None):
            raise ValueError("give either 'smiles' or 'path'")
        return self

    @property
    def title(self) -> str:
        """Short name for people."""
        return Path(self.path).name if self.path else f"{len(self.smiles or [])} SMILES"

    def _texts(self, base: Path) -> list[str]:
        if self.path is None:
            return self.smiles or []
        return read_smi(base / Path(self.path).expanduser())

    def preview(self, base: Path) -> Preview:
        """Return the elements, with hydrogens. See :meth:`Source.preview`."""
        texts = self._texts(base)
        species = {
            str(atom.GetSymbol())
            for text in texts
            for atom in Chem.AddHs(parse_smiles(text)).GetAtoms()
        }
        content = None if self.path is None else content_id("smiles", texts)
        return Preview("molecule", species, content)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Embed and relax every molecule. See :meth:`Source.load`."""
        texts = self._texts(base or Path.cwd())
        origin = self.path or "list of SMILES"
        collector = Collector(one_per_graph=True)
        load_smiles(texts, collector, self)
        return collector.finish(
            origin, Origin(name=f"SMILES, {origin}", checksum=content_id("smiles", list(texts)))
        )


def load_smiles(texts: Sequence[str], collector: Collector, settings: SmilesSource) -> None:
    """Embed and relax ``texts`` into ``collector``; all are parsed before any is embedded.

    Raises:
        InputError: a SMILES is invalid or not a single neutral closed-shell molecule; the
            message names it.
    """
    molecules: dict[str, Chem.Mol] = {}
    for text in texts:
        mol = _checked(text)
        name = canonical(mol)
        if name in molecules:
            collector.result.n_duplicates += 1
        else:
            molecules[name] = mol
    for done, (name, mol) in enumerate(molecules.items()):
        progress.report("embed", done, len(molecules), name)
        try:
            atoms = embed(mol, settings.n_conformers, settings.seed)
            if settings.relax:
                atoms = _relaxed(atoms, settings)
            # no candidate could equal a molecule that is not recognised in its own geometry
            found = perceive(atoms)
            if found.smiles != name:
                what = f"it is {found.smiles}" if found.smiles else found.reason
                raise StructureError(f"its geometry is not that molecule: {what}")
        except StructureError as err:
            collector.reject(name, str(err))
            continue
        collector.add(atoms, label=name, smiles=name)
    progress.report("embed", len(molecules), len(molecules))


def read_smi(path: Path) -> list[str]:
    """Return the SMILES of a ``.smi`` file: the first word of each line, ``#`` comments out.

    Raises:
        InputError: the file cannot be read or has no SMILES.
    """
    lines = read_text(path).splitlines()
    # '#' is also the triple bond, so only a line that starts with it is a comment.
    texts = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not texts:
        raise InputError(f"no SMILES in {path}")
    return texts


def embed(mol: Chem.Mol, n_conformers: int = 1, seed: int = 0) -> Atoms:
    """Return a 3D geometry of a molecule: ETKDGv3, then MMFF94 (UFF if it lacks atom types).

    Riniker and Landrum, doi 10.1021/acs.jcim.5b00654; the conformer of lowest force-field
    energy is returned, atoms in RDKit's order with the hydrogens last.

    Raises:
        StructureError: no conformer can be embedded.
    """
    with_h = Chem.AddHs(mol)
    parameters: Any = rdDistGeom.ETKDGv3()  # the stubs declare the seed as an object
    parameters.randomSeed = seed
    with rdBase.BlockLogs():
        found: Any = rdDistGeom.EmbedMultipleConfs(with_h, n_conformers, parameters)
        conformers = list(found)
        if not conformers:
            raise StructureError("RDKit could not embed it in three dimensions")
        if force_fields.MMFFHasAllMoleculeParams(with_h):
            results = force_fields.MMFFOptimizeMoleculeConfs(with_h, maxIters=_FORCE_FIELD_STEPS)
        elif force_fields.UFFHasAllMoleculeParams(with_h):
            results = force_fields.UFFOptimizeMoleculeConfs(with_h, maxIters=_FORCE_FIELD_STEPS)
        else:
            results = [(0, 0.0)] * len(conformers)
    lowest = conformers[int(np.argmin([energy for _, energy in results]))]
    numbers = [atom.GetAtomicNum() for atom in with_h.GetAtoms()]
    return Atoms(numbers, with_h.GetConformer(lowest).GetPositions())


def _relaxed(atoms: Atoms, settings: SmilesSource) -> Atoms:
    """Return a molecule relaxed with GFN2-xTB.

    Raises:
        StructureError: if that does not converge, for whatever reason.
    """
    level = XTBLevel(fmax=settings.fmax, max_steps=settings.steps, max_time_s=None)
    result = level.relax_atoms(atoms, folder=Path())
    if result.state != "converged":
        what = "did not converge" if result.state == "not_converged" else "failed"
        raise StructureError(f"GFN2-xTB {what} in {settings.steps} steps ({result.state})")
    return Atoms(atoms.numbers, result.frames[-1].positions)


def _checked(text: str) -> Chem.Mol:
    mol = parse_smiles(text)
    if len(Chem.GetMolFrags(mol)) > 1:
        raise InputError(f"SMILES {text!r} is more than one molecule")
    if Chem.GetFormalCharge(mol) != 0:
        raise InputError(f"SMILES {text!r} is charged; only neutral molecules are supported")
    if Descriptors.NumRadicalElectrons(mol) != 0:
        raise InputError(f"SMILES {text!r} is a radical; only closed shells are supported")
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        raise InputError(f"SMILES {text!r} has an unknown species (dummy atom)")
    return mol
