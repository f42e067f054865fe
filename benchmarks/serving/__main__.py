"""What answers of the service cost, against a bare FastAPI endpoint that only predicts 40 rows, and what load it bears.

The real service (`sheaf.serving.runtime.demonstration.start`, one worker) over a simulated bank with a model trained on
it answers `POST /v1/recommend`: profile, candidates, both models, order, prices, reasons, and the decision on the disk.
The peer, uvicorn with one worker and no access log, predicts 40 ready rows with the same booster on one thread. Who
asks is a process of its own, on the same machine.

- median: one connection that stays open, each in turns. A batch is asked for the same clients, all at once, after each
  round.
- throughput: eight connections that ask again as soon as they are answered, each in turns.
- tail and memory: one connection for minutes; what the processes hold when it ends, over what they held before.
- load: as many requests a second as eight tenths of that throughput, for minutes, and three times as many for half a
  minute: what is refused then, how soon, and how long what is answered takes.
- many clients: seconds from start to ready over a million profiles, and what a second worker holds in memory.
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
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import typer

from benchmarks.figures import ROOT, Figure
from benchmarks.measure import child, console, median_ratio, report, simulated
from benchmarks.serving.million import MIB, multiply, started
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank
from sheaf.features.snapshot import Snapshot
from sheaf.serving.runtime.demonstration import end, family, start
from sheaf.serving.runtime.preparation import prepare
from sheaf.serving.settings import FOLDER
from sheaf.training import Model, Parameters
from sheaf.training.pipeline import train

ROWS = 40
ASKED = 500  # different clients, over and over
TARGET, TAIL, BATCH, THROUGHPUT = 2.0, 4.0, 5.0, 0.6
CROWD, SECONDS = 8, 10.0  # connections, and for how long they ask in a round
STEADY, MANY_TIMES, OVERLOADED, LONGER = 0.8, 3.0, 30.0, 3.0
FREE = 200  # connections of a load
AT_ONCE = 0.05  # seconds in which a refusal comes
SOONER, MORE_MEMORY, A_WORKER = 5.0, 1.05, 100.0  # seconds, times, MiB


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=500)] = 4_000,
    requests: Annotated[int, typer.Option(help="How many a round, to each.", min=100)] = 2_000,
    rounds: Annotated[int, typer.Option(help="How many rounds.", min=1)] = 5,
    minutes: Annotated[float, typer.Option(help="How long one connection asks, for the tail.", min=0.05)] = 5.0,
    load_minutes: Annotated[float, typer.Option(help="How long the steady load lasts.", min=0.05)] = 10.0,
    profiles: Annotated[int, typer.Option(help="Of how many clients the many are; 0: leave them out.")] = 1_000_000,
    data: Annotated[Path | None, typer.Option(help="Where the bank lies, or is made and kept.")] = None,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
) -> None:
    """Answers of the service as ratios to a bare endpoint, under load, and over many clients."""
    folder, sold = simulated(clients, 24, folder=data).resolve(), read_catalog(DEFAULT)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    figures: list[Figure] = []
    title = f"POST /v1/recommend, {rounds} rounds of {requests:,} requests"
    data_set = f"Simulated bank of {clients:,} clients"
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: report(title, data_set, figures))  # what was measured is told, even if the rest fails
        place = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.chdir(place))
        with console.status("Training"):
            train(Bank.open(folder), sold, parameters=chosen)
            prepare(folder, sold)
        asked = Path(place) / "clients.json"
        snapshot = Snapshot.read(FOLDER / "profiles")
        asked.write_text(json.dumps(_some(snapshot, ASKED)))
        with _served() as (process, url), _bare(snapshot) as bare_port:
            ports = {"ours": int(urlsplit(url).port or 0), "bare": bare_port}
            of_one, median = _one_by_one(ports, url, asked, requests, rounds)
            figures += of_one
            of_crowd, highest = _of_crowd(ports, asked, rounds)
            figures += of_crowd
            of_tail, tail = _tail(process, ports["ours"], asked, int(minutes * 60 / median))
            figures += of_tail
            figures += _under_load(ports["ours"], asked, highest, tail, 60 * load_minutes)
        if profiles:
            figures += _many(Path(place) / "many", profiles)


def _one_by_one(ports: dict[str, int], url: str, asked: Path, requests: int, rounds: int) -> tuple[list[Figure], float]:
    """And the median of ours, in seconds."""
    seconds: dict[str, list[list[float]]] = {way: [] for way in ports}
    of_batch: list[float] = []  # seconds a client
    for number in range(rounds):
        for way in _turn(ports, number):
            with console.status(f"One connection, round {number + 1} of {rounds}: {way}"):
                seconds[way].append(child("benchmarks.serving.load", ports[way], asked, requests)["seconds"])
        of_batch.append(_batch(url, json.loads(asked.read_text())))
    medians = {way: [float(np.median(of_round)) for of_round in of_way] for way, of_way in seconds.items()}
    ours, bare = (float(np.median(medians[way])) for way in ("ours", "bare"))
    times = median_ratio(medians["ours"], medians["bare"])
    batch = median_ratio(medians["ours"], of_batch)
    return [
        Figure("median", f"{1000 * ours:.2f} ms", f"bare {1000 * bare:.2f} ms", times, TARGET),
        Figure("a batch, clients a second", f"{1 / np.median(of_batch):,.0f}", f"one by one {1 / ours:,.0f}", batch,
               BATCH, False),
    ], ours  # fmt: skip


def _of_crowd(ports: dict[str, int], asked: Path, rounds: int) -> tuple[list[Figure], float]:
    """And the answers a second of ours, the median over rounds."""
    rates: dict[str, list[float]] = {way: [] for way in ports}
    for number in range(rounds):
        for way in _turn(ports, number):
            with console.status(f"{CROWD} connections, round {number + 1} of {rounds}: {way}"):
                told = child("benchmarks.serving.crowd", ports[way], asked, CROWD, SECONDS)
            _only_answers(told, way)
            rates[way].append(len(told["seconds"]["200"]) / told["took"])
    ours, bare = (float(np.median(rates[way])) for way in ("ours", "bare"))
    ratio = median_ratio(rates["ours"], rates["bare"])
    name = f"answers a second, {CROWD} connections"
    return [Figure(name, f"{ours:,.0f}", f"bare {bare:,.0f}", ratio, THROUGHPUT, False)], ours


def _tail(process: subprocess.Popen[str], port: int, asked: Path, requests: int) -> tuple[list[Figure], float]:
    """And the 99th percentile, in seconds."""
    before = _resident(process)
    with console.status(f"One connection, {requests:,} requests"):
        seconds = child("benchmarks.serving.load", port, asked, requests)["seconds"]
    after = _resident(process)
    median, tail = np.quantile(seconds, [0.5, 0.99])
    return [
        Figure(f"p99, {sum(seconds) / 60:.1f} minutes", f"{1000 * tail:.2f} ms", f"median {1000 * median:.2f} ms",
               float(tail / median), TAIL),
        Figure("memory after them", f"{after:.0f} MiB", f"before {before:.0f} MiB", after / before, MORE_MEMORY),
    ], float(tail)  # fmt: skip


def _under_load(port: int, asked: Path, highest: float, tail: float, seconds: float) -> list[Figure]:
    rate = STEADY * highest
    with console.status(f"{rate:.0f} requests a second, {seconds / 60:.1f} minutes"):
        steady = child("benchmarks.serving.crowd", port, asked, FREE, seconds, rate)
    answered = len(steady["seconds"].get("200", []))
    wrong = sum(len(times) for status, times in steady["seconds"].items() if status != "200")
    wrong += steady["found_none_free"]
    console.print(f"At eight tenths: {_statuses(steady)}.")
    rate = MANY_TIMES * highest
    with console.status(f"{rate:.0f} requests a second, {OVERLOADED:.0f} seconds"):
        over = child("benchmarks.serving.crowd", port, asked, FREE, OVERLOADED, rate)
    statuses = {status: len(times) for status, times in over["seconds"].items()}
    refused = [time for status in ("429", "503") for time in over["seconds"].get(status, [])]
    others = sum(statuses.values()) - len(refused) - statuses.get("200", 0)
    slow = float(np.quantile(over["seconds"]["200"], 0.99))
    soon = float(np.quantile(refused, 0.99)) if refused else float("nan")
    told = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    console.print(f"Three times the throughput: {_statuses(over)}.")
    return [
        Figure(f"errors at {STEADY:.0%} of it, {seconds / 60:.1f} minutes", f"{wrong:,}", f"{answered:,} answers",
               float(wrong), 0.0),
        Figure(f"{MANY_TIMES:g} times it: neither answered nor refused", f"{others:,}", told, float(others), 0.0),
        Figure("the same, p99 of answers", f"{1000 * slow:.1f} ms", f"unloaded {1000 * tail:.1f} ms", slow / tail,
               LONGER),
        Figure("the same, p99 of refusals", f"{1000 * soon:.1f} ms", f"{1000 * AT_ONCE:g} ms", soon / AT_ONCE, 1.0),
    ]  # fmt: skip


def _statuses(told: dict[str, Any]) -> str:
    """How many of each status there were, and the longest time that one took."""
    each = (
        f"{status}: {len(times):,} ({1000 * max(times):.0f} ms)" for status, times in sorted(told["seconds"].items())
    )
    return f"{', '.join(each)}; {told['found_none_free']:,} found no connection free"


def _many(folder: Path, clients: int) -> list[Figure]:
    with console.status(f"{clients:,} profiles"):
        multiply(folder, clients)
        few = [started(FOLDER, 1)[0] for _ in range(3)]
        many = [started(folder, 1) for _ in range(3)]
        _, of_two = started(folder, 2)
    ready, small = (float(np.median(times)) for times in ([seconds for seconds, _ in many], few))
    more = of_two - float(np.median([memory for _, memory in many]))
    return [
        Figure(f"ready over {clients:,} clients", f"{ready:.1f} s", f"these {small:.1f} s and {SOONER:g} s",
               (ready - small) / SOONER, 1.0),
        Figure("memory of a second worker", f"{more:.0f} MiB", f"{A_WORKER:g} MiB", more / A_WORKER, 1.0),
    ]  # fmt: skip


def _turn(ports: dict[str, int], number: int) -> list[str]:
    return list(ports) if number % 2 == 0 else list(reversed(ports))


def _only_answers(told: dict[str, Any], way: str) -> None:
    if set(told["seconds"]) != {"200"}:
        raise RuntimeError(f"{way} refused: { {status: len(times) for status, times in told['seconds'].items()} }")


def _resident(process: subprocess.Popen[str]) -> float:
    """MiB that the service's processes hold in memory."""
    return sum(one.memory_info().rss for one in family(process)) / MIB


@contextlib.contextmanager
def _served() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process, url = start()
    try:
        yield process, url
    finally:
        end(process)


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
        *(sys.executable, "-m", "uvicorn", "benchmarks.serving.bare:app", "--port", str(port)),
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
