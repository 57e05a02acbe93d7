"""Pages of the site that are made from the repository: the spec's keys, and files of its root."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from logan_campaign.campaign.spec import CampaignSpec

ROOT = Path(__file__).parents[1]
#: Files of the root that are pages, too.
ROOT_PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")
#: Where the tables of all keys go in reference/spec.md.
KEYS = "<!-- every key of the spec -->"
#: What counts as a unit at the end of a description, in parentheses.
_UNIT = re.compile(r" ?\((Å|Å³|eV|eV/Å|eV/atom|s|h|MiB)\)")

Schema = dict[str, Any]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand in the repository's root."""
    for name in ROOT_PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name.lower(), content=_from_root(text)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Put in the tables of keys where a page asks for them; lead to the root's pages."""
    if KEYS in markdown:
        keys = "\n".join(spec_tables(CampaignSpec.model_json_schema()))
        markdown = markdown.replace(KEYS, keys)
    names = "|".join(map(re.escape, ROOT_PAGES))
    to_root = rf"\]\(\.\./(?P<up>(\.\./)*)(?P<name>{names})"
    return re.sub(to_root, lambda found: f"]({found['up']}{found['name'].lower()}", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leave out the roles of docstrings, which Markdown does not know (":class:" and others)."""
    return re.sub(r":(?:attr|class|data|exc|func|meth|mod):(?=<code)", "", html)


def _from_root(text: str) -> str:
    """Return a page of the root with its links as the site needs them."""

    def link(found: re.Match[str]) -> str:
        label, target = found["label"], found["target"]
        if target.startswith("docs/"):
            return f"[{label}]({target.removeprefix('docs/')})"
        if target.partition("#")[0] in ROOT_PAGES:
            return f"[{label}]({target.lower()})"
        return found[0] if re.match(r"https?:|#", target) else label  # not part of the site

    return re.sub(r"(?<!!)\[(?P<label>[^]]+)\]\((?P<target>[^)\s]+)\)", link, text)


def spec_tables(schema: Schema) -> Iterator[str]:
    """Yield Markdown: a section with a table for every model of a schema.

    Args:
        schema: JSON Schema of a pydantic model, whose sections are its ``$defs``.
    """
    definitions: dict[str, Schema] = schema.get("$defs", {})
    for name, model in list(definitions.items()):
        definitions[name] = {key: _named(value, definitions) for key, value in model.items()}
    schema = {**schema, "properties": _named(schema["properties"], definitions)}
    places: dict[str, list[str]] = {}
    _find_places(schema, "", definitions, places, ())
    # a model is described where it stands least deep, in the order of the spec's sections
    titles = {
        name: min(where, key=lambda place: place.count(".")) for name, where in places.items()
    }
    order = [key for key, _ in _keys(schema)]
    yield from _section(schema, definitions)
    for name in sorted(titles, key=lambda name: _rank(titles[name], order)):
        tag = next((f"{k}: {p['const']}" for k, p in _keys(definitions[name]) if _is_tag(k, p)), "")
        yield f"\n## {titles[name]}{', ' if tag else ''}{tag} {{ #{name} }}\n"
        others = [f"`{place}`" for place in places[name] if place != titles[name]]
        if others:
            yield f"Also in {', '.join(others)}.\n"
        yield from _section(definitions[name], definitions)


def _named(schema: Any, definitions: dict[str, Schema]) -> Any:
    """Return a schema in which models that stand in it in full are named, and defined."""
    if isinstance(schema, list):
        return [_named(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _named(value, definitions) for key, value in schema.items()}
    if "title" in schema and "properties" in schema:
        definitions[schema["title"]] = inner
        return {"$ref": f"#/$defs/{schema['title']}"}
    return inner


def _rank(place: str, order: list[str]) -> tuple[int, bool]:
    """Sections follow the spec's keys; within one, what is nested comes later."""
    return order.index(place.partition(".")[0]), "." in place


def _section(model: Schema, definitions: dict[str, Schema]) -> Iterator[str]:
    yield re.sub(r"``", "`", model.get("description", "")) + "\n"
    required = model.get("required", ())
    yield "| key | type | default | unit | meaning |\n| --- | --- | --- | --- | --- |"
    for key, field in _keys(model):
        about = field.get("description", "")
        unit = field.get("unit") or "".join(_UNIT.findall(about)[:1])
        default = "required" if key in required else _default(field, definitions)
        cells = [f"`{key}`", _type(field, definitions), default, unit, _UNIT.sub("", about)]
        row = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        yield f"| {row} |"


def _keys(model: Schema) -> Iterator[tuple[str, Schema]]:
    yield from model.get("properties", {}).items()


def _is_tag(key: str, field: Schema) -> bool:
    return "const" in field and key in ("calculator", "method", "policy", "strategy", "type")


def _find_places(
    schema: Any,
    path: str,
    definitions: dict[str, Schema],
    places: dict[str, list[str]],
    inside: tuple[str, ...],
) -> None:
    """Note at which keys each model stands; ``inside`` are the models around this schema."""
    if isinstance(schema, list):
        for item in schema:
            _find_places(item, path, definitions, places, inside)
    elif isinstance(schema, dict):
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name in definitions and name not in inside:
            if "properties" in definitions[name] and path not in places.setdefault(name, []):
                places[name].append(path)
            _find_places(definitions[name], path, definitions, places, (*inside, name))
        for key, field in _keys(schema):
            _find_places(field, f"{path}.{key}".lstrip("."), definitions, places, inside)
        for word in ("anyOf", "oneOf", "items", "additionalProperties"):
            _find_places(schema.get(word), path, definitions, places, inside)


def _default(field: Schema, definitions: dict[str, Schema]) -> str:
    if "default" in field:
        return f"`{json.dumps(field['default'], ensure_ascii=False)}`".replace('"', "")
    field = definitions.get(field.get("$ref", "").removeprefix("#/$defs/"), field)
    empty = {"array": "`[]`", "object": "`{}`"}.get(field.get("type", ""), "")
    return "its own" if "properties" in field or not empty else empty


def _type(field: Schema, definitions: dict[str, Schema]) -> str:
    """Return what a key takes, in words."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        name = field["$ref"].removeprefix("#/$defs/")
        model = definitions[name]
        if "properties" not in model:
            return _type(model, definitions)
        tag = next((str(p["const"]) for k, p in _keys(model) if _is_tag(k, p)), "section")
        return f"[{tag}](#{name})"
    for word in ("anyOf", "oneOf"):
        if word in field:
            found = [_type(item, definitions) for item in field[word]]
            said = ["a list of these" if each == f"list of {found[0]}" else each for each in found]
            return " or ".join(dict.fromkeys(said))
    kind = field.get("type", "any")
    if kind == "array":
        if "prefixItems" in field:
            items = dict.fromkeys(_type(item, definitions) for item in field["prefixItems"])
            return f"list of {len(field['prefixItems'])} ({'; '.join(items)})"
        return f"list of {_type(field.get('items', {}), definitions)}"
    if kind == "object":
        values = field.get("additionalProperties")
        inner = _type(values, definitions) if isinstance(values, dict) else "any"
        return "mapping" if inner == "any" else f"mapping of {inner}"
    return str(kind if kind != "null" else "`null`") + _bounds(field)


def _bounds(field: Schema) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign}&nbsp;{field[word]}" for word, sign in words.items() if word in field]
    return f", {', '.join(said)}" if said else ""
