"""SIGTERM ends the service as one that may be replaced at any time: what it accepted is answered, all else refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from sheaf.serving.http.load_shedding import ENDING
from sheaf.serving.runtime.demonstration import end
from sheaf.serving.runtime.preparation import command
from tests.conftest import ROOT, WholeLine
from tests.serving.test_logs import becomes

CALLERS, SECONDS = 8, 20
SHEAF = str(Path(sys.executable).with_name("sheaf"))


@contextmanager
def serving(
    folder: Path, log: Path, workers: int, by_command: bool = False, **more: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The service, ready, and its port: as `sheaf serve` becomes it, or `by_command` with that before."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(folder / "bentoml"), "SHEAF_DECISIONS": str(log),
        "SHEAF_DECISIONS_SECONDS": "8", **more,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAF_WORKERS", str(workers))  # `command` sets it in this process
        starts = command(port, workers)
        environment |= {"SHEAF_WORKERS": str(workers)}
    if by_command:
        starts = [SHEAF, "serve", "--port", str(port), "--workers", str(workers)]
    with log.with_suffix(".said").open("w") as said:
        process = subprocess.Popen(starts, cwd=folder, env=environment, stdout=said, stderr=said, text=True)
    try:
        assert becomes(lambda: ready(port), 90), log.with_suffix(".said").read_text()
        yield process, port
    finally:
        end(process)


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_accepted_is_answered_and_logged_and_what_comes_later_is_refused(
    line: WholeLine, tmp_path: Path, workers: int
) -> None:
    client, log = str(line.recommender.snapshot.profiles.client_ids[0]), tmp_path / "decisions.db"
    replies: list[httpx.Response | Exception] = []

    def ask(port: int) -> None:
        try:
            url = f"http://127.0.0.1:{port}/v1/recommend"
            replies.append(httpx.post(url, json={"client_id": client}, timeout=SECONDS))
        except httpx.HTTPError as error:
            replies.append(error)

    with serving(line.folder, log, workers, by_command=workers == 1) as (process, port):
        with closing(sqlite3.connect(log, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # so that answers wait for the log until this lets go
            callers = [threading.Thread(target=ask, args=(port,)) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            body = json.dumps({"client_id": client}).encode()
            slow = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
            head = "POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            slow.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:3])  # still sending
            of_service = psutil.Process(process.pid)
            assert becomes(lambda: accepted(of_service, port) == CALLERS + 1)
            time.sleep(0.5)
            assert replies == []
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            time.sleep(1.0)
            late = httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"client_id": client}, timeout=SECONDS)
            assert (late.status_code, late.headers["connection"]) == (503, "close")
            assert late.json()["detail"] == ENDING
            assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
            assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
            other.execute("ROLLBACK")
        slow.sendall(body[3:])
        answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        for caller in callers:
            caller.join()
        assert process.wait(SECONDS) == 0
        assert time.monotonic() - told < SECONDS
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    statuses = [reply.status_code if isinstance(reply, httpx.Response) else repr(reply) for reply in replies]
    assert statuses == [200] * CALLERS
    ids = {reply.json()["decision_id"] for reply in replies if isinstance(reply, httpx.Response)}
    with closing(sqlite3.connect(log)) as done:
        there = [row[0] for row in done.execute("SELECT decision_id FROM decisions")]
    assert ids <= set(there)
    assert len(ids) == CALLERS
    assert len(there) == len(set(there)) == CALLERS + 1


def accepted(service: psutil.Process, port: int) -> int:
    """Connections that the service's processes have taken."""
    found = 0
    for one in [service, *service.children(recursive=True)]:
        found += sum(
            at.status == psutil.CONN_ESTABLISHED and at.laddr.port == port for at in one.net_connections("tcp")
        )
    return found
