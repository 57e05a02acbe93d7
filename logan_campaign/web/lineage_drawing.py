"""Layout of a lineage graph in columns: sets, models, pools, candidates, materials."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from logan_campaign.stores.lineage import Lineage, Node

_COLUMNS = {
    "training_set": 0,
    "model": 1,
    "known": 2,
    "pool": 2,
    "candidate": 3,
    "relaxation": 4,
    "material": 4,
    "campaign": 4,
}
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 206, 46, 34, 12, 8
#: Maximum number of boxes per column.
_PER_COLUMN = 14
_PAGES = {
    "candidate": "candidates",
    "material": "materials",
    "model": "models",
    "training_set": "sets",
    "campaign": "campaigns",
}
_LABEL_LENGTH = 26


@dataclass(frozen=True)
class Box:
    """A node, with its upper left corner in pixels; ``page`` is empty if it has none."""

    x: int
    y: int
    kind: str
    text: str
    title: str
    page: str
    is_root: bool


@dataclass(frozen=True)
class Drawing:
    """A laid-out graph; ``edges`` are SVG paths."""

    width: int
    height: int
    boxes: list[Box]
    edges: list[str]
    n_hidden: int
    box_width: int = _WIDTH
    box_height: int = _HEIGHT


def draw_lineage(graph: Lineage) -> Drawing:
    """Lay out the graph of a lineage.

    Nodes beyond the maximum of a column are omitted, except the root.
    """
    root = graph.root
    columns: defaultdict[int, list[str]] = defaultdict(list)
    n_hidden = 0
    came_of_root = graph.descendants(root)
    for name, node in graph.nodes.items():
        column = _COLUMNS.get(node.kind, 4)
        if node.kind == "candidate" and name in came_of_root:
            column = 4
        if name == root:
            columns[column].insert(0, name)
        else:
            columns[column].append(name)
    for column, names in columns.items():
        n_hidden += max(0, len(names) - _PER_COLUMN)
        columns[column] = names[:_PER_COLUMN]
    used = sorted(columns)
    tallest = max(len(names) for names in columns.values())
    places: dict[str, tuple[int, int]] = {}
    for place, column in enumerate(used):
        names = columns[column]
        top = (tallest - len(names)) * (_HEIGHT + _GAP_Y) // 2
        for row, name in enumerate(names):
            x = _MARGIN + place * (_WIDTH + _GAP_X)
            places[name] = (x, _MARGIN + top + row * (_HEIGHT + _GAP_Y))
    boxes = [_box(graph.nodes[name], x, y, name == root) for name, (x, y) in places.items()]
    edges = [
        _path(places[edge.source], places[edge.target])
        for edge in graph.edges
        if edge.source in places and edge.target in places
    ]
    return Drawing(
        width=2 * _MARGIN + len(used) * (_WIDTH + _GAP_X) - _GAP_X,
        height=2 * _MARGIN + tallest * (_HEIGHT + _GAP_Y) - _GAP_Y,
        boxes=boxes,
        edges=edges,
        n_hidden=n_hidden,
    )


def named_kind(node: Node) -> str:
    """Return what a node is, in words: known sets are told from training sets."""
    if node.kind == "training_set":
        return f"{node.info.get('role', 'training')} set"
    return "known structure" if node.kind == "known" else node.kind


def _box(node: Node, x: int, y: int, is_root: bool) -> Box:
    page = _PAGES.get(node.kind)
    return Box(
        x=x,
        y=y,
        kind=named_kind(node),
        text=_short(node.kind, node.id, node.info, node.label),
        title=node.label,
        page="" if page is None else f"/{page}/{node.id}",
        is_root=is_root,
    )


def _short(kind: str, name: str, info: dict[str, object], label: str) -> str:
    """Return a short text for a box."""
    bare = name.split("-", 1)[-1]
    if kind == "relaxation":
        text = f"{info.get('level')}: {info.get('state')}"
    elif kind == "training_set":
        text = str(info.get("name") or name)
    elif kind == "known":
        text = label.removeprefix("known ").split(" (", 1)[0] or name
    elif kind == "material":
        text = str(info.get("smiles") or info.get("known_label") or info.get("spacegroup") or name)
    elif kind == "model":
        text = f"#{info['index']} {bare}" if "index" in info else name
    else:
        text = f"{info['state']} {bare}" if "state" in info else name
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"


def _path(first: tuple[int, int], then: tuple[int, int]) -> str:
    x1, y1 = first[0] + _WIDTH, first[1] + _HEIGHT // 2
    x2, y2 = then[0], then[1] + _HEIGHT // 2
    if then[0] == first[0]:  # in the same column: vertical
        x, down = first[0] + _WIDTH // 2, then[1] > first[1]
        return f"M {x} {first[1] + _HEIGHT * down} L {x} {then[1] + _HEIGHT * (not down)}"
    if then[0] < first[0]:  # back to the left: a known structure and its set
        x1, x2 = first[0], then[0] + _WIDTH
    bend = (x2 - x1) // 2
    return f"M {x1} {y1} C {x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
