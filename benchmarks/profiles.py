"""Time of `sheaf.features.profile` against one hand-written DuckDB query that gives the same columns of the same files.

10 million transactions of 200,000 clients in a year, with their holdings and month-end positions. Both ways run in the
same process with the same DuckDB settings, in turns, down to an Arrow table; planning counts. The
results are compared column by column, to a relative 1e-9. Memory is the peak of a process that
does only `build_profiles`.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.figures import Figure
from benchmarks.measure import KEPT, child, console, hand_back, in_turns, median_ratio, report
from benchmarks.profile_query import query
from sheaf.catalog import DEFAULT, Catalog, read_catalog
from sheaf.features import Bank, build_profiles, feature_dictionary
from sheaf.features.bank import connect, day_number

DAY = dt.date(2025, 11, 30)
TARGET = 1.5
DIGITS = 1e-9
MONTHS = 13  # month-ends of positions


def main(
    clients: Annotated[int, typer.Option(help="How many clients.", min=1)] = 200_000,
    transactions: Annotated[int, typer.Option(help="How many bookings.", min=1)] = 10_000_000,
    rounds: Annotated[int, typer.Option(help="How often each way runs.", min=1)] = 5,
    data: Annotated[Path | None, typer.Option(help="Where the tables lie, or are made and kept.")] = None,
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Seconds of sheaf's profiles as a ratio to those of one hand-written query."""
    folder, sold = data or KEPT / f"tables-{clients}-{transactions}", read_catalog(DEFAULT)
    sold = sold.model_copy(update={"pricing": None})  # the query knows no prices
    if inside:
        hand_back(rows=by_sheaf(folder, sold).num_rows)
        return
    if not (folder / "transactions.parquet").exists():
        with console.status("Making the tables"):
            make(folder, clients, transactions, sold)
    connection = connect()
    by_hand = query(folder, sold, DAY)
    with console.status("Comparing the results"):
        columns = check_equal(by_sheaf(folder, sold), connection.sql(by_hand).to_arrow_table(), folder, sold)
    with console.status("Running in turns"):
        seconds = in_turns(
            rounds, ours=lambda: by_sheaf(folder, sold), theirs=lambda: connection.sql(by_hand).to_arrow_table()
        )
    peak = child("benchmarks.profiles", "--inside", "--data", folder)["peak_gib"]
    console.print(f"{columns} columns of {clients:,} clients are equal; peak memory of profile: {peak:.2f} GiB.")
    ratio = median_ratio(seconds["ours"], seconds["theirs"])
    ours, theirs = (f"{np.median(seconds[way]):.2f} s" for way in ("ours", "theirs"))
    figure = Figure("build_profiles", ours, f"by hand {theirs}", ratio, TARGET)
    report(f"Profiles, medians of {rounds}", f"{clients:,} clients, {transactions:,} transactions", [figure])


def by_sheaf(folder: Path, sold: Catalog) -> pa.Table:
    frame: pa.Table = build_profiles(Bank.open(folder), sold, DAY).to_native()
    return frame


def check_equal(ours: pa.Table, theirs: pa.Table, folder: Path, sold: Catalog) -> int:
    """How many columns are equal. Raises ValueError that names those that are not."""
    ours, theirs = (table.sort_by("client_id") for table in (ours, theirs))
    names = ["client_id", *(feature.name for feature in feature_dictionary(Bank.open(folder), sold))]
    different = [name for name in names if not _equal(ours[name], theirs[name])]
    extra = set(theirs.column_names) - set(names)
    if different or extra:
        raise ValueError(f"profile and query differ in {different}, and only the query has {sorted(extra)}")
    return len(names)


def _equal(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> bool:
    if pa.types.is_string(ours.type) or pa.types.is_large_string(ours.type):
        return bool(ours.cast(pa.string()).equals(theirs.cast(pa.string())))
    a, b = (column.cast(pa.float64()).to_numpy() for column in (ours, theirs))
    # sums are in other orders: what cancels out in a difference is exact only to the size of its parts
    return bool(np.allclose(a, b, rtol=DIGITS, atol=1e-6, equal_nan=True))


def make(folder: Path, clients: int, transactions: int, sold: Catalog) -> None:
    """Writes clients, holdings, positions and transactions as Parquet, the same for the same numbers."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    ids, products = pa.array([f"C{number:07d}" for number in range(clients)]), list(sold.products)
    today = day_number(DAY)
    kinds = rng.choice(3, clients, p=[0.8, 0.18, 0.02])
    _write(
        folder / "clients.parquet",
        client_id=ids,
        kind=_texts(kinds, ["retail", "corporate", "institution"]),
        joined_on=_days(today - rng.integers(30, 5000, clients)),
        left_on=_days(today - rng.integers(-200, 1000, clients), rng.random(clients) < 0.05),
        sector=_texts(rng.integers(0, 12, clients), [f"sector {number}" for number in range(12)]),
        rating=_texts(rng.integers(0, 8, clients), list("ABCDEFGH")),
        age=pa.array(rng.integers(0, 95, clients).astype(float), mask=kinds > 0),
        income=pa.array(np.round(rng.lognormal(7.5, 0.6, clients), 2), mask=kinds > 0),
    )
    # five holdings a client, of different products; one more of the same product that was closed before, for some
    product = np.argsort(rng.random((clients, len(products))), axis=1)[:, :5].ravel()
    holder = np.repeat(np.arange(clients), 5)
    opened = today - rng.integers(-31, 2500, len(holder))
    closed = opened + rng.integers(30, 2500, len(holder))
    again = np.flatnonzero(rng.random(len(holder)) < 0.1)
    _write(
        folder / "holdings.parquet",
        client_id=ids.take(pa.array(np.concatenate([holder, holder[again]]))),
        product_id=_texts(np.concatenate([product, product[again]]), [item.product_id for item in products]),
        opened_on=_days(np.concatenate([opened, opened[again] - 900])),
        closed_on=_days(
            np.concatenate([closed, opened[again] - 300]),
            np.concatenate([rng.random(len(holder)) < 0.3, np.ones(len(again), dtype=bool)]),
        ),
    )
    ends = np.array([(np.datetime64(DAY, "M") - back + 1).astype("M8[D]").astype(int) - 1 for back in range(MONTHS)])
    stated = np.flatnonzero(rng.random(len(holder)) < 0.4)
    rows = len(stated) * MONTHS
    _write(
        folder / "positions.parquet",
        client_id=ids.take(pa.array(np.repeat(holder[stated], MONTHS))),
        product_id=_texts(np.repeat(product[stated], MONTHS), [item.product_id for item in products]),
        month=_days(np.tile(ends, len(stated))),
        balance=pa.array(np.round(rng.lognormal(8, 1.5, rows), 2)),
        rate=pa.array(np.round(rng.uniform(0, 0.08, rows), 4), mask=rng.random(rows) < 0.3),
        fees=pa.array(np.round(rng.exponential(4, rows), 2), mask=rng.random(rows) < 0.5),
        limit=pa.array(np.full(rows, 5000.0), mask=rng.random(rows) < 0.8),
    )
    owner = rng.integers(0, clients, transactions)
    booking_kinds = list(sold.policy.transaction_kinds)
    _write(
        folder / "transactions.parquet",
        client_id=ids.take(pa.array(owner)),
        booked_at=_days(today + 31 - rng.integers(0, 396, transactions)),
        amount=pa.array(np.round(rng.lognormal(4, 1.2, transactions) * rng.choice([-1, -1, 1], transactions), 2)),
        currency=_texts(np.maximum(rng.integers(-8, 3, transactions), 0), [sold.currency, "USD", "GBP"]),
        kind=_texts(rng.integers(0, len(booking_kinds), transactions), booking_kinds),
        channel=_texts(rng.integers(0, 4, transactions), ["app", "branch", "card", "web"]),
        counterparty_id=ids.take(pa.array((owner * 31 + rng.integers(0, 60, transactions)) % clients)),
    )


def _write(path: Path, **columns: pa.Array) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=500_000)


def _texts(codes: np.ndarray, vocabulary: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(vocabulary)).cast(pa.string())


def _days(numbers: np.ndarray, known: np.ndarray | None = None) -> pa.Array:
    return pa.array(numbers.astype(np.int32), mask=None if known is None else ~known).cast(pa.date32())


if __name__ == "__main__":
    typer.run(main)
