"""Limits of a connection, before anything of a request reaches the app.

uvicorn waits for a request's head for as long and as far as the peer likes, reads on after an answer, and waits for a
peer that does not read. Here a head has a size and a deadline, an answer to half a request ends the connection, and
where connections come close to the descriptors that the process may open, the oldest without a request is closed.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httptools
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sheaf.serving.decisions import new_id
from sheaf.serving.http import logs
from sheaf.serving.http.problems import MEDIA_TYPE, problem_body
from sheaf.serving.runtime import metrics

HEAD_SECONDS = 10.0  # until a request's head is there: from the connection's beginning, then from the head's first byte
HEAD_BYTES, PATH_BYTES, HEADERS = 32_768, 8_192, 100  # of a head: a token of a large bank has 8 KiB
MESSAGE_BYTES = 1_000_000  # of a request as it is sent, chunk sizes and trailers included: twice the longest body
PIPELINED = 8  # requests of a connection that wait for the answer to the one before
CLOSING_SECONDS, CLOSING_BYTES = 1.0, 1_000_000  # what is still read after a last answer, so that the peer can read it
READING_SECONDS = 10.0  # for which a peer may not read its answer
CONNECTIONS = 4_096  # of a worker; with a head of `HEAD_BYTES` each, 128 MiB
DESCRIPTORS = 65_536  # that a process asks the system for, where it may
TELL_EVERY = 10.0  # seconds between two lines of the log about connections that were closed
_log = logging.getLogger("sheaf.serving")


class Connections:
    """A worker's connections: how many there may be, and which of them have no request under way, oldest first."""

    def __init__(self, most: int):
        self.most = most
        self.open: set[HttpProtocol] = set()
        self.without_request: dict[HttpProtocol, None] = {}
        self._closed: Counter[str] = Counter()
        self._told = -TELL_EVERY

    def add(self, connection: HttpProtocol) -> None:
        self.open.add(connection)
        self.without_request[connection] = None
        if len(self.open) > self.most:
            oldest = next(iter(self.without_request))
            self.count("too_many")
            oldest.transport.abort()
            self.remove(oldest)

    def remove(self, connection: HttpProtocol) -> None:
        self.open.discard(connection)
        self.without_request.pop(connection, None)

    def count(self, reason: str) -> None:
        """A connection that is closed early. The log has one line of many."""
        metrics.connection_closed(reason)
        self._closed[reason] += 1
        if time.monotonic() - self._told >= TELL_EVERY:
            self._told = time.monotonic()
            told = ", ".join(f"{number} {name}" for name, number in self._closed.items())
            _log.warning("connections closed early: %s; %d of %d are open", told, len(self.open), self.most)
            self._closed.clear()


_connections = Connections(CONNECTIONS)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, with limits."""

    transport: asyncio.Transport

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        self.ws_protocol_class = None  # no route takes one, and it has limits of its own
        self._head_deadline: asyncio.TimerHandle | None = None
        self._reading_deadline: asyncio.TimerHandle | None = None
        self._closing_deadline: asyncio.TimerHandle | None = None
        self._message_bytes = self._path_bytes = self._head_bytes = 0  # received of the present request
        self._in_message = self._head_there = False
        self._refused: tuple[int, str] | None = None
        self._last = False  # what is received from now on is not looked at
        self._after_last = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _connections.add(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        _connections.remove(self)
        for deadline in (self._head_deadline, self._reading_deadline, self._closing_deadline):
            if deadline is not None:
                deadline.cancel()
        super().connection_lost(exc)

    # What is received

    def data_received(self, data: bytes) -> None:
        if self._last:
            self._after_last += len(data)
            if self._after_last > CLOSING_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._message_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as if nobody had asked for another protocol
        except httptools.HttpParserError:
            status, detail = self._refused or (400, "this is no HTTP/1.1 request; see RFC 9112")
            return self._refuse(status, detail, REASONS.get(status, "too_large"))
        if self._in_message and self._head_there:
            if self._message_bytes > MESSAGE_BYTES:
                self._refuse(413, f"the request is longer than {MESSAGE_BYTES:,} bytes as it is sent", "too_large")
        elif self._message_bytes > HEAD_BYTES:
            self._refuse(*HEAD_TOO_LARGE, "too_large")
        elif self._head_has_begun and self._head_deadline is None:
            self._expect_head()

    @property
    def _head_has_begun(self) -> bool:
        return self._message_bytes > 0 or self._in_message

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED:  # uvicorn reads on with each answer, and would keep them all
            self._refused = 429, f"more than {PIPELINED} requests wait for an answer; read the answers, then ask again"
            raise ValueError(self._refused)
        self._in_message, self._head_there = True, False
        self._path_bytes = self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._path_bytes += len(url)
        if self._path_bytes > PATH_BYTES:
            self._refused = 414, f"path and query are longer than {PATH_BYTES:,} bytes; give shorter ids"
            raise ValueError(self._refused)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES or len(self.headers) >= HEADERS:
            self._refused = HEAD_TOO_LARGE
            raise ValueError(self._refused)
        if not self._head_there:  # what comes after the body is nobody's
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_there = True
        self._head_is_there()
        _connections.without_request.pop(self, None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message, self._message_bytes = False, 0
        super().on_message_complete()

    # What is answered

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        async def closes_after_half_a_request(scope: Any, receive: Any, send: Any) -> None:
            async def sent(message: Any) -> None:
                half = cycle.more_body and not cycle.response_started
                if half:
                    cycle.keep_alive = False  # so that the answer says it
                await send(message)
                if half:
                    cycle.keep_alive, self._last = True, True  # closed by `_close_soon`, once the peer has read it

            await app(scope, receive, sent)

        super()._start_asgi_task(cycle, closes_after_half_a_request)

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            self._abort_later(READING_SECONDS)
        waiting = bool(self.pipeline)  # what was asked before is answered before the connection ends
        super().on_response_complete()
        if self._last and not waiting:
            self._unset_keepalive_if_required()
            self._close_soon()
        elif self.cycle.response_complete and not self._last:
            _connections.without_request[self] = None
            if self._head_has_begun and self._head_deadline is None:
                self._expect_head()

    def _refuse(self, status: int, detail: str, reason: str) -> None:
        """Answers by itself, after what was asked before, and lets go of the connection."""
        if self._last:
            return
        self._last = True
        self._head_is_there()
        _connections.count(reason)
        waiting = self.cycle is not None and not self.cycle.response_complete
        if self.pipeline and self.cycle.more_body:  # the answers to those before it go first
            self.pipeline.popleft()
            return
        if waiting and self.cycle.response_started and self.cycle.more_body:
            return self.transport.abort()
        if waiting and not self.cycle.more_body:
            return  # `on_response_complete` goes on with it
        if waiting:
            self.cycle.disconnected = self.cycle.response_complete = True  # whatever it answers goes nowhere
            self.cycle.message_event.set()
        request_id = new_id()
        content = problem_body(status, detail, request_id=request_id)
        fields = {
            "content-type": MEDIA_TYPE, "content-length": str(len(content)), "connection": "close",
            logs.HEADER.lower(): request_id,
        }  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, content))
        self._close_soon()

    def _close_soon(self) -> None:
        """Ends the answer, and leaves the peer a moment to read it: a connection that is closed with bytes unread is
        reset, and the answer is lost."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._abort_later(CLOSING_SECONDS)

    # Deadlines

    def _expect_head(self) -> None:
        self._head_is_there()
        self._head_deadline = self.loop.call_later(HEAD_SECONDS, self._head_too_late)

    def _head_is_there(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _head_too_late(self) -> None:
        self._head_deadline = None
        if self._head_has_begun:
            late = f"the request's head was not there within {HEAD_SECONDS:g} seconds; send it faster"
            self._refuse(408, late, "head_too_late")
        else:
            self.timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_deadline = self.loop.call_later(READING_SECONDS, self._read_too_late)

    def resume_writing(self) -> None:
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
            self._reading_deadline = None
        super().resume_writing()

    def _read_too_late(self) -> None:
        _connections.count("answer_not_read")
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later(CLOSING_SECONDS)

    def _abort_later(self, seconds: float) -> None:
        """A connection that is closed waits for its peer to read what was written; not for ever."""
        if self._closing_deadline is None:
            self._closing_deadline = self.loop.call_later(seconds, self.transport.abort)


REASONS = {400: "invalid", 429: "too_many_requests"}  # why a connection is closed; others are too large
HEAD_TOO_LARGE = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE.value,
    f"the request's head has more than {HEADERS} headers or {HEAD_BYTES:,} bytes; send less",
)


def limit_connections() -> None:
    """Has uvicorn take `HttpProtocol`, and this process as many descriptors as `CONNECTIONS` need, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    free = CONNECTIONS * 2 if soft == resource.RLIM_INFINITY else soft - len(list(Path("/dev/fd").iterdir()))
    _connections.most = max(min(CONNECTIONS, free // 2), 1)  # the other half: files, the log, those not yet accepted
    if _connections.most < CONNECTIONS:
        told = "RLIMIT_NOFILE leaves %d connections of %d at once; raise it: ulimit -n %d"
        _log.warning(told, _connections.most, CONNECTIONS, 4 * CONNECTIONS)
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{HttpProtocol.__name__}"
