"""The collections of a store: names, keys and indexes in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from logan_campaign.stores.filters import candidate_indexes

CollectionName = Literal["campaigns", "training_sets", "models", "candidates", "materials", "pulls"]


@dataclass(frozen=True)
class Collection:
    """A collection's name, the field that identifies a document, and its indexes.

    Each index is a tuple of dotted paths; ``key`` is indexed too. On SQLite a large
    ``payload_field`` is stored compressed and separately, so that searches do not read it.
    """

    name: str
    key: str = "id"
    indexes: tuple[tuple[str, ...], ...] = field(default=())
    payload_field: str | None = None


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
#: Blobs of job documents (jobflow's additional store ``data``).
BLOBS = Collection(
    "outputs_blobs",
    key="blob_uuid",
    indexes=(("blob_uuid",), ("job_uuid", "job_index")),
    payload_field="data",
)
#: The runner's records of flows and jobs.
LEDGER = Collection("ledger", indexes=(("flow_id", "doc_type", "order"), ("doc_type",), ("state",)))

#: Known entries to match candidates with, read by key.
KNOWN = Collection(
    "known_entries",
    indexes=(
        ("kind", "composition", "n_sites"),
        ("smiles",),
        ("smiles_stereo",),
        ("inchi",),
    ),
)
#: Pulls of sources, derived from the documents of pull jobs.
PULLS = Collection("pulls", indexes=(("query_id", "order"), ("set_id",)))

#: The campaign database, derived from the job documents.
CAMPAIGN_DATABASE: dict[CollectionName, Collection] = {
    "campaigns": Collection("campaigns", indexes=(("name",),)),
    "training_sets": Collection("training_sets", indexes=(("campaign_ids",),)),
    "models": Collection("models", indexes=(("campaign_ids",), ("training_set_id",), ("formula",))),
    "candidates": Collection("candidates", indexes=tuple(candidate_indexes())),
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
