"""The browser of results: server-rendered pages over the campaign database, read only."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from logan_campaign import __version__
from logan_campaign.core.errors import InputError, LoganCampaignError
from logan_campaign.results import Results
from logan_campaign.stores.records import CampaignRecord
from logan_campaign.web.guard import LOOPBACK, Guard
from logan_campaign.web.pages import router
from logan_campaign.web.rendering import page

#: Progress of a campaign's run: ``state``, ``stages`` (jobs per state and stage), ``running`` and
#: ``failures``; None if no run is recorded.
Progress = Callable[[CampaignRecord], dict[str, Any] | None]


def create_app(
    results: Results,
    *,
    progress: Progress | None = None,
    hosts: Collection[str] | None = LOOPBACK,
    token: str | None = None,
    origins: Collection[str] = (),
) -> Guard:
    """Return the browser as an ASGI application.

    Args:
        results: the store to show; it stays open.
        progress: returns the progress of a campaign's run; None: pages show none.
        hosts: allowed host names, without port; None for any.
        token: required token; None for none.
        origins: websites whose scripts may read.
    """
    app = FastAPI(
        title="logan-campaign",
        version=__version__,
        description="Results of discovery campaigns, read only.",
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
    )
    app.state.results = results
    app.state.progress = _remembered(progress) if progress is not None else None
    app.include_router(router)
    app.state.has_optimade = _mount_optimade(app, results)
    _answer_errors(app)
    return Guard(app, hosts, token, origins)


def _mount_optimade(app: FastAPI, results: Results) -> bool:
    try:
        from logan_campaign.web.optimade import optimade_app
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith("optimade"):
            raise
        return False  # its server is not installed
    app.mount("/optimade", optimade_app(results))
    return True


def _answer_errors(app: FastAPI) -> None:
    def answer(request: Request, status: int, title: str, text: str) -> HTMLResponse:
        html = page(request, "error.html", title=title, text=text)
        return HTMLResponse(html, status_code=status)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> HTMLResponse:
        titles = {404: "Not found", 405: "Only reading here"}
        title = titles.get(error.status_code, "This cannot be shown")
        return answer(request, error.status_code, title, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
        told = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()[:5])
        return answer(request, 422, "This address asks for what there is not", told)

    @app.exception_handler(InputError)
    def _input(request: Request, error: InputError) -> HTMLResponse:
        return answer(request, 404, "Not found", str(error))

    @app.exception_handler(LoganCampaignError)
    def _store(request: Request, error: LoganCampaignError) -> HTMLResponse:
        return answer(request, 503, "The store cannot be read", str(error))


#: Progress of a run is cached for this multiple of the time that it took to read.
_REST = 10.0


def _remembered(progress: Progress) -> Progress:
    """Return a cached version of ``progress``, since long ledgers are slow to read."""
    known: dict[str, tuple[float, dict[str, Any] | None]] = {}

    def ask(record: CampaignRecord) -> dict[str, Any] | None:
        now = time.monotonic()
        if record.id in known and now < known[record.id][0]:
            return known[record.id][1]
        found = progress(record)
        spent = time.monotonic() - now
        known[record.id] = (time.monotonic() + _REST * spent, found)
        return found

    return ask
