from __future__ import annotations

import pandas as pd
import pytest

from sheaf.catalog import Policy
from sheaf.features import Bank, feature_dictionary
from tests.features.banks import CATALOG, bank, client, profiles

DAY_IN_MONTHS = 1 / 30.4375

CLIENTS = pd.DataFrame(
    {
        "client_id": ["a", "b"],
        "kind": ["retail", "corporate"],
        "joined_on": pd.to_datetime(["2024-06-30", "2023-06-30"]),
        "branch_id": ["b1", "b2"],
        "manager_id": ["m1", "m2"],
        "group_id": ["g1", "g2"],
        "age": [30, 0],
        "income": [1200.5, None],
        "segment": ["top", None],
        "digital": [True, False],
        "moved_on": pd.to_datetime(["2024-06-20", None]),
        "expires_on": pd.to_datetime(["2024-07-01", "2024-06-30"]),
        "religion": ["x", "y"],
        "nationality": ["x", "y"],
    }
)
HOLDINGS = pd.DataFrame({"client_id": ["a"], "product_id": ["card"], "opened_on": pd.to_datetime(["2024-01-31"])})
BANK = Bank.of(clients=CLIENTS, holdings=HOLDINGS)


def test_attributes_become_columns_by_their_type() -> None:
    found = profiles(BANK)
    assert found["age"].tolist() == [30, 0]
    assert found["income"].iloc[0] == 1200.5
    assert pd.isna(found["income"].iloc[1])
    assert found["segment"].iloc[0] == "top"
    assert pd.isna(found["segment"].iloc[1])
    assert found["digital"].tolist() == [1.0, 0.0]
    assert found["moved_on_months"].iloc[0] == pytest.approx(10 * DAY_IN_MONTHS)
    assert pd.isna(found["moved_on_months"].iloc[1])
    types = {feature.name: str(feature.type) for feature in feature_dictionary(BANK, CATALOG)}
    named = ("age", "income", "segment", "digital", "moved_on_months")
    assert [types[name] for name in named] == ["number", "number", "category", "flag", "number"]


def test_a_day_of_an_attribute_that_is_still_to_come_is_not_known() -> None:
    found = profiles(BANK)["expires_on_months"]
    assert pd.isna(found.iloc[0])
    assert found.iloc[1] == 0


def test_protected_attributes_and_ids_are_no_columns() -> None:
    columns = set(profiles(BANK))
    assert not columns & {"religion", "nationality", "branch_id", "manager_id", "group_id", "joined_on"}
    strict = CATALOG.model_copy(update={"policy": Policy(protected=("age", "sector", "moved_on"))})
    assert not set(profiles(BANK, strict)) & {"age", "sector", "moved_on", "moved_on_months"}
    assert "religion" in profiles(BANK, strict)


def test_tenure_and_season() -> None:
    some = bank(clients=[client("a", joined_on="2024-06-30"), client("b", joined_on="2023-07-01")], holdings=[])
    found = profiles(some)
    assert found["tenure_months"].tolist() == pytest.approx([0, 365 * DAY_IN_MONTHS])
    assert found["season_month"].tolist() == [6, 6]
