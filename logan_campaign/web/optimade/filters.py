"""OPTIMADE filters as queries of the campaign database.

The reference implementation converts a filter to MongoDB criteria on OPTIMADE's fields, which
records of candidates do not have. All OPTIMADE fields that filters can use follow from formula and
kind of a structure. Such a condition is therefore evaluated once per formula and kind, on a
placeholder, and becomes a condition on the formula, which is indexed. Conditions on text fields
with few values are evaluated on these values in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ase import Atoms
from optimade.exceptions import BadRequest
from optimade.filtertransformers.mongo import MongoTransformer

from logan_campaign.core.errors import InputError
from logan_campaign.results import Results
from logan_campaign.results.optimade import PROVIDER_FIELDS, structure_attributes
from logan_campaign.stores.filters import listed_fields
from logan_campaign.stores.mongoquery import matches

Criteria = dict[str, Any]

EVERYTHING: Criteria = {}
NOTHING: Criteria = {"id": {"$in": []}}

#: Fields of the record whose values are few, and listed from an index; the formula is judged
#: with what OPTIMADE says of it.
_CATEGORICAL = set(listed_fields()) - {"formula"}
_CAMPAIGN = ("campaign", "campaign_id")
_DIRECT = {"id", *PROVIDER_FIELDS} - {*_CATEGORICAL, *_CAMPAIGN}
_INT64 = 2**63
#: Beyond so many values, the database compares by itself.
_MAX_VALUES = 10_000


class Transformer(MongoTransformer):
    """The reference implementation's, with text taken literally in fuzzy comparisons."""

    def fuzzy_string_op_rhs(self, arg: Any) -> Any:
        """Return the pattern of CONTAINS, STARTS WITH and ENDS WITH."""
        if not isinstance(arg[-1], str):
            raise BadRequest(detail=f"{arg[0]} needs a string")
        text = str(arg[-1])
        if "\0" in text:
            raise BadRequest(detail="a string may not hold the character NUL")
        return super().fuzzy_string_op_rhs([*arg[:-1], re.escape(text)])

    def _apply_mongo_date_filter(self, filter_: Any) -> Any:
        """Return the criteria as they are: no structure here has a date."""
        return filter_


class Group(NamedTuple):
    """Candidates of one formula and kind, in some campaigns, and what stands in for them."""

    formula: str
    campaign_ids: tuple[str, ...]
    stand_in: dict[str, Any]


class Translator:
    """Translates criteria on OPTIMADE's fields into criteria on candidates.

    Args:
        results: the store that is asked.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._groups: tuple[Any, list[Group]] | None = None

    def groups(self) -> list[Group]:
        """Return the formulas and kinds that the campaigns hold."""
        campaigns = self._results.campaigns()
        key = [(record.id, record.job_documents_hash) for record in campaigns]
        if self._groups is None or self._groups[0] != key:
            found: dict[tuple[str, str], list[str]] = {}
            for record in campaigns:
                for formula in self._results.database.distinct("formula", record.id):
                    found.setdefault((formula, record.kind), []).append(record.id)
            groups = [
                Group(formula, tuple(ids), _stand_in(formula, kind))
                for (formula, kind), ids in sorted(found.items())
            ]
            self._groups = (key, groups)
        return self._groups[1]

    def translate(self, criteria: Criteria) -> Criteria:
        """Return criteria on candidates that mean the same.

        Raises:
            BadRequest: for criteria that cannot be used.
        """
        parts = []
        for key, value in criteria.items():
            if key in ("$and", "$or", "$nor"):
                parts.append(_joined(key, [self.translate(part) for part in value]))
            else:
                parts.append(self._leaf(key, value))
        return _joined("$and", parts)

    def _leaf(self, field: str, expression: Any) -> Criteria:
        root = field.split(".")[0]
        condition = {field: _storable(expression)}
        if root in _CAMPAIGN:
            return self._campaign(condition)
        if root in _CATEGORICAL:
            values = [*self._results.database.distinct(root), None]
            if len(values) > _MAX_VALUES:
                return condition
            return _one_of(root, values, [v for v in values if _holds(condition, {root: v})])
        if root in _DIRECT:
            return condition
        return self._structural(condition)

    def _campaign(self, condition: Criteria) -> Criteria:
        records = self._results.campaigns()
        found = [
            r.id for r in records if _holds(condition, {"campaign": r.name, "campaign_id": r.id})
        ]
        return _one_of("campaign_id", [record.id for record in records], found)

    def _structural(self, condition: Criteria) -> Criteria:
        groups = self.groups()
        found = [group for group in groups if _holds(condition, group.stand_in)]
        return within(found, groups)


def within(groups: list[Group], of: list[Group]) -> Criteria:
    """Return the criteria of being in one of some groups, among all that there are."""
    if len(groups) == len(of):
        return EVERYTHING
    if not groups:
        return NOTHING
    if len({group.formula for group in of}) == len(of):
        return {"formula": {"$in": [group.formula for group in groups]}}
    # a formula that is a molecule's in one campaign and a crystal's in another
    return {
        "$or": [
            {"formula": group.formula, "campaign_id": {"$in": list(group.campaign_ids)}}
            for group in groups
        ]
    }


def sort_key(value: Any) -> tuple[int, Any]:
    """Return what sorts any values of stand-ins: null first, as MongoDB has it."""
    if value is None:
        return (0, "")
    if isinstance(value, int | float):
        return (1, value)
    return (2, value if isinstance(value, str) else json.dumps(value))


def is_structural(field: str) -> bool:
    """Whether a field is OPTIMADE's own, and follows from formula and kind."""
    return field not in _DIRECT and field not in _CATEGORICAL and field not in _CAMPAIGN


def _stand_in(formula: str, kind: str) -> dict[str, Any]:
    crystal = kind == "crystal"
    atoms = Atoms(formula, cell=[1.0, 1.0, 1.0] if crystal else None, pbc=crystal)
    return {**structure_attributes(atoms, formula), "type": "structures"}


def _one_of(field: str, all_values: list[Any], values: list[Any]) -> Criteria:
    if len(values) == len(all_values):
        return EVERYTHING
    if not values:
        return NOTHING
    return {field: values[0] if len(values) == 1 else {"$in": values}}


def _joined(operator: str, parts: Iterable[Criteria]) -> Criteria:
    parts = list(parts)
    if operator == "$nor":
        return {
            "$nor": [part if part != EVERYTHING else {"id": {"$exists": True}} for part in parts]
        }
    neutral, decisive = (EVERYTHING, NOTHING) if operator == "$and" else (NOTHING, EVERYTHING)
    if decisive in parts:
        return decisive
    parts = [part for part in parts if part != neutral]
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else {operator: parts}


def _holds(condition: Criteria, doc: dict[str, Any]) -> bool:
    try:
        return matches(condition, doc)
    except InputError as err:
        raise BadRequest(detail=str(err)) from err
    except (TypeError, ValueError):
        return False  # values that do not compare


def _storable(expression: Any) -> Any:
    """Return an expression without integers that no database holds."""
    return _map(
        expression,
        lambda value: (
            float(value)
            if isinstance(value, int)
            and not isinstance(value, bool)
            and not -_INT64 <= value < _INT64
            else value
        ),
    )


def _map(obj: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(obj, dict):
        return {key: _map(value, change) for key, value in obj.items()}
    if isinstance(obj, list):
        return [_map(value, change) for value in obj]
    return change(obj)
