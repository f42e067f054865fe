"""Who counts as having left, what is learned of it, and what is refused."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank, ProfileMatrix, profile_matrices, profile_tables
from sheaf.training import registry
from sheaf.training.attrition import (
    Attrition,
    AttritionError,
    ClientRows,
    LearnedAttrition,
    auc_interval,
    fit,
    fit_attrition,
    left_within,
    measured,
)
from sheaf.training.metrics import calibration_error
from sheaf.training.parameters import Parameters
from sheaf.training.ranker.model import ArtifactError
from sheaf.training.registration import register_attrition
from sheaf.training.samples import SampleError

CATALOG = read_catalog(DEFAULT)
DAYS = [dt.date(2025, 9, 30), dt.date(2025, 10, 31), dt.date(2025, 11, 30)]
LAST = dt.date(2025, 12, 31)
QUICK = Parameters(threads=1)


def frames(clients: int = 900, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Clients and holdings; of those whose attribute `mood` is off, a fifth leave in every month."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"c{number:04d}" for number in range(clients)])
    mood = rng.choice(["off", "well"], clients, p=[0.2, 0.8])
    left = np.full(clients, np.datetime64("NaT"), "M8[D]")
    for month in pd.date_range("2025-09-01", "2025-12-01", freq="MS"):
        goes = np.isnat(left) & (rng.random(clients) < np.where(mood == "off", 0.2, 0.005))
        left[goes] = (month + pd.to_timedelta(rng.integers(1, 28, clients), "D")).to_numpy()[goes].astype("M8[D]")
    known = {"client_id": ids, "kind": "retail", "joined_on": np.datetime64("2020-01-01"), "mood": mood}
    people = pd.DataFrame({**known, "left_on": left, "age": rng.integers(20, 80, clients).astype(float)})
    holdings = pd.DataFrame({"client_id": ids, "product_id": "current_account",
                             "opened_on": np.datetime64("2021-01-01"), "closed_on": left})  # fmt: skip
    late = pd.DataFrame({"client_id": ids[:1], "product_id": "debit_card", "opened_on": [np.datetime64(str(LAST))],
                         "closed_on": [np.datetime64("NaT")]})  # fmt: skip
    return {"clients": people, "holdings": pd.concat([holdings, late], ignore_index=True)}


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.of(**frames())


@pytest.fixture(scope="module")
def found(bank: Bank) -> LearnedAttrition:
    return fit_attrition(bank, CATALOG, DAYS, 30, QUICK)


@pytest.fixture(scope="module")
def profiles(bank: Bank) -> ProfileMatrix:
    [part] = profile_matrices(bank, CATALOG, DAYS[-1])
    return part


def holding(client: str, opened: str, closed: str | None, product: str = "current_account") -> dict[str, object]:
    return {"client_id": client, "product_id": product, "opened_on": pd.Timestamp(opened),
            "closed_on": pd.Timestamp(closed) if closed else pd.NaT}  # fmt: skip


CARD, OCTOBER = holding("c", "2021-01-01", None, "debit_card"), pd.Timestamp("2025-10-07")
LEFT: dict[str, tuple[str | None, list[dict[str, object]], float]] = {
    "on the day itself": ("2025-09-30", [], 0),
    "a day later": ("2025-10-01", [], 1),
    "on the last day of the horizon": ("2025-10-30", [], 1),
    "after the horizon": ("2025-10-31", [], 0),
    "closed all": (None, [holding("c", "2021-01-01", "2025-10-05"), CARD | {"closed_on": OCTOBER}], 1),
    "closed one of two": (None, [holding("c", "2021-01-01", "2025-10-05"), CARD], 0),
    "opened another": (None, [holding("c", "2021-01-01", "2025-10-05"), CARD | {"opened_on": OCTOBER}], 0),
    "held nothing on the day": (None, [holding("c", "2021-01-01", "2025-09-30")], 0),
    "tried something out": (None, [holding("c", "2025-10-02", "2025-10-05")], 0),
    "closes all after the horizon": (None, [holding("c", "2021-01-01", "2025-10-31")], 0),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT)
def test_who_counts_as_having_left_within_thirty_days(case: str) -> None:
    left, holdings, expected = LEFT[case]
    person = {"client_id": "c", "kind": "retail", "joined_on": pd.Timestamp("2020-01-01"),
              "left_on": pd.Timestamp(left) if left else pd.NaT}  # fmt: skip
    held = holdings or [holding("c", "2021-01-01", None)]
    made = Bank.of(clients=pd.DataFrame([person]), holdings=pd.DataFrame(held))
    assert left_within(made, dt.date(2025, 9, 30), 30, np.array(["c", "nobody"])).tolist() == [expected, 0]


def test_it_tells_who_leaves_and_how_likely(bank: Bank, found: LearnedAttrition, profiles: ProfileMatrix) -> None:
    assert found.figures["auc"] > 0.75
    assert found.figures["calibration_error"] < 0.03
    assert found.losses["attrition"] < found.losses["one share"]
    assert found.verdict.promoted
    told = found.model.probabilities(profiles)
    off = profiles.values[:, profiles.columns.index("mood")] == profiles.categories["mood"].index("off")
    assert told[off].mean() == pytest.approx(0.2, abs=0.06)
    assert told[~off].mean() < 0.02
    assert found.model.about["as_of"] == [str(day) for day in DAYS]
    assert found.model.about["known_by"] == "2025-12-30"


def test_labels_of_the_figures_are_those_known_on_the_last_day(found: LearnedAttrition) -> None:
    """What a model of the earlier days learns does not move with what is dated after the last day."""
    tables = frames()
    later = tables["clients"]["left_on"] > pd.Timestamp(DAYS[-1])
    everyone = Bank.of(**(tables | {"clients": tables["clients"].assign(
        left_on=tables["clients"]["left_on"].where(~later, pd.Timestamp("2025-12-02"))
    )}))  # fmt: skip
    moved = fit_attrition(everyone, CATALOG, DAYS, 30, QUICK)
    assert moved.losses["one share"] == found.losses["one share"]
    assert moved.figures["expected"] == found.figures["expected"]


@given(day=st.integers(1, 25), gone=st.integers(0, 899), product=st.sampled_from(["mortgage", "credit_card"]))
@settings(max_examples=5)
def test_nothing_dated_after_the_day_moves_a_score(
    found: LearnedAttrition, profiles: ProfileMatrix, day, gone, product
) -> None:
    tables, after = frames(), pd.Timestamp(DAYS[-1]) + pd.Timedelta(day, "D")
    people, client = tables["clients"], f"c{gone:04d}"
    changed = people.loc[people["client_id"] == client].assign(valid_from=after, mood="well", age=99.0)
    people = pd.concat([people.assign(valid_from=pd.Timestamp("2020-01-01")), changed], ignore_index=True)
    people["left_on"] = people["left_on"].where(people["left_on"] <= pd.Timestamp(DAYS[-1]), after)
    rows = pd.DataFrame([holding(client, str(after.date()), None, product)])
    [part] = profile_matrices(
        Bank.of(clients=people, holdings=pd.concat([tables["holdings"], rows], ignore_index=True)), CATALOG, DAYS[-1]
    )
    assert (part.client_ids == profiles.client_ids).all()
    assert (found.model.probabilities(part) == found.model.probabilities(profiles)).all()


def test_what_a_model_says_of_clients_that_it_saw_is_not_what_it_is_calibrated_by() -> None:
    """A client's number says all of itself and nothing of others: out of fold it is worth nothing, and is told so."""
    rng = np.random.default_rng(0)
    who = np.tile(np.arange(400), 3)
    left = (rng.random(400) < 0.3).astype(float)[who]
    rows = ClientRows(np.array([f"c{one}" for one in who]), rng.permutation(400).astype(np.float32)[who, None], left)
    booster, calibration = fit(rows, [], QUICK)
    told = calibration(np.asarray(booster.predict(rows.x, raw_score=True)))
    assert told[left > 0].mean() - told[left == 0].mean() < 0.1
    assert told.mean() == pytest.approx(left.mean(), abs=0.05)


def test_a_table_of_profiles_is_scored_like_the_matrix(
    bank: Bank, found: LearnedAttrition, profiles: ProfileMatrix
) -> None:
    [table] = profile_tables(bank, CATALOG, DAYS[-1])
    assert found.model.of_table(table) == pytest.approx(found.model.probabilities(profiles), abs=1e-12)
    column = table.column_names.index("mood")
    unheard = table.set_column(column, "mood", pa.array(["unheard of"] * len(table)))
    assert np.isfinite(found.model.of_table(unheard)).all()
    with pytest.raises(ValueError, match="the profiles lack mood, which attrition goes by"):
        found.model.of_table(table.drop_columns(["mood"]))


def test_it_is_saved_and_loaded_and_an_altered_file_is_refused(
    found: LearnedAttrition, profiles: ProfileMatrix, tmp_path: Path
) -> None:
    fingerprint = found.model.save(tmp_path)
    loaded = Attrition.load(tmp_path, fingerprint)
    assert (loaded.probabilities(profiles) == found.model.probabilities(profiles)).all()
    assert loaded.version == found.model.version
    file = tmp_path / "attrition.json"
    file.write_text(file.read_text().replace("2025-12-30", "2025-12-29"))
    with pytest.raises(ArtifactError, match="damaged or altered"):
        Attrition.load(tmp_path, fingerprint)
    with pytest.raises(ArtifactError, match="damaged or altered since it was saved"):
        Attrition.load(tmp_path)  # as the service does, which has no registry
    file.write_text("{}")
    with pytest.raises(ArtifactError, match=r"does not say what it was.*sheaf attrition"):
        Attrition.load(tmp_path)
    file.write_text("{")
    with pytest.raises(ArtifactError, match=r"cannot be read.*sheaf attrition"):
        Attrition.load(tmp_path)


@pytest.mark.usefixtures("workplace")
def test_it_is_registered_under_its_own_name_and_gives_way_only_to_a_better_one(found: LearnedAttrition) -> None:
    with pytest.raises(registry.RegistryError, match="run `sheaf attrition"):
        registry.need_attrition(LAST)
    assert register_attrition(found) == ("1", "champion")
    worse = replace(found, losses={**found.losses, "present champion": found.losses["attrition"] / 2})
    assert register_attrition(worse) == ("2", "challenger")
    assert registry.need_attrition(LAST).version == "1"
    assert registry.champion() is None
    with pytest.raises(registry.RegistryError, match=r"who left up to 2025-12-30, which nobody knew on 2025-12-29"):
        registry.need_attrition(dt.date(2025, 12, 29))


def test_a_present_champion_is_compared_on_days_after_what_it_learned_from(bank: Bank, found: LearnedAttrition) -> None:
    early = replace(found.model, about={**found.model.about, "known_by": "2025-11-30"})
    assert "present champion" in fit_attrition(bank, CATALOG, DAYS, 30, QUICK, present=early).losses


def test_figures_by_hand() -> None:
    told, left = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    figures, intervals = measured(told, left)
    assert figures["auc"] == pytest.approx(3 / 4)  # of the four pairs only (0.4, 0.35) is in the wrong order
    assert figures["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert (figures["clients"], figures["left"]) == (4.0, 2.0)
    assert figures["expected"] == pytest.approx(1.65)
    assert figures["calibration_error"] == calibration_error(told, left)
    # Hanley and McNeil: q1 = 0.6, q2 = 9/14; variance = (3/16 + 0.6 - 9/16 + 9/14 - 9/16) / 4
    half = 1.96 * np.sqrt((3 / 16 + 0.6 - 9 / 16 + 9 / 14 - 9 / 16) / 4)
    assert auc_interval(told, left) == pytest.approx((max(0.75 - half, 0), min(0.75 + half, 1)))
    assert intervals["auc"] == auc_interval(told, left)
    nobody, _ = measured(told, np.zeros(4))
    assert np.isnan(nobody["auc"])


def without(tables: dict[str, pd.DataFrame], **left: list[str]) -> Bank:
    return Bank.of(**{name: frame.drop(columns=left.get(name, [])) for name, frame in tables.items()})


def test_what_nothing_can_be_learned_from_is_said() -> None:
    tables = frames(200)
    stay = {name: frame.assign(**{"left_on" if name == "clients" else "closed_on": pd.NaT})
            for name, frame in tables.items()}  # fmt: skip
    for made, days, message in (
        (Bank.of(**stay), DAYS, r"profiles of 200 clients 0 left within the horizon.*left_on in table clients"),
        (Bank.of(**frames(1)), DAYS, r"of 1 clients"),
        (without(tables, clients=["left_on"], holdings=["closed_on"]), DAYS, r"no column left_on .* no closed_on"),
        (Bank.of(**tables), DAYS[-1:], "no as-of day lies 30 days or so before 2025-11-30"),
    ):
        with pytest.raises(AttritionError, match=message):
            fit_attrition(made, CATALOG, days, 30, QUICK)
    with pytest.raises(SampleError, match="nothing to learn of what came after"):
        fit_attrition(Bank.of(**tables), CATALOG, [LAST], 30, QUICK)
    everybody = ClientRows(np.array([f"c{n}" for n in range(60)]), np.zeros((60, 1), np.float32), np.ones(60))
    with pytest.raises(AttritionError, match="all of them left"):
        fit(everybody, [], QUICK)


def test_without_left_on_who_closed_everything_counts(found: LearnedAttrition) -> None:
    made = without(frames(), clients=["left_on"])
    with pytest.warns(UserWarning, match="no column left_on: who closed all that was held counts as having left"):
        by_closing = fit_attrition(made, CATALOG, DAYS, 30, QUICK)
    assert by_closing.figures["auc"] > 0.75
