"""What notebooks show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from web.campaign import NASTY, ShownCampaign, ShownCrystals, store_campaigns

from logan_campaign.core.errors import InputError
from logan_campaign.results import Campaign, Candidate, Results
from logan_campaign.results.notebook import ROWS


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    place = tmp_path_factory.mktemp("notebook") / "store"
    store_campaigns(place, ShownCampaign("a"), ShownCrystals("b", "crystals"))
    with Results.open(place) as opened:
        yield opened


@pytest.fixture(params=["demo", "crystals"])
def campaign(request: pytest.FixtureRequest, results: Results) -> Campaign:
    return results.campaign(request.param)


def test_a_campaign_shows_what_it_found(campaign: Campaign) -> None:
    shown = campaign._repr_html_()
    found = campaign.candidates(state=["new", "rediscovered"]).ids()
    assert found
    for text in (*found, campaign.name, "2 candidates"):
        assert text in shown
    assert not set(campaign.candidates(state="rejected").ids()) & set(shown.split("<td>"))


def test_a_query_shows_a_table_of_limited_length(campaign: Campaign) -> None:
    shown = campaign.candidates()._repr_html_()
    assert shown.count("<tr>") == 1 + 6 <= 1 + ROWS
    assert "6 candidates" in shown


def test_a_candidate_shows_its_picture_and_what_a_person_reads_first(campaign: Campaign) -> None:
    best = campaign.candidates(state="new").first()
    assert isinstance(best, Candidate)
    shown = best._repr_html_()
    assert "<svg" in shown
    assert ("Wyckoff sites" in shown) == (campaign.name == "crystals")
    assert shown == campaign.candidate(best.id)._repr_html_()
    bare = campaign.candidates(state="new").without_structures().first()
    assert bare is not None
    assert "Wyckoff" not in bare._repr_html_()
    with pytest.raises(InputError, match="without its structure"):
        bare.view()


def test_a_view_is_a_page_that_needs_nothing_else(campaign: Campaign) -> None:
    best = campaign.candidates(state="new").first()
    assert best is not None
    page = str(best.view())
    assert "createViewer" in page
    assert "<script src" not in page
    shown = best.view()._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script" not in shown  # escaped, as an attribute has to be


def test_texts_of_records_are_no_markup(campaign: Campaign) -> None:
    best = campaign.candidates(state="new").first()
    assert best is not None
    shown = best.model_copy(update={"reason": NASTY})._repr_html_()
    assert NASTY not in shown
    assert "window.broken" in shown


def test_charts_are_those_of_the_report(results: Results) -> None:
    molecules, crystals = results.campaign("demo"), results.campaign("crystals")
    assert len(molecules.plot_map().data) > 2
    for campaign in (molecules, crystals):
        assert campaign.plot_energies().data
    assert crystals.plot_hull().data
    with pytest.raises(InputError, match="demo has no hull to draw"):
        molecules.plot_hull()
