"""Pulls of sources and their changes, derived from the job documents."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from maggma.core import Builder, Store

from logan_campaign.core.documents import (
    BlobRef,
    Manifest,
    PulledRecord,
    StructureEntry,
    TrainingSetDoc,
    blob_ref,
    shared,
)
from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.core.ids import content_id
from logan_campaign.sources.changes import compare
from logan_campaign.stores.derive import Doc, as_stored, latest, read_job, training_set
from logan_campaign.stores.open import CampaignStores
from logan_campaign.stores.records import PullRecord, TrainingSetRecord, read_record

_FIELDS = ["uuid", "index", "completed_at", "hosts", "metadata", "output"]
_HEAD = ["uuid", "index", "completed_at", "output.query_id", "output.doc_type"]


class Pull(NamedTuple):
    """The records of a pull and of its set."""

    record: PullRecord
    as_set: TrainingSetRecord


class PullBuilder(Builder):
    """Build the collection of pulls, and the sets of pulls outside campaigns.

    One item is one query with all its pulls; queries without new documents are skipped.

    Args:
        docs: store of the job documents.
        data: store of their blobs.
        pulls: target collection of pulls.
        training_sets: target collection of sets, shared with the campaigns.
    """

    def __init__(self, docs: Store, data: Store, pulls: Store, training_sets: Store) -> None:
        self.docs = docs
        self.data = data
        self.pulls = pulls
        self.training_sets = training_sets
        super().__init__(sources=[docs, data], targets=[pulls, training_sets], chunk_size=1)

    @classmethod
    def from_stores(cls, stores: CampaignStores) -> PullBuilder:
        """Return a builder over opened stores."""
        pulls, training_sets = stores.collection("pulls"), stores.collection("training_sets")
        return cls(stores.docs, stores.data, pulls, training_sets)

    def build(self) -> list[str]:
        """Build what has changed, on connected stores, which stay connected.

        Returns:
            Query ids of the pulls that were derived again.

        Raises:
            StoreError: a document is invalid.
        """
        built = []
        for item in self.get_items():
            self.update_targets([self.process_item(item)])
            built.append(item[0]["output"]["query_id"])
        return built

    def get_items(self) -> Iterator[list[Doc]]:
        """Yield, for each query with new pulls, the documents of all its pulls in order."""
        known = {(doc["id"]) for doc in self.pulls.query({}, ["id"])}
        heads = latest(self.docs.query({"output.doc_type": "training_set"}, _HEAD))
        stale = {
            doc["output"]["query_id"]
            for doc in heads
            if doc["output"].get("query_id") and _pull_id(doc) not in known
        }
        for query_id in sorted(stale):
            criteria = {"output.doc_type": "training_set", "output.query_id": query_id}
            docs = latest(self.docs.query(criteria, _FIELDS))
            yield sorted(docs, key=lambda doc: (doc["output"]["pulled_at"], doc["uuid"]))

    def process_item(self, item: list[Doc]) -> list[Pull]:
        """Return the records of a query's pulls, each with the changes since the previous one."""
        pulls: list[Pull] = []
        before: list[PulledRecord] | None = None
        for order, doc in enumerate(item):
            job = read_job(doc, TrainingSetDoc)
            offered = self._records(job.output)
            as_set = training_set(job)
            record = PullRecord.model_construct(
                **{**shared(as_set, PullRecord), "id": _pull_id(doc)},
                order=order,
                set_id=as_set.id,
                campaign_id=(doc.get("metadata") or {}).get("campaign_id"),
                records=blob_ref(job.output.records),
            )
            if before is not None:
                record.changes = compare(before, offered)
            if job.output.unchanged and pulls:
                record.structures = as_set.structures = pulls[-1].record.structures
            pulls.append(Pull(record, as_set))
            before = offered
        return pulls

    def update_targets(self, items: list[list[Pull]]) -> None:
        """Write the records, and sets that do not exist yet."""
        for pulls in items:
            sets = {pull.as_set.id: pull.as_set for pull in pulls}
            present = {
                doc["id"] for doc in self.training_sets.query({"id": {"$in": list(sets)}}, ["id"])
            }
            new = [as_stored(record) for name, record in sets.items() if name not in present]
            self.training_sets.update(new, key="id")
            self.pulls.update([as_stored(pull.record) for pull in pulls], key="id")

    def _records(self, output: TrainingSetDoc) -> list[PulledRecord]:
        reference = blob_ref(output.records)
        if reference is None:
            return output.records
        content = _blob(self.data, reference.blob_uuid)
        return [PulledRecord.model_validate(item) for item in content]


class PulledSets:
    """Queries and removes pulled sets.

    Args:
        stores: opened stores; they stay open.
    """

    def __init__(self, stores: CampaignStores) -> None:
        self.stores = stores
        self._pulls = stores.collection("pulls")

    def pulls(self, query_id: str | None = None) -> list[PullRecord]:
        """Return all pulls, or those of one query, sorted by query and time."""
        criteria = {} if query_id is None else {"query_id": query_id}
        found = self._pulls.query(criteria, sort={"query_id": 1, "order": 1})
        return [read_record(PullRecord, doc) for doc in found]

    def latest(self) -> list[PullRecord]:
        """Return the last pull of every query, newest first."""
        groups = groupby(self.pulls(), key=lambda pull: pull.query_id)
        found = [list(group)[-1] for _, group in groups]
        return sorted(found, key=lambda pull: (pull.pulled_at, pull.id), reverse=True)

    def find(self, identity: str) -> PullRecord:
        """Return the last pull of a set or query, by id or unique prefix.

        Raises:
            InputError: there is none, or several match.
        """
        beginnings = [identity, *(prefix + identity for prefix in ("set-", "query-"))]
        found = {
            pull.query_id: pull
            for pull in self.pulls()
            for text in beginnings
            if pull.set_id.startswith(text) or pull.query_id.startswith(text)
        }
        exact = [p for p in found.values() if identity in (p.set_id, p.query_id)]
        matching = exact or list(found.values())
        sets = {pull.set_id for pull in matching}
        if len(sets) == 1:
            return max(matching, key=lambda pull: (pull.pulled_at, pull.id))
        place = self.stores.describe()
        if matching:
            raise InputError(f"{identity!r} is ambiguous in {place}: {', '.join(sorted(sets))}")
        there = ", ".join(pull.set_id for pull in self.latest()[:3]) or "none"
        raise InputError(f"no set {identity!r} in {place}; there: {there}")

    def manifest(self, query_id: str) -> Manifest | None:
        """Return the last pull of a query as input of the next; None if there is none."""
        pulls = self.pulls(query_id)
        if not pulls:
            return None
        last = pulls[-1]
        return Manifest(
            query_id=query_id,
            set_id=last.set_id,
            pulled_at=last.pulled_at,
            origin=last.origin,
            records=[PulledRecord.model_validate(item) for item in self._load(last.records)],
        )

    def entries(self, pull: PullRecord) -> list[StructureEntry]:
        """Return the structures of a pull."""
        return [StructureEntry.model_validate(item) for item in self._load(pull.structures)]

    def remove(self, pull: PullRecord) -> int:
        """Remove all pulls of a query, and its sets unless another query has them too.

        Returns:
            The number of removed pulls.

        Raises:
            InputError: a campaign uses one of the sets; nothing is removed.
        """
        mine = self.pulls(pull.query_id)
        sets = {item.set_id for item in mine}
        records = list(
            self.stores.collection("training_sets").query(
                {"id": {"$in": sorted(sets)}}, ["id", "campaign_ids"]
            )
        )
        users = sorted({name for doc in records for name in doc["campaign_ids"]})
        if users or any(item.campaign_id for item in mine):
            raise InputError(
                f"{pull.set_id} is used by {', '.join(users) or 'a campaign'}: not removed"
            )
        others = {p.set_id: p for p in self.pulls() if p.query_id != pull.query_id}
        jobs = [item.source.job_uuid for item in mine]
        with self.stores.transaction():
            self.stores.docs.remove_docs({"uuid": {"$in": jobs}})
            self.stores.data.remove_docs({"job_uuid": {"$in": jobs}})
            kept = self.stores.collection("training_sets")
            gone = sorted(sets - others.keys())
            if gone:
                kept.remove_docs({"id": {"$in": gone}})
            for name in sets & others.keys():  # its blob may belong to the removed pulls
                doc = kept.query_one({"id": name})
                blob = others[name].structures
                if doc is not None and blob is not None:
                    kept.update([{**doc, "structures": blob.model_dump()}], key="id")
            self._pulls.remove_docs({"query_id": pull.query_id})
        return len(mine)

    def _load(self, reference: BlobRef | None) -> list[Doc]:
        if reference is None:
            return []
        found: list[Doc] = _blob(self.stores.data, reference.blob_uuid)
        return found


def _blob(data: Store, blob_uuid: str) -> Any:
    found = data.query_one({"blob_uuid": blob_uuid}, ["blob_uuid", "data"])
    if found is None:
        raise StoreError(f"blob {blob_uuid} is missing: the store is damaged")
    return found["data"]


def _pull_id(doc: Doc) -> str:
    return content_id("pull", [doc["uuid"], doc["index"]])
