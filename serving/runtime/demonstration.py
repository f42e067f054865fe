"""Starts the service, asks it over HTTP for one client of each kind, and stops it."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from sheaf.serving.runtime.preparation import command, load
from sheaf.serving.schemas.answers import Answer

START_SECONDS, STOP_SECONDS = 90, 20
LOOKED_AT = 300  # clients of each kind


@contextmanager
def running(port: int | None = None, log: Path | None = None) -> Iterator[str]:
    """The service's address while it runs, as `start` starts it."""
    process, url = start(port, log)
    try:
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            end(process)


def start(port: int | None = None, log: Path | None = None, workers: int = 1) -> tuple[subprocess.Popen[str], str]:
    """The service, ready, and its address; what it says goes to the file `log`, if one is named.

    Raises RuntimeError with its last words where it does not start.
    """
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    # A file, not a pipe: nobody would read that, and the service would wait for somebody who does.
    with log.open("w+") if log else tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command(port, workers), stdout=said, stderr=subprocess.STDOUT, text=True)
        until = time.monotonic() + START_SECONDS
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > until:
                end(process)
                said.seek(0)
                last = said.read().strip().splitlines()[-15:]
                raise RuntimeError("the service did not start; its last words:\n" + "\n".join(last))
            time.sleep(0.2)
    return process, url


def ask_each_kind(progress: Callable[[str], None] = lambda step: None) -> list[tuple[str, dict[str, Any]]]:
    """The answers for a client of each kind: of the first some hundred, the one most likely to open something."""
    recommender = load()
    profiles = recommender.snapshot.profiles
    codes = profiles.values[:, profiles.columns.index("kind")]
    chosen = []
    for code, kind in enumerate(profiles.categories["kind"]):
        clients = [str(client) for client in profiles.client_ids[codes == code][:LOOKED_AT]]
        if clients:
            chosen.append((kind, max(clients, key=lambda client: _best(recommender.recommend(client, 1)))))
    answers = []
    with running() as url:
        for kind, client in chosen:
            progress(f"asking for {kind} client {client}")
            reply = httpx.post(f"{url}/v1/recommend", json={"client_id": client, "k": 5}, timeout=30)
            reply.raise_for_status()
            answers.append((kind, reply.json()))
    return answers


def _best(answer: Answer) -> float:
    return max((offer.score for offer in answer.offers), default=float("-inf"))


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def end(process: subprocess.Popen[str]) -> None:
    """Kills it and its workers (SIGKILL), which are of sessions of their own and would outlive it."""
    for one in family(process):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The process and all that it started, as far as they run."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process.pid)
        return [first, *first.children(recursive=True)]
    return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
