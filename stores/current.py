"""Find campaigns whose records are older than their job documents.

Separate from the builders, which import maggma: commands that read check here first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from logan_campaign.stores.derive import DOC_TYPES, ROLES, Doc, document_key, documents_hash, latest

if TYPE_CHECKING:
    from maggma.core import Store

    from logan_campaign.stores.collections import CollectionName

_CHUNK = 500


def job_documents(campaign_id: str) -> Doc:
    """Return the criteria for the job documents from which a campaign's records are derived."""
    return {
        "metadata.campaign_id": campaign_id,
        "output.doc_type": {"$in": list(DOC_TYPES)},
    }


def outdated(
    docs: Store, records: Mapping[CollectionName, Store], campaign_id: str | None = None
) -> Iterator[str]:
    """Yield the ids of campaigns whose records do not match their job documents.

    Args:
        docs: store of the job documents.
        records: collections of the campaign database.
        campaign_id: only this campaign; None for all.
    """
    for found in campaign_ids(docs) if campaign_id is None else [campaign_id]:
        if not _is_current(docs, records, found):
            yield found


def campaign_ids(docs: Store) -> list[str]:
    """Return the ids of all campaigns whose own document is in a store."""
    found = docs.distinct("metadata.campaign_id", {"output.doc_type": "campaign"})
    return sorted(name for name in found if isinstance(name, str))


def _is_current(docs: Store, records: Mapping[CollectionName, Store], campaign_id: str) -> bool:
    about = records["campaigns"].query_one(
        {"id": campaign_id}, {"spec": 0, "selections": 0, "references": 0}
    )
    if about is None:
        return False
    fields = ["uuid", "index", "completed_at", "output.doc_type", "output.schema_version"]
    keys = [document_key(doc) for doc in latest(docs.query(job_documents(campaign_id), fields))]
    if documents_hash(keys) != about["job_documents_hash"]:
        return False
    # A collection that was emptied is filled again. Ids are found by an index, while lists of
    # campaigns in shared records would be read one by one.
    mine = {"campaign_id": campaign_id}
    materials = records["candidates"].distinct("material_id", mine)
    sets = [name for role in ROLES for name in about.get(f"{role}_set_ids") or []]
    return (
        records["candidates"].count(mine) == about["n_candidates"]
        and _all_there(records["models"], about["model_ids"])
        and _all_there(records["training_sets"], sets)
        and _all_there(records["materials"], [found for found in materials if found is not None])
    )


def _all_there(store: Store, ids: Sequence[str]) -> bool:
    ids = sorted(set(ids))
    chunks = [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
    return sum(store.count({"id": {"$in": chunk}}) for chunk in chunks) == len(ids)
