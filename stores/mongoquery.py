"""Translate MongoDB's query language to SQL, where both have exactly the same meaning.

A field has two SQL expressions: its *kind* (null or missing, number, text, boolean, date, object,
or "complex": an array or below one) and its *value*. Comparisons between scalars of one kind are
the same in both languages, and MongoDB never matches scalars of different kinds. Rows with a
complex value, and operators such as ``$regex``, are left to mongomock's filter: the SQL condition
passes all such rows and marks them as undecided.

Results of SQL are MongoDB's. mongomock differs in rare cases: it treats ``True`` as 1 within
arrays, and ``null`` and ``$exists`` differently for a path that ends in a scalar or crosses an
array.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from logan_campaign.core.errors import InputError
from logan_campaign.stores.encoding import date_text

# Kinds, numbered in MongoDB's sort order (null sorts with missing).
NULL, NUMBER, TEXT, BOOLEAN, DATE = 0, 1, 2, 8, 9
#: An object (equals no scalar), and values that only mongomock can compare: arrays, everything
#: below one, and rare types.
OBJECT, COMPLEX = 20, 99

_LABEL = re.compile(r"[A-Za-z_@][A-Za-z0-9_@-]*")
_RANGES = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
# mongomock evaluates $where as Python code, and $expr is aggregation.
_REFUSED = {"$where", "$expr", "$function", "$text", "$jsonSchema"}


def is_plain_path(field: str) -> bool:
    """Whether SQL can follow the dotted path: only names, no array positions."""
    return all(_LABEL.fullmatch(label) for label in field.split("."))


def _json_path(labels: Sequence[str]) -> str:
    return "'$" + "".join(f'."{label}"' for label in labels) + "'"


def kind_sql(field: str) -> str:
    """Return the SQL expression of a field's kind; ``field`` is a plain path."""
    labels = field.split(".")
    whole, date = _json_path(labels), _json_path([*labels, "$date"])
    arrays = "".join(
        f"WHEN json_type(doc, {_json_path(labels[:n])}) = 'array' THEN {COMPLEX} "
        for n in range(1, len(labels))
    )
    scalar = (
        f"CASE json_type(doc, {whole}) "
        f"WHEN 'integer' THEN {NUMBER} WHEN 'real' THEN {NUMBER} WHEN 'text' THEN {TEXT} "
        f"WHEN 'true' THEN {BOOLEAN} WHEN 'false' THEN {BOOLEAN} WHEN 'array' THEN {COMPLEX} "
        f"WHEN 'object' THEN CASE WHEN json_type(doc, {date}) = 'text' THEN {DATE} "
        # A reserved key is the only key: the text of such an object starts with it.
        f"WHEN substr(json_extract(doc, {whole}), 1, 3) = '{{\"$' THEN {COMPLEX} "
        f"ELSE {OBJECT} END ELSE {NULL} END"
    )
    return f"CASE {arrays}ELSE {scalar} END" if arrays else scalar


def value_sql(field: str) -> str:
    """Return the SQL expression of a scalar field's value, NULL for other kinds."""
    labels = field.split(".")
    whole, date = _json_path(labels), _json_path([*labels, "$date"])
    return (
        f"CASE json_type(doc, {whole}) WHEN 'array' THEN NULL "
        f"WHEN 'object' THEN json_extract(doc, {date}) ELSE json_extract(doc, {whole}) END"
    )


def exists_sql(field: str) -> str:
    """Return the SQL condition that a field that is not complex exists, possibly as null."""
    return f"json_type(doc, {_json_path(field.split('.'))}) IS NOT NULL"


def _scalar(value: Any) -> tuple[int, Any] | None:
    """Return kind and SQL value of a scalar, None for values that SQL cannot compare."""
    if value is None:
        return NULL, None
    if isinstance(value, bool):
        return BOOLEAN, int(value)
    if isinstance(value, int):
        return (NUMBER, value) if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return (NUMBER, value) if math.isfinite(value) else None
    if isinstance(value, str):
        return TEXT, value
    if isinstance(value, datetime):
        return DATE, date_text(value)
    return None


class Condition(NamedTuple):
    """An SQL condition that all matching rows meet.

    ``doubt`` is an SQL expression, true for undecided rows, which need mongomock's filter; '0' if
    there are none.
    """

    sql: str
    parameters: list[Any]
    doubt: str = "0"

    @property
    def exact(self) -> bool:
        """Whether no row is undecided."""
        return self.doubt == "0"


_ANYTHING = Condition("1", [], "1")


def _join(word: str, parts: Sequence[Condition]) -> Condition:
    doubts = sorted({part.doubt for part in parts} - {"0"})
    return Condition(
        "(" + f" {word} ".join(part.sql for part in parts) + ")",
        [value for part in parts for value in part.parameters],
        "1" if "1" in doubts else " OR ".join(doubts) or "0",
    )


class Field(NamedTuple):
    """SQL expressions of a field.

    ``nested`` is True if some row may contain an object or a complex value there.
    """

    kind: str
    value: str
    exists: str
    nested: bool

    @classmethod
    def of(cls, path: str) -> Field:
        """Return the expressions of a plain path, computed from the documents."""
        return cls(kind_sql(path), value_sql(path), exists_sql(path), True)

    def equal(self, values: Sequence[Any]) -> Condition | None:
        """Return the condition that the field equals one of ``values``; None if undecidable."""
        by_kind: dict[int, list[Any]] = {}
        for value in values:
            scalar = _scalar(value)
            if scalar is None:
                return None
            by_kind.setdefault(scalar[0], []).append(scalar[1])
        if not by_kind:
            return Condition("0", [])
        parts = []
        for kind, group in by_kind.items():
            if kind == NULL:
                parts.append(Condition(f"{self.kind} = {NULL}", []))
                continue
            marks = ", ".join("?" * len(group))
            test = "= ?" if len(group) == 1 else f"IN ({marks})"
            parts.append(Condition(f"({self.kind} = {kind} AND {self.value} {test})", group))
        return _join("OR", parts)

    def operator(self, name: str, operand: Any) -> Condition | None:
        if name == "$eq":
            return self.equal([operand])
        if name == "$in" and isinstance(operand, (list, tuple)):
            return self.equal(operand)
        if name in ("$ne", "$nin"):
            values = [operand] if name == "$ne" else operand
            equal = self.equal(values) if isinstance(values, (list, tuple)) else None
            if equal is None:
                return None
            return Condition(f"NOT ifnull({equal.sql}, 0)", equal.parameters)
        if name == "$exists":
            return Condition(self.exists if operand else f"NOT ({self.exists})", [])
        if name in _RANGES:
            scalar = _scalar(operand)
            if scalar is None or scalar[0] in (NULL, BOOLEAN):
                return None
            kind, value = scalar
            return Condition(f"({self.kind} = {kind} AND {self.value} {_RANGES[name]} ?)", [value])
        return None


def translate(criteria: Mapping[str, Any], field_of: Callable[[str], Field | None]) -> Condition:
    """Return the SQL condition of MongoDB criteria on the column ``doc``.

    Args:
        criteria: as for maggma's ``Store.query``.
        field_of: returns the expressions of a field, None if SQL cannot express it; rows with a
            complex value pass as undecided.

    Raises:
        InputError: criteria that are not a dict, or operators that run code.
    """
    if not isinstance(criteria, Mapping):
        raise InputError(f"criteria must be a dict, not {type(criteria).__name__}")
    _refuse_code(criteria)
    parts = []
    for key, search in criteria.items():
        if key in ("$and", "$or") and isinstance(search, (list, tuple)) and search:
            branches = [translate(branch, field_of) for branch in search]
            parts.append(_join(key[1:].upper(), branches))
        elif key == "$nor" and isinstance(search, (list, tuple)) and search:
            some = _join("OR", [translate(branch, field_of) for branch in search])
            none = Condition(f"NOT ifnull({some.sql}, 0)", some.parameters)
            parts.append(none if some.exact else _ANYTHING)
        else:
            field = None if key.startswith("$") else field_of(key)
            parts.append(_translate_field(field, search) if field else _ANYTHING)
    return _join("AND", parts) if parts else Condition("1", [])


def _refuse_code(criteria: Any) -> None:
    if isinstance(criteria, Mapping):
        for key, value in criteria.items():
            if key in _REFUSED:
                raise InputError(f"operator {key} is not supported by this store")
            _refuse_code(value)
    elif isinstance(criteria, (list, tuple)):
        for value in criteria:
            _refuse_code(value)


def _translate_field(field: Field, search: Any) -> Condition:
    if isinstance(search, Mapping):
        if not search or not all(name.startswith("$") for name in search):
            return _ANYTHING  # equality with an object
        found = [field.operator(name, operand) for name, operand in search.items()]
    else:
        found = [field.equal([search])]
    known = [part for part in found if part is not None]
    if not known:
        return _ANYTHING
    condition = _join("AND", known)
    if len(known) < len(found):
        condition = condition._replace(doubt="1")
    if field.nested:
        is_complex = f"{field.kind} = {COMPLEX}"
        sql = f"({condition.sql} OR {is_complex})"
        return Condition(sql, condition.parameters, "1" if condition.doubt == "1" else is_complex)
    return condition


def fields_of(criteria: Any) -> Iterator[str]:
    """Yield every field that criteria name outside operands."""
    if isinstance(criteria, Mapping):
        for key, search in criteria.items():
            if key in ("$and", "$or", "$nor") and isinstance(search, (list, tuple)):
                for branch in search:
                    yield from fields_of(branch)
            elif not key.startswith("$"):
                yield key


def split_operators(criteria: Mapping[str, Any]) -> dict[str, Any]:
    """Return equivalent criteria with a single operator each.

    Below an array, MongoDB allows each operator of ``{"a.b": {"$gt": 1, "$lt": 3}}`` to match
    another element; mongomock requires one element that meets both.
    """
    result: dict[str, Any] = {}
    more: list[dict[str, Any]] = []
    for key, search in criteria.items():
        if key in ("$and", "$or", "$nor") and isinstance(search, (list, tuple)):
            result[key] = [
                split_operators(branch) if isinstance(branch, Mapping) else branch
                for branch in search
            ]
        elif (
            isinstance(search, Mapping)
            and len(search) > 1
            and all(name.startswith("$") for name in search)
            and "$options" not in search
        ):
            more += [{key: {name: operand}} for name, operand in search.items()]
        else:
            result[key] = search
    if more:
        result["$and"] = [*result.get("$and", []), *more]
    return result


def matches(criteria: Mapping[str, Any], doc: Mapping[str, Any]) -> bool:
    """Whether ``doc`` matches ``criteria`` according to mongomock.

    Raises:
        InputError: an unknown or malformed operator.
    """
    # imported here, as it imports pymongo and SQL decides nearly everything
    from mongomock import OperationFailure
    from mongomock.filtering import filter_applies

    try:
        return bool(filter_applies(criteria, doc))
    except (OperationFailure, NotImplementedError) as err:
        raise InputError(f"criteria cannot be used: {err}") from err


class Projection:
    """Fields of a document to return, by MongoDB's inclusion or exclusion.

    Raises:
        InputError: mixed inclusion and exclusion, or projection operators.
    """

    def __init__(self, properties: Mapping[str, Any] | Sequence[str] | None) -> None:
        if properties is None:
            properties = {}
        elif isinstance(properties, str):
            raise InputError("properties must be a list or a dict of field names")
        elif not isinstance(properties, Mapping):
            properties = dict.fromkeys(properties, 1)
        if any(not isinstance(flag, (bool, int, float)) for flag in properties.values()):
            raise InputError("projection operators are not supported by this store")
        flags = {name: bool(flag) for name, flag in properties.items() if name != "_id"}
        if len(set(flags.values())) > 1:
            raise InputError("a projection either includes or excludes fields, not both")
        self.with_id = bool(properties.get("_id", True))
        # {"_id": 1} alone is an inclusion, {"_id": 0} alone an exclusion.
        self.everything = not flags and (self.with_id is False or "_id" not in properties)
        self.including = next(iter(flags.values()), True)
        self.tree: dict[str, Any] = {}
        for name in flags:
            branch: dict[str, Any] | None = self.tree
            *parents, leaf = name.split(".")
            for label in parents:
                branch = branch.setdefault(label, {})  # type: ignore[union-attr]
                if branch is None:  # the whole parent is named too, and takes precedence
                    break
            if branch is not None:
                branch[leaf] = None

    def names(self, root: str) -> bool:
        """Whether the top-level field ``root`` may be returned, at least in part."""
        if self.everything:
            return True
        return root in self.tree if self.including else self.tree.get(root, root) is not None

    def apply(self, doc: dict[str, Any]) -> dict[str, Any]:
        """Return the projected document, which shares parts with ``doc``."""
        if self.everything:
            result = dict(doc)
        elif self.including:
            result = _include(doc, self.tree)
            if "_id" in doc:
                result["_id"] = doc["_id"]
        else:
            result = _exclude(doc, self.tree)
        if not self.with_id:
            result.pop("_id", None)
        return result


def _include(obj: Any, tree: Mapping[str, Any]) -> Any:
    if isinstance(obj, list):
        return [_include(item, tree) for item in obj if isinstance(item, (dict, list))]
    result = {}
    for key, value in obj.items():
        if key not in tree:
            continue
        branch = tree[key]
        if branch is None:
            result[key] = value
        elif isinstance(value, (dict, list)):
            result[key] = _include(value, branch)
    return result


def _exclude(obj: Any, tree: Mapping[str, Any]) -> Any:
    if isinstance(obj, list):
        return [_exclude(item, tree) for item in obj]
    if not isinstance(obj, dict):
        return obj
    return {
        key: value if key not in tree else _exclude(value, tree[key])
        for key, value in obj.items()
        if key not in tree or tree[key] is not None
    }
