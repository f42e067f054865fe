"""The bank's last day rests on no few rows, what has stopped is not known, and a month counts once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.features import Bank
from sheaf.features.client_positions import Relationships
from sheaf.features.table_age import FEW, ages, last_opening, supported
from sheaf.features.validation.check import Finding, check
from sheaf.strategy.managers.scorecard import known_until
from sheaf.training.samples import SampleError, default_days, last_day
from tests.features.banks import CATALOG, client, profiles

D = dt.date
LAST = D(1998, 12, 31)
CLIENTS = [f"c{number:02}" for number in range(40)]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")


def month_ends(last: dt.date, months: int) -> list[dt.date]:
    return [day.date() for day in pd.date_range(end=last, periods=months, freq="ME")]


def old_bank() -> dict[str, pd.DataFrame]:
    """A bank of the nineties: an opening every other day, positions every month, bookings every day."""
    openings = [LAST - dt.timedelta(days=2 * back) for back in range(365)]
    owners = [CLIENTS[at % 40] for at in range(365)]
    months = [(one, day) for day in month_ends(LAST, 24) for one in CLIENTS]
    bookings = [(one, LAST - dt.timedelta(days=back)) for back in range(100) for one in CLIENTS[:5]]
    return {
        "clients": pd.DataFrame({"client_id": CLIENTS, "kind": "retail", "joined_on": D(1996, 12, 1)}),
        "holdings": pd.DataFrame(
            {"client_id": owners, "product_id": "account", "opened_on": openings, "closed_on": [None] * 365}
        ),
        "positions": pd.DataFrame(
            {"client_id": [o for o, _ in months], "product_id": "account", "month": [m for _, m in months],
             "balance": 1000.0, "fees": 9.0}
        ),
        "transactions": pd.DataFrame(
            {"client_id": [o for o, _ in bookings], "booked_at": [day for _, day in bookings], "amount": 10.0}
        ),
    }  # fmt: skip


def added(tables: dict[str, pd.DataFrame], table: str, *rows: dict[str, Any]) -> dict[str, pd.DataFrame]:
    return tables | {table: pd.concat([tables[table], pd.DataFrame(list(rows))], ignore_index=True)}


def opened(day: dt.date, client_id: str = "c00") -> dict[str, Any]:
    return {"client_id": client_id, "product_id": "loan", "opened_on": day}


def found(folder: Path, tables: dict[str, pd.DataFrame], today: dt.date | None = None) -> list[Finding]:
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return check(folder, CATALOG, today)


# --- the bank's last day ---

AHEAD = [D(2205, 1, 15), D(2010, 3, 4), LAST + dt.timedelta(days=21), LAST + dt.timedelta(days=3)]


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("rows", [1, 3, FEW])
@pytest.mark.parametrize("with_others", [True, False], ids=["with positions and bookings", "holdings alone"])
def test_a_few_openings_dated_ahead_move_the_last_day_no_further(
    ahead: dt.date, rows: int, with_others: bool, tmp_path: Path
) -> None:
    tables = added(old_bank(), "holdings", *(opened(ahead + dt.timedelta(days=at)) for at in range(rows)))
    if not with_others:
        tables = {name: tables[name] for name in ("clients", "holdings")}
        if ahead - LAST < dt.timedelta(days=40):
            return  # of a bank that opens a product every other day, that may be a quiet month
    bank = Bank.of(**tables)
    assert last_opening(bank) == last_day(bank) == known_until(bank) == LAST
    assert default_days(bank)[-1] < LAST
    told = [finding for finding in found(tmp_path / "bank", tables) if finding.column == "opened_on"]
    if with_others or ahead > D(2000, 1, 1):
        assert [(one.rows, one.problem.split(":")[0]) for one in told] == [
            (rows, "after 1998-12-31, the last day that enough of the bank's rows speak of")
        ]


@pytest.mark.parametrize("table", ["positions", "transactions"])
@pytest.mark.parametrize("ahead", [D(2205, 1, 31), D(1999, 1, 31)])
def test_a_row_of_another_table_dated_ahead_moves_nothing(table: str, ahead: dt.date, tmp_path: Path) -> None:
    row = {"client_id": "c00", "product_id": "account", "month": ahead, "balance": 1.0, "booked_at": ahead, "amount": 1}
    tables = old_bank()
    tables = added(tables, table, {name: value for name, value in row.items() if name in tables[table]})
    tables = added(tables, "holdings", opened(LAST + dt.timedelta(days=20)))
    assert last_day(Bank.of(**tables)) == LAST
    assert {one.table for one in found(tmp_path / "bank", tables)} == {table, "holdings"}


def test_the_last_day_is_the_last_opening_of_a_healthy_bank(tmp_path: Path) -> None:
    tables = old_bank()
    assert last_day(Bank.of(**tables)) == LAST
    assert found(tmp_path / "bank", tables, D(2026, 12, 1)) == []
    fresh = [opened(LAST + dt.timedelta(days=2 * at), CLIENTS[at]) for at in range(1, 8)]  # two weeks of openings
    tables = added(tables, "holdings", *fresh)
    assert last_day(Bank.of(**tables)) == LAST + dt.timedelta(days=14)
    assert found(tmp_path / "bank", tables) == []


def test_a_bank_whose_positions_and_bookings_stopped_goes_on_opening() -> None:
    tables = old_bank()
    for name, column in (("positions", "month"), ("transactions", "booked_at")):
        tables[name] = tables[name].assign(**{column: tables[name][column] - pd.Timedelta(1461, "D")})
    assert last_day(Bank.of(**tables)) == LAST


def test_no_day_after_today_is_the_last(tmp_path: Path) -> None:
    some = {"clients": [client("a", "2020-01-01")], "holdings": [{**opened(D(2020, 1, 1), "a")}]}
    tables = {name: pd.DataFrame(rows) for name, rows in some.items()}
    tables["holdings"] = pd.DataFrame([opened(D(2020, 1, 1), "a"), opened(D(2205, 1, 15), "a")])
    found(tmp_path / "bank", tables)
    assert last_day(Bank.open(tmp_path / "bank", today=D(2024, 1, 1))) == D(2020, 1, 1)
    with pytest.raises(SampleError, match="no opening at all by 2019-01-01"):
        last_day(Bank.open(tmp_path / "bank", today=D(2019, 1, 1)))


DATED = [
    ("clients", "joined_on"), ("clients", "left_on"), ("clients", "valid_from"), ("holdings", "opened_on"),
    ("positions", "month"), ("transactions", "booked_at"), ("links", "since"),
    ("offers", "offered_at"), ("offers", "responded_at"), ("cohorts", "as_of"),
]  # fmt: skip
ROWS = {
    "clients": {"client_id": "new", "kind": "retail", "joined_on": D(1998, 1, 1)},
    "holdings": opened(D(1998, 1, 1)),
    "positions": {"client_id": "c00", "product_id": "loan", "month": D(1998, 1, 31), "balance": 1.0},
    "transactions": {"client_id": "c00", "booked_at": D(1998, 1, 31), "amount": 1.0},
    "links": {"client_id": "c00", "linked_id": "c01", "relation": "owner", "since": D(1998, 1, 1)},
    "offers": {"offer_id": "o", "client_id": "c00", "bundle_id": "loan", "offered_at": D(1998, 1, 1)},
    "cohorts": {"client_id": "c00", "as_of": D(1998, 1, 1)},
}


@pytest.mark.parametrize(("table", "column"), DATED)
@pytest.mark.parametrize("ahead", [D(1999, 1, 31), D(2205, 1, 31)])
def test_a_day_ahead_of_the_bank_is_found_in_every_dated_table(
    table: str, column: str, ahead: dt.date, tmp_path: Path
) -> None:
    tables = old_bank()
    tables.setdefault(table, pd.DataFrame(columns=list(ROWS[table])))
    row = ROWS[table] | {column: ahead} | ({"outcome": "rejected"} if column == "responded_at" else {})
    told = found(tmp_path / "bank", added(tables, table, row), D(2026, 12, 1))
    where = "after today, 2026-12-01" if ahead.year == 2205 else "after 1998-12-31, the last day"
    assert [(one.table, one.column, one.rows) for one in told if one.problem.startswith(where)] == [(table, column, 1)]


@pytest.mark.parametrize(("table", "column"), [("holdings", "closed_on"), ("links", "until")])
def test_an_end_may_be_planned_but_not_for_the_next_century(table: str, column: str, tmp_path: Path) -> None:
    tables = old_bank()
    tables.setdefault(table, pd.DataFrame(columns=list(ROWS[table])))
    planned = added(tables, table, ROWS[table] | {column: D(2031, 6, 30)})
    assert [one for one in found(tmp_path / "bank", planned, D(2026, 12, 1)) if one.column == column] == []
    for day in (D(2205, 1, 31), D(9999, 12, 31)):
        far = added(tables, table, ROWS[table] | {column: day})
        [one] = [one for one in found(tmp_path / "bank", far, D(2026, 12, 1)) if one.column == column]
        assert one.problem == f"after 2076-12-01, more than 50 years ahead: {day}"


def test_a_planned_end_reads_as_null_until_its_day() -> None:
    tables = added(old_bank(), "holdings", {**opened(D(1998, 1, 1), "c01"), "closed_on": D(1999, 6, 30)})
    held = {day: profiles(Bank.of(**tables), CATALOG, day) for day in (LAST, D(1999, 6, 29), D(1999, 6, 30))}
    assert [held[day].loc["c01", "held__loan"] for day in held] == [1, 1, 0]


@pytest.mark.parametrize(("table", "column"), [*DATED, ("holdings", "closed_on"), ("links", "until")])
def test_a_day_that_stands_for_not_known_is_found(table: str, column: str, tmp_path: Path) -> None:
    tables = old_bank()
    tables.setdefault(table, pd.DataFrame(columns=list(ROWS[table])))
    for day in (D(1900, 1, 1), D(1, 1, 1)):
        row = ROWS[table] | {column: day} | ({"outcome": "rejected"} if column == "responded_at" else {})
        told = found(tmp_path / "bank", added(tables, table, row), D(2026, 12, 1))
        where = "1900-01-01 or before, which stands for not known"
        assert [(one.table, one.column, one.rows) for one in told if one.problem.startswith(where)] == [
            (table, column, 1)
        ]


def test_days_after_today_are_findings_without_positions_and_bookings(tmp_path: Path) -> None:
    tables = {name: old_bank()[name] for name in ("clients", "holdings")}
    tables = added(tables, "holdings", *(opened(D(2205, 1, 1), one) for one in CLIENTS))
    [one] = found(tmp_path / "bank", tables, D(2026, 12, 1))
    assert (one.problem, one.rows) == ("after today, 2026-12-01: 2205-01-01", 40)


@given(st.lists(st.integers(0, 700), min_size=50, max_size=200), st.lists(st.integers(1, 4000), max_size=FEW))
def test_few_rows_dated_far_ahead_never_say_how_far_a_table_reaches(days: list[int], ahead: list[int]) -> None:
    last = max(days)
    usual = max(7, 4 * np.diff(sorted(days)[-60:]).max() * (FEW + 1))
    every, counts = np.unique([*days, *(last + usual + day for day in ahead)], return_counts=True)
    reached = supported(every.astype(float), counts)
    assert reached is not None
    assert reached <= last


# --- feeds that stopped ---

FLOWS = {1: ("inflow_1m", "transactions_1m", "regular_inflow", "in_1m__card"),
         3: ("inflow_3m", "foreign_in_3m", "active_days_3m", "inflow_trend", "in_3m__card"),
         12: ("inflow_12m", "net_12m", "counterparties_12m", "performance")}  # fmt: skip


def booked_until(last: dt.date, stray: bool = False) -> Bank:
    tables = old_bank()
    past = (LAST - last).days
    moved = [day - dt.timedelta(days=past) for day in tables["transactions"]["booked_at"]]
    tables["transactions"] = tables["transactions"].assign(booked_at=moved)
    tables["clients"] = tables["clients"].assign(kind="corporate")
    if stray:
        tables = added(tables, "transactions", {"client_id": "c00", "booked_at": LAST, "amount": 1.0})
    return Bank.of(**tables)


@pytest.mark.parametrize(
    ("days", "known"),
    [(0, {1, 3, 12}), (10, {1, 3, 12}), (11, {3, 12}), (30, {3, 12}), (31, {12}), (121, {12}), (122, set()),
     (1645, set())],
)  # fmt: skip
@pytest.mark.parametrize("stray", [False, True], ids=["", "and one row of today"])
def test_sums_of_bookings_that_stopped_are_not_known(days: int, known: set[int], stray: bool) -> None:
    told = profiles(booked_until(LAST - dt.timedelta(days=days), stray), as_of=LAST)
    for months, names in FLOWS.items():
        for name in names:
            assert told[name].isna().all() == (months not in known), name
    if 12 in known:  # whoever has no bookings has none, while the bank's are known
        assert told.loc["c39", "inflow_12m"] == 0


def test_bookings_that_have_not_begun_are_not_known() -> None:
    assert profiles(booked_until(LAST), as_of=D(1997, 6, 30))["inflow_12m"].isna().all()


def test_offers_are_not_known_once_the_last_lies_before_the_window() -> None:
    offers = [
        {"offer_id": str(at), "client_id": "c00", "bundle_id": "loan", "offered_at": D(1998, 6, 30)} for at in "ab"
    ]
    told = profiles(Bank.of(**old_bank(), offers=pd.DataFrame(offers)), as_of=LAST)
    assert told["offers_3m"].isna().all()
    assert told.loc[["c00", "c01"], "offers_12m"].tolist() == [2, 0]


def test_how_old_each_table_is_is_told() -> None:
    bank = booked_until(D(1994, 6, 30))
    assert [(age.table, age.last, age.days) for age in ages(bank, LAST)] == [
        ("holdings", LAST, 0), ("positions", LAST, 0), ("transactions", D(1994, 6, 30), 1645)
    ]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), [("positions", "month"), ("transactions", "booked_at"),
                                               ("holdings", "opened_on")])  # fmt: skip
def test_a_table_that_stopped_is_found(table: str, column: str, tmp_path: Path) -> None:
    tables = old_bank()
    of = tables[table]
    back = np.array([pd.Timestamp(day) - pd.DateOffset(months=54) for day in of[column]])
    tables[table] = of.assign(**{column: back + pd.offsets.MonthEnd(0) if table == "positions" else back})
    [one] = [one for one in found(tmp_path / "bank", tables) if one.problem.startswith("ends on 1994-06-30")]
    assert (one.table, one.column) == (table, column)
    assert one.problem == "ends on 1994-06-30, 1,645 days before the bank's last day, 1998-12-31"


# --- months ---

ENGINES: dict[str, Any] = {
    "pandas": lambda tables: tables,
    "Polars": lambda tables: {name: pl.from_pandas(table) for name, table in tables.items()},
    "PyArrow": lambda tables: {name: pa.Table.from_pandas(table) for name, table in tables.items()},
    "DuckDB": lambda tables: relations({name: pa.Table.from_pandas(table) for name, table in tables.items()}),
}


def relations(tables: dict[str, pa.Table]) -> dict[str, Any]:
    connection = duckdb.connect()
    return {name: connection.from_arrow(table) for name, table in tables.items()}


def bank_of(positions: list[tuple[str, str, float, float]], engine: str) -> Bank:
    """Positions of client a by product, day, balance and fees."""
    rows = [
        {"client_id": "a", "product_id": product, "month": D.fromisoformat(day), "balance": balance, "fees": fees}
        for product, day, balance, fees in positions
    ]
    clients = pd.DataFrame({"client_id": ["a"], "kind": ["retail"], "joined_on": [D(2020, 1, 1)]})
    held = pd.DataFrame([opened(D(2020, 1, 1), "a"), opened(D(2020, 1, 1), "a") | {"product_id": "account"}])
    tables = {"clients": clients, "holdings": held, "positions": pd.DataFrame(rows)}
    return Bank.of(**ENGINES[engine](tables))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_latest_day_of_a_month_counts(engine: str) -> None:
    rows = [("account", "2024-01-15", 500.0, 6.0), ("account", "2024-01-31", 1000.0, 9.0),
            ("account", "2023-12-31", 800.0, 2.0), ("account", "2023-12-10", 700.0, 2.0),
            ("loan", "2024-01-20", 50.0, 1.0)]  # fmt: skip
    bank = bank_of(rows, engine)
    told = profiles(bank, as_of=D(2024, 1, 31)).loc["a"]
    assert (told["deposits"], told["loans"], told["fees_12m"]) == (1000, 50, 9 + 2 + 1)
    assert told["deposits_mean_3m"] == pytest.approx((1000 + 800) / 3)
    [held] = Relationships.of(bank, CATALOG, D(2024, 1, 31)).rows["\0held"].to_pylist()
    assert [(one["product_id"], one["balance"]) for one in held] == [("account", 1000), ("loan", 50)]
    earlier = profiles(bank, as_of=D(2024, 1, 20)).loc["a"]  # what comes later in the month is not known yet
    assert (earlier["deposits"], earlier["loans"], earlier["fees_12m"]) == (500, 50, 6 + 2 + 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_months_told_on_any_day_are_those_told_at_their_ends(engine: str) -> None:
    ends = month_ends(D(2024, 6, 30), 14)
    days = [end.replace(day=1 + 3 * at % 28) for at, end in enumerate(ends)]
    by_end, by_day = (
        profiles(bank_of([("account", str(day), 100.0 * at, at) for at, day in enumerate(of)], engine), as_of=ends[-1])
        for of in (ends, days)
    )
    pd.testing.assert_frame_equal(by_end, by_day)


def test_a_row_of_a_next_month_is_not_everybodys_last_month_end() -> None:
    row = {"client_id": "c00", "product_id": "account", "month": D(1999, 1, 31), "balance": 7.0, "fees": 0.0}
    told = profiles(Bank.of(**added(old_bank(), "positions", row)), as_of=D(1999, 1, 31))
    assert told["deposits"].tolist() == [1000.0] * 40


def test_days_that_are_no_month_end_and_months_told_twice_are_found(tmp_path: Path) -> None:
    row = {"client_id": "c00", "product_id": "account", "month": D(1998, 6, 15), "balance": 1.0}
    end, twice = found(tmp_path / "bank", added(old_bank(), "positions", row))
    assert (end.column, end.problem, end.rows) == (
        "month", "not the last day of a month: 1998-06-15", 1
    )  # fmt: skip
    assert (twice.problem, twice.rows) == ("several days of one month for the same client and product", 2)
    assert twice.keys == ("c00 / account / 1998-06-30",)


# --- codes ---


@pytest.mark.parametrize(
    ("table", "column", "codes", "wrong"),
    [
        ("transactions", "currency", ["EUR", "eur", "EUR ", ""], ["'EUR '", "'eur'"]),
        ("transactions", "currency", ["eur", "eur", "eur", "eur"], ["'eur'"]),  # the catalog says EUR
        ("transactions", "kind", ["Salary", "SALARY ", None, "x"], ["'SALARY '", "'Salary'"]),
        ("transactions", "kind", ["gift", "Gift", "gift", "gift"], ["'Gift'"]),
        ("transactions", "channel", ["app", "app", "App", " app"], ["' app'", "'App'"]),
        ("transactions", "counterparty_id", ["x1", "x1", "X1", ""], ["'X1'"]),
        ("clients", "rating", ["A", "A", "a", "B"], ["'a'"]),
        ("clients", "sector", ["farm", "farm", "farm ", "Trade"], ["'farm '"]),
        ("clients", "branch_id", ["b1", "b1", "B1", "b2"], ["'B1'"]),
    ],
)
def test_codes_that_differ_in_case_or_blanks_are_found(
    table: str, column: str, codes: list[str | None], wrong: list[str], tmp_path: Path
) -> None:
    tables = old_bank()
    tables["clients"] = tables["clients"].head(4)
    tables["holdings"] = tables["holdings"].query("client_id in ['c00', 'c01', 'c02', 'c03']")
    tables["transactions"] = pd.DataFrame({"client_id": ["c00"] * 4, "booked_at": [LAST] * 4, "amount": [1.0] * 4})
    tables.pop("positions")
    tables[table] = tables[table].assign(**{column: codes})
    [one] = found(tmp_path / "bank", tables)
    assert (one.table, one.column) == (table, column)
    assert (
        one.problem
        == f"differs from another code in case or blanks alone, and counts as one of its own: {', '.join(wrong)}"
    )


def test_relationships_know_up_to_when_each_table_told(tmp_path: Path) -> None:
    found = Relationships.of(booked_until(D(1994, 6, 30)), CATALOG, LAST)
    found.write(tmp_path / "relationships.arrow")
    until = {"holdings": "1998-12-31", "positions": "1998-12-31", "transactions": "1994-06-30"}
    assert Relationships.read(tmp_path / "relationships.arrow").until == until
