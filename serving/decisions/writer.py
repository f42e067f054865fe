"""One thread and one connection a process, through which everything goes that is written to the log or read from it.

Entries that wait while another is being written go into the next transaction together: many callers at once pay for one
write to the disk. An entry is done only when its transaction is.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from sheaf.serving.decisions.database import SECONDS, connect, said

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
Entry = tuple[Work[Any], Future[Any]]
MOST_WAITING = 1_000  # entries; whoever comes then is told at once
TOGETHER = 100  # entries a transaction
_DEADLOCK = "40P01"  # of PostgreSQL
_log = logging.getLogger("sheaf.decisions")


class LogUnavailableError(Exception):
    """The log did not take an entry in time; whoever asks again after `retry_after` seconds may be luckier."""

    def __init__(self, why: str, seconds: float):
        self.retry_after = math.ceil(seconds)
        super().__init__(
            f"the decision log is not available ({why}); nothing is answered that is not logged: ask again in "
            f"{self.retry_after} seconds, feedback with the same idempotency_key"
        )


class RefusedError(Exception):
    """An entry that the log's rules refuse: the status of HTTP that says so, the field, what is wrong, the remedy."""

    def __init__(self, status: int, field: str, problem: str):
        self.status, self.field, self.problem = status, field, problem
        super().__init__(f"{field}: {problem}")


class Writer:
    """Does work on the log's database: `Work` is called with a connection inside a transaction.

    Work may be done again from the start where the first transaction came to nothing. It may raise RefusedError after
    reading and before writing.
    """

    def __init__(self, url: sa.URL, seconds: float = SECONDS):
        """No entry takes longer than `seconds`. Connects when there is something to do, and anew when that failed."""
        self.seconds = seconds
        self.took = 0, 0.0  # how many transactions there were, and the seconds to begin and to commit them all
        self._engine = connect(url, seconds)
        self._file = Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
        self._opened: tuple[int, int] | None = None
        self._connection: sa.Connection | None = None
        self._failing = False
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> Future[T]:
        """Queues the work. Cancelling what is returned in time undoes that. Raises LogUnavailableError if too much
        waits."""
        if self._entries.qsize() >= MOST_WAITING:
            raise LogUnavailableError(f"{MOST_WAITING} entries wait for it", self.seconds)
        future: Future[T] = Future()
        self._entries.put((work, future))
        return future

    def do(self, work: Work[T]) -> T:
        """What the work returns, once it is committed. Raises LogUnavailableError, and what the work raises."""
        future = self.submit(work)
        try:
            return future.result(self.seconds)
        except TimeoutError as error:
            future.cancel()
            raise LogUnavailableError(f"no answer within {self.seconds:g} seconds", self.seconds) from error

    async def done(self, work: Work[T]) -> T:
        """The same, without holding up the event loop."""
        future = self.submit(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.seconds)
        except TimeoutError as error:
            raise LogUnavailableError(f"no answer within {self.seconds:g} seconds", self.seconds) from error

    def close(self) -> None:
        """Does what was submitted, then lets go of the database."""
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (entry := self._entries.get()) is not None:
            entries = [entry]
            with suppress(queue.Empty):
                while len(entries) < TOGETHER:
                    if (more := self._entries.get_nowait()) is None:
                        self._entries.put(None)
                        break
                    entries.append(more)
            self._write(entries)
        self._disconnect()

    def _write(self, entries: Sequence[Entry], tried: int = 0) -> None:
        """Entries in one transaction; where that fails and the database is well, each in its own, and once more: there,
        one may meet another process that writes what contradicts it, and is refused by the rules when it is read."""
        live = entries if tried else []
        started, worked = time.monotonic(), 0.0
        try:
            connection = self._connected()
            with connection.begin():
                if not tried:  # only now: the transaction may have waited for a lock, and whoever gave up is left out
                    live = [entry for entry in entries if entry[1].set_running_or_notify_cancel()]
                begun = time.monotonic()
                results = [_result(work, connection) for work, _ in live]
                worked = time.monotonic() - begun
        except Exception as error:
            if live and tried < 2 and not _unwell(error):
                for entry in live:
                    self._write([entry], tried + 1)
                return
            self._disconnect()
            failed: Exception = error
            if isinstance(error, SQLAlchemyError | OSError):
                self._tell(said(error))
                failed = LogUnavailableError(said(error), self.seconds)
            for _, future in live or [entry for entry in entries if entry[1].set_running_or_notify_cancel()]:
                future.set_exception(failed)
            return
        finally:
            count, seconds = self.took
            self.took = count + 1, seconds + time.monotonic() - started - worked
        self._tell(None)
        for (_, future), result in zip(live, results, strict=True):
            if isinstance(result, RefusedError):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _connected(self) -> sa.Connection:
        if self._file is not None:  # a file that was taken away or replaced can still be written to, in vain
            found = self._file.stat()
            if self._opened != (found.st_dev, found.st_ino):
                self._disconnect()
                self._opened = (found.st_dev, found.st_ino)
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.invalidate()
            with suppress(Exception):
                self._connection.close()
        self._connection = self._opened = None

    def _tell(self, problem: str | None) -> None:
        """Says when the log goes away and when it is back, not for every entry."""
        if problem and not self._failing:
            _log.error("the decision log does not take entries, callers get 503: %s", problem)
        elif not problem and self._failing:
            _log.warning("the decision log takes entries again")
        self._failing = bool(problem)


def _unwell(error: Exception) -> bool:
    """Whether it is the database's own failure. A deadlock is none: of who waited for each other, one was chosen."""
    return isinstance(error, OperationalError | InterfaceError) and getattr(error.orig, "sqlstate", None) != _DEADLOCK


def _result(work: Work[Any], connection: sa.Connection) -> Any:
    try:
        return work(connection)
    except RefusedError as error:
        return error
