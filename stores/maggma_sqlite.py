"""A maggma Store on SQLite, for maggma's builders and stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maggma.core import Store

from logan_campaign.core.errors import StoreError
from logan_campaign.stores.sqlite import SQLiteCollection


class SQLiteStore(SQLiteCollection, Store):
    """A collection of documents in an SQLite file, as a maggma Store.

    Args:
        path: as for :class:`~logan_campaign.stores.sqlite.SQLiteCollection`, and so on.
        **kwargs: ``key``, ``last_updated_field``, ``last_updated_type`` and
            ``validator`` of maggma's Store.
    """

    def __init__(
        self,
        path: str | Path,
        collection_name: str,
        indexes: Sequence[str | Sequence[str]] = (),
        payload_field: str | None = None,
        timeout_s: float = 30.0,
        **kwargs: Any,
    ) -> None:
        SQLiteCollection.__init__(self, path, collection_name, indexes, payload_field, timeout_s)
        Store.__init__(self, **kwargs)
        self.kwargs = kwargs

    @property
    def _collection(self) -> Any:
        raise StoreError(f"{self.name} has no pymongo collection")

    def update(
        self,
        docs: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        key: Sequence[str] | str | None = None,
    ) -> None:
        """Write the documents that the optional validator accepts.

        Raises:
            StoreError: as :meth:`SQLiteCollection.update`.
            ValueError: from a strict validator.
        """
        docs = [docs] if isinstance(docs, Mapping) else docs
        super().update([doc for doc in docs if self._is_valid(doc)], key)

    def _is_valid(self, doc: Mapping[str, Any]) -> bool:
        validator: Any = self.validator  # ``strict`` is missing in maggma's base class
        if validator is None or validator.is_valid(doc):
            return True
        if validator.strict:
            raise ValueError(validator.validation_errors(doc))
        self.logger.error(validator.validation_errors(doc))
        return False

    def _identity(self) -> tuple[str, ...]:
        return (*super()._identity(), self.last_updated_field)
