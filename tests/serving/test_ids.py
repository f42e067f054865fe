"""Any id of a bank can be asked for in a path, and an id that cannot be a client's costs nothing."""

from __future__ import annotations

import datetime as dt
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from sheaf.features import ProfileMatrix
from sheaf.features.snapshot import Snapshot
from sheaf.serving import service as of_service
from sheaf.serving.decisions import RefusedError, read_decision, read_quote
from sheaf.serving.decisions.tables import decisions, metadata, quotes
from sheaf.serving.http.access import Caller, Scope
from sheaf.serving.http.raw_paths import path_by_segments
from sheaf.serving.runtime.demonstration import running
from tests.conftest import ROOT, WholeLine
from tests.serving.test_connections import connect, received

ODD = [
    "a/b", "/", "a//b", "/a", "a/", "a/plan", "plan", "plan/plan", "/plan", "a%2Fb", "%", "a?b", "a#b", "a b", " ",
    "a+b", "a&b=c", "a;b", ".", "..", "../a", "a\\b", "é", "漢字", "a\nb", "\u2028", "'", '"', "{client_id}", "x" * 200,
]  # fmt: skip


def in_path(client_id: str) -> str:
    """Percent-encoded, as RFC 3986 has it, with the dots that clients would take for folders."""
    return quote(client_id, safe="").replace(".", "%2E")


def routed(sent: str) -> str:
    return path_by_segments({"raw_path": sent.encode(), "path": "/v1/clients/"})


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/v1/clients/a%2Fb", "/v1/clients/a%2Fb"),
        ("/v1/clients/a/b", "/v1/clients/a%2Fb"),
        ("/v1/clients/a/b/plan", "/v1/clients/a%2Fb/plan"),
        ("/v1/clients/a%2Fplan", "/v1/clients/a%2Fplan"),
        ("/v1/clients/a%2fplan/plan", "/v1/clients/a%2Fplan/plan"),
        ("/v1/clients/plan", "/v1/clients/plan"),
        ("/v1/clients/%2Fplan", "/v1/clients/%2Fplan"),
        ("/v1/%63lients/a/%70lan", "/v1/clients/a/plan"),
        ("/v1/clients/%2E%2e", "/v1/clients/.."),
        ("/v1/clients/a%252Fb", "/v1/clients/a%252Fb"),
    ],
)
def test_a_slash_belongs_to_the_id_but_for_that_of_the_plan(sent: str, path: str) -> None:
    assert routed(sent) == path


@pytest.fixture(scope="module")
def odd_service(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service over clients with odd ids."""
    folder, profiles = tmp_path_factory.mktemp("odd"), line.recommender.snapshot.profiles
    ids = np.sort(np.array([*ODD, *profiles.client_ids[: len(profiles.client_ids) - len(ODD)]], dtype=str))
    odd = ProfileMatrix(ids, profiles.columns, profiles.categories, np.asarray(profiles.values))
    Snapshot.write(folder / "profiles", [odd], line.recommender.snapshot.as_of)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch, chdir(line.folder):  # not for services that start later
            patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
            patch.setenv("SHEAF_PROFILES", str(folder / "profiles"))
            patch.setenv("SHEAF_DECISIONS", str(folder / "decisions.db"))
            patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
            url = stack.enter_context(running())
        yield url


def test_every_id_can_be_asked_for_in_a_path(odd_service: str) -> None:
    for client_id in ODD:
        reply = httpx.get(f"{odd_service}/v1/clients/{in_path(client_id)}")
        assert (reply.status_code, reply.json().get("client_id")) == (200, client_id), reply.text
        plan = httpx.get(f"{odd_service}/v1/clients/{in_path(client_id)}/plan")
        assert plan.json()["detail"].startswith(f"no plan of client {client_id!r}"), plan.text


@pytest.mark.parametrize("client_id", ["C1\0", "x" * 199, "x" * 201, "y" * 6_000, "\ufffd", "%2"])
def test_an_id_that_no_client_has_is_refused_as_a_problem(odd_service: str, client_id: str) -> None:
    for path in (f"/v1/clients/{in_path(client_id)}", f"/v1/clients/{in_path(client_id)}/plan"):
        reply = httpx.get(f"{odd_service}{path}")
        assert reply.status_code == (422 if len(client_id) > 200 else 404), reply.text
        assert reply.headers["content-type"] == "application/problem+json"
        assert len(reply.text) < 1_500


@pytest.mark.parametrize("name", ["decisions", "quotes"])
@pytest.mark.parametrize("logged_id", ["a/b", "x" * 201, "é", "%00", "..", "a\nb"])
def test_an_id_of_the_log_that_there_is_not_is_refused_as_a_problem(service: str, name: str, logged_id: str) -> None:
    reply = httpx.get(f"{service}/v1/{name}/{in_path(logged_id)}")
    assert reply.status_code == (422 if len(logged_id) > 200 else 404)
    assert reply.headers["content-type"] == "application/problem+json"


def test_bytes_that_are_no_utf8_are_nobodys_id(service: str) -> None:
    asked = urlsplit(service)
    for sent in (b"/v1/clients/%FF%FE", b"/v1/clients/\xc3\xa9"):
        request = b"GET " + sent + b" HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        with connect((str(asked.hostname), int(asked.port or 0)), request) as connection:
            answer = received(connection)
        assert answer.split()[1] in (b"400", b"404")
        assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("recommend", {"client_id": "x" * 201}, "client_id"),
        ("recommend_batch", {"client_ids": ["a", "x" * 201]}, "client_ids.1"),
        ("recommend", {"new_client": {"kind": "retail", "x" * 201: 1}}, "new_client"),
        ("quote", {"client_id": "a", "bundle_id": "b", "terms": {"x" * 201: 1}}, "terms"),
    ],
)
def test_names_in_bodies_are_bounded(service: str, route: str, body: dict[str, Any], field: str) -> None:
    reply = httpx.post(f"{service}/v1/{route}", json=body)
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"].startswith(field)
    assert "at most 200 characters" in reply.json()["detail"]


@pytest.fixture(scope="module")
def large() -> Snapshot:
    ids = np.array([f"C{number:08d}" for number in range(200_000)])
    return Snapshot(dt.date(2026, 1, 31), ProfileMatrix(ids, ["age"], {}, np.zeros((len(ids), 1), dtype=np.float32)))


@pytest.mark.parametrize("client_id", ["C00000001x", "x" * 200, "x" * 60_000, "C0000000\0", ""])
def test_an_unknown_id_is_looked_up_without_a_copy_of_all_ids(large: Snapshot, client_id: str) -> None:
    assert large.row("C00000017") == 17
    tracemalloc.start()
    try:
        assert large.row(client_id) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def work(of: Callable[[], Any]) -> int:
    """The calls that it takes, of Python's and of C's functions."""
    count = 0

    def called(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        of()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def stranger(line: WholeLine, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """A manager of none of the clients."""
    monkeypatch.setattr(of_service.app.state, "recommender", line.recommender, raising=False)
    return Caller("person:x", frozenset(Scope), False, manager="M-none")


def test_whose_client_it_is_takes_the_same_work_for_hidden_and_unknown_clients(
    line: WholeLine, stranger: Caller
) -> None:
    hidden = [str(client) for client in line.recommender.snapshot.profiles.client_ids[:256]]
    unknown = [f"{client[:-1]}x" for client in hidden]
    sees, knows = of_service._sees(stranger), line.recommender.knows
    assert not any(map(sees, [*hidden, *unknown]))
    of_hidden, of_unknown = (work(lambda ids=ids: [sees(one) & knows(one) for one in ids]) for ids in (hidden, unknown))  # type: ignore[misc]
    assert abs(of_hidden - of_unknown) < 0.02 * of_hidden


def test_a_logged_id_takes_the_same_work_for_hidden_and_unknown_clients(line: WholeLine, stranger: Caller) -> None:
    client, now = str(line.recommender.snapshot.profiles.client_ids[0]), dt.datetime.now(dt.UTC)
    there, nowhere = "01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4e", "01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4f"
    engine, visible = sa.create_engine("sqlite://"), of_service._mine(stranger)
    metadata.create_all(engine)
    filled: dict[Any, Any] = {
        sa.String: "x",
        sa.Text: "[]" * 10_000,
        sa.LargeBinary: b"x",
        sa.Float: 1.0,
        sa.Integer: 1,
    }
    with engine.begin() as connection:
        for table, read in ((decisions, read_decision), (quotes, read_quote)):
            values = {one.name: filled.get(type(one.type), now) for one in table.c}
            key = next(iter(table.primary_key)).name
            connection.execute(sa.insert(table), values | {key: there, "client_id": client})

            def ask(logged_id: str, read: Any = read, connection: sa.Connection = connection) -> None:
                with pytest.raises(RefusedError, match="is logged"):
                    read(logged_id, visible)(connection)

            ask(there)
            of_hidden, of_unknown = (work(lambda one=one: ask(one)) for one in (there, nowhere))  # type: ignore[misc]
            assert abs(of_hidden - of_unknown) < 0.1 * of_hidden
