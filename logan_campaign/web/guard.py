"""Access control: read-only requests to known hosts, with a token if required.

An ASGI middleware for all pages and mounted apps:

* Methods other than GET and HEAD are refused.
* The Host header must name this server, which prevents DNS rebinding.
* Requests by scripts of other websites are refused, by the headers Origin and Sec-Fetch-Site,
  unless their origin is allowed; links from other websites work.
* A required token must be given as ``?token=…``, which becomes a cookie and is removed from the
  address at once, or as that cookie, or as a bearer token.
* Responses have security headers for browsers.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Host names of a server on loopback.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
COOKIE = "logan_campaign_token"
#: Longest path and query together (bytes).
MAX_ADDRESS = 60_000

#: Pages load scripts and styles only from this server. plotly sets inline styles.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """The middleware.

    Args:
        app: the wrapped app.
        hosts: allowed names in the Host header, without port; None for any.
        token: required token; None for none.
        origins: websites whose scripts may read, such as ``https://example.org``.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] | None = LOOPBACK,
        token: str | None = None,
        origins: Collection[str] = (),
    ) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._hosts = None if hosts is None else {name.lower() for name in hosts}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no page uses websockets

        is_head = scope["method"] == "HEAD"
        if is_head:  # the answer to GET, without its body
            scope = {**scope, "method": "GET"}

        origin = Headers(scope=scope).get("origin", "")

        async def guarded(message: Message) -> None:
            if is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                for name in [n for n in headers if n.startswith("access-control-")]:
                    del headers[name]  # what is mounted below would let anybody read
                if origin in self._origins:
                    headers["Access-Control-Allow-Origin"] = origin
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                    headers.add_vary_header("Origin")
                headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
                headers.setdefault("Cache-Control", "no-store" if self._token else "no-cache")
                del headers["server"]
            await send(message)

        refused = self._refuse(scope)
        if refused is not None:
            await refused(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["method"] != "GET":
            return PlainTextResponse("only reading here", 405, {"Allow": "GET, HEAD"})
        given = headers.getlist("host")
        host = host_name(given[0]) if len(given) == 1 else ""
        if not host or (self._hosts is not None and host not in self._hosts):
            return PlainTextResponse("this server does not go by that name", 400)
        if len(scope["query_string"]) + len(scope["path"]) > MAX_ADDRESS:
            return PlainTextResponse("the address is too long", 414)
        if self._is_foreign(headers, given[0]):
            return PlainTextResponse("not for scripts of other websites", 403)
        if self._token is None:
            return None
        return self._check_token(scope, headers, self._token)

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Tell whether another website's page asks for this, and not to show it by itself."""
        origin = headers.get("origin")
        if origin in self._origins:
            return False
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return True
        is_link = headers.get("sec-fetch-mode") == "navigate" and (
            headers.get("sec-fetch-dest") == "document"
        )
        return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link

    def _check_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given and _equal(given[0], token):
            # removes the token from the address line and the history
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # a single slash: two would make the next part a host
            path = "/" + scope["path"].lstrip("/")
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        bearer = headers.get("authorization", "")
        if bearer.startswith("Bearer ") and _equal(bearer.removeprefix("Bearer "), token):
            return None
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        if COOKIE in cookies and _equal(cookies[COOKIE].value, token):
            return None
        return PlainTextResponse(
            "a token is needed: open the address that 'logan-campaign serve' printed",
            401,
            {"WWW-Authenticate": "Bearer"},
        )


def host_name(header: str) -> str:
    """Return the name in a Host header, without port and brackets; '' if it is none.

    >>> host_name("[::1]:80"), host_name("[::1].example.org"), host_name("localhost:80@x.org")
    ('::1', '', '')
    """
    text = header.strip().lower()
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    # The parsed parts must reproduce the header, or it contained something else.
    again = (f"[{name}]" if ":" in name else name) + ("" if port is None else f":{port}")
    return name if again == text else ""


def _equal(given: str, token: str) -> bool:
    # in constant time
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
