"""How far a bank's tables reach: the last day that enough rows speak of, and how old each table is as of a day.

A single row dated ahead (an opening of 2205, a standing order of next month) says nothing of how far a table reaches.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import narwhals as nw
import numpy as np

from sheaf.features.bank import Bank, day_number, from_day_number
from sheaf.features.contract import TABLES, C
from sheaf.features.expressions import Frame

FEW = 5  # rows that move nothing: so many, or one in `SHARE` where that is more
SHARE = 1_000
WEEK = 7
YEAR, MONTH = 365, 31
STOPPED = 62  # days: a table that ends so long before the others has stopped
BEFORE = 60  # days with rows that say how closely rows follow one another
REACH = {"holdings": C.OPENED_ON, "positions": C.MONTH, "transactions": C.BOOKED_AT, "offers": C.OFFERED_AT}
"""The column that tells how far a table reaches."""


@dataclass(frozen=True)
class Age:
    """The last day by `supported` that a table has rows of, and how many days that lies before the day asked for."""

    table: str
    last: dt.date
    days: int


def few(rows: int) -> int:
    """Of a table with so many rows, how many move nothing."""
    return max(FEW, rows // SHARE)


def by_day(frame: Frame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The days in a column of day numbers, ascending, and how many rows each has."""
    rows = frame.filter(~nw.col(column).is_null()).group_by(column).agg(nw.len().alias("rows")).collect("pyarrow")
    days = np.array(rows[column].to_list(), dtype=float)
    counts = np.array(rows["rows"].to_list(), dtype=int)
    order = np.argsort(days)
    order = order[np.isfinite(days[order])]
    return days[order], counts[order]


def supported(days: np.ndarray, counts: np.ndarray) -> float | None:
    """The last of the days (ascending) that does not rest on `few` rows; None without rows.

    The few rows before its last one lie within a week of it, or within four times the days that so many rows take
    there. The last day counts as it is in a table of no more than `few` rows.
    """
    total = int(counts.sum())
    if total == 0:
        return None
    margin = few(total)
    reached = np.cumsum(counts)
    first = np.searchsorted(reached, reached - margin)  # the day of the row that stands `margin` rows before the last
    spans = days - days[first]
    for at in range(len(days) - 1, -1, -1):
        if reached[at] <= margin:
            break
        earlier = spans[max(0, at - BEFORE) : at][reached[max(0, at - BEFORE) : at] > margin]
        usual = float(np.median(earlier)) if len(earlier) else np.inf
        if spans[at] <= max(WEEK, 4 * usual):
            return float(days[at])
    return float(days[-1])


def last_opening(bank: Bank) -> dt.date | None:
    """The day of the bank's last opening that enough rows support; None where there is none.

    It is not after `bank.today`. `few` openings after the last positions and bookings move it no further, but where
    those stopped more than `STOPPED` days earlier.
    """
    days, counts = until(*by_day(bank["holdings"], C.OPENED_ON), bank.today)
    last = supported(days, counts)
    if last is None:
        return None
    ends = [end for name in ("positions", "transactions") if (end := _supported_by_many(bank, name)) is not None]
    if ends and (counts.sum() <= FEW or last - max(ends) <= STOPPED):
        there = days <= max(ends)
        if there.any() and few_beyond(max(ends), last, days, counts):
            last = float(days[there][-1])
    return from_day_number(last)


def latest_opening(bank: Bank) -> dt.date | None:
    """The day of the bank's latest opening that is not after `bank.today`, however few rows support it."""
    days, _ = until(*by_day(bank["holdings"], C.OPENED_ON), bank.today)
    return from_day_number(days[-1]) if len(days) else None


def few_beyond(end: float, last: float, days: np.ndarray, counts: np.ndarray) -> bool:
    """Whether no more than `few` rows lie after `end`, up to `last`."""
    return bool(counts[(days > end) & (days <= last)].sum() <= few(int(counts.sum())))


def _supported_by_many(bank: Bank, table: str) -> float | None:
    if table not in bank:
        return None
    days, counts = until(*by_day(bank[table], REACH[table]), bank.today)
    return supported(days, counts) if counts.sum() > FEW else None


def until(days: np.ndarray, counts: np.ndarray, day: dt.date | None) -> tuple[np.ndarray, np.ndarray]:
    """What `by_day` gives, without the days after `day`."""
    there = days <= day_number(day) if day else np.ones(len(days), dtype=bool)
    return days[there], counts[there]


def reach(bank: Bank, table: str, day: dt.date | None = None) -> float | None:
    """The day number up to which a table has rows, of those dated by `day` (default: by `bank.today`); None where it
    has none or is not there."""
    if table not in bank:
        return None
    return supported(*until(*by_day(bank[table], REACH[table]), day or bank.today))


def ages(bank: Bank, day: dt.date) -> list[Age]:
    """How old each of the bank's dated tables is as of the day, in the contract's order."""
    found = []
    for name in TABLES:
        last = reach(bank, name, day) if name in REACH else None
        if last is not None:
            found.append(Age(name, from_day_number(last), day_number(day) - int(last)))
    return found


def begun_within_a_year(bank: Bank, day: dt.date) -> dict[str, dt.date]:
    """The first day of positions and bookings where it lies within the year before the day: sums and means of twelve
    months are then of fewer."""
    found = {}
    for name in ("positions", "transactions"):
        if name in bank:
            first = bank[name].select(nw.col(REACH[name]).min().alias("first")).collect("pyarrow")["first"].to_list()[0]
            if first is not None and day_number(day) - first < YEAR - MONTH:
                found[name] = from_day_number(first)
    return found
