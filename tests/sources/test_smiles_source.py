"""Molecules from SMILES, and the built-in sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from pydantic import TypeAdapter, ValidationError
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.molecules import canonical_smiles, parse_smiles, perceive_smiles
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.relaxation.levels import XTBLevel
from logan_campaign.relaxation.run import relax
from logan_campaign.sources import BuiltinSource, SmilesSource, SourceSpec
from logan_campaign.sources.builtin import alcohols_and_ethers
from logan_campaign.sources.smiles import embed

# All constitutional isomers, drawn by hand: alcohols first, then ethers.
BY_HAND = {
    2: ["CCO", "COC"],
    3: ["CCCO", "CC(C)O", "CCOC"],
    4: ["CCCCO", "CCC(C)O", "CC(C)CO", "CC(C)(C)O", "CCOCC", "CCCOC", "COC(C)C"],
    5: [
        *("CCCCCO", "CCCC(C)O", "CCC(O)CC", "CCC(C)CO", "CC(C)CCO", "CC(C)C(C)O"),
        *("CCC(C)(C)O", "CC(C)(C)CO"),
        *("CCCCOC", "CCCOCC", "CCOC(C)C", "COCC(C)C", "CCC(C)OC", "COC(C)(C)C"),
    ],
}


@pytest.mark.parametrize("n_carbon", BY_HAND)
def test_alcohols_and_ethers_are_those_drawn_by_hand(n_carbon: int) -> None:
    drawn = sorted(canonical_smiles(smiles) for smiles in BY_HAND[n_carbon])
    assert list(alcohols_and_ethers(n_carbon)) == drawn


def test_alcohols_and_ethers_are_counted_right_and_distinct() -> None:
    for n_carbon, count in {2: 2, 3: 3, 4: 7, 5: 14, 6: 32}.items():
        smiles = alcohols_and_ethers(n_carbon)
        assert len({canonical_smiles(text) for text in smiles}) == len(smiles) == count
        for text in smiles:
            assert CalcMolFormula(parse_smiles(text)) == f"C{n_carbon}H{2 * n_carbon + 2}O"
            assert canonical_smiles(text) == text


def test_geometries_have_the_graph_of_their_smiles_and_are_at_rest() -> None:
    loaded = BuiltinSource(name="alcohols-and-ethers", formulas=["C2H6O", "C4H10O"]).load()
    assert loaded.formulas == {"C2H6O": 2, "C4H10O": 7}
    for entry in loaded.entries:
        assert perceive_smiles(entry.structure) == entry.smiles == entry.label
    atoms = to_atoms(loaded.entries[-1].structure)
    assert len(atoms) == 15
    assert XTBLevel(max_steps=1).relax_atoms(atoms, folder=Path()).state == "converged"


def test_embedding_follows_from_the_seed() -> None:
    def ids(seed: int) -> list[str]:
        source = SmilesSource(smiles=["CCCCO", "CCOCC"], seed=seed, relax=False)
        return [entry.id for entry in source.load().entries]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_of_several_conformers_the_lowest_is_kept() -> None:
    butane = parse_smiles("CCCC")

    def span(atoms: Atoms) -> float:
        return float(np.linalg.norm(atoms.positions[0] - atoms.positions[3]))

    # anti (3.9 Å end to end) lies below gauche (3.1 Å)
    assert span(embed(butane, n_conformers=20, seed=0)) > 3.8


def test_the_relaxation_is_that_of_a_level() -> None:
    loaded = SmilesSource(smiles=["CO"], fmax=0.01).load()
    raw = SmilesSource(smiles=["CO"], relax=False).load()
    outcome = relax(raw.entries[0].structure, XTBLevel(fmax=0.01))
    np.testing.assert_array_equal(
        loaded.entries[0].structure.cart_coords, outcome.structure.cart_coords
    )


def test_a_relaxation_that_does_not_converge_is_a_rejection() -> None:
    with pytest.raises(InputError, match="GFN2-xTB did not converge in 1 steps"):
        SmilesSource(smiles=["CCO"], steps=1, fmax=0.001).load()


def test_two_writings_of_one_molecule_are_one_entry() -> None:
    source = SmilesSource(smiles=["CCO", "OCC", "C[C@H](O)F", "C[C@@H](O)F"], relax=False)
    loaded = source.load()
    assert [entry.label for entry in loaded.entries] == ["CCO", "CC(O)F"]
    assert loaded.n_duplicates == 2


def test_aromatic_and_dipolar_molecules_keep_their_graph() -> None:
    smiles = ["c1ccccc1", "C[N+](=O)[O-]", "CC(=O)O", "C#N", "O=C=O"]
    loaded = SmilesSource(smiles=smiles).load()
    assert [perceive_smiles(entry.structure) for entry in loaded.entries] == [
        canonical_smiles(text) for text in smiles
    ]


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C(C", "not a valid SMILES"),
        ("C(C)(C)(C)(C)C", "not a valid SMILES"),
        ("", "not a valid SMILES"),
        ("C.C", "more than one molecule"),
        ("CC[O-]", "charged"),
        ("C[CH2]", "radical"),
        ("C*", "unknown species"),
    ],
)
def test_a_bad_smiles_is_named_before_any_work(smiles: str, message: str) -> None:
    seen: list[progress.Progress] = []
    with progress.listening(seen.append), pytest.raises(InputError, match=message) as caught:
        SmilesSource(smiles=["CCO", smiles]).load()
    assert repr(smiles) in str(caught.value)
    assert seen == []


def test_what_cannot_be_embedded_is_rejected_with_the_reason() -> None:
    impossible = "C1CC2CCC1CC2C#CC#C"
    twisted = "C1#CC1"
    loaded = SmilesSource(smiles=["CCO", impossible, twisted]).load()
    for item in loaded.rejected:
        assert item.label in {canonical_smiles(impossible), canonical_smiles(twisted)}
        assert item.reason
    assert len(loaded.entries) + len(loaded.rejected) == 3


def test_progress_is_reported() -> None:
    seen: list[progress.Progress] = []
    with progress.listening(seen.append):
        SmilesSource(smiles=["CCO", "COC"], relax=False).load()
    assert [(item.task, item.completed, item.total) for item in seen] == [
        ("embed", 0, 2),
        ("embed", 1, 2),
        ("embed", 2, 2),
    ]


def test_smi_files_may_hold_names_and_comments(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("# two\nCCO ethanol\n\nC#N\n")
    loaded = SmilesSource(path="a.smi", relax=False).load(tmp_path)
    assert [entry.smiles for entry in loaded.entries] == ["CCO", "C#N"]
    with pytest.raises(InputError, match=r"cannot read .*b\.smi"):
        SmilesSource(path="b.smi").load(tmp_path)
    (tmp_path / "c.smi").write_text("\n")
    with pytest.raises(InputError, match="no SMILES in"):
        SmilesSource(path="c.smi").load(tmp_path)


@pytest.mark.parametrize(
    "section",
    [
        {"type": "smiles"},
        {"type": "smiles", "smiles": ["C"], "path": "a.smi"},
        {"type": "builtin", "name": "alkanes"},
        {"type": "builtin", "name": "alcohols-and-ethers", "formulas": ["C7H16O"]},
        {"type": "builtin", "name": "alcohols-and-ethers", "formulas": []},
        {"type": "builtin", "name": "sio2-prototypes", "formulas": ["SiO2"]},
        {"type": "smile", "smiles": ["C"]},
    ],
)
def test_impossible_sections_are_refused(section: dict) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SourceSpec).validate_python(section)


def test_sio2_prototypes_are_ten_distinct_silicas() -> None:
    loaded = BuiltinSource(name="sio2-prototypes").load()
    assert len(loaded.entries) == 10
    assert loaded.kind == "crystal"
    assert loaded.species == ["O", "Si"]
    groups = {entry.label.split(" A2B_")[0]: entry.spacegroup for entry in loaded.entries}
    assert groups["quartz (alpha)"] == "P3_121"
    assert groups["low (alpha) Cristobalite"] == "P4_12_12"
    assert groups["Coesite"] == "C2/c"
