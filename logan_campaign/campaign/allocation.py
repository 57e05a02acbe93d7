"""Which compositions and cell sizes the next round searches, decided from the rounds so far.

Pure functions of documents, so that a campaign that was killed decides again what it had decided.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import core_schema

from logan_campaign.campaign.stability import Hull, HullEntry, hull_of
from logan_campaign.campaign.target import Section
from logan_campaign.core.documents import RoundShare, RoundSummary
from logan_campaign.core.registry import SpecRegistry
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.selection.estimates import coverage, unseen

#: A cell is exhausted once less than this many of its structures are estimated to be unseen, and
#: this share of sightings to be of seen ones; after so many sightings.
_UNSEEN, _COVERED, _SIGHTINGS = 0.5, 0.9, 6


@dataclass(frozen=True)
class Progress:
    """A campaign so far, as policies see it.

    Attributes:
        formulas: Hill formula of each target: of a cell, with all of its formula units.
        history: the rounds so far.
        phases: elements and competing phases at the last level; empty for molecules.
        barren: rounds in a row without a discovery after which a target is exhausted; None: never
            for this reason.
        may_end: whether exhausted targets are passed over.
        only_brought: whether nothing is generated here, so that a target of which nothing is left
            that was brought is exhausted.
    """

    formulas: Sequence[str]
    history: Sequence[RoundSummary] = ()
    phases: Sequence[HullEntry] = ()
    barren: int | None = 2
    may_end: bool = True
    only_brought: bool = False

    @cached_property
    def shares(self) -> Mapping[int, list[RoundShare]]:
        """What each target got so far, by its index."""
        found: defaultdict[int, list[RoundShare]] = defaultdict(list)
        for past in self.history:
            for share in past.shares:
                found[share.target].append(share)
        return found

    @cached_property
    def last_round(self) -> Mapping[int, int]:
        """Index of the last round of each target that had one."""
        return {share.target: past.index for past in self.history for share in past.shares}

    @cached_property
    def reduced(self) -> list[str]:
        """Hill formula of one formula unit of each target."""
        return [reduced_formula(formula) for formula in self.formulas]

    def sightings(self, target: int) -> list[int]:
        """Return how often each structure was seen in rounds of a target."""
        counts: Counter[str] = Counter()
        for share in self.shares.get(target, ()):
            counts.update(share.sightings)
        return [n for n in counts.values() if n]

    def is_exhausted(self, target: int) -> bool:
        """Return whether nothing more is expected of a target."""
        shares = self.shares.get(target, ())
        if self.only_brought and shares and not shares[-1].n_generated:
            return True
        found = [share.n_found for share in shares]
        if self.barren is not None and len(found) >= self.barren and not any(found[-self.barren :]):
            return True
        counts = self.sightings(target)
        return (
            sum(counts) >= _SIGHTINGS and unseen(counts) < _UNSEEN and coverage(counts) >= _COVERED
        )

    @cached_property
    def left(self) -> list[int]:
        """Indices of the targets that are not exhausted."""
        every = range(len(self.formulas))
        return [t for t in every if not (self.may_end and self.is_exhausted(t))]

    @cached_property
    def visits(self) -> Counter[str]:
        """Number of rounds of each reduced formula, in cells of any size."""
        found: Counter[str] = Counter()
        for target, shares in self.shares.items():
            found[self.reduced[target]] += len(shares)
        return found

    @cached_property
    def energies(self) -> Mapping[str, list[float]]:
        """Energies (eV/atom) of the structures found, by reduced formula, lowest first."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for past in self.history:
            for one in past.found:
                if one.energy_per_atom_ev is not None:
                    found[reduced_formula(one.formula)].append(one.energy_per_atom_ev)
        return {name: sorted(values) for name, values in found.items()}

    @cached_property
    def hull(self) -> Hull | None:
        """Convex hull of everything computed; None without the elements."""
        entries = list(self.phases)
        for past in self.history:
            for one in past.found:
                if one.energy_per_atom_ev is not None:
                    n_atoms = sum(_counts(one.formula).values())
                    energy = one.energy_per_atom_ev * n_atoms
                    entries.append(HullEntry(one.candidate_id, one.formula, energy))
        elements = {symbol for name in self.reduced for symbol in _counts(name)}
        hull = hull_of(entries)
        known = {} if hull is None else {e.symbol for e in hull.diagram.elements}
        return hull if elements <= set(known) else None


class Policy(Section, ABC):
    """Settings of one rule; subclasses add a literal ``policy``.

    Plugins name theirs in the entry-point group ``logan_campaign.policies``.
    """

    policy: str = Field(description="Name of the rule")

    @abstractmethod
    def scores(self, progress: Progress) -> Sequence[float]:
        """Return a number for each target; the highest come next, ties in the order of targets.

        What is exhausted is passed over, whatever its number.
        """


class RoundRobin(Policy):
    """Each target in turn."""

    policy: Literal["round_robin"] = "round_robin"

    def scores(self, progress: Progress) -> Sequence[float]:
        """Return how long each has waited. See :meth:`Policy.scores`."""
        return [-progress.last_round.get(t, -1) for t in range(len(progress.formulas))]


class MostNew(Policy):
    """After one turn each, the target whose last round found most."""

    policy: Literal["most_new"] = "most_new"

    def scores(self, progress: Progress) -> Sequence[float]:
        """Return what each found last, infinity before. See :meth:`Policy.scores`."""
        rounds = len(progress.history) + 1
        return [
            # of equal ones, that which has waited longest
            progress.shares[t][-1].n_found - progress.last_round[t] / rounds
            if t in progress.last_round
            else math.inf
            for t in range(len(progress.formulas))
        ]


class WhereHullCanFall(Policy):
    """Where the convex hull can still fall most, and where little has been tried."""

    policy: Literal["hull"] = "hull"
    exploration: float = Field(
        0.1,
        ge=0,
        description="Weight of what has been tried less often, in units of the deepest energy of "
        "formation found",
    )

    def scores(self, progress: Progress) -> Sequence[float]:
        """Return the expected fall with its exploration term. See :meth:`Policy.scores`.

        p · (fall + exploration · √(ln(1 + N) / (1 + n))), in units of the deepest energy of
        formation: N rounds so far, n of this composition, and p the estimated share of sightings
        in this cell that would be new, (f₁ + 1) / (sightings + 1) with f₁ structures seen once.
        """
        falls, visits = _falls(progress), progress.visits
        total = math.log1p(sum(visits.values()))
        found = []
        for target, name in enumerate(progress.reduced):
            counts = progress.sightings(target)
            new = (counts.count(1) + 1) / (sum(counts) + 1)
            explored = self.exploration * math.sqrt(total / (1 + visits[name]))
            found.append(new * (falls[name] + explored))
        return found


POLICIES = SpecRegistry(
    "policy",
    "logan_campaign.policies",
    Policy,  # type: ignore[type-abstract]
    {
        name: f"{__name__}:{kind.__name__}"
        for name, kind in (
            ("hull", WhereHullCanFall),
            ("round_robin", RoundRobin),
            ("most_new", MostNew),
        )
    },
    key="policy",
)


def _named(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


class _OrName:
    """Adds the names to the JSON schema of a registry."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"enum": POLICIES.names, "type": "string"}, handler(schema)]}


#: A policy as it stands in a spec: its name, or its settings.
AnyPolicy = Annotated[Policy, POLICIES, BeforeValidator(_named), _OrName()]


def choose(progress: Progress, policy: Policy, n: int = 1) -> list[int]:
    """Return the indices of the targets of the next round, best first.

    One round searches a composition in cells of one size only: equal structures in cells of
    different sizes would be relaxed twice. Empty if all targets are exhausted.

    Args:
        progress: the campaign so far.
        policy: the rule.
        n: number of targets per round.
    """
    scores = policy.scores(progress)
    chosen: dict[str, int] = {}
    for target in sorted(progress.left, key=lambda t: (-scores[t], t)):
        chosen.setdefault(progress.reduced[target], target)
        if len(chosen) == n:
            break
    return list(chosen.values())


def _falls(progress: Progress) -> dict[str, float]:
    """Return how far the hull can fall at each composition.

    In units of the deepest energy of formation, at most 1. The phases on the hull are taken to be
    right: a new phase lies no lower than where one of them would leave the hull
    (:func:`lowest`). Where two structures were found, the next is expected to be as far below the
    lower one as this is below the other; with fewer, the limit is divided by 1 + the number of
    rounds spent.
    """
    hull = progress.hull
    names = dict.fromkeys(progress.reduced)
    if hull is None:
        return dict.fromkeys(names, 1.0)
    compounds = [e for e in hull.stable if len(_counts(e.formula)) > 1]
    scale = -min((hull.formation(e.formula, e.energy_ev) for e in compounds), default=-1.0)
    found = {}
    for name in names:
        here, energies = hull.energy_at(name), progress.energies.get(name, [])
        fall = min(1.0, (here - lowest(hull, name)) / scale)
        above = max(0.0, energies[0] - here) / scale if energies else 0.0
        if len(energies) > 1:
            fall = min(fall, (energies[1] - energies[0]) / scale)
        else:
            fall /= 1 + progress.visits[name]
        found[name] = max(0.0, fall - above)
    return found


def lowest(hull: Hull, formula: str) -> float:
    """Return the lowest energy (eV/atom) of a phase that leaves all others on the hull.

    A convex function through the energies of the phases on the hull is nowhere lower. Minus
    infinity where they set no limit, as where only the elements are known.

    Args:
        hull: hull of computed phases.
        formula: composition; a phase of this composition is not counted.
    """
    from scipy.optimize import linprog

    symbols = [element.symbol for element in hull.diagram.elements]

    def place(text: str) -> np.ndarray:
        counts = _counts(text)
        return np.array([counts.get(s, 0) for s in symbols]) / sum(counts.values())

    here = place(formula)
    phases = [e for e in hull.stable if not np.allclose(place(e.formula), here)]
    x = np.array([place(e.formula)[1:] for e in phases])
    y = np.array([hull.formation(e.formula, e.energy_ev) for e in phases])
    base = hull.formation(formula, 0.0)  # minus the energy of the elements
    bounds = []
    for k in (k for k, entry in enumerate(phases) if len(_counts(entry.formula)) > 1):
        # the lowest of the planes through phase k that lie below all phases
        others = np.arange(len(x)) != k
        plane = linprog(here[1:] - x[k], x[others] - x[k], y[others] - y[k], bounds=(None, None))
        if plane.status == 0:
            bounds.append(y[k] + plane.fun)
    return max(bounds, default=-math.inf) - base


def _counts(formula: str) -> Mapping[str, int]:
    from ase.formula import Formula

    return dict(Formula(formula).count())
