"""The OPTIMADE server, based on the reference implementation."""

from __future__ import annotations

import logging
import uuid
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

from logan_campaign import __version__
from logan_campaign.core.errors import InputError
from logan_campaign.results import Results, citations
from logan_campaign.results.optimade import PREFIX, properties

if TYPE_CHECKING:
    from fastapi import FastAPI


def _method() -> dict[str, Any]:
    """Return the method's paper as an OPTIMADE reference, whose fields are those of BibTeX."""
    paper = citations.method()
    names = [
        (" ".join(who.first_names + who.middle_names), " ".join(who.last_names))
        for who in paper.persons["author"]
    ]
    return {
        **paper.fields,
        "id": "logan",
        "last_modified": datetime(int(paper.fields["year"]), 9, 24),
        "title": citations.method_title(),
        "authors": [{"name": " ".join(n), "firstname": n[0], "lastname": n[1]} for n in names],
        "url": citations.method_url(),
    }


def optimade_app(results: Results, base_url: str | None = None) -> FastAPI:
    """Return an ASGI app that serves the candidates of a store as OPTIMADE structures.

    It only reads. It may be mounted below a path of another app.

    Args:
        results: the store; it stays open as long as the app is used.
        base_url: URL of the app without version, needed behind a proxy; by default that of
            each request.

    Raises:
        InputError: the reference implementation's server is not installed.
    """
    _keep_quiet()
    try:
        from optimade.server.config import ServerConfig, SupportedBackend
        from optimade.server.create_app import create_app

        from logan_campaign.web.optimade.collection import CandidateCollection
        from logan_campaign.web.optimade.requests import adapt
    except ImportError as err:
        raise InputError(f"OPTIMADE needs {err.name}: pip install 'logan-campaign[web]'") from err
    fields = [{"name": name, **said} for name, said in properties().items()]
    about: dict[str, Any] = {"name": "logan-campaign", "version": __version__}
    config = ServerConfig(
        debug=False,
        insert_test_data=False,
        insert_from_jsonl=None,
        database_backend=SupportedBackend.MONGOMOCK,  # of the two small collections
        mongo_database=f"optimade_{uuid.uuid4().hex}",
        base_url=base_url,
        page_limit=20,
        page_limit_max=500,
        implementation=about,
        provider={
            "prefix": PREFIX,
            "name": "logan-campaign",
            "description": "Candidates of materials discovery campaigns with LoGAN",
            "homepage": citations.method_url(),
        },
        provider_fields={"structures": fields},
    )
    app = create_app(config)
    collections = app.state.entry_collections
    collections["structures"] = CandidateCollection(results, config)
    collections["references"].insert([_method()])
    adapt(app)
    return app


def _keep_quiet() -> None:
    """Prevent the reference implementation from logging to files and standard output.

    At import, it adds handlers to its logger unless there is one.
    """
    logger = logging.getLogger("optimade")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        logger.addFilter(_is_serious)
    warnings.filterwarnings(
        "ignore", message="Unable to (parse|load|find)", module=r"optimade\.server"
    )


def _is_serious(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
