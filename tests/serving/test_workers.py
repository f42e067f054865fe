"""Workers are forked from one process: they share its memory, another takes a dead one's place, none is left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from sheaf.serving.settings import settings
from tests.conftest import ROOT, WholeLine
from tests.serving.test_logs import becomes
from tests.serving.test_shutdown import ready, serving


@pytest.mark.parametrize("told", ["0", "-1", "two", "1.5", " "])
def test_a_number_of_workers_that_is_none_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHEAF_WORKERS", told)
    with pytest.raises(ValueError, match="a whole number from 1 on"):
        settings()


def test_workers_share_their_memory_and_are_replaced_and_none_outlives_the_service(
    line: WholeLine, tmp_path: Path
) -> None:
    log, client = tmp_path / "decisions.db", str(line.recommender.snapshot.profiles.client_ids[0])
    with serving(line.folder, log, workers=2) as (process, port):

        def heads() -> list[psutil.Process]:
            return psutil.Process(process.pid).children()

        def answering() -> set[int]:
            return {worker.pid for head in heads() for worker in head.children()}

        def answer() -> int:
            return httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"client_id": client}).status_code

        def told_of() -> list[str]:
            told = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
            return [one for one in told if one.startswith("sheaf_profiles_timestamp_seconds ")]

        assert becomes(lambda: len(answering()) == 2)
        [head], first = heads(), answering()
        for worker in first:
            held = psutil.Process(worker).memory_full_info()
            assert held.uss < held.rss / 2
        # The process that answers nobody has no profiles, and does not say that they are of 1970.
        assert [float(one.split()[1]) > 1e9 for one in told_of()] == [True]

        killed = min(first)
        psutil.Process(killed).kill()
        assert becomes(lambda: len(answering()) == 2 and answering() > first - {killed}, 30)
        assert {answer() for _ in range(20)} == {200}
        said = [json.loads(one) for one in log.with_suffix(".said").read_text().splitlines() if one.startswith("{")]
        assert f"worker {killed} ended (-{signal.SIGKILL.value}); another takes its place" in {
            one.get("message") for one in said
        }

        second = answering()
        head.kill()
        assert becomes(lambda: len(answering()) == 2 and not answering() & second, 60)
        assert becomes(lambda: not any(map(psutil.pid_exists, second)), 30)
        assert becomes(lambda: ready(port), 30)
        assert {answer() for _ in range(20)} == {200}

        third = [*heads(), *map(psutil.Process, answering())]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not [one for one in third if one.is_running()]


FORKING = (
    "import signal\nfrom sheaf.serving.runtime import workers\nworkers.PAUSE = 1.5\nworkers.fork(4)\nsignal.pause()"
)


def test_workers_that_die_together_are_replaced_together(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", FORKING], env=environment, stderr=subprocess.DEVNULL) as process:
        head = psutil.Process(process.pid)
        try:
            assert becomes(lambda: len(head.children()) == 4, 30)
            first = head.children()
            head.suspend()  # so that it finds all of them dead at once
            for worker in first:
                worker.kill()
            head.resume()
            died = time.monotonic()
            assert becomes(lambda: len(set(head.children()) - set(first)) == 4, 30)
            assert time.monotonic() - died < 4.5  # one pause, not one for each
        finally:
            process.terminate()
        assert process.wait(20) == 0


FAILING = """
import errno, os, signal
from sheaf.serving.runtime import workers
failures, fork, workers.PAUSE = [1, 1], os.fork, 0.1
def scarce():
    if failures:
        failures.pop()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = scarce
workers.fork(2)
signal.pause()
"""


def test_workers_are_started_once_there_is_room_for_them(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", FAILING], env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert becomes(lambda: len(psutil.Process(process.pid).children()) == 2, 30)
        finally:
            process.terminate()
        assert process.stderr is not None
        assert process.stderr.read().count(b"a worker cannot be started and is tried again: ") == 2
        assert process.wait(20) == 0
