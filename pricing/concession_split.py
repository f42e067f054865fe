"""A concession spread over what a client pays: margins, fixed fees and unit prices of the components, to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from sheaf.catalog import Product, Sheet
from sheaf.catalog.price_schema import Benefit
from sheaf.pricing.money import cents, decimal, split
from sheaf.pricing.price_table import ELEMENTS, FEES, SPREADS


@dataclass(frozen=True)
class Element:
    """One thing that a client pays for a product: `kind` is `rate`, `balance`, `fee` or `unit`.

    Money a year: `list_amount` less `concession` is `amount`. `list_price` and `price` are what the contract says: the
    client's rate, a fraction of the balance, the fee, or the price a unit. `benefit` is how the concession is put.
    """

    kind: str
    list_amount: Decimal
    concession: Decimal
    amount: Decimal
    list_price: float
    price: float
    benefit: Benefit | None


def spread(total: int, room: np.ndarray, sheets: list[Sheet]) -> np.ndarray:
    """(products, elements): `total` cents spread over the elements in proportion to their room, none beyond it.

    Fixed fees that may only be waived go first, from the smallest, and wholly or not at all. What finds no room is not
    conceded: the parts then add up to less than `total`.
    """
    rooms = np.floor(np.nan_to_num(room) * 100 + 1e-6).astype(np.int64)
    found = np.zeros_like(rooms)
    left = total
    fee = ELEMENTS.index("fee")
    only_waived = [at for at, sheet in enumerate(sheets) if set(sheet.benefits) & FEES == {"waive"}]
    for at in sorted(only_waived, key=lambda at: int(rooms[at, fee])):
        if rooms[at, fee] <= left:
            found[at, fee] = rooms[at, fee]
            left -= int(rooms[at, fee])
        rooms[at, fee] = 0
    left = min(left, int(rooms.sum()))
    parts: np.ndarray = found + split(left, rooms.ravel().astype(float)).reshape(rooms.shape)
    return parts


def elements(
    product: Product,
    sheet: Sheet,
    funds: float,
    margin: float,
    amounts: np.ndarray,
    conceded: np.ndarray,
    balance: float,
) -> tuple[Element, ...]:
    """What the client pays for the product; `amounts` (3,) money a year at list price, `conceded` (3,) cents."""
    side = {"asset": 1, "deposit": -1, "service": 0}[product.side]
    unit = sheet.unit_price or 0.0
    prices = (funds + side * margin if side else margin, float(amounts[1]), unit)
    found = []
    for kind, amount, given, price in zip(ELEMENTS, amounts, conceded, prices, strict=True):
        if not amount:
            continue
        listed, given = cents(float(amount)), int(given)
        share = given / 100 / amount
        offered = price * (1 - share)
        if kind == "margin" and side:
            offered = price - side * given / 100 / balance
        elif kind == "fee":
            offered = (listed - given) / 100
        name = {"margin": "rate" if side else "balance"}.get(kind, kind)
        benefit = _benefit(kind, sheet, listed, given) if given else None
        money = (decimal(listed), decimal(given), decimal(listed - given))
        found.append(Element(name, *money, price, float(offered), benefit))
    return tuple(found)


def _benefit(kind: str, sheet: Sheet, listed: int, given: int) -> Benefit:
    """How the concession is put: a fee that is gone is waived, else the first way of the sheet that fits."""
    if kind == "fee" and given == listed and "waive" in sheet.benefits:
        return "waive"
    fitting = {"margin": SPREADS, "fee": FEES - {"waive"}, "unit": SPREADS | FEES - {"waive"}}[kind]
    return next((benefit for benefit in sheet.benefits if benefit in fitting), "waive")
