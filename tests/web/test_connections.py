"""Connections on which nothing, or half a request, arrives are given up; others are served."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'web'")

import uvicorn

from logan_campaign.web import protocol

WITHIN_S = 1.0


async def slow_app(scope: dict, receive: object, send: object) -> None:
    """Answer after longer than a request may take to arrive."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        import asyncio

        await asyncio.sleep(2 * WITHIN_S)
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"here"})  # type: ignore[operator]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN_S", WITHIN_S)
    server = uvicorn.Server(
        uvicorn.Config(
            slow_app, port=0, http=protocol.TimedProtocol, lifespan="off", log_level="error"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


def closed(connection: socket.socket) -> bool:
    """Tell whether the other end has closed a connection."""
    connection.settimeout(10 * WITHIN_S)
    return connection.recv(1) == b""


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: a", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n"]
)
def test_half_a_request_is_given_up_and_others_do_not_wait(port: int, sent: bytes) -> None:
    many = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    try:
        for connection in many:
            connection.sendall(sent)
        begun = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert answer.read() == b"here"
        assert time.monotonic() - begun < WITHIN_S
        assert all(map(closed, many))
    finally:
        for connection in many:
            connection.close()


def test_an_answer_may_take_longer_than_a_request(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/slow", timeout=30) as answer:
        assert answer.read() == b"here"
