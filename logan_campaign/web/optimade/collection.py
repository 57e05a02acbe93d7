"""Candidates as a collection of the reference implementation."""

from __future__ import annotations

from typing import Any

from optimade.exceptions import BadRequest
from optimade.models import StructureResource
from optimade.server.config import ServerConfig
from optimade.server.entry_collections import EntryCollection
from optimade.server.mappers import StructureMapper

from logan_campaign.core.errors import InputError
from logan_campaign.results import Results
from logan_campaign.results.optimade import PROVIDER_FIELDS, attributes
from logan_campaign.stores.filters import Order
from logan_campaign.web.optimade.filters import (
    Criteria,
    Transformer,
    Translator,
    is_structural,
    sort_key,
    within,
)

#: Larger numbers no database takes.
_LAST = 2**31 - 1
#: Where they come as they were picked.
_AS_PICKED: Order = {"campaign_id": 1, "order": 1}


class CandidateCollection(EntryCollection):
    """All candidates of a store, as OPTIMADE structures; read only.

    Args:
        results: the store.
        config: configuration of the server.
    """

    def __init__(self, results: Results, config: ServerConfig) -> None:
        mapper = StructureMapper(config)
        super().__init__(StructureResource, mapper, Transformer(mapper=mapper), config)
        self._database = results.database
        self._translator = Translator(results)

    def __len__(self) -> int:
        return self._database.count_candidates()

    def insert(self, data: list[Any]) -> None:
        """Refuse: the campaign database is only read here."""
        raise BadRequest(detail="this database is read only")

    def count(self, **kwargs: Any) -> int | None:
        """Return how many candidates meet translated criteria, given as ``filter``."""
        return self._database.count_where(kwargs.get("filter", {}))

    def handle_query_params(self, params: Any) -> dict[str, Any]:
        """Return the query that the reference implementation makes of a request."""
        if isinstance(getattr(params, "page_above", None), str):
            raise BadRequest(detail="page_above is not supported; page_offset and page_number are")
        found: dict[str, Any] = super().handle_query_params(params)
        if found.get("skip", 0) > _LAST:
            raise BadRequest(detail="there is no page that far")
        return found

    def _run_db_query(
        self, criteria: dict[str, Any], single_entry: bool = False
    ) -> tuple[list[dict[str, Any]], int | None, bool]:
        wanted = self._translator.translate(criteria["filter"] or {})
        skip, limit = int(criteria.get("skip", 0)), int(criteria["limit"])
        try:
            n_found = self._database.count_where(wanted)
            parts = self._parts(wanted, criteria.get("sort", []))
            records = list(self._database.candidates_where(parts, skip=skip, limit=limit))
        except InputError as err:
            raise BadRequest(detail=str(err)) from err
        docs = []
        for record in records:
            doc = attributes(record)
            for name in PROVIDER_FIELDS:  # the mapper puts the prefix before these
                doc[name] = doc.pop(f"_{self.provider_prefix}_{name}")
            docs.append({**doc, "id": record.id})
        if single_entry:
            return docs, len(docs), False
        return docs, n_found, skip + len(docs) < n_found

    def _parts(self, wanted: Criteria, sort: list[tuple[str, int]]) -> list[tuple[Criteria, Order]]:
        """Return queries whose answers, one after the other, are sorted as asked for.

        What follows from the formula is sorted by group, and only before all else: it
        tells no two candidates of a group apart.
        """
        structural = [(field, sign) for field, sign in sort if is_structural(field)]
        direct = [(field, sign) for field, sign in sort if not is_structural(field)]
        if sort[: len(structural)] != structural:
            raise BadRequest(
                detail=f"cannot sort by {structural[0][0]} after a field that differs within it"
            )
        order: Order = {**dict(direct), **_AS_PICKED} if "id" not in dict(direct) else dict(direct)
        if not structural:
            return [(wanted, order)]
        groups = self._translator.groups()
        ordered = list(groups)
        for field, sign in reversed(structural):
            ordered.sort(
                key=lambda group, field=field: sort_key(group.stand_in.get(field)),  # type: ignore[misc]
                reverse=sign < 0,
            )
        parts = []
        for group in ordered:
            here = within([group], groups)
            parts.append(({"$and": [wanted, here]} if here and wanted else here or wanted, order))
        return parts
