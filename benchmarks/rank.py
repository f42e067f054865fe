"""Rows a second and memory of ranking in bulk, against nothing but `Booster.predict`.

`sheaf.training.batch_ranking.rank` takes a bank's tables to a Parquet file of ranked bundles for every client:
profiles, candidate rows, both models, order, writing. It is compared with the same boosters predicting, on as many
threads, ready float32 matrices of as many rows of the same clients: blocks that lie in memory, repeated until the count
is reached. The boosters are those that training with the default parameters makes of the same bank, since the larger a
model, the less the rest of ranking weighs.
A row is a candidate (client, product) or (client, bundle) pair. Each run is a process of its own, in turns.
`Model.rank` alone, from profiles that are ready in memory, is told beside it, and how long the profiles take.
Memory is the peak of a ranking process for a bank, and for one of four times as many clients.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import typer

from benchmarks.figures import Figure
from benchmarks.measure import child, console, hand_back, median_ratio, report, simulated
from sheaf.catalog import DEFAULT, read_catalog

DAY = dt.date(2025, 11, 30)
TRAINED = (dt.date(2025, 7, 31), dt.date(2025, 8, 31), dt.date(2025, 9, 30), dt.date(2025, 10, 31))
HORIZON = 30  # days
TARGET, FLAT = 0.5, 1.2
BLOCK = 2_000  # clients
READY = 10  # blocks that lie in memory for the bare predictions: under a gigabyte
TIMES = 4  # as many clients for the second figure of memory
THREADS = 2


def main(
    clients: Annotated[int, typer.Option(help="How many clients to rank.", min=1000)] = 100_000,
    months: Annotated[int, typer.Option(help="Months of the simulated banks.", min=4)] = 6,
    sample: Annotated[int, typer.Option(help="How many clients to train on; default: all.", min=500)] = 100_000,
    rounds: Annotated[int, typer.Option(help="How often each way runs.", min=1)] = 2,
    memory: Annotated[bool, typer.Option(help="Also rank four times as many clients, for the memory.")] = True,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
    inside: Annotated[str, typer.Option(hidden=True)] = "",
    data: Annotated[Path, typer.Option(hidden=True)] = Path(),
    model: Annotated[Path, typer.Option(hidden=True)] = Path(),
) -> None:
    """Rows a second of ranking as a ratio to bare predictions, and its memory for four times the clients."""
    if inside:
        (_rank if inside == "rank" else _bare)(data, model)
        return
    folder = simulated(clients, months)
    larger = simulated(clients * TIMES, months) if memory else folder
    with tempfile.TemporaryDirectory() as place:
        saved = Path(place) / "model"
        with console.status(f"Training on {sample:,} clients"):
            _train(folder, sample, saved, parameters)
        runs: dict[str, list[dict[str, Any]]] = {"rank": [], "bare": []}
        for number in range(rounds):
            for way in runs if number % 2 == 0 else reversed(runs):
                with console.status(f"Round {number + 1} of {rounds}: {way}"):
                    runs[way].append(child("benchmarks.rank", "--inside", way, "--data", folder, "--model", saved))
        with console.status(f"Ranking the bank of {clients * TIMES:,} clients"):
            large = child("benchmarks.rank", "--inside", "rank", "--data", larger, "--model", saved) if memory else {}
    (ours, bare), rows = (runs[way][0] for way in runs), sum(runs["bare"][0]["rows"])
    predicting = [run["predicting"] for run in runs["bare"]]
    figures = []
    for name, seconds in (
        ("rank, tables to file", [run["seconds"] for run in runs["rank"]]),
        ("rank, of ready profiles", [run["ranking"] for run in runs["bare"]]),
    ):
        measured, against = (f"{rows / min(of_way):,.0f} rows/s" for of_way in (seconds, predicting))
        ratio = median_ratio(predicting, seconds)
        figures.append(Figure(name, measured, f"bare {against}", ratio, TARGET, False))
    share = bare["profiling"] / ours["seconds"]
    figures.append(Figure("profiles' share", f"{bare['profiling']:.1f} s", f"rank {ours['seconds']:.1f} s", share))
    if memory:
        more, less = (f"{run['peak_gib']:.2f} GiB" for run in (large, ours))
        figures.append(Figure(f"memory, {TIMES} × clients", more, less, large["peak_gib"] / ours["peak_gib"], FLAT))
    scored = f"{bare['rows'][0]:,} product and {bare['rows'][1]:,} bundle rows"
    report(f"Ranking in bulk, {scored}", f"Simulated bank, {ours['clients']:,} clients", figures)


def _train(folder: Path, clients: int, saved: Path, parameters: Path | None) -> None:
    from sheaf.features import Bank
    from sheaf.training import Parameters
    from sheaf.training.pipeline import train

    chosen = f"select distinct client_id from '{folder / 'clients.parquet'}' order by hash(client_id) limit {clients}"
    days = ", ".join(f"(date '{day}')" for day in TRAINED)
    cohorts = duckdb.connect().sql(f"select client_id, as_of from ({chosen}), (values {days}) d(as_of)")
    settings = Parameters.read(parameters) if parameters else Parameters()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        trained = train(Bank.open(folder), read_catalog(DEFAULT), TRAINED, HORIZON, cohorts.to_arrow_table(), settings)
    trained.model.save(saved)


def _rank(folder: Path, saved: Path) -> None:
    from sheaf.features import Bank
    from sheaf.training import Model
    from sheaf.training.batch_ranking import rank

    model, bank = Model.load(saved), Bank.open(folder)
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        clients, rows = rank(model, bank, read_catalog(DEFAULT), DAY, Path(place) / "out.parquet", threads=THREADS)
        hand_back(seconds=time.perf_counter() - started, clients=clients, rows=rows)


def _bare(folder: Path, saved: Path) -> None:
    """Predictions alone; and on the way to the ready rows, the seconds of profiles alone and of ranking ready ones."""
    from sheaf.features import Bank, profile_matrices
    from sheaf.training import Model, bundle_rows
    from sheaf.training.ranker.bundle_order import slices

    model, bank, sold = Model.load(saved), Bank.open(folder), read_catalog(DEFAULT)
    candidates = model.candidates(sold)
    ready: list[tuple[np.ndarray, np.ndarray]] = []
    blocks, rows, profiling, ranking, started = 0, np.zeros(2, dtype=int), 0.0, 0.0, time.perf_counter()
    for part in profile_matrices(bank, sold, DAY):
        profiles = model.align(part).values
        profiled = time.perf_counter()
        profiling += profiled - started
        model.rank(candidates, profiles, candidates.peer_groups(profiles), THREADS)
        ranking += time.perf_counter() - profiled
        for block in slices(len(profiles), BLOCK):
            values = profiles[block]
            slate = candidates.slate(values)
            blocks += 1
            rows += [len(slate.products.client), len(slate.pairs.client)]
            if len(ready) < READY:
                peers = candidates.peer_groups(values)
                probability = model.adoption.of_clients(candidates, values, slate, peers, THREADS)
                x = candidates.product_rows(values, slate.products, peers)
                ready.append((x, bundle_rows(candidates, values, slate, probability).x))
        started = time.perf_counter()
    predicted, started = 0, time.perf_counter()
    for products, bundles in islice(cycle(ready), blocks):
        model.adoption.booster.predict(products, raw_score=True, num_threads=THREADS)
        if model.order.booster is not None:
            model.order.booster.predict(bundles, raw_score=True, num_threads=THREADS)
        predicted += len(products) + len(bundles)
    seconds = (time.perf_counter() - started) * rows.sum() / predicted  # of as many rows as were ranked
    hand_back(predicting=seconds, ranking=ranking, profiling=profiling, rows=rows.tolist())


if __name__ == "__main__":
    typer.run(main)
