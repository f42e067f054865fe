from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import pytest

from sheaf.features import Bank
from sheaf.training import SampleError, default_days, read_sample
from sheaf.training.samples import fold, held_out, labels, last_day
from tests.made import CATALOG, DAYS, LAST_DAY, bank, frames

DAY = dt.date(2025, 6, 30)


def hand_made(holdings: list[tuple[str, str, str]], **tables: pd.DataFrame) -> Bank:
    clients = pd.DataFrame({"client_id": ["a", "b"], "kind": "retail", "joined_on": "2020-01-01"})
    table = pd.DataFrame(holdings, columns=["client_id", "product_id", "opened_on"]).astype("str")
    return Bank.of(clients=clients, holdings=table, **tables)


def test_a_label_is_what_was_opened_after_the_day_up_to_the_horizon() -> None:
    some = hand_made(
        [
            ("a", "card", "2025-06-30"),  # on the day itself: known already
            ("a", "mortgage", "2025-07-01"),
            ("a", "insurance", "2025-07-30"),  # the thirtieth day after
            ("a", "account", "2025-07-31"),
            ("b", "card", "2025-07-10"),
            ("b", "card", "2025-07-12"),  # twice is once
            ("b", "no_longer_sold", "2025-07-10"),
            ("c", "card", "2025-07-10"),  # not of the cohort
        ]
    )
    found = labels(some, CATALOG, DAY, 30, np.array(["a", "b"]))
    names = np.array([product.product_id for product in CATALOG.products])
    assert [set(names[row > 0]) for row in found] == [{"mortgage", "insurance"}, {"card"}]
    assert found.max() == 1


def test_a_day_after_which_nothing_was_opened_is_refused() -> None:
    with pytest.raises(SampleError, match=r"as-of 2025-12-31, 2026-01-15: the last opening .* is of 2025-12-31, .*take "
                                          r"2025-11-30 or earlier"):  # fmt: skip
        read_sample(bank(50), CATALOG, [DAYS[0], LAST_DAY, dt.date(2026, 1, 15)])


@pytest.mark.filterwarnings("ignore:never opened")
def test_a_horizon_that_is_not_over_yet_is_told() -> None:
    with pytest.warns(UserWarning, match=r"as-of 2025-12-15: the horizon of 31 days ends after the last opening"):
        read_sample(bank(50), CATALOG, [dt.date(2025, 12, 15)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "never opened")
        read_sample(bank(50), CATALOG, DAYS[-1:])


@pytest.mark.parametrize("horizon", [0, -3])
def test_a_horizon_of_no_day_is_refused(horizon: int) -> None:
    with pytest.raises(SampleError, match=f"a horizon of {horizon} days holds no opening"):
        read_sample(bank(50), CATALOG, DAYS, horizon)


def test_a_day_before_the_first_client_is_refused() -> None:
    with pytest.raises(SampleError, match="as-of 2019-01-01: no client of the cohort is active on that day"):
        read_sample(bank(50), CATALOG, [dt.date(2019, 1, 1)])


def test_a_bank_without_openings_is_refused() -> None:
    with pytest.raises(SampleError, match="table holdings has no opening at all"):
        read_sample(hand_made([]), CATALOG, [DAY])


def test_days_named_twice_count_once_and_stand_in_order() -> None:
    read = read_sample(bank(50), CATALOG, [DAYS[1], DAYS[0], DAYS[1]])
    assert [day.as_of for day in read.days] == DAYS


def test_a_cohort_says_who_is_trained_on() -> None:
    cohort = pd.DataFrame({"client_id": ["c0003", "c0001", "c0007"], "as_of": [DAYS[0], DAYS[0], DAYS[1]]})
    read = read_sample(bank(50), CATALOG, DAYS, cohorts=cohort)
    assert [day.profiles.client_ids.tolist() for day in read.days] == [["c0001", "c0003"], ["c0007"]]


def test_the_last_days_whose_horizons_are_over_are_taken_by_default() -> None:
    assert default_days(bank(50), 31, 3) == [LAST_DAY - dt.timedelta(days=31 * back) for back in (3, 2, 1)]
    assert last_day(bank(50)) == LAST_DAY


def test_the_days_of_a_bank_with_positions_are_month_ends() -> None:
    positions = pd.DataFrame({"client_id": ["a"], "product_id": ["card"], "month": ["2025-06-30"], "balance": [1.0]})
    some = hand_made([("a", "card", "2024-01-01"), ("b", "card", "2025-07-31")], positions=positions)
    assert default_days(some, 31, 3) == [dt.date(2025, 4, 30), dt.date(2025, 5, 31), dt.date(2025, 6, 30)]
    assert default_days(some, 32, 1) == [dt.date(2025, 5, 31)]
    assert default_days(some, 92, 2) == [dt.date(2025, 1, 31), dt.date(2025, 4, 30)]


def test_no_day_before_the_first_opening_is_taken_by_default() -> None:
    young = hand_made([("a", "card", "2025-05-20"), ("b", "card", "2025-07-01")])
    assert default_days(young, 31, 4) == [dt.date(2025, 5, 31)]
    only = hand_made([("a", "card", "2025-07-01")])
    assert default_days(only, 31, 4) == [dt.date(2025, 5, 31)]


def test_who_of_a_cohort_is_not_there_is_named() -> None:
    cohort = pd.DataFrame({"client_id": ["c0003", "nobody", "c0001"], "as_of": DAYS[0]})
    with pytest.warns(UserWarning, match="1 clients of the cohort are left out, .* or they have left: nobody"):
        read_sample(bank(50), CATALOG, DAYS[:1], cohorts=cohort)


def test_the_days_of_the_banks_cohorts_are_taken_by_default() -> None:
    tables = frames(50)
    cohorts = pd.DataFrame({"client_id": "c0001", "as_of": [DAYS[1], DAYS[0], DAYS[0], LAST_DAY, None]})
    assert default_days(Bank.of(**tables, cohorts=cohorts)) == DAYS
    with pytest.warns(UserWarning, match="as-of 2025-12-31: days of the cohort that are left out, as the last opening"):
        assert default_days(bank(50), cohorts=cohorts) == DAYS  # and those of a cohort that is given
    assert default_days(Bank.of(**tables, cohorts=cohorts), cohorts=cohorts[:1]) == DAYS[1:]


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        (["2026-01-31", "2025-12-31"], "the cohort has no other days than 2025-12-31, 2026-01-31, and the last"),
        ([None, None], "the cohort has no day at all in as_of, and the last opening .* is of 2025-12-31"),
    ],
)
def test_a_cohort_of_no_day_to_learn_from_is_refused(as_of: list[str | None], message: str) -> None:
    cohort = pd.DataFrame({"client_id": "c0001", "as_of": pd.to_datetime(as_of)})
    with pytest.raises(SampleError, match=message):
        default_days(bank(50), cohorts=cohort)


def test_the_validation_clients_are_the_same_in_every_run() -> None:
    ids = np.array([f"c{number}" for number in range(4_000)])
    out = held_out(ids, 0.1)
    assert out.mean() == pytest.approx(0.1, abs=0.015)
    assert held_out(ids[::-1], 0.1)[::-1].tolist() == out.tolist()
    assert (held_out(ids, 0.3) | ~out).all(), "a smaller share is part of a larger one"


def test_folds_do_not_follow_the_choice_of_validation_clients() -> None:
    ids = np.array([f"c{number}" for number in range(4_000)])
    kept = ids[~held_out(ids, 0.5)]
    assert np.bincount(fold(kept, 2)) / len(kept) == pytest.approx([0.5, 0.5], abs=0.03)
