"""What candidates and materials can be chosen by, and in which orders they come.

The names and values that people give become criteria here and nowhere else: a value is
compared with, never taken for an operator of the database.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast, get_args

from maggma.core.store import Sort

from logan_campaign.core.documents import CandidateState
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.structures import hill_formula

Criteria = dict[str, Any]
Order = dict[str, Sort | int]

#: Orders of candidates: as picked; lowest energy above the minimum, or above the hull,
#: first; or best first: those that reached the last level, lowest energy first. Those
#: without the energy come last.
CandidateOrder = Literal["order", "energy", "energy_above_hull", "best"]

MaterialState = Literal["new", "rediscovered"]


class CandidateFilters(TypedDict, total=False):
    """What candidates can be chosen by; all that is given must hold, None is not given.

    Energies above the minimum of the campaign are in eV, above the hull in eV/atom.
    ``formula`` may be written in any order of the elements; ``smiles`` is any SMILES of the
    molecule. All others are compared as they stand in the record.
    """

    campaign: str | None
    state: CandidateState | Sequence[CandidateState] | None
    formula: str | None
    smiles: str | None
    spacegroup: str | None
    level: str | None
    model: str | None
    training_set: str | None
    strategy: str | None
    round: int | None
    material: str | None
    match: str | None
    energy_above_min_lt: float | None
    energy_above_min_lte: float | None
    energy_above_min_gte: float | None
    energy_above_hull_lt: float | None
    energy_above_hull_lte: float | None
    energy_above_hull_gte: float | None


class MaterialFilters(TypedDict, total=False):
    """What materials can be chosen by; as for candidates."""

    campaign: str | None
    state: MaterialState | None
    formula: str | None
    smiles: str | None
    spacegroup: str | None
    known: str | None
    candidate: str | None


_CANDIDATE_FIELDS = {
    "campaign": "campaign_id",
    "formula": "formula",
    "smiles": "smiles",
    "spacegroup": "spacegroup",
    "level": "level",
    "model": "model_id",
    "training_set": "training_set_id",
    "strategy": "strategy",
    "material": "material_id",
    "match": "match",
}
_MATERIAL_FIELDS = {
    "campaign": "campaign_ids",
    "formula": "formula",
    "smiles": "smiles",
    "spacegroup": "spacegroup",
    "known": "known_id",
    "candidate": "candidate_ids",
}
_WINDOWS = {
    "energy_above_min": "energy_above_min_ev",
    "energy_above_hull": "energy_above_hull_ev_per_atom",
}
#: Below all energies: 'is a number' in a form that every index can answer.
_LOWEST = -sys.float_info.max


def candidate_criteria(filters: CandidateFilters) -> Criteria:
    """Return the MongoDB criteria of filters.

    Raises:
        InputError: for an unknown filter, or a value that it cannot have.
    """
    _check_names(filters, CandidateFilters)
    criteria = _equal(filters, _CANDIDATE_FIELDS)
    state = filters.get("state")
    if state is not None:
        states = [state] if isinstance(state, str) else list(state)
        for name in states:
            _check_choice("state", name, get_args(CandidateState))
        criteria["state"] = states[0] if len(states) == 1 else {"$in": states}
    number = filters.get("round")
    if number is not None:
        if not isinstance(number, int) or isinstance(number, bool):
            raise InputError(f"round must be a whole number, not {number!r}")
        criteria["round"] = number
    for window, field in _WINDOWS.items():
        limits = {
            f"${end}": _finite(f"{window}_{end}", filters[f"{window}_{end}"])  # type: ignore[literal-required]
            for end in ("gte", "lt", "lte")
            if filters.get(f"{window}_{end}") is not None
        }
        if limits:
            criteria[field] = {"$gte": _LOWEST, **limits}
    return criteria


def material_criteria(filters: MaterialFilters) -> Criteria:
    """Return the MongoDB criteria of filters.

    Raises:
        InputError: for an unknown filter, or a value that it cannot have.
    """
    _check_names(filters, MaterialFilters)
    criteria = _equal(filters, _MATERIAL_FIELDS)
    state = filters.get("state")
    if state is not None:
        _check_choice("state", state, get_args(MaterialState))
        criteria["state"] = state
    return criteria


def candidate_parts(
    criteria: Criteria, sort: CandidateOrder, descending: bool, levels: Sequence[str] = ()
) -> list[tuple[Criteria, Order]]:
    """Return queries whose answers, one after the other, are the candidates in order.

    Databases put null before all numbers, whichever is looked for: those without an
    energy are therefore asked for by themselves, last.

    Args:
        criteria: which candidates.
        sort: their order.
        descending: the other way round; those without an energy stay last, and for 'best'
            the last level first.
        levels: names of the relaxation levels in order, for 'best'.

    Raises:
        InputError: for an unknown order.
    """
    sign = -1 if descending else 1
    as_picked: Order = {"order": sign}
    if "campaign_id" not in criteria:
        as_picked = {"campaign_id": sign, **as_picked}
    if sort == "order":
        return [(criteria, as_picked)]
    if sort in _WINDOWS:
        return _by_energy(criteria, _WINDOWS[sort], sign, as_picked)
    if sort == "energy":
        return _by_energy(criteria, _WINDOWS["energy_above_min"], sign, as_picked)
    if sort != "best":
        raise InputError(
            f"cannot sort candidates by {sort!r}; there are {', '.join(get_args(CandidateOrder))}"
        )
    asked = criteria.get("level")
    reached = [asked] if asked is not None else [*reversed(levels), None]
    parts = []
    for level in reached:
        here = {**criteria, "level": level}
        if level is None:
            parts.append((here, as_picked))
        else:
            parts += _by_energy(here, "energy_ev", sign, as_picked)
    return parts


def _by_energy(
    criteria: Criteria, field: str, sign: int, as_picked: Order
) -> list[tuple[Criteria, Order]]:
    having = {**criteria, field: criteria.get(field, {"$gte": _LOWEST})}
    parts: list[tuple[Criteria, Order]] = [(having, {field: sign, **as_picked})]
    if field not in criteria:
        parts.append(({**criteria, field: None}, as_picked))
    return parts


def _equal(filters: Mapping[str, Any], fields: Mapping[str, str]) -> Criteria:
    criteria = {}
    for name, field in fields.items():
        value = filters.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise InputError(f"{name} must be a text, not {value!r}")
        if name == "formula":
            value = hill_formula(value)
        elif name == "smiles":
            from logan_campaign.geometry.molecules import canonical_smiles  # brings RDKit

            value = canonical_smiles(value)
        criteria[field] = value
    return criteria


def _check_names(filters: Mapping[str, Any], known: Any) -> None:
    names = known.__annotations__
    for name in filters:
        if name not in names:
            raise InputError(f"no filter {name!r}; there are {', '.join(names)}")


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{name} {value!r} is none of {', '.join(choices)}")


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, not {value!r}")
    return cast(float, value)
