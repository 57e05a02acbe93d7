"""Which compositions and cells come next: where the hull can fall, by turns, never in vain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.core import Composition

from logan_campaign.campaign.allocation import (
    POLICIES,
    MostNew,
    Policy,
    Progress,
    RoundRobin,
    WhereHullCanFall,
    choose,
    lowest,
)
from logan_campaign.campaign.rounds import RoundsSpec
from logan_campaign.campaign.stability import HullEntry, hull_of
from logan_campaign.core.documents import FoundStructure, RoundShare, RoundSummary

ELEMENTS = [HullEntry("a", "Cu", -3.5), HullEntry("b", "Au", -3.8)]
CELLS = ["AuCu", "Au2Cu", "AuCu2", "Au3Cu", "Au2Cu2", "AuCu3"]


def hull_with(**energies: float) -> Any:
    """The hull of the elements and of compounds with these energies of formation (eV/atom)."""
    entries = list(ELEMENTS)
    for formula, formation in energies.items():
        apart = {"AuCu": -3.65, "Au2Cu2": -3.65, "Au3Cu": -3.725, "AuCu3": -3.575}[formula]
        n_atoms = {"AuCu": 2}.get(formula, 4)
        entries.append(HullEntry(formula, formula, n_atoms * (apart + formation)))
    return hull_of(entries)


def searched(*rounds: tuple[int, dict[str, int], Sequence[float]]) -> list[RoundSummary]:
    """Rounds of one target each: its index, sightings, and energies of what was found (eV/atom)."""
    history = []
    for index, (target, sightings, energies) in enumerate(rounds):
        found = [
            FoundStructure.model_construct(
                candidate_id=f"cand-{index}-{k}", formula=CELLS[target], energy_per_atom_ev=energy
            )
            for k, energy in enumerate(energies)
        ]
        share = RoundShare(
            target=target,
            formula=CELLS[target],
            n_generated=9,
            n_last_level=3,
            n_found=len(found),
            sightings=sightings,
        )
        history.append(RoundSummary.model_construct(index=index, shares=[share], found=found))
    return history


class TestLimitOfTheHull:
    def test_elements_alone_set_no_limit(self) -> None:
        assert lowest(hull_of(ELEMENTS), "AuCu") == -math.inf

    def test_a_compound_limits_its_neighbours_and_not_itself(self) -> None:
        hull = hull_with(AuCu=-0.1)
        assert lowest(hull, "AuCu") == -math.inf
        # on the line from the other element through the compound
        assert lowest(hull, "AuCu3") == pytest.approx(-3.575 - 0.15)
        assert lowest(hull, "Au3Cu") == pytest.approx(-3.725 - 0.15)

    def test_more_phases_leave_less_room(self) -> None:
        rough, fine = hull_with(AuCu=-0.1), hull_with(AuCu=-0.1, AuCu3=-0.08)
        assert fine.energy_at("AuCu2") - lowest(fine, "AuCu2") < (
            rough.energy_at("AuCu2") - lowest(rough, "AuCu2")
        )

    def test_no_lower_phase_leaves_all_on_the_hull(self) -> None:
        rng = np.random.default_rng(3)
        elements = [HullEntry(s, s, 0.0) for s in ("Al", "Ni", "Pd")]
        for _ in range(20):
            formulas = [
                "".join(f"{s}{n}" for s, n in zip(("Al", "Ni", "Pd"), row, strict=True))
                for row in rng.integers(1, 5, size=(4, 3))
            ]
            made = {f: HullEntry(f, f, float(-rng.random())) for f in formulas[:3]}
            hull, here = hull_of([*elements, *made.values()]), formulas[3]
            limit = lowest(hull, here)
            own = Composition(here).reduced_formula
            stable = {e.id for e in hull.stable if Composition(e.formula).reduced_formula != own}
            if math.isinf(limit):
                continue
            n_atoms = Composition(here).num_atoms
            for change, stay in ((1e-4, True), (-1e-4, False)):
                entry = HullEntry("x", here, (limit + change) * n_atoms)
                left = {e.id for e in hull_of([*hull.entries, entry]).stable}
                assert (stable <= left) is stay


class TestHullRule:
    def chosen(self, *rounds: Any, n: int = 1, **settings: Any) -> list[str]:
        progress = Progress(CELLS, searched(*rounds), ELEMENTS)
        return [CELLS[t] for t in choose(progress, WhereHullCanFall(**settings), n)]

    def test_the_smallest_cells_come_first(self) -> None:
        assert self.chosen(n=3) == ["AuCu", "Au2Cu", "AuCu2"]

    def test_a_composition_comes_in_one_size_at_a_time(self) -> None:
        assert sorted(self.chosen(n=9)) == ["Au2Cu", "Au3Cu", "AuCu", "AuCu2", "AuCu3"]

    def test_where_there_is_most_room_below_the_hull(self) -> None:
        # at AuCu the lowest structure is well below the next: nothing more is to be had there
        first = (0, {"cand-0-0": 3, "cand-0-1": 1}, [-3.75, -3.749])
        chosen = self.chosen(first, n=4)
        assert set(chosen[:2]) == {"Au3Cu", "AuCu3"}
        assert set(chosen[2:]) == {"Au2Cu", "AuCu2"}

    def test_structures_far_above_the_hull_lower_a_composition(self) -> None:
        deep = (0, {"cand-0-0": 4}, [-3.75])
        poor = (3, {"cand-1-0": 4}, [-3.6])
        assert self.chosen(deep, poor, exploration=0.0)[0] == "AuCu3"

    def test_exploration_returns_to_what_was_tried_least(self) -> None:
        rounds = [(t, {f"cand-{t}-0": 1, f"cand-{t}-1": 1}, [-3.7, -3.7]) for t in (0, 0, 1, 2, 3)]
        rounds.append((5, {"cand-5-0": 1, "cand-5-1": 1}, [-3.7, -3.7]))
        assert self.chosen(*rounds, exploration=10.0)[0] not in ("AuCu", "Au2Cu2")

    def test_it_decides_the_same_from_stored_documents(self) -> None:
        history = searched((0, {"cand-0-0": 3}, [-3.75]), (5, {"cand-1-0": 2}, [-3.64]))
        again = [RoundSummary.model_construct(**dict(past)) for past in history]
        rule = WhereHullCanFall()
        assert choose(Progress(CELLS, history, ELEMENTS), rule, 3) == choose(
            Progress(CELLS, again, list(reversed(ELEMENTS))), rule, 3
        )

    def test_without_elements_it_explores(self) -> None:
        progress = Progress(CELLS, searched((0, {"cand-0-0": 3}, [-3.75])))
        assert choose(progress, WhereHullCanFall()) == [1]


class Favourite(Policy):
    """Always the same."""

    policy: str = "favourite"

    def scores(self, progress: Progress) -> list[float]:
        """Return 1 for the first target."""
        return [1.0, *[0.0] * (len(progress.formulas) - 1)]


class TestExhaustion:
    ENOUGH = (0, {"cand-0-0": 9}, [-3.75])
    BARREN = (0, dict[str, int](), ())

    @pytest.mark.parametrize("rule", [Favourite(), RoundRobin(), MostNew(), WhereHullCanFall()])
    def test_no_rule_gets_what_is_exhausted(self, rule: Policy) -> None:
        done = Progress(CELLS[:2], searched(self.ENOUGH, (1, {"cand-1-0": 9}, [-3.7])), ELEMENTS)
        assert done.left == []
        assert choose(done, rule) == []

    def test_what_was_seen_once_may_have_more_like_it(self) -> None:
        once = {f"cand-0-{k}": 1 for k in range(8)}
        assert 0 in Progress(CELLS, searched((0, once, [-3.7]))).left
        assert 0 not in Progress(CELLS, searched(self.ENOUGH)).left

    def test_barren_rounds_end_a_composition_alone(self) -> None:
        history = searched(self.BARREN, self.BARREN)
        assert 0 in Progress(CELLS, history[:1]).left
        assert Progress(CELLS, history).left == [1, 2, 3, 4, 5]
        assert 0 in Progress(CELLS, history, barren=None).left

    def test_targets_named_by_hand_are_never_passed_over(self) -> None:
        done = Progress(CELLS[:1], searched(self.ENOUGH), may_end=False)
        assert choose(done, RoundRobin()) == [0]


class TestTurns:
    def turns(self, rule: Policy, n: int) -> list[int]:
        done: list[tuple[int, dict[str, int], Sequence[float]]] = []
        for _ in range(n):
            [place] = choose(Progress(CELLS[:3], searched(*done), may_end=False), rule)
            done.append((place, {}, ()))
        return [place for place, *_ in done]

    def test_by_turns(self) -> None:
        assert self.turns(RoundRobin(), 7) == [0, 1, 2, 0, 1, 2, 0]

    def test_where_most_was_found_last_once_each_had_its_turn(self) -> None:
        def chosen(*found: tuple[int, int]) -> int:
            history = searched(*((t, {}, [-3.0] * n) for t, n in found))
            return choose(Progress(CELLS[:3], history, may_end=False), MostNew())[0]

        history = [(0, 1), (1, 4)]
        assert chosen(*history) == 2
        assert chosen(*history, (2, 0)) == 1
        assert chosen(*history, (2, 0), (1, 0)) == 0
        # equal: the one that waits longest
        assert chosen(*history, (2, 0), (1, 0), (0, 0)) == 2


class TestSpec:
    def test_a_rule_is_a_name_or_a_mapping(self) -> None:
        named = RoundsSpec.model_validate({"policy": "hull"}).policy
        assert named == RoundsSpec.model_validate({"policy": {"policy": "hull"}}).policy
        eager = RoundsSpec.model_validate({"policy": {"policy": "hull", "exploration": 1.0}})
        assert eager.policy != named

    def test_an_unknown_rule_is_refused_with_all_names(self) -> None:
        with pytest.raises(ValidationError, match="hull or round_robin or most_new"):
            RoundsSpec.model_validate({"policy": "huls"})

    def test_every_rule_is_registered_under_its_name(self) -> None:
        assert {kind().policy for kind in POLICIES.loaded().values()} >= {
            "hull",
            "round_robin",
            "most_new",
        }
