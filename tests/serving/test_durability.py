"""What the log acknowledged is there after `kill -9`, exactly once; what the service answered, it logged."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from benchmarks.measure import child
from sheaf.serving.decisions import LogUnavailableError, Writer, add_decisions, new_id, upgrade
from sheaf.serving.decisions.database import connect, parsed
from sheaf.serving.decisions.tables import decisions
from sheaf.serving.runtime.demonstration import end, family, start
from tests.conftest import ROOT, WholeLine
from tests.serving.logged import decision
from tests.serving.postgres import RECOVERS, Postgres

ROUNDS = {"sqlite": 100, "postgresql": 50}  # kills; `python -m benchmarks.durability` does more
SECONDS = 12  # for these, however slow the disk is


def test_nothing_acknowledged_is_lost_or_doubled_whenever_the_writer_is_killed(place: str) -> None:
    rounds = ROUNDS["postgresql" if "://" in place else "sqlite"]
    counted = child("benchmarks.durability", "--rounds", rounds, "--seconds", SECONDS, "--place", place, "--json")
    assert (counted["lost"], counted["doubled"]) == (0, 0)
    assert 1 <= counted["rounds"] <= rounds
    assert counted["decisions"] >= 1


def test_nothing_acknowledged_is_lost_when_postgresql_itself_is_killed(server: Postgres) -> None:
    place = server.create(f"killed_{time.monotonic_ns()}")
    upgrade(parsed(place))
    log, acknowledged, drawn = Writer(parsed(place), 5.0), set(), random.Random(0)
    for _ in range(3):
        stop = threading.Event()

        def write(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                row = decision()
                try:
                    log.do(add_decisions([row]))
                except LogUnavailableError:
                    time.sleep(0.05)
                    continue
                acknowledged.add(row["decision_id"])

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(drawn.uniform(0.1, 0.3))
        server.kill_a_backend(place)  # on which PostgreSQL ends every other and recovers from its journal
        before, until = len(acknowledged), time.monotonic() + RECOVERS
        while len(acknowledged) < before + 20 and time.monotonic() < until:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        assert len(acknowledged) >= before + 20, "did not recover"
    log.close()
    with connect(parsed(place), 5.0).connect() as connection:
        there = list(connection.scalars(sa.select(decisions.c.decision_id)))
    assert len(there) == len(set(there))
    assert acknowledged <= set(there)


@pytest.fixture
def own(line: WholeLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a service of this test's own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("SHEAF_DECISIONS", str(tmp_path / "own.db"))
    monkeypatch.setenv("SHEAF_DECISIONS_SECONDS", "0.5")
    return tmp_path / "own.db"


@contextmanager
def asking(url: str, clients: list[str], callers: int = 4) -> Iterator[tuple[list[str], list[str]]]:
    """Callers that ask and give feedback until the block ends; the decisions and the keys acknowledged to them."""
    answered: list[str] = []
    recorded: list[str] = []
    stop = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(timeout=10) as http:
            while not stop.is_set():
                try:
                    reply = http.post(f"{url}/v1/recommend", json={"client_id": clients[number]})
                    if reply.status_code != 200:
                        continue
                    told = reply.json()
                    answered.append(told["decision_id"])
                    key = new_id()
                    body = {
                        "idempotency_key": key, "decision_id": told["decision_id"], "outcome": "shown",
                        "bundle_id": told["offers"][0]["bundle_id"], "at": dt.datetime.now(dt.UTC).isoformat(),
                    }  # fmt: skip
                    if http.post(f"{url}/v1/feedback", json=body).status_code == 200:
                        recorded.append(key)
                except httpx.HTTPError:
                    time.sleep(0.05)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield answered, recorded
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(true: object, seconds: float = 40.0) -> None:
    end_at = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end_at
        time.sleep(0.05)


def test_the_service_keeps_what_it_answered_when_it_is_killed_and_says_503_when_it_cannot(
    line: WholeLine, own: Path
) -> None:
    clients = [str(client) for client in line.recommender.snapshot.profiles.client_ids[:4]]
    with chdir(line.folder):
        process, url = start()
    try:
        with asking(url, clients) as (answered, recorded):
            until(lambda: len(recorded) > 20)
            for which in (-1, 0):  # that which answers, and that which it was forked from; another takes the place
                serving = [one for one in family(process) if "_bentoml_impl.worker.service" in one.cmdline()]
                serving[which].kill()
                before = len(recorded)
                until(lambda: len(recorded) > before + 20)  # noqa: B023
        _locked_is_a_503(url, own, clients[0])
        with asking(url, clients) as (more, also):
            until(lambda: len(also) > 20)
            end(process)
    finally:
        end(process)
    with sqlite3.connect(own) as log:
        there = [row[0] for row in log.execute("SELECT decision_id FROM decisions")]
        keys = [row[0] for row in log.execute("SELECT idempotency_key FROM feedback")]
    assert len(there) == len(set(there))
    assert {*answered, *more} <= set(there)
    assert {*recorded, *also} <= set(keys)


def _locked_is_a_503(url: str, own: Path, client: str) -> None:
    asked = {"client_id": client}
    decision_id = httpx.post(f"{url}/v1/recommend", json=asked).json()["decision_id"]
    with sqlite3.connect(own, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for call in (
            lambda: httpx.post(f"{url}/v1/recommend", json=asked, timeout=10),
            lambda: httpx.get(f"{url}/v1/decisions/{decision_id}", timeout=10),
        ):
            started = time.monotonic()
            reply = call()
            assert time.monotonic() - started < 1.5
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
            assert "the decision log is not available" in reply.json()["detail"]
        assert httpx.get(f"{url}/livez").status_code == 200
        other.execute("ROLLBACK")
    assert httpx.post(f"{url}/v1/recommend", json=asked).status_code == 200
