"""When sets are pulled anew, what a person is told, and that no secret stands in a spec."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logan_campaign.campaign.notices import NotifySpec, notices
from logan_campaign.campaign.rounds import EXHAUSTED, RefreshSpec
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.stability import HullEntry, hull_of
from logan_campaign.cli.extend import heed_rules
from logan_campaign.core.documents import RoundDoc
from logan_campaign.core.trust import VARIABLE, code_named_in, command_id
from logan_campaign.flows.notify import NotifyMaker

START = datetime(2026, 1, 1, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "name": "long",
    "target": {"kind": "crystal", "formula": "CuAu", "cell": "learned"},
    "models": {"count": 1, "hyperparameters": {"method": "random"}},
    "known": [{"type": "mp", "chemical_systems": ["Cu-Au"]}],
    "select": {"strategy": "diverse", "n_picks": 1},
    "relax": {
        "levels": [{"name": "emt", "calculator": "ase", "target": "ase.calculators.emt:EMT"}]
    },
    "rounds": {},
}


def at(days: float) -> str:
    return (START + timedelta(days=days)).isoformat()


def done(index: int, refreshed_at: str = "", **more: Any) -> RoundDoc:
    said = {
        "campaign_id": "camp-0", "index": index, "formula": "AuCu", "shares": [],
        "training_set_id": None, "model_ids": [], "n_generated": 4, "n_picked": 0, "states": {},
        "relaxations": {}, "n_last_level": 0, "cpu_s": 0.0, "started_at": at(10 * index),
        "finished_at": at(10 * index + 10), "found": [], "sightings": {}, "n_unseen": None,
        "coverage": None, "stop": {}, "decision": "continue", "reason": "", "structures": [],
        "refreshed_at": refreshed_at,
    }  # fmt: skip
    return RoundDoc.model_validate(said | more)


@given(st.integers(1, 5), st.integers(1, 20))
def test_sets_are_pulled_anew_before_every_nth_round(n: int, rounds: int) -> None:
    refresh, history, due = RefreshSpec(every_rounds=n), [], []
    fresh = False
    for index in range(rounds):
        history.append(done(index, at(10 * index) if fresh else ""))
        fresh = refresh.is_due(history, at(10 * index + 10))
        due += [index + 1] if fresh else []
    assert due == list(range(n, rounds + 1, n))


@pytest.mark.parametrize(
    ("every", "days", "due"),
    [("7 d", 7, True), ("7d", 6.9, False), ("2 w", 14, True), ("12 h", 0.4, False)],
)
def test_sets_are_pulled_anew_after_a_time(every: str, days: float, due: bool) -> None:
    refresh = RefreshSpec(every=every)
    assert refresh.is_due([done(0)], at(days)) == due
    # from the last refresh on, whatever was before
    assert refresh.is_due([done(0), done(1, at(100))], at(100 + days)) == due


def test_an_idle_campaign_waits_for_its_time_but_not_for_its_nth_round() -> None:
    one = {"candidate_id": "c", "label": "c", "formula": "AuCu", "state": "new", "known_id": None}
    found = [{**one, "energy_per_atom_ev": 0.0}]
    history = [done(0, found=found), done(1)]
    assert RefreshSpec(every_rounds=9).is_due(history, at(20), idle=True)
    assert not RefreshSpec(every_rounds=9).is_due(history, at(20))
    assert not RefreshSpec(every="7 d").is_due(history, at(6), idle=True)
    # nothing was found since the last refresh: it would go on for ever
    history.append(done(2, at(20)))
    assert not RefreshSpec(every_rounds=9).is_due(history, at(30), idle=True)
    history.append(done(3, found=found))
    assert RefreshSpec(every_rounds=9).is_due(history, at(40), idle=True)


@pytest.mark.parametrize(("days", "judged_again"), [(6, False), (8, True)])
def test_the_same_command_reopens_an_exhausted_campaign_once_a_refresh_is_due(
    days: float, judged_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = CampaignSpec.model_validate({**SPEC, "rounds": {"refresh": {"every": "7 d"}}})
    assert spec.rounds is not None
    stop, repeated = spec.rounds.stop.model_dump(mode="json"), []
    held = SimpleNamespace(stop=stop, spec_stop=stop)
    control = SimpleNamespace(read=lambda: held)
    monkeypatch.setattr("logan_campaign.stores.control.Control", lambda *_: control)
    monkeypatch.setattr("logan_campaign.flows.data.now", lambda: at(days))
    for reason in ("1 rounds done", EXHAUSTED):
        past = done(0, decision="stop", reason=reason, stop=stop)
        record = SimpleNamespace(id="camp-0", rounds=[past])
        database = SimpleNamespace(stores=None, campaigns=lambda record=record: [record])
        ledger = SimpleNamespace(flow_id="camp-0", repeat_last=repeated.append)
        heed_rules(ledger, database, spec)  # type: ignore[arg-type]
    assert repeated == ["next round"] * judged_again


@pytest.mark.parametrize("said", [{}, {"every_rounds": 2, "every": "7 d"}, {"every": "monthly"}])
def test_a_refresh_says_when(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="every"):
        RefreshSpec.model_validate(said)


def test_only_new_structures_within_the_window_of_the_hull_are_told() -> None:
    entries = [HullEntry("a", "Cu", 0.0), HullEntry("b", "Au", 0.0), HullEntry("c", "AuCu", -0.2)]
    found = [
        {
            "candidate_id": f"cand-{k}", "state": state, "known_id": None, "formula": "AuCu",
            "label": "P4/mmm", "energy_per_atom_ev": energy,
        }
        for k, (state, energy) in enumerate(
            [("new", -0.1), ("new", -0.06), ("new", 0.4), ("rediscovered", -0.1), ("new", None)]
        )
    ]  # fmt: skip
    told = notices(done(3, found=found), hull_of(entries), 0.05)
    assert [notice.text.split("(")[1].split(")")[0] for notice in told] == ["cand-0", "cand-1"]
    assert told[1].text.endswith("40.0 meV/atom above the hull")
    # without a hull, everything new
    assert len(notices(done(3, found=found), None, 0.05)) == 4


def test_the_end_and_what_needs_a_person_are_told() -> None:
    last = done(2, decision="stop", reason="5 rounds done", problem="nothing was picked")
    told = [(notice.event, notice.text) for notice in notices(last, None, 0.0, None, ["no answer"])]
    assert told == [
        ("attention", "nothing was picked"),
        ("attention", "no answer"),
        ("stopped", "stopped after round 2: 5 rounds done"),
    ]
    assert notices(done(0), None, 0.0) == []


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"webhook_env": "https://hooks.example.org/T0/secret"},
        {"command": ["curl", "https://me:secret@example.org"]},
        {"command": ["tell", "--token=abcdef"]},
    ],
)
def test_no_secret_stands_in_a_spec(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"secret|webhook_env"):
        NotifySpec.model_validate(said)


def told_by(how: NotifySpec) -> dict[str, str]:
    maker = NotifyMaker(how=how, campaign="long", round=1)
    found = NotifyMaker.make.original(maker, "camp-0", done(1, problem="odd"), [done(0)], [])
    sent: dict[str, str] = found.sent
    return sent


def test_a_message_that_does_not_arrive_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    failing = NotifySpec(command=[sys.executable, "-c", "exit(3)"], webhook_env="HOOK")
    sent = told_by(failing)
    assert sent["command"].endswith("ended with exit code 3")
    assert sent["webhook"] == "the environment variable HOOK is not set"
    monkeypatch.setenv("HOOK", "file:///etc/passwd")
    assert told_by(failing)["webhook"] == "the environment variable HOOK is no http(s) URL"
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/very-private")
    assert "private" not in told_by(failing)["webhook"]
    assert "ConnectionError" in told_by(failing)["webhook"]
    assert "No such file" in told_by(NotifySpec(command=["no-such-program"]))["command"]


def test_only_the_command_of_a_spec_that_was_given_is_run_by_stored_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, other = ["true"], ["true", "--other"]
    spec = CampaignSpec.model_validate({**SPEC, "notify": {"command": mine}})
    named = code_named_in(spec.model_dump(mode="json"))
    assert command_id(mine) in named
    monkeypatch.setenv(VARIABLE, ",".join(named))
    assert told_by(NotifySpec(command=mine)) == {"command": ""}
    assert f"give --trust {command_id(other)}" in told_by(NotifySpec(command=other))["command"]
    assert os.environ[VARIABLE]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"known": [], "rounds": {"refresh": {"every_rounds": 2}}}, "neither a training set nor"),
        ({"rounds": None, "notify": {"command": ["true"]}}, "add a section 'rounds'"),
    ],
)
def test_what_has_nothing_to_refresh_or_to_tell_is_refused(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        CampaignSpec.model_validate(SPEC | change)


def test_a_round_without_anything_to_tell_sends_nothing_and_a_lost_one_needs_a_person() -> None:
    maker = NotifyMaker(how=NotifySpec(command=["no-such-program"]), campaign="long", round=1)
    quiet = NotifyMaker.make.original(maker, "camp-0", done(1), [done(0)], [])
    assert (quiet.notices, quiet.sent) == ([], {})
    lost = NotifyMaker.make.original(maker, "camp-0", None, [done(0)], [])
    assert [notice.event for notice in lost.notices] == ["attention"]
    assert lost.sent["command"]
