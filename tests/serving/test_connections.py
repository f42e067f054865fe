"""Nobody holds a connection, memory or a descriptor with less than a whole request, key or no key."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from sheaf.serving.http import connections
from sheaf.serving.http.connections import HEAD_BYTES, HEADERS, PATH_BYTES, PIPELINED, Connections, HttpProtocol
from tests.serving.test_logs import becomes

SOON = 0.3  # seconds, for every deadline here
ENOUGH = 15.0  # seconds: who waits longer was forgotten


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Refuses /refused unread, has a long answer for /long, and tells how long the body of all else is."""
    length, more = 0, scope["path"] not in ("/refused", "/long")
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    content = b"x" * 100_000_000 if scope["path"] == "/long" else str(length).encode()
    headers = [(b"content-length", str(len(content)).encode())]
    await send(
        {"type": "http.response.start", "status": 401 if scope["path"] == "/refused" else 200, "headers": headers}
    )
    await send({"type": "http.response.body", "body": content})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server with short deadlines and four connections at most."""
    for name in ("HEAD_SECONDS", "READING_SECONDS", "CLOSING_SECONDS"):
        monkeypatch.setattr(connections, name, SOON)
    monkeypatch.setattr(connections, "_connections", Connections(4))
    config = uvicorn.Config(app, http=HttpProtocol, log_config=None, lifespan="off", timeout_keep_alive=5)
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        assert becomes(lambda: server.started)
        yield listening.getsockname()[:2]
        server.should_exit = True
        thread.join(ENOUGH)
        assert not thread.is_alive()


def connect(address: tuple[str, int], sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(address, timeout=ENOUGH)
    connection.sendall(sent)
    return connection


def received(connection: socket.socket) -> bytes:
    """All until the service ends the connection."""
    parts: list[bytes] = []
    while True:
        try:
            part = connection.recv(1 << 20)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def problem_of(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    told: dict[str, Any] = json.loads(body)
    assert f"x-request-id: {told['request_id']}".encode() in head
    return told


WHOLE = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
TOO_LARGE = {
    "one long value": (431, b"GET /a HTTP/1.1\r\nx: " + b"v" * 2 * HEAD_BYTES),
    "one long name": (431, b"GET /a HTTP/1.1\r\n" + b"n" * 2 * HEAD_BYTES),
    "many headers": (431, b"GET /a HTTP/1.1\r\n" + b"a: b\r\n" * (HEADERS + 1) + b"\r\n"),
    "a whole head": (431, b"GET /a HTTP/1.1\r\nx: " + b"v" * (HEAD_BYTES + 1) + b"\r\n\r\n"),
    "folded lines": (400, b"GET /a HTTP/1.1\r\nx: a\r\n" + b" v\r\n" * HEAD_BYTES),
    "a long path": (414, b"GET /" + b"p" * PATH_BYTES + b" HTTP/1.1\r\n\r\n"),
    "a long query": (414, b"GET /?" + b"q" * PATH_BYTES),
    "a long method": (400, b"G" * 2 * HEAD_BYTES),
    "empty lines": (431, b"\r\n" * HEAD_BYTES),
    "long trailers": (
        431,
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        + b"x: " + b"v" * 2 * HEAD_BYTES + b"\r\n\r\n",
    ),
    "a long chunk extension": (
        413,
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;x=" + b"v" * 1_100_000,
    ),
    "another protocol": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOO_LARGE)
@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first", "second"])
def test_a_request_larger_than_its_limit_is_refused_and_the_connection_closed(
    address: tuple[str, int], kind: str, before: bytes
) -> None:
    expected, sent = TOO_LARGE[kind]
    with connect(address) as connection:
        if before:
            connection.sendall(before)
            assert status(connection.recv(65536)) == 200
        connection.sendall(sent)
        answer = received(connection)
    assert status(answer) == expected
    assert problem_of(answer)["status"] == expected


DRIPPED = {
    "nothing": (0, b""),
    "half a line": (408, b"GET /a"),
    "half a head": (408, b"GET /a HTTP/1.1\r\nx: "),
    "empty lines": (408, b"\r\n"),
}


@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first", "second"])
@pytest.mark.parametrize("kind", DRIPPED)
def test_a_head_that_drips_has_one_deadline(address: tuple[str, int], kind: str, before: bytes) -> None:
    expected, sent = DRIPPED[kind]
    if before and not sent:
        pytest.skip("an idle connection, which stays open")
    with connect(address, before) as connection:
        if before:
            assert status(connection.recv(65536)) == 200
        started, answer = time.monotonic(), None
        connection.sendall(sent)
        connection.settimeout(0.1)
        while answer is None and time.monotonic() - started < ENOUGH:
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                connection.sendall(b"\r\n" if sent == b"\r\n" else b"x" if sent else b"")
        assert SOON / 2 < time.monotonic() - started < 6 * SOON
    assert status(answer or b"") == expected


@pytest.mark.parametrize(
    "framing", [b"content-length: 1000000000", b"transfer-encoding: chunked"], ids=["length", "chunks"]
)
def test_a_body_that_drips_after_its_refusal_holds_nothing(address: tuple[str, int], framing: bytes) -> None:
    with connect(address, b"POST /refused HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n") as connection:
        started, answer = time.monotonic(), connection.recv(65536)
        assert status(answer) == 401
        assert b"connection: close" in answer
        with suppress(ConnectionError):
            while time.monotonic() - started < ENOUGH:
                connection.sendall(b"1\r\na\r\n")
                time.sleep(0.05)
        assert time.monotonic() - started < 6 * SOON


def test_a_refusal_reaches_a_peer_that_is_still_sending(address: tuple[str, int]) -> None:
    for _ in range(10):
        with connect(address) as connection:
            connection.sendall(b"POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 600000\r\n\r\n" + b"x" * 600_000)
            assert status(received(connection)) == 401


def test_an_answer_that_is_not_read_is_given_up(address: tuple[str, int]) -> None:
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(ENOUGH)
        connection.connect(address)
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        assert becomes(lambda: not connections._connections.open, 10 * SOON)
        assert len(received(connection)) < 100_000_000


def test_what_was_asked_before_a_broken_request_is_answered(address: tuple[str, int]) -> None:
    with connect(address, WHOLE + b"nonsense\r\n\r\n") as connection:
        assert status(received(connection)) == 200


def test_requests_one_after_the_other_are_answered_over_one_connection(address: tuple[str, int]) -> None:
    post = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    with connect(address) as connection:
        for sent in (WHOLE, post, post[:20], post[20:], WHOLE + post):
            connection.sendall(sent)
        connection.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert received(connection).count(b"HTTP/1.1 200") == 6


def test_requests_sent_ahead_of_their_answers_are_few(address: tuple[str, int]) -> None:
    """uvicorn keeps whatever is sent ahead: 60 MB of short requests took 4 GB, without a key."""
    with connect(address) as connection:
        with suppress(OSError):
            connection.sendall(WHOLE * 40_000)
        assert 1 <= received(connection).count(b"HTTP/1.1 200") <= 40_000
    last = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with connect(address, WHOLE * PIPELINED + last) as connection:
        assert received(connection).count(b"HTTP/1.1 200") == PIPELINED + 1


def test_requests_ahead_are_bounded_while_an_answer_waits(
    monkeypatch: pytest.MonkeyPatch, address: tuple[str, int]
) -> None:
    kept: list[int] = []
    begin = HttpProtocol.on_message_begin

    def watched(self: HttpProtocol) -> None:
        kept.append(len(self.pipeline))
        begin(self)

    monkeypatch.setattr(HttpProtocol, "on_message_begin", watched)
    with connect(address) as connection, suppress(OSError):
        for _ in range(20):
            connection.sendall(WHOLE * 10_000)
    assert max(kept) <= PIPELINED


def test_a_broken_body_does_not_overtake_the_answers_before_it(address: tuple[str, int]) -> None:
    broken = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nnonsense\r\n"
    with connect(address, WHOLE + broken) as connection:
        answer = received(connection)
    assert status(answer) == 200
    assert b"HTTP/1.1 400" not in answer


def test_an_idle_connection_outlives_the_deadline_of_a_head(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        for _ in range(3):
            connection.sendall(WHOLE)
            assert status(connection.recv(65536)) == 200
            time.sleep(2 * SOON)


def test_an_upgrade_is_answered_as_a_plain_request(address: tuple[str, int]) -> None:
    upgrade = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    with connect(address, upgrade) as connection:
        assert status(connection.recv(65536)) == 200


def test_half_sent_heads_on_all_connections_keep_nobody_out(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack, caplog.at_level("WARNING", "sheaf.serving"):
        first = stack.enter_context(connect(address, WHOLE))
        assert status(first.recv(65536)) == 200
        for _ in range(40):
            stack.enter_context(connect(address, b"GET /a HTTP/1.1\r\nx: "))
        with connect(address, WHOLE) as connection:
            assert status(connection.recv(65536)) == 200
        assert len(connections._connections.open) <= 4
    assert "too_many" in caplog.text


def test_no_more_connections_than_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_connections", Connections(4))
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", dict(uvicorn.config.HTTP_PROTOCOLS))
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    connections.limit_connections()
    assert asked == [(1024, 1024)]
    assert 256 < connections._connections.most < 512


def test_the_service_has_these_limits(service: str) -> None:
    asked = urlsplit(service)
    address = (str(asked.hostname), int(asked.port or 0))
    with connect(address, b"GET /livez HTTP/1.1\r\nx: " + b"v" * 10 * HEAD_BYTES) as connection:
        assert status(received(connection)) == 431
    refused = b"POST /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n1"
    with connect(address, refused) as connection:
        answer = received(connection)
    assert status(answer) == 404
    assert b"connection: close" in answer
    assert 'sheaf_connections_closed_total{reason="too_large"}' in httpx.get(f"{service}/metrics").text
