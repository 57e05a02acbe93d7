"""Known entries: found by their keys in every store, and only those that may match are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from logan_campaign.cli import main
from logan_campaign.core.documents import Geometry, StructureEntry
from logan_campaign.core.errors import StoreError
from logan_campaign.geometry.molecules import parse_smiles, perceive_smiles
from logan_campaign.geometry.structures import formula, from_atoms, kind_of, structure_id, to_atoms
from logan_campaign.matching import CrystalMatcher
from logan_campaign.sources.smiles import embed
from logan_campaign.stores.known import KnownIndex
from logan_campaign.stores.open import CampaignStores, open_store
from logan_campaign.stores.sqlite import SQLiteCollection

QUARTZ = Structure.from_spacegroup(
    "P3_121",
    Lattice.hexagonal(4.916, 5.405),
    ["Si", "O"],
    [[0.4697, 0, 1 / 3], [0.4133, 0.2672, 0.2144 + 1 / 3]],
)
STISHOVITE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.1773, 2.6655), ["Si", "O"], [[0, 0, 0], [0.3062, 0.3062, 0]]
)


def entry(structure: Geometry, label: str) -> StructureEntry:
    molecule = kind_of(structure) == "molecule"
    return StructureEntry(
        id=structure_id(structure),
        label=label,
        formula=formula(structure),
        structure=structure,
        smiles=perceive_smiles(structure) if molecule else None,
        spacegroup=None if molecule else "P1",
        energy_ev=-1.5,
    )


def substituted(structure: Structure, silicon: str, oxygen: str) -> Structure:
    copy = structure.copy()
    copy.replace_species({"Si": silicon, "O": oxygen})
    return copy


def disguised(structure: Structure) -> Structure:
    """Return a rotated, shifted, permuted, slightly rattled supercell."""
    rng = np.random.default_rng(0)
    copy = structure.copy()
    copy.make_supercell([2, 1, 1])
    copy.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 40))
    copy.translate_sites(range(len(copy)), [0.1, 0.2, 0.3])
    for i in range(len(copy)):
        copy.translate_sites([i], rng.normal(0, 0.02, 3), frac_coords=False)
    return Structure.from_sites([copy[int(i)] for i in rng.permutation(len(copy))])


ENTRIES = [
    entry(QUARTZ, "quartz"),
    entry(STISHOVITE, "stishovite"),
    *(
        entry(substituted(structure, one, two), f"{one}{two}2")
        for structure in (QUARTZ, STISHOVITE)
        for one, two in (("Ge", "O"), ("Ti", "O"), ("Si", "S"))
    ),
    *(entry(from_atoms(embed(parse_smiles(smiles))), smiles) for smiles in ("CCO", "COC", "CCC")),
]


@pytest.fixture(params=["sqlite", "mongo"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CampaignStores]:
    location = str(tmp_path) if request.param == "sqlite" else request.getfixturevalue("mongo_uri")
    with open_store(location, create=True) as opened:
        yield opened


@pytest.fixture
def index(stores: CampaignStores) -> KnownIndex:
    index = KnownIndex(stores.known_entries())
    assert index.add(ENTRIES, "made up") == len(ENTRIES)
    return index


def test_entries_come_back_as_they_were(index: KnownIndex) -> None:
    assert index.count() == {"crystal": 8, "molecule": 3}
    assert [e.label for e in index.of_composition("crystal", "O6Si3")] == ["quartz"]
    found = {e.label: e for e in index.of_composition("crystal", "O12Si6")}
    assert sorted(found) == ["quartz", "stishovite"]
    given = ENTRIES[0].model_dump(exclude={"structure"})
    assert found["quartz"].model_dump(exclude={"structure"}) == given
    assert structure_id(found["quartz"].structure) == found["quartz"].id
    molecules = index.of_composition("molecule", "C2H6O")
    assert sorted(e.smiles or "" for e in molecules) == ["CCO", "COC"]
    assert index.of_composition("crystal", "C2H6O") == []


def test_adding_twice_changes_nothing(index: KnownIndex) -> None:
    index.add(ENTRIES[::-1], "made up")
    assert index.count() == {"crystal": 8, "molecule": 3}


def test_disguised_crystals_are_found(index: KnownIndex) -> None:
    matcher = CrystalMatcher()
    for known in ENTRIES[:8]:
        assert isinstance(known.structure, Structure)
        [match] = index.match_crystal(disguised(known.structure), matcher)
        assert match.entry.label == known.label
        assert 0 < match.rms < 0.03
        assert 0.005 < match.rms_angstrom < 0.04


def test_what_is_added_later_is_found_too(index: KnownIndex) -> None:
    new = entry(substituted(QUARTZ, "Sn", "O"), "SnO2")
    assert isinstance(new.structure, Structure)
    assert index.match_crystal(new.structure, CrystalMatcher()) == []
    index.add([new], "later")
    assert [m.entry.label for m in index.match_crystal(new.structure, CrystalMatcher())] == ["SnO2"]


def test_molecules_are_found_by_their_identity(index: KnownIndex) -> None:
    ether = from_atoms(embed(parse_smiles("COC"), seed=3))
    for identity in ("smiles", "smiles-stereo", "inchi"):
        assert [e.label for e in index.match_molecule(ether, identity)] == ["COC"]
    pieces = from_atoms(Atoms("OHHOHH", [[x, y, 0] for x in (0, 5) for y in (0, 0.96, -0.96)]))
    assert index.match_molecule(pieces) == []


def test_only_entries_with_the_same_key_are_read(
    index: KnownIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[dict[str, Any]] = []
    query = type(index._store).query

    def record(self, *args, **kwargs):
        for doc in query(self, *args, **kwargs):
            read.append(doc)
            yield doc

    monkeypatch.setattr(type(index._store), "query", record)
    matcher = CrystalMatcher()
    for _ in range(3):
        index.match_crystal(QUARTZ, matcher)
    assert [doc["label"] for doc in read] == ["quartz"]


def test_sqlite_takes_its_indexes(tmp_path: Path) -> None:
    with open_store(tmp_path, create=True) as stores:
        store = stores.known_entries()
        assert isinstance(store, SQLiteCollection)
        for criteria in (
            {"kind": "crystal", "composition": "SiO2", "n_sites": 9},
            {"kind": "crystal", "composition": "SiO2", "n_sites": {"$in": [3, 9]}},
        ):
            assert "kind,composition,n_sites" in store.explain(criteria)
        for field in ("smiles", "smiles_stereo", "inchi"):
            assert f"known_entries:{field} " in store.explain({field: "some"})


def test_a_damaged_entry_is_named(stores: CampaignStores) -> None:
    index = KnownIndex(stores.known_entries())
    index.add(ENTRIES[:1], "made up")
    store = stores.known_entries()
    [doc] = store.query({})
    store.update([{**doc, "primitive_cell": "###"}])
    with pytest.raises(StoreError, match=f"{ENTRIES[0].id}: primitive_cell is damaged"):
        index.match_crystal(QUARTZ, CrystalMatcher())


def test_the_command_line_adds_and_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write("known.extxyz", [to_atoms(QUARTZ), to_atoms(STISHOVITE)])
    write("query.extxyz", [to_atoms(disguised(QUARTZ)), to_atoms(substituted(QUARTZ, "Ge", "O"))])

    def told(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["logan-campaign", "known", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    assert "2 structures read: 2 new, 2 in the index" in told("add", "k.sqlite", "known.extxyz")
    assert "2 structures read: 0 new, 2 in the index" in told("add", "k.sqlite", "known.extxyz")
    assert told("count", "k.sqlite") == "2 crystals, 0 molecules\n"
    first, second = told("match", "k.sqlite", "query.extxyz").splitlines()[1:]
    assert first.split()[:2] == ["query.extxyz#0", "known.extxyz#0"]
    assert second.split() == ["query.extxyz#1", "-"]
