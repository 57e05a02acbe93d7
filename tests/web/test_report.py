"""The report: what it says holds, it is one file that asks for nothing, and it can be read."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from pymatgen.core import Molecule
from pymatgen.io.ase import AseAtomsAdaptor

from logan_campaign.cli import main
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.results import Campaign
from logan_campaign.results.report import gather, render, report_charts, write_report
from logan_campaign.results.report.charts import model_label, rounds_chart
from logan_campaign.results.report.discoveries import (
    count_discoveries,
    draws_for_all,
    expected_distinct,
    found_by,
)
from logan_campaign.results.report.funnel import funnel
from logan_campaign.results.report.methods import methods
from logan_campaign.results.report.view3d import view3d
from logan_campaign.stores.records import ModelRecord

from .campaign import NASTY, ShownCampaign, ShownCrystals, store_campaigns


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_campaigns(tmp_path_factory.mktemp("store") / "demo", ShownCampaign())


@pytest.fixture(scope="module")
def campaign(place: Path) -> Iterator[Campaign]:
    with Campaign.open(place) as opened:
        yield opened


def test_what_a_stage_holds_less_what_it_loses_is_what_the_next_one_holds(
    campaign: Campaign,
) -> None:
    stages = funnel(campaign.record.selections, campaign.candidates().without_structures())
    for stage, after in pairwise(stages):
        assert stage.n - sum(stage.losses.values()) == after.n
    assert [stage.n for stage in stages] == [100, 96, 6, 5, 4, 2, 1]


def test_the_funnel_ends_with_the_new_structures_whatever_became_of_the_others(
    campaign: Campaign,
) -> None:
    candidates = list(campaign.candidates().without_structures())
    for state in ("pending", "rejected", "duplicate", "rediscovered", "new", "failed"):
        for relaxations in ([], candidates[1].relaxations):
            changed = candidates[1].model_copy(
                update={"state": state, "relaxations": relaxations, "reason": "why: because"}
            )
            stages = funnel(campaign.record.selections, [changed, *candidates[2:]])
            assert stages[-1].n == 1 + (state == "new")
            for stage, after in pairwise(stages):
                assert stage.n - sum(stage.losses.values()) == after.n >= 0


def test_the_coupon_collector_has_its_known_values() -> None:
    # 14 isomers: 45.5 draws for all of them; after 24.5 draws 12 are expected by the
    # waiting time, and nearly that many by the mean number seen
    assert draws_for_all(14) == pytest.approx(45.52, abs=0.01)
    np.testing.assert_allclose(expected_distinct(14, np.array([0, 1])), [0.0, 1.0], atol=1e-12)
    assert expected_distinct(14, np.array([10_000]))[0] == pytest.approx(14)
    rng = np.random.default_rng(1)
    seen = [len(set(rng.integers(0, 14, 24).tolist())) for _ in range(4000)]
    assert np.mean(seen) == pytest.approx(expected_distinct(14, np.array([24]))[0], abs=0.1)


def test_a_duplicate_has_found_the_structure_before_the_one_that_stands_for_both(
    campaign: Campaign,
) -> None:
    candidates = list(campaign.candidates().without_structures())
    found = count_discoveries(candidates, campaign.record.known_set_ids)
    # 0 is not relaxed; 1 is a duplicate of 2; 3 is known; 4 fails; 5 is a duplicate of 3
    assert found.relaxations.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.materials.tolist() == [0, 1, 1, 2, 2, 2]
    assert found.known.tolist() == [0, 0, 0, 1, 1, 1]
    assert count_discoveries(candidates, []).known.tolist() == [0] * 6


def test_every_candidate_of_a_material_is_counted_for_its_model(campaign: Campaign) -> None:
    candidates = list(campaign.candidates().without_structures())
    table = found_by(candidates, [model.id for model in campaign.models])
    assert table.counts.sum() == sum(c.material_id is not None for c in candidates) == 4
    for row, material in enumerate(table.materials):
        for column, model in enumerate(table.models):
            same = [c for c in candidates if (c.material_id, c.model_id) == (material, model)]
            assert table.counts[row, column] == len(same)


def test_the_3d_view_has_no_bond_that_ends_in_nothing() -> None:
    document = view3d(AseAtomsAdaptor.get_structure(bulk("Si", "diamond", a=5.43)))
    assert document["n_home"] == 2
    ends = {end for bond in document["bonds"] for end in bond}
    assert ends <= set(range(len(document["atoms"])))
    # four neighbours for each of the two atoms of the cell
    for atom in range(2):
        assert sum(atom in bond for bond in document["bonds"]) == 4
    water = Molecule("OHH", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    assert view3d(water)["bonds"] == [[0, 1], [0, 2]]
    assert view3d(water)["cell"] is None


def test_a_round_counts_what_no_round_before_it_has_found(campaign: Campaign) -> None:
    candidates = list(campaign.candidates().without_structures())
    assert rounds_chart(candidates) is None
    # 1 and 2 became one structure, 3 and 5 another; 4 failed
    later = [c.model_copy(update={"round": int(c.order >= 2)}) for c in candidates]
    relaxed, first = rounds_chart(later).data
    assert list(relaxed.y) == [1, 4]
    assert list(first.y) == [1, 1]


class _Loaded(HTMLParser):
    """Collects the addresses that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "poster") or (name == "href" and tag == "link"):
                self.addresses.append(str(value))


@pytest.mark.parametrize("kind", [ShownCampaign, ShownCrystals])
def test_a_report_loads_nothing_and_shows_text_as_it_stands(
    tmp_path: Path, kind: type[ShownCampaign]
) -> None:
    place = store_campaigns(tmp_path / "store", kind("b"))
    with Campaign.open(place) as campaign:
        [path] = write_report(campaign, tmp_path / "report.html")
        n_new = campaign.candidates(state="new").count()
    html = path.read_text()
    loaded = _Loaded()
    loaded.feed(html)
    assert loaded.addresses == []
    assert NASTY not in html
    assert "&lt;/script&gt;" in html or "\\u003c/script\\u003e" in html
    assert n_new == 1
    for section in ("funnel", "found", "map", "search", "models", "energies", "leakage"):
        assert f'<h2 id="{section}">' in html
    structures = re.search(r'id="structures">(.*?)</script>', html)
    assert structures is not None
    assert len(json.loads(structures[1])) == 2
    assert "@article{kovacs2024logan," in html
    assert "1 of the 1 known targets were found" in html
    assert "Warning: no training structure has this pair of species side by side: H-O." in html


@pytest.mark.parametrize("upto", [1, 3, 4, 5, 7, 9])
def test_a_campaign_has_a_report_at_every_stage(tmp_path: Path, upto: int) -> None:
    place = store_campaigns(tmp_path / "store", ShownCampaign(), upto=upto)
    with Campaign.open(place) as campaign:
        data = gather(campaign)
        assert "Nothing has been found yet." in render(data)
        assert ("map" in report_charts(data)) == (upto >= 5)


def test_a_lost_map_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    class Damaged(ShownCampaign):
        def selection(self) -> list:
            return [super().selection()[0].model_copy(update={"map": "AAAA"})]

    place = store_campaigns(tmp_path / "store", Damaged())
    with Campaign.open(place) as campaign:
        html = render(gather(campaign))
    assert "packed arrays are damaged" in html
    assert 'id="figure-energies"' in html


def test_figures_are_svg_that_do_not_change_from_time_to_time(
    campaign: Campaign, tmp_path: Path
) -> None:
    _, *figures = write_report(campaign, tmp_path / "r.html", tmp_path / "first")
    _, *again = write_report(campaign, tmp_path / "r.html", tmp_path / "second")
    names = {path.stem for path in figures}
    assert names == {
        "funnel", "map", "discoveries", "found-by", "energies", "training", "relaxations",
    }  # fmt: skip
    for first, second in zip(figures, again, strict=True):
        assert ElementTree.parse(first).getroot().tag.endswith("svg")
        assert first.read_bytes() == second.read_bytes()
    assert "first principal component" in (tmp_path / "first" / "map.svg").read_text()


def test_the_command_writes_it_and_says_where(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["logan-campaign", "report", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    path = tmp_path / "report.html"
    code, out, _ = run(str(place), "demo", "-o", str(path), "--json")
    assert code == 0
    assert json.loads(out) == {"report": str(path), "figures": []}
    assert path.read_text().startswith("<!doctype html>")
    code, _, err = run(str(place), "other", "-o", str(path))
    assert code == 2
    assert "no campaign 'other'" in err
    code, _, err = run(str(place), "-o", str(tmp_path / "no" / "folder.html"))
    assert code == 2
    assert "cannot write" in err


def test_members_of_later_rounds_have_names_of_their_own() -> None:
    first = ModelRecord.model_construct(index=0, round=0, hyperparameters={"n_max": 3})
    later = ModelRecord.model_construct(index=0, round=2, hyperparameters={"n_max": 3})
    assert model_label(first, ["n_max"]) == "#0 (n_max 3)"
    assert model_label(later, []) == "round 2 #0"


def test_the_methods_name_the_maker_of_a_level(campaign: Campaign) -> None:
    level = {"name": "emt", "calculator": "maker", "target": "atomate2.ase.jobs:EmtRelaxMaker"}
    spec = {**campaign.record.spec, "relax": {"levels": [level]}}
    text = " ".join(methods(campaign.record.model_copy(update={"spec": spec}), [], []))
    assert "relaxed at level 'emt' with atomate2.ase.jobs:EmtRelaxMaker" in text


def test_the_methods_say_where_cells_and_space_groups_come_from(campaign: Campaign) -> None:
    def told(**target: object) -> str:
        spec = {**campaign.record.spec, "target": target}
        return methods(campaign.record.model_copy(update={"spec": spec}), [], [])[0]

    assert "ell" not in told()
    learned = told(cell="learned", volume_per_atom=[9.0, 17.5])
    assert "generated together with the positions, of 9 to 17.5 Å³ per atom." in learned
    drawn = told(cell="drawn", symmetry={"groups": ["P3_121", 92]})
    assert "drawn at random, of volumes per atom as in the training set" in drawn
    assert "space groups (P3_121, 92)" in drawn


@pytest.mark.parametrize(("kind", "cutoff"), [("molecule", "6,"), ("crystal", "twice the cube")])
def test_the_methods_say_in_which_units_descents_compare(
    campaign: Campaign, kind: str, cutoff: str
) -> None:
    settings = DescentHyperparameters().model_dump()
    model = ModelRecord.model_construct(index=0, state="trained", hyperparameters=settings)
    record = campaign.record.model_copy(update={"kind": kind})
    text = methods(record, [model], [])[0]
    assert "10 falling to 1, in units of what displacements by 0.1 Å do to an environment" in text
    assert f"cutoff radius (Å) {cutoff}" in text


def test_a_hull_has_its_pictures_on_the_page_and_in_the_report(tmp_path: Path) -> None:
    place = store_campaigns(tmp_path / "store", ShownCrystals("b", "crystals"))
    with Campaign.open(place) as campaign:
        html = render(gather(campaign))
        assert 'id="figure-phases"' in html
        assert "2 distinct structures at level gpaw" in html
        best = campaign.candidates(energy_above_hull_lte=0.0).ids()
        assert best
        assert best[0] in html.split('id="figure-phases"')[1].split("</script>")[0]


def test_random_structures_with_the_same_target_and_level_are_the_baseline(tmp_path: Path) -> None:
    class Random(ShownCampaign):
        def campaign(self) -> list:
            [found] = super().campaign()
            models = {"vary": {}, "hyperparameters": {"method": "random"}}
            return [found.model_copy(update={"spec": {**found.spec, "models": models}})]

    place = store_campaigns(tmp_path / "store", ShownCampaign(), Random("b", "chance"))
    with Campaign.open(place, "demo") as campaign:
        data = gather(campaign)
        html = render(data)
    n = data.baselines["chance"].relaxations[-1]
    found = count_discoveries(data.candidates, ()).materials[n]
    assert f"After {n} relaxations this campaign had found {found} distinct structures" in html
    assert "random structures (chance)" in html
    with Campaign.open(place, "chance") as campaign:
        html = render(gather(campaign))
    assert "this campaign is the baseline of others" in html
    with Campaign.open(store_campaigns(tmp_path / "alone", ShownCampaign())) as campaign:
        assert "There is no baseline of random structures" in render(gather(campaign))
