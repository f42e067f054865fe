"""A bank made for tests: few products, few clients, and needs that say plainly what is opened next.

The last letter of `need` names what a client wants; it opens that product often, another one hardly ever. A model that
learned anything is therefore far from one that learned nothing, whatever the figures are.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd

from catalog import Bundle, Catalog, Kind, Line, Product, Range
from training import Parameters

RETAIL, FIRMS = (Kind.RETAIL,), (Kind.CORPORATE, Kind.INSTITUTION)
LAST_DAY = dt.date(2025, 12, 31)
DAYS = [dt.date(2025, 9, 30), dt.date(2025, 10, 31), dt.date(2025, 11, 30)]
MONTHS = 8

PRODUCTS = (
    Product(product_id="account", name="Current account", line=Line.RETAIL, family="accounts", kinds=RETAIL,
            side="deposit", margin=0.01, balance=2_000.0, attributes={"digital": 1.0}),
    Product(product_id="card", name="Credit card", line=Line.RETAIL, family="cards", kinds=RETAIL, annual_fee=40.0),
    Product(product_id="mortgage", name="Mortgage", line=Line.RETAIL, family="loans", kinds=RETAIL,
            where={"age": Range(min=18, max=70)}, side="asset", margin=0.02, balance=150_000.0),
    Product(product_id="insurance", name="Home insurance", line=Line.INTERMEDIARY, family="insurance", kinds=RETAIL,
            where={"region": ("north", "south")}, annual_fee=200.0),
    Product(product_id="till", name="Card acquiring", line=Line.INTERMEDIARY, family="payments", kinds=FIRMS,
            annual_fee=300.0),
    Product(product_id="firm_account", name="Business account", line=Line.CORPORATE, family="accounts", kinds=FIRMS,
            attributes={"digital": 1.0}),
    Product(product_id="exchange", name="Foreign exchange", line=Line.INTERNATIONAL, family="exchange", kinds=FIRMS),
    Product(product_id="overdraft", name="Overdraft", line=Line.CORPORATE, family="loans", kinds=FIRMS, alone=False),
)  # fmt: skip
BUNDLES = (
    Bundle(bundle_id="home", name="Home package", products=("mortgage", "insurance"), line=Line.RETAIL, kinds=RETAIL,
           why="A home is financed and insured together."),
    Bundle(bundle_id="trader", name="Trader package", products=("till", "exchange"), line=Line.INTERMEDIARY,
           kinds=FIRMS, where={"region": ("north",)}, why="Who sells abroad takes foreign cards."),
    Bundle(bundle_id="firm_start", name="Start-up package", products=("firm_account", "overdraft"),
           line=Line.CORPORATE, kinds=FIRMS, why="A young firm runs short of cash now and then."),
)  # fmt: skip
CATALOG = Catalog(name="made", products=PRODUCTS, bundles=BUNDLES)

QUICK = Parameters(
    folds=2,
    holdout_share=0.3,
    rounds=12,
    patience=12,
    adoption={"num_leaves": 7, "learning_rate": 0.3, "min_data_in_leaf": 10},
    ranking_rounds=8,
    ranking={"num_leaves": 7, "learning_rate": 0.1, "min_data_in_leaf": 10},
)


def frames(clients: int = 500, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Tables `clients` and `holdings` of a bank of which every fourth client is a firm; the rest are people."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"c{number:04d}" for number in range(clients)])
    firm = np.arange(clients) % 4 == 0
    wanted = np.where(firm, rng.choice(["till", "exchange", "overdraft"], clients),
                      rng.choice(["card", "mortgage", "insurance"], clients))  # fmt: skip
    kind = np.where(firm, np.where(np.arange(clients) % 8 == 0, "institution", "corporate"), "retail")
    people = pd.DataFrame(
        {
            "client_id": ids,
            "kind": kind,
            "joined_on": dt.date(2020, 1, 1),
            "age": np.where(rng.random(clients) < 0.1, np.nan, np.where(firm, np.nan, rng.integers(20, 65, clients))),
            "region": rng.choice(["north", "south", "west"], clients, p=[0.5, 0.4, 0.1]),
            "need": [f"of_{product}" for product in wanted],
        }
    )
    lead = np.where(firm, "firm_account", "account")
    rows = [(ids[c], lead[c], dt.date(2020, 2, 1), None) for c in range(clients) if rng.random() < 0.8]
    own = {product: [kinds for kinds in (RETAIL, FIRMS) if p.kinds == kinds][0] for p in PRODUCTS
           for product in [p.product_id]}  # fmt: skip
    held: set[tuple[int, str]] = {(int(row[0][1:]), row[1]) for row in rows}
    for month in range(MONTHS):
        first = dt.date(2025, 12 - MONTHS + month + 1, 1)
        for client in range(clients):
            for product, kinds in own.items():
                if (client, product) in held or Kind(kind[client]) not in kinds:
                    continue
                if rng.random() < (0.12 if wanted[client] == product else 0.01):
                    day = first + dt.timedelta(days=int(rng.integers(28)))
                    if rng.random() < 0.4:
                        closed = day + dt.timedelta(days=int(rng.integers(20, 60)))
                        rows.append((ids[client], product, day, closed if closed <= LAST_DAY else None))
                    else:
                        rows.append((ids[client], product, day, None))
                        held.add((client, product))
    rows.append((ids[1], "card", LAST_DAY, None))
    holdings = pd.DataFrame(rows, columns=["client_id", "product_id", "opened_on", "closed_on"])
    holdings = holdings.drop_duplicates(["client_id", "product_id", "opened_on"])
    return {"clients": people, "holdings": holdings}
