"""Rows a second and memory of ranking in bulk, against nothing but `Booster.predict`.

`training.scoring.rank` takes a bank's tables to a Parquet file of ranked bundles for every client: profiles, candidate
rows, both models, order, writing. It is compared with the same boosters predicting, on as many threads, ready float32
matrices of as many rows of the same clients: blocks that lie in memory, repeated until the count is reached.
A row is a candidate (client, product) or (client, bundle) pair. Each run is a process of its own, in turns.
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

from benchmarks.measure import Figure, child, console, hand_back, median_ratio, show, simulated
from catalog import DEFAULT, read_catalog

DAY = dt.date(2025, 11, 30)
TRAINED = (dt.date(2025, 9, 30), dt.date(2025, 10, 31))
HORIZON = 30  # days
TARGET, FLAT = 0.5, 1.2
BLOCK = 2_000  # clients
READY = 10  # blocks that lie in memory for the bare predictions: under a gigabyte
TIMES = 4  # as many clients for the second figure of memory
THREADS = 2


def main(
    clients: Annotated[int, typer.Option(help="How many clients to rank.", min=1000)] = 100_000,
    months: Annotated[int, typer.Option(help="Months of the simulated banks.", min=4)] = 6,
    sample: Annotated[int, typer.Option(help="How many clients to train on.", min=500)] = 10_000,
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
    ours, bare = runs["rank"][0], runs["bare"][0]
    rows = bare["product_rows"] + bare["bundle_rows"]
    speed = {"rank": [rows / run["seconds"] for run in runs["rank"]], "bare": [run["speed"] for run in runs["bare"]]}
    profiles = [run["profiles"] / told["seconds"] for run, told in zip(runs["bare"], runs["rank"], strict=True)]
    measured, against = (f"{max(speed[way]):,.0f} rows/s" for way in speed)
    figures = [
        Figure("rank", measured, f"bare {against}", median_ratio(speed["rank"], speed["bare"]), TARGET, False),
        Figure("profiles' share of it", f"{bare['profiles']:.1f} s", f"{ours['seconds']:.1f} s", min(profiles)),
    ]
    if memory:
        more, less = (f"{run['peak_gib']:.2f} GiB" for run in (large, ours))
        figures.append(Figure(f"memory, {TIMES} × clients", more, less, large["peak_gib"] / ours["peak_gib"], FLAT))
    scored = f"{bare['product_rows']:,} product and {bare['bundle_rows']:,} bundle rows"
    show(f"Ranking {ours['clients']:,} clients: {scored}", figures)


def _train(folder: Path, clients: int, saved: Path, parameters: Path | None) -> None:
    from features import Bank
    from training import Parameters
    from training.train import train

    chosen = f"select distinct client_id from '{folder / 'clients.parquet'}' order by hash(client_id) limit {clients}"
    days = ", ".join(f"(date '{day}')" for day in TRAINED)
    cohorts = duckdb.connect().sql(f"select client_id, as_of from ({chosen}), (values {days}) d(as_of)")
    settings = Parameters.read(parameters) if parameters else Parameters()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        trained = train(Bank.open(folder), read_catalog(DEFAULT), TRAINED, HORIZON, cohorts.to_arrow_table(), settings)
    trained.model.save(saved)


def _rank(folder: Path, saved: Path) -> None:
    from features import Bank
    from training import Model
    from training.scoring import rank

    model, bank = Model.load(saved), Bank.open(folder)
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        clients, rows = rank(model, bank, read_catalog(DEFAULT), DAY, Path(place) / "out.parquet", threads=THREADS)
        hand_back(seconds=time.perf_counter() - started, clients=clients, rows=rows)


def _bare(folder: Path, saved: Path) -> None:
    from features import Bank, C, batches, dictionary, encode, profile
    from training import Model, bundle_rows
    from training.ranking import slices

    model, bank, sold = Model.load(saved), Bank.open(folder), read_catalog(DEFAULT)
    candidates, features = model.candidates(sold), dictionary(bank, sold)
    ready: list[tuple[np.ndarray, np.ndarray]] = []
    blocks, scored, profiling, started = 0, np.zeros(2, dtype=int), 0.0, time.perf_counter()
    for batch in batches(profile(bank, sold, DAY).sort(C.CLIENT)):
        profiles = model.align(encode(batch, features)).values
        profiling += time.perf_counter() - started
        for block in slices(len(profiles), BLOCK):
            values = profiles[block]
            slate = candidates.slate(values)
            blocks += 1
            scored += [len(slate.products.client), len(slate.pairs.client)]
            if len(ready) < READY:
                peers = candidates.peer_groups(values)
                probability = model.adoption.of_clients(candidates, values, slate, peers, THREADS)
                x = candidates.product_rows(values, slate.products, peers)
                ready.append((x, bundle_rows(candidates, values, slate, probability).x))
        started = time.perf_counter()
    profiling += time.perf_counter() - started
    predicted, started = 0, time.perf_counter()
    for products, bundles in islice(cycle(ready), blocks):
        model.adoption.booster.predict(products, raw_score=True, num_threads=THREADS)
        if model.order.booster is not None:
            model.order.booster.predict(bundles, raw_score=True, num_threads=THREADS)
        predicted += len(products) + len(bundles)
    speed = predicted / (time.perf_counter() - started)
    hand_back(speed=speed, profiles=profiling, product_rows=int(scored[0]), bundle_rows=int(scored[1]))


if __name__ == "__main__":
    typer.run(main)
