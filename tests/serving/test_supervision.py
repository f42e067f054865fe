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
from tests.serving.test_shutdown import ready, serving


def messages(log: Path) -> list[str]:
    lines = log.with_suffix(".said").read_text().splitlines()
    return [json.loads(line).get("message", "") for line in lines if line.startswith("{")]


def test_all_end_with_the_service_and_the_port_is_free(line: WholeLine, tmp_path: Path) -> None:
    log, workers = tmp_path / "decisions.db", 2
    with serving(line.folder, log, workers) as (process, port):
        service = psutil.Process(process.pid)
        started = service.children(recursive=True)
        assert len(started) == 1 + workers
        process.kill()
        killed = time.monotonic()
        process.wait()
        assert becomes(lambda: not any(one.is_running() for one in started), 10)
        assert time.monotonic() - killed < 3
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
    assert f"process {process.pid}, which started the service, is gone; its workers end as well" in messages(log)


def test_nobody_waits_where_the_forking_process_is_killed(line: WholeLine, tmp_path: Path) -> None:
    workers = 1
    log, client = tmp_path / "decisions.db", str(line.recommender.snapshot.profiles.client_ids[0])
    with serving(line.folder, log, workers) as (process, port):
        service = psutil.Process(process.pid)
        [head] = service.children()
        first = head.children()
        answered, over = [time.monotonic()], False

        def ask() -> None:
            while not over:
                try:
                    url = f"http://127.0.0.1:{port}/v1/recommend"
                    if httpx.post(url, json={"client_id": client}, timeout=5).status_code == 200:
                        answered.append(time.monotonic())
                except httpx.HTTPError:
                    time.sleep(0.05)

        asking = Thread(target=ask)
        asking.start()
        try:
            head.kill()
            assert becomes(lambda: not any(one.is_running() for one in first), 60)  # once others are ready
            time.sleep(1)
        finally:
            over = True
            asking.join()
        answered.append(time.monotonic())
        pauses = [after - before for before, after in itertools.pairwise(answered)]
        print(f"longest without an answer: {max(pauses):.2f} s")
        assert max(pauses) < 3
        [second] = service.children()
        assert second.pid != head.pid
        assert len(second.children()) == workers
    told = "the process that forks workers is gone; this one answers until another's are ready"
    assert messages(log).count(told) == workers


def test_workers_without_their_forking_process_end_with_the_service(line: WholeLine, tmp_path: Path) -> None:
    with serving(line.folder, tmp_path / "decisions.db", 2) as (process, _):
        [head] = psutil.Process(process.pid).children()
        workers = head.children()
        os.kill(process.pid, signal.SIGKILL)
        head.kill()
        process.wait()
        assert becomes(lambda: not any(one.is_running() for one in workers), 3)


def test_a_killed_worker_is_replaced_within_three_seconds(line: WholeLine, tmp_path: Path) -> None:
    with serving(line.folder, tmp_path / "decisions.db", 1) as (process, port):
        [head] = psutil.Process(process.pid).children()
        time.sleep(max(0.0, 11 - (time.time() - head.children()[0].create_time())))  # one that could start
        [worker] = head.children()
        worker.kill()
        killed = time.monotonic()
        assert becomes(lambda: ready(port), 10)
        print(f"answers again after {time.monotonic() - killed:.2f} s")
        assert time.monotonic() - killed < 3
