"""Read the campaign database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, get_args

from logan_campaign.core.documents import BlobRef, CandidateState, Record
from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.stores.collections import CollectionName
from logan_campaign.stores.filters import (
    Criteria,
    Filters,
    Order,
    candidate_parts,
    criteria_of,
    few_fields,
    listed_fields,
)
from logan_campaign.stores.lineage import Lineage, trace
from logan_campaign.stores.open import CampaignStores
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    TrainingSetRecord,
    read_record,
)

AnyRecord = CandidateRecord | MaterialRecord | ModelRecord | TrainingSetRecord | CampaignRecord
R = TypeVar("R", bound=Record)

_RECORDS: dict[CollectionName, type[AnyRecord]] = {
    "candidates": CandidateRecord,
    "materials": MaterialRecord,
    "models": ModelRecord,
    "training_sets": TrainingSetRecord,
    "campaigns": CampaignRecord,
}
_PREFIXES = ("cand-", "mat-", "model-", "set-", "camp-")
_SHOWN = 3


class CampaignDatabase:
    """Queries on the records of campaigns that builders derived.

    Args:
        stores: opened stores; they stay open.
    """

    def __init__(self, stores: CampaignStores) -> None:
        self.stores = stores

    # --- campaigns ------------------------------------------------------------------

    def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, sorted by name."""
        return self._records(CampaignRecord, "campaigns", {}, {"name": 1, "id": 1})

    def campaign(self, name_or_id: str | None = None) -> CampaignRecord:
        """Return the campaign with the name, id or unique prefix of the id, or the only one.

        Raises:
            InputError: there is none, or several match.
        """
        if name_or_id is None:
            return self._only_campaign()
        found = self._records(CampaignRecord, "campaigns", {"name": name_or_id}, {"id": 1})
        if not found:
            criteria = {"id": _starts_with(name_or_id)}
            found = self._records(CampaignRecord, "campaigns", criteria, {"id": 1})
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(record.id for record in found)
            raise InputError(f"several campaigns are called {name_or_id!r}: give the id: {ids}")
        names = ", ".join(sorted({record.name for record in self.campaigns()})) or "none"
        raise InputError(f"no campaign {name_or_id!r} in {self.stores.describe()}; there: {names}")

    def _only_campaign(self) -> CampaignRecord:
        found, where = self.campaigns(), self.stores.describe()
        if len(found) == 1:
            return found[0]
        # flows in a queue are not recorded here
        begun = self.stores.folder is None or self.stores.ledger.query_one({"doc_type": "flow"})
        if not found and not begun:
            raise InputError(f"{where} contains no campaign, and none was started there")
        if not found:
            raise InputError(
                f"{where} contains no campaign yet: its first job has not finished; "
                "wait, or start it again with the same 'logan-campaign run'"
            )
        names = ", ".join(sorted(record.name for record in found))
        raise InputError(
            f"{where} contains several campaigns ({names}): give the name of one "
            f"(on the command line: NAME --store {where})"
        )

    def counts(self, campaign_id: str) -> dict[CandidateState, int]:
        """Return the number of candidates in each state, zeros included."""
        store = self.stores.collection("candidates")
        return {
            state: store.count({"campaign_id": campaign_id, "state": state})
            for state in get_args(CandidateState)
        }

    # --- candidates and the rest ----------------------------------------------------

    def candidates(
        self,
        campaign_id: str | None = None,
        *,
        sort: str = "order",
        descending: bool = False,
        limit: int = 0,
        skip: int = 0,
        structures: bool = True,
        **filters: Any,
    ) -> Iterator[CandidateRecord]:
        """Yield candidates, lazily.

        Args:
            campaign_id: only of this campaign.
            sort: see :func:`~logan_campaign.stores.filters.candidate_orders`.
            descending: reverse the order; candidates without an energy stay last.
            limit: maximum number; 0 for all.
            skip: number of candidates to skip.
            structures: whether to read structures, the largest part of a record.
            **filters: see :func:`~logan_campaign.stores.filters.filter_names`.

        Raises:
            InputError: unknown order or filter, or invalid value.
        """
        parts = self._candidate_parts(campaign_id, sort, descending, filters)
        return self.candidates_where(parts, skip=skip, limit=limit, structures=structures)

    def candidate_ids(
        self,
        campaign_id: str | None = None,
        *,
        sort: str = "order",
        descending: bool = False,
        **filters: Any,
    ) -> list[str]:
        """Return the ids of candidates; arguments and errors as :meth:`candidates`."""
        parts = self._candidate_parts(campaign_id, sort, descending, filters)
        return [doc["id"] for doc in self._read_parts("candidates", parts, {"id": 1}, 0, 0)]

    def count_candidates(self, campaign_id: str | None = None, **filters: Any) -> int:
        """Return the number of candidates that match all filters; errors as :meth:`candidates`."""
        wanted = _criteria(CandidateRecord, campaign_id, filters)
        return self.stores.collection("candidates").count(wanted)

    def candidates_where(
        self,
        parts: Sequence[tuple[Criteria, Order]],
        *,
        skip: int = 0,
        limit: int = 0,
        structures: bool = True,
    ) -> Iterator[CandidateRecord]:
        """Yield the candidates that match MongoDB criteria, query by query.

        Criteria must not be taken from user input.

        Args:
            parts: criteria, each with its sort order.
            skip: number of candidates to skip.
            limit: maximum number; 0 for all.
            structures: whether to read structures, the largest part of a record.

        Raises:
            InputError: criteria not supported by the store.
        """
        leave_out = None if structures else {"raw_structure": 0, "structure": 0}
        for doc in self._read_parts("candidates", parts, leave_out, skip, limit):
            yield read_record(CandidateRecord, doc)

    def count_where(self, criteria: Criteria) -> int:
        """Count the candidates that match MongoDB criteria; see :meth:`candidates_where`."""
        return self.stores.collection("candidates").count(criteria)

    def distinct(
        self,
        field: str,
        campaign_id: str | None = None,
        **filters: Any,
    ) -> list[Any]:
        """Return the sorted distinct values of a field of candidates, without None.

        Raises:
            InputError: the field cannot be listed, and as :meth:`candidates`.
        """
        if field not in listed_fields():
            raise InputError(f"no values of {field!r}; of {', '.join(listed_fields())}")
        wanted = _criteria(CandidateRecord, campaign_id, filters)
        found = self.stores.collection("candidates").distinct(field, wanted)
        return sorted(value for value in found if value is not None)

    def _candidate_parts(
        self, campaign_id: str | None, sort: str, descending: bool, filters: Filters
    ) -> list[tuple[Criteria, Order]]:
        wanted = _criteria(CandidateRecord, campaign_id, filters)
        levels = self._levels(wanted.get("campaign_id")) if sort == "best" else []
        return candidate_parts(wanted, sort, descending, levels)

    def _levels(self, campaign_id: str | None) -> list[str]:
        """Return the names of the levels of one or all campaigns, in order."""
        criteria = {} if campaign_id is None else {"id": campaign_id}
        found = self.stores.collection("campaigns").query(criteria, ["levels"], sort={"id": 1})
        return list(dict.fromkeys(level for doc in found for level in doc["levels"]))

    def _read_parts(
        self,
        name: CollectionName,
        parts: Sequence[tuple[dict[str, Any], Order]],
        properties: dict[str, int] | None,
        skip: int,
        limit: int,
    ) -> Iterator[dict[str, Any]]:
        """Yield the results of queries, query by query."""
        store: Any = self.stores.collection(name)
        left = limit
        for criteria, order in parts:
            n_here = 0
            # Otherwise databases prefer to scan an index in sorted order.
            few = next(
                (field for field in few_fields() if isinstance(criteria.get(field), str)), ""
            )
            options = {"hint": {few: 1, "campaign_id": 1, "order": 1}} if few else {}
            for doc in store.query(
                criteria, properties, sort=order, skip=skip, limit=left, **options
            ):
                n_here += 1
                yield doc
            if limit:
                left -= n_here
                if left <= 0:
                    return
            if skip:
                skip = 0 if n_here else max(0, skip - store.count(criteria))

    def candidate(self, identity: str) -> CandidateRecord:
        """Return a candidate by id or unique prefix.

        Raises:
            InputError: there is none, or several match.
        """
        return self._one(identity, ["candidates"])  # type: ignore[return-value]

    def model(self, identity: str) -> ModelRecord:
        """Return a model by id or unique prefix.

        Raises:
            InputError: there is none, or several match.
        """
        return self._one(identity, ["models"])  # type: ignore[return-value]

    def training_set(self, identity: str) -> TrainingSetRecord:
        """Return a training set or known set by id or unique prefix.

        Raises:
            InputError: there is none, or several match.
        """
        return self._one(identity, ["training_sets"])  # type: ignore[return-value]

    def material(self, identity: str) -> MaterialRecord:
        """Return a material by id or unique prefix.

        Raises:
            InputError: there is none, or several match.
        """
        return self._one(identity, ["materials"])  # type: ignore[return-value]

    def refer(self, collection: str, identity: str) -> AnyRecord:
        """Return a record by the name of a campaign, an id or a unique prefix.

        Raises:
            InputError: there is none, or several match.
        """
        if collection == "campaigns":
            return self.campaign(identity)
        return self._one(identity, [collection])  # type: ignore[list-item]

    def find(self, identity: str) -> AnyRecord:
        """Return a candidate, material, model, training set or campaign by its id.

        Args:
            identity: the id or a unique prefix, with or without the part before the dash.

        Raises:
            InputError: there is none, or several match.
        """
        return self._one(identity, list(_RECORDS))

    def models(self, campaign_id: str | None = None) -> list[ModelRecord]:
        """Return models, sorted by index in the ensemble."""
        criteria = {} if campaign_id is None else {"campaign_ids": campaign_id}
        return self._records(ModelRecord, "models", criteria, {"round": 1, "index": 1, "id": 1})

    def models_of_pool(self, pool_id: str) -> list[ModelRecord]:
        """Return the model that generated a pool as a list, empty if there is none."""
        return self._records(ModelRecord, "models", {"pools.id": pool_id}, {"id": 1})

    def training_sets(self, campaign_id: str | None = None) -> list[TrainingSetRecord]:
        """Return training sets and known sets, sorted by id."""
        criteria = {} if campaign_id is None else {"campaign_ids": campaign_id}
        return self._records(TrainingSetRecord, "training_sets", criteria, {"id": 1})

    def materials(
        self,
        campaign_id: str | None = None,
        *,
        limit: int = 0,
        skip: int = 0,
        **filters: Any,
    ) -> list[MaterialRecord]:
        """Return materials, sorted by formula and energy.

        Args:
            campaign_id: only materials found by this campaign.
            limit: maximum number; 0 for all.
            skip: number of materials to skip.
            **filters: see :func:`~logan_campaign.stores.filters.filter_names`.

        Raises:
            InputError: unknown filter, or invalid value.
        """
        wanted = _criteria(MaterialRecord, campaign_id, filters)
        order: Order = {"formula": 1, "energy_ev": 1, "id": 1}
        found = self._read_parts("materials", [(wanted, order)], None, skip, limit)
        return [read_record(MaterialRecord, doc) for doc in found]

    def count_materials(self, campaign_id: str | None = None, **filters: Any) -> int:
        """Return the number of materials that match all filters; errors as :meth:`materials`."""
        wanted = _criteria(MaterialRecord, campaign_id, filters)
        return self.stores.collection("materials").count(wanted)

    # --- lineage and blobs ----------------------------------------------------------

    def lineage(self, identity: str) -> Lineage:
        """Return the lineage of an object: its origins and everything derived from it.

        Args:
            identity: as for :meth:`find`.

        Raises:
            InputError: no object has this id, or several match.
        """
        return trace(self, self.find(identity))

    def load_blob(self, ref: BlobRef) -> Any:
        """Return a blob of a job document.

        Raises:
            StoreError: the blob is not in the store.
        """
        found = self.stores.data.query_one({"blob_uuid": ref.blob_uuid}, ["blob_uuid", "data"])
        if found is None:
            raise StoreError(f"blob {ref.blob_uuid} is not in {self.stores.describe()}")
        return found["data"]

    # --- helpers --------------------------------------------------------------------

    def _one(self, identity: str, collections: Sequence[CollectionName]) -> AnyRecord:
        beginnings = [identity, *(prefix + identity for prefix in _PREFIXES)]
        found: list[tuple[CollectionName, str]] = []
        for name in collections:
            store = self.stores.collection(name)
            for beginning in beginnings:
                criteria = {"id": _starts_with(beginning)}
                for doc in store.query(criteria, ["id"], sort={"id": 1}, limit=_SHOWN + 1):
                    if doc["id"] in (identity, beginning):
                        return self._get(name, doc["id"])
                    found.append((name, doc["id"]))
        if len(found) == 1:
            return self._get(*found[0])
        if not found:
            what = (
                collections[0].removesuffix("s").replace("_", " ")
                if len(collections) == 1
                else "id"
            )
            raise InputError(f"no {what} {identity!r} in {self.stores.describe()}")
        shown = ", ".join(doc_id for _, doc_id in found[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        raise InputError(f"{identity!r} is ambiguous: {shown}{more}")

    def _get(self, name: CollectionName, identity: str) -> AnyRecord:
        doc = self.stores.collection(name).query_one({"id": identity})
        if doc is None:
            raise InputError(f"{identity} has just been removed")
        return read_record(_RECORDS[name], doc)

    def _records(
        self,
        kind: type[R],
        name: CollectionName,
        criteria: dict[str, Any],
        sort: Order,
    ) -> list[R]:
        return [
            read_record(kind, doc)
            for doc in self.stores.collection(name).query(criteria, sort=sort)
        ]


def _starts_with(text: str) -> dict[str, str]:
    return {"$gte": text, "$lt": text + "\U0010ffff"}


def _criteria(record: type[Record], campaign_id: str | None, filters: Filters) -> Criteria:
    if campaign_id is not None:
        filters = {**filters, "campaign": campaign_id}
    return criteria_of(record, filters)
