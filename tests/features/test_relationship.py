from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from catalog import Kind
from features import Bank
from features.relationship import client_on
from pricing import Position, quote
from pricing.rules import SUITABILITY, TYING
from tests.features.banks import DAY, client, frame
from tests.pricing.books import catalog

CATALOG = catalog()


def bank(sex: str = "f", **tables: list[dict[str, Any]]) -> Bank:
    clients = [
        client("a", kind="corporate", rating="C", turnover=3e6, sex=sex, valid_from="2021-01-31"),
        client("a", kind="corporate", rating="A", turnover=9e6, sex=sex, valid_from="2024-07-31"),
        client("b", left_on="2024-05-31"),
    ]
    made = {"clients": frame("clients", clients, turnover="float64", sex="str")}
    made["holdings"] = frame("holdings", tables.get("holdings", HOLDINGS))
    return Bank.of(**made, **{name: frame(name, rows) for name, rows in tables.items() if name != "holdings"})


HOLDINGS: list[dict[str, Any]] = [
    {"client_id": "a", "product_id": "account", "opened_on": "2022-01-31"},
    {"client_id": "a", "product_id": "card", "opened_on": "2022-01-31", "closed_on": "2024-06-30"},
    {"client_id": "a", "product_id": "loan", "opened_on": "2022-01-31", "closed_on": "2024-07-01"},
    {"client_id": "a", "product_id": "fund", "opened_on": "2024-07-01"},
]
POSITIONS: list[dict[str, Any]] = [
    {"client_id": "a", "product_id": "account", "month": "2024-06-30", "balance": 500.0, "rate": 0.01, "fees": 2.0},
    {"client_id": "a", "product_id": "account", "month": "2024-05-31", "balance": 900.0},
    {"client_id": "a", "product_id": "account", "month": "2024-07-31", "balance": 1.0},
    {"client_id": "a", "product_id": "card", "month": "2024-06-30", "balance": 7.0},
]


def test_a_client_is_what_was_known_on_the_day() -> None:
    found = client_on(bank(positions=POSITIONS), CATALOG, DAY, "a")
    assert (found.kind, found.rating, found.sales) == (Kind.CORPORATE, "C", 3e6)
    assert set(found.held) == {"account", "loan"}  # the loan's end and the fund's beginning lie ahead
    account = found.held["account"]
    assert (account.balance, account.rate, account.fees) == (500.0, 0.01, 24.0)
    assert repr(found.held["loan"]) == repr(Position())
    assert dict(found.attributes) == {"turnover": 3e6}


def test_positions_too_old_to_go_by_are_told() -> None:
    with pytest.raises(
        ValueError, match="the last month-end of table positions by 2024-12-31 is 2024-07-31, more than"
    ):
        client_on(bank(positions=POSITIONS), CATALOG, dt.date(2024, 12, 31), "a")


def test_who_is_not_there_is_named() -> None:
    for name, day in (("b", DAY), ("nobody", DAY), ("a", dt.date(2019, 1, 1))):
        with pytest.raises(ValueError, match=f"there is no client '{name}' on {day}; give the id of one who is active"):
            client_on(bank(), CATALOG, day, name)


def test_a_protected_attribute_changes_no_quote() -> None:
    one, other = (client_on(bank(sex, positions=POSITIONS), CATALOG, DAY, "a") for sex in ("f", "m"))
    assert repr(quote(CATALOG, one, "firm", DAY)) == repr(quote(CATALOG, other, "firm", DAY))


def test_files_and_frames_give_the_same_client(tmp_path: Any) -> None:
    some = bank(positions=POSITIONS)
    for name in ("clients", "holdings", "positions"):
        table: pd.DataFrame = some[name].collect().to_native()
        table.to_parquet(tmp_path / f"{name}.parquet")
    assert repr(client_on(Bank.open(tmp_path), CATALOG, DAY, "a")) == repr(client_on(some, CATALOG, DAY, "a"))


def test_suitability_and_abroad_are_what_the_table_told_on_the_day() -> None:
    sold = catalog(suitable_until="suitable", abroad="foreign")
    rows = [
        client("a", suitable="2024-06-29", foreign=0.0, valid_from="2021-01-31"),
        client("a", suitable="2025-12-31", foreign=1.0, valid_from="2024-07-31"),
        client("b"),
    ]
    made = Bank.of(
        clients=frame("clients", rows, suitable="datetime64[s]", foreign="float64"), holdings=frame("holdings", [])
    )
    then, later = (client_on(made, sold, day, "a") for day in (DAY, dt.date(2024, 7, 31)))
    assert (then.suitable_until, then.abroad) == (dt.date(2024, 6, 29), False)
    assert (later.suitable_until, later.abroad) == (dt.date(2025, 12, 31), True)
    unknown = client_on(made, sold, DAY, "b")
    assert (unknown.suitable_until, unknown.abroad) == (None, False)
    status = {check.rule: check.status for check in quote(sold, then, "saver", DAY).checks}
    assert status[SUITABILITY] == "broken"
    american = catalog(jurisdiction="US", suitable_until="suitable", abroad="foreign")
    tying = [
        next(check.status for check in quote(american, whom, "saver", DAY).checks if check.rule == TYING)
        for whom in (then, later)
    ]
    assert tying == ["broken", "kept"]


def test_values_of_such_attributes_that_cannot_be_are_told() -> None:
    sold = catalog(suitable_until="suitable", abroad="foreign")
    wrong = {
        "foreign 'yes' of client a is neither true nor false; write 1 or 0": {"foreign": "yes"},
        "suitable 'soon' of client a is not a day; write it like 2024-12-31": {"suitable": "soon"},
    }
    for told, of in wrong.items():
        clients = frame("clients", [client("a", **of)], **dict.fromkeys(of, "str"))
        with pytest.raises(ValueError, match=told):
            client_on(Bank.of(clients=clients, holdings=frame("holdings", [])), sold, DAY, "a")


def test_equal_rows_of_other_ids_and_protected_attributes_get_equal_quotes() -> None:
    protected = CATALOG.policy.protected
    assert {"sex", "nationality"} <= set(protected)
    rows = [client(name, kind="corporate", rating="C", turnover=3e6, **dict.fromkeys(protected, name)) for name in "xy"]
    held = [row | {"client_id": name} for name in "xy" for row in HOLDINGS]
    positions = [row | {"client_id": name} for name in "xy" for row in POSITIONS]
    clients = frame("clients", rows, turnover="float64", **dict.fromkeys(protected, "str"))
    made = Bank.of(clients=clients, holdings=frame("holdings", held), positions=frame("positions", positions))
    one, other = (quote(CATALOG, client_on(made, CATALOG, DAY, name), "firm", DAY) for name in "xy")
    assert one.concession > 0
    assert repr(replace(one, client_id="")) == repr(replace(other, client_id=""))
