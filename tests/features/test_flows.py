from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.features.banks import bank, client, profiles


def booking(booked_at: str, amount: float, **more: Any) -> dict[str, Any]:
    return {"client_id": "a", "booked_at": booked_at, "amount": amount, **more}


def of(*rows: dict[str, Any]) -> pd.Series:
    return profiles(bank(clients=[client("a"), client("b")], holdings=[], transactions=list(rows))).loc["a"]


def test_what_came_in_and_went_out() -> None:
    found = of(
        booking("2024-06-30 23:59:59", 100.0),
        booking("2024-06-01", -30.0),
        booking("2024-05-31", 7.0),  # thirty days back: not in the last month
        booking("2024-04-01", -2.0),
        booking("2023-07-02", 1000.0),
        booking("2023-07-01", 5000.0),  # 365 days back: not in the last year
    )
    assert [found[f"inflow_{months}m"] for months in (1, 3, 12)] == [100, 107, 1107]
    assert [found[f"outflow_{months}m"] for months in (1, 3, 12)] == [30, 32, 32]
    assert [found[f"net_{months}m"] for months in (1, 3, 12)] == [70, 75, 1075]
    assert [found[f"transactions_{months}m"] for months in (1, 3, 12)] == [2, 4, 5]
    assert found["last_transaction_days"] == 0
    assert found["active_days_3m"] == 4


def test_trend_compares_the_last_quarter_with_the_rest_of_the_year() -> None:
    found = of(booking("2024-06-30", 91.0), booking("2024-01-31", 3 * 274.0), booking("2024-06-30", -1.0))
    assert found["inflow_trend"] == pytest.approx((1 - 3) / (1 + 3))  # a day: 91 / 91 now, 822 / 274 before
    assert found["outflow_trend"] == 1
    assert pd.isna(of(booking("2024-06-30", 91.0))["outflow_trend"])


def test_regular_inflow_is_what_comes_every_month() -> None:
    salaries = [booking(day, 2000.0) for day in ("2024-06-28", "2024-05-28", "2024-04-28")]
    assert of(*salaries, booking("2024-06-01", 9000.0))["regular_inflow"] == 2000
    assert of(*salaries[:2])["regular_inflow"] == 0


def test_other_currencies() -> None:
    found = of(
        booking("2024-06-30", 300.0, currency="EUR"),
        booking("2024-06-30", 100.0, currency="USD"),
        booking("2024-06-30", -50.0, currency="CHF"),
        booking("2023-12-31", 400.0),  # no currency said: the reporting one
        booking("2023-12-31", -150.0, currency="EUR"),
    )
    assert [found[f"foreign_in_{months}m"] for months in (3, 12)] == [100, 100]
    assert [found[f"foreign_out_{months}m"] for months in (3, 12)] == [50, 50]
    assert [found[f"foreign_in_share_{months}m"] for months in (3, 12)] == pytest.approx([100 / 400, 100 / 800])
    assert [found[f"foreign_out_share_{months}m"] for months in (3, 12)] == pytest.approx([1, 50 / 200])


def test_kinds_that_the_policy_lists_are_told_apart() -> None:
    found = of(
        booking("2024-06-30", -10.0, kind="card"),
        booking("2024-06-29", -15.0, kind="card"),
        booking("2024-06-29", 5.0, kind="card"),
        booking("2024-03-31", -80.0, kind="card"),  # 91 days back
        booking("2024-06-30", 1000.0, kind="unlisted"),
        booking("2024-06-30", 1.0),
    )
    assert (found["out_3m__card"], found["in_3m__card"], found["transactions_3m__card"]) == (25, 5, 3)
    assert found["in_3m__salary"] == found["transactions_3m__salary"] == 0
    assert not [name for name in found.index if "unlisted" in name]


def test_counterparties_are_counted_once_and_nobody_is_none() -> None:
    found = of(*(booking("2024-06-30", 1.0, counterparty_id=name) for name in ("x", "x", "y", None)))
    assert found["counterparties_12m"] == 2
    assert of(booking("2024-06-30", 1.0))["counterparties_12m"] == 0


def test_who_has_no_bookings_has_zeros() -> None:
    found = of({**booking("2024-06-30", 1.0), "client_id": "b"})
    assert found["inflow_12m"] == found["active_days_3m"] == found["transactions_3m__card"] == 0
    assert pd.isna(found["last_transaction_days"])
    assert pd.isna(found["foreign_in_share_12m"])
