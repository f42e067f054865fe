from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features.validation.check import check
from sheaf.simulation import simulate
from sheaf.simulation.offers import BY_CHANCE, LEVELS

CLIENTS = 3_000
TABLES = ("clients", "holdings", "links", "truth/opening_probability")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("offers") / "bank"
    simulate(folder, CLIENTS, 12, offers=True)
    return folder


@pytest.fixture(scope="module")
def offers(bank: Path) -> pd.DataFrame:
    return pd.read_parquet(bank / "offers.parquet")


def test_the_table_is_as_the_contract_says(bank: Path, offers: pd.DataFrame) -> None:
    assert check(bank, read_catalog(DEFAULT)) == []
    assert offers["offer_id"].is_unique
    assert (offers["responded_at"] > offers["offered_at"]).all()
    assert set(offers["outcome"]) == {"accepted", "rejected", "ignored"}
    assert 0.05 < (offers["outcome"] == "accepted").mean() < 0.3


def test_what_is_accepted_is_opened_in_that_month_and_was_not_held_before(bank: Path, offers: pd.DataFrame) -> None:
    parts = {offer.bundle_id: offer.products for offer in read_catalog(DEFAULT).offers}
    holdings = pd.read_parquet(bank / "holdings.parquet")
    accepted = offers[offers["outcome"] == "accepted"].sample(200, random_state=0)
    for offer in accepted.itertuples():
        mine = holdings[
            (holdings["client_id"] == offer.client_id) & holdings["product_id"].isin(parts[offer.bundle_id])
        ]
        month = pd.Timestamp(offer.offered_at).to_period("M")
        opened = pd.to_datetime(mine["opened_on"])
        assert (opened.dt.to_period("M") == month).any()
        there = mine[opened <= month.end_time]
        still = there["closed_on"].isna() | (pd.to_datetime(there["closed_on"]) > pd.Timestamp(offer.offered_at))
        assert set(there[still]["product_id"]) == set(parts[offer.bundle_id])


def test_concessions_are_drawn_with_the_price_propensity_that_is_logged(offers: pd.DataFrame) -> None:
    logged = offers[offers["price_propensity"].notna()]
    assert len(logged) / len(offers) == pytest.approx(BY_CHANCE, abs=0.03)
    # Horvitz and Thompson: weighed by one over the propensity, every level stands for all of these offers.
    assert (1 / logged["price_propensity"]).sum() / len(LEVELS) == pytest.approx(len(logged), rel=0.1)


def test_managers_give_more_to_those_who_want_it_more(bank: Path, offers: pd.DataFrame) -> None:
    truth = pd.read_parquet(bank / "truth" / "offer_response.parquet")
    december = offers[offers["offered_at"].astype(str) == "2025-12-01"].merge(truth, on=["client_id", "bundle_id"])
    assert len(december) == (offers["offered_at"].astype(str) == "2025-12-01").sum()
    share = december["concession"] / december["list_price"]
    judged = december["price_propensity"].isna()
    assert np.corrcoef(share[judged], december["utility"][judged])[0, 1] > 0.4
    assert abs(np.corrcoef(share[~judged], december["utility"][~judged])[0, 1]) < 0.25
    assert share.between(0, 0.301).all()


def test_clients_answer_by_the_truth_and_a_higher_concession_is_accepted_more_often(bank: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "large", 20_000, 3, seed=5, offers=True)
    offers = pd.read_parquet(tmp_path / "large" / "offers.parquet")
    truth = pd.read_parquet(tmp_path / "large" / "truth" / "offer_response.parquet")
    december = offers.merge(truth, on=["client_id", "bundle_id"])
    december = december[december["offered_at"].astype(str) == "2025-12-01"]
    odds = december["utility"] + december["slope"] * december["concession"]
    q, accepted = 1 / (1 + np.exp(-odds)), december["outcome"] == "accepted"
    assert (truth["slope"] > 0).all()
    assert accepted.sum() == pytest.approx(q.sum(), abs=4 * np.sqrt((q * (1 - q)).sum()))
    found = LogisticRegression(C=1e6).fit(odds.to_numpy()[:, None], accepted)
    assert found.coef_[0, 0] == pytest.approx(1.0, abs=0.35)


def test_without_offers_the_bank_is_the_same_as_ever_and_with_them_more_is_opened(bank: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "plain", CLIENTS, 12)
    simulate(tmp_path / "again", CLIENTS, 12, offers=True)
    assert not (tmp_path / "plain" / "offers.parquet").exists()
    for name in ("offers", *TABLES):
        assert (tmp_path / "again" / f"{name}.parquet").read_bytes() == (bank / f"{name}.parquet").read_bytes()
    plain, more = (len(pd.read_parquet(folder / "holdings.parquet")) for folder in (tmp_path / "plain", bank))
    assert more > plain
