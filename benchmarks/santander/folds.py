"""Five folds over the clients of May 2016, each with a bank that does not know what its clients did after that day."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

CATALOG = Path(__file__).with_name("catalog.yaml")
PARAMETERS = Path(__file__).with_name("parameters.yaml")
DATA = Path("../shared/data/santander")
TABLES = ("clients", "holdings", "cohorts")
FOLDS = 5
TRAINED, RANKED = dt.date(2015, 6, 27), dt.date(2016, 5, 27)
HORIZON = 31  # days


@dataclass(frozen=True)
class Cohort:
    """The clients of a day: who they are, what they held, and what of the rest they opened (clients, products)."""

    clients: pd.DataFrame
    held: np.ndarray
    opened: np.ndarray

    def where(self, kept: np.ndarray) -> Cohort:
        return Cohort(self.clients[kept].reset_index(drop=True), self.held[kept], self.opened[kept])


class Folds:
    """The data in `folder`; `products` are the columns of every cohort."""

    def __init__(self, folder: Path):
        self._bank = duckdb.connect()
        for name in TABLES:
            self._bank.read_parquet(str(folder / f"{name}.parquet")).create_view(name)
        self.products = list(self._bank.sql("select distinct product_id from holdings order by all").df().product_id)
        self._before, self._now = (_cohort(self._bank, day, self.products) for day in (TRAINED, RANKED))

    def fold(self, number: int) -> tuple[Cohort, list[Cohort]]:
        """The clients of a fold, from 0, as of `RANKED`; and all others as of `TRAINED` and `RANKED`."""
        of_before, of_now = _fold(self._before.clients.client_id), _fold(self._now.clients.client_id)
        others = [self._before.where(of_before != number), self._now.where(of_now != number)]
        return self._now.where(of_now == number), others

    def hand_over(self, mine: Cohort, others: list[Cohort], work: Path) -> None:
        """The bank's tables in `work/bank`, without what became of the fold after the day it is ranked as of.

        `work/train.parquet` has whom to train on, and when; the bank's own cohort is the fold.
        """
        fold = mine.clients[["client_id"]].assign(as_of=pd.Timestamp(RANKED))
        days = zip(others, (TRAINED, RANKED), strict=True)
        train = pd.concat([cohort.clients[["client_id"]].assign(as_of=pd.Timestamp(day)) for cohort, day in days])
        place, bank, after = work / "bank", self._bank, f"date '{RANKED}'"
        place.mkdir()
        train.to_parquet(work / "train.parquet", index=False)
        fold.to_parquet(place / "cohorts.parquet", index=False)
        bank.register("fold", fold)
        bank.execute(f"copy clients to '{place / 'clients.parquet'}'")
        bank.execute(
            f"""copy (select h.client_id, product_id, opened_on,
                          case when f.client_id is null or closed_on <= {after} then closed_on end as closed_on
                      from holdings h left join fold f using (client_id)
                      where f.client_id is null or opened_on <= {after}) to '{place / "holdings.parquet"}'"""
        )
        bank.unregister("fold")


def lacking(folder: Path) -> str:
    """Why the data cannot be read from `folder`; empty where it can."""
    if all((folder / f"{name}.parquet").is_file() for name in TABLES):
        return ""
    return f"{folder} does not hold {', '.join(f'{name}.parquet' for name in TABLES)}"


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
