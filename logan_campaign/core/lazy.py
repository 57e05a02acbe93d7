"""Packages that import a name when it is first used.

The names are listed only in the stub beside ``__init__.py``, which editors, type checkers and this
module read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_exports(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        file: its ``__file__``; beside it is ``__init__.pyi`` with lines of the form
            ``from package.module import Name as Name``.
    """

    @cache
    def offered() -> dict[str, tuple[str, str]]:
        import ast

        tree = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
        return {
            alias.asname or alias.name: (str(node.module), alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted(offered())
        if name.startswith("__") or name not in offered():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = offered()[name]
        value = getattr(import_module(module), original)
        setattr(sys.modules[package], name, value)  # cached
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *offered()})

    return get, names
