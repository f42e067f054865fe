"""Moments with a time zone count by their day in UTC, in every library and in files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sheaf.features import Bank, build_profiles, day_number
from tests.features.banks import CATALOG

HOLDINGS = {"client_id": ["a"], "product_id": ["account"], "opened_on": [dt.date(2020, 1, 1)]}


def joined_on(bank: Bank) -> list[float | None]:
    return list(bank["clients"].collect("pyarrow")["joined_on"].to_list())


ZONES = ["UTC", "America/New_York", "Europe/Madrid", "Asia/Kolkata", "+05:30"]


def zoned(zone: str, engine: str) -> dict[str, Any]:
    """The night to 2 January in the zone, as the day of joining and as an attribute, in frames of the engine."""
    late = pd.Series(pd.to_datetime(["2024-01-01 23:30"])).dt.tz_localize(zone)
    units = ["ns", "us", "s"] if engine != "Polars" else ["ns", "us"]
    clients = pd.DataFrame({"client_id": ["a"], "kind": ["retail"]})
    for unit in units:
        clients[f"seen_{unit}"] = late.dt.as_unit(unit)
    clients["joined_on"] = late
    tables: dict[str, Any] = {"clients": clients, "holdings": pd.DataFrame(HOLDINGS)}
    if engine == "pandas":
        return tables
    if engine == "Polars":
        return {name: pl.from_pandas(table) for name, table in tables.items()}
    tables = {name: pa.Table.from_pandas(table, preserve_index=False) for name, table in tables.items()}
    if engine == "PyArrow":
        return tables
    connection = duckdb.connect()
    connection.execute(f"set TimeZone = '{engine}'")
    return {name: connection.from_arrow(table) for name, table in tables.items()}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("engine", ["pandas", "Polars", "PyArrow", "UTC", "America/New_York", "Asia/Tokyo"])
def test_a_moment_of_any_zone_counts_by_its_day_in_utc(zone: str, engine: str) -> None:
    """The last three engines are DuckDB, with that zone on the caller's connection."""
    if engine == "Polars" and zone.startswith("+"):
        pytest.skip("Polars has no zones but those of the database")
    day = day_number(pd.Timestamp("2024-01-01 23:30", tz=zone).tz_convert("UTC").date())
    bank = Bank.of(**zoned(zone, engine))
    assert joined_on(bank) == [day]
    told = build_profiles(bank, CATALOG, dt.date(2024, 6, 30)).to_pandas()
    months = [name for name in told.columns if name.startswith("seen_")]
    assert all(name.endswith("_months") for name in months)  # a number of months, no category of texts
    assert told[months].iloc[0].tolist() == pytest.approx(
        [(day_number(dt.date(2024, 6, 30)) - day) / 30.4375] * len(months)
    )


def test_moments_of_zones_in_files_count_by_their_day_in_utc(tmp_path: Path) -> None:
    for name, table in zoned("America/New_York", "PyArrow").items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert joined_on(Bank.open(tmp_path)) == [day_number(dt.date(2024, 1, 2))]
    told = build_profiles(Bank.open(tmp_path), CATALOG, dt.date(2024, 6, 30)).to_pandas()
    assert told["seen_us_months"].item() == pytest.approx(180 / 30.4375)


def test_objects_of_several_offsets_count_by_their_day_in_utc() -> None:
    offsets = [dt.timezone(dt.timedelta(hours=hours)) for hours in (-3, 3)]
    moments = [dt.datetime(2024, 1, 1, 23, 30, tzinfo=zone) for zone in offsets]
    clients = pd.DataFrame({"client_id": ["a", "b"], "kind": "retail", "joined_on": pd.Series(moments, dtype=object)})
    assert joined_on(Bank.of(clients=clients, holdings=pd.DataFrame(HOLDINGS))) == [19724, 19723]
