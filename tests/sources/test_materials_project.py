"""The Materials Project by its real client, against a server on loopback."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_servers import (
    LocalServer,
    MaterialsProjectServer,
    dropped,
    on,
    status,
    truncated_json,
)
from pydantic import ValidationError

from logan_campaign.core.documents import Manifest
from logan_campaign.core.errors import InputError
from logan_campaign.sources import MaterialsProjectSource, set_id
from logan_campaign.sources import materials_project as module
from logan_campaign.sources.changes import compare
from logan_campaign.sources.transfer import SourceError


def source(**query: object) -> MaterialsProjectSource:
    return MaterialsProjectSource.model_validate({"formulas": ["ZnO", "MgO"], **query})


def labels(**query: object) -> list[str]:
    return [entry.label for entry in source(**query).load().entries]


def test_what_the_entry_says_is_kept_with_its_structure(mp_server: MaterialsProjectServer) -> None:
    loaded = source().load()
    first = loaded.entries[0]
    assert [entry.label for entry in loaded.entries] == sorted(mp_server.documents)
    assert (first.label, first.formula, first.spacegroup) == ("mp-900001", "OZn", "F-43m")
    assert first.energy_ev == pytest.approx(2 * -7.9)
    assert first.properties == {
        "energy_above_hull_ev_per_atom": 0.0,
        "energy_per_atom_ev": -7.9,
        "spacegroup": "F-43m",
        "experimental": False,
        "licence": "CC BY 4.0",
    }
    assert loaded.origin.version == "made-up-2026.11"
    assert loaded.origin.licence == "CC BY 4.0"
    assert loaded.origin.address == mp_server.url + "/"


def test_every_condition_narrows_the_pull(mp_server: MaterialsProjectServer) -> None:
    every = sorted(mp_server.documents)
    mp_server.documents[every[0]]["nsites"] = 7
    assert labels() == every
    assert labels(formulas=["Zn2O2"]) == every[::2]  # reduced, as the server knows it
    assert labels(formulas=None, chemical_systems=["O-Mg"]) == every[1::2]
    assert labels(formulas=None, material_ids=every[1:3]) == every[1:3]
    assert labels(energy_above_hull=(0.004, 0.012)) == every[1:3]
    assert labels(n_atoms=(1, 6)) == every[1:]
    assert labels(experimental=True) == every[1::2]
    assert labels(experimental=False) == every[::2]


def test_a_query_without_conditions_or_with_odd_ones_is_refused() -> None:
    for query in (
        {"formulas": None},
        {"energy_above_hull": (0.1, 0.0)},
        {"material_ids": ["149"]},
        {"chemical_systems": ["Si-Xx"]},
        {"api_key": "x"},
        {"endpoint": "http://elsewhere"},
    ):
        with pytest.raises(ValidationError):
            source(**query)


def test_a_second_pull_fetches_only_what_changed_and_says_what_did(
    mp_server: MaterialsProjectServer, moved: Callable[[dict], None]
) -> None:
    first = source().load()
    n_first = len(mp_server.requests)
    again = source().load()
    assert again.records == first.records
    assert set_id(again.entries) == set_id(first.entries)
    assert not any("structure" in path for path in mp_server.requests[n_first:])

    names = sorted(mp_server.documents)
    moved(mp_server.documents[names[1]])
    mp_server.documents[names[2]]["energy_above_hull"] = 0.011
    del mp_server.documents[names[3]]
    new = copy.deepcopy(mp_server.documents[names[1]])
    moved(new)
    mp_server.documents["mp-900100"] = {**new, "material_id": "mp-900100"}
    mp_server.requests.clear()
    changes = compare(first.records, source().load().records)
    assert changes.added == ["mp-900100"]
    assert changes.removed == [names[3]]
    assert [(c.label, c.what) for c in changes.changed] == [
        (names[1], "structure"),
        (names[2], "properties"),
    ]
    (fetched,) = [path for path in mp_server.requests if "structure" in path]
    assert "mp-900100" in fetched
    assert names[0] not in fetched


def test_pages_follow_one_another(
    mp_server: MaterialsProjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    assert labels() == sorted(mp_server.documents)
    assert sum("structure" in path for path in mp_server.requests) == 3


def test_a_pull_that_broke_off_goes_on_where_it_stopped(
    mp_server: MaterialsProjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    third = sorted(mp_server.documents)[2]
    mp_server.faults = [on(third + ",", on("structure", dropped))] * 40
    with pytest.raises(SourceError, match="what was fetched until now is kept"):
        source().load()
    mp_server.faults.clear()
    mp_server.requests.clear()
    assert len(source().load().entries) == 5
    fetched = "".join(path for path in mp_server.requests if "structure" in path)
    assert third in fetched
    assert sorted(mp_server.documents)[0] not in fetched


@pytest.mark.parametrize("fault", [dropped, truncated_json, status(500), status(503)])
def test_a_passing_fault_is_waited_out(mp_server: MaterialsProjectServer, fault: Callable) -> None:
    mp_server.faults = [on("/materials/summary", fault)] * 2
    assert len(source().load().entries) == 5


def test_a_rate_limit_is_heeded(mp_server: MaterialsProjectServer) -> None:
    mp_server.faults = [on("/materials/summary", status(429, Retry_After="0"))] * 2
    assert len(source().load().entries) == 5


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(500), r"HTTP 500 \(tried 4 times\)"),
        (status(429, Retry_After="0"), r"too many requests \(HTTP 429\).*try again later"),
        (dropped, r"no connection to http://127"),
        (truncated_json, "no whole JSON document"),
        (lambda _: (200, {}, b'{"meta": {}}'), "lacks what it should hold"),
    ],
    ids=["500", "429", "dropped", "truncated", "no data"],
)
def test_a_lasting_fault_is_one_clear_line(
    mp_server: MaterialsProjectServer, fault: Callable, message: str
) -> None:
    mp_server.faults = [on("/materials/summary", fault)] * 40
    with pytest.raises(SourceError, match=message) as raised:
        source().load()
    assert "\n" not in str(raised.value)


def test_a_server_without_a_heartbeat_is_one_clear_line(mp_server: MaterialsProjectServer) -> None:
    mp_server.faults = [on("/heartbeat", status(500))] * 40
    with pytest.raises(SourceError, match="the Materials Project"):
        source().load()


def test_a_malformed_record_is_counted_and_the_rest_is_taken(
    mp_server: MaterialsProjectServer,
) -> None:
    names = sorted(mp_server.documents)
    mp_server.documents[names[0]]["structure"]["lattice"] = {"matrix": "lost"}
    mp_server.documents[names[1]]["structure"] = None
    mp_server.documents[names[2]]["structure"]["sites"][0]["species"][0]["element"] = "Qq"
    sites = mp_server.documents[names[3]]["structure"]["sites"]
    sites[1]["abc"] = sites[0]["abc"]
    sites[1]["xyz"] = sites[0]["xyz"]
    loaded = source().load()
    assert [entry.label for entry in loaded.entries] == names[4:]
    assert [(item.label, item.reason[:10]) for item in loaded.rejected] == [
        (names[0], "the record"),
        (names[1], "the record"),
        (names[2], "the record"),
        (names[3], loaded.rejected[3].reason[:10]),
    ]
    assert [record.state for record in loaded.records] == ["rejected"] * 4 + ["kept"]


@pytest.mark.parametrize("key", ["", "short", "x" * 32])
def test_a_missing_or_wrong_key_is_named_and_never_shown(
    mp_server: MaterialsProjectServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    from pymatgen.core import SETTINGS

    monkeypatch.setitem(SETTINGS, "PMG_MAPI_KEY", "")
    monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(InputError, match="MP_API_KEY") as raised:
        source().load()
    assert not key or key not in str(raised.value)


def test_the_key_stays_out_of_everything_that_is_kept(
    mp_server: MaterialsProjectServer, tmp_path: Path
) -> None:
    key = os.environ["MP_API_KEY"]
    loaded = source().load()
    text = repr(loaded) + source().model_dump_json()
    text += "".join(p.read_text() for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert key not in text
    assert all(seen.get("x-api-key") == key for seen in mp_server.headers_seen[-2:])


def test_a_damaged_cache_is_fetched_anew(mp_server: MaterialsProjectServer, tmp_path: Path) -> None:
    first = source().load()
    for path in (tmp_path / "cache").rglob("mp-*.json"):
        path.write_text(path.read_text()[:40])
    previous = Manifest(
        query_id=source().query_id,
        set_id=set_id(first.entries),
        pulled_at="",
        origin=first.origin,
        records=first.records,
    )
    assert source().load(previous=previous).records == first.records


def test_the_key_is_not_taken_along_to_another_host(mp_server: MaterialsProjectServer) -> None:
    with LocalServer() as other:
        place = other.url.replace("127.0.0.1", "localhost") + "/elsewhere"
        mp_server.faults = [on("summary", status(307, Location=place))] * 40
        with pytest.raises(SourceError, match="no connection"):
            source().load()
        assert other.requests == []


def test_an_id_of_a_server_becomes_no_path(
    mp_server: MaterialsProjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "a" / "b" / "c"
    monkeypatch.setenv("LOGAN_CAMPAIGN_CACHE", str(cache))
    one = copy.deepcopy(mp_server.documents["mp-900001"])
    for name in ("../../../../escaped", "/tmp/escaped", "mp-1/../../../x"):
        mp_server.documents[name] = {**one, "material_id": name}
    loaded = source().load()
    assert {"it has no material_id"} == {r.reason for r in loaded.rejected}
    outside = [p for p in tmp_path.rglob("*.json") if not p.is_relative_to(cache)]
    assert outside == []


def test_a_malformed_structure_is_not_kept(mp_server: MaterialsProjectServer) -> None:
    whole = mp_server.documents["mp-900001"]["structure"]
    mp_server.documents["mp-900001"]["structure"] = {"lattice": "none"}
    assert "mp-900001" not in labels()
    mp_server.documents["mp-900001"]["structure"] = whole
    assert "mp-900001" in labels()
