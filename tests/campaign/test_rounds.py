"""Rounds: estimates of what remains unseen, rules that stop, and whose turn it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from logan_campaign.campaign.rounds import RoundsSpec, StopSpec, sightings, stop_reason
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core.documents import FoundStructure, RoundSummary
from logan_campaign.core.errors import InputError
from logan_campaign.selection.estimates import coverage, unseen

NEVER = StopSpec(rounds=1000, barren_rounds=None)


def past(index: int, found: int = 0, **changes: Any) -> RoundSummary:
    """A round that found so many structures, of which the first is a known target."""
    structures = [
        FoundStructure(
            candidate_id=f"cand-{index}-{i}",
            state="new" if i else "rediscovered",
            known_id=None if i else f"struct-{index}",
            formula="C5H12O",
            label="CCCCCO",
            energy_per_atom_ev=-1.0,
        )
        for i in range(found)
    ]
    values: dict[str, Any] = {
        "index": index,
        "formula": "C5H12O",
        "shares": [],
        "training_set_id": "set-0",
        "model_ids": [],
        "n_generated": 100,
        "n_picked": 10,
        "states": {},
        "relaxations": {"xtb": 10},
        "n_last_level": 10,
        "cpu_s": 1800.0,
        "started_at": f"2026-01-01T{index:02d}:00:00+00:00",
        "finished_at": f"2026-01-01T{index + 1:02d}:00:00+00:00",
        "found": structures,
        "sightings": {s.candidate_id: 1 for s in structures},
        "n_unseen": None,
        "coverage": None,
        "stop": {},
        "decision": "continue",
        "reason": "",
    }
    return RoundSummary.model_validate({**values, **changes})


class TestEstimates:
    def test_where_nothing_was_seen_just_once_nothing_is_missing(self) -> None:
        assert unseen([2, 3, 7]) == 0
        assert coverage([2, 3, 7]) == 1

    def test_chao1_has_its_published_form(self) -> None:
        # f1 (f1 - 1) / (2 (f2 + 1))
        assert unseen([1] * 10 + [2] * 4 + [5]) == 10 * 9 / (2 * 5)

    def test_chao1_is_near_the_truth_for_equally_likely_kinds(self) -> None:
        rng = np.random.default_rng(0)
        estimates = []
        for _ in range(300):
            counts = np.bincount(rng.integers(0, 40, size=80), minlength=40)
            estimates.append(np.count_nonzero(counts) + unseen(counts))
        assert np.mean(estimates) == pytest.approx(40, abs=1.0)

    def test_coverage_is_the_chance_that_the_next_one_has_been_seen(self) -> None:
        rng = np.random.default_rng(1)
        weights = rng.dirichlet(np.ones(30))
        errors = []
        for _ in range(300):
            counts = rng.multinomial(60, weights)
            errors.append(coverage(counts) - weights[counts > 0].sum())
        assert np.mean(errors) == pytest.approx(0, abs=0.01)

    def test_nothing_seen_covers_nothing(self) -> None:
        assert coverage([]) == 0
        assert unseen([]) == 0

    def test_sightings_add_up_over_rounds(self) -> None:
        first, second = past(0, sightings={"a": 2, "b": 1}), past(1, sightings={"b": 4})
        assert sightings([first, second]) == {"a": 2, "b": 5}


class TestStopping:
    @pytest.mark.parametrize(
        ("rule", "reason"),
        [
            ({"rounds": 3}, "3 rounds done"),
            ({"relaxations": 30}, "30 relaxations at the last level done"),
            ({"cpu_hours": 1.5}, "1.50 CPU hours used"),
            ({"wall_hours": 3.0}, "3.00 hours passed"),
            ({"all_targets": True}, "all 3 known entries found"),
            ({"unseen": 1.0}, "about 0.8 structures remain unseen"),
            ({"coverage": 0.7}, "79% of sightings fall on what has been seen"),
        ],
    )
    def test_each_rule_stops_when_it_holds_and_not_before(
        self, rule: dict[str, Any], reason: str
    ) -> None:
        stop = NEVER.model_copy(update=rule)
        history = [
            past(0, 1, sightings={"a": 1, "b": 1, "c": 1}),
            past(1, 1, sightings={"d": 2, "e": 5}),
            past(2, 1, sightings={"f": 1, "b": 1, "g": 2}),
        ]
        history[2].sightings["c"] = 0
        targets = ["struct-0", "struct-1", "struct-2"]
        assert stop_reason(history[:1], stop, targets) == ""
        assert stop_reason(history, stop, targets) == reason
        assert stop_reason(history, NEVER, targets) == ""

    def test_barren_rounds_count_from_the_last_find(self) -> None:
        stop = NEVER.model_copy(update={"barren_rounds": 2})
        history = [past(0), past(1, 2), past(2)]
        assert stop_reason(history, stop, []) == ""
        assert stop_reason([*history, past(3)], stop, []) == "2 rounds in a row found nothing"

    def test_without_known_targets_none_can_all_be_found(self) -> None:
        assert stop_reason([past(0, 3)], NEVER.model_copy(update={"all_targets": True}), []) == ""

    def test_what_an_index_or_another_campaign_knows_is_no_target(self) -> None:
        stop = NEVER.model_copy(update={"all_targets": True})
        history = [past(0, 1), past(1, 1)]  # of which struct-0 stands in an index
        assert stop_reason(history, stop, ["struct-1", "struct-9"]) == ""
        assert stop_reason(history, stop, ["struct-1"]) == "all 1 known entries found"

    def test_a_round_that_generated_nothing_is_the_last(self) -> None:
        empty = past(0, n_generated=0, problem="nothing was picked")
        assert stop_reason([empty], NEVER, []) == "nothing was generated: nothing was picked"
        # of a system, others may do better
        assert stop_reason([past(0), past(1, n_generated=0)], NEVER, [], system=True) == ""
        assert stop_reason([empty, empty], NEVER, [], system=True)


class TestSpec:
    BASE: dict[str, Any] = {  # noqa: RUF012 - never changed
        "name": "s",
        "target": {"formula": "C4H10O", "kind": "molecule"},
        "training": {"source": {"type": "smiles", "smiles": ["CCO"]}},
        "select": {"strategy": "kmeans", "n_picks": 2},
        "relax": {"levels": [{"name": "xtb", "calculator": "gfn2-xtb"}]},
    }

    def test_when_to_stop_is_no_part_of_what_a_campaign_is(self) -> None:
        one = CampaignSpec.model_validate({**self.BASE, "rounds": {}})
        longer = CampaignSpec.model_validate({**self.BASE, "rounds": {"stop": {"rounds": 99}}})
        other = CampaignSpec.model_validate({**self.BASE, "rounds": {"models": "continue"}})
        assert one.id == longer.id
        assert one.id != other.id
        assert CampaignSpec.model_validate(self.BASE).id not in (one.id, other.id)

    def test_steps_of_models_that_do_not_go_on_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="models: continue"):
            RoundsSpec(steps=100)

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ({"formula": "C4H10S", "kind": "molecule"}, "has S, which the first target"),
            (
                {
                    "formula": "C6O6",
                    "kind": "crystal",
                    "cell": [[6.0, 0, 0], [0, 6.0, 0], [0, 0, 6.0]],
                },
                "one campaign looks for one kind",
            ),
        ],
    )
    def test_targets_that_one_training_set_cannot_serve_are_refused(
        self, target: dict[str, Any], message: str, tmp_path: Any
    ) -> None:
        spec = CampaignSpec.model_validate({**self.BASE, "rounds": {"targets": [target]}})
        with pytest.raises(InputError, match=message):
            spec.check(tmp_path)
