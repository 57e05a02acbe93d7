"""Lineage as a graph: every edge leads from what was there first to what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logan_campaign.stores.lineage import Lineage, LineageNode

if TYPE_CHECKING:
    import networkx as nx


def lineage_graph(lineage: Lineage) -> nx.DiGraph:
    """Return the graph of a lineage.

    Nodes are ids, with ``kind``, ``label``, ``info`` and ``details`` (lines such as the
    software that made it); the graph's attribute ``root`` is the id that was asked for.
    Edges have ``relation``: the kinds of their ends, such as 'model → pool', or 'equals'.
    """
    import networkx as nx  # takes half a second: only who asks for a graph shall wait

    graph = nx.DiGraph(root=lineage.node.id)
    _add(graph, lineage.node)
    for child in lineage.up:
        _grow(graph, lineage.node, child, upwards=True)
    for child in lineage.down:
        _grow(graph, lineage.node, child, upwards=False)
    return graph


def _add(graph: nx.DiGraph, node: LineageNode) -> None:
    if node.id in graph and graph.nodes[node.id]["info"]:
        return  # the first one that knows anything tells it
    graph.add_node(node.id, kind=node.kind, label=node.label, info=node.info, details=[])


def _grow(graph: nx.DiGraph, parent: LineageNode, node: LineageNode, upwards: bool) -> None:
    if node.kind == "detail":
        details = graph.nodes[parent.id]["details"]
        if node.label not in details:
            details.append(node.label)
        for child in node.children:  # the structures of a set stand below a line about them
            _grow(graph, parent, child, upwards)
        return
    _add(graph, node)
    first, then = _ends(parent, node, upwards)
    equals = node.label.startswith("equals ") or parent.kind == node.kind == "candidate"
    relation = "equals" if equals else f"{first.kind} → {then.kind}"
    graph.add_edge(first.id, then.id, relation=relation)
    for child in node.children:
        _grow(graph, node, child, upwards)


def _ends(parent: LineageNode, node: LineageNode, upwards: bool) -> tuple[LineageNode, LineageNode]:
    """Return which of two neighbours in a tree was there first, and which came of it."""
    pair = {parent.kind: parent, node.kind: node}
    # Trees show some things above what they came from: a relaxation above its candidate,
    # and the set of a known structure above the structure.
    for before, after in (("candidate", "relaxation"), ("known", "training_set")):
        if pair.keys() == {before, after}:
            return pair[before], pair[after]
    return (node, parent) if upwards else (parent, node)
