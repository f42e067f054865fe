"""What was accepted is told until the holdings can show it."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from sheaf.features import Bank
from sheaf.features.acceptances import awaited_of
from tests.features.banks import CATALOG

DAY = dt.date(2025, 11, 30)


def bank(responded: dt.date, outcome: str = "accepted") -> Bank:
    openings = [DAY - dt.timedelta(days=one) for one in range(30)]
    return Bank.of(
        clients=pd.DataFrame({"client_id": ["a", "b"], "kind": "retail", "joined_on": dt.date(2020, 1, 1)}),
        holdings=pd.DataFrame({"client_id": "b", "product_id": "account", "opened_on": openings}),
        offers=pd.DataFrame({"offer_id": ["o"], "client_id": ["a"], "bundle_id": ["loan"],
                             "offered_at": [dt.date(2025, 10, 1)], "outcome": [outcome], "responded_at": [responded]}),
    )  # fmt: skip


def test_an_acceptance_as_young_as_the_holdings_is_told() -> None:
    told = awaited_of(bank(DAY), CATALOG, DAY, "a", ["loan", "account"])
    assert told == "loan accepted on 2025-11-30; the tables of 2025-11-30 do not show it yet"


@pytest.mark.parametrize(
    ("responded", "outcome", "client", "products"),
    [
        (dt.date(2025, 10, 20), "accepted", "a", ["loan"]),
        (DAY, "rejected", "a", ["loan"]),
        (DAY + dt.timedelta(days=1), "accepted", "a", ["loan"]),
        (DAY, "accepted", "b", ["loan"]),
        (DAY, "accepted", "a", ["account"]),
    ],
    ids=["older than the holdings", "rejected", "not known yet", "of another client", "of another product"],
)
def test_of_anything_else_nothing_is_told(responded: dt.date, outcome: str, client: str, products: list[str]) -> None:
    assert awaited_of(bank(responded, outcome), CATALOG, DAY, client, products) is None
