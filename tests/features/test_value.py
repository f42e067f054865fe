from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from sheaf.catalog import Closeness, Policy
from sheaf.features import Bank, build_profiles
from tests.features.banks import CATALOG, DAY, bank, client, frame, profiles, written


def position(client_id: str, product_id: str, balance: float, month: str = "2024-06-30", **more: Any) -> dict[str, Any]:
    return {"client_id": client_id, "product_id": product_id, "month": month, "balance": balance, **more}


def of(*positions: dict[str, Any], clients: str = "abc") -> pd.DataFrame:
    return profiles(bank(clients=[client(name) for name in clients], holdings=[], positions=list(positions)))


def test_contribution_is_margin_against_the_transfer_rate_and_fees() -> None:
    found = of(
        position("a", "account", 12000.0, rate=0.01, fees=2.0),  # 12000 × (0.03 - 0.01) / 12 + 2 = 22
        position("a", "loan", 24000.0, rate=0.05, fees=0.0),  # 24000 × (0.05 - 0.03) / 12 = 40
        position("b", "card", 500.0, rate=0.2, fees=3.0),  # a service earns its fees
        position("b", "card", 500.0, "2023-07-31", fees=4.0),  # the twelfth month-end back
        position("b", "card", 500.0, "2023-06-30", fees=90.0),  # the thirteenth
    )
    assert found["contribution"].tolist() == pytest.approx([62, 7, 0])


def test_margin_and_fee_of_the_product_stand_in_for_what_the_position_lacks() -> None:
    found = of(
        position("a", "account", 12000.0),  # 12000 × 0.01 / 12 + 24 / 12 = 12
        position("b", "loan", 6000.0),  # 6000 × 0.02 / 12 = 10
        position("c", "card", 500.0),  # 12 / 12 = 1
    )
    assert found["contribution"].tolist() == pytest.approx([12, 10, 1])


def test_without_positions_the_typical_balance_of_what_is_held_stands_in() -> None:
    rows = [("a", "account", None), ("a", "card", None), ("b", "loan", None), ("b", "card", "2024-06-30")]
    holdings = [{"client_id": c, "product_id": p, "opened_on": "2020-01-31", "closed_on": end} for c, p, end in rows]
    holdings.append(holdings[0] | {"opened_on": "2021-01-31"})  # a second account is no second client relationship
    found = profiles(bank(clients=[client("a"), client("b")], holdings=holdings))
    # a: 1000 × 0.01 + 24 for the account, 12 for the card; b: 50000 × 0.02
    assert found["contribution"].tolist() == pytest.approx([46, 1000])


def fees(**of_client: float) -> list[dict[str, Any]]:
    return [position(name, "card", 0.0, fees=fee) for name, fee in of_client.items()]


def test_share_place_and_tier_among_all_clients() -> None:
    found = of(*fees(a=30, b=50, c=15, d=5, e=0, f=-20), clients="abcdefg")
    assert found["contribution_share"].tolist() == pytest.approx([30 / 80, 50 / 80, 15 / 80, 5 / 80, 0, -20 / 80, 0])
    assert found["contribution_rank"].tolist() == [2, 1, 3, 4, 5, 7, 5]
    assert found["contribution_cumulative"].tolist() == pytest.approx([0.8, 0.5, 0.95, 1, 1, 1, 1])
    assert found["tier"].tolist() == ["core", "key", "standard", "basic", "basic", "basic", "basic"]


def test_who_carries_the_sum_over_a_bound_belongs_to_the_better_tier() -> None:
    assert of(*fees(a=40, b=40, c=20))["tier"].tolist() == ["key", "key", "standard"]
    assert of(*fees(a=1), clients="a")["tier"].tolist() == ["key"]


def test_equal_clients_stand_at_one_place() -> None:
    found = of(*fees(a=50, b=25, c=25, d=0), clients="abcd")
    assert found["contribution_rank"].tolist() == [1, 2, 2, 4]
    assert found["contribution_cumulative"].tolist() == pytest.approx([0.5, 1, 1, 1])


def test_equal_clients_are_of_one_tier_though_one_would_do_to_reach_its_share() -> None:
    found = of(*fees(**dict.fromkeys("abcdefghij", 10.0)), clients="abcdefghij")
    assert set(found["tier"]) == {"key"}


def test_a_bank_that_loses_money_has_no_shares() -> None:
    found = of(*fees(a=-1, b=-2, c=0))
    assert found["contribution_share"].isna().all()
    assert found["contribution_cumulative"].isna().all()
    assert set(found["tier"]) == {"basic"}


def test_a_cohort_keeps_its_place_in_the_whole_bank(tmp_path: Any) -> None:
    rows = {"clients": [client(name) for name in "abc"], "holdings": [], "positions": fees(a=10, b=20, c=30)}
    tables = {name: frame(name, table) for name, table in rows.items()}
    for some in (Bank.of(**tables), written(tables, tmp_path / "tables")):
        found = build_profiles(some, CATALOG, DAY, ["b"]).to_pandas()
        assert found["contribution_rank"].tolist() == [2]
        assert found["contribution_share"].tolist() == pytest.approx([20 / 60])


def test_those_who_left_have_no_part_in_the_total() -> None:
    clients = [client("a"), client("b"), client("gone", left_on="2024-06-01")]
    found = profiles(bank(clients=clients, holdings=[], positions=fees(a=10, b=30, gone=60)))
    assert found["contribution_share"].tolist() == pytest.approx([0.25, 0.75])


def test_performance_of_firms() -> None:
    rows = {"up": (100.0, -90.0), "even": (100.0, -91.0), "down": (100.0, -101.0), "silent": (-1.0,), "person": (1.0,)}
    clients = [client(name, kind="retail" if name == "person" else "corporate") for name in rows]
    bookings = [
        {"client_id": name, "booked_at": "2024-06-01", "amount": amount}
        for name, amounts in rows.items()
        for amount in amounts
    ]
    bookings.append({"client_id": "down", "booked_at": "2023-06-01", "amount": 9999.0})  # over a year ago
    found = profiles(bank(clients=clients, holdings=[], transactions=bookings))["performance"]
    assert found.dropna().to_dict() == {"up": "prosperous", "even": "general", "down": "loss_making"}


def test_closeness_takes_months_products_and_lines() -> None:
    policy = Policy(closeness=Closeness(tenure_months=24, products=2, lines=2))
    clients = [client(name) for name in ("one_line", "few", "close")] + [client("new", joined_on="2023-06-30")]
    held = {"one_line": ("account", "card"), "few": ("loan",), "close": ("account", "loan"), "new": ("account", "loan")}
    holdings = [
        {"client_id": name, "product_id": product, "opened_on": "2023-06-30"}
        for name, products in held.items()
        for product in products
    ]
    found = profiles(bank(clients=clients, holdings=holdings), CATALOG.model_copy(update={"policy": policy}))
    assert found["closeness"].to_dict() == {
        "close": "core",
        "few": "ordinary",
        "new": "ordinary",
        "one_line": "ordinary",
    }
