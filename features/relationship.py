"""A client as pricing takes one, from the bank's tables as known on a day: kind, grade, sales, and what is held."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import narwhals as nw

from catalog import Catalog, Kind
from features.contract import C
from features.positions import STALE_DAYS, last_month, positions_back
from features.tables import Bank, day_number, from_day_number
from pricing import Client, Position
from pricing.book import need_pricing


def client_on(bank: Bank, catalog: Catalog, as_of: dt.date, client_id: str) -> Client:
    """The client with the products open on the day, each as its position stood at the last month-end known.

    Fees are a year's at that month's pace. Attributes are those that are not protected. Raises ValueError where the
    client is not known on the day, or has left, and where the last positions known are older than `STALE_DAYS`.
    """
    pricing = need_pricing(catalog)
    known = bank.known_on(as_of)
    mine = nw.col(C.CLIENT) == client_id
    rows = bank.clients_on(as_of).filter(mine, nw.col(C.JOINED_ON) <= day_number(as_of), nw.col(C.LEFT_ON).is_null())
    found = rows.collect().rows(named=True)
    if not found:
        raise ValueError(f"there is no client {client_id!r} on {as_of}; give the id of one who is active on that day")
    row = found[0]
    held = known["holdings"].filter(mine, nw.col(C.CLOSED_ON).is_null()).select(C.PRODUCT).unique().collect()
    products = set(held[C.PRODUCT].to_list())
    positions = {key: Position() for key in sorted(products) if key in {p.product_id for p in catalog.products}}
    if "positions" in known:
        for position in _last(known, catalog, as_of, client_id):
            if position[C.PRODUCT] in positions:
                numbers = {name: _number(position[name]) for name in (C.BALANCE, C.RATE, C.FEES, C.LIMIT)}
                positions[position[C.PRODUCT]] = Position(
                    numbers[C.BALANCE], numbers[C.RATE], 12 * numbers[C.FEES], numbers[C.LIMIT]
                )
    sales = _number(row.get(pricing.turnover)) if pricing.turnover else math.nan
    return Client(
        client_id,
        Kind(row[C.KIND]),
        None if _missing(row[C.RATING]) else str(row[C.RATING]),
        None if math.isnan(sales) else sales,
        positions,
        {name: _value(row[name]) for name in sorted(bank.attributes) if name not in catalog.policy.protected},
    )


def _last(known: Bank, catalog: Catalog, as_of: dt.date, client_id: str) -> list[dict[str, Any]]:
    positions, day = known["positions"], day_number(as_of)
    told = positions.select(nw.col(C.MONTH).max()).collect().item()
    if told is not None and day - told > STALE_DAYS:
        raise ValueError(
            f"the last month-end of table positions by {as_of} is {from_day_number(int(told))}, more than {STALE_DAYS} "
            "days before: give a day within that time, or newer positions"
        )
    rows = positions_back(positions, last_month(positions, day), catalog, day)
    mine = rows.filter(nw.col(C.CLIENT) == client_id, nw.col("back") == 0)
    return mine.select(C.PRODUCT, C.BALANCE, C.RATE, C.FEES, C.LIMIT).collect().rows(named=True)


def _missing(value: Any) -> bool:
    return value is None or value != value


def _number(value: Any) -> float:
    return math.nan if _missing(value) or isinstance(value, str) else float(value)


def _value(value: Any) -> float | str | None:
    if _missing(value):
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
