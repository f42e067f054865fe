from __future__ import annotations

from math import exp, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.training.discovery.association import Association, associate, false_discovery, weakest


def marks(*rows: str) -> tuple[np.ndarray, np.ndarray]:
    """Of rows such as "ab", "a", "": which have a, and which b."""
    first, second = (np.array([mark in row for row in rows], dtype=bool) for mark in "ab")
    return first, second


EIGHT = ("ab", "ab", "ab", "a", "b", "", "", "")


def test_lift_is_what_is_seen_over_what_popularity_explains():
    found = associate(*marks(*EIGHT), np.zeros(8, int))
    assert (found.rows, found.together) == (8, 3)
    assert found.lift == pytest.approx(3 / (8 * 4 / 8 * 4 / 8))


def test_error_of_the_lift_by_hand():
    # Of each row o/3 − (a/2 + b/2 − 1/4)/2: three rows with both −1/24, one with each alone −1/8, three with none 1/8.
    found = associate(*marks(*EIGHT), np.zeros(8, int))
    assert found.log_error == pytest.approx(sqrt(3 / 24**2 + 2 / 8**2 + 3 / 8**2))
    away = exp(NormalDist().inv_cdf(0.975) * sqrt(1 / 12))
    assert found.interval == pytest.approx((1.5 / away, 1.5 * away))
    assert found.p_value() == pytest.approx(1 - NormalDist().cdf(np.log(1.5) / sqrt(1 / 12)))
    assert found.p_value(2.0) == 1.0


def test_rows_of_one_owner_count_once():
    first, second = marks(*EIGHT)
    doubled = associate(np.repeat(first, 2), np.repeat(second, 2), np.zeros(16, int), (np.repeat(np.arange(8), 2),))
    assert doubled.log_error == pytest.approx(associate(first, second, np.zeros(8, int)).log_error)
    assert doubled.lift == pytest.approx(1.5)


def test_of_two_owners_the_rows_that_share_either_are_related():
    first, second = marks(*EIGHT)
    one, other = np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 0, 1, 0, 1, 2])
    rows = np.array([-1 / 24, -1 / 24, -1 / 24, -1 / 8, -1 / 8, 1 / 8, 1 / 8, 1 / 8])
    of_one, of_other = np.bincount(one, rows), np.bincount(other, rows)
    found = associate(first, second, np.zeros(8, int), (one, other, np.arange(8)))
    assert found.log_error == pytest.approx(sqrt((of_one**2).sum() + (of_other**2).sum() - (rows**2).sum()))
    opposed = np.arange(8) // 2, np.arange(8) % 2, np.arange(8)  # what little is left is no less than of single rows
    assert associate(first, second, np.zeros(8, int), opposed).log_error == pytest.approx(sqrt((rows**2).sum()))


def test_what_two_segments_make_popular_apart_is_no_tie():
    first, second = marks(*["ab"] * 4, *[""] * 4)
    assert associate(first, second, np.zeros(8, int)).lift == pytest.approx(2.0)
    assert associate(first, second, np.repeat([0, 1], 4)).lift == pytest.approx(1.0)


def test_expected_is_a_sum_over_strata():
    first, second = marks("ab", "a", "", "ab", "b", "a", "", "")
    found = associate(first, second, np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    assert found.lift == pytest.approx(2 / (2 * 1 / 3 + 2 * 2 / 5))


@pytest.mark.parametrize("rows", [("a", "b", ""), ("", "", ""), ("a", "a", "a"), ()])
def test_where_nothing_meets_nothing_is_found(rows: tuple[str, ...]):
    found = associate(*marks(*rows), np.zeros(len(rows), int))
    assert (found.together, found.lift, found.p_value()) == (0, 0.0, 1.0)


def test_what_everybody_has_goes_with_nothing():
    found = associate(np.ones(6, bool), np.array([1, 1, 1, 0, 0, 0], bool), np.zeros(6, int))
    assert (found.lift, found.p_value()) == (1.0, 1.0)


@given(st.integers(0, 10_000), st.floats(0.05, 0.6), st.floats(0.05, 0.6))
def test_expectation_is_exact_however_small_the_strata_are(seed: int, one: float, other: float):
    """Where marks are dealt anew within strata of three rows, what is seen is what was expected, in the mean."""
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 900)) < [[one], [other]]
    stratum = np.arange(900) // 3
    a, b = (np.bincount(stratum, mark) for mark in (first, second))
    expected = float((a * b / 3).sum())
    seen = [(first & rng.permuted(second.reshape(-1, 3), axis=1).ravel()).sum() for _ in range(200)]
    assert np.mean(seen) == pytest.approx(expected, abs=5 * np.std(seen) / sqrt(200) + 1e-9)
    found = associate(first, second, stratum)
    assert found.together == 0 or found.lift == pytest.approx(found.together / expected)


def test_error_is_that_of_a_bootstrap_over_owners():
    rng = np.random.default_rng(0)
    clients, windows = 2_000, 6
    owner, stratum = np.repeat(np.arange(clients), windows), np.tile(np.arange(windows), clients) % 3
    liked = np.repeat(rng.random((2, clients)) < 0.15, windows, axis=1)  # a client wants the same in most windows
    first, second = liked & (rng.random(liked.shape) < 0.8)
    found = associate(first, second, stratum, (owner,))
    lifts = []
    for _ in range(200):
        drawn = rng.integers(0, clients, clients)
        rows = (drawn[:, None] * windows + np.arange(windows)).ravel()
        lifts.append(associate(first[rows], second[rows], stratum[rows]).lift)
    assert found.log_error == pytest.approx(np.std(np.log(lifts)), rel=0.15)
    assert found.log_error > 1.5 * associate(first, second, stratum).log_error


def test_the_weakest_of_several_is_the_one_least_sure():
    strong, sure, unsure = (Association(99, 50, lift, error) for lift, error in ((3.0, 0.1), (1.5, 0.05), (1.6, 0.5)))
    assert weakest([strong, sure, unsure]) == unsure
    assert weakest([strong, sure]) == sure
    none = [Association(99, 50, lift, 0.1) for lift in (0.9, 0.5, 1.0)]
    assert weakest([strong, *none]).lift == 0.5


def test_false_discovery_by_hand():
    # In order: 0.01·4/1, 0.02·4/2, 0.03·4/3, 0.5·4/4, each no more than the next.
    assert false_discovery(np.array([0.03, 0.01, 0.5, 0.02])) == pytest.approx([0.04, 0.04, 0.5, 0.04])
    assert len(false_discovery(np.array([]))) == 0
