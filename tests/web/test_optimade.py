"""The OPTIMADE interface over a campaign database, as clients use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import queries
from mongod import free_port

from logan_campaign.results import Results

pytest.importorskip("optimade.server.config", reason="optimade[server] is not installed")

N_CANDIDATES = 120
SERVE = """
import sys, uvicorn
from logan_campaign.results import Results
from logan_campaign.web.optimade import optimade_app
uvicorn.run(optimade_app(Results.open(sys.argv[1])), port=int(sys.argv[2]), log_level="error")
"""

Answer = tuple[int, Any]
Ask = Callable[[str], Answer]


@pytest.fixture(scope="module", params=["sqlite", "mongo"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    location = str(tmp_path_factory.mktemp("optimade"))
    if request.param == "mongo":
        location = f"{request.getfixturevalue('mongod')}/optimade"
    queries.make(location, N_CANDIDATES)
    return location


@pytest.fixture(scope="module")
def server(place: str) -> Iterator[str]:
    """A real server on loopback; yields its URL."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, place, str(port)],
        stderr=subprocess.PIPE,
        env={**os.environ, "OPTIMADE_LOG_DIR": os.devnull},
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{url}/versions", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield url
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert b"Traceback" not in said, said.decode()


@pytest.fixture(scope="module")
def ask(server: str) -> Ask:
    """Return status and JSON of a path below the server's version 1."""

    def ask(path: str) -> Answer:
        try:
            with urllib.request.urlopen(f"{server}/v1/{path}", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return ask


def filtered(text: str, **more: Any) -> str:
    return "structures?" + urllib.parse.urlencode({"filter": text, **more})


def test_the_reference_validator_finds_nothing_wrong(server: str) -> None:
    command = [str(Path(sys.executable).with_name("optimade-validator")), server, "--json"]
    if not Path(command[0]).exists():
        command[:1] = [sys.executable, "-c", "from optimade.validator import validate; validate()"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    results = json.loads(done.stdout[done.stdout.index("{") :])
    assert results["failure_count"] == results["optional_failure_count"] == 0, done.stdout
    assert results["internal_failure_count"] == 0
    assert results["success_count"] >= 50
    assert done.returncode == 0


#: Filters, with what a record must be to be found.
FILTERS: dict[str, Callable[[Any], bool]] = {
    'elements HAS "O"': lambda r: True,
    'elements HAS ALL "C","Si"': lambda r: False,
    'elements HAS ONLY "C","H","O"': lambda r: True,
    "nelements=3 AND nsites>9": lambda r: r.formula != "C2H6O",
    "nsites<=9 OR nsites=15": lambda r: r.formula in ("C2H6O", "C4H10O"),
    "NOT nsites=9": lambda r: r.formula != "C2H6O",
    "elements LENGTH 3": lambda r: True,
    "elements LENGTH > 3": lambda r: False,
    'chemical_formula_reduced="C3H8O"': lambda r: r.formula == "C3H8O",
    'chemical_formula_anonymous STARTS WITH "A8"': lambda r: r.formula == "C3H8O",
    'chemical_formula_hill CONTAINS "4"': lambda r: r.formula == "C4H10O",
    "nperiodic_dimensions=0 AND lattice_vectors IS UNKNOWN": lambda r: True,
    "last_modified IS UNKNOWN": lambda r: True,
    '_logan_state="new"': lambda r: r.state == "new",
    '_logan_state!="new"': lambda r: r.state != "new",
    '_logan_smiles CONTAINS "OC("': lambda r: False,
    '_logan_smiles ENDS WITH "C"': lambda r: r.smiles.endswith("C"),
    "_logan_level IS UNKNOWN": lambda r: r.level is None,
    '_logan_level="xtb" AND NOT _logan_state="failed"': lambda r: (
        r.level == "xtb" and r.state != "failed"
    ),
    "_logan_energy_above_min_ev<0.5": lambda r: (r.energy_above_min_ev or 9) < 0.5,
    "_logan_energy_above_min_ev IS KNOWN": lambda r: r.energy_above_min_ev is not None,
    "_logan_round>=3": lambda r: r.round >= 3,
    "60 > _logan_order": lambda r: r.order < 60,
    '_logan_campaign="many"': lambda r: True,
    '_logan_campaign="few"': lambda r: False,
    "_logan_order<=99999999999999999999999": lambda r: True,
    'id STARTS WITH "cand-0"': lambda r: r.id.startswith("cand-0"),
    '_logan_match_label ENDS WITH "OC"': lambda r: (r.match_label or "").endswith("OC"),
    "_other_field=1": lambda r: False,
    "_other_field IS UNKNOWN": lambda r: True,
    'nsites="many"': lambda r: False,
}


@pytest.mark.parametrize("text", FILTERS)
def test_filters_find_what_they_say(ask: Ask, place: str, text: str) -> None:
    with Results.open(place) as results:
        expected = {r.id for r in results.candidates().without_structures() if FILTERS[text](r)}
    status, found = ask(filtered(text, page_limit=500, response_fields="nsites"))
    assert status == 200, found
    assert {entry["id"] for entry in found["data"]} == expected
    assert found["meta"]["data_returned"] == len(expected)


@pytest.mark.parametrize(
    "text",
    [
        "_logan_state",
        "colour=1",
        'elements:elements_ratios HAS "O":0.1',
        'elements HAS > "C"',
        '"a"="a"',
        'structures.formula="x"',
        'id="a" AND (',
        '_logan_smiles CONTAINS "\0"',
    ],
)
def test_filters_that_cannot_be_answered_are_the_clients_mistake(ask: Ask, text: str) -> None:
    status, found = ask(filtered(text))
    assert status == 400
    assert found["errors"][0]["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "structures?page_limit=100000",
        "structures?page_above=a",
        "structures?page_offset=-1",
        "structures?page_limit=many",
        "structures?page_offset=99999999999999999999999",
        "structures?page_number=99999999999999999999999",
        "structures?email_address=x",
        "structures?sort=colour",
        "structures?sort=_logan_order,nsites",
        "structures?response_format=xml",
        "structures?filter",
        "structures/cand-none",
        "info/colours",
        "../v7/info",
    ],
)
def test_requests_that_cannot_be_answered_do_not_break_the_server(ask: Ask, path: str) -> None:
    status, found = ask(path)
    assert status in (200, 400, 403, 404, 553)
    assert ("errors" in found) == (status != 200)


def test_pages_follow_one_another_in_the_order_asked_for(ask: Ask) -> None:
    path = "structures?sort=-nsites,_logan_energy_ev&response_fields=nsites,_logan_energy_ev"
    seen: list[Any] = []
    for offset in range(0, N_CANDIDATES, 50):
        _, found = ask(f"{path}&page_limit=50&page_offset={offset}")
        seen += found["data"]
    assert len({entry["id"] for entry in seen}) == N_CANDIDATES
    keys = [(-e["attributes"]["nsites"], e["attributes"]["_logan_energy_ev"] or -1e9) for e in seen]
    assert keys == sorted(keys)


def test_an_entry_is_the_candidate(ask: Ask, place: str) -> None:
    with Results.open(place) as results:
        record = next(r for r in results.candidates(state="new"))
    status, found = ask(f"structures/{record.id}")
    assert status == 200
    attributes = found["data"]["attributes"]
    assert attributes["_logan_energy_ev"] == record.energy_ev
    assert attributes["_logan_material_id"] == record.material_id
    assert attributes["lattice_vectors"] is None
    assert record.structure is not None
    positions = record.structure.cart_coords.tolist()
    assert attributes["cartesian_site_positions"] == positions
    assert attributes["species_at_sites"] == [site.specie.symbol for site in record.structure]
