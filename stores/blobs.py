"""Blobs on SQLite: what jobflow puts in an additional store.

jobflow writes ``{"blob_uuid", "data", "job_uuid", "job_index"}`` with several MB under
``data`` and reads by ``blob_uuid``. ``data`` is kept compressed (zlib) beside the JSON
text, so that searching and removing by the small fields never reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logan_campaign.stores.sqlite import SQLiteStore


class SQLiteBlobStore(SQLiteStore):
    """A collection of blobs in an SQLite file, laid out for jobflow's additional stores.

    Args:
        path: as for :class:`~logan_campaign.stores.sqlite.SQLiteStore`.
        collection_name: the collection in the file.
        timeout_s: how long to wait for a lock held by another process (s).
        **kwargs: ``key`` (``blob_uuid`` if left out) and the others of maggma's Store.
    """

    def __init__(
        self,
        path: str | Path,
        collection_name: str,
        timeout_s: float = 30.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("key", "blob_uuid")
        super().__init__(
            path,
            collection_name,
            indexes=["blob_uuid", ["job_uuid", "job_index"]],
            payload_field="data",
            timeout_s=timeout_s,
            **kwargs,
        )
