"""Crystals of related compositions with species replaced; all crystals are made up here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.spec_yaml import apply_override
from logan_campaign.core.errors import InputError
from logan_campaign.flows.data import set_document
from logan_campaign.sources import SOURCES, LoadedSet
from logan_campaign.sources.substitute import SubstituteSource, predicted_volume


def perovskite(a: str, b: str, edge: float) -> Atoms:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms([a, b, "O", "O", "O"], scaled_positions=places, cell=[edge] * 3, pbc=True)


CRYSTALS = {
    "CaTiO3": perovskite("Ca", "Ti", 3.82),
    "PbZrO3": perovskite("Pb", "Zr", 4.15),
    "SrTiO3": perovskite("Sr", "Ti", 3.905),
    "BaO": bulk("BaO", "rocksalt", a=5.54),
    "SrO": bulk("SrO", "rocksalt", a=5.16),
    "Cu": bulk("Cu"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crystals")
    for name, atoms in CRYSTALS.items():
        write(path / f"{name}.extxyz", atoms)
    return path


def substituted(folder: Path, *names: str, **settings: Any) -> LoadedSet:
    path = [f"{name}.extxyz" for name in names or CRYSTALS]
    of = {"type": "files", "path": path}
    return SOURCES.parse({"type": "substitute", "of": of, "to": "SrTiO3", **settings}).load(folder)


def test_the_data_mined_rules_give_the_target_from_its_neighbours(folder: Path) -> None:
    loaded = substituted(folder)
    found = {entry.label.partition(".")[0]: entry for entry in loaded.entries}
    assert {name: entry.formula for name, entry in found.items()} == {
        "CaTiO3": "O3SrTi",
        "PbZrO3": "O3SrTi",
        "BaO": "OSr",
        "SrO": "OSr",
    }
    said = found["CaTiO3"].properties["replaced"]
    assert said["elements"] == {"Ca": "Sr"}
    assert said["from"]["label"] == "CaTiO3.extxyz#0"
    assert said["from"]["formula"] == "CaO3Ti"
    assert 1e-3 < said["probability"] < 1
    volume = CRYSTALS["CaTiO3"].get_volume() * said["volume_factor"]
    assert found["CaTiO3"].structure.volume == pytest.approx(volume)
    assert found["PbZrO3"].properties["replaced"]["elements"] == {"Pb": "Sr", "Zr": "Ti"}
    # what needs no replacement stays as it is
    assert (found["SrO"].label, found["SrO"].properties) == ("SrO.extxyz#0", {})
    reasons = {said.label: said.reason for said in loaded.rejected}
    assert reasons["SrTiO3.extxyz#0"] == "it has the target's own composition O3SrTi"
    assert reasons["Cu.extxyz#0"] == "nothing in it can be replaced by O, Sr, Ti"
    assert "Ca→Sr (probability 0.0152, volume factor" in found["CaTiO3"].label


def test_the_targets_own_composition_is_left_out_on_request(folder: Path) -> None:
    loaded = substituted(folder, own_composition="leave_out")
    assert set(loaded.formulas) == {"OSr"}


def test_a_lower_threshold_takes_more(folder: Path) -> None:
    assert len(substituted(folder, threshold=1e-2).entries) == 3  # without PbZrO3
    assert len(substituted(folder, "BaO", to=["Ca2+", "O2-"]).entries) == 1


def test_similar_elements_have_the_same_oxidation_state_and_are_near(folder: Path) -> None:
    loaded = substituted(folder, by="similarity")
    changed = [entry.properties.get("replaced", {}).get("elements", {}) for entry in loaded.entries]
    assert changed == [{"Ca": "Sr"}, {"Ba": "Sr"}, {}]
    silver = substituted(folder, "Cu", by="similarity", to="Ag").entries[0]
    assert silver.properties["replaced"]["mendeleev_distance"] == 1
    with pytest.raises(InputError, match="nothing in it can be replaced by K, O"):
        substituted(folder, "BaO", by="similarity", to="K2O")  # Ba2+ is no K+
    with pytest.raises(InputError, match="nothing in it can be replaced by Ag"):
        substituted(folder, "Cu", by="similarity", to="Ag", max_distance=0)


def test_a_map_names_what_replaces_what(folder: Path) -> None:
    loaded = substituted(folder, "CaTiO3", "Cu", by={"Ca": "Sr"})
    assert [entry.formula for entry in loaded.entries] == ["O3SrTi"]
    assert set(loaded.entries[0].properties["replaced"]) == {"from", "elements", "volume_factor"}


@given(
    cell=st.tuples(*[st.floats(3.5, 5.0)] * 3),
    angles=st.tuples(*[st.floats(75.0, 105.0)] * 3),
    place=st.tuples(*[st.floats(0.4, 0.6)] * 3),
)
def test_only_elements_and_volume_change(
    cell: tuple[float, ...], angles: tuple[float, ...], place: tuple[float, ...]
) -> None:
    old = Structure(Lattice.from_parameters(*cell, *angles), ["Na", "Cl"], [[0, 0, 0], place])
    new = old.copy().replace_species({"Na": "K"})
    grown = predicted_volume(new, old)
    assert grown > old.volume  # K+ is the larger ion
    new.scale_lattice(grown)
    assert np.allclose(new.lattice.angles, old.lattice.angles)
    # there and back again
    assert predicted_volume(old, new) == pytest.approx(old.volume)


@pytest.mark.parametrize(
    ("old", "a", "new", "expected"),
    [
        (bulk("NaCl", "rocksalt", a=5.64), {"Na": "K", "Cl": "Br"}, "KBr", 6.60),
        (bulk("CsCl", "cesiumchloride", a=4.123), {"Cl": "I"}, "CsI", 4.567),
        (bulk("GaAs", "zincblende", a=5.653), {"Ga": "In"}, "InAs", 6.058),
        (bulk("Cu", a=3.615), {"Cu": "Ag"}, "Ag", 4.086),
        (perovskite("Ca", "Ti", 3.82), {"Ca": "Sr"}, "SrTiO3", 3.905),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_predicted_volumes_are_near_the_measured_ones(
    old: Atoms, a: dict[str, str], new: str, expected: float
) -> None:
    before = Structure.from_ase_atoms(old)
    after = before.copy().replace_species(a)
    assert after.composition.reduced_formula == new
    per_cell = {2: 4, 1: 4, 5: 1}[len(old)] if new != "CsI" else 1
    edge = (per_cell * predicted_volume(after, before)) ** (1 / 3)
    assert edge == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": None}, "give 'to', the formula or species that result"),
        ({"to": "NeAr"}, "pymatgen's rules have no Ar, Ne: use 'by: similarity'"),
        ({"of": {"type": "smiles", "smiles": ["C"]}}, "replaces species in crystals"),
        ({"of": {"type": "files", "path": "nowhere"}}, "no such file or folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        substituted(folder, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": ["Xx2+"]}, "no species, such as Sr or Sr2+"),
        ({"to": "Xx"}, "not a chemical formula"),
        ({"by": "chance"}, "by"),
        ({"by": {"Xx": "Sr"}}, "Xx"),
        ({"threshold": 0}, "threshold"),
        ({"of": {"type": "substitute", "of": {}}}, "no source is called 'substitute'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SOURCES.parse({"type": "substitute", "of": {"type": "files", "path": "x"}, **settings})


def spec(of: dict[str, Any], **settings: Any) -> CampaignSpec:
    data = {
        "name": "x",
        "target": {"kind": "crystal", "formula": "SrTiO3", "cell": "learned"},
        "training": {"source": {"type": "substitute", "of": of, **settings}},
        "select": {"strategy": "framework", "n_picks": 2},
        "relax": {"levels": []},
    }
    return CampaignSpec.model_validate(data)


def test_a_campaigns_target_is_filled_in() -> None:
    of = {"type": "files", "path": "x"}
    source = spec(of).training.source
    assert isinstance(source, SubstituteSource)
    assert source.to == "SrTiO3"
    assert spec(of, to="BaTiO3").training.source.model_dump()["to"] == "BaTiO3"
    assert spec(of).id != spec(of, by="similarity").id
    assert spec(of).id == spec(of, to="SrTiO3").id
    again = CampaignSpec.model_validate(spec(of).model_dump(mode="json"))
    assert again == spec(of)


def test_files_are_read_before_any_job_starts(folder: Path) -> None:
    source = spec({"type": "files", "path": "BaO.extxyz"}, by="similarity").training.source
    assert source.preview(folder).species == {"O", "Sr"}
    remote = {"type": "optimade", "providers": ["mp"], "filter": "nsites<=5"}
    assert spec(remote).training.source.preview(folder).species is None
    with pytest.raises(InputError, match="has molecules"):
        spec({"type": "smiles", "smiles": ["C"]}).training.source.preview(folder)


def test_labels_say_what_was_replaced(folder: Path) -> None:
    source = spec({"type": "files", "path": "BaO.extxyz"}, by="similarity").training.source
    document = set_document(source.load(folder), role="training", name="x", query={})
    said = "with Ba→Sr (mendeleev distance 1, volume factor 0.826)"
    assert document.labels == [f"BaO.extxyz#0 {said}"]


def test_paths_of_a_nested_source_on_the_command_line_start_from_here() -> None:
    data: dict[str, Any] = {}
    apply_override(data, "training.source={type: substitute, of: {type: files, path: x.cif}}")
    assert data["training"]["source"]["of"]["path"] == str(Path("x.cif").absolute())


def test_editors_are_told_of_the_nested_source() -> None:
    sources = CampaignSpec.json_schema()["$defs"]["TrainingSpec"]["properties"]["source"]["anyOf"]
    kinds = {kind["properties"]["type"]["const"]: kind for kind in sources}
    inner = kinds["substitute"]["properties"]["of"]["anyOf"]
    assert {kind["properties"]["type"]["const"] for kind in inner} == set(kinds) - {"substitute"}
