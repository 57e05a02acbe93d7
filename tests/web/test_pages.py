"""The browser's pages: they show the store, refuse what is not theirs, and change nothing."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the browser needs the extra 'web'")
pytest.importorskip("httpx2", reason="starlette's test client needs httpx2")

from ase.io import read as read_atoms
from starlette.testclient import TestClient

from logan_campaign.cli import main
from logan_campaign.results import Results
from logan_campaign.web.app import create_app
from logan_campaign.web.guard import COOKIE, host_name
from logan_campaign.web.lineage_drawing import draw_lineage
from logan_campaign.web.params import CandidateParams
from logan_campaign.web.periodic import periodic_table

from .campaign import NASTY, ShownCampaign, ShownCrystals, store_campaigns

_BASE = "http://127.0.0.1:8642"
_TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "demo"
    return store_campaigns(folder, ShownCampaign("a"), ShownCrystals("b", "crystals"))


@pytest.fixture(scope="module")
def results(place: Path) -> Iterator[Results]:
    with Results.open(place) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(results: Results) -> TestClient:
    return TestClient(create_app(results), _BASE)


PAGES = {
    "/": ["demo", "crystals"],
    "/campaigns/camp-a": [
        "cand-a2/picture.svg",
        "search for H2O",
        "model-a0",
        "the known set",
        "side by side: H-O",
    ],
    "/campaigns/camp-a/progress": ["generated", "No run of this campaign"],
    "/campaigns/camp-a/candidates": ["cand-a0", "cand-a5", "6 in all"],
    "/campaigns/camp-a/candidates?state=new": ["cand-a2", "1 in all"],
    "/campaigns/camp-a/candidates?sort=energy&descending=true": ["cand-a1"],
    "/campaigns/camp-a/candidates?page=7": ["There are none on this page"],
    "/candidates": ["cand-a0", "cand-b0", "12 in all"],
    "/candidates?smiles=O&max_energy=5": ["cand-a3"],
    "/candidates/cand-a2": ["relaxations", "structure-generated", "figure-energies"],
    "/candidates/cand-b3": ["Pm-3m", "/download/cif", "Wyckoff sites", "figure-powder", "SiO2"],
    "/candidates/cand-a2/picture.svg": ["<svg"],
    "/candidates/cand-b3/picture.svg": ["<svg"],
    "/compare?first=cand-a2&second=cand-b3": ["not be comparable", "g/cm³"],
    "/lineage/cand-a2": ["model-a0", 'class="lineage"'],
    "/lineage/set-training": ["model-b1"],
    "/lineage/set-known": ["known set"],
    "/models/model-a0": ["figure-training", "n_max"],
    "/materials": ["OO", "4 in all"],
    "/campaigns/camp-b/materials": ["Pm-3m"],
    "/sets/set-known": ["struct-2"],
    "/campaigns/camp-a/report": ["campaign report"],
    "/openapi.json": ["paths"],
}


@pytest.mark.parametrize("address", PAGES)
def test_every_page_shows_what_it_is_for(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    for text in PAGES[address]:
        assert text.lower() in answer.text.lower()
    assert NASTY not in answer.text


def test_pages_are_the_same_over_mongodb(client: TestClient, mongo_uri: str) -> None:
    store_campaigns(mongo_uri, ShownCampaign("a"), ShownCrystals("b", "crystals"))
    with Results.open(mongo_uri) as results:
        other = TestClient(create_app(results), _BASE)
        for address in PAGES:
            answer, same = other.get(address), client.get(address)
            assert answer.status_code == 200, answer.text
            if not address.endswith(("/report", ".json")):  # the report tells when
                ours, theirs = (page.text.split("<footer>")[0] for page in (same, answer))
                assert ours == theirs, address


def test_every_element_has_a_place_of_its_own() -> None:
    table = {cell.symbol: cell for cell in periodic_table({"Si"})}
    assert len({(cell.row, cell.column) for cell in table.values()}) == len(table) == 118
    assert (table["Si"].row, table["Si"].column) == (3, 14)
    assert (table["La"].column, table["Lu"].column, table["Hf"].column) == (3, 17, 4)
    assert [symbol for symbol, cell in table.items() if cell.present] == ["Si"]


def test_lists_are_filtered_by_elements(client: TestClient) -> None:
    for what, crystal, molecule in (
        ("candidates", "cand-b3", "cand-a3"),
        ("materials", "Pm-3m", "OO"),
    ):
        assert crystal in client.get(f"/{what}").text
        assert molecule in client.get(f"/{what}").text
        silicon = client.get(f"/{what}?element=Si&element=O").text.split("<tbody>")[1]
        assert crystal in silicon
        assert molecule not in silicon
        assert "There are none" in client.get(f"/{what}?element=Si&element=H").text
    assert "1 in all" in client.get("/campaigns/camp-a/candidates?element=O&state=new").text
    assert client.get("/candidates?element=x").status_code == 422
    assert "There are none" in client.get("/candidates?element=Si&formula=H2O").text


def test_chosen_candidates_are_one_file(client: TestClient) -> None:
    answer = client.get("/candidates/export?id=cand-b2&id=cand-b3&id=cand-b3&fmt=extxyz")
    frames = read_atoms(io.StringIO(answer.text), ":", format="extxyz")
    assert [len(frame) for frame in frames] == [3, 3]
    assert 'filename="2-candidates.extxyz"' in answer.headers["content-disposition"]
    assert client.get("/candidates/export?id=cand-a2&id=cand-b3&fmt=cif").status_code == 404
    assert client.get("/candidates/export?id=nothing&fmt=cif").status_code == 404
    assert client.get("/candidates/export?fmt=cif").status_code == 422


def test_every_link_on_a_page_leads_to_a_page(client: TestClient) -> None:
    seen, left = set(), ["/"]
    while left and len(seen) < 80:
        address = left.pop(0)
        if address in seen or address.startswith("/optimade"):
            continue
        seen.add(address)
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text)
        if address.startswith(("/static", "/campaigns/camp-a/report", "/campaigns/camp-b/report")):
            continue
        found = re.findall(r'(?:href|src)="(/[^"]*)"', answer.text)
        left += [link.replace("&amp;", "&") for link in found]
    assert {"/candidates/cand-a3", "/models/model-b1", "/sets/set-known"} <= seen


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/nothing", 404),
        ("/candidates/cand-zz", 404),
        ("/models/cand-a0", 404),
        ("/materials/set-known", 404),
        ("/lineage/camp-a", 404),
        ("/candidates?state=nonsense", 422),
        ("/candidates?state[$ne]=new", 422),
        ("/candidates?page=0", 422),
        ("/candidates?page=101", 422),
        ("/candidates?sort=best", 422),
        ("/candidates?page=1e400", 422),
        ("/candidates?max_energy=nan", 422),
        ("/candidates?max_energy=inf", 422),
        ("/candidates?sort=__class__", 422),
        ("/candidates?formula=%00", 422),
        ("/candidates?formula=Xx", 404),
        ("/candidates?smiles=((", 404),
        ("/candidates?unknown=1", 422),
        ("/campaigns/camp-a?x=1", 422),
        ("/candidates/%24where", 422),
        ("/candidates/..%2f..%2fetc", 404),
        ("/candidates/cand-a0/download/exe", 404),
        ("/candidates/cand-a0/download/cif", 404),
        ("/static/x/../../app.py", 404),
        ("/static/x/secrets.txt", 404),
    ],
)
def test_nonsense_is_answered_with_an_error_page(
    client: TestClient, address: str, status: int
) -> None:
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text


def test_what_looks_like_an_operator_is_a_value(client: TestClient) -> None:
    for value in ('{"$ne": null}', "$where", "' OR 1=1 --"):
        answer = client.get("/candidates", params={"spacegroup": value})
        assert answer.status_code == 200
        assert "0 in all" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(client: TestClient, method: str) -> None:
    for address in ("/", "/candidates/cand-a0", "/optimade/v1/structures"):
        answer = client.request(method, address)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"


def test_reading_pages_leaves_the_store_as_it_was(client: TestClient, results: Results) -> None:
    def everything() -> str:
        stores = results.stores
        names = ("campaigns", "candidates", "materials", "models", "training_sets")
        found = [list(stores.collection(name).query(sort={"id": 1})) for name in names]
        return json.dumps([*found, stores.docs.count(), stores.ledger.count()], default=str)

    before = everything()
    for address in PAGES:
        client.get(address)
    assert everything() == before


def test_head_is_get_without_the_body(client: TestClient) -> None:
    head, get = client.head("/candidates"), client.get("/candidates")
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


def test_pages_may_load_scripts_from_here_only(client: TestClient) -> None:
    for address in ("/", "/candidates/cand-a2", "/nothing", "/optimade/v1/info"):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert "sandbox" in client.get("/campaigns/camp-a/report").headers["content-security-policy"]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8642", "127.0.0.1.evil.example", "", "[::2]", "localhost."),
        *(
            "[::1].evil.example",
            "localhost:80@evil.example",
            "localhost/evil.example",
            "localhost:",
        ),
        *("localhost:80:80", "[::1", "localhost#", "2130706433", "0x7f.1", "[::1%25lo]"),
    ],
)
def test_a_foreign_name_that_points_here_gets_nothing(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8642", "[::1]:8642"])
def test_loopback_is_served_under_its_names(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_scripts_of_other_websites_read_nothing(client: TestClient) -> None:
    for address in ("/", "/candidates", "/optimade/v1/structures", "/openapi.json"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:1"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
            {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
        ):
            assert client.get(address, headers=headers).status_code == 403


def test_own_pages_and_links_from_elsewhere_are_served(client: TestClient) -> None:
    for headers in (
        {"origin": _BASE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
    ):
        assert client.get("/", headers=headers).status_code == 200


def test_a_website_that_was_named_may_read(results: Results) -> None:
    client = TestClient(create_app(results, origins=["https://example.org"]), _BASE)
    headers = {"origin": "https://example.org", "sec-fetch-site": "cross-site"}
    answer = client.get("/optimade/v1/structures", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert client.get("/", headers={"origin": "https://example.com"}).status_code == 403


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "nelements=3" + ")" * 500,
        "elements HAS ANY " + ",".join('"H"' for _ in range(3000)),
        "nelements=3 OR " * 300 + "nelements=2",
        "NOT " * 1000 + "nelements=2",
        "x" * 50_000,
    ],
)
def test_filters_beyond_use_are_refused_at_once(client: TestClient, text: str) -> None:
    begun = time.process_time()
    answer = client.get("/optimade/v1/structures", params={"filter": text})
    assert answer.status_code == 400
    assert "filter" in answer.json()["errors"][0]["detail"]
    assert time.process_time() - begun < 0.5


def test_quoted_text_in_a_filter_counts_for_nothing(client: TestClient) -> None:
    text = 'chemical_formula_reduced="' + "(" * 300 + '"'
    assert client.get("/optimade/v1/structures", params={"filter": text}).status_code == 200


def test_host_names_lose_their_port() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("a.b:80") == "a.b"
    assert host_name("A.B") == "a.b"


def test_a_token_opens_and_nothing_else_does(results: Results) -> None:
    app = create_app(results, hosts=None, token=_TOKEN)
    wrong = [
        {},
        {"params": {"token": ""}},
        {"params": {"token": _TOKEN[:-1]}},
        {"params": {"token": "ü"}},
        {"headers": {"authorization": "Bearer nonsense"}},
        {"headers": {"cookie": f"{COOKIE}=nonsense"}},
    ]
    for request in wrong:
        for address in (
            "/",
            "/candidates/cand-a0",
            "/optimade/v1/structures",
            "/static/x/style.css",
        ):
            answer = TestClient(app, "http://lab:80").get(address, **request)
            assert answer.status_code == 401
            assert _TOKEN not in answer.text
    bearer = {"authorization": f"Bearer {_TOKEN}"}
    assert TestClient(app, "http://lab").get("/", headers=bearer).status_code == 200


def test_a_token_in_the_address_becomes_a_cookie(results: Results) -> None:
    client = TestClient(create_app(results, hosts=None, token=_TOKEN), "http://lab")
    query = {"token": _TOKEN, "state": "new"}
    first = client.get("/candidates", params=query, follow_redirects=False)
    assert first.status_code == 303
    assert first.headers["location"] == "/candidates?state=new"
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/candidates").status_code == 200
    away = client.get("//evil.example/x", params={"token": _TOKEN}, follow_redirects=False)
    assert away.headers.get("location", "/").startswith("/")
    assert not away.headers.get("location", "/").startswith("//")


def test_downloads_can_be_read_by_other_programs(client: TestClient, tmp_path: Path) -> None:
    for address, name in (
        ("/candidates/cand-a2/download/extxyz", "a.extxyz"),
        ("/candidates/cand-a2/download/extxyz?generated=true", "b.extxyz"),
        ("/candidates/cand-a2/download/sdf", "a.sdf"),
        ("/candidates/cand-b2/download/cif", "a.cif"),
        ("/candidates/cand-b2/download/poscar", "a.vasp"),
    ):
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        assert "attachment" in answer.headers["content-disposition"]
        (tmp_path / name).write_text(answer.text)
        atoms = read_atoms(tmp_path / name)
        assert sorted(atoms.get_chemical_symbols()) in (["H", "H", "O"], ["O", "O", "Si"])
    assert client.get("/candidates/cand-a2/download/json").json()


def test_a_running_campaign_shows_what_it_does(results: Results) -> None:
    asked = []

    def progress(record: Any) -> dict[str, Any]:
        asked.append(record.id)
        return {
            "state": "running",
            "cpu_s": 12.0,
            "stages": {"train": {"completed": 1, "running": 1}},
            "running": [{"name": "train 2", "task": "x", "completed": 3, "total": 9, "note": ""}],
            "failures": [{"name": "relax", "error": "<b>crash</b>"}],
        }

    client = TestClient(create_app(results, progress=progress), _BASE)
    page = client.get("/campaigns/camp-a").text
    assert 'data-live="yes"' in page
    part = client.get("/campaigns/camp-a/progress").text
    assert 'value="3"' in part
    assert "train 2" in part
    assert "&lt;b&gt;crash" in part
    assert asked


def test_a_drawn_lineage_keeps_its_root_and_joins_boxes_that_are_there(results: Results) -> None:
    for identity in ("cand-a2", "cand-a3", "mat", "model-a0", "set-training"):
        if identity == "mat":
            identity = next(iter(results.materials())).id
        drawing = draw_lineage(results.database.lineage(identity))
        assert sum(box.is_root for box in drawing.boxes) == 1
        places = {(box.x, box.y) for box in drawing.boxes}
        assert len(places) == len(drawing.boxes)
        assert all(0 <= x <= drawing.width - drawing.box_width for x, _ in places)
        assert all(0 <= y <= drawing.height - drawing.box_height for _, y in places)
        assert drawing.edges


def test_the_next_page_asks_for_the_same_with_another_number() -> None:
    params = CandidateParams(state="new", max_energy=0.5, page=3)
    query = params.query(page=4)
    assert query == "page=4&state=new&max_energy=0.5"


def test_serve_says_in_one_line_what_is_wrong(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, told in (
        (["serve", str(place / "nothing")], "no such file"),
        (["serve", str(place), "--host", "192.0.2.1"], "cannot listen at 192.0.2.1"),
    ):
        monkeypatch.setattr(sys, "argv", ["logan-campaign", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert told in error
        assert len(error.strip().splitlines()) == 1
