"""Who is close to the bank's clients, and like the best of them: as far as the tables know those who are no clients.

A firm that is none is known from the books of clients: links to it, and payments to and from it. What these tell of
firms that are clients is compared with it; clients are compared with each other by the policy's columns.
"""

from __future__ import annotations

import datetime as dt

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
from sklearn.impute import SimpleImputer
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from sheaf.features import Bank, C, day_number
from sheaf.features.contract import Relation
from sheaf.strategy.policy.conditions import literal

YEAR_DAYS = 365
BOOKS = ("ties", "received", "paid")
"""What the books of clients tell of others."""
FIRM_LINKED = (Relation.EMPLOYER, Relation.GROUP, Relation.SUPPLIER)  # who is linked to is a firm
FIRM_LINKS = (Relation.OWNER, Relation.GROUP, Relation.SUPPLIER)  # who has the link is one


def network(connection: duckdb.DuckDBPyConnection, bank: Bank, as_of: dt.date) -> None:
    """Makes the tables `active`, ids of clients on the day, and `pairs`: `client_id`, an `other` that it is tied to,
    and a year's payments that the other `received` from it and `paid` to it."""
    known, day = bank.known_on(as_of), day_number(as_of)
    parts = []
    if "links" in known:
        rows = known["links"].filter(nw.col(C.UNTIL).is_null())
        for ours, theirs, of in ((C.CLIENT, C.LINKED, FIRM_LINKED), (C.LINKED, C.CLIENT, FIRM_LINKS)):
            found = rows.filter(nw.col(C.RELATION).is_in([str(one) for one in of]))
            parts.append(
                found.select(nw.col(ours).alias(C.CLIENT), nw.col(theirs).alias("other"), nw.lit(0.0).alias(C.AMOUNT))
            )
    if "transactions" in known:
        rows = known["transactions"].filter(nw.col(C.BOOKED_AT) > day - YEAR_DAYS, ~nw.col(C.COUNTERPARTY).is_null())
        parts.append(rows.select(C.CLIENT, nw.col(C.COUNTERPARTY).alias("other"), C.AMOUNT))
    columns = pa.schema([(C.CLIENT, pa.string()), ("other", pa.string()), (C.AMOUNT, pa.float64())])
    tables = [part.collect("pyarrow").to_native().cast(columns) for part in parts]
    booked = pa.concat_tables([columns.empty_table(), *tables])
    connection.register("booked", booked)
    active = bank.clients_on(as_of).filter(nw.col(C.JOINED_ON) <= day, nw.col(C.LEFT_ON).is_null())
    connection.register("active", active.select(C.CLIENT).collect("pyarrow").to_native())
    connection.execute(
        f"create or replace table pairs as select {C.CLIENT}, other, sum(greatest(-{C.AMOUNT}, 0)) as received, "
        f"sum(greatest({C.AMOUNT}, 0)) as paid from booked semi join active using ({C.CLIENT}) "
        f"where {C.CLIENT} <> other group by all"
    )


def close(best: tuple[str, ...]) -> str:
    """SQL of a row an `other` of table `pairs`: `BOOKS`, and `linked_best`, the clients of `planned` of the best
    tiers that it is tied to."""
    tiers = ", ".join(map(literal, best))
    return (
        "select other, count(*) as ties, count(*) filter (where tier in "
        f"({tiers})) as linked_best, sum(received) as received, sum(paid) as paid "
        f"from pairs left join (select {C.CLIENT}, tier from planned) using ({C.CLIENT}) group by other"
    )


def likeness(firms: np.ndarray, best: np.ndarray, neighbours: int, asked: np.ndarray | None = None) -> np.ndarray:
    """Of the nearest `firms` (firms, columns) to each of those `asked`, the share that is `best` (firms,).

    Nearest by Euclidean distance between ranks, so that no unit counts more than another; what is not known stands in
    the middle. Without `asked` it is each of the firms itself, which is left out of its own neighbours.
    """
    if len(firms) < 2 or (asked is not None and not len(asked)):
        return np.zeros(len(firms if asked is None else asked))
    ranks = QuantileTransformer(n_quantiles=min(1000, len(firms)), subsample=None, random_state=0)
    scale = make_pipeline(ranks, SimpleImputer(strategy="constant", fill_value=0.5, keep_empty_features=True))
    places = scale.fit_transform(firms)
    count = min(neighbours, len(firms) - 1)
    search = NearestNeighbors(n_neighbors=count).fit(places)
    # without a question, scikit-learn leaves each out of its own neighbours
    nearest = search.kneighbors(None if asked is None else scale.transform(asked), return_distance=False)
    share: np.ndarray = best[nearest].mean(axis=1)
    return share
