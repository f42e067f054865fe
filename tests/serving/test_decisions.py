"""The decision log's own rules, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import datetime as dt
import os
import re
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sheaf.serving.decisions import (
    LogUnavailableError,
    RefusedError,
    Writer,
    add_decisions,
    add_feedback,
    configured,
    new_id,
    read_decision,
    upgrade,
)
from sheaf.serving.decisions.database import connect, differences, parsed, shown
from sheaf.serving.decisions.tables import decisions, feedback
from tests.serving.logged import ASKED, NOW, decision, told
from tests.serving.postgres import Postgres


@pytest.fixture
def log(place: str) -> Iterator[Writer]:
    upgrade(parsed(place))
    writer = Writer(parsed(place))
    yield writer
    writer.close()


@pytest.fixture
def logged(log: Writer) -> str:
    """The id of a decision in the log."""
    row = decision()
    log.do(add_decisions([row]))
    return str(row["decision_id"])


def test_a_decision_is_read_as_it_was_written(log: Writer) -> None:
    row = decision(request_id="r-1", answer='{"offers":[],  "name": "Größe 漢字 🏦"}', profile=bytes(range(256)) * 4)
    log.do(add_decisions([row]))
    found, of_it = log.do(read_decision(row["decision_id"]))
    assert found == row
    assert of_it == []


def test_feedback_is_read_with_its_decision_oldest_first(log: Writer, logged: str) -> None:
    given = [told(logged, "shown", 5), told(logged, "shown", 9, bundle_id="home"), told(logged, "accepted", 60)]
    for number, one in enumerate(given):
        log.do(add_feedback(one, NOW + dt.timedelta(microseconds=number)))
    _, of_it = log.do(read_decision(logged))
    assert [(row["bundle_id"], row["outcome"], row["at"]) for row in of_it] == [
        (one.bundle_id, one.outcome, one.at) for one in given
    ]


def test_times_of_any_zone_are_kept_as_moments(log: Writer, logged: str) -> None:
    east = dt.timezone(dt.timedelta(hours=9))
    row = log.do(add_feedback(told(logged, at=ASKED.astimezone(east)), NOW))
    _, [found] = log.do(read_decision(logged))
    assert row["at"] == found["at"] == ASKED
    assert found["at"].utcoffset() == dt.timedelta(0)


def test_the_same_key_with_the_same_body_is_written_once_and_answered_alike(log: Writer, logged: str) -> None:
    given = told(logged)
    first = log.do(add_feedback(given, NOW))
    assert log.do(add_feedback(given, NOW + dt.timedelta(hours=1))) == first
    assert len(log.do(read_decision(logged))[1]) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bundle_id": "home"}, "bundle_id"),
        ({"outcome": "rejected"}, "outcome"),
        ({"at": ASKED}, "at"),
        ({"decision_id": "other"}, "decision_id"),
    ],
)
def test_the_same_key_with_another_body_is_refused(
    log: Writer, logged: str, changes: dict[str, Any], field: str
) -> None:
    key = "once"
    log.do(add_feedback(told(logged, idempotency_key=key), NOW))
    with pytest.raises(RefusedError, match=f"^idempotency_key: was used before, with another {field} .* a new key$"):
        log.do(add_feedback(told(**{"decision_id": logged, "idempotency_key": key, **changes}), NOW))


def test_keys_are_each_callers_own_also_when_written_at_the_same_time(log: Writer, logged: str, place: str) -> None:
    """The database tells them apart as well, not the code alone: it is what keeps two processes from writing twice."""
    given = told(logged, "shown", 1, idempotency_key="k")
    names = [None, "key:app", "key:App", "person:app", "person:" + "a" * 255, "person:" + "a" * 254 + "b"]
    for now in (NOW, NOW + dt.timedelta(hours=1)):
        for name in names:
            row = log.do(add_feedback(given, now, name))
            assert (row["caller"], row["recorded_at"]) == (name or "", NOW)
    with connect(parsed(place), 2.0).begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(feedback)) == len(names)
    for name in names[:2]:
        with pytest.raises(RefusedError, match="was used before, with another outcome"):
            log.do(add_feedback(told(logged, "rejected", 1, idempotency_key="k"), NOW, name))


DAY = 86_400.0
REFUSED: list[tuple[list[tuple[str, float]], tuple[str, float], dict[str, Any], int, str]] = [
    ([], ("accepted", 60), {"decision_id": "0190"}, 404, "decision_id: no decision '0190' is logged"),
    ([], ("shown", 1), {"bundle_id": "till"}, 422,
     "bundle_id: 'till' was not offered in this decision; it offered home, card, insurance"),
    ([], ("shown", -60), {}, 422, "at: is before the decision, which was made at 2025-06-02T09:30:00[+]00:00"),
    ([], ("shown", 31 * DAY), {}, 422, "at: is in the future, it is 2025-07-02T09:30:00[+]00:00 now"),
    ([("rejected", 60)], ("accepted", 90), {}, 409, "outcome: the bundle was rejected at .* cannot be accepted now"),
    ([("accepted", 60)], ("rejected", 90), {}, 409, "outcome: the bundle was accepted at .* cannot be rejected now"),
    ([("accepted", 60)], ("ignored", 90), {}, 409, "outcome: the bundle was accepted at .* cannot be ignored now"),
    ([("ignored", 60)], ("accepted", 90), {}, 409, "outcome: the bundle was ignored at .* cannot be accepted now"),
    ([("accepted", 60)], ("accepted", 90), {}, 409, "outcome: the bundle was accepted at .* cannot be accepted again"),
    ([("shown", 30), ("rejected", 60)], ("shown", 90), {}, 409, "at: is after the bundle was rejected"),
    ([("shown", 90)], ("accepted", 60), {}, 409, "at: is before the bundle was last shown"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "given", "changes", "status", "message"), REFUSED)
def test_what_cannot_be_is_refused_and_leaves_nothing_behind(
    log: Writer,
    logged: str,
    before: list[tuple[str, float]],
    given: tuple[str, float],
    changes: dict[str, Any],
    status: int,
    message: str,
) -> None:
    for outcome, after in before:
        log.do(add_feedback(told(logged, outcome, after), NOW))
    feedback_given: dict[str, Any] = {"decision_id": logged, "outcome": given[0], "after": given[1]} | changes
    with pytest.raises(RefusedError, match=f"^{message}") as refused:
        log.do(add_feedback(told(**feedback_given), NOW))
    assert refused.value.status == status
    assert len(log.do(read_decision(logged))[1]) == len(before)


def test_a_bundle_may_be_shown_often_and_answered_once_and_told_of_late(log: Writer, logged: str) -> None:
    for outcome, after in (("shown", 1), ("shown", 30), ("accepted", 60), ("shown", 45)):
        log.do(add_feedback(told(logged, outcome, after), NOW))
    log.do(add_feedback(told(logged, "rejected", bundle_id="home"), NOW))
    assert len(log.do(read_decision(logged))[1]) == 5


def test_clocks_may_differ_by_seconds(log: Writer, logged: str) -> None:
    log.do(add_feedback(told(logged, "shown", -3), NOW))
    log.do(add_feedback(told(logged, "shown", bundle_id="home", at=NOW + dt.timedelta(seconds=3)), NOW))


def test_of_two_who_contradict_each_other_at_once_one_is_written(place: str) -> None:
    upgrade(parsed(place))
    logs = [Writer(parsed(place)) for _ in range(4)]  # as if of four processes
    try:
        for _ in range(10):
            row = decision()
            logs[0].do(add_decisions([row]))
            start = threading.Barrier(len(logs))

            def tell(log: Writer, decision_id: str = row["decision_id"], start: threading.Barrier = start) -> str:
                start.wait()
                try:
                    log.do(add_feedback(told(decision_id, "accepted"), NOW))
                except RefusedError as refused:
                    return refused.field
                return "written"

            with ThreadPoolExecutor(len(logs)) as pool:
                ended = list(pool.map(tell, logs))
            assert sorted(ended) == ["outcome"] * 3 + ["written"]
            assert len(logs[0].do(read_decision(row["decision_id"]))[1]) == 1
    finally:
        for log in logs:
            log.close()


def test_who_tells_the_same_twice_at_once_is_answered_alike(server: Postgres) -> None:
    one, other = two_of(server)
    row = decision()
    one.do(add_decisions([row]))
    given = told(str(row["decision_id"]))
    answered: list[dict[str, Any]] = []

    def told_meanwhile(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM feedback" in statement and not answered:
            answered.append(other.do(add_feedback(given, NOW)))

    sa.event.listen(one._engine, "after_cursor_execute", told_meanwhile)
    assert one.do(add_feedback(given, NOW)) == answered[0]
    one.close()
    other.close()


def test_who_waits_for_each_other_is_answered_still(server: Postgres) -> None:
    logs, meet = two_of(server), threading.Barrier(2)
    rows = [decision(), decision()]
    logs[0].do(add_decisions(rows))
    futures: list[Future[Any]] = []
    for log, outcome, order in zip(logs, ("accepted", "rejected"), (rows, rows[::-1]), strict=True):
        hold, first = threading.Event(), iter([True])

        def wait(connection: sa.Connection, hold: threading.Event = hold) -> None:
            hold.wait(20)

        def both_there(connection: sa.Connection, first: Iterator[bool] = first) -> None:
            if next(first, False):
                meet.wait(20)

        log.submit(wait)  # so that what follows goes together
        begin, end = (add_feedback(told(str(row["decision_id"]), outcome), NOW) for row in order)
        futures += [log.submit(begin), log.submit(both_there), log.submit(end)]
        hold.set()
    failed = [future.exception(20) for future in futures]
    assert [error for error in failed if error is not None and not isinstance(error, RefusedError)] == []
    for row in rows:
        assert len(logs[0].do(read_decision(str(row["decision_id"])))[1]) == 1
    assert [error.status for error in failed if isinstance(error, RefusedError)] == [409, 409]
    for log in logs:
        log.close()


def two_of(server: Postgres) -> list[Writer]:
    """The logs of two processes on one new PostgreSQL, where they write at the same time."""
    url = parsed(server.create(f"log_{uuid.uuid4().hex}"))
    upgrade(url)
    return [Writer(url, 9.0) for _ in range(2)]


def test_callers_at_the_same_time_share_a_transaction_and_keep_their_own_results(log: Writer) -> None:
    rows = [decision() for _ in range(200)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda row: log.do(add_decisions([row])), rows))
        asked = [row["decision_id"] if number % 3 else "unknown" for number, row in enumerate(rows)]

        def tell(decision_id: str) -> str:
            try:
                return str(log.do(add_feedback(told(decision_id), NOW))["decision_id"])
            except RefusedError as refused:
                return refused.field

        ended = list(pool.map(tell, asked))
    assert ended == [decision_id if decision_id != "unknown" else "decision_id" for decision_id in asked]


def test_one_entry_that_the_database_refuses_does_not_take_others_with_it(log: Writer) -> None:
    hold, go_on = threading.Event(), threading.Event()

    def wait(connection: sa.Connection) -> None:
        hold.set()
        go_on.wait(5)

    first = log.submit(wait)
    hold.wait(5)
    twice = decision()
    together = [log.submit(add_decisions([row])) for row in (decision(), twice, twice, decision())]
    go_on.set()
    first.result(5)
    assert [future.exception(5) is None for future in together] == [True, True, False, True]
    assert isinstance(together[2].exception(), LogUnavailableError)


def test_what_was_given_up_in_time_is_not_written(log: Writer) -> None:
    hold, go_on = threading.Event(), threading.Event()

    def wait(connection: sa.Connection) -> None:
        hold.set()
        go_on.wait(5)

    first, row = log.submit(wait), decision()
    hold.wait(5)
    given_up = log.submit(add_decisions([row]))
    assert given_up.cancel()
    go_on.set()
    first.result(5)
    with pytest.raises(RefusedError, match="no decision"):
        log.do(read_decision(row["decision_id"]))


def test_ids_are_version_7_in_order_of_time() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert {(one[14], one[19] in "89ab") for one in ids} == {("7", True)}
    moments = [uuid.UUID(one).int >> 80 for one in ids]
    assert moments == sorted(moments)


def test_forked_workers_draw_different_ids() -> None:
    new_id()  # the source of chance is seeded, and then copied by the fork
    readers = []
    for _ in range(4):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, "\n".join(new_id()[14:] for _ in range(500)).encode())
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    chances = []
    for reader in readers:
        with os.fdopen(reader) as pipe:
            chances += pipe.read().split("\n")
        os.wait()
    assert len(set(chances)) == len(chances) == 2_000


def test_the_migrations_make_the_tables_that_the_code_has(place: str) -> None:
    newest = upgrade(parsed(place))
    assert upgrade(parsed(place)) == newest  # a second time changes nothing
    with connect(parsed(place), 2.0).begin() as connection:
        assert differences(connection) == []
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version", "decisions", "feedback", "quotes"}


OLD_FEEDBACK = [
    "CREATE TABLE feedback (idempotency_key VARCHAR(200) NOT NULL PRIMARY KEY, decision_id VARCHAR(36) NOT NULL, "
    "bundle_id VARCHAR(200) NOT NULL, outcome VARCHAR(20) NOT NULL, at {moment} NOT NULL, "
    "recorded_at {moment} NOT NULL, caller VARCHAR(200), "
    "CONSTRAINT fk_feedback_decision_id FOREIGN KEY (decision_id) REFERENCES decisions (decision_id))",
    "CREATE INDEX ix_feedback_decision_id ON feedback (decision_id)",
    "CREATE UNIQUE INDEX uq_feedback_answered ON feedback (decision_id, bundle_id) WHERE outcome <> 'shown'",
    "INSERT INTO feedback VALUES "
    "('a', '{decision}', 'card', 'shown', '2025-06-02 09:30:01{zone}', '2025-06-02 09:30:02{zone}', NULL), "
    "('b', '{decision}', 'card', 'accepted', '2025-06-02 09:31:00{zone}', '2025-06-02 09:31:01{zone}', 'key:app')",
]


def test_a_log_of_an_older_schema_keeps_what_is_in_it(place: str) -> None:
    newest, row = upgrade(parsed(place)), decision()
    with connect(parsed(place), 2.0).begin() as connection:
        connection.execute(sa.text("DROP TABLE quotes"))
        connection.execute(sa.insert(decisions), row)
        connection.execute(sa.text("DROP TABLE feedback"))
        sqlite = connection.dialect.name == "sqlite"
        moment, zone = ("DATETIME", "") if sqlite else ("TIMESTAMP WITH TIME ZONE", "+00")
        for statement in OLD_FEEDBACK:
            connection.execute(sa.text(statement.format(decision=row["decision_id"], moment=moment, zone=zone)))
        for column in ("own", "plan", "policy_version", "price_propensity"):
            connection.execute(sa.text(f"ALTER TABLE decisions DROP COLUMN {column}"))
        connection.execute(sa.text("ALTER TABLE decisions RENAME COLUMN list_propensity TO propensity"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    assert upgrade(parsed(place)) == newest
    with connect(parsed(place), 2.0).begin() as connection:
        assert differences(connection) == []
        assert dict(connection.execute(sa.select(decisions)).mappings().one()) == row
        kept = connection.execute(sa.select(feedback.c.idempotency_key, feedback.c.caller)).all()
        assert sorted(map(tuple, kept)) == [("a", ""), ("b", "key:app")]
    writer = Writer(parsed(place))
    again = told(str(row["decision_id"]), "shown", 1, idempotency_key="a")
    assert writer.do(add_feedback(again, NOW))["recorded_at"] == ASKED + dt.timedelta(seconds=2)
    writer.do(add_feedback(again, NOW, "key:app"))
    with pytest.raises(RefusedError, match="cannot be rejected now"):  # the index is kept
        writer.do(add_feedback(told(str(row["decision_id"]), "rejected", 90), NOW))
    writer.close()


def test_many_may_start_at_once(place: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: upgrade(parsed(place), 9.0), range(4)))) == 1


def test_a_newer_schema_is_refused_and_left_alone(place: str) -> None:
    upgrade(parsed(place))
    with connect(parsed(place), 2.0).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(match=r"has schema 9999, which is newer than .* knows \(0006\); run the Sheaf"):
        upgrade(parsed(place))
    with connect(parsed(place), 2.0).begin() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "9999"


def test_a_migration_that_fails_leaves_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(op, "create_index", full)
    with pytest.raises(match="cannot be opened: no space left; see that"):
        upgrade(parsed(place))
    with connect(parsed(place), 2.0).begin() as connection:
        assert sa.inspect(connection).get_table_names() == []


def test_sqlite_is_durable_as_configured(tmp_path: Path) -> None:
    url = parsed(str(tmp_path / "a folder" / "log?#%41.db"))
    upgrade(url)
    with connect(url, 2.0).connect() as connection:
        modes = [connection.exec_driver_sql(f"PRAGMA {of}").scalar() for of in ("journal_mode", "synchronous")]
    assert modes == ["wal", 2]
    assert [path.name for path in (tmp_path / "a folder").iterdir() if not path.name.endswith(("-wal", "-shm"))] == [
        "log?#%41.db"
    ]


def test_the_environment_names_place_and_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SHEAF_DECISIONS", "SHEAF_DECISIONS_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    url, seconds = configured()
    assert (shown(url), seconds) == (str(tmp_path / "mlruns" / "decisions.db"), 2.0)
    monkeypatch.setenv("SHEAF_DECISIONS", "postgresql://sheaf:geheim@db.bank/log")
    monkeypatch.setenv("SHEAF_DECISIONS_SECONDS", "0.5")
    url, seconds = configured()
    assert (shown(url), seconds) == ("postgresql+psycopg://sheaf:***@db.bank/log", 0.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SHEAF_DECISIONS", "mysql://host/log", "of the kind mysql; the decision log is kept in a file"),
        ("SHEAF_DECISIONS", "://", "SHEAF_DECISIONS is no URL such as postgresql://"),
        ("SHEAF_DECISIONS_SECONDS", "soon", "SHEAF_DECISIONS_SECONDS is 'soon'; give seconds between 0.1 and 9"),
        ("SHEAF_DECISIONS_SECONDS", "60", "SHEAF_DECISIONS_SECONDS is '60'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(match=re.escape(message)):
        configured()


def test_a_log_that_cannot_be_opened_says_so_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, and too long to be an empty one" * 100)
    with pytest.raises(match=r"decision log .*file cannot be opened: .*SHEAF_DECISIONS"):
        upgrade(parsed(str(tmp_path / "file")))
    with pytest.raises(match="cannot be opened") as told_so:
        upgrade(parsed("postgresql://sheaf:geheim@127.0.0.1:1/log"))
    assert "geheim" not in str(told_so.value)


def test_rows_are_there_for_any_client_of_the_database(tmp_path: Path) -> None:
    """An auditor's own tool, and a backup, see plain tables."""
    url = parsed(str(tmp_path / "decisions.db"))
    upgrade(url)
    log = Writer(url)
    row = decision()
    log.do(add_decisions([row]))
    log.do(add_feedback(told(row["decision_id"]), NOW))
    with sqlite3.connect(tmp_path / "decisions.db") as other, sqlite3.connect(tmp_path / "backup.db") as backup:
        other.backup(backup)
        for connection in (other, backup):
            assert connection.execute(f"SELECT asked_at FROM {decisions}").fetchall() == [
                ("2025-06-02 09:30:00.000000",)
            ]
            assert connection.execute(f"SELECT outcome FROM {feedback}").fetchall() == [("accepted",)]
    log.close()
