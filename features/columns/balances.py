"""What the client has with the bank: balances by side and product, how they move, limits, rates and fees.

All of it stands at the bank's last known month-end and is null where that is more than two months old; otherwise a
client without positions has balances of 0.
"""

from __future__ import annotations

import datetime as dt

import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, day_number
from sheaf.features.contract import C
from sheaf.features.expressions import Frame, Tables, amount_where, ratio, spread
from sheaf.features.feature import Feature, number
from sheaf.features.monthly_positions import LAST_MONTH, balance_where, positions_back, side_of

_SIDES = {"deposits": "deposit", "loans": "asset"}
_MEANS = (3, 12)  # month-ends


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    if "positions" not in bank:
        return []
    money = catalog.currency
    stated: list[Feature] = []
    for name in _SIDES:
        stated.append(
            number(
                name,
                money,
                f"Balance of all {name} at the last known month-end.",
                f"Has {{value}} {money} of {name} with us",
            )
        )
        stated += [
            number(f"{name}_mean_{months}m", money, f"Mean balance of all {name} over the last {months} month-ends.")
            for months in _MEANS
        ]
        stated += [
            number(f"{name}_change_{months}m", money, f"Change of the balance of all {name} over {months} months.")
            for months in _MEANS
        ]
    stated += [
        number(
            "deposit_spread", "fraction a year", "Transfer rate less the client's rate, deposits weighted by balance."
        ),
        number(
            "loan_spread", "fraction a year", "The client's rate less the transfer rate, loans weighted by balance."
        ),
        number("limit", money, "Sum of all limits."),
        number("limit_use", "share", "Share of the limits that is drawn.", "Uses {value} of the limit"),
        number("fees_12m", money, "Fees of the last 12 month-ends.", f"Paid {{value}} {money} of fees in a year"),
    ]
    return stated + [
        number(f"balance__{product.product_id}", money, f"Balance of {product.name}.") for product in catalog.products
    ]


def build(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    day = day_number(as_of)
    last = known[LAST_MONTH]
    rows = positions_back(known["positions"], last, catalog, day)
    products = [product.product_id for product in catalog.products]
    now = rows.filter(nw.col("back") == 0).group_by(C.CLIENT, C.PRODUCT).agg(nw.col(C.BALANCE).sum())
    totals = _totals(rows, catalog)
    # who has no rows has no balance, as long as the bank's positions are fresh
    fresh = clients.select(C.CLIENT).join(last, how="cross").select(C.CLIENT)
    frame = fresh.join(totals, on=C.CLIENT, how="left").join(
        spread(now, C.PRODUCT, products, [C.BALANCE]), on=C.CLIENT, how="left"
    )
    without = ("deposit_spread", "loan_spread", "limit_use")
    filled = [name for name in frame.collect_schema().names() if name not in (C.CLIENT, *without)]
    return frame.select(C.CLIENT, *without, *(nw.col(name).fill_null(0.0) for name in filled))


def _totals(rows: Frame, catalog: Catalog) -> Frame:
    back = nw.col("back")
    columns: dict[str, nw.Expr] = {}
    for name, side in _SIDES.items():
        of_side = side_of(catalog, side)
        columns[name] = balance_where(of_side & (back == 0))
        for months in _MEANS:
            columns[f"{name}_sum_{months}m"] = balance_where(of_side & (back < months))
            columns[f"{name}_then_{months}m"] = balance_where(of_side & (back == months))
        priced = of_side & (back == 0) & ~nw.col(C.RATE).is_null()
        columns[f"{name}_priced"] = balance_where(priced)
        columns[f"{name}_interest"] = amount_where(priced, nw.col(C.BALANCE) * nw.col(C.RATE)).fill_null(0.0)
    limited = (back == 0) & (nw.col(C.LIMIT) > 0)
    columns["limit"] = amount_where(limited, nw.col(C.LIMIT))
    columns["drawn"] = balance_where(limited)
    columns["fees_12m"] = amount_where(back < 12, nw.col(C.FEES)).fill_null(0.0)
    sums = (
        rows.select(C.CLIENT, *(value.alias(name) for name, value in columns.items()))
        .group_by(C.CLIENT)
        .agg(*(nw.col(name).sum() for name in columns))
    )
    transfer = catalog.policy.transfer_rate
    rate = {name: ratio(nw.col(f"{name}_interest"), nw.col(f"{name}_priced")) for name in _SIDES}
    return sums.select(
        C.CLIENT,
        *_SIDES,
        *((nw.col(f"{name}_sum_{n}m") / n).alias(f"{name}_mean_{n}m") for name in _SIDES for n in _MEANS),
        *((nw.col(name) - nw.col(f"{name}_then_{n}m")).alias(f"{name}_change_{n}m") for name in _SIDES for n in _MEANS),
        (transfer - rate["deposits"]).alias("deposit_spread"),
        (rate["loans"] - transfer).alias("loan_spread"),
        "limit",
        ratio(nw.col("drawn"), nw.col("limit")).alias("limit_use"),
        "fees_12m",
    )
