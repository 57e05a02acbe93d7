"""Documents stay small, and structures in short come back as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from monty.json import MontyDecoder, MontyEncoder

from logan_campaign.core.arrays import pack_arrays, pack_numbers, unpack_numbers
from logan_campaign.core.documents import Candidate, Geometry, SelectionDoc, compact, expand
from logan_campaign.geometry.structures import from_atoms, structure_id


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_packed_numbers_come_back_exactly(dtype: type) -> None:
    values = np.random.default_rng(0).normal(size=17).astype(dtype)
    text = pack_numbers(values)
    np.testing.assert_array_equal(unpack_numbers(text), values)
    assert len(text) < 8 * values.itemsize / 4 * 17  # float32 in half the space
    for damaged in ("", "x:AAAA", text[:-3]):
        with pytest.raises(ValueError, match="damaged"):
            unpack_numbers(damaged)


@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), bulk("NaCl", "rocksalt", a=5.64)])
def test_a_structure_in_short_comes_back(atoms) -> None:
    structure = from_atoms(atoms)
    again = expand(json.loads(json.dumps(compact(structure))))
    assert type(again) is type(structure)
    assert [site.specie for site in again] == [site.specie for site in structure]
    assert structure_id(again) == structure_id(structure)
    assert expand(structure) is structure


def candidate(number: int, structure: Geometry) -> Candidate:
    return Candidate(
        id=f"cand-{number:016x}",
        model_id=f"model-{number:016x}",
        pool_id=f"pool-{number:016x}",
        sample_index=number,
        strategy="critic > graph: kmeans of the rest",
        cluster=number,
        graph="CC(C)C(C)O",
        represents=100,
        structure=structure,
    )


def test_a_thousand_picks_of_18_atoms_stay_under_a_megabyte() -> None:
    rng = np.random.default_rng(0)
    atoms = molecule("C2H6CHOH")
    atoms = atoms + atoms[:6]
    picks = []
    for number in range(1000):
        atoms.positions = rng.normal(size=(18, 3)).astype(np.float32)
        picks.append(candidate(number, from_atoms(atoms)))
    document = SelectionDoc(
        campaign_id="camp-0",
        strategy="graph",
        settings={},
        n_generated=24_000,
        n_unusable={},
        explained_variance=[],
        pool_ids=[],
        candidates=picks,
        map=pack_arrays({}),
    )
    text = json.dumps(document, cls=MontyEncoder)
    assert len(text) < 1_000_000
    again = json.loads(text, cls=MontyDecoder)
    assert isinstance(again, SelectionDoc)
    assert structure_id(again.candidates[7].structure) == structure_id(picks[7].structure)
    assert again.candidates[7].goes_on == again.candidates[7].structure


def test_what_a_cheap_relaxation_made_goes_on() -> None:
    raw = from_atoms(molecule("CH3CH2OH"))
    pick = candidate(0, raw).model_copy(update={"start": from_atoms(molecule("CH3OCH3"))})
    again = Candidate.model_validate(json.loads(pick.model_dump_json()))
    assert structure_id(again.goes_on) == structure_id(from_atoms(molecule("CH3OCH3")))
    assert structure_id(again.structure) == structure_id(raw)
