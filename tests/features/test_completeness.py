"""Months that are missing or there twice, and parts of tables that stopped, are found; what may well end is not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sheaf.features.validation.check import check
from tests.features.banks import CATALOG
from tests.features.test_days import CLIENTS, old_bank

D = dt.date
Tables = dict[str, pd.DataFrame]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")


def bank() -> Tables:
    """The bank of the nineties with bookings of two kinds over two years, two products, and closings."""
    tables = old_bank()
    days = [day.date() for day in pd.date_range(D(1997, 1, 1), D(1998, 12, 31), freq="D")]
    rows = [(CLIENTS[at % 40], day, kind, float(at)) for at, day in enumerate(days) for kind in ("salary", "card")]
    tables["transactions"] = pd.DataFrame(rows, columns=["client_id", "booked_at", "kind", "amount"])
    tables["positions"] = pd.concat(
        [tables["positions"], tables["positions"].assign(product_id="loan")], ignore_index=True
    )
    holdings = tables["holdings"]
    closed = pd.DataFrame({"client_id": holdings["client_id"], "product_id": "loan", "opened_on": D(1996, 12, 2),
                           "closed_on": holdings["opened_on"]}).drop_duplicates("closed_on")  # fmt: skip
    closed["opened_on"] = [D(1996, 1, 1) + dt.timedelta(days=at % 300) for at in range(len(closed))]
    tables["holdings"] = pd.concat([holdings, closed], ignore_index=True)
    return tables


def found(folder: Path, tables: Tables) -> list[tuple[str, str, str]]:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return [(one.table, one.column, one.problem) for one in check(folder, CATALOG)]


def without(table: str, gone: Callable[[pd.DataFrame], pd.Series]) -> Tables:
    tables = bank()
    return tables | {table: tables[table][~gone(tables[table])]}


def emptied(table: str, column: str, gone: Callable[[pd.DataFrame], pd.Series]) -> Tables:
    tables = bank()
    return tables | {table: tables[table].assign(**{column: tables[table][column].mask(gone(tables[table]))})}


def test_a_whole_bank_has_no_findings(tmp_path: Path) -> None:
    assert found(tmp_path / "bank", bank()) == []


CASES = {
    "a month of bookings": (
        without("transactions", lambda t: (t.booked_at >= D(1998, 3, 1)) & (t.booked_at < D(1998, 5, 1))),
        ("transactions", "booked_at", "no rows in 1998-03, 1998-04, between months that have some"),
    ),
    "a month of positions": (
        without("positions", lambda t: t.month == D(1998, 11, 30)),
        ("positions", "month", "no rows in 1998-11, between months that have some"),
    ),
    "half of the last month": (
        without("positions", lambda t: (t.month == D(1998, 12, 31)) & (t.index % 4 > 0)),
        ("positions", "month", "less than half the rows of the months beside in 1998-12"),
    ),
    "a kind of bookings": (
        without("transactions", lambda t: (t.kind == "salary") & (t.booked_at >= D(1998, 6, 1))),
        ("transactions", "kind", "rows of 'salary' end in 1998-05"),
    ),
    "a product": (
        without("positions", lambda t: (t.product_id == "loan") & (t.month >= D(1998, 6, 1))),
        ("positions", "product_id", "rows of 'loan' end in 1998-05"),
    ),
    "balances": (
        emptied("positions", "balance", lambda t: t.month >= D(1998, 6, 1)),
        ("positions", "balance", "is empty later: values end in 1998-05"),
    ),
    "closings": (
        emptied("holdings", "closed_on", lambda t: t.closed_on >= D(1998, 2, 1)),
        ("holdings", "closed_on", "ends on 1998-01-31, 334 days before the bank's last day, 1998-12-31"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stopped_or_lacks_is_found(case: str, tmp_path: Path) -> None:
    tables, told = CASES[case]
    assert told in found(tmp_path / "bank", tables)


def test_a_file_of_bookings_handed_over_twice_is_found(tmp_path: Path) -> None:
    tables = bank()
    bookings = tables["transactions"]
    bookings = bookings.loc[bookings.index.repeat(3)].reset_index(drop=True)
    bookings["amount"] += bookings.index % 3  # three bookings a day
    tables["transactions"] = bookings
    assert found(tmp_path / "bank", tables) == []
    late = bookings[bookings["booked_at"] >= D(1998, 12, 1)]
    tables["transactions"] = pd.concat([bookings, late])
    told = "most bookings of 1998-12 are there more than once"
    assert found(tmp_path / "bank", tables) == [("transactions", "booked_at", told)]


def test_what_runs_off_or_comes_once_a_year_is_left_in_peace(tmp_path: Path) -> None:
    tables = bank()
    rows = tables["positions"]
    held = np.array(
        [one % 40 >= (month.year - 1997) * 12 * 3 + month.month * 3 for one, month in enumerate(rows["month"])]
    )
    tables["positions"] = rows[(rows["product_id"] == "account") | held]
    tax = pd.DataFrame({"client_id": CLIENTS * 3, "booked_at": D(1998, 5, 15), "kind": "tax", "amount": -5.0})
    tax["amount"] -= tax.index
    tables["transactions"] = pd.concat([tables["transactions"], tax])
    assert found(tmp_path / "bank", tables) == []
