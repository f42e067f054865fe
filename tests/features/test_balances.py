from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.features.banks import bank, client, profiles

MONTHS = [str(month.date()) for month in pd.date_range("2023-06-30", "2024-06-30", freq="ME")]


def position(product_id: str, month: str, balance: float, client_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"client_id": client_id, "product_id": product_id, "month": month, "balance": balance, **more}


def of(*rows: dict[str, Any], client_id: str = "a") -> pd.Series:
    return profiles(bank(clients=[client("a"), client("b")], holdings=[], positions=list(rows))).loc[client_id]


def test_deposits_and_loans_now_and_before() -> None:
    growing = [position("account", month, 100.0 * number) for number, month in enumerate(MONTHS)]  # 0 to 1200
    found = of(*growing, position("loan", "2024-05-31", 600.0), position("loan", "2024-06-30", 500.0))
    assert found["deposits"] == found["balance__account"] == 1200
    assert found["loans"] == found["balance__loan"] == 500
    assert found["balance__card"] == 0
    assert found["deposits_mean_3m"] == pytest.approx((1000 + 1100 + 1200) / 3)
    assert found["deposits_mean_12m"] == pytest.approx(sum(range(100, 1300, 100)) / 12)
    assert found["loans_mean_3m"] == pytest.approx((600 + 500) / 3)
    assert found["deposits_change_3m"] == 1200 - 900
    assert found["deposits_change_12m"] == 1200 - 0
    assert found["loans_change_3m"] == 500


def test_rates_are_ratios_of_sums_against_the_transfer_rate() -> None:
    found = of(
        position("account", "2024-06-30", 3000.0, rate=0.01),
        position("loan", "2024-06-30", 100.0, rate=0.08),
        position("loan", "2024-05-31", 900.0, rate=0.99),  # of an earlier month
        position("card", "2024-06-30", 900.0, rate=0.99),  # neither deposit nor loan
    )
    assert found["deposit_spread"] == pytest.approx(0.03 - 0.01)
    assert found["loan_spread"] == pytest.approx(0.08 - 0.03)


def test_a_balance_without_a_rate_does_not_weigh() -> None:
    assert pd.isna(of(position("account", "2024-06-30", 3000.0))["deposit_spread"])


def test_limits_and_fees() -> None:
    found = of(
        position("loan", "2024-06-30", 250.0, limit=1000.0, fees=2.0),
        position("card", "2024-06-30", 50.0, limit=500.0, fees=1.5),
        position("account", "2024-06-30", 9999.0, fees=None),
        position("card", "2023-07-31", 0.0, fees=4.0),
        position("card", "2023-06-30", 0.0, fees=64.0),  # thirteenth month-end back
    )
    assert found["limit"] == 1500
    assert found["limit_use"] == pytest.approx(300 / 1500)
    assert found["fees_12m"] == 7.5


def test_who_has_no_positions_has_no_balance_while_the_banks_are_fresh() -> None:
    rows = position("account", "2024-05-31", 10.0)
    assert of(rows, client_id="b")["deposits"] == 0
    assert pd.isna(of(rows, client_id="b")["limit_use"])


def test_what_was_closed_before_the_last_month_end_has_no_balance() -> None:
    rows = [position("account", "2024-05-31", 10.0), position("account", "2024-06-30", 10.0, client_id="b")]
    assert of(*rows)["deposits"] == 0
    assert of(*rows)["deposits_mean_3m"] == pytest.approx(10 / 3)


def test_positions_older_than_two_months_say_nothing() -> None:
    assert of(position("account", "2024-04-30", 10.0))["deposits"] == 10
    assert pd.isna(of(position("account", "2024-03-31", 10.0))["deposits"])
    assert pd.isna(of(position("account", "2024-03-31", 10.0))["balance__account"])
