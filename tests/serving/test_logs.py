"""What the service tells on its log: of every request and trouble a line of JSON, with ids and no more of clients."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from sheaf.serving.http import logs
from sheaf.serving.http.access import add_key
from sheaf.serving.settings import FOLDER
from tests.conftest import WholeLine
from tests.serving.test_access import served


def becomes(told: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not told():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@dataclass(frozen=True)
class Logged:
    """A service that wants keys, one of them, and its log."""

    url: str
    secret: str
    log: Path
    catalog: Path
    decisions: Path
    client: str
    reader: str  # a key without the scope recommend
    slow: str  # a key of one request a minute

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def of(self, request_id: str) -> dict[str, Any]:
        """The line of a request, which comes after its answer."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line.get("request_id") == request_id]

        assert becomes(lambda: bool(found())), request_id
        [line] = found()
        return line

    def ask(self, method: str, path: str, request_id: str, **given: Any) -> httpx.Response:
        headers = {"x-api-key": self.secret, "x-request-id": request_id} | given.pop("headers", {})
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **given)


@pytest.fixture(scope="module")
def logged(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("logged")
    access, log, catalog = folder / "access.yaml", folder / "log", folder / "catalog.json"
    secret = add_key(access, "app", ["recommend", "quote", "feedback", "audit"])
    reader, slow = add_key(access, "reader", ["audit"]), add_key(access, "slow", ["recommend"], "1/minute")
    shutil.copy(line.folder / FOLDER / "catalog.json", catalog)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAF_CATALOG", str(catalog))
        with served(line, access, patch, log) as url:
            client = str(line.recommender.snapshot.profiles.client_ids[0])
            yield Logged(url, secret, log, catalog, folder / "decisions.db", client, reader, slow)


def test_every_request_is_a_line_with_who_asked_what_and_what_it_came_to(logged: Logged, line: WholeLine) -> None:
    reply = logged.ask("POST", "/v1/recommend", "r-1", json={"client_id": logged.client})
    assert (reply.status_code, reply.headers.get_list("x-request-id")) == (200, ["r-1"])
    told = logged.of("r-1")
    assert told.keys() == {
        "at", "level", "log", "request_id", "caller", "method", "route", "status", "milliseconds", "model_version",
        "catalog_version",
    }  # fmt: skip
    assert (told["caller"], told["method"], told["route"], told["status"]) == (
        "key:app", "POST", "/v1/recommend", 200
    )  # fmt: skip
    assert (told["model_version"], told["catalog_version"]) == (
        line.champion.version, reply.json()["catalog_version"]
    )  # fmt: skip
    assert 0 < told["milliseconds"] < 10_000
    decided = logged.ask("GET", f"/v1/decisions/{reply.json()['decision_id']}", "r-2")
    assert decided.json()["request_id"] == "r-1"
    assert logged.of("r-2")["route"] == "/v1/decisions/{decision_id}"


REFUSED = [
    (401, "POST", "/v1/recommend", "/v1/recommend", {"json": {}, "headers": {"x-api-key": "sheaf_wrong"}}),
    (404, "GET", "/v1/clients/Lovelace", "/v1/clients/{client_id}", {}),
    (404, "GET", "/v2/Lovelace", None, {}),
    (405, "DELETE", "/v1/recommend", None, {}),
    (413, "POST", "/v1/quote", "/v1/quote", {"content": b"9" * 600_000}),
    (422, "POST", "/v1/recommend", "/v1/recommend", {"json": {"client_id": "Lovelace", "k": 0}}),
    (422, "POST", "/v1/recommend", "/v1/recommend", {"json": {"new_client": {"kind": "retail", "sector": {}}}}),
]


@pytest.mark.parametrize(("status", "method", "path", "route", "given"), REFUSED)
def test_refusals_are_lines_too_and_have_the_same_id(
    logged: Logged, status: int, method: str, path: str, route: str | None, given: dict[str, Any]
) -> None:
    name = f"refused-{time.monotonic_ns()}"
    given = {**given, "headers": {"content-type": "application/json", **given.get("headers", {})}}
    reply = logged.ask(method, path, name, **given)
    assert (reply.status_code, reply.headers["x-request-id"], reply.json()["request_id"]) == (status, name, name)
    told = logged.of(name)
    assert (told["status"], told["route"], told["method"]) == (status, route, method)
    assert told["caller"] == (None if status in (401, 405) or route is None else "key:app")


def test_a_caller_without_the_scope_and_one_who_asks_too_often_are_named(logged: Logged) -> None:
    for status, key in ((403, logged.reader), (429, logged.slow), (429, logged.slow)):
        name = f"named-{time.monotonic_ns()}"
        reply = logged.ask("GET", f"/v1/clients/{logged.client}", name, headers={"x-api-key": key})
        told = logged.of(name)
        if reply.status_code == 200:  # the first of the slow one
            continue
        assert (reply.status_code, told["status"]) == (status, status)
        assert told["caller"] == ("key:reader" if status == 403 else "key:slow")


def test_an_answer_that_takes_too_long_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SLOWEST", 0.01)
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(5)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "headers": [], "path": "/v1/recommend", "method": "POST"}
    asyncio.run(logs.RequestLogMiddleware(app, dict)(scope, receive, send))
    told = json.loads(sent[1]["body"])
    assert (sent[0]["status"], told["status"], told["title"]) == (504, 504, "Gateway Timeout")
    assert "no answer within 0.01 seconds" in told["detail"]


def test_who_gives_no_id_gets_one(logged: Logged) -> None:
    replies = [
        httpx.post(f"{logged.url}/v1/recommend", json={"client_id": logged.client}, headers={"x-api-key": key})
        for key in (logged.secret, logged.secret, "wrong")
    ]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == 3
    assert [logged.of(one)["status"] for one in ids] == [200, 200, 401]


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 201, "ä", '"},{'])
def test_an_id_that_cannot_be_passed_on_is_refused_under_another(logged: Logged, wrong: str) -> None:
    headers = {b"x-api-key": logged.secret.encode(), b"x-request-id": wrong.encode()}
    reply = httpx.get(f"{logged.url}/v1/clients/{logged.client}", headers=headers)
    if wrong == '"},{':  # odd, but printable: it stays one text of one line
        assert (reply.status_code, logged.of(wrong)["status"]) == (200, 200)
        return
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "x-request-id")
    assert reply.headers["x-request-id"] not in (wrong, "")
    assert logged.of(reply.headers["x-request-id"])["status"] == 422


def test_no_body_token_or_profile_is_told(logged: Logged) -> None:
    about = {"kind": "retail", "sector": "Lighthouse keeping", "age": 47.1328125}
    reply = logged.ask("POST", "/v1/recommend", "private", json={"new_client": about, "channel": "Semaphore"})
    assert reply.status_code == 200
    logged.ask("GET", "/v1/clients/x", "private-2", headers={"authorization": "Bearer a.secret.token"})
    text = logged.log.read_text()
    for private in (
        "Lighthouse",
        "47.1328",
        "Semaphore",
        logged.secret,
        logged.secret.split("_", 2)[2],
        "secret.token",
    ):
        assert private not in text
    offer = reply.json()["offers"][0]
    assert offer["bundle_id"] not in text
    assert str(offer["probability"]) not in text


def test_troubles_of_the_refresh_and_of_the_decision_log_are_lines_of_the_same_kind(logged: Logged) -> None:
    def said(log: str, words: str) -> bool:
        return any(one["log"] == log and words in one.get("message", "") for one in logged.lines())

    whole = logged.catalog.read_text()
    logged.catalog.write_text("{")
    assert becomes(lambda: said("sheaf.serving", "what was laid out anew is refused"))
    logged.catalog.write_text(whole)
    away = logged.decisions.with_name("away.db")
    logged.decisions.rename(away)
    body = {"client_id": logged.client}
    assert logged.ask("POST", "/v1/recommend", "away", json=body).status_code == 503
    away.rename(logged.decisions)
    assert logged.ask("POST", "/v1/recommend", "back", json=body).status_code == 200
    assert said("sheaf.decisions", "the decision log does not take entries")
    assert said("sheaf.decisions", "takes entries again")
    assert (logged.of("away")["status"], logged.of("back")["status"]) == (503, 200)
    levels = {one["message"]: one["level"] for one in logged.lines() if "takes entries again" in one.get("message", "")}
    assert set(levels.values()) == {"warning"}


def test_an_error_that_nobody_expected_is_a_problem_and_a_line_that_says_where_but_not_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("Lovelace")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/v1/x", "headers": [(b"x-request-id", b"r-9")]}
    with caplog.at_level(logging.INFO, "sheaf"):
        asyncio.run(logs.RequestLogMiddleware(app, dict)(scope, receive, send))
    assert sent[0]["status"] == 500
    told = json.loads(sent[1]["body"])
    assert (told["status"], told["request_id"]) == (500, "r-9")
    text = logs.Lines().format(caplog.records[-1])
    line = json.loads(text)
    assert (line["level"], line["status"], line["error"]) == ("error", 500, "KeyError")
    assert any("test_logs.py:" in where for where in line["where"])
    assert "Lovelace" not in text + sent[1]["body"].decode()


def test_a_level_keeps_the_requests_off_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("SHEAF_LOG_LEVEL", "warning")
        logs.configure()
        assert not logging.getLogger("sheaf.request").isEnabledFor(logging.INFO)
        assert logging.getLogger("sheaf.request").isEnabledFor(logging.ERROR)
        monkeypatch.setenv("SHEAF_LOG_LEVEL", "loud")
        with pytest.raises(ValueError, match="SHEAF_LOG_LEVEL is 'loud'; give info or warning"):
            logs.configure()
    finally:
        logging.getLogger("sheaf").setLevel(logging.NOTSET)
