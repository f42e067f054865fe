"""A group that is treated worse than others of the same worth is told; one that is worth less is not blamed on it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sheaf.cli import app
from sheaf.strategy import StrategyError, read_strategy
from sheaf.strategy.fairness.audit import FOUR_FIFTHS, FairnessAudit, audit, grouped, outcomes_of, sentences
from tests.strategy.banks import CATALOG, DAY, POLICY, changed

CLIENTS = 1_500


def bank(seed: int = 0, poorer: float = 0.0, demoted: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Persons with a worth, `f` poorer by so much, and a tier by worth, from which so many of `f` are taken away."""
    chance = np.random.default_rng(seed)
    sex = chance.choice(["f", "m"], CLIENTS)
    eva = chance.normal(1_000, 400, CLIENTS) - poorer * (sex == "f")
    core = (eva > 1_000) & ~((sex == "f") & (chance.random(CLIENTS) < demoted))
    ids = [f"c{number:04}" for number in range(CLIENTS)]
    clients = pd.DataFrame({
        "client_id": ids, "kind": "retail", "sex": sex, "eva": eva, "contribution": eva,
        "tier": np.where(core, "core", "basic"),
        "marital_status": chance.choice(["single", "married", "widowed"], CLIENTS),
        "age": chance.integers(18, 90, CLIENTS),
        "priority": np.where(core, 3, 6), "visit_days": np.where(core, 180.0, np.nan),
    })  # fmt: skip
    return clients, outcomes_of(clients, CATALOG)


def verdicts(found: FairnessAudit, attribute: str = "sex") -> dict[tuple[str, str], str]:
    return {(one.group, one.outcome): one.verdict for one in found.compared if one.attribute == attribute}


def test_a_group_that_is_treated_worse_is_told_with_the_outcome_and_how_sure() -> None:
    clients, outcomes = bank(demoted=0.4)
    found = audit(clients, outcomes, ["sex", "marital_status"], ["eva", "tier"])
    told = verdicts(found)
    assert {told["f", name] for name in ("tier core", "tier basic", "priority", "visits a year")} == {"look"}
    assert set(verdicts(found, "marital_status").values()) == {"same"}
    one = next(one for one in found.compared if (one.group, one.outcome) == ("f", "tier core"))
    share = {sex: ((clients.sex == sex) & (clients.tier == "core")).sum() / (clients.sex == sex).sum() for sex in "fm"}
    assert one.mean == pytest.approx(share["f"])
    assert one.difference.value == pytest.approx(share["f"] - share["m"])
    assert one.ratio.value == pytest.approx(share["f"] / share["m"])
    assert one.below_four_fifths == (share["f"] / share["m"] < FOUR_FIFTHS)
    assert one.within.low < -0.2 < one.within.high < 0  # 0.4 of the half who would be core
    text = "\n".join(sentences(found, POLICY))
    assert "Look at sex f, tier core: " in text
    assert "below four fifths of the highest group's (US EEOC" in text
    assert "Of what priority looks at, these go with the group (0 to 1): tier (" in text


def test_equal_treatment_is_not_told_whatever_the_chance() -> None:
    """Many comparisons each time: without a correction most of these banks would have one below 5 %."""
    alarms = 0
    for seed in range(12):
        clients, outcomes = bank(seed)
        found = audit(clients, outcomes, ["sex", "marital_status", "age"])
        alarms += any(one.verdict == "look" for one in found.compared)
        if seed == 0:
            assert sentences(found, POLICY)[0].startswith("No outcome differs beyond chance among clients of the same")
    assert alarms <= 2


def test_a_difference_that_vanishes_within_the_same_worth_is_one_of_worth() -> None:
    clients, outcomes = bank(poorer=300.0)
    found = audit(clients, outcomes, ["sex"])
    told = verdicts(found)
    assert told["f", "tier core"] == "worth"
    one = next(one for one in found.compared if (one.group, one.outcome) == ("f", "tier core"))
    assert one.difference.high < -0.15
    assert abs(one.within.value) < 0.05
    assert "Differences of worth, which vanish among clients of the same: sex f, tier basic" in " ".join(
        sentences(found, POLICY)
    )
    without = audit(clients.drop(columns="eva"), outcomes, ["sex"])
    assert (verdicts(without)["f", "tier core"], without.by_worth) == ("look", False)


def test_small_groups_are_not_judged() -> None:
    clients, outcomes = bank(demoted=0.4)
    clients.loc[:19, "sex"] = "x"
    found = audit(clients, outcomes, ["sex"])
    assert {verdict for (group, _), verdict in verdicts(found).items() if group == "x"} == {"few"}
    assert sentences(found, POLICY)[-1] == "Not judged, as fewer than 30 clients, or all but so few: sex x (20)."
    assert all(math.isnan(one.within.value) for one in found.compared if one.group == "x")


def test_numbers_are_cut_into_quarters_and_what_is_not_known_is_in_no_group() -> None:
    ages = pd.Series([*range(18, 90), np.nan])
    found = grouped(ages)
    assert found.dropna().unique().tolist() == ["below 36", "36 to below 54", "54 to below 71", "71 and above"]
    assert found.isna().tolist() == ages.isna().tolist()
    assert grouped(pd.Series(["f", None, "m"])).isna().tolist() == [False, True, False]
    assert grouped(pd.Series([0.0, 1.0, 1.0])).tolist() == ["0.0", "1.0", "1.0"]


def test_prices_are_compared_for_the_same_bundle() -> None:
    """What is dear is offered to `m` more often, at the same concession on each: no difference in price."""
    clients, _ = bank()
    chance = np.random.default_rng(1)
    bundle = np.where(chance.random(CLIENTS) < np.where(clients.sex == "m", 0.8, 0.2), "mortgage", "current_account")
    offers = pd.DataFrame({
        "client_id": clients.client_id, "bundle_id": bundle, "acceptance": 0.3 + 0.01 * chance.random(CLIENTS),
        "concession": np.where(bundle == "mortgage", 500.0, 10.0) + chance.normal(0, 1, CLIENTS),
    })  # fmt: skip
    fair = verdicts(audit(clients, outcomes_of(clients, CATALOG, offers), ["sex"]))
    assert fair["f", "concession, same bundle"] == "same"
    offers["concession"] -= 2.0 * (clients.sex == "f")
    unfair = audit(clients, outcomes_of(clients, CATALOG, offers), ["sex"])
    assert verdicts(unfair)["f", "concession, same bundle"] == "look"
    one = next(one for one in unfair.compared if (one.group, one.outcome) == ("f", "concession, same bundle"))
    assert -2.1 < one.within.value < -1.0  # nearer to 0 than it is, as a bundle's mean has its buyers' sexes in it
    routes = offers[["client_id", "bundle_id"]].assign(list_price=1_000.0, days=1 + 3.0 * (clients.sex == "f"))
    slow = verdicts(audit(clients, outcomes_of(clients, CATALOG, offers, routes), ["sex"]))
    assert (slow["f", "route days, same bundle"], slow["f", "list price, same bundle"]) == ("look", "same")
    with pytest.raises(ValueError, match="there is no bundle 'x' in the catalog"):
        outcomes_of(clients, CATALOG, offers.assign(bundle_id="x"))


def test_no_protected_column_decides_by_way_of_industries(tmp_path: Path) -> None:
    sold = CATALOG.model_copy(update={"policy": CATALOG.policy.model_copy(update={"protected": ("sector", "sex")})})
    path = changed(tmp_path / "p.yaml", "name", to="Ours")
    with pytest.raises(StrategyError, match=r"p\.yaml:\d+: industries: sector is protected by policy"):
        read_strategy(path, sold)
    empty: dict[str, list[str]] = {"favoured": [], "neutral": [], "restricted": []}
    assert read_strategy(changed(tmp_path / "q.yaml", "industries", to=empty), sold).industries.sectors == []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demoted bank as files: its tables, profiles, plans."""
    folder = tmp_path_factory.mktemp("audited")
    clients, _ = bank(demoted=0.4)
    (folder / "bank").mkdir()
    joined = clients[["client_id", "kind", "sex", "age"]].assign(joined_on=pd.Timestamp("2020-01-01").date())
    joined.to_parquet(folder / "bank" / "clients.parquet")
    held = pd.DataFrame({"client_id": clients.client_id, "product_id": CATALOG.products[0].product_id,
                         "opened_on": pd.Timestamp("2020-01-01").date()})  # fmt: skip
    held.to_parquet(folder / "bank" / "holdings.parquet")
    clients[["client_id", "kind", "eva", "contribution", "age"]].to_parquet(folder / "profiles.parquet")
    plans = clients[["client_id", "tier", "priority", "visit_days"]].assign(as_of=DAY)
    plans.to_parquet(folder / "plans.parquet")
    return folder


def run(files: Path, *more: str) -> Any:
    asked = ["audit", "--data", str(files / "bank"), "--plans", str(files / "plans.parquet"),
             "--profiles", str(files / "profiles.parquet"), *more]  # fmt: skip
    return CliRunner().invoke(app, asked)


def test_the_command_tells_what_to_look_at_and_writes_every_comparison(files: Path) -> None:
    told = run(files, "--protected", "sex", "--protected", "age", "--out", str(files / "audit.csv"))
    assert told.exit_code == 0, told.output
    assert "Look at sex f, priority" in told.output
    found = pd.read_csv(files / "audit.csv")
    assert set(found.attribute) == {"sex", "age"}
    assert {"difference_low", "ratio_high", "within_worth_low", "p", "verdict"} <= set(found.columns)
    assert run(files).exit_code == 0  # of what the catalog protects, the bank has sex


def test_what_is_not_there_is_told(files: Path) -> None:
    assert "table clients has no attribute sexx; did you mean sex?" in str(run(files, "--protected", "sexx").exception)
    told = run(files, "--offers", str(files / "profiles.parquet")).exception
    assert "profiles.parquet lacks bundle_id; give offers" in str(told)
