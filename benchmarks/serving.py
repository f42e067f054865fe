"""How long an answer of the service takes, against a bare FastAPI endpoint that only predicts 40 rows.

The real service (`serving.demonstration.running`, one worker) over a simulated bank with a model trained on it answers
`POST /v1/recommend` for one client after another: profile, candidates, both models, order, reasons, and the decision on
the disk. The peer, uvicorn with one worker and no access log, predicts 40 ready rows with the same booster on one
thread. A process of its own asks each over one connection that stays open, in turns. Batches are asked for the same
clients, all at once, after each round.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import numpy as np
import typer

from benchmarks.measure import ROOT, Figure, child, console, median_ratio, show, simulated
from catalog import DEFAULT, read_catalog
from features import Bank
from features.snapshot import Snapshot
from serving.demonstration import running
from serving.preparing import FOLDER, prepare
from training import Model, Parameters
from training.train import train

ROWS = 40
ASKED = 500  # different clients, over and over
TARGET, TAIL, BATCH = 2.0, 5.0, 5.0


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=500)] = 4_000,
    requests: Annotated[int, typer.Option(help="How many a round, to each.", min=100)] = 2_000,
    rounds: Annotated[int, typer.Option(help="How many rounds.", min=1)] = 5,
    data: Annotated[Path | None, typer.Option(help="Where the bank lies, or is made and kept.")] = None,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
) -> None:
    """Median and tail of POST /v1/recommend, as ratios to a bare endpoint and to its own median."""
    folder, sold = simulated(clients, 24, folder=data).resolve(), read_catalog(DEFAULT)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        with console.status("Training"):
            train(Bank.open(folder), sold, parameters=chosen)
            prepare(folder, sold)
        asked = Path(place) / "clients.json"
        snapshot = Snapshot.read(FOLDER / "profiles")
        asked.write_text(json.dumps(_some(snapshot, ASKED)))
        seconds: dict[str, list[list[float]]] = {"ours": [], "bare": []}
        of_batch: list[float] = []  # seconds a client
        with running() as url, _bare(snapshot) as bare_port:
            ports = {"ours": urlsplit(url).port, "bare": bare_port}
            for number in range(rounds):
                for way in ports if number % 2 == 0 else reversed(ports):
                    with console.status(f"Round {number + 1} of {rounds}: {way}"):
                        seconds[way].append(child("benchmarks.load", ports[way], asked, requests)["seconds"])
                of_batch.append(_batch(url, json.loads(asked.read_text())))
    medians = {way: [float(np.median(of_round)) for of_round in of_way] for way, of_way in seconds.items()}
    tails = [float(np.quantile(of_round, 0.99)) for of_round in seconds["ours"]]
    ours, bare = (1000 * float(np.median(medians[way])) for way in ("ours", "bare"))
    tail = f"p99 {1000 * float(np.median(tails)):.2f} ms"
    figures = [
        Figure(
            "median", f"{ours:.2f} ms", f"bare {bare:.2f} ms", median_ratio(medians["ours"], medians["bare"]), TARGET
        ),
        Figure("tail", tail, f"median {ours:.2f} ms", median_ratio(tails, medians["ours"]), TAIL),
        Figure(
            "a batch, clients a second",
            f"{1 / np.median(of_batch):,.0f}",
            f"one by one {1000 / ours:,.0f}",
            median_ratio(medians["ours"], of_batch),
            BATCH,
            False,
        ),
    ]
    show(f"POST /v1/recommend, one connection, {rounds} rounds of {requests:,} requests", figures)


def _batch(url: str, clients: list[str]) -> float:
    """Seconds a client of one batch, as a night run asks."""
    started = time.perf_counter()
    reply = httpx.post(f"{url}/v1/recommend_batch", json={"client_ids": clients, "k": 5}, timeout=60)
    reply.raise_for_status()
    assert len(reply.json()["answers"]) == len(clients)
    return (time.perf_counter() - started) / len(clients)


def _some(snapshot: Snapshot, count: int) -> list[str]:
    ids = snapshot.profiles.client_ids
    return [str(client) for client in ids[:: max(1, len(ids) // count)]]


@contextlib.contextmanager
def _bare(snapshot: Snapshot) -> Iterator[int]:
    """The port of the bare endpoint while it runs, over candidate rows of the bank's first clients."""
    model = Model.load(FOLDER / "model")
    candidates, profiles = model.candidates(), model.align(snapshot.profiles)
    values = profiles.values[:ROWS]
    rows = candidates.product_rows(values, candidates.slate(values).products, candidates.peer_groups(values))
    np.save("rows.npy", np.ascontiguousarray(rows[:ROWS]))
    model.adoption.booster.save_model("booster.txt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        *(sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    places = {"BARE_MODEL": str(Path("booster.txt").resolve()), "BARE_ROWS": str(Path("rows.npy").resolve())}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **places})
    try:
        _wait(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the bare endpoint did not start; see what it says above") from None
            time.sleep(0.1)


if __name__ == "__main__":
    typer.run(main)
