"""A client as pricing takes one, from the bank's tables as known on a day: kind, grade, sales, and what is held."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import narwhals as nw

from catalog import Catalog, Kind, Pricing
from features.contract import C
from features.groups import GROUP, members, told
from features.positions import STALE_DAYS, last_month, positions_back
from features.tables import Bank, day_number, from_day_number
from pricing import Client, Position
from pricing.book import need_pricing


def client_on(bank: Bank, catalog: Catalog, as_of: dt.date, client_id: str) -> Client:
    """The client with the products open on the day, each as its position stood at the last month-end known.

    Fees are a year's at that month's pace. Attributes are those that are not protected. Raises ValueError where the
    client is not known on the day, or has left, and where the last positions known are older than `STALE_DAYS`.
    """
    found = _clients(bank, catalog, as_of, [client_id])
    if not found:
        raise ValueError(f"there is no client {client_id!r} on {as_of}; give the id of one who is active on that day")
    return found[0]


def group_on(bank: Bank, catalog: Catalog, as_of: dt.date, client_id: str) -> list[Client]:
    """The active clients of the client's group (`features.groups`), itself too, each as `client_on` gives it; empty
    where it is of none. A rating that the catalog's grades lack counts as unrated, as in profiles: it is not theirs
    that is quoted."""
    if not told(bank):
        return []
    of = members(bank.known_on(as_of), as_of)
    mine = of.filter(nw.col(C.CLIENT) == client_id).select(GROUP)
    ids = of.join(mine, on=GROUP, how="semi").select(C.CLIENT).collect()[C.CLIENT].to_list()
    grades = need_pricing(catalog).grades
    found = _clients(bank, catalog, as_of, ids)
    return [one if one.rating in grades else replace(one, rating=None) for one in found]


def _clients(bank: Bank, catalog: Catalog, as_of: dt.date, client_ids: Sequence[str]) -> list[Client]:
    """Those of the clients who are active on the day, by their ids."""
    pricing = need_pricing(catalog)
    known = bank.known_on(as_of)
    mine = nw.col(C.CLIENT).is_in(client_ids)
    rows = bank.clients_on(as_of).filter(mine, nw.col(C.JOINED_ON) <= day_number(as_of), nw.col(C.LEFT_ON).is_null())
    clients = rows.sort(C.CLIENT).collect().rows(named=True)
    if not clients:
        return []
    sold = {product.product_id for product in catalog.products}
    held: dict[str, dict[str, Position]] = {row[C.CLIENT]: {} for row in clients}
    open_now = known["holdings"].filter(mine, nw.col(C.CLOSED_ON).is_null()).select(C.CLIENT, C.PRODUCT).unique()
    for client_id, product in open_now.sort(C.CLIENT, C.PRODUCT).collect().rows():
        if client_id in held and product in sold:
            held[client_id][product] = Position()
    if "positions" in known:
        for position in _last(known, catalog, as_of, mine):
            theirs = held.get(position[C.CLIENT], {})
            if position[C.PRODUCT] in theirs:
                numbers = {name: _number(position[name]) for name in (C.BALANCE, C.RATE, C.FEES, C.LIMIT)}
                theirs[position[C.PRODUCT]] = Position(
                    numbers[C.BALANCE], numbers[C.RATE], 12 * numbers[C.FEES], numbers[C.LIMIT]
                )
    return [_client(row, bank, catalog, pricing, held[row[C.CLIENT]]) for row in clients]


def _client(
    row: Mapping[str, Any], bank: Bank, catalog: Catalog, pricing: Pricing, held: Mapping[str, Position]
) -> Client:
    sales = _number(row.get(pricing.turnover)) if pricing.turnover else math.nan
    return Client(
        row[C.CLIENT],
        Kind(row[C.KIND]),
        None if _missing(row[C.RATING]) else str(row[C.RATING]),
        None if math.isnan(sales) else sales,
        held,
        {name: _value(row[name]) for name in sorted(bank.attributes) if name not in catalog.policy.protected},
        suitable_until=_day(row, pricing.suitable_until),
        abroad=_flag(row, pricing.abroad),
    )


def _day(row: Mapping[str, Any], name: str | None) -> dt.date | None:
    value = row.get(name) if name else None
    if _missing(value) or value == "":
        return None
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ValueError(
            f"table clients: {name} {value!r} of client {row[C.CLIENT]} is not a day; write it like 2024-12-31"
        ) from None


def _flag(row: Mapping[str, Any], name: str | None) -> bool:
    value = row.get(name) if name else None
    if _missing(value):
        return False
    if isinstance(value, str) or value not in (0, 1):
        raise ValueError(
            f"table clients: {name} {value!r} of client {row[C.CLIENT]} is neither true nor false; write 1 or 0"
        )
    return bool(value)


def _last(known: Bank, catalog: Catalog, as_of: dt.date, mine: nw.Expr) -> list[dict[str, Any]]:
    positions, day = known["positions"], day_number(as_of)
    newest = positions.select(nw.col(C.MONTH).max()).collect().item()
    if newest is not None and day - newest > STALE_DAYS:
        raise ValueError(
            f"the last month-end of table positions by {as_of} is {from_day_number(int(newest))}, more than "
            f"{STALE_DAYS} days before: give a day within that time, or newer positions"
        )
    rows = positions_back(positions, last_month(positions, day), catalog, day)
    last = rows.filter(mine, nw.col("back") == 0)
    return last.select(C.CLIENT, C.PRODUCT, C.BALANCE, C.RATE, C.FEES, C.LIMIT).collect().rows(named=True)


def _missing(value: Any) -> bool:
    return value is None or bool(value != value)


def _number(value: Any) -> float:
    return math.nan if _missing(value) or isinstance(value, str) else float(value)


def _value(value: Any) -> float | str | None:
    if _missing(value):
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
