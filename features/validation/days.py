"""What `sheaf check` says of days: those that lie ahead of the bank, tables that stopped, and months told twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

import ibis
import ibis.expr.types as ir
import numpy as np

from sheaf.features.bank import day_number, from_day_number
from sheaf.features.contract import TABLES, C, Type
from sheaf.features.monthly_positions import month_end
from sheaf.features.table_age import STOPPED, few_beyond, supported, until

MANY = 100  # openings: a bank that has had fewer may well have none for two months
ALWAYS_TELL = {"positions": C.MONTH, "transactions": C.BOOKED_AT}
OFTEN_TELL = (("clients", C.JOINED_ON), ("holdings", C.OPENED_ON), ("offers", C.OFFERED_AT), ("offers", C.RESPONDED_AT))
PLANNED = 50  # years: a term deposit, a loan or a link may have an end that is planned, and none so far ahead
NEVER = dt.date(1900, 1, 1)  # what systems write for a day that they do not know
EARLY = "give the true day; leave it empty where it is not known and need not be"
Broken = tuple[str, str, str, Callable[[ir.Table], ir.BooleanValue]]  # column, problem, remedy, where it is so


def reached(typed: Mapping[str, ir.Table], today: dt.date | None) -> tuple[dt.date | None, dict[str, dt.date]]:
    """The last day that the bank's tables tell of, and that of `holdings`, `positions` and `transactions` alone.

    The bank's is the later one of the last month of positions and the last booking, or a later one that more than a few
    clients, openings or offers support; None without positions and bookings.
    """
    alone: dict[str, dt.date] = {}
    end: dt.date | None = None
    for name, column in (*ALWAYS_TELL.items(), *OFTEN_TELL):
        if name not in typed or column not in typed[name].columns:
            continue
        days, counts = until(*_by_day(typed[name], column), today)
        last = supported(days, counts)
        if last is None:
            continue
        if name in ALWAYS_TELL or (column == C.OPENED_ON and counts.sum() >= MANY):
            alone[name] = from_day_number(last)
        if name in ALWAYS_TELL or (end is not None and not few_beyond(day_number(end), last, days, counts)):
            end = max(_end(name, last), end or dt.date.min)
    return end, alone


def ahead(
    table: str, typed: ir.Table, last: dt.date | None, today: dt.date | None, opened: dt.date | None
) -> Iterator[Broken]:
    """Days that lie after today, or after the last that the bank's tables tell of; where they tell of none, openings
    after the last that enough of them support, `opened`. A planned end may lie `PLANNED` years after that."""
    for column in TABLES[table].columns:
        if column.type is not Type.DAY or column.name not in typed.columns:
            continue
        yield column.name, f"{NEVER} or before, which stands for not known", EARLY, _up_to(column.name, NEVER)
        if column.name in TABLES[table].planned:
            if known := today or last or opened:
                bound = known.replace(day=1, year=known.year + PLANNED)
                problem = f"after {bound}, more than {PLANNED} years ahead"
                yield (
                    column.name,
                    problem,
                    "correct the day; leave the end of what still holds empty",
                    _after(column.name, bound, None),
                )
            continue
        remedy = "correct the day, or hand over the tables up to it"
        if column.name in TABLES[table].ends:
            remedy = "correct the day; leave the end of what still holds empty"
        if today is not None:
            yield column.name, f"after today, {today}", remedy, _after(column.name, today, None)
        end = opened if last is None and column.name == C.OPENED_ON else last
        if end is not None and (today is None or end < today):
            problem = f"after {end}, the last day that enough of the bank's rows speak of"
            yield column.name, problem, remedy, _after(column.name, end, today)


def stopped(last: dt.date | None, alone: Mapping[str, dt.date]) -> Iterator[tuple[str, str, str, str]]:
    """Tables that end long before the bank's last day: name, column, problem, remedy."""
    for name in TABLES:
        if last is None or name not in alone or (days := (last - alone[name]).days) <= STOPPED:
            continue
        problem = f"ends on {alone[name]}, {days:,} days before the bank's last day, {last}"
        remedy = "hand over the rest, or leave the table out: what it tells of later days is not known"
        yield name, ALWAYS_TELL.get(name, C.OPENED_ON), problem, remedy


def no_month_end() -> Broken:
    remedy = "give the month's last day; of several days in a month, the latest counts"
    return C.MONTH, "not the last day of a month", remedy, lambda t: (t[C.MONTH] + ibis.interval(days=1)).day() != 1


def months_told_twice(typed: ir.Table) -> ir.Table | None:
    """Clients and products with several days in one month, a row each; None where the columns are not there."""
    key = [C.CLIENT, C.PRODUCT]
    if not {*key, C.MONTH} <= {*typed.columns}:
        return None
    months = typed.filter(typed[C.MONTH].notnull()).group_by([*key, typed[C.MONTH].truncate("M").name("_of")])
    told = months.aggregate(days=ibis._[C.MONTH].nunique(), rows=ibis._.count(), **{C.MONTH: ibis._[C.MONTH].max()})
    return told.filter(told.days > 1)


def _after(column: str, day: dt.date, until: dt.date | None) -> Callable[[ir.Table], ir.BooleanValue]:
    if until is None:
        return lambda t: t[column] > ibis.literal(day)
    return lambda t: (t[column] > ibis.literal(day)) & (t[column] <= ibis.literal(until))


def _up_to(column: str, day: dt.date) -> Callable[[ir.Table], ir.BooleanValue]:
    return lambda t: t[column] <= ibis.literal(day)


def _end(table: str, last: float) -> dt.date:
    day = from_day_number(last)
    return month_end(day) if table == "positions" else day


def _by_day(typed: ir.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    rows = typed.filter(typed[column].notnull()).group_by(day=typed[column]).aggregate(rows=ibis._.count())
    found = sorted((day_number(row["day"]), row["rows"]) for row in rows.to_pyarrow().to_pylist())
    return np.array([day for day, _ in found], dtype=float), np.array([count for _, count in found], dtype=int)
