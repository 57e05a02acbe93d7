"""A real browser on the pages and on a report: it lists, filters, opens, and draws atoms."""

# ruff: noqa: E402 (what follows needs what is skipped for)
from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the browser needs the extra 'web'")
playwright = pytest.importorskip("playwright.sync_api", reason="drives Chromium")

import uvicorn
from PIL import Image

from logan_campaign.results import Campaign, Results
from logan_campaign.results.report import write_report
from logan_campaign.web.app import create_app

from .campaign import ShownCampaign, ShownCrystals, store_campaigns

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium (apt-get install chromium)")

#: WebGL without a graphics card; as root, Chromium starts without its sandbox only.
_ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--use-gl=angle"]
_ARGUMENTS += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chromium") / "demo"
    return store_campaigns(folder, ShownCampaign("a"), ShownCrystals("b", "crystals"))


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    with Results.open(place) as results:
        server = uvicorn.Server(
            uvicorn.Config(create_app(results), port=0, log_level="error", ws="none")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.05)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=["light"])
def page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    """A page that must end without errors, and that records what it asks for."""
    context = chromium.new_context(color_scheme=request.param)
    opened = context.new_page()
    opened.set_default_timeout(_PATIENCE_MS)
    opened.asked, opened.errors = [], []
    opened.on("request", lambda asked: opened.asked.append(asked.url))
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on(
        "console",
        lambda said: opened.errors.append(said.text) if said.type == "error" else None,
    )
    yield opened
    errors = opened.errors
    context.close()
    assert errors == []


def _colours(page: Any, selector: str) -> int:
    """Return how many different colours an element shows."""
    picture = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


def _wait_for_atoms(page: Any, n_atoms: int) -> None:
    page.wait_for_selector(f'.view3d[data-atoms="{n_atoms}"] canvas')
    # an empty scene has one colour; shaded balls have very many
    assert _colours(page, ".view3d") > 40


def test_from_the_list_over_a_filter_to_atoms_and_lineage(page: Any, address: str) -> None:
    page.goto(address)
    page.click("text=demo")
    page.click("a.button:has-text('Candidates')")
    assert page.locator("#candidates tbody tr").count() == 6
    page.select_option("select[name=state]", "new")
    page.click("button:has-text('Apply')")
    page.wait_for_url("**state=new**")
    assert page.locator("#candidates tbody tr").count() == 1
    page.click("text=cand-a2")
    _wait_for_atoms(page, 3)
    page.wait_for_selector(".chart[data-drawn=yes] .scatterlayer")
    page.click("button:has-text('generated')")
    page.wait_for_selector("button[aria-pressed=true]:has-text('generated')")
    page.click("a.button:has-text('Lineage')")
    page.wait_for_selector("svg.lineage g.root")
    page.click("svg.lineage a:has-text('#0')")
    page.wait_for_url("**/models/model-a0")
    page.wait_for_selector(".chart[data-drawn=yes]")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("window.broken") is None
    assert {url.split("/")[2] for url in page.asked if url.startswith("http")} == {
        address.removeprefix("http://")
    }


def test_a_crystal_shows_its_cell_turns_and_repeats(page: Any, address: str) -> None:
    page.goto(f"{address}/candidates/cand-b2")
    _wait_for_atoms(page, 3)
    view = "JSON.stringify(document.querySelector('.view3d').viewer.getView())"
    before = page.evaluate(view)
    page.click("button:has-text('turn ↷')")
    page.wait_for_function(f"{view} !== {before!r}")
    page.click("button:has-text('2×2×2 cells')")
    page.wait_for_selector(".view3d[data-cells='2']")
    models = "document.querySelector('.view3d').viewer.selectedAtoms({}).length"
    assert page.evaluate(models) >= 8 * 3
    page.click("button:has-text('conventional cell')")
    page.wait_for_selector(".view3d[data-cells='1'][data-atoms]")
    assert page.locator(".chart[data-figure=figure-powder]").count() == 1


def test_a_relaxation_is_played_to_its_end(page: Any, address: str) -> None:
    page.goto(f"{address}/candidates/cand-a2")
    _wait_for_atoms(page, 3)
    assert page.locator("button:has-text('2×2×2 cells'):visible").count() == 0  # no crystal
    page.click("button:has-text('play relaxation')")
    page.wait_for_selector(".view3d[data-frame='12']")


def test_lists_are_sorted_by_a_click_on_a_header(page: Any, address: str) -> None:
    page.goto(f"{address}/campaigns/camp-a/candidates")
    cells = "#candidates tbody td:nth-child(7)"
    column = f"Array.from(document.querySelectorAll('{cells}'), x => x.textContent)"
    for arrow in ("ascending", "descending"):
        page.click("#candidates th:has-text('energy (eV)')")
        page.wait_for_selector(f"th[aria-sort={arrow}]")
        shown = page.evaluate(column)
        energies = [float(text) for text in shown if text != "–"]
        assert energies == sorted(energies, reverse=arrow == "descending")
        assert shown[len(energies) :] == ["–"] * (len(shown) - len(energies))
    assert len(energies) > 2


def test_discoveries_lead_and_two_are_compared(page: Any, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{address}/campaigns/camp-b")
    assert page.inner_text("h2 >> nth=0") == "Found"
    page.wait_for_function("document.querySelector('.cards img').naturalWidth > 0")
    page.click(".cards a >> nth=0")
    page.fill("input[name=second]", "cand-b3")
    page.click("button:has-text('Compare')")
    page.wait_for_function("document.querySelectorAll('.view3d canvas').length === 2")
    assert page.locator("#comparison td:has-text('g/cm³')").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("page", ["dark"], indirect=True)
def test_a_report_opens_from_disk_and_asks_for_nothing(
    page: Any, place: Path, tmp_path: Path
) -> None:
    with Campaign.open(place, "demo") as campaign:
        [path] = write_report(campaign, tmp_path / "report.html")
    page.context.set_offline(True)
    page.goto(path.as_uri())
    _wait_for_atoms(page, 3)
    page.wait_for_function(
        "document.querySelectorAll('.chart[data-drawn=yes]').length === "
        "document.querySelectorAll('.chart').length"
    )
    assert page.locator(".chart").count() == 7
    page.click("[data-show='cand-a3']")
    assert "rediscovered" in page.inner_text("#view-title")
    page.fill("input[type=search]", "new")
    assert page.locator("#discoveries-table tbody tr:visible").count() == 1
    page.emulate_media(media="print")
    assert page.locator(".viewer:visible").count() == 0
    assert [url for url in page.asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert page.evaluate("window.broken") is None
