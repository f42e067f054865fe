"""MAP@7 on Santander's product recommendation data, against popularity and popularity by segment.

Five folds over the clients of May 2016 by the hash of their id. For each fold a bank is laid out that does not know
what the fold's clients did after that day; `sheaf train` learns from June 2015 and the other folds, without any row
of the fold's clients, and `sheaf rank` ranks the fold, each in a working folder of its own. Every client of the fold
counts, one without a ranking with 0. MAP@7 is Kaggle's: over the products not held on the day, AP@7 divided by the
lesser of 7 and the number opened. The baselines count what the other folds opened in the same month: with June 2015
added they are weaker.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import pandas as pd
import typer
from rich.table import Table

from benchmarks.measure import Figure, bootstrap, console, sheaf, show

CATALOG = Path(__file__).with_name("catalog.yaml")
DATA = Path("../shared/data/santander")
TABLES = ("clients", "holdings", "cohorts")
FOLDS = 5
TRAINED, RANKED = dt.date(2015, 6, 27), dt.date(2016, 5, 27)
HORIZON = 31  # days
AT = 7
TARGET = 0.89
AGES = [0, 20, 24, 30, 40, 50, 60, 200]  # bands of the baseline by segment


@dataclass(frozen=True)
class Cohort:
    """The clients of a day: who they are, what they held, and what of the rest they opened (clients, products)."""

    clients: pd.DataFrame
    held: np.ndarray
    opened: np.ndarray

    def where(self, kept: np.ndarray) -> Cohort:
        return Cohort(self.clients[kept].reset_index(drop=True), self.held[kept], self.opened[kept])


def main(
    data: Annotated[Path, typer.Option(help="Folder with clients, holdings and cohorts as Parquet.")] = DATA,
    folds: Annotated[int, typer.Option(help="How many of the five folds to run.", min=1, max=FOLDS)] = FOLDS,
    parameters: Annotated[Path | None, typer.Option(help="YAML for `sheaf train --parameters`.")] = None,
) -> None:
    """MAP@7 of `sheaf train` and `sheaf rank`, beside popularity and popularity by segment."""
    if not all((data / f"{name}.parquet").is_file() for name in TABLES):
        console.print(f"skipped: {data} does not hold {', '.join(f'{name}.parquet' for name in TABLES)}; see --data")
        return
    bank = duckdb.connect()
    for name in TABLES:
        bank.read_parquet(str(data / f"{name}.parquet")).create_view(name)
    products = list(bank.sql("select distinct product_id from holdings order by all").df().product_id)
    before, now = (_cohort(bank, day, products) for day in (TRAINED, RANKED))
    fold = _fold(now.clients.client_id)
    precisions: dict[str, list[np.ndarray]] = {"sheaf": [], "popularity": [], "by segment": []}
    table = Table(title=f"MAP@{AT}, clients of {RANKED}")
    for name in ("fold", "clients", *precisions, "seconds"):
        table.add_column(name, justify="right")
    for number in range(folds):
        mine = now.where(fold == number)
        others = [before.where(_fold(before.clients.client_id) != number), now.where(fold != number)]
        started = time.monotonic()
        shown = {
            "sheaf": _sheaf(bank, mine, others, products, parameters, number),
            "popularity": _best(_popularity(others[-1], mine), mine.held),
            "by segment": _best(_by_segment(others[-1], mine), mine.held),
        }
        seconds = time.monotonic() - started
        for name, order in shown.items():
            precisions[name].append(average_precision(order, mine.opened))
        figures = [f"{of_fold[-1].mean():.4f}" for of_fold in precisions.values()]
        table.add_row(str(number + 1), f"{len(mine.held):,}", *figures, f"{seconds:.0f}")
    total = {name: np.concatenate(of_folds) for name, of_folds in precisions.items()}
    table.add_section()
    table.add_row("all", f"{len(total['sheaf']):,}", *(f"{of_clients.mean():.4f}" for of_clients in total.values()), "")
    console.print(table)
    ours, clients = total["sheaf"], len(total["sheaf"])
    best = max(("popularity", "by segment"), key=lambda name: total[name].mean())
    theirs = total[best]
    mean = bootstrap(lambda drawn: ours[drawn].mean(), clients)
    ratio = bootstrap(lambda drawn: ours[drawn].mean() / theirs[drawn].mean(), clients)
    show(
        f"Santander, {folds} of {FOLDS} folds, 95 % intervals by bootstrap over clients",
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


def _fold(clients: pd.Series) -> np.ndarray:
    digests = (hashlib.sha256(str(client).encode()).digest() for client in clients)
    return np.array([int.from_bytes(digest[:8], "big") % FOLDS for digest in digests])


def _cohort(bank: duckdb.DuckDBPyConnection, day: dt.date, products: list[str]) -> Cohort:
    clients = bank.execute(
        """select client_id, age, segment from clients join cohorts using (client_id)
           where as_of = $day and valid_from <= $day
           qualify row_number() over (partition by client_id order by valid_from desc) = 1 order by client_id""",
        {"day": day},
    ).df()
    row = {client: index for index, client in enumerate(clients.client_id)}
    column = {product: index for index, product in enumerate(products)}
    held, opened = (np.zeros((len(row), len(column)), dtype=bool) for _ in range(2))
    periods = (
        (held, "opened_on <= $day and (closed_on is null or closed_on > $day)"),
        (opened, f"opened_on > $day and opened_on <= $day + interval {HORIZON} day"),
    )
    for marks, period in periods:
        pairs = bank.execute(f"select distinct client_id, product_id from holdings where {period}", {"day": day})
        for client, product in pairs.fetchall():
            if client in row:
                marks[row[client], column[product]] = True
    return Cohort(clients, held, opened & ~held)


def _sheaf(
    bank: duckdb.DuckDBPyConnection,
    mine: Cohort,
    others: list[Cohort],
    products: list[str],
    parameters: Path | None,
    number: int,
) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="sheaf-") as place:
        work = Path(place)
        (work / "bank").mkdir()
        _hand_over(bank, mine, others, work)
        options = ["--parameters", parameters.resolve()] if parameters else []
        days = [argument for day in (TRAINED, RANKED) for argument in ("--as-of", day)]
        common = ["--data", "bank", "--catalog", CATALOG]
        with console.status(f"fold {number + 1}: sheaf train"):
            sheaf("train", *common, *days, "--cohorts", "train.parquet", *options, cwd=work)
        with console.status(f"fold {number + 1}: sheaf rank"):
            sheaf("rank", *common, "--as-of", RANKED, "--out", "ranking.parquet", "--top", AT, cwd=work)
        ranking = pd.read_parquet(work / "ranking.parquet")
    row = {client: index for index, client in enumerate(mine.clients.client_id)}
    column = {product: index for index, product in enumerate(products)}
    shown = np.full((len(row), AT), -1)
    shown[ranking.client_id.map(row), ranking["rank"] - 1] = ranking.bundle_id.map(column)
    return shown


def _hand_over(bank: duckdb.DuckDBPyConnection, mine: Cohort, others: list[Cohort], work: Path) -> None:
    """The bank's tables in `work/bank`, without what became of the fold after the day it is ranked as of."""
    fold = mine.clients[["client_id"]].assign(as_of=pd.Timestamp(RANKED))
    days = zip(others, (TRAINED, RANKED), strict=True)
    train = pd.concat([cohort.clients[["client_id"]].assign(as_of=pd.Timestamp(day)) for cohort, day in days])
    train.to_parquet(work / "train.parquet", index=False)
    fold.to_parquet(work / "bank" / "cohorts.parquet", index=False)
    bank.register("fold", fold)
    after, place = f"date '{RANKED}'", work / "bank"
    bank.execute(f"copy clients to '{place / 'clients.parquet'}'")
    bank.execute(
        f"""copy (select h.client_id, product_id, opened_on,
                      case when f.client_id is null or closed_on <= {after} then closed_on end as closed_on
                  from holdings h left join fold f using (client_id)
                  where f.client_id is null or opened_on <= {after}) to '{place / "holdings.parquet"}'"""
    )
    bank.unregister("fold")


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
