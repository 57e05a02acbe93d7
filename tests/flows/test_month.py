"""A month of a campaign whose source changes: refreshed, judged again, and told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from jobflow import JobStore, run_locally
from local_servers import (
    LOCAL_KEY,
    Answer,
    MaterialsProjectServer,
    remembered_fields,
    summary_documents,
)
from mp_api.client.routes.materials.summary import SummaryRester
from test_without_training import SPEC
from typer.testing import CliRunner

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.app import app, load_commands
from logan_campaign.core.documents import RoundDoc
from logan_campaign.flows import CampaignMaker
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.results import Results
from logan_campaign.sources import transfer
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

START = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """Two days pass between two looks at it."""

    def __init__(self) -> None:
        self.days = 0

    def now(self) -> str:
        self.days += 2
        return (START + timedelta(days=self.days)).isoformat()


class Published(MaterialsProjectServer):
    """From the tenth day on, it holds what the campaign has found first; later it fails."""

    def __init__(self, clock: Clock) -> None:
        other = bulk("Cu", "fcc", a=3.9, cubic=True)
        other.symbols[:1] = "Au"
        super().__init__(summary_documents([other]))
        self.clock = clock
        self.jobs: JobStore

    def publish(self, number: int) -> None:
        """Add the new structure of a round as an entry."""
        docs = self.jobs.query({"output.doc_type": "round"}, load=True)
        found = sorted((RoundDoc.model_validate(d["output"]) for d in docs), key=lambda r: r.index)
        atoms = to_atoms(found[number].structures[0].structure)
        [entry] = summary_documents([atoms], first_id=900100 + number)
        self.documents[f"mp-{900100 + number}"] = entry

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if self.clock.days > 10 and len(self.documents) == 1:
            self.publish(0)
        if 20 < self.clock.days < 40:
            return 500, {}, b"out of order"
        return super().answer(path, query, headers)


class Hook:
    """A chat service; the first message that it gets is refused."""

    def __init__(self) -> None:
        outer = self
        self.told: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.told.append(json.loads(body))
                self.send_response(200 if len(outer.told) > 1 else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/T0/very-private"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    def lengths(positions: np.ndarray, cells: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        return np.linalg.norm(cells, axis=2) + positions.std(axis=1)

    for name in ("base", "chart"):  # descriptors take long to compile
        module = import_module(f"logan_campaign.selection.{name}")
        monkeypatch.setattr(module, "structure_descriptors", lengths)
    clock = Clock()
    for name in ("rounds", "refresh", "campaign", "data"):
        monkeypatch.setattr(import_module(f"logan_campaign.flows.{name}"), "now", clock.now)
    monkeypatch.chdir(tmp_path)
    return clock


@pytest.fixture
def server(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setenv("LOGAN_CAMPAIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "BACKOFF_S", ())
    monkeypatch.setattr(SummaryRester, "available_fields", remembered_fields())
    monkeypatch.setenv("MP_API_KEY", LOCAL_KEY)
    with Published(clock) as running:
        monkeypatch.setenv("MP_API_ENDPOINT", running.url + "/")
        yield running


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    found = Hook()
    monkeypatch.setenv("CHAT", found.url)
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_month_of_a_campaign_whose_source_grows_and_fails(
    clock: Clock, server: Published, hook: Hook, tmp_path: Path
) -> None:
    script = "import sys; open('told.jsonl', 'a').write(sys.stdin.read() + '\\n')"
    rounds = {"stop": {"rounds": 5, "barren_rounds": None}, "refresh": {"every": "7 d"}}
    said: dict[str, Any] = {
        **SPEC,
        "known": [{"type": "mp", "chemical_systems": ["Cu-Au"]}],
        "models": {"count": 1, "hyperparameters": {"method": "random", "tries": 2}},
        "generate": {"per_model": 3},
        "select": {**SPEC["select"], "n_picks": 1},
        "relax": {**SPEC["relax"], "hull": {"window_ev_per_atom": 5.0}},
        "rounds": rounds,
        "notify": {"command": [sys.executable, "-c", script], "webhook_env": "CHAT"},
    }
    maker = CampaignMaker(spec=CampaignSpec.model_validate(said))
    plain = CampaignSpec.model_validate({k: v for k, v in said.items() if k != "notify"})
    assert plain.id == maker.spec.id
    with open_store(tmp_path / "store", create=True) as stores:
        jobs = server.jobs = JobStore(stores.docs, {"data": stores.data})
        run_locally(maker.make(), store=jobs, raise_immediately=True, log=False)
        docs = list(stores.docs.query({}))
        CampaignBuilder.from_stores(stores).build()
    assert hook.url not in json.dumps(docs, default=str)
    with Results.open(tmp_path / "store") as results:
        campaign = results.campaign()
        record = campaign.record
        assert len(record.rounds) == 5
        refreshed = [past.index for past in record.rounds if past.refreshed_at]
        assert 28 <= clock.days <= 50
        assert 2 <= len(refreshed) < len(record.rounds)
        assert len(record.known_set_ids) == 2  # a known set per state of the source
        first = results.candidate(record.rounds[0].found[0].candidate_id)
        assert (first.state, first.match_label) == ("rediscovered", "mp-900100")
        assert [one.state for one in first.history] == ["new", "rediscovered"]
        assert first.history[0].known_set_ids != first.history[1].known_set_ids
        assert START.isoformat() < first.history[1].at < clock.now()
        last = results.candidate(record.rounds[-1].found[0].candidate_id)
        assert (last.state, last.history) == ("new", [])
        told = [(notice.event, notice.text) for n in record.notifications for notice in n.notices]
        events = [event for event, _ in told]
        assert {"new", "known", "attention"} <= set(events)
        assert told[-1] == ("stopped", "stopped after round 4: 5 rounds done")
        assert events.count("known") == 1
        assert f"{first.id}, called new, equals mp-900100" in [text for _, text in told]
        assert any("was not pulled anew" in text for event, text in told if event == "attention")
        assert all("above the hull" in text for event, text in told if event == "new")
        sent = [n.sent for n in record.notifications]
        assert [one["command"] for one in sent] == [""] * len(sent)
        # the first message was refused
        refused = "CHAT: the server answers 503"
        assert sorted(one["webhook"] for one in sent) == [""] * (len(sent) - 1) + [refused]
    lines = [json.loads(line) for line in Path("told.jsonl").read_text().splitlines()]
    assert lines == hook.told
    lines.sort(key=lambda line: int(line["round"]))
    assert [event["event"] for line in lines for event in line["events"]] == events

    # months after its end, another of its structures is published
    with open_store(tmp_path / "store") as stores:
        server.jobs = JobStore(stores.docs, {"data": stores.data})
        server.publish(4)
    clock.days = 100
    load_commands()
    ask = ["rejudge", "chance", "--store", str(tmp_path / "store")]
    done = CliRunner().invoke(app, ask)
    assert done.exit_code == 0, done.output
    assert f"{last.id} equals mp-900104" in done.output
    with Results.open(tmp_path / "store") as results:
        assert [one.state for one in results.candidate(last.id).history] == ["new", "rediscovered"]
        assert results.candidate(first.id).state == "rediscovered"
        material = results.database.material(str(results.candidate(last.id).material_id))
        assert (material.state, material.known_label) == ("rediscovered", "mp-900104")
    assert "nothing to judge again" in CliRunner().invoke(app, ask).output
    clock.days = 30  # the source fails
    failed = CliRunner().invoke(app, ask)
    assert failed.exit_code != 0
    with Results.open(tmp_path / "store") as results:
        assert results.candidate(last.id).state == "rediscovered"


def test_a_file_that_is_pulled_anew_may_change_and_the_campaign_stays_the_same(
    tmp_path: Path,
) -> None:
    known = bulk("Cu", "fcc", a=3.9, cubic=True)
    known.symbols[:2] = "Au"
    said = {**SPEC, "known": [{"type": "files", "path": "known.extxyz"}]}
    rounds = {**SPEC["rounds"], "refresh": {"every_rounds": 1}}

    def ids() -> list[str]:
        return [
            CampaignMaker(spec=CampaignSpec.model_validate(each), base=str(tmp_path)).campaign_id
            for each in (said, {**said, "rounds": rounds})
        ]

    write(tmp_path / "known.extxyz", known)
    plain, refreshed = ids()
    write(tmp_path / "known.extxyz", [known, bulk("Cu")])
    assert ids()[0] != plain
    assert ids()[1] == refreshed
