"""A bank made for tests: few products, few clients, and needs that say plainly what is opened next.

Everybody's attribute `need` names the product that is opened often; any other is opened hardly ever. A model that
learned anything is therefore far from one that learned nothing, whatever the figures are.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from sheaf.catalog import Bundle, Catalog, Kind, Line, Product, Range
from sheaf.features import Bank
from sheaf.training import Parameters
from sheaf.training.ranker.bundle_order import COLUMNS, Sample

RETAIL, FIRMS = (Kind.RETAIL,), (Kind.CORPORATE, Kind.INSTITUTION)
DAYS = [dt.date(2025, 10, 30), dt.date(2025, 11, 30)]  # as-of days to train on
LAST_DAY = dt.date(2025, 12, 31)  # of the bank's last opening
MONTHS = 4

CATALOG = Catalog(
    name="made",
    products=(
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
        Product(product_id="exchange", name="Foreign exchange", line=Line.INTERNATIONAL, family="fx", kinds=FIRMS),
        Product(product_id="overdraft", name="Overdraft", line=Line.CORPORATE, family="loans", kinds=FIRMS,
                alone=False),
    ),
    bundles=(
        Bundle(bundle_id="home", name="Home package", products=("mortgage", "insurance"), line=Line.RETAIL,
               kinds=RETAIL, why="A home is financed and insured together."),
        Bundle(bundle_id="trader", name="Trader package", products=("till", "exchange"), line=Line.INTERMEDIARY,
               kinds=FIRMS, where={"region": ("north",)}, why="Who sells abroad takes foreign cards."),
        Bundle(bundle_id="start", name="Start-up package", products=("firm_account", "overdraft"), line=Line.CORPORATE,
               kinds=FIRMS, why="A young firm runs short of cash now and then."),
    ),
)  # fmt: skip
PRODUCTS = [product.product_id for product in CATALOG.products]
OFFERS = ["home", "trader", "start", "account", "card", "mortgage", "insurance", "till", "firm_account", "exchange"]

QUICK = Parameters(
    holdout_share=0.3,
    rounds=20,
    patience=20,
    adoption={"num_leaves": 7, "learning_rate": 0.3, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1.0},
    choice_rounds=5,
    choice={"learning_rate": 0.3, "num_leaves": 4, "min_data_in_leaf": 5},
    ranking_rounds=6,
    ranking={"num_leaves": 7, "learning_rate": 0.1, "min_data_in_leaf": 10},
)


def frames(clients: int = 500, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Tables `clients` and `holdings`; every fourth client is a firm or an institution."""
    rng = np.random.default_rng(seed)
    number = np.arange(clients)
    firm = number % 4 == 0
    wanted = np.where(firm, rng.choice(["till", "exchange", "overdraft"], clients),
                      rng.choice(["card", "mortgage", "insurance"], clients))  # fmt: skip
    people = pd.DataFrame(
        {
            "client_id": [f"c{client:04d}" for client in number],
            "kind": np.where(firm, np.where(number % 8 == 0, "institution", "corporate"), "retail"),
            "joined_on": pd.Timestamp(2020, 1, 1),
            "age": np.where(firm | (number % 10 == 1), np.nan, rng.integers(20, 65, clients)),
            "region": rng.choice(["north", "south", "west"], clients, p=[0.4, 0.4, 0.2]),
            "need": np.char.add("of_", wanted),
        }
    )
    suits = np.array([[Kind(kind) in product.kinds for product in CATALOG.products] for kind in people["kind"]])
    chance = suits * np.where(wanted[:, None] == np.array(PRODUCTS), 0.3, 0.01)
    start = pd.Timestamp(LAST_DAY) + pd.offsets.MonthBegin(-MONTHS)
    basic = np.flatnonzero(rng.random(clients) < 0.8).tolist()
    rows = [(client, np.where(firm, "firm_account", "account")[client], start, pd.NaT) for client in basic]
    closed = np.full(suits.shape, start)  # free again from that day on
    for client, product, *_ in rows:
        closed[client, PRODUCTS.index(product)] = pd.Timestamp.max
    for month in pd.date_range(start, periods=MONTHS, freq="MS"):
        for client, product in np.argwhere((rng.random(suits.shape) < chance) & (closed < month)).tolist():
            opened = month + pd.Timedelta(int(rng.integers(28)), "D")
            end = opened + pd.Timedelta(int(rng.integers(10, 50)), "D") if rng.random() < 0.15 else pd.Timestamp.max
            closed[client, product] = end
            rows.append((client, PRODUCTS[product], opened, end if end <= pd.Timestamp(LAST_DAY) else pd.NaT))
    rows.append((clients - 1, "account", pd.Timestamp(LAST_DAY), pd.NaT))
    holdings = pd.DataFrame(rows, columns=["client_id", "product_id", "opened_on", "closed_on"])
    holdings["client_id"] = people["client_id"].to_numpy()[holdings["client_id"]]
    return {"clients": people, "holdings": holdings.drop_duplicates(["client_id", "product_id", "opened_on"])}


def write(folder: Path, tables: dict[str, pd.DataFrame]) -> Path:
    """The tables as Parquet files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return folder


def write_catalog(path: Path, catalog: Catalog = CATALOG) -> Path:
    """The catalog as the YAML that a product manager would write."""
    content = catalog.model_dump(mode="json", exclude_unset=True)
    for key, name in (("products", "product_id"), ("bundles", "bundle_id")):
        content[key] = {item.pop(name): item for item in content[key]}
    YAML().dump(content, path)
    return path


def bank(clients: int = 500, seed: int = 0) -> Bank:
    """The bank over pandas frames."""
    return Bank.of(**frames(clients, seed))


def bundles_wanted(clients: int = 300, seed: int = 0) -> Sample:
    """For stage two: three bundles a client, of which the one of two parts is worth more than its start says."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(clients), 3)
    x = np.zeros((len(client), len(COLUMNS)), np.float32)
    x[:, COLUMNS.index("brings")] = np.tile([1, 1, 2], clients)
    x[:, COLUMNS.index("expected_gain")] = rng.normal(size=len(client))
    gains = np.where(x[:, COLUMNS.index("brings")] == 2, 2.0, 0.0) * (rng.random(len(client)) < 0.8)
    nothing = np.zeros(len(client))
    return Sample(x, client, gains, nothing > 0, nothing + 1, client % 2)
