"""Base of all parts of a spec: no unknown keys, and strict types."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError


class SpecModel(BaseModel):
    """A part of a spec without unknown keys, with strict numbers and booleans.

    Pydantic converts ``true`` to 1 and ``"3"`` to 3. In a file written by hand both are mistakes,
    so they are refused for numbers and booleans.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _values_are_of_the_kind_asked_for(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        problems: list[InitErrorDetails] = []
        for name, value in data.items():
            if name in cls.model_fields and (text := _problem(value, _kinds(cls, name))):
                error = PydanticCustomError("kind_of_value", "{text}", {"text": text})
                problems.append({"type": error, "loc": (name,), "input": value})
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return data


@cache
def _kinds(model: type[BaseModel], name: str) -> frozenset[Any]:
    return frozenset(_single_types(model.model_fields[name].annotation))


def _single_types(annotation: Any) -> set[Any]:
    """Return the types of single values that an annotation allows."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    inner = [item for item in get_args(annotation) if item is Any or isinstance(item, type)]
    inner += [item for item in get_args(annotation) if get_args(item)]
    return set().union(*map(_single_types, inner)) if inner else {annotation}


def _problem(value: Any, kinds: frozenset[Any]) -> str | None:
    """Return why a value has the wrong type, or None."""
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := _problem(item, kinds))), None)
    plain = kinds - {type(None)}
    if isinstance(value, bool):
        return _NEEDED[float in kinds] if plain & {int, float} and bool not in kinds else None
    if isinstance(value, int | float):
        return "true or false is needed" if plain == {bool} else None
    if isinstance(value, str):
        return _NEEDED[float in kinds] if plain and plain <= {int, float} else None
    return None


_NEEDED = {False: "a whole number is needed", True: "a number is needed"}
