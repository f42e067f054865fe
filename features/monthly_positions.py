"""Positions with the economics of their product, months counted back from the bank's last known month-end."""

from __future__ import annotations

import calendar
import datetime as dt

import narwhals as nw
import pyarrow as pa

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, TableError, day_number, from_day_number
from sheaf.features.contract import C
from sheaf.features.expressions import DAYS_A_MONTH, Frame, lookup, where
from sheaf.features.table_age import by_day, supported
from sheaf.features.windows import with_group_values

LAST_MONTH = "last_month"  # among the tables of some clients: `last_month` of the positions of all
STALE_DAYS = 62  # positions older than two months say nothing about today


def positions_back(positions: Frame, last: Frame, catalog: Catalog, day: int) -> Frame:
    """The catalog's positions of the last thirteen known month-ends, with `back`: 0 the last one, 1 the one before.

    Money is in the reporting currency, by the catalog's rates in every month, so that what moves is no rate's doing.
    `last` is `last_month` of all the bank's positions. Empty where that lies more than `STALE_DAYS` before `day`.
    """
    positions = positions.filter(nw.col(C.PRODUCT).is_in([product.product_id for product in catalog.products]))
    rates = rates_of(catalog)
    if len(rates) > 1:
        rate = lookup(C.CURRENCY, rates | {"": 1.0})
        positions = positions.with_columns(nw.col(C.CURRENCY).fill_null(""))
        positions = positions.with_columns(nw.col(name) * rate for name in (C.BALANCE, C.FEES, C.LIMIT))
    back = ((nw.col("_last") - nw.col(C.MONTH)) / DAYS_A_MONTH).round()
    return (
        positions.filter(nw.col(C.MONTH) > day - STALE_DAYS - 14 * DAYS_A_MONTH)
        .join(last, how="cross")
        .with_columns(back.alias("back"))
        .filter(nw.col("back") <= 12)
    )


def at_month_ends(known: Bank, as_of: dt.date) -> Bank:
    """The bank with one row of positions a client, product and month: the latest known of each month, dated by its end.

    `known` is what was known on the day. Months after the last that enough rows speak of (`sheaf.features.table_age`)
    are left out: a row or two of a next month would be everybody's last month-end, on which the others have nothing.
    """
    if "positions" not in known:
        return known
    day = day_number(as_of)
    recent = known["positions"].filter(nw.col(C.MONTH) > day - STALE_DAYS - 15 * DAYS_A_MONTH)
    days, counts = by_day(recent, C.MONTH)
    ends = {int(one): day_number(month_end(from_day_number(one))) for one in days}
    last = supported(days, counts)
    if last is None or (last == days[-1] and all(one == end for one, end in ends.items())):
        return known
    rows = known["positions"].filter(nw.col(C.MONTH) <= ends[int(last)])
    if any(one != end for one, end in ends.items()):
        told = {C.MONTH: pa.array(ends, pa.float64()), "_end": pa.array(ends.values(), pa.float64())}
        rows = rows.join(known.beside(pa.table(told)), on=C.MONTH, how="inner")
        rows = with_group_values(rows, [C.CLIENT, C.PRODUCT, "_end"], _latest=nw.col(C.MONTH).max())
        rows = rows.filter(nw.col(C.MONTH) == nw.col("_latest"))
        rows = rows.drop(C.MONTH, "_latest").rename({"_end": C.MONTH})
    return known.replaced("positions", rows)


def month_end(day: dt.date) -> dt.date:
    """The last day of the day's month."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def last_month(positions: Frame, day: int) -> Frame:
    """One row, `_last`: the last month-end that positions are known of; no row where that is stale."""
    last = positions.select(nw.col(C.MONTH).max().alias("_last"))
    return last.filter(nw.col("_last") >= day - STALE_DAYS)


def side_of(catalog: Catalog, side: str) -> nw.Expr:
    return nw.col(C.PRODUCT).is_in([product.product_id for product in catalog.products if product.side == side])


def year_margin(catalog: Catalog) -> nw.Expr:
    """A year's margin of a position, as a fraction of its balance.

    Loan: r - t, deposit: t - r, with r the client's rate and t the bank's transfer rate (DOMAIN: funds-transfer
    pricing); the product's `margin` where the position has no rate, and for services.
    """
    rate, transfer = nw.col(C.RATE), nw.lit(catalog.policy.transfer_rate)
    assumed = lookup(C.PRODUCT, {product.product_id: product.margin for product in catalog.products})
    priced = nw.when(side_of(catalog, "deposit")).then(transfer - rate).otherwise(rate - transfer)
    return nw.when(rate.is_null() | side_of(catalog, "service")).then(assumed).otherwise(priced)


def balance_where(condition: nw.Expr) -> nw.Expr:
    return where(condition, nw.col(C.BALANCE)).fill_null(0.0)


def rates_of(catalog: Catalog) -> dict[str, float]:
    """What one unit of a currency is in the catalog's, which is among them."""
    return {catalog.currency: 1.0, **(catalog.pricing.rates if catalog.pricing else {})}


def need_rates(bank: Bank, catalog: Catalog) -> None:
    """Raises TableError where positions are in a currency that the catalog has no rate for."""
    if not bank.has("positions", C.CURRENCY):
        return
    rates = rates_of(catalog)
    others = bank["positions"].filter(~nw.col(C.CURRENCY).fill_null("").is_in([*rates, ""]))
    unknown = sorted(others.select(C.CURRENCY).unique().collect()[C.CURRENCY].to_list())
    if unknown:
        raise TableError(
            f"table positions, column {C.CURRENCY}: the catalog has no rate for {', '.join(map(repr, unknown))}; it "
            f"has {', '.join(rates)}: add the others to pricing.rates, or correct the rows"
        )
