"""Requests as OPTIMADE answers them: under any path, and a client's mistake is never ours."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from lark.exceptions import VisitError
from optimade.exceptions import BadRequest, OptimadeHTTPException
from optimade.server.exception_handlers import general_exception
from starlette.types import ASGIApp, Receive, Scope, Send

#: URL under which the app was reached by the request that is being answered.
_base_url: ContextVar[str | None] = ContextVar("optimade_base_url", default=None)


class _ConfigOfRequest:
    """The configuration of the reference implementation, with the base URL of the request.

    That one knows a fixed URL only, and without one forgets the path that it is mounted at.
    """

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    @property
    def base_url(self) -> str | None:
        """The fixed URL if there is one, else that of the request."""
        return self._config.base_url or _base_url.get()


def adapt(app: FastAPI) -> None:
    """Answer filters that are not supported with 400 and the reason, not with 501, and let
    links begin with the path that the app is mounted at."""
    app.state.config = _ConfigOfRequest(app.state.config)
    app.add_exception_handler(VisitError, _not_supported)
    app.add_exception_handler(NotImplementedError, _not_supported)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_middleware(_AnswerRefusals)


class _AnswerRefusals:
    """Answers what the reference implementation's middleware refuses, and notes the URL.

    That middleware raises outside of where handlers of exceptions stand, and the server
    would take that for a failure of its own, and log it as one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            url = Request(scope).url
            _base_url.set(f"{url.scheme}://{url.netloc}{scope.get('root_path', '')}")
            problem = _excess(Request(scope).query_params.getlist("filter"))
            if problem:
                response = general_exception(Request(scope), BadRequest(detail=problem))
                await response(scope, receive, send)
                return
        try:
            await self.app(scope, receive, send)
        except OptimadeHTTPException as error:  # raised before anything was sent
            response = general_exception(Request(scope), error)
            await response(scope, receive, send)


#: Bounds of a filter: its parser takes minutes beyond them.
MAX_FILTER_LENGTH = 4_000
MAX_FILTER_DEPTH = 20
MAX_FILTER_TERMS = 50

#: Quoted text, in which nothing counts.
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')


def _excess(filters: list[str]) -> str:
    """Return in what a filter goes beyond the bounds, or ''; looks at each character once."""
    for text in filters:
        if len(text) > MAX_FILTER_LENGTH:
            return f"the filter has more than {MAX_FILTER_LENGTH} characters"
        bare = _QUOTED.sub('""', text)
        depth = deepest = 0
        for character in bare:
            depth += (character == "(") - (character == ")")
            deepest = max(deepest, depth)
        if deepest > MAX_FILTER_DEPTH:
            return f"the filter is nested more than {MAX_FILTER_DEPTH} deep"
        if len(re.findall(r"[^\s,:()]+", bare)) > 3 * MAX_FILTER_TERMS:
            return "the filter has too many terms"
        if bare.count(",") + bare.count(":") > MAX_FILTER_TERMS:
            return f"the filter lists more than {MAX_FILTER_TERMS} values"
    return ""


def _not_supported(request: Request, error: Exception) -> Any:
    cause = getattr(error, "orig_exc", error)
    if isinstance(cause, BadRequest):
        return general_exception(request, cause)
    return general_exception(request, BadRequest(detail=f"not supported: {cause}"))


def _not_valid(request: Request, error: Exception) -> Any:
    """Answer a parameter of the wrong type, which the reference implementation takes for 500."""
    told = "not valid"
    if isinstance(error, RequestValidationError):
        told = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
    return general_exception(request, BadRequest(detail=told))
