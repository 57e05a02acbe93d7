"""``logan-campaign serve``: browse results in a web browser."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JF, control_of, follow, tell
from logan_campaign.core.errors import InputError, StoreError

if TYPE_CHECKING:
    from logan_campaign.stores.open import CampaignStores
    from logan_campaign.stores.records import CampaignRecord

_TOKEN_BYTES = 24


@app.command()
def serve(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE",
            envvar="LOGAN_CAMPAIGN_STORE",
            help="A campaign's folder, an SQLite file, or mongodb://…/database.",
        ),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free port.")] = 8642,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at. Addresses other than loopback can be reached by others and "
            "need a token, which is printed once."
        ),
    ] = "127.0.0.1",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A website whose scripts may read the data, such as https://example.org; none by "
            "default. Repeatable.",
        ),
    ] = None,
) -> None:
    """Serve campaigns as read-only web pages on this machine until Ctrl-C."""
    try:
        import uvicorn

        from logan_campaign.results import Results
        from logan_campaign.web.app import create_app
        from logan_campaign.web.protocol import TimedProtocol
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("logan_campaign"):
            raise
        raise InputError(
            f"the browser needs the package {err.name}: pip install 'logan-campaign[web]'"
        ) from err
    from logan_campaign.web.guard import LOOPBACK

    # the OPTIMADE server logs its own settings, which do not concern the user
    logging.getLogger("optimade").propagate = False
    token = None if _is_loopback(host) else secrets.token_urlsafe(_TOKEN_BYTES)
    listener = _listen(host, port)
    with listener, Results.open(store) as results:
        follow(results.stores)

        def progress(record: CampaignRecord) -> dict[str, Any] | None:
            return _progress(results.stores, record)

        # With a token, a foreign host name that resolves here (DNS rebinding) gets no page.
        hosts = LOOPBACK | {host.lower()} if token is None else None
        origins = [origin.rstrip("/") for origin in allow_origin or []]
        browser = create_app(results, progress=progress, hosts=hosts, token=token, origins=origins)
        address = f"http://{_in_address(host)}:{listener.getsockname()[1]}/"
        if token is not None:
            address += f"?token={token}"
        tell(f"serving {results.stores.describe()} at {address} (Ctrl-C ends it)")
        # No access log: it would contain the token.
        settings = uvicorn.Config(
            browser,
            access_log=False,
            log_level="error",
            server_header=False,
            ws="none",
            http=TimedProtocol,
        )
        uvicorn.Server(settings).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as err:
        listener.close()
        raise InputError(
            f"cannot listen at {host} port {port}: {err.strerror or err}; "
            "choose another with --port"
        ) from err
    return listener


def _progress(stores: CampaignStores, record: CampaignRecord) -> dict[str, Any] | None:
    from logan_campaign.cli.status import run_progress

    if stores.describe().startswith(JF):
        follow(stores)  # no other process does while jobs run elsewhere
    try:
        with control_of(stores, record.id, record.name) as control:
            return run_progress(control.status())
    except (InputError, StoreError):
        return None  # imported, or run elsewhere: no run is recorded
