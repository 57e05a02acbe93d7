"""What the package imports itself is a dependency of its own, not only of its dependencies."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("logan_campaign", "flows", "stores")


def imported() -> Iterator[tuple[str, Path]]:
    """Yield the top-level modules that the code imports, wherever in a file."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                yield from ((name.partition(".")[0], path.relative_to(ROOT)) for name in names)


def declared() -> set[str]:
    """Return the normalised names of the dependencies, those of extras for users included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(x for name in extras if name != "dev" for x in extras[name]),
    ]
    return {normalised(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in wanted}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_direct_imports_are_declared_dependencies() -> None:
    of_module = packages_distributions()
    known = declared()
    missing: dict[str, set[str]] = {}
    for name, path in imported():
        if name in sys.stdlib_module_names or name == "logan_campaign":
            continue
        distributions = {normalised(found) for found in of_module.get(name, [name])}
        if not distributions & known:
            missing.setdefault(f"{name} ({', '.join(sorted(distributions))})", set()).add(str(path))
    assert missing == {}
