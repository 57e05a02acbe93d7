"""Stores with the password in the environment instead of a configuration file.

A jobflow-remote project names them by class::

    {"@module": "logan_campaign.stores.secrets", "@class": "EnvironmentMongoStore", ...}
"""

from __future__ import annotations

import os
from typing import Any

from maggma.stores import GridFSStore, MongoStore

from logan_campaign.core.errors import StoreError
from logan_campaign.core.redaction import is_secret_name

#: Secrets removed from the environment of this process.
_taken: dict[str, str] = {}


def hide_secrets() -> None:
    """Remove secrets from the environment of this process, so that its children do not get them.

    Schedulers store the environment with which a job was submitted in files.
    """
    for name in [name for name in os.environ if is_secret_name(name)]:
        _taken[name] = os.environ.pop(name)


class _PasswordFromEnvironment:
    """Reads the password from the environment only to connect."""

    mongoclient_kwargs: dict[str, Any]

    def __init__(
        self,
        uri: str,
        collection_name: str,
        password_env: str,
        database: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.password_env = password_env
        where = {"database": database, "collection_name": collection_name, "uri": uri}
        super().__init__(**where, **kwargs)  # of the store

    def connect(self, force_reset: bool = False) -> None:
        """Connect.

        Raises:
            StoreError: the variable is not set.
        """
        password = os.environ.get(self.password_env) or _taken.get(self.password_env)
        if not password:
            raise StoreError(f"the password is not set: export {self.password_env}=…")
        without = self.mongoclient_kwargs
        self.mongoclient_kwargs = {**without, "password": password}
        try:
            super().connect(force_reset)  # type: ignore[misc]  # of the store
        finally:
            self.mongoclient_kwargs = without


class EnvironmentMongoStore(_PasswordFromEnvironment, MongoStore):
    """A MongoStore with its password in an environment variable.

    Args:
        uri: URI with the user name and without the password.
        collection_name: name of the collection.
        password_env: name of the variable.
        database: name of the database, if not in ``uri``.
        **kwargs: as MongoStore.
    """


class EnvironmentGridFSStore(_PasswordFromEnvironment, GridFSStore):
    """A GridFSStore with its password in an environment variable; arguments as above."""
