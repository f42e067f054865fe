"""Clients leave for reasons that the tables tell before, and the truth says how likely."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features.validation.check import check
from sheaf.simulation import simulate
from sheaf.simulation.behaviour import Behaviour, read_behaviour

CLIENTS, MONTHS = 6_000, 8


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attrition") / "bank"
    simulate(folder, CLIENTS, MONTHS, seed=1, attrition=True)
    return folder


@pytest.fixture(scope="module")
def told(bank: Path) -> pd.DataFrame:
    """The truth, with whether the client left within the 31 days."""
    truth = pd.read_parquet(bank / "truth" / "leaving_probability.parquet")
    left = pd.read_parquet(bank / "clients.parquet").groupby("client_id")["left_on"].max()
    days = pd.to_datetime(truth["client_id"].map(left)) - pd.to_datetime(truth["as_of"])
    truth["left"] = (days > pd.Timedelta(0)) & (days <= pd.Timedelta(31, "D"))
    return truth


def content(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.parquet")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def test_without_it_nothing_of_attrition_counts_and_the_bank_is_the_same_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(tmp_path / "plain", 2_000, 4, seed=5)
    assert not (tmp_path / "plain" / "truth" / "leaving_probability.parquet").exists()

    def other(segment: str) -> Behaviour:
        found = read_behaviour(segment)
        changed = {"inflow": 0.0, "liquid": 0.5, "pull": 1.0, "starts": {"base": 5.0}, "leaves": {"base": 5.0}}
        return found.model_copy(update={"attrition": found.attrition.model_copy(update=changed)})

    monkeypatch.setattr("sheaf.simulation.population.read_behaviour", other)
    simulate(tmp_path / "again", 2_000, 4, seed=5)
    assert content(tmp_path / "again") == content(tmp_path / "plain")
    simulate(tmp_path / "leaving", 2_000, 4, seed=5, attrition=True)
    assert content(tmp_path / "leaving") != content(tmp_path / "plain")


def test_the_same_arguments_give_the_same_bytes_and_valid_tables(bank: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", CLIENTS, MONTHS, seed=1, attrition=True)
    assert content(tmp_path / "again") == content(bank)
    assert check(bank, read_catalog(DEFAULT)) == []


def test_the_truth_is_of_every_active_client_and_as_many_leave_as_it_says(bank: Path, told: pd.DataFrame) -> None:
    assert sorted(told["as_of"].astype(str).unique()) == ["2025-10-31", "2025-11-30"]
    clients = pd.read_parquet(bank / "clients.parquet")
    left = clients.groupby("client_id")["left_on"].max()
    for as_of, of_day in told.groupby("as_of"):
        assert of_day["client_id"].is_unique
        joined = clients[pd.to_datetime(clients["joined_on"]) <= pd.Timestamp(as_of)]["client_id"].unique()
        gone = left.index[pd.to_datetime(left) <= pd.Timestamp(as_of)]
        assert set(of_day["client_id"]) == set(joined) - set(gone)
    q = told["probability"]
    assert told["left"].sum() == pytest.approx(q.sum(), abs=4 * np.sqrt((q * (1 - q)).sum()))
    assert roc_auc_score(told["left"], q) > 0.8
    assert q.nunique() > 100


def test_money_moves_away_before_a_client_leaves(bank: Path, told: pd.DataFrame) -> None:
    likely = told[(told["as_of"].astype(str) == "2025-11-30") & (told["probability"] > 0.05)]["client_id"]
    others = told[(told["as_of"].astype(str) == "2025-11-30") & (told["probability"] < 0.01)]["client_id"]
    months = [pd.read_parquet(bank / "transactions" / f"2025-{month}.parquet") for month in ("06", "11")]

    def received(rows: pd.DataFrame, of: pd.Series) -> float:
        return float(rows[rows["client_id"].isin(of) & (rows["amount"] > 0)]["amount"].sum())

    def moved(rows: pd.DataFrame, of: pd.Series) -> float:
        out = rows[rows["client_id"].isin(of) & (rows["amount"] < 0) & (rows["kind"] == "transfer")]
        return float(-out["amount"].sum())

    assert received(months[1], likely) < 0.5 * received(months[0], likely)
    assert received(months[1], others) > 0.8 * received(months[0], others)
    assert moved(months[1], likely) > 3 * moved(months[0], likely)
    held = [pd.read_parquet(bank / "positions" / f"2025-{month}.parquet") for month in ("06", "11")]
    accounts = [rows[rows["client_id"].isin(likely) & rows["product_id"].str.contains("account")] for rows in held]
    assert accounts[1]["balance"].sum() < 0.6 * accounts[0]["balance"].sum()


def test_nobody_closes_everything_and_stays(bank: Path) -> None:
    holdings, clients = (pd.read_parquet(bank / f"{name}.parquet") for name in ("holdings", "clients"))
    left = clients.groupby("client_id")["left_on"].max()
    held = set(holdings[holdings["closed_on"].isna()]["client_id"])
    joined = set(holdings["client_id"])
    assert {client for client in left.index[left.isna()] if client in joined} <= held


def test_an_unknown_condition_is_refused() -> None:
    content = read_behaviour("retail").model_dump()
    content["products"]["mortgage"]["opens"]["drain & !few"] = 1.0  # only attrition knows of a drain
    with pytest.raises(ValueError, match="condition drain in 'drain & !few'"):
        Behaviour.model_validate(content)
