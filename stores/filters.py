"""Filters on records, and orders of candidates.

They are derived from the :class:`~logan_campaign.core.documents.Column` of the records' fields.
User input becomes database criteria only here: values are compared, never interpreted as
operators.
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
#: Values by name of the filter; all must match, None is ignored.
Filters: TypeAlias = Mapping[str, Any]

#: Below all energies, to express 'is a number' in a form that indexes support.
_LOWEST = -sys.float_info.max
_ENDS = ("gte", "lt", "lte")


class Filter(NamedTuple):
    """A filter on a field of a record.

    Attributes:
        name: name in queries.
        field: the field of the record.
        column: the field's annotation.
        type: type of its values: str, int or float.
        choices: allowed values; empty for any.
    """

    name: str
    field: str
    column: Column
    type: type
    choices: tuple[str, ...]

    def criteria(self, value: Any) -> Any:
        """Return the criterion on the field.

        Raises:
            InputError: invalid value.
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
        if self.name == "formula" and isinstance(value, list):
            return {"$in": [self.criteria(one) for one in value]}
        if not isinstance(value, str):
            raise InputError(f"{self.name} must be a text, not {value!r}")
        return _canonical(self.name, value)

    def limit(self, end: str, value: Any) -> float:
        """Return the criterion for one end of a range.

        Raises:
            InputError: the value is not a finite number.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise InputError(f"{self.name}_{end} must be a finite number, not {value!r}")
        return cast(float, value)


def _canonical(name: str, value: str) -> str:
    """Return a formula in Hill order, a canonical SMILES, or other text unchanged."""
    if name == "formula":
        from logan_campaign.geometry.formulas import hill_formula  # imports ASE

        return hill_formula(value)
    if name == "smiles":
        from logan_campaign.geometry.molecules import canonical_smiles  # imports RDKit

        return canonical_smiles(value)
    return value


@cache
def filters_of(record: type[Record]) -> dict[str, Filter]:
    """Return the filters on a kind of record by name; ranges without the suffix of an end."""
    found = {}
    for field, column in columns(record).items():
        if column.filter:
            kind, choices = single_type(record.model_fields[field].annotation)
            found[column.filter] = Filter(column.filter, field, column, kind, choices)
    return found


def filter_names(record: type[Record]) -> list[str]:
    """Return all argument names of queries; a range has one for each end."""
    found = []
    for name, about in filters_of(record).items():
        found += [f"{name}_{end}" for end in _ENDS] if about.column.window else [name]
    return found


def single_type(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """Return the type of an annotation's values other than None, and the choices."""
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    inner = [item for item in get_args(annotation) if item is not NoneType]
    return single_type(inner[0]) if inner else (annotation, ())


def criteria_of(record: type[Record], filters: Filters) -> Criteria:
    """Return the MongoDB criteria of filters on a kind of record.

    Raises:
        InputError: unknown filter, or invalid value.
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
    """Return the orders of candidates, and the field of each; '' for several.

    'order': as picked. 'best': candidates of the last level first, by energy. The others:
    ascending, candidates without the value last.
    """
    by_field = {
        column.order: field for field, column in columns(CandidateRecord).items() if column.order
    }
    return {"best": "", "order": "order", **by_field}


def candidate_parts(
    criteria: Criteria, sort: str, descending: bool, levels: Sequence[str] = ()
) -> list[tuple[Criteria, Order]]:
    """Return queries whose concatenated results are the candidates in order.

    Databases sort null before all numbers, so candidates without an energy are queried separately,
    at the end.

    Args:
        criteria: criteria of the candidates.
        sort: the order, see :func:`candidate_orders`.
        descending: reverse the order; candidates without an energy stay last, and for 'best'
            the last level stays first.
        levels: names of the relaxation levels in order, for 'best'.

    Raises:
        InputError: unknown order.
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
    """Yield the indexes for every filter in every order.

    Filters of lists have two indexes, one in the order of the picks and one by energy; without a
    campaign, the first of a pair still finds the rows. If each value has few candidates, the order
    of the picks suffices.
    """
    by = candidate_orders()
    yield ("campaign_id", "order")
    for field in sorted(set(by.values()) - {"", "order"}):
        yield ("campaign_id", field, "order")
    # for 'best': by level, then by energy
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
    """Return the fields of candidates whose distinct values an index can list."""
    return [
        about.field
        for about in filters_of(CandidateRecord).values()
        if not (about.column.few or about.column.window or about.field == "campaign_id")
    ]


def few_fields() -> list[str]:
    """Return the fields of candidates whose values each have few candidates."""
    return [about.field for about in filters_of(CandidateRecord).values() if about.column.few]
