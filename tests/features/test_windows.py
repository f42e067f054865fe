"""Aggregates of a group stand beside the group's own rows, on every engine."""

from __future__ import annotations

import datetime as dt

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sheaf.features import Bank
from sheaf.features.windows import with_group_values

ENGINES = {"pandas": pa.Table.to_pandas, "polars": pl.from_arrow, "duckdb": duckdb.from_arrow, "pyarrow": lambda of: of}
KEYS, ROWS = 2_000, 50_000


@pytest.fixture(scope="module")
def chunked() -> pa.Table:
    """Rows in chunks, as a folder of Parquet files comes back."""
    drawn = np.random.default_rng(0)
    key, value = drawn.integers(0, KEYS, ROWS), drawn.normal(size=ROWS)
    whole = pa.table({"key": [f"k{number:04}" for number in key], "value": value})
    return pa.concat_tables([whole.slice(at, 1_000) for at in range(0, ROWS, 1_000)])


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_keep_the_values_of_their_group(chunked: pa.Table, engine: str) -> None:
    given = nw.from_native(ENGINES[engine](chunked)).lazy()
    for _ in range(5):  # threads may finish in any order
        with_max = with_group_values(given, ["key"], most=nw.col("value").max(), least=nw.col("value").min())
        found = with_max.collect("pandas").to_native()
        groups = found.groupby("key")["value"]
        assert len(found) == ROWS
        assert found["value"].sum() == pytest.approx(pa.compute.sum(chunked["value"]).as_py())
        assert (found["most"] == groups.transform("max")).all()
        assert (found["least"] == groups.transform("min")).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_client_has_one_latest_row_however_the_table_is_chunked(engine: str) -> None:
    days = [dt.date(2024, month, 1) for month in range(1, 13)]
    drawn = np.random.default_rng(1).permutation(KEYS * len(days))
    rows = pd.DataFrame({
        "client_id": np.repeat([f"c{number:04}" for number in range(KEYS)], len(days))[drawn],
        "kind": "retail", "joined_on": dt.date(2020, 1, 1), "valid_from": pd.Series(days * KEYS).to_numpy()[drawn],
        "age": np.tile(np.arange(len(days)), KEYS)[drawn],
    })  # fmt: skip
    whole = pa.Table.from_pandas(rows)
    parts = pa.concat_tables([whole.slice(at, 500) for at in range(0, len(whole), 500)])
    held = pa.table({"client_id": ["c0000"], "product_id": ["account"], "opened_on": [dt.date(2024, 1, 1)]})
    bank = Bank.of(clients=ENGINES[engine](parts), holdings=ENGINES[engine](held))
    for _ in range(5):
        latest = bank.clients_on(dt.date(2024, 9, 30)).collect("pandas").to_native()
        assert sorted(latest["client_id"]) == [f"c{number:04}" for number in range(KEYS)]
        assert {*latest["age"]} == {8}
