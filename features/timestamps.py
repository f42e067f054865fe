"""Moments with a time zone, as they stand in UTC, whatever library holds them."""

from __future__ import annotations

from typing import Any

import duckdb
import narwhals as nw

_MOMENTS = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")  # DuckDB's types of moments with a time zone


def in_utc(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The frame with every moment as it stands in UTC, without a time zone.

    pandas' columns of objects become what they hold. Raises ValueError where they hold values of several types.

    Narwhals does not know every zone that pandas has, nor DuckDB's moments of nanoseconds, and DuckDB tells a moment's
    day by the zone of the connection.
    """
    native = nw.to_native(frame)
    if frame.implementation is nw.Implementation.DUCKDB:
        return nw.from_native(zoneless(native))
    if frame.implementation is nw.Implementation.PANDAS:
        return nw.from_native(_pandas_typed(native)).lazy()
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


def _pandas_typed(frame: Any) -> Any:
    """The frame with its columns of objects as what they hold, and moments without a time zone."""
    import pandas as pd

    typed = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            typed[name] = column.dt.tz_convert("UTC").dt.tz_localize(None)
        elif column.dtype == object:
            try:
                typed[name] = _of_objects(column)
            except (ValueError, TypeError, OverflowError) as error:
                raise ValueError(f"column {name}: {error}; keep values of one type in it, and None") from error
    return frame.assign(**typed) if typed else frame


def _of_objects(column: Any) -> Any:
    import pandas as pd

    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        return column.astype("boolean")
    if kind == "integer":
        return column.astype("Int64")
    if kind in ("floating", "mixed-integer-float", "decimal"):
        return column.astype("Float64" if kind != "decimal" else "float64")
    if kind == "date":
        return column.astype("datetime64[us]")
    if kind == "datetime":
        first = next(value for value in column if not pd.isna(value))
        if first.tzinfo is not None:  # of several zones, or of offsets
            return pd.to_datetime(column, utc=True).dt.tz_localize(None)
        return column.astype("datetime64[us]")
    if kind in ("mixed", "mixed-integer"):
        kinds = sorted(
            {type(value).__name__ for value in column if not pd.api.types.is_scalar(value) or pd.notna(value)}
        )
        if not set(kinds) <= {"str"}:
            raise ValueError(f"holds values of several types or none that a table can hold ({', '.join(kinds)})")
    return column
