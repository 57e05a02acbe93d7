"""Derive the campaign database from the job documents.

One item is one campaign, since its records depend on all its documents (an energy above the
minimum depends on every other candidate). A campaign is derived again if a document was added or
changed, and skipped otherwise. Records are written by their declared keys and only if they differ:
building twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

from maggma.core import Builder, Store

from logan_campaign.core.documents import Record
from logan_campaign.stores.collections import CAMPAIGN_DATABASE, CollectionName
from logan_campaign.stores.current import campaign_ids, job_documents, outdated
from logan_campaign.stores.derive import (
    ROLES,
    CampaignRecords,
    Doc,
    as_stored,
    derive,
    material,
)
from logan_campaign.stores.open import CampaignStores
from logan_campaign.stores.records import (
    CandidateRecord,
    ModelRecord,
    TrainingSetRecord,
    read_record,
)
from logan_campaign.stores.sqlite import SQLiteCollection, transaction

_CHUNK = 500

S = TypeVar("S", TrainingSetRecord, ModelRecord)


class CampaignItem(NamedTuple):
    """The job documents of one campaign."""

    campaign_id: str
    documents: list[Doc]


class CampaignBuilder(Builder):
    """Build the collections of the campaign database.

    Args:
        docs: store of the job documents.
        records: target collections.
        campaign_id: only this campaign; None for all.
        rebuild: derive campaigns even if none of their documents changed.
    """

    def __init__(
        self,
        docs: Store,
        records: Mapping[CollectionName, Store],
        campaign_id: str | None = None,
        rebuild: bool = False,
    ) -> None:
        self.docs, self.records = docs, records
        self.campaign_id, self.rebuild = campaign_id, rebuild
        super().__init__(sources=[docs], targets=list(records.values()), chunk_size=1)

    @classmethod
    def from_stores(
        cls, stores: CampaignStores, campaign_id: str | None = None, rebuild: bool = False
    ) -> CampaignBuilder:
        """Return a builder over opened stores."""
        collections = {name: stores.collection(name) for name in CAMPAIGN_DATABASE}
        return cls(stores.docs, collections, campaign_id, rebuild)

    def build(self) -> list[str]:
        """Build what has changed, on connected stores, which stay connected.

        Returns:
            Ids of the campaigns that were derived again.

        Raises:
            StoreError: a store is unusable, or a document is invalid.
        """
        built = []
        for item in self.get_items():
            records = self.process_item(item)
            if records is not None:
                self.update_targets([records])
                built.append(item.campaign_id)
        return built

    def get_items(self) -> Iterator[CampaignItem]:
        """Yield the campaigns with new or changed documents."""
        if self.rebuild:
            named: Iterable[str] = (
                campaign_ids(self.docs) if self.campaign_id is None else [self.campaign_id]
            )
        else:
            named = outdated(self.docs, self.records, self.campaign_id)
        fields = ["uuid", "index", "completed_at", "hosts", "output"]
        for campaign_id in named:
            found = self.docs.query(job_documents(campaign_id), fields)
            yield CampaignItem(campaign_id, list(found))

    def process_item(self, item: CampaignItem) -> CampaignRecords | None:
        """Return the records of a campaign, None before its own document exists."""
        return derive(item.documents)

    def update_targets(self, items: list[CampaignRecords]) -> None:
        """Write the records of campaigns, on SQLite in one transaction per campaign."""
        for records in items:
            with self._transaction():
                self._update(records)

    def _transaction(self) -> AbstractContextManager[None]:
        embedded = [store for store in self.targets if isinstance(store, SQLiteCollection)]
        return transaction(*embedded) if embedded else nullcontext()

    def _update(self, records: CampaignRecords) -> None:
        campaign_id = records.campaign.id
        mine = {"campaign_id": campaign_id}
        before = {
            doc["id"]: doc.get("material_id")
            for doc in self.records["candidates"].query(mine, ["id", "material_id"])
        }
        _merge_shared(self.records["training_sets"], records.training_sets, campaign_id)
        _merge_shared(self.records["models"], records.models, campaign_id)
        _upsert(self.records["candidates"], records.candidates)
        now = {record.id: record.material_id for record in records.candidates}
        gone = sorted(before.keys() - now.keys())
        if gone:
            self.records["candidates"].remove_docs({"id": {"$in": gone}})
        touched = {*before.values(), *now.values()} - {None}
        self._update_materials(sorted(str(material_id) for material_id in touched))
        # Last, so that an interrupted build on MongoDB is repeated.
        _upsert(self.records["campaigns"], [records.campaign])

    def _update_materials(self, material_ids: list[str]) -> None:
        for start in range(0, len(material_ids), _CHUNK):
            chunk = material_ids[start : start + _CHUNK]
            members: dict[str, list[CandidateRecord]] = {name: [] for name in chunk}
            wanted = {"material_id": {"$in": chunk}}
            without = {"raw_structure": 0, "structure": 0}
            for doc in self.records["candidates"].query(wanted, without):
                members[doc["material_id"]].append(read_record(CandidateRecord, doc))
            found = {key: material(key, docs) for key, docs in members.items()}
            whole = [record for record in found.values() if record is not None]
            _upsert(self.records["materials"], whole)
            empty = [key for key, record in found.items() if record is None]
            if empty:
                self.records["materials"].remove_docs({"id": {"$in": empty}})


def _upsert(store: Store, records: Sequence[Record]) -> None:
    for start in range(0, len(records), _CHUNK):
        chunk = records[start : start + _CHUNK]
        store.update([as_stored(record) for record in chunk], key="id")


def _merge_shared(store: Store, records: Sequence[S], campaign_id: str) -> None:
    """Write records shared by campaigns.

    Values that differ between campaigns are taken from the smallest id, so that the result does not
    depend on the order of building.
    """
    merged = []
    for record in records:
        doc = store.query_one({"id": record.id})
        known = read_record(type(record), doc) if doc else record
        merged.append(_merged(known, record, campaign_id))
    _upsert(store, merged)


def _merged(known: Any, record: Any, campaign_id: str) -> Any:
    others = sorted(set(known.campaign_ids) - {campaign_id})
    if not others:
        return record
    result = (known if others[0] < campaign_id else record).model_copy()
    result.campaign_ids = sorted([*others, campaign_id])
    if isinstance(known, TrainingSetRecord):
        uses = {use.campaign_id: use for use in [*known.uses, *record.uses]}
        result.uses = [uses[key] for key in sorted(uses)]
        result.role = min((use.role for use in result.uses), key=ROLES.index)
    else:
        pools = {pool.id: pool for pool in [*known.pools, *record.pools]}
        result.pools = [pools[key] for key in sorted(pools)]
    return result
