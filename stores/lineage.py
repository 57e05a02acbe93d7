"""Lineage of the objects of a campaign, as a typed graph.

Every edge points from the earlier object to the derived one. Text, JSON, pictures and pages are
made from the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from logan_campaign.core.documents import Source
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    RelaxationRecord,
    TrainingSetRecord,
    read_record,
)

if TYPE_CHECKING:
    import networkx as nx

    from logan_campaign.stores.queries import AnyRecord, CampaignDatabase

_LISTED = 12  # structures of a set that its details name one by one

R = TypeVar("R", bound="AnyRecord")

Kind = Literal[
    "training_set", "model", "pool", "candidate", "relaxation", "known", "material", "campaign"
]


class Relation(StrEnum):
    """Relation of a derived object to an earlier one."""

    TRAINED = "trained"  # set to model, campaign to models
    CONTINUED = "continued as"  # model to model that started from its weights
    GENERATED = "generated"  # model to pool
    PICKED = "picked"  # pool to candidate
    RELAXED = "relaxed"  # candidate to relaxation
    BECAME = "became"  # candidate to material
    EQUALS = "equals"  # known structure or candidate to candidate
    BROUGHT = "brought by"  # set to generator outside
    HOLDS = "holds"  # set to known structure
    GREW = "grew into"  # set or candidate to training set of a later round
    USED = "used by"  # set to campaign


@dataclass
class Node:
    """One object in a lineage.

    Attributes:
        id: its id.
        kind: its kind.
        label: description in one line.
        info: fields of its record without structures; empty if there is no record.
        details: further lines, such as software versions.
    """

    id: str
    kind: Kind
    label: str
    info: dict[str, Any] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Edge:
    """Relation between two objects.

    Attributes:
        relation: kind of relation.
        source: id of the earlier object.
        target: id of the derived object.
        note: further description; may be empty.
    """

    relation: Relation
    source: str
    target: str
    note: str = ""


@dataclass
class Lineage:
    """Lineage of one object.

    Attributes:
        root: id of the object.
        nodes: all objects by id.
        edges: relations between them.
    """

    root: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def before(self, identity: str) -> Iterator[tuple[Edge, Node]]:
        """Yield the origins of an object; relaxations of a candidate first, from last to first."""
        for edge in reversed(self.edges):
            if edge.source == identity and edge.relation is Relation.RELAXED:
                yield edge, self.nodes[edge.target]
        for edge in self.edges:
            if edge.target == identity and edge.relation is not Relation.RELAXED:
                yield edge, self.nodes[edge.source]

    def after(self, identity: str) -> Iterator[tuple[Edge, Node]]:
        """Yield the objects derived from an object, without its own relaxations."""
        for edge in self.edges:
            if edge.source == identity and edge.relation is not Relation.RELAXED:
                yield edge, self.nodes[edge.target]

    def descendants(self, identity: str) -> set[str]:
        """Return the ids of all objects derived from an object."""
        found: set[str] = set()
        todo = [identity]
        while todo:
            here = todo.pop()
            new = {edge.target for edge in self.edges if edge.source == here} - found
            found |= new
            todo += new
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the graph as a dictionary of JSON values."""
        return asdict(self) | {"nodes": [asdict(node) for node in self.nodes.values()]}

    def to_networkx(self) -> nx.DiGraph:
        """Return the graph for networkx, with the attributes of nodes and edges.

        The graph's attribute ``root`` is the id of the object.
        """
        import networkx as nx  # takes half a second to import

        graph = nx.DiGraph(root=self.root)
        graph.add_nodes_from((name, asdict(node)) for name, node in self.nodes.items())
        graph.add_edges_from(
            (e.source, e.target, {"relation": e.relation.value}) for e in self.edges
        )
        return graph


def trace(database: CampaignDatabase, record: AnyRecord) -> Lineage:
    """Return the lineage of a record."""
    tracer = _Tracer(database, Lineage(record.id))
    tracer.above(record)
    tracer.below(record)
    return tracer.graph


class _Tracer:
    def __init__(self, database: CampaignDatabase, graph: Lineage) -> None:
        self._database = database
        self.graph = graph
        self._done: set[str] = set()  # ids whose origins are in the graph

    def add(self, record: AnyRecord) -> None:
        """Add the node of a record, or complete an existing node."""
        known = self.graph.nodes.get(record.id)
        if known is None or not known.info:
            self.graph.nodes[record.id] = _node(record)

    def add_missing(self, kind: Kind, identity: str) -> None:
        text = f"{identity} (not in the database)"
        self.graph.nodes.setdefault(identity, Node(identity, kind, text))

    def join(self, relation: Relation, source: str, target: str, note: str = "") -> None:
        edge = Edge(relation, source, target, note)
        if edge not in self.graph.edges:
            self.graph.edges.append(edge)

    # --- what came before -----------------------------------------------------------

    def above(self, record: AnyRecord) -> None:
        """Add a record and its origins."""
        self.add(record)
        if record.id in self._done:
            return
        self._done.add(record.id)
        if isinstance(record, CandidateRecord):
            self._above_candidate(record)
        elif isinstance(record, MaterialRecord):
            members = self.candidates({"material_id": record.id})
            # The candidate that represents the material is first.
            for candidate in sorted(members, key=lambda c: c.id != record.best_candidate_id):
                self.above(candidate)
                self.join(Relation.BECAME, candidate.id, record.id)
        elif isinstance(record, ModelRecord):
            if start := self.added(ModelRecord, "models", record.start_id):
                self.join(Relation.CONTINUED, start.id, record.id)
            if record.training_set_id is not None:
                self._above_set(record.training_set_id)
                self.join(Relation.TRAINED, record.training_set_id, record.id)
            if record.set_id is not None:
                self._above_set(record.set_id)
                self.join(Relation.BROUGHT, record.set_id, record.id)
        elif isinstance(record, TrainingSetRecord):
            self._above_learned(record)
        else:
            for set_id in (*record.training_set_ids, *record.known_set_ids):
                self._above_set(set_id)
                self.join(Relation.USED, set_id, record.id)

    def _above_candidate(self, record: CandidateRecord) -> None:
        for relaxation in record.relaxations:
            self.graph.nodes[relaxation.id] = _relaxation(relaxation)
            self.join(Relation.RELAXED, record.id, relaxation.id)
        self.add_missing("pool", record.pool_id)
        from_file = f" ({record.origin}, {record.origin_id})" if record.origin else ""
        note = f"sample {record.sample_index}{from_file}, picked by {record.strategy}"
        self.join(Relation.PICKED, record.pool_id, record.id, note)
        model = self.find(ModelRecord, "models", record.model_id)
        if model is None:
            self.add_missing("model", record.model_id)
        else:
            self.above(model)
            for pool in model.pools:
                if pool.id == record.pool_id:
                    text = f"{pool.id}: {pool.n_structures} structures, seed {pool.seed}"
                    info, software = pool.model_dump(mode="json"), [_software(pool.source)]
                    self.graph.nodes[pool.id] = Node(pool.id, "pool", text, info, software)
        self.join(Relation.GENERATED, record.model_id, record.pool_id)
        if record.match is None:
            return
        if record.match_set is None:
            for other in self.candidates({"id": record.match}):
                self.add(other)
            self.add_missing("candidate", record.match)
        else:
            text = f"known {record.match_label} ({record.match})"
            self.graph.nodes.setdefault(record.match, Node(record.match, "known", text))
            self._above_set(record.match_set)
            self.join(Relation.HOLDS, record.match_set, record.match)
        self.join(Relation.EQUALS, record.match, record.id)

    def _above_set(self, set_id: str) -> None:
        found = self.find(TrainingSetRecord, "training_sets", set_id)
        if found is None:
            self.add_missing("training_set", set_id)
        else:
            self.above(found)

    def _above_learned(self, record: TrainingSetRecord) -> None:
        """Add the origins of a set made by rounds."""
        if record.query.get("type") != "rounds":
            return
        if base := self.added(TrainingSetRecord, "training_sets", record.query["base"]):
            self.join(Relation.GREW, base.id, record.id)
        for candidate in self.candidates({"id": {"$in": list(record.query["candidates"])}}):
            self.add(candidate)
            self.join(Relation.GREW, candidate.id, record.id)
            # its training set has further origins
            if self.added(ModelRecord, "models", candidate.model_id):
                self._picked(candidate)

    # --- what came of it ------------------------------------------------------------

    def below(self, record: AnyRecord) -> None:
        """Add the objects derived from a record."""
        if isinstance(record, CandidateRecord):
            self._became(record)
            for copy in self.candidates({"match": record.id}):
                self.add(copy)
                self.join(Relation.EQUALS, record.id, copy.id)
        elif isinstance(record, ModelRecord):
            for candidate in self.candidates({"model_id": record.id}):
                self.add(candidate)
                self._picked(candidate)
                self._became(candidate)
        elif isinstance(record, TrainingSetRecord):
            for model in self._database.models():
                if model.training_set_id == record.id:
                    self.add(model)
                    self.join(Relation.TRAINED, record.id, model.id)
                    self.below(model)
            for candidate in self.candidates({"match_set": record.id}):
                self.above(candidate)
        elif isinstance(record, CampaignRecord):
            for model_id in record.model_ids:
                if found := self.added(ModelRecord, "models", model_id):
                    self.join(Relation.TRAINED, record.id, found.id)
                    self.below(found)

    def _became(self, candidate: CandidateRecord) -> None:
        if found := self.added(MaterialRecord, "materials", candidate.material_id):
            self.join(Relation.BECAME, candidate.id, found.id)

    def _picked(self, candidate: CandidateRecord) -> None:
        """Lead from a model to its candidate."""
        self.add_missing("pool", candidate.pool_id)
        self.join(Relation.GENERATED, candidate.model_id, candidate.pool_id)
        self.join(Relation.PICKED, candidate.pool_id, candidate.id)

    # --- records --------------------------------------------------------------------

    def candidates(self, criteria: dict[str, Any]) -> Sequence[CandidateRecord]:
        """Return candidates in the order of their picks, without structures."""
        order = {"campaign_id": 1, "order": 1}
        return list(self._database.candidates_where([(criteria, order)], structures=False))

    def added(self, kind: type[R], collection: Any, identity: str | None) -> R | None:
        """Add a record without what came before it; None if there is none."""
        found = self.find(kind, collection, identity)
        if found is not None:
            self.add(found)
        return found

    def find(self, kind: type[R], collection: Any, identity: str | None) -> R | None:
        """Return a record of a collection; None if there is none."""
        if identity is None:
            return None
        doc = self._database.stores.collection(collection).query_one({"id": identity})
        return None if doc is None else read_record(kind, doc)


def _software(source: Source) -> str:
    return _detail("software", source.software)


def _detail(title: str, values: dict[str, Any]) -> str:
    return f"{title}: " + ", ".join(f"{key} {value}" for key, value in values.items())


def _energy(value: float | None) -> str:
    return "no energy" if value is None else f"{value:.4f} eV"


def _node(record: AnyRecord) -> Node:
    info = record.model_dump(mode="json", exclude={"raw_structure", "structure"})
    details: list[str] = []
    kind: Kind
    if isinstance(record, CandidateRecord):
        kind = "candidate"
        energy = None if record.energy_ev is None else _energy(record.energy_ev)
        identity = record.smiles or record.spacegroup
        parts = [record.state, record.formula, identity, record.level, energy]
        text = " ".join(part for part in parts if part)
    elif isinstance(record, MaterialRecord):
        kind = "material"
        identity = record.smiles or record.spacegroup or ""
        text = f"{record.state} {record.formula} {identity}".rstrip()
        text += f", {_energy(record.energy_ev)}, {len(record.candidate_ids)} candidates"
    elif isinstance(record, ModelRecord):
        kind = "model"
        if record.state == "external":
            text = f"generator {record.hyperparameters['generator']}, not of this program"
        elif record.state == "untrained":
            text = f"generator {record.hyperparameters['method']}, not trained"
        else:
            text = f"member {record.index}, {record.state}, seed {record.seed}"
        text += f", {record.steps} steps" if record.steps else ""
        if record.final_losses is not None:
            losses = record.final_losses
            text += (
                f", losses: generator {losses.generator_loss:.4g}, critic "
                f"{losses.critic_loss:.4g}, penalty {losses.penalty:.4g}"
            )
        details = [_detail("hyperparameters", record.hyperparameters), _software(record.source)]
    elif isinstance(record, TrainingSetRecord):
        kind = "training_set"
        formulas = ", ".join(f"{n} {formula}" for formula, n in record.formulas.items())
        text = f"{record.role} set '{record.name}', {formulas}"
        pairs = list(zip(record.structure_ids, record.labels, strict=True))
        details = [_detail("source", record.query), f"structures: {record.n_structures}"]
        details += [f"{identity} {label}" for identity, label in pairs[:_LISTED]]
        if len(pairs) > _LISTED:
            details.append(f"… and {len(pairs) - _LISTED} more (all in the JSON form)")
        details.append(_software(record.source))
    else:
        kind = "campaign"
        text = f"campaign '{record.name}', {record.formula}, seed {record.seed}"
        details = [_software(record.source)]
    return Node(record.id, kind, f"{record.id}: {text}", info, details)


def _relaxation(record: RelaxationRecord) -> Node:
    text = (
        f"relaxed at {record.level} ({record.calculator}): {record.state}, "
        f"{record.n_steps} steps, {_energy(record.energy_ev)}"
    )
    if record.reason:
        text += f"; {record.reason}"
    details = [_detail("settings", record.settings), _software(record.source)]
    return Node(record.id, "relaxation", text, record.model_dump(mode="json"), details)
