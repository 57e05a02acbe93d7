"""Errors of requests as OPTIMADE answers them: what a client sent is never our failure."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from lark.exceptions import VisitError
from optimade.exceptions import BadRequest, OptimadeHTTPException
from optimade.server.exception_handlers import general_exception
from starlette.types import ASGIApp, Receive, Scope, Send


def replace_handlers(app: FastAPI) -> None:
    """Answer filters that are not supported with 400 and the reason, not with 501."""
    app.add_exception_handler(VisitError, _not_supported)
    app.add_exception_handler(NotImplementedError, _not_supported)
    app.add_middleware(_AnswerRefusals)


class _AnswerRefusals:
    """Answers what the reference implementation's middleware refuses.

    It raises outside of where handlers of exceptions stand, and the server would take that
    for a failure of its own, and log it as one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except OptimadeHTTPException as error:  # raised before anything was sent
            response = general_exception(Request(scope), error)
            await response(scope, receive, send)


def _not_supported(request: Request, error: Exception) -> Any:
    cause = getattr(error, "orig_exc", error)
    if isinstance(cause, BadRequest):
        return general_exception(request, cause)
    return general_exception(request, BadRequest(detail=f"not supported: {cause}"))
