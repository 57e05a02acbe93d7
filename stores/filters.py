"""What records can be chosen by, and in which orders candidates come.

All follows from the :class:`~logan_campaign.core.documents.Column` of the records' fields. The
names and values that people give become criteria here and nowhere else: a value is compared
with, never taken for an operator of the database.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args, get_origin

from logan_campaign.core.documents import Column, Record, columns
from logan_campaign.core.errors import InputError
from logan_campaign.stores.records import CandidateRecord

Criteria: TypeAlias = dict[str, Any]
Order: TypeAlias = dict[str, int]
#: Values by name of the filter; all must hold, None is not given.
Filters: TypeAlias = Mapping[str, Any]

#: Below all energies: 'is a number' in a form that every index can answer.
_LOWEST = -sys.float_info.max
_ENDS = ("gte", "lt", "lte")


class Filter(NamedTuple):
    """A filter on a field of a record.

    Attributes:
        name: what queries call it.
        field: the field of the record.
        column: what is said there of it.
        type: type of its values: str, int or float.
        choices: the values that it can have; empty if any.
    """

    name: str
    field: str
    column: Column
    type: type
    choices: tuple[str, ...]

    def criteria(self, value: Any) -> Any:
        """Return what the field must meet.

        Raises:
            InputError: for a value that it cannot have.
        """
        if self.choices:
            values = [value] if isinstance(value, str) else list(value)
            for given in values:
                if given not in self.choices:
                    raise InputError(f"{self.name} {given!r} is none of {', '.join(self.choices)}")
            return values[0] if len(values) == 1 else {"$in": values}
        if self.type is int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise InputError(f"{self.name} must be a whole number, not {value!r}")
            return value
        if not isinstance(value, str):
            raise InputError(f"{self.name} must be a text, not {value!r}")
        return _canonical(self.name, value)

    def limit(self, end: str, value: Any) -> float:
        """Return one end of a range.

        Raises:
            InputError: if it is no finite number.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise InputError(f"{self.name}_{end} must be a finite number, not {value!r}")
        return cast(float, value)


def _canonical(name: str, value: str) -> str:
    """Return a formula in Hill order, a SMILES as records have it, other texts as they are."""
    if name == "formula":
        from logan_campaign.geometry.formulas import hill_formula  # brings ASE

        return hill_formula(value)
    if name == "smiles":
        from logan_campaign.geometry.molecules import canonical_smiles  # brings RDKit

        return canonical_smiles(value)
    return value


@cache
def filters_of(record: type[Record]) -> dict[str, Filter]:
    """Return the filters on a kind of record, by name; of a range the name without its end."""
    found = {}
    for field, column in columns(record).items():
        if column.filter:
            kind, choices = single_type(record.model_fields[field].annotation)
            found[column.filter] = Filter(column.filter, field, column, kind, choices)
    return found


def filter_names(record: type[Record]) -> list[str]:
    """Return all that a query can be given: a range has a name for each of its ends."""
    found = []
    for name, about in filters_of(record).items():
        found += [f"{name}_{end}" for end in _ENDS] if about.column.window else [name]
    return found


def single_type(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """Return the type of the values that an annotation admits besides None, and the choices."""
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    inner = [item for item in get_args(annotation) if item is not NoneType]
    return single_type(inner[0]) if inner else (annotation, ())


def criteria_of(record: type[Record], filters: Filters) -> Criteria:
    """Return the MongoDB criteria of filters on a kind of record.

    Raises:
        InputError: for an unknown filter, or a value that it cannot have.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    known = filter_names(record)
    for name in filters:
        if name not in known:
            raise InputError(f"no filter {name!r}; there are {', '.join(known)}")
    found: Criteria = {}
    for name, about in filters_of(record).items():
        if about.column.window:
            ends = {end: given[f"{name}_{end}"] for end in _ENDS if f"{name}_{end}" in given}
            limits = {f"${end}": about.limit(end, value) for end, value in ends.items()}
            if limits:
                found[about.field] = {"$gte": _LOWEST, **limits}
        elif name in given:
            found[about.field] = about.criteria(given[name])
    return found


def candidate_orders() -> dict[str, str]:
    """Return the orders of candidates, and the field that each goes by; '' for several.

    'order': as picked. 'best': those that reached the last level, lowest energy first. The
    others: lowest first; those without the number come last.
    """
    by_field = {
        column.order: field for field, column in columns(CandidateRecord).items() if column.order
    }
    return {"best": "", "order": "order", **by_field}


def candidate_parts(
    criteria: Criteria, sort: str, descending: bool, levels: Sequence[str] = ()
) -> list[tuple[Criteria, Order]]:
    """Return queries whose answers, one after the other, are the candidates in order.

    Databases put null before all numbers, whichever is looked for: those without an
    energy are therefore asked for by themselves, last.

    Args:
        criteria: which candidates.
        sort: their order, see :func:`candidate_orders`.
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
    orders = candidate_orders()
    if sort not in orders:
        raise InputError(f"cannot sort candidates by {sort!r}; there are {', '.join(orders)}")
    if sort == "order":
        return [(criteria, as_picked)]
    if sort != "best":
        return _by_energy(criteria, orders[sort], sign, as_picked)
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


def candidate_indexes() -> Iterator[tuple[str, ...]]:
    """Yield the indexes that answer every filter in every order.

    What lists are narrowed by comes in the orders in which they are read: first as picked, then
    lowest energy first; without a campaign, the first of a pair still finds the rows. Where each
    value is that of few candidates, as picked will do.
    """
    by = candidate_orders()
    yield ("campaign_id", "order")
    for field in sorted(set(by.values()) - {"", "order"}):
        yield ("campaign_id", field, "order")
    # the best first: level by level, the energies of one level among themselves
    yield ("campaign_id", "level", "energy_ev", "order")
    yield ("campaign_id", "state", "level", "energy_ev", "order")
    for about in filters_of(CandidateRecord).values():
        if about.column.window or about.field == "campaign_id":
            continue
        yield (about.field, "campaign_id", "order")
        if not about.column.few:
            yield (about.field, "campaign_id", by["energy"], "order")
    yield ("match_set",)
    yield (by["energy"],)


def listed_fields() -> list[str]:
    """Return the fields of candidates whose distinct values can be listed, from an index."""
    return [
        about.field
        for about in filters_of(CandidateRecord).values()
        if not (about.column.few or about.column.window or about.field == "campaign_id")
    ]


def few_fields() -> list[str]:
    """Return the fields of candidates whose values name few of them each."""
    return [about.field for about in filters_of(CandidateRecord).values() if about.column.few]
