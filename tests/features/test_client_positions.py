from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sheaf.catalog import Kind
from sheaf.features import Bank
from sheaf.features.client_positions import Relationships, client_on
from sheaf.features.snapshot import SnapshotError
from sheaf.pricing import Position, PriceTable, price_bundle
from sheaf.pricing.rules import SUITABILITY, TYING
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
    assert repr(price_bundle(CATALOG, one, "firm", DAY)) == repr(price_bundle(CATALOG, other, "firm", DAY))


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
    status = {check.rule: check.status for check in price_bundle(sold, then, "saver", DAY).checks}
    assert status[SUITABILITY] == "broken"
    american = catalog(jurisdiction="US", suitable_until="suitable", abroad="foreign")
    tying = [
        next(check.status for check in price_bundle(american, whom, "saver", DAY).checks if check.rule == TYING)
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
    one, other = (price_bundle(CATALOG, client_on(made, CATALOG, DAY, name), "firm", DAY) for name in "xy")
    assert one.concession > 0
    assert repr(replace(one, client_id="")) == repr(replace(other, client_id=""))


def test_what_many_clients_hold_is_what_each_alone_does() -> None:
    rows = [
        client(f"c{n:05d}", kind="corporate", rating=["A", "C", None, "?"][n % 4], turnover=3e6) for n in range(1_500)
    ]
    held = [
        {"client_id": f"c{n:05d}", "product_id": product, "opened_on": "2022-01-31"}
        for n in range(0, 1_500, 3) for product in ["account", "loan", "payroll", "gone"][: n % 5]
    ]  # fmt: skip
    positions = [
        {"client_id": row["client_id"], "product_id": row["product_id"], "month": "2024-06-30", "balance": 100.0 + at,
         "rate": 0.01 if at % 2 else None, "fees": 3.0 if at % 3 else None, "limit": None}
        for at, row in enumerate(held) if at % 7
    ]  # fmt: skip
    wrong = next(row for row in positions if row["client_id"] == "c00009")
    wrong["balance"] = -5.0  # the check tells it, and a quote refuses it
    made = Bank.of(clients=frame("clients", rows, turnover="float64"), holdings=frame("holdings", held),
                   positions=frame("positions", positions))  # fmt: skip
    found, book = Relationships.of(made, CATALOG, DAY), PriceTable(CATALOG)
    ids = [row["client_id"] for row in rows]
    cells = np.array([book.cell(row["rating"] if row["rating"] in book.grades else None, 3e6) for row in rows])
    every = found.own(book, [*ids, "nobody", None], np.append(cells, [0, 0]))
    assert not every.eva[-2:].any()
    for at in range(0, 1_500, 7):
        alone = found.own(book, ids[at : at + 1], cells[at : at + 1])
        for name in ("eva", "of_balance", "balance"):
            assert getattr(alone, name)[0].tolist() == getattr(every, name)[at].tolist()
        if ids[at] in ("c00009", *(row["client_id"] for row in rows if row["rating"] == "?")):
            continue
        whom = found.client(ids[at], CATALOG)
        assert every.eva[at] == pytest.approx(whom.worth(book).eva)
        assert every.of_balance[at] == pytest.approx(whom.worth(book, balance_alone=True).eva)
    with pytest.raises(ValueError, match="balance -5 of"):
        found.client("c00009", CATALOG).worth(book)


def test_a_file_gives_the_same_clients_and_books(tmp_path: Any) -> None:
    rows = [client("a", manager_id="m1", branch_id="b1", group_id="g"), client("b", manager_id="m2", group_id="g")]
    made = Bank.of(clients=frame("clients", rows), holdings=frame("holdings", HOLDINGS))
    found = Relationships.of(made, CATALOG, DAY)
    found.write(tmp_path / "r.arrow")
    read = Relationships.read(tmp_path / "r.arrow")
    for which in (found, read):
        assert (which.book("a"), which.book("b"), which.book("c")) == (("m1", "b1"), ("m2", None), None)
        assert [one.client_id for one in which.group("b", CATALOG)[0]] == ["a", "b"]
        assert repr(which.client("a", CATALOG)) == repr(client_on(made, CATALOG, DAY, "a"))
        assert which.as_of == DAY
    (tmp_path / "r.arrow").write_bytes((tmp_path / "r.arrow").read_bytes()[:-50])
    with pytest.raises(SnapshotError, match="holds no relationships"):
        Relationships.read(tmp_path / "r.arrow")
    nobody = Relationships.of(made, CATALOG, dt.date(2019, 1, 1))
    nobody.write(tmp_path / "none.arrow")
    read = Relationships.read(tmp_path / "none.arrow")
    assert read.book("a") is None
    assert not read.own(PriceTable(CATALOG), ["a"], np.array([0])).eva.any()
    assert not read.own(PriceTable(CATALOG), ["a"] * 2_000, np.zeros(2_000, dtype=int)).eva.any()


def test_what_lies_in_a_file_is_read_where_it_lies(tmp_path: Any) -> None:
    """Every worker of a service would hold a copy of its own."""
    ids = [f"c{number:05d}" for number in range(2_000)]
    held = [{"client_id": one, "product_id": "account", "opened_on": "2022-01-31"} for one in ids]
    made = Bank.of(clients=frame("clients", [client(one) for one in ids]), holdings=frame("holdings", held))
    Relationships.of(made, CATALOG, DAY).write(tmp_path / "r.arrow")
    before = pa.total_allocated_bytes()
    read = Relationships.read(tmp_path / "r.arrow")
    assert read.own(PriceTable(CATALOG), ids[-1:], np.array([0])).eva.any()
    assert read.book(ids[-1]) == (None, None)
    assert pa.total_allocated_bytes() - before < (tmp_path / "r.arrow").stat().st_size / 20


def test_ratings_that_the_catalog_lacks_are_told_once() -> None:
    rows = [client("a", rating="C"), client("b", rating="XX"), client("c", rating="XX"), client("d")]
    made = Bank.of(clients=frame("clients", rows), holdings=frame("holdings", HOLDINGS))
    with pytest.warns(
        UserWarning, match=r"2 clients on 2024-06-30 have a rating that is none of .* \('XX' 2\)"
    ) as told:
        Relationships.of(made, CATALOG, DAY)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Relationships.of(made, CATALOG, DAY, "b")  # a quote tells by itself


def test_numbers_that_cannot_be_are_told_once_and_count_as_not_known() -> None:
    """A balance that is negative, an infinite one, a rate in percent: as if the table had left them out."""
    holdings = [
        {"client_id": "a", "product_id": name, "opened_on": "2022-01-31"} for name in ("account", "card", "loan")
    ]
    base = {"client_id": "a", "month": "2024-06-30"}
    numbers = {"account": {"balance": -5.0, "rate": 5.0}, "card": {"balance": np.inf, "fees": -np.inf}, "loan": {}}
    positions = [{**base, "product_id": name, "limit": 9.0, **told} for name, told in numbers.items()]
    with pytest.warns(UserWarning, match="table positions") as told:
        found = Relationships.of(bank(holdings=holdings, positions=positions), CATALOG, DAY)
    assert [str(one.message) for one in told] == [
        "table positions: 4 numbers of the last month-end by 2024-06-30 cannot be (balance 2, rate 1, fees 1; "
        "negative, infinite, or a rate in percent): an order by value counts them as not known, and a quote refuses "
        "them. sheaf check names the rows"
    ]
    plain = [{**base, "product_id": name, "limit": 9.0} for name in numbers]
    unknown = Relationships.of(bank(holdings=holdings, positions=plain), CATALOG, DAY)
    book, cell = PriceTable(CATALOG), np.zeros(1, dtype=int)
    for one, other in zip(vars(found.own(book, ["a"], cell)).values(), vars(unknown.own(book, ["a"], cell)).values(),
                          strict=True):  # fmt: skip
        assert one.tolist() == other.tolist()
        assert np.isfinite(one).all()
