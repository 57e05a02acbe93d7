"""The collections of a store: names, keys and indexes in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CollectionName = Literal["campaigns", "training_sets", "models", "candidates", "materials", "pulls"]


@dataclass(frozen=True)
class Collection:
    """A collection's name, the field that identifies a document, and its indexes.

    Each index is a tuple of dotted paths; ``key`` is indexed besides.
    """

    name: str
    key: str = "id"
    indexes: tuple[tuple[str, ...], ...] = field(default=())


#: Job documents, as jobflow writes them.
OUTPUTS = Collection(
    "outputs",
    key="uuid",
    indexes=(
        ("uuid", "index"),
        ("completed_at",),
        ("metadata.campaign_id", "output.doc_type"),
    ),
)
#: Large parts of job documents (jobflow's additional store ``data``).
BLOBS = Collection("outputs_blobs", key="blob_uuid")
#: What a runner notes about flows and jobs.
LEDGER = Collection("ledger", indexes=(("flow_id", "doc_type", "order"), ("doc_type",), ("state",)))

#: Known entries to match candidates against; read by key, never whole.
KNOWN = Collection(
    "known_entries",
    indexes=(
        ("kind", "composition", "n_sites"),
        ("smiles",),
        ("smiles_stereo",),
        ("inchi",),
    ),
)
#: Pulls of sources, derived from the documents of the jobs that pulled.
PULLS = Collection("pulls", indexes=(("query_id", "order"), ("set_id",)))

#: What lists of candidates are narrowed by. Each comes in the two orders in which they are
#: read, first as picked and then lowest energy first; without a campaign, the first of a
#: pair still finds the rows.
_NARROWED_BY = (
    "state",
    "formula",
    "smiles",
    "spacegroup",
    "level",
    "model_id",
    "strategy",
    "round",
)
_CANDIDATE_INDEXES = (
    ("campaign_id", "order"),
    ("campaign_id", "energy_above_min_ev", "order"),
    ("campaign_id", "energy_above_hull_ev_per_atom", "order"),
    # the best first: level by level, the energies of one level among themselves
    ("campaign_id", "level", "energy_ev", "order"),
    ("campaign_id", "state", "level", "energy_ev", "order"),
    *((field, "campaign_id", "order") for field in _NARROWED_BY),
    *((field, "campaign_id", "energy_above_min_ev", "order") for field in _NARROWED_BY),
    # few candidates each, or nearly all: as picked will do
    *((field, "campaign_id", "order") for field in ("material_id", "match", "training_set_id")),
    ("match_set",),
    ("energy_above_min_ev",),
)

#: The campaign database, derived from the job documents.
CAMPAIGN_DATABASE: dict[CollectionName, Collection] = {
    "campaigns": Collection("campaigns", indexes=(("name",),)),
    "training_sets": Collection("training_sets", indexes=(("campaign_ids",),)),
    "models": Collection("models", indexes=(("campaign_ids",), ("training_set_id",), ("formula",))),
    "candidates": Collection("candidates", indexes=_CANDIDATE_INDEXES),
    "materials": Collection(
        "materials",
        indexes=(
            ("campaign_ids",),
            ("candidate_ids",),
            ("formula",),
            ("smiles",),
            ("spacegroup",),
            ("energy_ev",),
        ),
    ),
}
