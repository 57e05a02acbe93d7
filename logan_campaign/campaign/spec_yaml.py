"""Read YAML so that errors can name file, line, key and value.

PyYAML's safe loader is used throughout: reading a spec runs no code. (Running one may: a
level of kind ``ase`` names a function.)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from logan_campaign.core.errors import InputError, plain

KeyPath = tuple[str | int, ...]

#: Prefix of values that ``init`` leaves to the user.
FILL_IN = "fill in:"

_MERGE = "tag:yaml.org,2002:merge"

# A spec has about a hundred values; far larger files are not specs.
_MAX_BYTES = 2**20
_MAX_NODES = 100_000
_MAX_DIGITS = 30


def _unusable(problem: str, node: yaml.Node | None) -> yaml.MarkedYAMLError:
    mark = None if node is None else node.start_mark
    return yaml.constructor.ConstructorError(None, None, problem, mark)


class _SpecLoader(yaml.SafeLoader):
    """A safe loader with the core schema of YAML 1.2.

    PyYAML follows YAML 1.1, where NO is false, 010 is eight and 6:00 is 360. Here ``true``,
    ``false``, ``null`` and decimal, octal (0o10) and hexadecimal numbers are recognised; every
    other word is text. Duplicate keys are refused, where PyYAML would keep the last.
    https://yaml.org/spec/1.2.2/#103-core-schema
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MAX_NODES:
            raise _unusable("merged keys grow too large", node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:  # '<<': its keys may be overridden
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _unusable("a key is a single word", key_node)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _unusable(f"the key {key!r} is given twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)


_SpecLoader.yaml_implicit_resolvers = {}


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > _MAX_DIGITS:
        raise _unusable(f"a number of {len(text)} digits", node)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _SpecLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )
_SpecLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _lines(node: yaml.Node | None, path: KeyPath = ()) -> Iterable[tuple[KeyPath, int]]:
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            inner = (*path, str(key_node.value))
            yield from _lines(value_node, inner)
            # the line of the key, since its value may start further down
            yield inner, key_node.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*path, index))


def _checked_lines(text: str) -> dict[KeyPath, int]:
    """Return the line of each key.

    Raises:
        yaml.MarkedYAMLError: if nested aliases grow too large.
    """
    lines: dict[KeyPath, int] = {}
    root = yaml.compose(text, Loader=_SpecLoader)
    for number, (path, line) in enumerate(_lines(root)):
        if number > _MAX_NODES:
            raise _unusable("aliases grow too large", root)
        lines[path] = line
    return lines


def parse_yaml(text: str) -> Any:
    """Parse the YAML text of a spec.

    Raises:
        yaml.YAMLError: the YAML is not usable.
    """
    _checked_lines(text)
    return yaml.load(text, Loader=_SpecLoader)  # noqa: S506 - derives from SafeLoader


def load_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Read a YAML mapping and the line of each of its keys.

    Raises:
        InputError: the file is missing, unreadable, not YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: too large for a spec: more than {_MAX_BYTES >> 20} MB")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise InputError(f"there is no file {path}") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"cannot read {path}: {err}") from err
    try:
        lines = _checked_lines(text)
        data = yaml.load(text, Loader=_SpecLoader)  # noqa: S506 - derives from SafeLoader
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise InputError(f"{where}: not valid YAML: {err.problem}") from err
    except yaml.YAMLError as err:
        raise InputError(f"{path}: not valid YAML: {str(err).splitlines()[0]}") from err
    except RecursionError as err:
        raise InputError(
            f"{path}: not usable YAML: nested too deeply, or an alias in itself"
        ) from err
    if not isinstance(data, dict):
        raise InputError(
            f"{path}: a spec is a mapping of keys to values; see 'logan-campaign init'"
        )
    return data, lines


def check_filled_in(data: Any, where: str, lines: dict[KeyPath, int], path: KeyPath = ()) -> None:
    """Refuse a value that begins with 'fill in:', as ``init`` writes it.

    Raises:
        InputError: naming file, line, key and what is needed.
    """
    if isinstance(data, str) and data.startswith(FILL_IN):
        line = f":{lines[path]}" if path in lines else ""
        raise InputError(
            f"{where}{line}: {'.'.join(map(str, path))}: must be filled in:"
            f"{data.removeprefix(FILL_IN)}"
        )
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            check_filled_in(value, where, lines, (*path, key))


def apply_override(data: dict[str, Any], assignment: str) -> KeyPath:
    """Set ``a.b.c=VALUE`` (VALUE is YAML) in a nested mapping, in place.

    A relative ``path`` in the value is resolved from the current directory, as usual on a command
    line.

    Raises:
        InputError: the assignment has no '=', or its path crosses a value without keys.
    """
    dotted, equals, text = assignment.partition("=")
    if not equals or not dotted:
        raise InputError(f"--set takes KEY=VALUE, such as models.count=4; got {assignment!r}")
    try:
        value = parse_yaml(text)
    except (yaml.YAMLError, RecursionError) as err:
        raise InputError(f"--set {dotted}: the value is not valid YAML: {text!r}") from err
    keys: list[str | int] = [int(k) if k.isdecimal() else k for k in dotted.split(".")]
    value = with_absolute_paths(value, keys[-1])
    here: Any = data
    for depth, key in enumerate(keys[:-1]):
        try:
            if isinstance(here, dict) and here.get(key) is None:
                here[key] = {}  # absent, or an empty section
            here = here[key]
        except (IndexError, TypeError, KeyError) as err:
            raise InputError(
                f"--set {dotted}: the spec has no {'.'.join(map(str, keys[: depth + 1]))}"
            ) from err
    try:
        here[keys[-1]] = value
    except (TypeError, IndexError) as err:
        raise InputError(f"--set {dotted}: {keys[-1]!r} cannot be set there") from err
    return tuple(keys)


def with_absolute_paths(value: Any, key: str | int = "") -> Any:
    """Make the relative paths in the value of a key absolute, in nested sections too."""
    if key in ("path", "cell_from", "fixed"):
        return _absolute(value)
    if isinstance(value, dict):
        return {inner: with_absolute_paths(item, inner) for inner, item in value.items()}
    return value


def _absolute(value: Any) -> Any:
    if isinstance(value, str):
        return str(Path(value).expanduser().absolute())
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    return value


def explain(
    error: ValidationError,
    where: str,
    lines: dict[KeyPath, int],
    data: Any,
    known_keys: Iterable[str],
) -> str:
    """Convert pydantic's errors into lines with file, line, key, value and accepted values."""
    messages = []
    for item in _of_one_branch(error.errors(include_url=False), data):
        path = _path_in(data, item)[0]
        line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
        place = f"{where}:{line}" if line else where
        dotted = ".".join(map(str, path)) or "the spec"
        if item["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(path[-1]), list(known_keys), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            messages.append(f"{place}: {dotted}: there is no such key{hint}")
        elif item["type"] == "missing" and isinstance(item["loc"][-1], int):
            messages.append(f"{place}: {dotted}: needs more than {item['loc'][-1]} values")
        elif item["type"] == "missing":
            messages.append(f"{place}: {dotted}: this key is required")
        else:
            text = plain(item["msg"])
            shown = item.get("input")
            # secrets are not printed
            hidden = isinstance(shown, dict | list) or item["type"] == "secret"
            got = "" if hidden else f" (got {shown!r})"
            messages.append(f"{place}: {dotted}: {text}{got}")
    shown_messages = messages[:5]
    if len(messages) > 5:
        shown_messages.append(f"and {len(messages) - 5} more")
    return "\n".join(shown_messages)


def _of_one_branch(errors: list[ErrorDetails], data: Any) -> list[ErrorDetails]:
    """Drop pydantic's errors on the types of a union that were not meant.

    pydantic lists the errors of every type; the one with the deepest error path is meant.
    """
    reach: dict[KeyPath, dict[str | int, int]] = {}
    branches = []
    for item in errors:
        where, branch = _path_in(data, item)[1:]
        branches.append((where, branch))
        if branch is not None:
            found = reach.setdefault(where, {})
            found[branch] = max(found.get(branch, 0), len(item["loc"]))
    return [
        item
        for item, (where, branch) in zip(errors, branches, strict=True)
        if branch is None or branch == max(reach[where], key=reach[where].__getitem__)
    ]


def _path_in(data: Any, item: ErrorDetails) -> tuple[KeyPath, KeyPath, str | int | None]:
    """Locate an error in the file.

    pydantic adds to a path the name of the type of a union; the file has no such keys.

    Returns:
        The path in the file; the path of the first union on the way, and which of its types is
        spoken of (None if there is no union).
    """
    path: list[str | int] = []
    union: tuple[KeyPath, str | int | None] = (), None
    here = data
    names_key = item["type"] in ("missing", "extra_forbidden")
    for index, key in enumerate(item["loc"]):
        is_new = names_key and index == len(item["loc"]) - 1
        if isinstance(here, dict) and (key in here or is_new):
            path.append(key)
            here = here.get(key)
        elif isinstance(here, list) and isinstance(key, int) and key < len(here):
            path.append(key)
            here = here[key]
        elif isinstance(here, list) and isinstance(key, int):
            break  # a missing item
        elif union[1] is None:
            union = tuple(path), key
    return tuple(path), *union
