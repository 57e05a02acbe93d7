"""Molecular graphs: what is one molecule, which, and what is none."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from pymatgen.core import Molecule
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from logan_campaign.core.errors import InputError
from logan_campaign.geometry.molecules import (
    canonical_smiles,
    conformer_rmsd,
    parse_smiles,
    perceive,
    perceive_arrays,
    perceive_smiles,
)
from logan_campaign.geometry.structures import from_atoms
from logan_campaign.sources.builtin import alcohols_and_ethers
from logan_campaign.sources.smiles import embed

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

PENTANOLS = alcohols_and_ethers(5)


@pytest.fixture(scope="module")
def pentanols() -> list[Atoms]:
    return [embed(parse_smiles(smiles)) for smiles in PENTANOLS]


def test_every_isomer_is_perceived_as_itself(pentanols: list[Atoms]) -> None:
    assert [perceive_smiles(atoms) for atoms in pentanols] == list(PENTANOLS)
    assert [perceive_smiles(from_atoms(atoms)) for atoms in pentanols] == list(PENTANOLS)


def test_moving_turning_and_renumbering_change_nothing(pentanols: list[Atoms]) -> None:
    rng = np.random.default_rng(0)
    for atoms, smiles in zip(pentanols, PENTANOLS, strict=True):
        moved = atoms[rng.permutation(len(atoms))]
        moved.rotate(rng.uniform(0, 360), rng.normal(size=3))
        moved.positions += rng.normal(0, 10, 3)
        moved.rattle(0.02, rng=rng)
        moved.positions[:, 0] *= -1  # mirrored
        assert perceive_smiles(moved) == smiles


@pytest.mark.parametrize(
    ("name", "smiles"),
    [
        ("C6H6", "c1ccccc1"),
        ("CO2", "O=C=O"),
        ("HCN", "C#N"),
        ("CH3NO2", "C[N+](=O)[O-]"),
        ("C2H4", "C=C"),
        ("CH3CHO", "CC=O"),
        ("H2O", "O"),
        ("cyclobutane", "C1CCC1"),
        ("C5H5N", "c1ccncc1"),
    ],
)
def test_common_molecules(name: str, smiles: str) -> None:
    assert perceive_smiles(molecule(name)) == smiles


def test_pieces_have_no_graph() -> None:
    water = molecule("H2O")
    other = molecule("CH4")
    other.positions += 4.0
    found = perceive(water + other)
    assert found.smiles is None
    assert found.key is None
    assert found.reason == "in 2 fragments (CH4 + H2O)"


@pytest.mark.parametrize("name", ["CH3", "OH", "NO", "CH2_s3B1d"])
def test_radicals_have_no_graph(name: str) -> None:
    found = perceive(molecule(name))
    assert found.smiles is None
    assert found.reason == "no neutral closed-shell valence structure"


def test_a_proton_on_the_wrong_atom_is_no_molecule() -> None:
    # CH2-OH2: one hydrogen of methanol's methyl group sits on the oxygen
    atoms = molecule("CH3OH")
    carbon, oxygen = 0, 1
    from_c = [i for i in range(2, 6) if atoms.get_distance(i, carbon) < 1.3]
    bond = atoms.get_distance(carbon, oxygen, vector=True)
    atoms.positions[from_c[0]] = atoms.positions[oxygen] + 0.97 * bond / np.linalg.norm(bond)
    assert perceive_smiles(atoms) is None


def test_nonsense_gives_a_reason_and_never_an_error() -> None:
    rng = np.random.default_rng(0)
    numbers = np.array([6] * 5 + [8] + [1] * 12)
    for spread in (0.0, 0.3, 1.0, 2.0, 20.0):
        found = perceive_arrays(numbers, rng.uniform(0, 1, (18, 3)) * spread)
        assert found.smiles is None
        assert found.reason
    found = perceive_arrays(numbers, np.full((18, 3), np.nan))
    assert found.reason == "positions are not finite"


def test_rdkit_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    crowded = Atoms("C2H9", np.random.default_rng(0).uniform(0, 1.5, (11, 3)))
    assert perceive_smiles(crowded) is None
    with pytest.raises(InputError):
        canonical_smiles("C(C)(C)(C)(C)C")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_identity_may_include_stereo() -> None:
    left, right = (embed(parse_smiles(text)) for text in ("C[C@H](O)F", "C[C@@H](O)F"))
    assert perceive(left).key == perceive(right).key == "CC(O)F"
    keys = [perceive(atoms, "smiles-stereo").key for atoms in (left, right)]
    assert keys == [canonical_isomeric(text) for text in ("C[C@H](O)F", "C[C@@H](O)F")]
    inchis = [str(perceive(atoms, "inchi").key) for atoms in (left, right)]
    assert inchis[0] != inchis[1]
    assert all(text.startswith("InChI=1S/C2H5FO/c1-2(3)4/") for text in inchis)
    # a mirror image is the other one
    left.positions[:, 0] *= -1
    assert perceive(left, "smiles-stereo").key == keys[1]


def canonical_isomeric(smiles: str) -> str:
    from rdkit import Chem

    return Chem.CanonSmiles(smiles)


def test_canonical_smiles_drops_stereo_and_checks() -> None:
    assert canonical_smiles("OCC") == "CCO"
    assert canonical_smiles("C[C@H](O)F") == "CC(O)F"
    with pytest.raises(InputError, match="not a valid SMILES: 'nonsense'"):
        canonical_smiles("nonsense")


def test_at_least_400_structures_a_second(pentanols: list[Atoms]) -> None:
    rng = np.random.default_rng(0)
    numbers = pentanols[0].numbers
    rough = [
        atoms.positions + rng.normal(0, 0.1, (18, 3)) for atoms in pentanols for _ in range(10)
    ]
    start = time.process_time()
    for positions in rough:
        perceive_arrays(numbers, positions)
    assert len(rough) / (time.process_time() - start) > 400


@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference data beside the checkout are absent")
def test_reference_geometries_have_the_published_graphs() -> None:
    frames = read(SHARED / "c5h12o/targets_C5H12O.extxyz", ":")
    listed = (SHARED / "c5h12o/targets_C5H12O.smi").read_text().split()
    assert sorted(str(perceive_smiles(atoms)) for atoms in frames) == sorted(listed)


def test_rough_geometries_are_read_where_strict_reading_gives_up(pentanols: list[Atoms]) -> None:
    rng = np.random.default_rng(0)
    n_strict = n_rough = n_wrong = 0
    for atoms, smiles in zip(pentanols, PENTANOLS, strict=True):
        for _ in range(5):
            positions = atoms.positions + rng.normal(0, 0.15, (18, 3))
            n_strict += perceive_arrays(atoms.numbers, positions).smiles == smiles
            found = perceive_arrays(atoms.numbers, positions, rough=True).smiles
            n_rough += found == smiles
            n_wrong += found not in (None, smiles)
    assert n_strict < 50
    assert n_rough >= 65  # of 70
    assert n_wrong == 0


@pytest.mark.parametrize("name", ["C6H6", "C5H5N", "C2H4", "CH3CHO"])
def test_rough_reading_reaches_no_farther_than_it_must(name: str) -> None:
    # Farther out, the free valences of unsaturated carbon would bond across rings.
    atoms = molecule(name)
    smiles = perceive_smiles(atoms)
    hydrogen = int(np.flatnonzero(atoms.numbers == 1)[0])
    carbon = int(np.argsort(atoms.get_distances(hydrogen, range(len(atoms))))[1])
    atoms.set_distance(carbon, hydrogen, 1.56, fix=0)
    assert perceive_smiles(atoms) is None
    assert perceive(atoms, rough=True).smiles == smiles


def test_rough_reading_does_not_join_separate_molecules() -> None:
    pair = molecule("CH4") + molecule("CH4")
    pair.positions[5:] += 3.0
    found = perceive(pair, rough=True)
    assert (found.smiles, found.reason) == (None, "in 2 fragments (CH4 + CH4)")


class TestConformers:
    def test_rmsd_knows_no_place_order_or_handedness(self) -> None:
        first = embedded("CCCO")
        moved = Molecule(first.species, first.cart_coords @ ROTATION + [1.0, 2.0, 3.0])
        order = np.random.default_rng(0).permutation(len(first))
        shuffled = Molecule.from_sites([moved[int(i)] for i in order])
        mirrored = Molecule(shuffled.species, -shuffled.cart_coords)
        for other in (first, moved, shuffled, mirrored):
            assert conformer_rmsd(first, other) == pytest.approx(0.0, abs=1e-3)

    def test_a_turned_bond_makes_another_conformer(self) -> None:
        anti, gauche = (embedded("CCCC", dihedral=angle) for angle in (180.0, 65.0))
        apart = conformer_rmsd(anti, gauche)
        assert apart is not None
        assert 0.3 < apart < 1.0
        # the two gauche forms are mirror images
        other = conformer_rmsd(gauche, embedded("CCCC", dihedral=-65.0))
        assert other == pytest.approx(0.0, abs=0.05)

    def test_only_conformers_of_one_molecule_have_a_distance(self) -> None:
        assert conformer_rmsd(embedded("CCO"), embedded("COC")) is None


def embedded(smiles: str, dihedral: float | None = None) -> Molecule:
    """Return a geometry; ``dihedral`` (degrees) is that of the first four atoms."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    conformer = mol.GetConformer()
    if dihedral is not None:
        rdMolTransforms.SetDihedralDeg(conformer, 0, 1, 2, 3, dihedral)
    return Molecule([atom.GetSymbol() for atom in mol.GetAtoms()], conformer.GetPositions())


ROTATION = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
