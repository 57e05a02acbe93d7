"""Where things came from and what came from them, as trees of short labels.

Upwards: material → candidates → relaxations, pool → model → training set. Downwards the
same way back. Every node carries its details in ``info`` and the software that made it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from logan_campaign.core.documents import Source
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    RelaxationRecord,
    TrainingSetRecord,
)

if TYPE_CHECKING:
    from logan_campaign.stores.queries import AnyRecord, CampaignDatabase

_LISTED = 12  # structures of a set that its tree shows one by one


@dataclass
class LineageNode:
    """One thing in a lineage.

    Attributes:
        kind: 'candidate', 'relaxation', 'pool', 'model', 'training_set', 'known',
            'material', 'campaign' or 'detail' (a line about the node above).
        id: its id; empty for details.
        label: one line for people.
        info: everything about it that a record holds, without structures.
        children: what it came from, or what came from it.
    """

    kind: str
    id: str
    label: str
    info: dict[str, Any] = field(default_factory=dict)
    children: list[LineageNode] = field(default_factory=list)


@dataclass
class Lineage:
    """Lineage of one thing.

    Attributes:
        node: the thing itself.
        up: what it came from.
        down: what came from it.
    """

    node: LineageNode
    up: list[LineageNode]
    down: list[LineageNode]

    def as_dict(self) -> dict[str, Any]:
        """Return the trees as plain, JSON-able dicts."""
        return {
            "node": asdict(self.node),
            "up": [asdict(node) for node in self.up],
            "down": [asdict(node) for node in self.down],
        }


def trace(database: CampaignDatabase, record: AnyRecord) -> Lineage:
    """Return the lineage of a record."""
    return _Tracer(database).trace(record)


class _Tracer:
    def __init__(self, database: CampaignDatabase) -> None:
        self._database = database
        self._models: dict[str, ModelRecord | None] = {}
        self._sets: dict[str, TrainingSetRecord | None] = {}

    def trace(self, record: AnyRecord) -> Lineage:
        if isinstance(record, CandidateRecord):
            return Lineage(_candidate(record), self.above_candidate(record), self.below(record))
        if isinstance(record, MaterialRecord):
            return Lineage(_material(record), self.above_material(record), [])
        if isinstance(record, ModelRecord):
            return Lineage(_model(record), self.above_model(record), self.below_model(record))
        if isinstance(record, TrainingSetRecord):
            return Lineage(_training_set(record), self.about_set(record), self.below_set(record))
        return Lineage(_campaign(record), self.above_campaign(record), self.below_campaign(record))

    # --- up -------------------------------------------------------------------------

    def above_candidate(self, record: CandidateRecord) -> list[LineageNode]:
        nodes = [_relaxation(relaxation) for relaxation in reversed(record.relaxations)]
        model = self.model(record.model_id)
        pools = {pool.id: pool for pool in model.pools} if model is not None else {}
        pool = pools.get(record.pool_id)
        node = LineageNode("pool", record.pool_id, f"{record.pool_id} (not in the database)")
        if pool is not None:
            node.label = f"{pool.id}: {pool.n_structures} structures, seed {pool.seed}"
            node.info = pool.model_dump(mode="json")
            node.children.append(_software(pool.source))
        node.label += f"; sample {record.sample_index}, picked by {record.strategy}"
        if model is None:
            text = f"{record.model_id} (not in the database)"
            node.children.append(LineageNode("model", record.model_id, text))
        else:
            above = _model(model)
            above.children = self.above_model(model)
            node.children.append(above)
        nodes.append(node)
        if record.match is not None:
            nodes.append(self.match(record))
        return nodes

    def match(self, record: CandidateRecord) -> LineageNode:
        """Return the node of what a candidate equals."""
        known = self.set(record.match_set) if record.match_set is not None else None
        if record.match_set is None:
            return LineageNode("candidate", str(record.match), f"equals {record.match}")
        text = f"equals known {record.match_label} ({record.match})"
        node = LineageNode("known", str(record.match), text)
        if known is not None:
            above = _training_set(known)
            above.children = self.about_set(known)
            node.children.append(above)
        return node

    def above_material(self, record: MaterialRecord) -> list[LineageNode]:
        nodes = []
        for candidate in self.candidates({"material_id": record.id}):
            node = _candidate(candidate)
            node.children = self.above_candidate(candidate)
            nodes.append(node)
        # The candidate that stands for the material comes first.
        return sorted(nodes, key=lambda node: node.id != record.best_candidate_id)

    def above_model(self, record: ModelRecord) -> list[LineageNode]:
        nodes = [_detail("hyperparameters", record.hyperparameters), _software(record.source)]
        start = self.model(record.start_id) if record.start_id is not None else None
        if start is not None:
            node = _model(start)
            node.label = f"went on from {node.label}"
            nodes.append(node)
        source = self.set(record.training_set_id)
        if source is None:
            text = f"{record.training_set_id} (not in the database)"
            nodes.append(LineageNode("training_set", record.training_set_id, text))
        else:
            node = _training_set(source)
            node.children = self.about_set(source)
            nodes.append(node)
        return nodes

    def about_set(self, record: TrainingSetRecord) -> list[LineageNode]:
        """Return what a set is made of; for one that rounds made, what it was made from."""
        nodes = _about_set(record)
        if record.query.get("type") != "rounds":
            return nodes
        base = self.set(str(record.query["base"]))
        if base is not None:
            above = _training_set(base)
            above.children = _about_set(base)
            nodes.append(above)
        wanted = {"id": {"$in": list(record.query["candidates"])}}
        for candidate in self.candidates(wanted):
            node = _candidate(candidate)
            model = self.model(candidate.model_id)
            if model is not None:  # whose own training set leads further up
                node.children.append(_model(model))
            nodes.append(node)
        return nodes

    def above_campaign(self, record: CampaignRecord) -> list[LineageNode]:
        nodes = []
        for set_id in [*record.training_set_ids, *record.known_set_ids]:
            found = self.set(set_id)
            if found is not None:
                node = _training_set(found)
                node.children = self.about_set(found)
                nodes.append(node)
        return [*nodes, _software(record.source)]

    # --- down -----------------------------------------------------------------------

    def below(self, record: CandidateRecord) -> list[LineageNode]:
        nodes = []
        if record.material_id is not None:
            found = self._database.stores.collection("materials").query_one(
                {"id": record.material_id}
            )
            if found is not None:
                found.pop("_id", None)
                nodes.append(_material(MaterialRecord.model_validate(found)))
        nodes += [_candidate(copy) for copy in self.candidates({"match": record.id})]
        return nodes

    def below_model(self, record: ModelRecord) -> list[LineageNode]:
        nodes = []
        for candidate in self.candidates({"model_id": record.id}):
            node = _candidate(candidate)
            if candidate.material_id is not None:
                text = f"{candidate.material_id}"
                node.children.append(LineageNode("material", candidate.material_id, text))
            nodes.append(node)
        return nodes

    def below_set(self, record: TrainingSetRecord) -> list[LineageNode]:
        nodes = []
        for model in self._database.models():
            if model.training_set_id == record.id:
                node = _model(model)
                node.children = self.below_model(model)
                nodes.append(node)
        for candidate in self.candidates({"match_set": record.id}):
            node = _candidate(candidate)
            node.label += f", equals {candidate.match_label}"
            nodes.append(node)
        return nodes

    def below_campaign(self, record: CampaignRecord) -> list[LineageNode]:
        nodes = []
        for model_id in record.model_ids:
            model = self.model(model_id)
            if model is not None:
                node = _model(model)
                node.children = self.below_model(model)
                nodes.append(node)
        return nodes

    # --- records --------------------------------------------------------------------

    def candidates(self, criteria: dict[str, Any]) -> list[CandidateRecord]:
        store = self._database.stores.collection("candidates")
        leave_out = {"raw_structure": 0, "structure": 0, "_id": 0}
        order = {"campaign_id": 1, "order": 1}
        docs = store.query(criteria, leave_out, sort=order)
        return [CandidateRecord.model_validate(doc) for doc in docs]

    def model(self, model_id: str) -> ModelRecord | None:
        if model_id not in self._models:
            doc = self._database.stores.collection("models").query_one({"id": model_id})
            self._models[model_id] = ModelRecord.model_validate(_bare(doc)) if doc else None
        return self._models[model_id]

    def set(self, set_id: str) -> TrainingSetRecord | None:
        if set_id not in self._sets:
            doc = self._database.stores.collection("training_sets").query_one({"id": set_id})
            self._sets[set_id] = TrainingSetRecord.model_validate(_bare(doc)) if doc else None
        return self._sets[set_id]


def _bare(doc: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in doc.items() if key != "_id"}


def _detail(title: str, values: dict[str, Any]) -> LineageNode:
    text = ", ".join(f"{key} {value}" for key, value in values.items())
    return LineageNode("detail", "", f"{title}: {text}", info=dict(values))


def _software(source: Source) -> LineageNode:
    return _detail("software", source.software)


def _energy(value: float | None) -> str:
    return "no energy" if value is None else f"{value:.4f} eV"


def _candidate(record: CandidateRecord) -> LineageNode:
    identity = record.smiles or record.spacegroup
    parts = [record.state, record.formula, identity, record.level]
    if record.energy_ev is not None:
        parts.append(_energy(record.energy_ev))
    text = " ".join(part for part in parts if part)
    info = record.model_dump(mode="json", exclude={"raw_structure", "structure"})
    return LineageNode("candidate", record.id, f"{record.id}: {text}", info)


def _relaxation(record: RelaxationRecord) -> LineageNode:
    text = (
        f"relaxed at {record.level} ({record.calculator}): {record.state}, "
        f"{record.n_steps} steps, {_energy(record.energy_ev)}"
    )
    if record.reason:
        text += f"; {record.reason}"
    children = [_detail("settings", record.settings), _software(record.source)]
    info = record.model_dump(mode="json")
    return LineageNode("relaxation", record.id, text, info, children)


def _model(record: ModelRecord) -> LineageNode:
    text = f"{record.id}: member {record.index}, {record.state}, seed {record.seed}"
    text += f", {record.steps} steps" if record.steps else ""
    if record.final_losses is not None:
        losses = record.final_losses
        text += (
            f", losses: generator {losses.generator_loss:.4g}, critic {losses.critic_loss:.4g}, "
            f"penalty {losses.penalty:.4g}"
        )
    return LineageNode("model", record.id, text, record.model_dump(mode="json"))


def _training_set(record: TrainingSetRecord) -> LineageNode:
    formulas = ", ".join(f"{n} {formula}" for formula, n in record.formulas.items())
    text = f"{record.id}: {record.role} set '{record.name}', {formulas}"
    return LineageNode("training_set", record.id, text, record.model_dump(mode="json"))


def _about_set(record: TrainingSetRecord) -> list[LineageNode]:
    """Return the source, the structures and the software of a set."""
    pairs = list(zip(record.structure_ids, record.labels, strict=True))
    listed = [LineageNode("known", sid, f"{sid} {label}") for sid, label in pairs[:_LISTED]]
    if len(pairs) > _LISTED:
        more = f"… and {len(pairs) - _LISTED} more (all in the JSON form)"
        listed.append(LineageNode("detail", "", more))
    hashes = LineageNode(
        "detail",
        "",
        f"structures: {record.n_structures}",
        info={"structures": [{"id": sid, "label": label} for sid, label in pairs]},
        children=listed,
    )
    return [_detail("source", record.query), hashes, _software(record.source)]


def _material(record: MaterialRecord) -> LineageNode:
    identity = record.smiles or record.spacegroup or ""
    text = f"{record.id}: {record.state} {record.formula} {identity}".rstrip()
    text += f", {_energy(record.energy_ev)}, {len(record.candidate_ids)} candidates"
    return LineageNode("material", record.id, text, record.model_dump(mode="json"))


def _campaign(record: CampaignRecord) -> LineageNode:
    text = f"{record.id}: campaign '{record.name}', {record.formula}, seed {record.seed}"
    return LineageNode("campaign", record.id, text, record.model_dump(mode="json"))
