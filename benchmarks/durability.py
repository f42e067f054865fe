"""Whether the decision log keeps what it acknowledged: its process is killed (SIGKILL) at moments drawn by chance.

A process that is forked anew for every round writes decisions and feedback from several threads through the very
`sheaf.serving.decisions.Writer` of the service, and notes what it was about to tell and what was acknowledged. After
the kill the next one tells again, with the same keys, what it has no acknowledgement for, as a channel would. In the
end every acknowledged decision has to be there, and all feedback exactly once.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import signal
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from benchmarks.figures import Figure
from benchmarks.measure import hand_back, report
from sheaf.serving.decisions import FeedbackEntry, Outcome, Writer, add_decisions, add_feedback, new_id, upgrade
from sheaf.serving.decisions.database import connect, parsed
from sheaf.serving.decisions.tables import decisions, feedback

THREADS = 4
SHORTEST, LONGEST = 0.002, 0.06  # seconds between the first entry and the kill


@dataclass(frozen=True)
class Counted:
    """What many kills left: decisions and feedback acknowledged, how many of them are missing, how many are doubled;
    `unsure` are decisions that were being written when the kill came and are there."""

    rounds: int
    decisions: int
    feedback: int
    lost: int
    doubled: int
    unsure: int


class Journal:
    """What processes that were killed have noted: decisions acknowledged, feedback about to be told, feedback
    acknowledged."""

    def __init__(self, path: Path):
        path.touch()
        self.path, self._read = path, 0
        self.decisions: list[str] = []
        self.keys: list[str] = []
        self.open: dict[str, FeedbackEntry] = {}  # told, and not acknowledged

    def grows(self) -> bool:
        return self.path.stat().st_size > self._read

    def read(self) -> None:
        """What came since. The last line may be cut short: what it would have told was not acknowledged."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        for line in new.splitlines(keepends=True):
            if line.endswith(b"\n"):
                self._take(json.loads(line))

    def _take(self, note: dict[str, Any]) -> None:
        if "decision" in note:
            self.decisions.append(note["decision"])
        elif "telling" in note:
            given = note["telling"]
            told = FeedbackEntry(
                **{**given, "at": dt.datetime.fromisoformat(given["at"]), "outcome": Outcome(given["outcome"])}
            )
            self.keys.append(told.idempotency_key)
            self.open[told.idempotency_key] = told
        else:
            self.open.pop(note["acknowledged"], None)


def main(
    rounds: Annotated[int, typer.Option(help="How many kills.", min=1)] = 1_000,
    seconds: Annotated[float, typer.Option(help="No kill after so many, whatever the rounds.")] = float("inf"),
    place: Annotated[str | None, typer.Option(help="SHEAF_DECISIONS of a new log. Default: a SQLite file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For a program that reads it.")] = False,
) -> None:
    """Counts what is lost or doubled when the process that writes the log is killed; exit code 1 if anything is."""
    if threading.active_count() > 1:
        raise RuntimeError("forks; has to run in a process of its own")
    with tempfile.TemporaryDirectory() as folder:
        log = place or str(Path(folder) / "decisions.db")
        upgrade(parsed(log))
        journal, drawn = Journal(Path(folder) / "journal"), random.Random(seed)
        done, until = 0, time.monotonic() + seconds
        while done < rounds and time.monotonic() < until:
            done += 1
            _kill_one(log, journal, drawn.uniform(SHORTEST, LONGEST))
        writer = Writer(parsed(log), 9.0)
        for told in journal.open.values():
            writer.do(add_feedback(told, dt.datetime.now(dt.UTC)))
        writer.close()
        counted = _count(log, journal, done)
    if as_json:
        hand_back(**asdict(counted))
        return
    entries = f"{counted.decisions:,} decisions, {counted.feedback:,} pieces of feedback acknowledged"
    report(
        f"{counted.rounds:,} kills of the process that writes the decision log",
        f"{counted.unsure} decisions were written and not acknowledged",
        [
            Figure("lost entries", f"{counted.lost}", entries, counted.lost, 0),
            Figure("doubled entries", f"{counted.doubled}", entries, counted.doubled, 0),
        ],
    )
    if counted.lost or counted.doubled:
        raise typer.Exit(1)


def _kill_one(log: str, journal: Journal, seconds: float) -> None:
    process = os.fork()
    if not process:
        try:
            _hammer(log, journal.path, list(journal.open.values()))
        finally:
            os._exit(1)
    until = time.monotonic() + 30
    while not journal.grows():
        if os.waitpid(process, os.WNOHANG)[0] or time.monotonic() > until:
            raise RuntimeError("the process that was to be killed wrote nothing; see what it says above")
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the process that was to be killed had ended by itself; see what it says above")
    journal.read()


def _hammer(log: str, journal: Path, again: list[FeedbackEntry]) -> None:
    """Writes until it is killed; what the journal has is in the file system's hands, which outlive the process."""
    notes = os.open(journal, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    writer = Writer(parsed(log), 9.0)

    def note(**what: object) -> None:
        os.write(notes, json.dumps(what).encode() + b"\n")

    def tell(told: FeedbackEntry) -> None:
        writer.do(add_feedback(told, dt.datetime.now(dt.UTC)))
        note(acknowledged=told.idempotency_key)

    def work() -> None:
        while True:
            row = _decision()
            writer.do(add_decisions([row]))
            note(decision=row["decision_id"])
            now = dt.datetime.now(dt.UTC)
            told = FeedbackEntry(new_id(), str(row["decision_id"]), "card", Outcome.ACCEPTED, now)
            note(telling={**asdict(told), "at": now.isoformat()})
            tell(told)

    def run() -> None:
        try:
            work()
        finally:
            os._exit(1)

    for told in again:
        tell(told)
    for _ in range(THREADS):
        threading.Thread(target=run).start()
    time.sleep(60)


def _decision() -> dict[str, object]:
    texts = dict.fromkeys(("request_id", "caller", "new_client", "channel", "authority", "response_version"))
    answer = json.dumps({"offers": [{"bundle_id": "card", "reasons": ["x" * 200] * 15}]})  # as long as a real one
    return {
        **texts, "decision_id": new_id(), "asked_at": dt.datetime.now(dt.UTC), "client_id": "C0000001",
        "objective": "relevance", "k": 5, "lines": "[]", "candidates": "{}" * 500, "list_propensity": 1.0,
        "answer": answer, "profile": b"\0" * 800,
        "profile_day": "2025-12-31", "model_version": "m", "catalog_version": "c",
    }  # fmt: skip


def _count(log: str, journal: Journal, rounds: int) -> Counted:
    acknowledged, keys = journal.decisions, journal.keys
    with connect(parsed(log), 9.0).begin() as connection:
        there = list(connection.scalars(sa.select(decisions.c.decision_id)))
        told = list(connection.scalars(sa.select(feedback.c.idempotency_key)))
        answered = list(connection.scalars(sa.select(feedback.c.decision_id)))
    lost = len(set(acknowledged) - set(there)) + len(set(keys) - set(told))
    doubled = len(there) - len(set(there)) + len(answered) - len(set(answered))
    unsure = len(set(there) - set(acknowledged))
    return Counted(rounds, len(acknowledged), len(keys), lost, doubled, unsure)


if __name__ == "__main__":
    typer.run(main)
