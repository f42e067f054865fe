"""What moves through the client's accounts: how much, in which currencies, of which kinds, and whether it grows."""

from __future__ import annotations

import datetime as dt

import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, day_number
from sheaf.features.contract import C
from sheaf.features.expressions import DAYS, Frame, Tables, amount_where, indicator, ratio, spread
from sheaf.features.feature import Feature, count, number

_YEAR = DAYS[12]
_QUARTER = DAYS[3]
_KIND_MONTHS = (1, 3)
_KIND_COLUMNS = tuple(f"{what}_{months}m" for months in _KIND_MONTHS for what in ("in", "out", "transactions"))
_FOREIGN_MONTHS = (3, 12)


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    if "transactions" not in bank:
        return []
    money = catalog.currency
    stated: list[Feature] = []
    for months, days in DAYS.items():
        span = f"in the last {days} days"
        stated += [
            count(f"inflow_{months}m", money, f"Money received {span}.", f"{{value}} {money} came in {span}"),
            count(f"outflow_{months}m", money, f"Money paid {span}.", f"{{value}} {money} went out {span}"),
            count(f"net_{months}m", money, f"Money received less money paid {span}."),
            count(f"transactions_{months}m", "bookings", f"Bookings {span}."),
        ]
    for way, did in (("inflow", "received"), ("outflow", "paid")):
        stated.append(
            number(
                f"{way}_trend",
                "share",
                f"Money {did} a day in the last {_QUARTER} days (a) against the rest of the year (b): "
                "(a - b) / (a + b), from -1, all stopped, to 1, all new.",
            )
        )
    stated.append(
        count(
            "regular_inflow",
            money,
            "Smallest inflow of the last three 30-day months: what comes in every month, as a salary does.",
            f"{{value}} {money} come in every month",
        )
    )
    for months in _FOREIGN_MONTHS:
        span = f"in the last {DAYS[months]} days"
        stated += [
            count(
                f"foreign_in_{months}m",
                money,
                f"Money received in other currencies {span}.",
                f"{{value}} {money} came in from abroad {span}",
            ),
            count(
                f"foreign_out_{months}m",
                money,
                f"Money paid in other currencies {span}.",
                f"{{value}} {money} were paid in other currencies {span}",
            ),
            number(f"foreign_in_share_{months}m", "share", f"Other currencies' share of the money received {span}."),
            number(f"foreign_out_share_{months}m", "share", f"Other currencies' share of the money paid {span}."),
        ]
    stated += [
        count("counterparties_12m", "counterparties", f"Different counterparties in the last {_YEAR} days."),
        count("active_days_3m", "days", f"Days with a booking, of the last {_QUARTER}."),
        number("last_transaction_days", "days", f"Time since the last booking; null without one in {_YEAR} days."),
    ]
    for kind in catalog.policy.transaction_kinds:
        name = kind.replace("_", " ")
        for months in _KIND_MONTHS:
            span = f"in the last {DAYS[months]} days"
            stated += [
                count(
                    f"in_{months}m__{kind}",
                    money,
                    f"Money received by bookings of the kind {kind} {span}.",
                    f"{{value}} {money} came in as {name} {span}",
                ),
                count(
                    f"out_{months}m__{kind}",
                    money,
                    f"Money paid by bookings of the kind {kind} {span}.",
                    f"{{value}} {money} went out as {name} {span}",
                ),
                count(f"transactions_{months}m__{kind}", "bookings", f"Bookings of the kind {kind} {span}."),
            ]
    return stated


def build(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    rows = known["transactions"].filter(nw.col(C.BOOKED_AT) > day_number(as_of) - _YEAR)
    day = day_number(as_of)
    by_kind = _by_kind(rows, catalog.currency, day)
    kinds = catalog.policy.transaction_kinds
    frame = _figures(spread(by_kind, C.KIND, kinds, _KIND_COLUMNS, _totals(by_kind)), kinds)
    for counted in (_counterparties(rows), _active_days(rows, day)):
        frame = frame.join(counted, on=C.CLIENT, how="left")
    return frame


def _within(days: int, day: int, after: int = 0) -> nw.Expr:
    """Booked in the last `days` days, but not in the last `after`."""
    recent = nw.col(C.BOOKED_AT) > day - days
    return recent & (nw.col(C.BOOKED_AT) <= day - after) if after else recent


def _by_kind(rows: Frame, currency: str, day: int) -> Frame:
    """The one pass over all bookings: what is summed, by client and kind; everything else is made of its sums."""
    rows = rows.with_columns(
        amount_where(nw.col(C.AMOUNT) > 0, nw.col(C.AMOUNT)).alias("_in"),
        amount_where(nw.col(C.AMOUNT) < 0, -nw.col(C.AMOUNT)).alias("_out"),
        (~nw.col(C.CURRENCY).fill_null(currency).is_in([currency])).alias("_foreign"),
    )
    sums = {
        f"in_month_{month}": amount_where(_within(30 * month, day, 30 * (month - 1)), nw.col("_in"))
        for month in (1, 2, 3)
    }
    for months, days in DAYS.items():
        recent = _within(days, day)
        sums[f"in_{months}m"] = amount_where(recent, nw.col("_in"))
        sums[f"out_{months}m"] = amount_where(recent, nw.col("_out"))
        sums[f"transactions_{months}m"] = indicator(recent)
        if months in _FOREIGN_MONTHS:
            sums[f"foreign_in_{months}m"] = amount_where(recent & nw.col("_foreign"), nw.col("_in"))
            sums[f"foreign_out_{months}m"] = amount_where(recent & nw.col("_foreign"), nw.col("_out"))
    return (
        rows.select(
            C.CLIENT,
            nw.col(C.KIND).fill_null(""),
            (day - nw.col(C.BOOKED_AT)).alias("last_transaction_days"),
            *(value.alias(name) for name, value in sums.items()),
        )
        .group_by(C.CLIENT, C.KIND)
        .agg(*(nw.col(name).sum() for name in sums), nw.col("last_transaction_days").min())
    )


def _totals(by_kind: Frame) -> list[nw.Expr]:
    keys = (C.CLIENT, C.KIND, "last_transaction_days")
    sums = [name for name in by_kind.collect_schema().names() if name not in keys]
    return [*(nw.col(name).sum() for name in sums), nw.col("last_transaction_days").min()]


def _figures(sums: Frame, kinds: tuple[str, ...]) -> Frame:
    ways = {"inflow": "in", "outflow": "out"}
    return sums.select(
        C.CLIENT,
        "last_transaction_days",
        *(f"transactions_{months}m" for months in DAYS),
        *(f"foreign_{way}_{months}m" for way in ways.values() for months in _FOREIGN_MONTHS),
        *(f"{column}__{kind}" for kind in kinds for column in _KIND_COLUMNS),
        *(nw.col(f"{way}_{months}m").alias(f"{name}_{months}m") for name, way in ways.items() for months in DAYS),
        *((nw.col(f"in_{months}m") - nw.col(f"out_{months}m")).alias(f"net_{months}m") for months in DAYS),
        *(_trend(way).alias(f"{name}_trend") for name, way in ways.items()),
        nw.min_horizontal(*(f"in_month_{month}" for month in (1, 2, 3))).alias("regular_inflow"),
        *(_foreign_share(way, months) for way in ways.values() for months in _FOREIGN_MONTHS),
    )


def _foreign_share(way: str, months: int) -> nw.Expr:
    share = ratio(nw.col(f"foreign_{way}_{months}m"), nw.col(f"{way}_{months}m"))
    return share.alias(f"foreign_{way}_share_{months}m")


def _trend(way: str) -> nw.Expr:
    now = nw.col(f"{way}_3m") / _QUARTER
    before = (nw.col(f"{way}_12m") - nw.col(f"{way}_3m")) / (_YEAR - _QUARTER)
    return ratio(now - before, now + before)


def _counterparties(rows: Frame) -> Frame:
    # unique, then count: engines do this side by side, which a distinct count inside an aggregation is not
    pairs = rows.filter(~nw.col(C.COUNTERPARTY).is_null()).select(C.CLIENT, C.COUNTERPARTY).unique()
    return (
        pairs.with_columns(nw.lit(1.0).alias("counterparties_12m"))
        .group_by(C.CLIENT)
        .agg(nw.col("counterparties_12m").sum())
    )


def _active_days(rows: Frame, day: int) -> Frame:
    days = rows.filter(_within(_QUARTER, day)).select(C.CLIENT, C.BOOKED_AT).unique()
    return days.with_columns(nw.lit(1.0).alias("active_days_3m")).group_by(C.CLIENT).agg(nw.col("active_days_3m").sum())
