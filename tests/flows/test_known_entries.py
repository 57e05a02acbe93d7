"""Entries of an index on their way into a campaign."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from logan_campaign.core.documents import StructureEntry, TrainingSetDoc
from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.flows import CampaignMaker, KnownEntriesMaker
from logan_campaign.flows import known as known_module
from logan_campaign.flows.known import pack_entries, unpack_entries
from logan_campaign.geometry.molecules import parse_smiles
from logan_campaign.geometry.structures import formula, from_atoms, structure_id
from logan_campaign.sources.smiles import embed
from logan_campaign.stores.known import KnownIndex, entries_for
from logan_campaign.stores.open import open_store

SPEC = """\
name: small
target: {kind: molecule, formula: C2H6O, box: [6.0, 5.0, 5.0]}
training: {source: {type: smiles, smiles: [CCC, CO]}}
models: {count: 1, hyperparameters: {steps: 10}}
select: {strategy: kmeans, n_picks: 2}
relax: {levels: [{name: xtb, calculator: gfn2-xtb}]}
match: {index: known.sqlite}
"""


def molecules(*smiles: str) -> list[StructureEntry]:
    structures = [from_atoms(embed(parse_smiles(text))) for text in smiles]
    return [
        StructureEntry(
            id=structure_id(structure),
            label=f"label of {text}",
            formula=formula(structure),
            structure=structure,
            smiles=text,
            energy_ev=-1.5,
        )
        for text, structure in zip(smiles, structures, strict=True)
    ]


def crystals() -> list[StructureEntry]:
    structures = [
        Structure(Lattice.cubic(a), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]) for a in (4, 4.1)
    ]
    return [
        StructureEntry(
            id=structure_id(s), label=str(i), formula="ClCs", structure=s, spacegroup="Pm-3m"
        )
        for i, s in enumerate(structures)
    ]


@pytest.mark.parametrize("entries", [molecules("CCO", "COC", "CO"), crystals(), []])
def test_entries_survive_packing(entries: list[StructureEntry]) -> None:
    found = unpack_entries(pack_entries(entries))
    without = {"structure"}
    assert [e.model_dump(exclude=without) for e in found] == [
        e.model_dump(exclude=without) for e in entries
    ]
    for one, two in zip(found, entries, strict=True):
        assert structure_id(one.structure) == two.id
        np.testing.assert_allclose(one.structure.cart_coords, two.structure.cart_coords)


def test_too_many_entries_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_module, "_MAX_PACKED", 100)
    with pytest.raises(InputError, match=r"match\.index has 2 entries .* too many"):
        pack_entries(crystals())


def test_the_job_returns_a_set_of_known_entries() -> None:
    job = KnownEntriesMaker(index="mp").make(pack_entries(crystals()))
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    done = run_locally(job, store=store, ensure_success=True, log=False)
    document = TrainingSetDoc.model_validate(done[job.uuid][1].output)
    assert (document.role, document.n_structures) == ("known", 2)
    assert document.name == "index mp"
    assert document.formulas == {"ClCs": 2}


def test_a_campaign_takes_what_its_index_holds_of_the_composition(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    maker = CampaignMaker.from_file(tmp_path / "spec.yaml")
    with pytest.raises(StoreError, match="no such file"):
        entries_for(maker.spec, tmp_path)
    with open_store(tmp_path / "known.sqlite", create=True) as stores:
        index = KnownIndex(stores.known_entries())
        with pytest.raises(StoreError, match="has no known entries"):
            entries_for(maker.spec, tmp_path)
        index.add(molecules("CCO", "CCC"), "made up")
    with pytest.raises(InputError, match="were not looked up"):
        maker.make()

    maker.known_entries = entries_for(maker.spec, tmp_path)
    assert [e.smiles for e in maker.known_entries or []] == ["CCO"]
    flow = maker.make()
    [known] = [job for job in flow.jobs if job.name == "known entries"]
    judges = [job for job, _ in flow.iterflow() if job.name in ("screen", "classify")]
    assert len(judges) == 2
    for judge in judges:
        assert known.uuid in judge.input_uuids

    # a campaign is what its index holds: with more of the composition it is another one
    other = CampaignMaker.from_file(tmp_path / "spec.yaml")
    other.known_entries = molecules("CCO", "COC")
    same = CampaignMaker.from_file(tmp_path / "spec.yaml")
    same.known_entries = molecules("CCO")
    assert same.campaign_id == maker.campaign_id != other.campaign_id
