"""The service's log, one JSON line each: every request, and what goes wrong or changes. Of clients it has ids at most,
of requests no body and no token.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import re
import time
import traceback
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sheaf.serving.decisions import new_id
from sheaf.serving.http.problems import problem
from sheaf.serving.runtime import metrics
from sheaf.serving.schemas.requests import PRINTABLE
from sheaf.serving.settings import settings

HEADER = "X-Request-ID"
SLOWEST = 9.5  # seconds of an answer: BentoML cuts off after ten, with words of its own
OTHERS = ("", "bentoml", "uvicorn.error", "circus")  # whose handlers are BentoML's
_log = logging.getLogger("sheaf")
_requests = logging.getLogger("sheaf.request")
_printable = re.compile(PRINTABLE).match
_header = HEADER.lower().encode()


class Lines(logging.Formatter):
    """A record as one line of JSON; of an error its type and where it arose, but not its words, which may be data."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            **getattr(record, "told", {}),
        }
        if record.name != _requests.name or record.levelno > logging.INFO:
            told["message"] = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            told["error"] = type(error).__name__
            told["where"] = [f"{step.filename}:{step.lineno}" for step in traceback.extract_tb(error.__traceback__)]
        return json.dumps(told)


def configure() -> None:
    """Has this process tell all it tells as `Lines`, BentoML's own words included. Raises SettingError."""
    _log.setLevel(settings().log_level.upper())
    for name in OTHERS:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(Lines())
            handler.filters.clear()  # BentoML's adds what its own format has of traces, for every record


class RequestLogMiddleware:
    """An app whose every request has an id, the caller's or its own, and a line on the log.

    The id is in `scope["state"]["request_id"]`, and in the answer's header; `about` tells what is to be said of the
    present request beside. An error that nobody expected is answered with a problem, and told.
    """

    def __init__(self, app: ASGIApp, about: Callable[[], dict[str, Any]]):
        self.app, self.about = app, about

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), None
        state = scope.setdefault("state", {})
        state["request_id"] = told_id = request_id(scope)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_header, told_id.encode())]
            await send(message)

        unexpected, timer = None, asyncio.timeout(SLOWEST)
        try:
            async with timer:
                await self.app(scope, receive, sent)
        except Exception as error:
            if status is not None:
                unexpected = error
                raise
            if timer.expired():
                late = f"there was no answer within {SLOWEST:g} seconds; ask again later, or for fewer clients at once"
                await problem(504, late, request_id=told_id)(scope, receive, sent)
                return None
            unexpected = error
            detail = "the service failed; nothing was wrong with the request as far as it knows: ask again, and tell "
            answer = problem(500, f"{detail}those who run it the request_id if it goes on", request_id=told_id)
            await answer(scope, receive, sent)
        finally:
            level = logging.INFO if unexpected is None else logging.ERROR
            if _requests.isEnabledFor(level) and (unexpected is not None or scope["path"] != metrics.PATH):
                caller = state.get("caller")
                told = {
                    "request_id": told_id,
                    "caller": caller and caller.name,
                    "method": scope["method"],
                    "route": _route(scope, status),
                    "status": status,
                    "milliseconds": round(1000 * (time.perf_counter() - started), 3),
                    **self.about(),
                }
                _tell(level, told, unexpected)


def _tell(level: int, told: dict[str, Any], error: Exception | None) -> None:
    """The line of a request. The record is made here: `Logger.log` looks for the line of code first."""
    about = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(_requests.name, level, __file__, 0, "the service failed", (), about)
    record.told = told
    _requests.handle(record)


def request_id(scope: Scope) -> str:
    """The caller's own id of a request, if there is one that may be passed on, or a new one."""
    for name, value in scope["headers"]:
        if name == _header:
            text: str = value.decode("latin-1")
            return text if _printable(text) else new_id()
    return new_id()


def _route(scope: Scope, status: int | None) -> str | None:
    """The template, which names no client. What is at no route may be anything, and is not told."""
    route = getattr(scope.get("route"), "path", None)
    fixed = scope["path"] if status is not None and status < 400 else None
    return fixed if route is None else None if "{path:path}" in route else route
