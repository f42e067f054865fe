"""What `sheaf check` says of months that are missing or there twice, and of parts of a table that stopped.

What a table does not tell reads as 0, still held or unchanged. Each rule wants a hundred rows, and more than their
usual coming and going explains.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

import ibis
import ibis.expr.types as ir
import numpy as np

from sheaf.features.contract import C
from sheaf.features.table_age import STOPPED

MANY = 100  # rows: of fewer, a pause may be chance
REGULAR = 6  # months in a row with rows, from which a part of a table is expected in the next
LEAST = 20  # rows of a month, of what is said to have stopped or to lack rows
PART = 0.5  # of the months beside it: a month with fewer rows was handed over in part
COPIED = (1.7, 10)  # rows for every different one, of a month that counts as handed over more than once
PARTS = {"positions": (C.PRODUCT,), "transactions": (C.KIND,)}
AMOUNTS = {"positions": (C.BALANCE, C.RATE, C.FEES, C.LIMIT)}
DATED = {"positions": C.MONTH, "transactions": C.BOOKED_AT}
CHANGES = (
    ("holdings", C.CLOSED_ON, "reads as held ever since"),
    ("clients", C.LEFT_ON, "reads as a client ever since"),
    ("clients", C.VALID_FROM, "reads as unchanged ever since"),
)
Told = tuple[str, str, str, int, str]  # table, column, problem, rows, remedy
Months = dict[int, int]  # by month, counted from the year 0, how many rows


def incomplete(typed: Mapping[str, ir.Table], last: dt.date | None) -> Iterator[Told]:
    """Everything of the kind, of a bank whose last day is `last`; nothing where no table tells that."""
    if last is None:
        return
    for name, column in DATED.items():
        if name in typed and column in typed[name].columns:
            rows = typed[name].filter(typed[name][column] <= ibis.literal(last))
            all_months = _by_month(rows, column)
            if not all_months:
                continue
            yield from ((name, column, *one) for one in _missing(all_months, name))
            end = max(all_months)
            for part in (one for one in PARTS[name] if one in rows.columns):
                for value, months in _by_part(rows, column, part).items():
                    yield from ((name, part, *one) for one in _stopped(months, end, f"rows of {value!r} end"))
            for amount in (one for one in AMOUNTS.get(name, ()) if one in rows.columns):
                months = _by_month(rows.filter(rows[amount].notnull()), column)
                yield from ((name, amount, *one) for one in _stopped(months, end, "is empty later: values end"))
    if "transactions" in typed and C.BOOKED_AT in typed["transactions"].columns:
        yield from _copied(typed["transactions"])
    for name, column, reads in CHANGES:
        if name in typed and column in typed[name].columns:
            yield from _changes(typed[name], name, column, last, reads)


def _by_month(rows: ir.Table, column: str) -> Months:
    month = (rows[column].year() * 12 + rows[column].month() - 1).name("month")
    found = rows.filter(rows[column].notnull()).group_by(month).aggregate(rows=ibis._.count())
    return {row["month"]: row["rows"] for row in found.order_by("month").to_pyarrow().to_pylist()}


def _by_part(rows: ir.Table, column: str, part: str) -> dict[str, Months]:
    month = (rows[column].year() * 12 + rows[column].month() - 1).name("month")
    there = rows.filter(rows[column].notnull() & rows[part].notnull())
    found = there.group_by([there[part].name("part"), month]).aggregate(rows=ibis._.count())
    parts: dict[str, Months] = {}
    for row in found.order_by("part", "month").to_pyarrow().to_pylist():
        parts.setdefault(row["part"], {})[row["month"]] = row["rows"]
    return parts


def _missing(months: Months, table: str) -> Iterator[tuple[str, int, str]]:
    """Months without rows between others, and months of positions with half as many as those beside them."""
    if sum(months.values()) < MANY:
        return
    whole = range(min(months), max(months) + 1)
    if gone := [month for month in whole if month not in months]:
        problem = f"no rows in {_listed(gone)}, between months that have some"
        yield problem, 0, "hand over these months: sums and means take them for 0"
    if table != "positions":
        return
    beside = {month: [months[at] for at in (month - 1, month + 1) if at in months] for month in months}
    begins = min(months)
    few = [month for month, rows in months.items() if month != begins and beside[month]
           and min(beside[month]) >= LEAST and rows < PART * min(beside[month])]  # fmt: skip
    if few:
        problem = f"less than half the rows of the months beside in {_listed(few)}"
        yield problem, sum(months[month] for month in few), "hand over these months as a whole: what lacks counts as 0"


def _stopped(months: Months, last: int, what: str) -> Iterator[tuple[str, int, str]]:
    """A part that came every month, in full to its end, and has ended two months or more before the table."""
    if sum(months.values()) < MANY:
        return
    end = max(months)
    recent = [months.get(end - back, 0) for back in range(REGULAR)]
    full = max(recent[:2]) >= max(LEAST, PART * max(months.values()))
    if all(recent) and full and last - end > STOPPED // 31:
        yield f"{what} in {_listed([end])}", 0, "hand over the rest: what is not there counts as 0"


def _copied(bookings: ir.Table) -> Iterator[Told]:
    """Months in which most bookings are there more than once, each alike in all columns."""
    names = [name for name in bookings.columns if bookings[name].type().is_string() or name in (C.BOOKED_AT, C.AMOUNT)]
    there = bookings.filter(bookings[C.BOOKED_AT].notnull())
    text = ibis.literal("")
    for name in names:
        text = text + there[name].cast("string").fill_null("") + "|"
    month = (there[C.BOOKED_AT].year() * 12 + there[C.BOOKED_AT].month() - 1).name("month")
    counted = there.select(month, text=text).group_by("month")
    found = counted.aggregate(rows=ibis._.count(), different=ibis._.text.approx_nunique())
    times = found.rows / found.different
    twice = found.filter(found.rows >= MANY, times.between(*COPIED)).order_by("month")
    told = {row["month"]: row["rows"] for row in twice.to_pyarrow().to_pylist()}
    if told:
        problem = f"most bookings of {_listed(list(told))} are there more than once"
        yield "transactions", C.BOOKED_AT, problem, sum(told.values()), "hand over each file once"


def _changes(typed: ir.Table, table: str, column: str, last: dt.date, reads: str) -> Iterator[Told]:
    """Changes that came often and ended: four times as long ago as the longest of their last pauses."""
    there = typed.filter(typed[column].notnull() & (typed[column] <= ibis.literal(last)))
    found = there.group_by(day=there[column]).aggregate(rows=ibis._.count()).order_by("day").to_pyarrow().to_pylist()
    days = [row["day"] for row in found]
    if sum(row["rows"] for row in found) < MANY or len(days) < 3:
        return
    pauses = np.diff([day.toordinal() for day in days[-60:]])
    since = (last - days[-1]).days
    if since > max(STOPPED, 4 * int(pauses.max())):
        problem = f"ends on {days[-1]}, {since:,} days before the bank's last day, {last}"
        yield table, column, problem, 0, f"hand over the rest: what changed later {reads}"


def _listed(months: list[int]) -> str:
    texts = [f"{month // 12}-{month % 12 + 1:02}" for month in months]
    return ", ".join(texts[:5]) + (", …" if len(texts) > 5 else "")
