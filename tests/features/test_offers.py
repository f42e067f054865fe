from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.features.banks import bank, client, profiles


def of(*rows: dict[str, Any]) -> pd.Series:
    offers = [{"offer_id": str(number), "client_id": "a", "bundle_id": "b", **row} for number, row in enumerate(rows)]
    return profiles(bank(clients=[client("a"), client("b")], holdings=[], offers=offers)).loc["a"]


def test_offers_and_what_became_of_them() -> None:
    found = of(
        {"offered_at": "2024-06-20", "outcome": "ignored"},
        {"offered_at": "2024-05-31", "outcome": "accepted", "responded_at": "2024-06-10"},
        {"offered_at": "2024-03-01", "outcome": "rejected", "responded_at": "2024-03-05"},
        {"offered_at": "2024-02-01", "outcome": "rejected", "responded_at": "2024-03-02"},
        {"offered_at": "2022-06-30", "outcome": "accepted", "responded_at": "2022-07-01"},
    )
    assert (found["offers_3m"], found["offers_12m"]) == (2, 4)
    assert (found["offers_accepted"], found["offers_rejected"]) == (2, 2)
    assert found["offers_accepted_share"] == pytest.approx(2 / 5)
    assert found["last_offer_days"] == 10
    assert found["last_rejection_days"] == 117  # 26 days of March, April, May, June


def test_an_answer_after_the_day_is_not_known_yet() -> None:
    found = of({"offered_at": "2024-06-20", "outcome": "accepted", "responded_at": "2024-07-01"})
    assert found["offers_3m"] == 1
    assert found["offers_accepted"] == found["offers_accepted_share"] == 0


def test_who_was_never_offered_anything() -> None:
    found = of({"client_id": "b", "offered_at": "2024-06-20"})
    assert found["offers_12m"] == 0
    assert pd.isna(found["last_offer_days"])
    assert pd.isna(found["offers_accepted_share"])
