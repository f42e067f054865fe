"""Moments with a time zone, as they stand in UTC, whatever library holds them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import narwhals as nw

_MOMENTS = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")  # DuckDB's types of moments with a time zone


def in_utc(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The frame with every moment as it stands in UTC, without a time zone.

    Raises ValueError for a column of pandas objects that are not all moments.

    Narwhals does not know every zone that pandas has, nor DuckDB's moments of nanoseconds, and DuckDB tells a moment's
    day by the zone of the connection.
    """
    native = nw.to_native(frame)
    if frame.implementation is nw.Implementation.DUCKDB:
        return nw.from_native(zoneless(native))
    if frame.implementation is nw.Implementation.PANDAS:
        return nw.from_native(_pandas_zoneless(native)).lazy()
    zoned = [
        nw.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        for name, dtype in frame.collect_schema().items()
        if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None
    ]
    return frame.with_columns(*zoned) if zoned else frame


def zoneless(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same of DuckDB's relation."""
    types = zip(relation.columns, relation.types, strict=True)
    zoned = [name.replace('"', '""') for name, kind in types if str(kind) in _MOMENTS]
    moments = ", ".join(f'timezone(\'UTC\', "{name}"::timestamptz) as "{name}"' for name in zoned)
    return relation.project(f"* replace ({moments})") if zoned else relation


def _pandas_zoneless(frame: Any) -> Any:
    import pandas as pd

    moments = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            moments[name] = column.dt.tz_convert("UTC").dt.tz_localize(None)
        elif column.dtype == object:  # of several zones, or of offsets
            first = next((value for value in column if value is not None and value == value), None)
            if isinstance(first, dt.datetime) and first.tzinfo is not None:
                try:
                    moments[name] = pd.to_datetime(column, utc=True).dt.tz_localize(None)
                except (ValueError, TypeError) as error:
                    raise ValueError(f"column {name}: {error}; keep nothing but timestamps there") from error
    return frame.assign(**moments) if moments else frame
