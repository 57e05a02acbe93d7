"""``init`` from a structure in a file: what it writes is valid, and runs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.formula import Formula
from ase.io import write
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from scipy.spatial.distance import pdist

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli import main
from logan_campaign.cli.isomers import likely_isomers
from logan_campaign.cli.starting import box_for, starting_spec
from logan_campaign.flows import CampaignMaker
from logan_campaign.sources.substitute import SubstituteSource

Init = Callable[..., str]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Init:
    """Run ``init mine/new.yaml`` in this process; return the error, '' if there is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    write("salt.cif", bulk("KBr", "rocksalt", a=6.6, cubic=True))
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    write("cubic.vasp", Atoms("SrTiO3", scaled_positions=places, cell=[3.9] * 3, pbc=True))
    write("ethanol.xyz", molecule("CH3CH2OH"))

    def run(*options: str) -> str:
        command = ["logan-campaign", "init", "mine/new.yaml", "--force", *options]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert bool(ended.value.code) == bool(said)
        return said

    return run


def spec() -> CampaignSpec:
    return CampaignSpec.from_file("mine/new.yaml")


@pytest.mark.parametrize(
    ("options", "kind", "formula", "lattice"),
    [
        (("--like", "salt.cif"), "crystal", "K4Br4", "fixed"),
        (("--like", "salt.cif", "--cell", "given"), "crystal", "K4Br4", "fixed"),
        # no more atoms than needed: a primitive cell
        (("--like", "salt.cif", "--cell", "learned"), "crystal", "KBr", "learned"),
        (("--like", "cubic.vasp"), "crystal", "SrTiO3", "fixed"),
        (("--like", "ethanol.xyz"), "molecule", "C2H6O", "fixed"),
        (("--formula", "SrTiO3", "--kind", "crystal"), "crystal", "SrTiO3", "learned"),
    ],
)
def test_what_is_written_is_valid(
    init: Init, tmp_path: Path, options: tuple[str, ...], kind: str, formula: str, lattice: str
) -> None:
    assert init(*options) == ""
    target = spec().target
    assert (target.kind, target.formula, target.lattice) == (kind, formula, lattice)
    resolved = spec().check(tmp_path / "mine")
    if "--like" in options:
        known = spec().known[0]
        assert known.load(tmp_path / "mine").entries[0].formula in (spec().hill_formula, "Br4K4")
        if lattice == "fixed" and kind == "crystal":
            assert resolved.cell is not None
            assert resolved.cell[0][0] == pytest.approx(6.6 if "salt" in options[1] else 3.9)


@pytest.mark.parametrize("formula", ["SrTiO3", "KBr", "MgAl2O4"])
def test_the_source_that_is_commented_out_is_valid_too(formula: str, tmp_path: Path) -> None:
    text, _ = starting_spec("crystal", formula, "new", "new.yaml")
    lines = [line for line in text.splitlines() if not line.startswith("  source: ")]
    path = tmp_path / "new.yaml"
    path.write_text(
        "\n".join(lines).replace('  # source: {"type": "sub', '  source: {"type": "sub')
    )
    source = CampaignSpec.from_file(path).training.source
    assert isinstance(source, SubstituteSource)
    assert source.to == formula


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--like", "nowhere.cif"), "there is no file nowhere.cif"),
        (("--like", "salt.cif", "--formula", "KBr"), "--formula or --like"),
        (("--cell", "given"), "--cell is for crystals with --like"),
        (("--like", "ethanol.xyz", "--cell", "given"), "--cell is for crystals with --like"),
        (("--like", "ethanol.xyz", "--kind", "crystal"), "has no cell: not a crystal"),
        (("--like", "mine"), "there is no file mine"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_line(
    init: Init, options: tuple[str, ...], message: str
) -> None:
    said = init(*options)
    assert message in said
    assert said.count("\n") == 1
    assert not Path("mine/new.yaml").exists()


@pytest.mark.long
def test_it_runs_with_another_salt_as_the_training_set(init: Init, tmp_path: Path) -> None:
    assert init("--like", "salt.cif", "--cell", "learned") == ""
    write("mine/NaCl.cif", bulk("NaCl", "rocksalt", a=5.64))
    other = "{type: substitute, by: similarity, of: {type: files, path: NaCl.cif}}"
    less = ["models.count=1", "models.vary={}", "generate.per_model=8", "relax.levels=[]"]
    less += [f"models.hyperparameters.{k}" for k in ("n_max=2", "n_neighbour=8", "r_cut=4.0")]
    path = tmp_path / "mine/NaCl.cif"
    source = f"training.source={other.replace('NaCl.cif', str(path))}"
    known = f"known=[{{type: files, path: {tmp_path / 'salt.cif'}}}]"
    maker = CampaignMaker.from_file("mine/new.yaml", [source, known, *less])
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(maker.make(), store=store, create_folders=True, ensure_success=True, log=False)
    (training,) = store.query({"output.doc_type": "training_set", "output.role": "training"})
    assert training["output"]["formulas"] == {"BrK": 1}
    assert "Br-K" in training["output"]["pairs"]
    (selected,) = store.query({"output.doc_type": "selection"})
    assert selected["output"]["n_generated"] == 8
    (leakage,) = store.query({"output.doc_type": "leakage"})
    # the structure to learn from is the one sought, as the check says
    assert leakage["output"]["targets"][0]["matches"][0]["entry"].startswith("NaCl.cif#0 with")


@pytest.mark.parametrize("formula", ["C5H10O", "C6H6", "C3H7NO", "C2H4F2"])
def test_molecules_of_qm9_learn_from_one_ch2_more_and_less(formula: str) -> None:
    text, _ = starting_spec("molecule", formula, "new", "new.yaml")
    read = CampaignSpec.model_validate(yaml.safe_load(text))
    counts = Formula(formula).count()
    for neighbour in read.training.source.formulas:
        change = Counter(Formula(neighbour).count())
        change.subtract(counts)
        assert {s: n for s, n in change.items() if n} in ({"C": 1, "H": 2}, {"C": -1, "H": -2})
    assert read.known[0].formulas == [formula]
    assert read.models.hyperparameters.exchange > 0.5


def test_molecules_with_sulphur_learn_from_a_list_of_smiles_without_the_target() -> None:
    _, sets = starting_spec("molecule", "C3H8S", "new", "new.yaml")
    smiles = json.loads(sets.training)["smiles"]
    formulas = [CalcMolFormula(Chem.MolFromSmiles(text)) for text in smiles]
    assert set(formulas) == {"C2H6S", "C4H10S"}
    assert {"CCS", "CSC", "CCSCC"} <= set(smiles)
    assert likely_isomers("C2H6S", 40) == ["CCS", "CSC"]


def test_the_box_holds_a_rod_of_triple_bonds() -> None:
    rod = Chem.AddHs(Chem.MolFromSmiles("CC#CC#CC"))
    rdDistGeom.EmbedMolecule(rod, randomSeed=1)
    positions = rod.GetConformer().GetPositions()
    assert max(box_for("C6H6")) > pdist(positions).max() + 0.5
    assert box_for("C5H12O") == [8.0, 7.0, 6.0]
