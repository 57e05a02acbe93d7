"""OPTIMADE by its real client, against its reference server on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ase.build import bulk
from local_servers import (
    ForwardingServer,
    LocalServer,
    dropped,
    on,
    optimade_lines,
    optimade_server,
    status,
    truncated_json,
)
from pydantic import ValidationError

from logan_campaign.core.errors import InputError
from logan_campaign.geometry.structures import structure_id
from logan_campaign.sources import OptimadeSource, set_id
from logan_campaign.sources import optimade as module
from logan_campaign.sources.optimade import PROVIDERS
from logan_campaign.sources.transfer import SourceError

ZNO = [bulk("ZnO", "zincblende", a=4.2 + 0.1 * k) for k in range(5)]
FILTER = 'chemical_formula_reduced="OZn" AND nsites<=2'


def answered(document: object) -> Callable:
    return lambda _: (200, {"Content-Type": "application/json"}, json.dumps(document).encode())


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("optimade") / "structures.jsonl"
    lines = optimade_lines([*ZNO, bulk("MgO", "rocksalt", a=4.2)]).splitlines()
    mixed = json.loads(lines[-1])
    mixed["id"] = "mixed"
    mixed["attributes"] |= {
        "chemical_formula_reduced": "OZn",
        "species": [
            {"name": "Mg", "chemical_symbols": ["Mg", "Zn"], "concentration": [0.5, 0.5]},
            {"name": "O", "chemical_symbols": ["O"], "concentration": [1.0]},
        ],
        "structure_features": ["disorder"],
    }
    path.write_text("\n".join([*lines, json.dumps(mixed)]) + "\n")
    with optimade_server(path) as url:
        yield url


@pytest.fixture
def server(reference: str) -> Iterator[LocalServer]:
    with ForwardingServer(reference, page_limit="2") as running:
        yield running


def source(server: LocalServer, **query: object) -> OptimadeSource:
    settings = {"providers": [server.url], "filter": FILTER, **query}
    return OptimadeSource.model_validate(settings)


def test_the_filter_selects_and_pages_follow_one_another(server: LocalServer) -> None:
    loaded = source(server).load()
    assert {entry.id for entry in loaded.entries} == {structure_id(atoms) for atoms in ZNO}
    assert loaded.entries[0].label == "optimade:made-up-0"
    assert sum("page_" in path for path in server.requests) >= 2
    assert loaded.origin.address == server.url
    again = source(server).load()
    assert again.records == loaded.records


def test_several_providers_answer_the_same_query(server: LocalServer, reference: str) -> None:
    both = source(server, providers=[server.url, reference]).load()
    assert len(both.entries) == 5
    assert both.n_duplicates == 5
    assert set_id(both.entries) == set_id(source(server).load().entries)
    assert set(PROVIDERS) == {"mp", "alexandria", "oqmd", "cod"}


def test_disordered_entries_are_refused_with_the_reason(server: LocalServer) -> None:
    (rejected,) = source(server).load().rejected
    assert rejected.label == "optimade:mixed"
    assert "partly occupied" in rejected.reason


def test_a_number_of_structures_can_be_asked_for(server: LocalServer) -> None:
    assert len(source(server, max_structures=3).load().entries) == 3


@pytest.mark.parametrize("fault", [status(500), status(429, Retry_After="0"), dropped])
def test_a_passing_fault_is_waited_out(server: LocalServer, fault: Callable) -> None:
    server.faults = [fault] * 2
    assert len(source(server).load().entries) == 5


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(500), "HTTP 500"),
        (status(429, Retry_After="0"), "too many requests"),
        (dropped, "no connection"),
        (truncated_json, "JSON"),
        (answered({"data": {"id": "one"}, "meta": {}}), "no OPTIMADE answer"),
        (answered([]), "no OPTIMADE answer"),
    ],
    ids=["500", "429", "dropped", "truncated", "one entry", "a list"],
)
def test_a_lasting_fault_is_one_clear_line_and_the_pull_goes_on_later(
    server: LocalServer, fault: Callable, message: str
) -> None:
    server.faults = [on("page_offset=2", fault)] * 40
    with pytest.raises(SourceError, match=message) as raised:
        source(server).load()
    assert "\n" not in str(raised.value)
    server.faults.clear()
    first_page = server.requests[0]
    server.requests.clear()
    assert len(source(server).load().entries) == 5
    assert first_page not in server.requests


def test_what_a_provider_does_not_take_is_an_error_of_the_user(server: LocalServer) -> None:
    with pytest.raises(InputError):
        source(server, filter='chemical_formula_reduced="Xe9"').load()


def test_odd_queries_are_refused_before_anything_is_asked() -> None:
    for query in (
        {"filter": "nsites <"},
        {"filter": " "},
        {"providers": ["elsewhere"]},
        {"providers": []},
        {"providers": ["mp", "mp"]},
        {"providers": ["https://me:secret@example.org"]},
    ):
        with pytest.raises(ValidationError):
            OptimadeSource.model_validate({"providers": ["mp"], "filter": FILTER, **query})


def test_a_filter_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not an OPTIMADE filter"):
        OptimadeSource(providers=["mp"], filter="SiO2")


def test_molecules_need_no_lattice() -> None:
    from ase.build import molecule

    from logan_campaign.results.optimade import structure_attributes
    from logan_campaign.sources.base import Collector
    from logan_campaign.sources.optimade import _add

    ethanol = molecule("CH3CH2OH")
    attributes = structure_attributes(ethanol, "C2H6O")
    assert attributes["lattice_vectors"] is None
    collector = Collector()
    entry = {"id": "one", "type": "structures", "attributes": attributes}
    _add(collector, entry, "http://127.0.0.1/optimade", 0, "molecule")
    assert [found.smiles for found in collector.finish("one entry").entries] == ["CCO"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"structure_features": ["assemblies"]}, "exclude one another"),
        ({"structure_features": ["site_attachments"]}, "attached"),
        ({"structure_features": ["implicit_atoms"]}, "no positions"),
        ({"structure_features": ["from_the_future"]}, "not understood"),
        ({"assemblies": [{"sites_in_groups": [[0], [1]]}]}, "exclude one another"),
        ({"species_at_sites": ["Zn", "Zn"]}, "no positions"),
        ({"cartesian_site_positions": [[0, 0, 0], [None] * 3]}, "unknown"),
        ({"nsites": 3}, "differ"),
        ({"species_at_sites": ["Zn", "O", "O"]}, "differ"),
    ],
)
def test_what_leaves_atoms_out_is_refused_though_the_features_may_not_say_so(
    change: dict, reason: str
) -> None:
    from logan_campaign.results.optimade import structure_attributes
    from logan_campaign.sources.base import Collector
    from logan_campaign.sources.optimade import _add

    attributes = structure_attributes(ZNO[0], "OZn")
    collector = Collector()
    for changed in ({}, change):
        entry = {"id": "one", "type": "structures", "attributes": attributes | changed}
        _add(collector, entry, "http://127.0.0.1/optimade", 0, "crystal")
    result = collector.finish("two entries")
    assert len(result.entries) == 1
    assert [reason in rejected.reason for rejected in result.rejected] == [True]


def pages(links: Callable[[int], object], n: int) -> Callable:
    """Answer each request with a page of so many entries that leads on to another."""
    count = 0

    def fault(_: str) -> tuple[int, dict[str, str], bytes]:
        nonlocal count
        count += 1
        entries = [{"id": f"{count}-{k}", "type": "structures", "attributes": {}} for k in range(n)]
        page = {
            "data": entries,
            "meta": {"more_data_available": True},
            "links": {"next": links(count)},
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(page).encode()

    return fault


@pytest.mark.parametrize("n_entries", [0, 1])
@pytest.mark.parametrize("circle", [True, False], ids=["in a circle", "without end"])
def test_pages_that_have_no_end_are_given_up(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, circle: bool, n_entries: int
) -> None:
    monkeypatch.setattr(module, "_MOST_PAGES", 20)
    there = f"{server.url}/v1/structures?page_offset="
    server.faults = [pages(lambda n: f"{there}{2 + n % 2 if circle else n}", n_entries)] * 1000
    with pytest.raises(SourceError, match="no end of pages"):
        source(server).load()
    assert len(server.requests) < 40


def test_a_page_far_too_large_is_not_read_to_its_end(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 2**21)
    server.faults = [lambda _: (200, {}, bytes(2**23))] * 40
    with pytest.raises(SourceError, match="a page of more than 2 MB"):
        source(server).load()


@pytest.mark.parametrize("place", ["http://169.254.169.254/v1", "http://localhost.evil.test/"])
def test_a_server_does_not_say_which_other_host_is_asked(server: LocalServer, place: str) -> None:
    server.faults = [status(302, Location=place)] * 40
    with pytest.raises(SourceError, match="sends on to another place"):
        source(server).load()
