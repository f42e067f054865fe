"""MAP@7 on Santander's product recommendation data, against popularity and popularity by segment.

Five folds over the clients of May 2016 by the hash of their id. For each fold a bank is laid out that does not know
what the fold's clients did after that day; `sheaf train` learns from June 2015 and the other folds, without any row
of the fold's clients, and `sheaf rank` ranks the fold, each in a working folder of its own. Every client of the fold
counts, one without a ranking with 0. MAP@7 is Kaggle's: over the products not held on the day, AP@7 divided by the
lesser of 7 and the number opened. The baselines count what the other folds opened in the same month: with June 2015
added they are weaker.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.measure import bootstrap, console, report, sheaf
from benchmarks.santander.folds import CATALOG, DATA, FOLDS, PARAMETERS, RANKED, TRAINED, Cohort, Folds, lacking

AT = 7
TARGET = 0.900
AGES = [0, 20, 24, 30, 40, 50, 60, 200]  # bands of the baseline by segment


def main(
    data: Annotated[Path, typer.Option(help="Folder with clients, holdings and cohorts as Parquet.")] = DATA,
    folds: Annotated[int, typer.Option(help="How many of the five folds to run.", min=1, max=FOLDS)] = FOLDS,
    parameters: Annotated[Path, typer.Option(help="YAML for `sheaf train --parameters`.")] = PARAMETERS,
    at_once: Annotated[int, typer.Option(help="Folds side by side, on as many cores.", min=1, max=FOLDS)] = 2,
) -> None:
    """MAP@7 of `sheaf train` and `sheaf rank`, beside popularity and popularity by segment."""
    if lacking(data):
        console.print(f"skipped: {lacking(data)}; see --data")
        return
    folded = Folds(data)
    precisions: dict[str, list[np.ndarray]] = {"sheaf": [], "popularity": [], "by segment": []}
    table = Table(title=f"MAP@{AT}, clients of {RANKED}")
    for name in ("fold", "clients", *precisions, "seconds"):
        table.add_column(name, justify="right")
    cohorts = [folded.fold(number) for number in range(folds)]
    # Folds side by side share the cores; LightGBM learns the same trees by one thread as by two.
    os.environ["OMP_THREAD_LIMIT"] = str(max(1, (os.cpu_count() or 1) // at_once))
    banking = Lock()
    with console.status("sheaf train and sheaf rank, fold by fold"), ThreadPoolExecutor(at_once) as pool:
        ranked = pool.map(lambda of: _sheaf(folded, of[0], of[1], parameters, banking), cohorts)
        for number, ((mine, others), (order, seconds)) in enumerate(zip(cohorts, ranked, strict=True), start=1):
            shown = {
                "sheaf": order,
                "popularity": _best(_popularity(others[-1], mine), mine.held),
                "by segment": _best(_by_segment(others[-1], mine), mine.held),
            }
            for name, its_order in shown.items():
                precisions[name].append(average_precision(its_order, mine.opened))
            figures = [f"{of_fold[-1].mean():.4f}" for of_fold in precisions.values()]
            table.add_row(str(number), f"{len(mine.held):,}", *figures, f"{seconds:.0f}")
            console.print(f"fold {number}: {', '.join(map(' '.join, zip(precisions, figures, strict=True)))}")
    total = {name: np.concatenate(of_folds) for name, of_folds in precisions.items()}
    table.add_section()
    table.add_row("all", f"{len(total['sheaf']):,}", *(f"{of_clients.mean():.4f}" for of_clients in total.values()), "")
    console.print(table)
    ours, clients = total["sheaf"], len(total["sheaf"])
    best = max(("popularity", "by segment"), key=lambda name: total[name].mean())
    theirs = total[best]
    mean = bootstrap(lambda drawn: ours[drawn].mean(), clients)
    ratio = bootstrap(lambda drawn: ours[drawn].mean() / theirs[drawn].mean(), clients)
    report(
        f"Santander, {folds} of {FOLDS} folds, intervals by bootstrap over clients",
        f"Santander, {clients:,} clients of May 2016",
        [
            Figure(f"MAP@{AT}", "sheaf", "a perfect order", float(ours.mean()), TARGET, False, mean),
            Figure(f"MAP@{AT}", "sheaf", best, float(ours.mean() / theirs.mean()), 1.0, False, ratio),
        ],
    )


def average_precision(shown: np.ndarray, opened: np.ndarray, k: int = AT) -> np.ndarray:
    """AP@k of each client: `Σ_{i≤k} hit_i · precision@i / min(opened, k)`, 0 for a client who opened nothing.

    `shown` is (clients, k) positions of products, best first, -1 for none; `opened` is (clients, products) of bool.
    """
    hit = np.where(shown >= 0, np.take_along_axis(opened, np.maximum(shown, 0), axis=1), False)
    precision = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    wanted = np.minimum(opened.sum(axis=1), k)
    return np.where(wanted > 0, (hit * precision).sum(axis=1) / np.maximum(wanted, 1), 0.0)


def _sheaf(
    folded: Folds, mine: Cohort, others: list[Cohort], parameters: Path, banking: Lock
) -> tuple[np.ndarray, float]:
    """What is shown to the fold's clients, and the seconds that it took; one at a time asks the bank of all folds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sheaf-") as place:
        work = Path(place)
        with banking:
            folded.hand_over(mine, others, work)
        days = [argument for day in (TRAINED, RANKED) for argument in ("--as-of", day)]
        common = ["--data", "bank", "--catalog", CATALOG]
        sheaf("train", *common, *days, "--cohorts", "train.parquet", "--parameters", parameters.resolve(), cwd=work)
        sheaf("rank", *common, "--as-of", RANKED, "--out", "ranking.parquet", "--top", AT, cwd=work)
        ranking = pd.read_parquet(work / "ranking.parquet")
    row = {client: index for index, client in enumerate(mine.clients.client_id)}
    column = {product: index for index, product in enumerate(folded.products)}
    shown = np.full((len(row), AT), -1)
    shown[ranking.client_id.map(row), ranking["rank"] - 1] = ranking.bundle_id.map(column)
    return shown, time.monotonic() - started


def _segment(clients: pd.DataFrame) -> pd.Series:
    """Age band and the bank's own segment, of each client."""
    return pd.cut(clients.age, AGES, right=False).astype(str) + clients.segment.fillna("").astype(str)


def _popularity(others: Cohort, mine: Cohort) -> np.ndarray:
    """How often each product was opened by the others, as a share of all openings, the same for every client."""
    counts = others.opened.sum(axis=0)
    return np.broadcast_to(counts / counts.sum(), mine.held.shape)


def _by_segment(others: Cohort, mine: Cohort) -> np.ndarray:
    """The same among clients of the same segment; what nobody there opened comes after, by popularity."""
    counts = pd.DataFrame(others.opened.astype(float)).groupby(_segment(others.clients)).sum()
    return counts.reindex(_segment(mine.clients)).fillna(0.0).to_numpy() + _popularity(others, mine) / 2


def _best(score: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The first products by score of each client, among those not held; -1 where there are fewer."""
    score = np.where(held, -np.inf, score)
    order = np.argsort(-score, axis=1, kind="stable")[:, :AT]
    return np.where(np.isfinite(np.take_along_axis(score, order, axis=1)), order, -1)


if __name__ == "__main__":
    typer.run(main)
