"""Read the campaign database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

from maggma.core.store import Sort
from pydantic import ValidationError

from logan_campaign.errors import InputError, StoreError
from logan_campaign.schemas import CandidateState
from logan_campaign.stores.collections import CollectionName
from logan_campaign.stores.lineage import Lineage, LineageNode, trace
from logan_campaign.stores.open import CampaignStores
from logan_campaign.stores.schemas import (
    BlobRef,
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    Record,
    TrainingSetRecord,
)

__all__ = ["CampaignDatabase", "Lineage", "LineageNode"]

AnyRecord = CandidateRecord | MaterialRecord | ModelRecord | TrainingSetRecord | CampaignRecord
Order = dict[str, Sort | int]
R = TypeVar("R", bound=Record)

#: Orders of candidates: as picked, or by energy above the minimum (those without last).
CandidateOrder = Literal["order", "energy"]

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
    """Answers about campaigns, from the records that builders derived.

    Args:
        stores: opened stores; they stay open.
    """

    def __init__(self, stores: CampaignStores) -> None:
        self.stores = stores

    # --- campaigns ------------------------------------------------------------------

    def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, by name."""
        return self._records(CampaignRecord, "campaigns", {}, {"name": 1, "id": 1})

    def campaign(self, name_or_id: str) -> CampaignRecord:
        """Return the campaign of that name or id (its beginning, if unique).

        Raises:
            InputError: if there is none, or several have that name.
        """
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

    def counts(self, campaign_id: str) -> dict[CandidateState, int]:
        """Return how many candidates are in each state (0 included)."""
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
        state: CandidateState | Sequence[CandidateState] | None = None,
        formula: str | None = None,
        smiles: str | None = None,
        spacegroup: str | None = None,
        level: str | None = None,
        max_energy_above_min_ev: float | None = None,
        limit: int = 0,
        skip: int = 0,
        sort: CandidateOrder = "order",
        structures: bool = True,
    ) -> Iterator[CandidateRecord]:
        """Yield candidates, lazily.

        Args:
            campaign_id: only of this campaign.
            state: only in this state, or one of these.
            formula: only of this Hill formula.
            smiles: only this canonical SMILES.
            spacegroup: only this space-group symbol.
            level: only those whose last relaxation was at this level.
            max_energy_above_min_ev: only up to this energy above the minimum (eV).
            limit: at most so many; 0 for all.
            skip: pass over so many first.
            sort: 'order' as picked, 'energy' lowest above the minimum first and those
                without an energy last.
            structures: whether to read the structures, the most part of a record.

        Raises:
            InputError: for an unknown ``sort``.
        """
        criteria: dict[str, Any] = {}
        if campaign_id is not None:
            criteria["campaign_id"] = campaign_id
        if state is not None:
            criteria["state"] = state if isinstance(state, str) else {"$in": list(state)}
        equal = {"formula": formula, "smiles": smiles, "spacegroup": spacegroup, "level": level}
        criteria.update({key: value for key, value in equal.items() if value is not None})
        properties = None if structures else {"raw_structure": 0, "structure": 0}
        if max_energy_above_min_ev is not None:
            criteria["energy_above_min_ev"] = {"$lte": max_energy_above_min_ev}
        parts: list[tuple[dict[str, Any], Order]]
        if sort == "order":
            parts = [(criteria, {"campaign_id": 1, "order": 1})]
        elif sort == "energy":
            # Databases put null first; people look for the lowest energy first.
            has = {"energy_above_min_ev": {"$ne": None}}
            parts = [
                ({**has, **criteria}, {"energy_above_min_ev": 1, "id": 1}),
            ]
            if max_energy_above_min_ev is None:
                without = {**criteria, "energy_above_min_ev": None}
                parts.append((without, {"campaign_id": 1, "order": 1}))
        else:
            raise InputError(f"cannot sort candidates by {sort!r}; there are 'order' and 'energy'")
        return self._candidates(parts, properties, skip, limit)

    def _candidates(
        self,
        parts: Sequence[tuple[dict[str, Any], Order]],
        properties: dict[str, int] | None,
        skip: int,
        limit: int,
    ) -> Iterator[CandidateRecord]:
        store = self.stores.collection("candidates")
        left = limit
        for criteria, order in parts:
            n_here = 0
            for doc in store.query(criteria, properties, sort=order, skip=skip, limit=left):
                n_here += 1
                yield _record(CandidateRecord, doc)
            if limit:
                left -= n_here
                if left <= 0:
                    return
            if skip:
                skip = 0 if n_here else max(0, skip - store.count(criteria))

    def candidate(self, identity: str) -> CandidateRecord:
        """Return a candidate by its id or the beginning of it.

        Raises:
            InputError: if there is none, or several.
        """
        return self._one(identity, ["candidates"])  # type: ignore[return-value]

    def find(self, identity: str) -> AnyRecord:
        """Return a candidate, material, model, training set or campaign by its id.

        Args:
            identity: the id or a beginning of it, with or without the part before the dash.

        Raises:
            InputError: if there is none, or several.
        """
        return self._one(identity, list(_RECORDS))

    def models(self, campaign_id: str | None = None) -> list[ModelRecord]:
        """Return models, by their place in the ensemble."""
        criteria = {} if campaign_id is None else {"campaign_ids": campaign_id}
        return self._records(ModelRecord, "models", criteria, {"round": 1, "index": 1, "id": 1})

    def training_sets(self, campaign_id: str | None = None) -> list[TrainingSetRecord]:
        """Return training sets and known sets, by id."""
        criteria = {} if campaign_id is None else {"campaign_ids": campaign_id}
        return self._records(TrainingSetRecord, "training_sets", criteria, {"id": 1})

    def materials(
        self,
        campaign_id: str | None = None,
        *,
        state: Literal["new", "rediscovered"] | None = None,
        formula: str | None = None,
        smiles: str | None = None,
        spacegroup: str | None = None,
    ) -> list[MaterialRecord]:
        """Return materials, lowest energy first within a formula."""
        equal = {
            "campaign_ids": campaign_id,
            "state": state,
            "formula": formula,
            "smiles": smiles,
            "spacegroup": spacegroup,
        }
        criteria = {key: value for key, value in equal.items() if value is not None}
        order: Order = {"formula": 1, "energy_ev": 1, "id": 1}
        return self._records(MaterialRecord, "materials", criteria, order)

    # --- lineage and blobs ----------------------------------------------------------

    def lineage(self, identity: str) -> Lineage:
        """Return where something came from and what came from it.

        Args:
            identity: as for :meth:`find`.

        Raises:
            InputError: if there is nothing of that id, or several.
        """
        return trace(self, self.find(identity))

    def load_blob(self, ref: BlobRef) -> Any:
        """Return a large part of a job document, as the job returned it.

        Raises:
            StoreError: if the blob is not in the store.
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
            what = collections[0].removesuffix("s") if len(collections) == 1 else "id"
            raise InputError(f"no {what} {identity!r} in {self.stores.describe()}")
        shown = ", ".join(doc_id for _, doc_id in found[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        raise InputError(f"{identity!r} is ambiguous: {shown}{more}")

    def _get(self, name: CollectionName, identity: str) -> AnyRecord:
        doc = self.stores.collection(name).query_one({"id": identity})
        if doc is None:
            raise InputError(f"{identity} has just been removed")
        return _record(_RECORDS[name], doc)

    def _records(
        self,
        kind: type[R],
        name: CollectionName,
        criteria: dict[str, Any],
        sort: Order,
    ) -> list[R]:
        return [
            _record(kind, doc) for doc in self.stores.collection(name).query(criteria, sort=sort)
        ]


def _starts_with(text: str) -> dict[str, str]:
    return {"$gte": text, "$lt": text + "\U0010ffff"}


def _record(kind: type[R], doc: Mapping[str, Any]) -> R:
    try:
        return kind.model_validate({key: value for key, value in doc.items() if key != "_id"})
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"record {doc.get('id')} cannot be read ({where}: {first['msg']}); build it anew"
        ) from err
