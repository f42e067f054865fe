"""Positions in other currencies: worth what the catalog's rates say, everywhere; without a rate, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features import Bank, TableError
from sheaf.features.client_positions import client_on
from sheaf.features.columns.value import of_groups
from sheaf.features.validation.check import check
from tests.features.banks import DAY, client, frame, profiles, written
from tests.pricing.books import catalog

CATALOG = catalog()  # a dollar is 0.8 euros
RATES = {"EUR": 1.0, "USD": 0.8, None: 1.0, "": 1.0}


def tables(currency: str | None, rate: float, **numbers: float) -> dict[str, pd.DataFrame]:
    months = [str(day.date()) for day in pd.date_range(end=DAY, periods=12, freq="ME")]
    row = {"client_id": "a", "product_id": "line", "rate": 0.06, "currency": currency}
    row |= {name: amount / rate for name, amount in numbers.items()}
    held = [{"client_id": "a", "product_id": "line", "opened_on": "2022-01-01"}]
    made = {"clients": [client("a", rating="C", group_id="g"), client("b", group_id="g")], "holdings": held}
    made |= {"positions": [{**row, "month": month} for month in months]}
    return {name: frame(name, rows) for name, rows in made.items()}


@given(st.sampled_from(list(RATES)), st.integers(0, 10**6), st.integers(-50, 500), st.integers(0, 10**6))
@settings(max_examples=20)
def test_the_same_money_in_any_currency_is_the_same_profile_and_the_same_client(
    currency: str | None, balance: int, fees: int, limit: int
) -> None:
    numbers = {"balance": float(balance), "fees": float(fees), "limit": float(limit)}
    ours, theirs = (Bank.of(**tables(which, RATES[which], **numbers)) for which in (None, currency))
    pd.testing.assert_frame_equal(profiles(ours, CATALOG), profiles(theirs, CATALOG))
    one, other = (client_on(bank, CATALOG, DAY, "a").held["line"] for bank in (ours, theirs))
    assert vars(one) == pytest.approx(vars(other))


def test_files_say_the_same(tmp_path: Path) -> None:
    made = tables("USD", 0.8, balance=4000.0, fees=8.0, limit=9000.0)
    of_files = profiles(written(made, tmp_path / "bank"), CATALOG)
    pd.testing.assert_frame_equal(of_files, profiles(Bank.of(**made), CATALOG), check_dtype=False)
    assert of_files.loc["a", "loans_mean_3m"] == pytest.approx(4000.0)


@pytest.mark.parametrize("asked", [lambda b: profiles(b, CATALOG), lambda b: client_on(b, CATALOG, DAY, "a"),
                                   lambda b: of_groups(b, CATALOG, DAY)])  # fmt: skip
def test_a_currency_without_a_rate_is_refused(asked: Any) -> None:
    made = Bank.of(**tables("XYZ", 1.0, balance=1.0))
    with pytest.raises(TableError, match=r"positions, column currency: .* no rate for 'XYZ'; it has EUR, USD: add"):
        asked(made)


def test_the_check_names_it(tmp_path: Path) -> None:
    written(tables("XYZ", 1.0, balance=1.0), tmp_path / "bank")
    [found] = check(tmp_path / "bank", CATALOG)
    assert (found.table, found.column, found.problem, found.rows) == (
        "positions",
        "currency",
        "unknown currency: 'XYZ'",
        12,
    )
    assert "pricing.rates" in found.remedy
