"""Checks before a relaxation starts: elements and targets."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Never

from logan_campaign.core.errors import InputError
from logan_campaign.core.trust import check_callable

ENTRY_POINT_GROUP = "logan_campaign.calculators"


def refuse(where: str, why: str) -> Never:
    """Raise the error that ends a check."""
    raise InputError(f"{where}: {why}")


def atomic_number(where: str, symbol: str) -> int:
    """Return an element's atomic number; InputError for an unknown symbol."""
    from ase.data import atomic_numbers

    number = atomic_numbers.get(symbol, 0)
    if number < 1:
        refuse(where, f"unknown element {symbol!r}")
    return int(number)


def load_target(target: str) -> Callable[..., Any]:
    """Return the callable of ``module:function`` or of an entry point's name.

    Raises:
        InputError: it does not exist, cannot be called, or is named by a stored job and not
            trusted.
    """
    check_callable(target)
    module, _, attribute = target.partition(":")
    if not attribute:
        found = [point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == target]
        if not found:
            known = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
            raise InputError(
                f"no entry point {target!r} in {ENTRY_POINT_GROUP!r} (available: "
                f"{', '.join(known) or 'none'}); else give 'module:function'"
            )
        return _callable(target, found[0].load())
    try:
        value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as err:  # importing a module may raise anything
        why = " ".join(str(err).split()) or type(err).__name__
        raise InputError(f"cannot load {target!r}: {why}") from err
    return _callable(target, value)


def _callable(target: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise InputError(f"{target!r} cannot be called")
    return value


def check_target(where: str, target: str, kwargs: Mapping[str, Any]) -> None:
    """Check that an ASE level's target exists and accepts the arguments.

    Raises:
        InputError: it does not.
    """
    try:
        function = load_target(target)
    except InputError as err:
        refuse(where, str(err))
    try:
        inspect.signature(function).bind(**kwargs)
    except TypeError as err:
        refuse(where, f"{target!r} does not take these kwargs: {err}")
    except ValueError:  # implemented in C: no signature
        return
