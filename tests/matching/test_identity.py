"""A molecule is the same one however it is written, and a known one is found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_relaxations import made_relaxation
from rdkit import Chem

from logan_campaign.campaign.classification import KnownSet, classify
from logan_campaign.core.documents import RelaxationDoc, StructureEntry
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.geometry.lewis import name_of, skeleton, why_no_molecule
from logan_campaign.geometry.molecules import canonical_smiles, parse_smiles, perceive_arrays
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.sources import SmilesSource
from logan_campaign.sources.smiles import embed

# Charges far apart or by notation, dative bonds, valences above the octet, cages, adducts.
MOLECULES = [
    *("CS(C)=O", "O=S=O", "CS(C)(=O)=O", "OS(=O)(=O)O", "CN=S(C)(C)=O", "S=C=S", "c1ccsc1"),
    *("CP(C)(C)=O", "OP(=O)(O)O", "CP(C)(C)=C", "C[Si](C)(C)O[Si](C)(C)C", "[SiH3]Cl"),
    *("N#[N+][O-]", "C=[N+]=[N-]", "CN=[N+]=[N-]", "C#[N+][O-]", "C[N+]#[C-]", "[C-]#[O+]"),
    *("C[N+](=O)[O-]", "O[N+](=O)[O-]", "CCOc1ccc([N+](=O)[O-])cc1", "O=[N+]([O-])OCC"),
    *("C[N+](C)(C)[O-]", "[O-][n+]1ccccc1", "C=[N+](C)[O-]", "[O-][O+]=O", "C[N+](C)(C)CC(=O)[O-]"),
    *("[BH3-][NH3+]", "CB(C)C", "OB(O)O", "F[B-](F)(F)[N+](C)(C)C", "c1ccncc1", "Cn1cnc2ccccc21"),
    *("CC(=N)O", "CC(N)=O", "N=CO", "C1C2CC1C2", "C1CC12CC2", "C1=CC=CC=CC=C1", "O=C=C=C=O"),
    *("F[Xe]F", "ClI", "BrC(F)(F)Cl", "C[Se](C)=O", "N[C@@H](C)C(=O)O", "C/C=C/C", "OO", "[H][H]"),
]

# The same molecule, drawn otherwise.
WRITINGS = [
    ("C[S+](C)[O-]", "CS(C)=O"),
    ("[O-][S+]=O", "O=S=O"),
    ("C[P+](C)(C)[O-]", "CP(C)(C)=O"),
    ("[N-]=[N+]=O", "N#[N+][O-]"),
    ("[CH2-][N+]#N", "C=[N+]=[N-]"),
    ("C[N-][N+]#N", "CN=[N+]=[N-]"),
    ("C[S+](C)[CH2-]", "CS(C)=C"),
    ("[CH-]=[N+]=O", "C#[N+][O-]"),
    ("C1=CC=CC=C1", "c1ccccc1"),
    ("[2H]OC", "CO"),
    ("[CH3:7][OH:2]", "CO"),
    ("[13CH3]O", "CO"),
    ("[H]C([H])([H])O[H]", "CO"),
    ("C[C@H](F)O", "CC(F)O"),
]

# Not the same: a proton or a bond stands elsewhere.
OTHERS = [
    ("CC(=O)N", "CC(O)=N"),
    ("CC(C)=O", "CC(O)=C"),
    ("NCC(=O)O", "[NH3+]CC(=O)[O-]"),
    ("C#N", "[C-]#[NH+]"),
    ("CON=O", "C[N+](=O)[O-]"),
    ("O1OO1", "[O-][O+]=O"),
]


@pytest.mark.parametrize(("writing", "usual"), WRITINGS)
def test_writings_of_one_molecule_have_one_name(writing: str, usual: str) -> None:
    assert canonical_smiles(writing) == canonical_smiles(usual)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_isomers_have_different_names(one: str, other: str) -> None:
    assert canonical_smiles(one) != canonical_smiles(other)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_a_name_is_its_own_name(smiles: str) -> None:
    name = canonical_smiles(smiles)
    assert canonical_smiles(name) == name


@given(
    smiles=st.sampled_from([*MOLECULES, *(writing for writing, _ in WRITINGS)]),
    seed=st.integers(0, 2**32 - 1),
    labels=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99)), min_size=40, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_neither_order_nor_labels_of_atoms_change_a_name(
    smiles: str, seed: int, labels: list[tuple[int, int]]
) -> None:
    mol = Chem.AddHs(parse_smiles(smiles))
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms())
    moved = Chem.RenumberAtoms(mol, [int(index) for index in order])
    for atom, (isotope, number) in zip(moved.GetAtoms(), labels, strict=False):
        atom.SetIsotope(2 * atom.GetAtomicNum() + isotope if isotope else 0)
        atom.SetAtomMapNum(number)
    assert canonical_smiles(Chem.MolToSmiles(moved)) == canonical_smiles(smiles)


def known(smiles: str) -> StructureEntry | None:
    """Return the entry of a SMILES; None where it is refused when the set is read."""
    try:
        [entry] = SmilesSource(smiles=[smiles], relax=False).load().entries
    except (InputError, StructureError):
        return None
    return entry


def relaxed(entry: StructureEntry) -> RelaxationDoc:
    return made_relaxation(entry.structure, "cand")


def test_what_is_accepted_as_known_is_found_again_in_its_own_geometry() -> None:
    refused = []
    for smiles in MOLECULES:
        entry = known(smiles)
        if entry is None:
            refused.append(smiles)
            continue
        for identity in ("smiles", "smiles-stereo", "inchi"):
            sets = [KnownSet("set-k", "known", [entry])]
            [verdict] = classify(["cand"], [relaxed(entry)], sets, MatchingSpec(identity=identity))
            assert (smiles, verdict.state) == (smiles, "rediscovered")
    # the force field has no good geometry of few, and every one of organic chemistry
    assert len(refused) <= 3, refused


@pytest.mark.parametrize("smiles", ["C1=CC=CC=CC=C1", "CS(C)=O", "CC(C)=NO", "N[C@@H](C)C(=O)O"])
def test_stereo_keys_do_not_depend_on_the_order_of_atoms(smiles: str) -> None:
    atoms = embed(parse_smiles(smiles))
    rng = np.random.default_rng(3)
    for identity in ("smiles-stereo", "inchi"):
        keys = set()
        for _ in range(5):
            order = rng.permutation(len(atoms))
            keys.add(perceive_arrays(atoms.numbers[order], atoms.positions[order], identity).key)
        assert len(keys) == 1


@pytest.mark.parametrize(
    ("smiles", "separated"),
    [
        *(("C[N+](=O)[O-]", False), ("C[N+]#[C-]", False), ("CN=[N+]=[N-]", False)),
        *(("[O-][n+]1ccccc1", False), ("CCO", False), ("CS(C)=O", False)),
        *(("[CH-]=[O+]CC", True), ("C[N+](C)(C)CC(=O)[O-]", True), ("[CH2-][O+](C)C", True)),
        ("[NH3+]CC(=O)[O-]", True),
    ],
)
def test_charges_by_notation_are_told_from_separated_ones(smiles: str, separated: bool) -> None:
    named = name_of(skeleton(Chem.AddHs(parse_smiles(smiles))))
    assert named is not None
    assert named.separated is separated


@pytest.mark.parametrize(
    "smiles", ["[CH2]CC[CH2]", "[CH2]", "C[CH2]", "[O][N]=O", "C[C-](C)C[C+](C)C"]
)
def test_radicals_carbenes_and_diradicals_have_no_closed_shell(smiles: str) -> None:
    assert name_of(skeleton(Chem.AddHs(Chem.MolFromSmiles(smiles)))) is None


@pytest.mark.parametrize(
    "formula", ["NO2", "C5H13O", "CH3", "He2", "Cu13", "CH6", "C10H10Fe", "He"]
)
def test_compositions_without_a_closed_shell_molecule_are_told(formula: str) -> None:
    assert why_no_molecule(formula)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_no_molecule_has_an_impossible_composition(smiles: str) -> None:
    mol = Chem.AddHs(parse_smiles(smiles))
    formula = "".join(atom.GetSymbol() for atom in mol.GetAtoms())
    assert why_no_molecule(formula) is None
