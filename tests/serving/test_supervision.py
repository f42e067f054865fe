"""`kill -9` of any process of the service: it is logged, nothing is left over, and callers are answered."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import time
from pathlib import Path
from threading import Thread

import httpx
import psutil

from tests.conftest import WholeLine
from tests.serving.test_logs import becomes
from tests.serving.test_shutdown import serving


def messages(log: Path) -> list[str]:
    lines = log.with_suffix(".said").read_text().splitlines()
    return [json.loads(line).get("message", "") for line in lines if line.startswith("{")]


class Asking:
    """Asks over and over, in a thread of its own, and knows when it was answered."""

    def __init__(self, port: int, client: str) -> None:
        self.url, self.body = f"http://127.0.0.1:{port}/v1/recommend", {"client_id": client}
        self.answered, self.over = [time.monotonic()], False

    def run(self) -> None:
        while not self.over:
            try:
                if httpx.post(self.url, json=self.body, timeout=5).status_code == 200:
                    self.answered.append(time.monotonic())
            except httpx.HTTPError:
                time.sleep(0.05)

    def longest(self) -> float:
        """Seconds without an answer, and from now on anew."""
        times = [*self.answered, time.monotonic()]
        self.answered = times[-1:]
        return max(after - before for before, after in itertools.pairwise(times))


def test_callers_are_answered_soon_whatever_is_killed_and_nothing_is_left_over(line: WholeLine, tmp_path: Path) -> None:
    log = tmp_path / "decisions.db"
    with serving(line.folder, log, 1) as (process, port):
        service = psutil.Process(process.pid)
        [head] = service.children()
        [worker] = head.children()
        asking = Asking(port, str(line.recommender.snapshot.profiles.client_ids[0]))
        thread = Thread(target=asking.run)
        thread.start()
        try:
            asking.longest()
            worker.kill()
            assert becomes(lambda: head.children() not in ([], [worker]), 10)
            replaced = time.monotonic()
            assert becomes(lambda: asking.answered[-1] > replaced, 10)
            assert asking.longest() < 6  # the only worker, and young: a pause, then a load

            [second] = head.children()
            head.kill()
            assert becomes(lambda: not second.is_running(), 60)  # once another is ready
            time.sleep(1)
            assert asking.longest() < 3
        finally:
            asking.over = True
            thread.join()

        started = service.children(recursive=True)
        assert len(started) == 2
        process.kill()
        killed = time.monotonic()
        process.wait()
        assert becomes(lambda: not any(one.is_running() for one in started), 10)
        assert time.monotonic() - killed < 3
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
    assert {
        f"worker {worker.pid} ended (-9); another takes its place",
        "the process that forks workers is gone; this one answers until another's are ready",
        f"process {process.pid}, which started the service, is gone; its workers end as well",
    } <= set(messages(log))


def test_workers_without_their_forking_process_end_with_the_service(line: WholeLine, tmp_path: Path) -> None:
    with serving(line.folder, tmp_path / "decisions.db", 2) as (process, _):
        [head] = psutil.Process(process.pid).children()
        workers = head.children()
        os.kill(process.pid, signal.SIGKILL)
        head.kill()
        process.wait()
        assert becomes(lambda: not any(one.is_running() for one in workers), 5)
