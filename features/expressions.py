"""Expressions that the feature groups share. All run lazily, and alike, on every engine behind Narwhals."""

from __future__ import annotations

import calendar
import datetime as dt
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw

from sheaf.features.bank import day_number
from sheaf.features.contract import C

Frame = nw.LazyFrame[Any]
Tables = Mapping[str, Frame]

DAYS_A_MONTH = 30.4375  # 365.25 / 12
DAYS = {1: 30, 3: 91, 12: 365}  # of the last 1, 3, 12 months, for what happens on any day


def months_before(as_of: dt.date, months: int) -> int:
    """The day number of the same day `months` calendar months earlier.

    The last day of a month goes to the last day of the earlier one, so that month-end series are met exactly;
    a day that the earlier month lacks becomes its last day.
    """
    month = as_of.year * 12 + as_of.month - 1 - months
    year, month = month // 12, month % 12 + 1
    last = calendar.monthrange(year, month)[1]
    at_end = as_of.day == calendar.monthrange(as_of.year, as_of.month)[1]
    return day_number(dt.date(year, month, last if at_end else min(as_of.day, last)))


def months_since(column: str, as_of: dt.date) -> nw.Expr:
    """Months from the day in `column` to `as_of`, with fractions; null where the day is null."""
    return (day_number(as_of) - nw.col(column)) / DAYS_A_MONTH


def indicator(condition: nw.Expr) -> nw.Expr:
    """1.0 where the condition holds, 0.0 where it does not or is not known."""
    return nw.when(condition).then(nw.lit(1.0)).otherwise(nw.lit(0.0))


def where(condition: nw.Expr, value: nw.Expr) -> nw.Expr:
    """The value where the condition holds, null elsewhere."""
    return nw.when(condition).then(value)


def amount_where(condition: nw.Expr, value: nw.Expr) -> nw.Expr:
    """The value where the condition holds, 0.0 elsewhere."""
    return nw.when(condition).then(value).otherwise(nw.lit(0.0))


def ratio(part: nw.Expr, whole: nw.Expr) -> nw.Expr:
    """part / whole; null where the whole is not positive."""
    return nw.when(whole > 0).then(part / whole)


def lookup(column: str, values: Mapping[str, float]) -> nw.Expr:
    """The number that `values` gives for the text in `column`, 0.0 for any other text."""
    found = nw.lit(0.0)
    for value in sorted(set(values.values()) - {0.0}):
        texts = [text for text, its in values.items() if its == value]
        found = nw.when(nw.col(column).is_in(texts)).then(nw.lit(value)).otherwise(found)
    return found


def spread(
    frame: Frame, over: str, texts: Sequence[str], columns: Sequence[str], totals: Sequence[nw.Expr] = ()
) -> Frame:
    """One row a client: a column `{column}__{text}` for every text in `over`, null without such a row; and totals.

    `frame` has at most one row a client and text; `totals` are aggregations over all of a client's rows.
    One aggregation for everything, as every join costs an engine more than what it computes here.
    """
    wide = {f"{column}__{text}": where(nw.col(over) == text, nw.col(column)) for text in texts for column in columns}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "DataFrame is highly fragmented")  # pandas, of what Narwhals does within
        spread_out = frame.with_columns(**wide) if wide else frame
        return spread_out.group_by(C.CLIENT).agg(*(nw.col(name).max() for name in wide), *totals)
