from __future__ import annotations

import pandas as pd
import pytest

from tests.features.banks import PRODUCTS, bank, client, profiles

MONTH = 30.4375


def held(product_id: str, opened_on: str, closed_on: str | None = None, client_id: str = "a") -> dict[str, str | None]:
    return {"client_id": client_id, "product_id": product_id, "opened_on": opened_on, "closed_on": closed_on}


def of(*rows: dict[str, str | None]) -> pd.Series:
    """The profile of client a as of 2024-06-30."""
    return profiles(bank(clients=[client("a"), client("b")], holdings=list(rows))).loc["a"]


def test_what_is_held_was_held_and_when() -> None:
    found = of(
        held("account", "2020-06-30"),
        held("card", "2023-06-30", "2024-04-30"),
        held("card", "2022-06-30", "2022-12-31"),
    )
    assert [found[f"held__{product}"] for product in PRODUCTS] == [1, 0, 0]
    assert [found[f"openings__{product}"] for product in PRODUCTS] == [1, 0, 2]
    assert [found[f"closings__{product}"] for product in PRODUCTS] == [0, 0, 2]
    assert found["opened_months__account"] == pytest.approx(1461 / MONTH)  # four years with a leap day
    assert found["opened_months__card"] == pytest.approx(366 / MONTH)
    assert found["closed_months__card"] == pytest.approx(61 / MONTH)
    assert pd.isna(found["closed_months__account"])
    assert pd.isna(found["opened_months__loan"])


def test_ownership_one_to_four_months_before_meets_the_ends_of_months() -> None:
    found = of(held("card", "2024-03-31", "2024-05-31"), held("loan", "2024-05-31"))
    assert [found[f"held_{lag}m__card"] for lag in (1, 2, 3, 4)] == [0, 1, 1, 0]
    assert [found[f"held_{lag}m__loan"] for lag in (1, 2, 3, 4)] == [1, 0, 0, 0]


def test_a_product_is_no_longer_held_on_the_day_it_is_closed() -> None:
    assert of(held("card", "2024-01-31", "2024-06-30"))["held__card"] == 0
    assert of(held("card", "2024-01-31", "2024-07-01"))["held__card"] == 1


def test_totals() -> None:
    found = of(
        held("account", "2020-06-30"),
        held("account", "2024-06-01"),  # a second account is the same product
        held("loan", "2024-02-28", "2024-06-15"),
        held("card", "2024-01-15"),
    )
    assert found["products_held"] == 2
    assert found["products_ever"] == 3
    assert found["lines_held"] == 1
    assert found["products_held__retail"] == 2
    assert found["products_held__corporate"] == 0
    assert [found[f"openings_{months}m"] for months in (3, 6, 12)] == [1, 3, 3]
    assert [found[f"closings_{months}m"] for months in (3, 6, 12)] == [1, 1, 1]
    assert found["last_opened_months"] == pytest.approx(29 / MONTH)
    assert found["last_closed_months"] == pytest.approx(15 / MONTH)
    assert found["recent_share"] == pytest.approx(2 / 3)
    assert found["products_changed"] == 1  # the loan; the account was there before


def test_who_never_held_anything_has_zeros_and_no_days() -> None:
    found = of(held("card", "2024-01-31", client_id="b"))
    assert found["products_held"] == found["openings_12m"] == found["held_4m__card"] == 0
    assert pd.isna(found["last_opened_months"])
    assert pd.isna(found["recent_share"])


def test_products_that_the_catalog_does_not_have_are_not_counted() -> None:
    found = of(held("unheard_of", "2024-01-31"))
    assert found["products_ever"] == 0
