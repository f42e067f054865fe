"""Small banks for the tests of the profiles: one with a hand-made row of each sort, and generated ones."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from sheaf.catalog import Catalog, Line, Policy, Product
from sheaf.features import Bank, build_profiles
from sheaf.features.contract import TABLES, Relation, Type

DAY = dt.date(2024, 6, 30)

CATALOG = Catalog(
    name="small",
    products=(
        Product(
            product_id="account",
            name="Account",
            line=Line.RETAIL,
            family="a",
            side="deposit",
            margin=0.01,
            annual_fee=24.0,
            balance=1000.0,
        ),
        Product(
            product_id="loan", name="Loan", line=Line.CORPORATE, family="l", side="asset", margin=0.02, balance=50000.0
        ),
        Product(product_id="card", name="Card", line=Line.RETAIL, family="c", annual_fee=12.0),
    ),
    policy=Policy(transfer_rate=0.03, transaction_kinds=("card", "salary")),
)
PRODUCTS = [product.product_id for product in CATALOG.products]


def frame(table: str, rows: list[dict[str, Any]], **attributes: str) -> pd.DataFrame:
    """The rows as the contract's table, typed also where there are none; `attributes` are further columns' dtypes."""
    dtypes = {Type.DAY: "datetime64[s]", Type.NUMBER: "float64"}
    columns = {column.name: dtypes.get(column.type, "str") for column in TABLES[table].columns} | attributes
    data = pd.DataFrame(rows, columns=list(columns))
    return data.astype(columns)


def bank(**tables: list[dict[str, Any]]) -> Bank:
    """A bank of pandas frames from rows by table; rows may leave out columns."""
    return Bank.of(**{name: frame(name, rows) for name, rows in tables.items()})


def client(client_id: str, joined_on: str = "2020-06-30", kind: str = "retail", **more: Any) -> dict[str, Any]:
    return {"client_id": client_id, "kind": kind, "joined_on": joined_on, **more}


def profiles(bank: Bank, catalog: Catalog = CATALOG, as_of: dt.date = DAY, cohort: Any = None) -> pd.DataFrame:
    """The bank's profiles in the order of the clients, indexed by them."""
    return build_profiles(bank, catalog, as_of, cohort).to_pandas().set_index("client_id")


def written(tables: dict[str, pd.DataFrame], folder: Path) -> Bank:
    """The same tables as Parquet files, read by DuckDB."""
    folder.mkdir()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return Bank.open(folder)


# Generated banks. What is known on DAY is drawn once; what is dated later is drawn apart, so that two banks can share
# the one and differ in the other.

Rows = dict[str, list[dict[str, Any]]]
IDS = [f"c{number}" for number in range(5)]


def days(first: int, last: int) -> st.SearchStrategy[pd.Timestamp]:
    return st.integers(first, last).map(lambda days: pd.Timestamp(DAY) + pd.Timedelta(days, "D"))


PAST = days(-800, 0)
FUTURE = days(1, 400)
MONTH_ENDS = st.integers(0, 14).map(lambda n: pd.Timestamp(DAY) - pd.offsets.MonthEnd(n) if n else pd.Timestamp(DAY))
AMOUNTS = st.integers(-1_000_000, 1_000_000).map(lambda cents: cents / 100)
ids = st.sampled_from(IDS)
products = st.sampled_from(PRODUCTS)
ENDS = {"clients": ["left_on"], "holdings": ["closed_on"], "links": ["until"], "offers": ["responded_at"]}


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _attributes() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "kind": st.sampled_from(["retail", "corporate", "institution"]),
        "sector": maybe(st.sampled_from(["farm", "trade"])),
        "rating": maybe(st.sampled_from(["A", "B"])),
        "age": maybe(st.integers(1, 90).map(float)),
        "segment": maybe(st.sampled_from(["top", "mass"])),
        "reviewed_on": maybe(PAST),
        "religion": maybe(st.sampled_from(["x", "y"])),
    }


def _rows(dated: st.SearchStrategy[pd.Timestamp], month: st.SearchStrategy[pd.Timestamp]) -> dict[str, Any]:
    """A strategy for a row of every table, each dated by `dated`."""
    return {
        "holdings": st.fixed_dictionaries({"client_id": ids, "product_id": products, "opened_on": dated}),
        "positions": st.fixed_dictionaries(
            {
                "client_id": ids,
                "product_id": products,
                "month": month,
                "balance": maybe(AMOUNTS.map(abs)),
                "rate": maybe(st.integers(0, 90).map(lambda n: n / 1000)),
                "fees": maybe(AMOUNTS),
                "limit": maybe(AMOUNTS),
            }
        ),
        "transactions": st.fixed_dictionaries(
            {
                "client_id": ids,
                "booked_at": dated,
                "amount": AMOUNTS,
                "currency": maybe(st.sampled_from(["EUR", "USD"])),
                "kind": maybe(st.sampled_from(["card", "salary", "unlisted"])),
                "channel": st.none(),
                "counterparty_id": maybe(st.sampled_from(["x", "y", "z"])),
            }
        ),
        "links": st.fixed_dictionaries(
            {"client_id": ids, "linked_id": ids, "relation": st.sampled_from([*map(str, Relation)]), "since": dated}
        ),
        "offers": st.fixed_dictionaries({"client_id": ids, "bundle_id": st.just("b"), "offered_at": dated}),
    }


@st.composite
def pasts(draw: st.DrawFn) -> Rows:
    """Rows dated up to DAY, with ends up to DAY or still open."""
    rows: Rows = {}
    clients = draw(st.lists(ids, unique=True, min_size=1))
    rows["clients"] = []
    for client_id in clients:
        joined_on = draw(PAST)
        for valid_from in draw(st.lists(maybe(PAST), unique=True, min_size=1, max_size=2)):
            row = {name: draw(strategy) for name, strategy in _attributes().items()}
            row |= {"client_id": client_id, "joined_on": joined_on, "valid_from": valid_from, "left_on": None}
            rows["clients"].append(row)
    for name, strategy in _rows(PAST, MONTH_ENDS).items():
        rows[name] = draw(st.lists(strategy, max_size=12))
        for row in rows[name]:
            for end in ENDS.get(name, []):
                row[end] = draw(maybe(days(-300, 0)))
                if name == "offers" and row[end] is not None:
                    row["outcome"] = draw(st.sampled_from(["accepted", "rejected"]))
    return rows


@st.composite
def futures(draw: st.DrawFn, past: Rows) -> Rows:
    """The past with what comes after DAY: ends of what is open, and further rows of every table."""
    rows = {name: [dict(row) for row in table] for name, table in past.items()}
    for name, ends in ENDS.items():
        for row in rows[name]:
            for end in ends:
                if row[end] is None:
                    row[end] = draw(maybe(FUTURE))
                    if name == "offers":
                        row["outcome"] = draw(maybe(st.sampled_from(["accepted", "rejected", "ignored"])))
    for row in rows["clients"]:
        row["reviewed_on"] = row["reviewed_on"] or draw(maybe(FUTURE))
    for name, strategy in _rows(FUTURE, FUTURE).items():
        rows[name] += draw(st.lists(strategy, max_size=3))
    for client_id in draw(st.lists(st.sampled_from([*IDS, "new1", "new2"]), unique=True, max_size=3)):
        row = {name: draw(strategy) for name, strategy in _attributes().items()}
        rows["clients"].append(row | {"client_id": client_id, "joined_on": draw(FUTURE), "valid_from": draw(FUTURE)})
    rows["cohorts"] = [{"client_id": draw(ids), "as_of": draw(FUTURE | days(-300, -1))} for _ in range(2)]
    return rows


def tables(rows: Rows) -> dict[str, pd.DataFrame]:
    """The rows as typed frames, without repeated keys."""
    attributes = {"age": "float64", "segment": "str", "reviewed_on": "datetime64[s]", "religion": "str"}
    made = {}
    for name, table in rows.items():
        for number, row in enumerate(table):
            if name == "offers":
                row["offer_id"] = str(number)
        data = frame(name, table, **(attributes if name == "clients" else {}))
        made[name] = data.drop_duplicates(list(TABLES[name].key)) if TABLES[name].key else data
    return made
