"""Built-in sets, without network or files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from ase import Atoms
from ase.build import bulk
from pydantic import Field, model_validator
from pymatgen.core import Structure
from rdkit import Chem

from logan_campaign.core.documents import Manifest, Origin
from logan_campaign.core.errors import InputError
from logan_campaign.core.software import software_versions
from logan_campaign.geometry.formulas import hill_formula
from logan_campaign.geometry.structures import formula, to_atoms
from logan_campaign.sources.base import Collector, FormulaText, LoadedSet, Preview, Source
from logan_campaign.sources.smiles import SmilesSource, load_smiles

#: Numbers of carbon atoms for which alcohols and ethers are offered.
CARBON_COUNTS = range(2, 7)


class BuiltinSource(Source):
    """A built-in list: ``alcohols-and-ethers``, ``sio2-prototypes`` or ``elements``."""

    type: Literal["builtin"] = "builtin"
    name: Literal["alcohols-and-ethers", "sio2-prototypes", "elements"] = Field(
        description="Name of the list; elements: their crystals as ASE tabulates them"
    )
    formulas: list[FormulaText] | None = Field(
        None,
        description="Compositions to take: C2H6O to C6H14O, or of a cell, such as Si4O8; all by "
        "default. Of elements, their symbols",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the embedding; molecules only")

    @model_validator(mode="after")
    def _formulas_exist(self) -> BuiltinSource:
        if self.name == "elements":
            if not self.formulas:
                raise ValueError("elements: give their symbols as 'formulas'")
            for symbol in self.formulas:
                crystal_of_element(symbol)
            return self
        if self.formulas is None:
            return self
        offered = sio2_cells()
        if self.name == "alcohols-and-ethers":
            offered = tuple(alcohol_formula(n) for n in CARBON_COUNTS)
        for text in self.formulas:
            if hill_formula(text) not in offered:
                raise ValueError(f"no {text} in {self.name}, only {', '.join(offered)}")
        if not self.formulas:
            raise ValueError("'formulas' is empty")
        return self

    @property
    def title(self) -> str:
        """Short name for people."""
        return self.name + (f" ({', '.join(self.formulas)})" if self.formulas else "")

    def preview(self, base: Path) -> Preview:
        """Return kind and elements. See :meth:`Source.preview`."""
        if self.name == "elements":
            return Preview("crystal", set(self.formulas or ()), None)
        if self.name == "sio2-prototypes":
            return Preview("crystal", {"O", "Si"}, None)
        return Preview("molecule", {"C", "H", "O"}, None)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Build the structures. See :meth:`Source.load`."""
        wanted = None if self.formulas is None else {hill_formula(text) for text in self.formulas}
        if self.name == "sio2-prototypes":
            return _sio2_prototypes(wanted)
        if self.name == "elements":
            crystals = Collector()
            for symbol in self.formulas or ():
                crystals.add(crystal_of_element(symbol), symbol)
            return crystals.finish(self.name, _origin(self.name, "ase"))
        texts = [
            smiles
            for n in CARBON_COUNTS
            if wanted is None or alcohol_formula(n) in wanted
            for smiles in alcohols_and_ethers(n)
        ]
        collector = Collector(one_per_graph=True)
        load_smiles(texts, collector, SmilesSource(smiles=texts, seed=self.seed))
        return collector.finish(self.name, _origin(self.name, "rdkit"))


@cache
def alcohols_and_ethers(n_carbon: int) -> tuple[str, ...]:
    """Return the canonical SMILES of all isomers C_nH_(2n+2)O, sorted.

    A saturated acyclic molecule with one oxygen is an alcohol or an ether. All of them
    grow from water by adding one carbon after another to any atom with a hydrogen left.
    """
    if n_carbon < 0:
        raise ValueError("number of carbon atoms is negative")
    if n_carbon == 0:
        return ("O",)
    grown = set()
    for smaller in alcohols_and_ethers(n_carbon - 1):
        mol = Chem.MolFromSmiles(smaller)
        for atom in mol.GetAtoms():
            if atom.GetTotalNumHs() == 0:
                continue
            larger = Chem.RWMol(mol)
            larger.AddBond(atom.GetIdx(), larger.AddAtom(Chem.Atom(6)), Chem.BondType.SINGLE)
            larger.UpdatePropertyCache()
            grown.add(Chem.CanonSmiles(Chem.MolToSmiles(larger)))
    return tuple(sorted(grown))


def alcohol_formula(n_carbon: int) -> str:
    """Return the Hill formula of alcohols and ethers with a number of carbon atoms."""
    return f"C{n_carbon}H{2 * n_carbon + 2}O"


@cache
def _sio2_structures() -> tuple[tuple[str, Structure], ...]:
    # The library is decoded at import, which takes seconds.
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    found = []
    for prototype in AFLOW_PROTOTYPE_LIBRARY:
        structure = prototype["snl"].structure
        if isinstance(structure, Structure) and structure.composition.reduced_formula == "SiO2":
            tags = prototype["tags"]
            label = " ".join(part for part in (tags["mineral"], tags["aflow"]) if part)
            found.append((label, structure))
    if not found:
        raise InputError("this version of pymatgen has no SiO2 among its AFLOW prototypes")
    return tuple(found)


def sio2_cells() -> tuple[str, ...]:
    """Return the Hill formulas of the cells of the SiO2 prototypes, smallest cell first."""
    sizes = {len(structure): formula(structure) for _, structure in _sio2_structures()}
    return tuple(sizes[size] for size in sorted(sizes))


def _sio2_prototypes(wanted: set[str] | None) -> LoadedSet:
    """Return the SiO2 crystals among pymatgen's AFLOW prototypes.

    Mehl et al., doi 10.1016/j.commatsci.2017.01.017.
    """
    collector = Collector()
    for label, structure in _sio2_structures():
        if wanted is None or formula(structure) in wanted:
            collector.add(to_atoms(structure), label)
    origin = _origin("sio2-prototypes", "pymatgen")
    origin.citation = "doi:10.1016/j.commatsci.2017.01.017"
    return collector.finish("sio2-prototypes", origin)


def crystal_of_element(symbol: str) -> Atoms:
    """Return the crystal of an element in its primitive cell, as ASE tabulates it.

    Raises:
        ValueError: ASE does not know it, or it is no crystal of one or two atoms.
    """
    try:
        return bulk(symbol)
    except (ValueError, KeyError, RuntimeError, NotImplementedError) as err:
        raise ValueError(f"there is no crystal of {symbol!r} in ASE's table of elements") from err


def _origin(name: str, made_by: str) -> Origin:
    return Origin(name=f"built-in {name}", version=f"{made_by} {software_versions()[made_by]}")
