"""The database is gone, locked or slow: callers are told within the time limit, and all is well once it is back."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from sheaf.serving.decisions import LogUnavailableError, Writer, add_decisions, add_feedback, read_decision, upgrade
from sheaf.serving.decisions.database import connect, parsed
from sheaf.serving.decisions.tables import decisions
from sheaf.serving.decisions.writer import MOST_WAITING
from tests.serving.logged import NOW, decision, told
from tests.serving.postgres import Postgres

LIMIT = 0.5  # seconds
SLACK = 2.0  # beyond it, on a machine that does other things as well


@contextmanager
def opened(place: str, seconds: float = LIMIT) -> Iterator[Writer]:
    upgrade(parsed(place))
    log = Writer(parsed(place), seconds)
    try:
        first = log.submit(add_decisions([decision()]))  # connected, as a service in the middle of its day is
        first.result(LIMIT + 10 * SLACK)  # connecting is not what is limited here
        yield log
    finally:
        log.close()


def is_refused(log: Writer, row: dict[str, object] | None = None) -> LogUnavailableError:
    started = time.monotonic()
    with pytest.raises(LogUnavailableError, match="the decision log is not available") as told_so:
        log.do(add_decisions([row or decision()]))
    assert time.monotonic() - started < LIMIT + SLACK
    assert told_so.value.retry_after == 1
    return told_so.value


def recovers(log: Writer, within: float = 10.0) -> None:
    """A decision and its feedback are taken again, without anybody doing anything."""
    until = time.monotonic() + within
    while True:
        row = decision()
        try:
            log.do(add_decisions([row]))
        except LogUnavailableError:
            assert time.monotonic() < until
            time.sleep(0.05)
            continue
        log.do(add_feedback(told(str(row["decision_id"])), NOW))
        assert log.do(read_decision(str(row["decision_id"])))[0] == row
        return


def count(place: str) -> int:
    with connect(parsed(place), 2.0).begin() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(decisions)) or 0)


@pytest.fixture
def database(server: Postgres) -> Iterator[str]:
    """A database of a server that runs before and after."""
    yield server.create(f"outage_{time.monotonic_ns()}")
    if not server.runs():
        server.start()


def test_postgresql_that_crashes_and_comes_back(server: Postgres, database: str) -> None:
    with opened(database) as log:
        for mode in ("immediate", "fast"):
            server.stop(mode)
            for _ in range(3):
                is_refused(log)
            server.start()
            recovers(log)
    assert count(database) == 3  # nothing of what was refused


def test_postgresql_that_hangs(server: Postgres, database: str) -> None:
    """Its machine still takes what is sent, but no answer comes: only a time limit of our own helps."""
    with opened(database) as log:
        with connect(parsed(database), 2.0).connect() as other:
            [backend] = other.scalars(
                sa.text(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        os.kill(backend, signal.SIGSTOP)
        try:
            is_refused(log)
            is_refused(log)
        finally:
            os.kill(backend, signal.SIGCONT)
        recovers(log)


def test_postgresql_that_is_locked(database: str) -> None:
    with opened(database) as log:
        before = count(database)
        with connect(parsed(database), 9.0).begin() as other:
            other.execute(sa.text("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE"))
            is_refused(log)
            is_refused(log)
        recovers(log)
        assert before + 1 <= count(database) <= before + 3  # who was refused may be there, and was told so


def test_a_service_that_waits_for_the_database_takes_no_more_than_it_can_answer(database: str) -> None:
    with opened(database) as log, connect(parsed(database), 9.0).begin() as other:
        other.execute(sa.text("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE"))
        row = decision()

        def fill() -> None:
            for _ in range(2 * MOST_WAITING):
                waiting.append(log.submit(add_decisions([row])))

        waiting: list[Future[None]] = []
        with pytest.raises(LogUnavailableError, match=f"{MOST_WAITING} entries wait for it"):
            fill()
        assert len(waiting) >= MOST_WAITING
        for future in waiting:
            future.cancel()


@contextmanager
def locked(place: str) -> Iterator[None]:
    """Another process has the file, as a backup by the wrong tool does."""
    with sqlite3.connect(place, isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    other.close()


def test_a_sqlite_file_that_is_locked(tmp_path: Path) -> None:
    place = str(tmp_path / "decisions.db")
    with opened(place) as log:
        with locked(place):
            is_refused(log)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda _: is_refused(log), range(8)))
        recovers(log)
        assert count(place) == 2  # nothing of what was refused


def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    place = str(tmp_path / "decisions.db")
    with opened(place, 5.0) as log:
        let_go = threading.Event()

        def hold() -> None:
            with locked(place):
                held.set()
                let_go.wait(5)

        held = threading.Event()
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(5)
        rows = [decision() for _ in range(20)]
        futures = [log.submit(add_decisions([row])) for row in rows]
        time.sleep(0.2)
        assert not any(future.done() for future in futures)
        let_go.set()
        for future in futures:
            future.result(5)
        holder.join()
        assert count(place) == 21


def away(place: Path, elsewhere: Path) -> None:
    """The file and what SQLite keeps beside it."""
    for path in [*place.parent.glob(f"{place.name}*")]:
        path.rename(elsewhere / path.name)


@pytest.mark.parametrize("restore", [True, False], ids=["restored", "made anew"])
def test_a_sqlite_file_that_is_taken_away(tmp_path: Path, restore: bool) -> None:
    """It could still be written to, and all of that would be lost."""
    (tmp_path / "log").mkdir()
    (tmp_path / "elsewhere").mkdir()
    place = tmp_path / "log" / "decisions.db"
    with opened(str(place)) as log:
        away(place, tmp_path / "elsewhere")
        assert "No such file" in str(is_refused(log))
        assert not place.exists()
        if restore:
            away(tmp_path / "elsewhere" / "decisions.db", tmp_path / "log")
        else:
            upgrade(parsed(str(place)))
        recovers(log)
        assert count(str(place)) == (2 if restore else 1)


def test_an_empty_file_in_place_of_the_log_is_no_log(tmp_path: Path) -> None:
    place = tmp_path / "decisions.db"
    with opened(str(place)) as log:
        place.unlink()
        place.touch()
        assert "no such table" in str(is_refused(log))


def test_a_full_disk_is_told_of(tmp_path: Path) -> None:
    place = tmp_path / "decisions.db"
    with opened(str(place)) as log:
        log.do(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 20"))
        refused: list[str] = []

        def fill(write: Callable[[], None]) -> None:
            for _ in range(50):
                try:
                    write()
                except LogUnavailableError as error:
                    refused.append(str(error))
                    return

        fill(lambda: log.do(add_decisions([decision(profile=b"\0" * 20_000)])))
        assert ["full" in one for one in refused] == [True]
        recovers(log)  # on a new connection, which has no such limit


def test_an_outage_and_its_end_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = str(tmp_path / "decisions.db")
    with opened(place) as log:
        with locked(place):
            is_refused(log)
            is_refused(log)
        recovers(log)
    said = [record.getMessage() for record in caplog.records if record.name == "sheaf.decisions"]
    assert [one.split(":")[0] for one in said] == [
        "the decision log does not take entries, callers get 503",
        "the decision log takes entries again",
    ]
