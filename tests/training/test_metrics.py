from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.training.metrics import (
    Ranked,
    average_precision,
    bootstrap_interval,
    calibration_error,
    coverage,
    ndcg,
    recall,
    reliability,
)


def ranked(*clients: list[float]) -> Ranked:
    """Every client's gains in the order shown."""
    client = np.repeat(np.arange(len(clients)), [len(gains) for gains in clients])
    score = np.concatenate([-np.arange(len(gains), dtype=float) for gains in clients])
    item = np.concatenate([np.arange(len(gains)) for gains in clients])
    return Ranked.of(client, score, np.concatenate([np.array(gains, dtype=float) for gains in clients]), item)


NOBODY = Ranked.of(np.empty(0, int), np.empty(0), np.empty(0), np.empty(0, int))


@pytest.mark.parametrize(
    ("gains", "k", "expected"),
    [
        ([1, 0, 1, 0], 4, 1 / 2 * (1 / 1 + 2 / 3)),
        ([0, 1, 0, 1], 4, 1 / 2 * (1 / 2 + 2 / 4)),
        ([0, 0, 1], 3, 1 / 1 * (1 / 3)),
        ([1, 1, 1], 3, 1.0),
        ([1, 0, 1, 0], 2, 1 / 2 * (1 / 1)),
        ([0, 0, 1], 2, 0.0),
        ([1, 1, 1], 1, 1.0),  # no more than k can be right
        ([1, 0, 1], 99, 1 / 2 * (1 / 1 + 2 / 3)),  # k beyond the candidates
        ([0.5, 0, 2.0], 3, 1 / 2 * (1 / 1 + 2 / 3)),  # wanted is wanted, however much it was worth
    ],
)
def test_average_precision(gains: list[float], k: int, expected: float) -> None:
    assert average_precision(ranked(gains), k) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("gains", "k", "expected"),
    [
        ([1, 0, 1, 0], 1, 1 / 1),
        ([1, 0, 1, 0], 2, 1 / 2),
        ([1, 0, 1, 0], 3, 2 / 2),
        ([0, 1, 1, 1], 2, 1 / 2),  # three were wanted, two can be shown
        ([0, 1], 99, 1.0),
    ],
)
def test_recall(gains: list[float], k: int, expected: float) -> None:
    assert recall(ranked(gains), k) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("gains", "k", "expected"),
    [
        ([1, 0, 0], 3, 1.0),
        ([0, 1, 0], 3, (1 / np.log2(3)) / 1),
        ([0, 0, 1], 2, 0.0),
        ([0.5, 2, 0], 3, (0.5 / 1 + 2 / np.log2(3)) / (2 / 1 + 0.5 / np.log2(3))),  # graded
        ([0.5, 1, 2], 2, (0.5 / 1 + 1 / np.log2(3)) / (2 / 1 + 1 / np.log2(3))),  # the ideal too is cut at k
        ([0, 2, 1], 99, (2 / np.log2(3) + 1 / np.log2(4)) / (2 / 1 + 1 / np.log2(3))),
    ],
)
def test_ndcg(gains: list[float], k: int, expected: float) -> None:
    assert ndcg(ranked(gains), k) == pytest.approx([expected])


def test_each_client_counts_once() -> None:
    both = ranked([0, 1, 0, 1], [1, 0])
    assert average_precision(both, 7) == pytest.approx([1 / 2 * (1 / 2 + 2 / 4), 1.0])
    assert recall(both, 1) == pytest.approx([0 / 1, 1 / 1])
    assert ndcg(both, 1) == pytest.approx([0.0, 1.0])


def test_clients_who_wanted_nothing_are_left_out() -> None:
    some = ranked([0, 0], [0, 1], [0])
    assert some.clients == 1
    assert average_precision(some, 2) == pytest.approx([1 / 2])
    assert coverage(some, 1, items=4) == 1 / 4


def test_clients_may_come_in_any_order() -> None:
    client, item = np.array([7, 3, 7, 3]), np.array([0, 1, 1, 0])
    score, gain = np.array([0.1, 0.9, 0.2, 0.3]), np.array([1.0, 0.0, 0.0, 1.0])
    mixed = Ranked.of(client, score, gain, item)
    assert mixed.client.tolist() == [0, 0, 1, 1]
    assert mixed.item.tolist() == [1, 0, 1, 0]
    assert average_precision(mixed, 2) == pytest.approx([1 / 2, 1 / 2])


def test_equal_scores_stand_in_the_order_of_the_items() -> None:
    client, score = np.zeros(3, int), np.full(3, 0.5)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        item = np.array(order)
        assert Ranked.of(client, score, (item == 1).astype(float), item).item.tolist() == [0, 1, 2]
    assert average_precision(Ranked.of(client, score, np.array([0.0, 0.0, 1.0])), 3) == pytest.approx([1 / 3])


def test_an_item_listed_twice_is_two_pairs() -> None:
    twice = Ranked.of(np.zeros(3, int), np.array([3.0, 2.0, 1.0]), np.array([1.0, 1.0, 0.0]), np.array([5, 5, 6]))
    assert average_precision(twice, 3) == pytest.approx([1.0])
    assert coverage(twice, 3, items=10) == 2 / 10


def test_without_pairs_there_is_nobody_to_count() -> None:
    assert [len(of(NOBODY, 5)) for of in (average_precision, recall, ndcg)] == [0, 0, 0]
    assert coverage(NOBODY, 5, items=3) == 0.0
    assert np.isnan(bootstrap_interval(average_precision(NOBODY, 5))).all()


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="2 scores are not numbers"):
        Ranked.of(np.zeros(3, int), np.array([np.nan, 1.0, np.nan]), np.ones(3))


def test_coverage_counts_items_shown_to_anyone() -> None:
    client, item = np.repeat([0, 1], 3), np.array([0, 1, 2, 0, 3, 1])
    some = Ranked.of(client, -np.tile([0.0, 1.0, 2.0], 2), np.ones(6), item)
    assert coverage(some, 1, items=5) == 1 / 5
    assert coverage(some, 2, items=5) == 3 / 5
    assert coverage(some, 99, items=5) == 4 / 5


def test_calibration_error_by_hand() -> None:
    chance, happened = np.array([0.1, 0.3, 0.8, 0.6]), np.array([0, 1, 1, 1])
    # two bins of two: (0.1, 0.3) of which one happened, (0.6, 0.8) of which both did
    expected = 1 / 2 * abs(0.2 - 1 / 2) + 1 / 2 * abs(0.7 - 1)
    assert calibration_error(chance, happened, bins=2) == pytest.approx(expected)
    assert reliability(chance, happened, bins=2) == pytest.approx(np.array([[0.2, 0.5, 2], [0.7, 1.0, 2]]))
    assert calibration_error(chance, happened, bins=1) == pytest.approx(abs(1.8 / 4 - 3 / 4))


def test_calibration_error_of_weighted_pairs() -> None:
    # a pair of weight 3 is three pairs
    once = calibration_error(np.array([0.2, 0.6]), np.array([0, 1]), np.array([3.0, 1.0]), bins=1)
    thrice = calibration_error(np.array([0.2, 0.2, 0.2, 0.6]), np.array([0, 0, 0, 1]), bins=1)
    assert once == pytest.approx(thrice)
    assert once == pytest.approx(abs(1.2 / 4 - 1 / 4))


def test_a_calibrated_probability_has_no_error() -> None:
    chance = np.repeat([0.25, 0.75], 4)
    assert calibration_error(chance, np.array([1, 0, 0, 0, 1, 1, 1, 0]), bins=2) == pytest.approx(0.0)


def test_calibration_without_rows_is_not_a_number() -> None:
    assert np.isnan(calibration_error(np.empty(0), np.empty(0)))
    assert reliability(np.empty(0), np.empty(0)).shape == (0, 3)


def test_more_bins_than_rows_leave_no_empty_bin() -> None:
    table = reliability(np.array([0.2, 0.4]), np.array([0, 1]), bins=15)
    assert table.tolist() == [[0.2, 0.0, 1.0], [0.4, 1.0, 1.0]]


def test_the_interval_holds_the_mean_and_is_the_same_every_time() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.5, 0.25, 1.0])
    low, high = bootstrap_interval(values)
    assert 0.0 <= low < values.mean() < high <= 1.0
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.full(5, 0.3)) == pytest.approx((0.3, 0.3))


GAINS = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=6), min_size=1, max_size=5)


@given(GAINS, st.integers(1, 8))
def test_no_order_beats_the_one_by_what_was_wanted(gains: list[list[float]], k: int) -> None:
    shown, best = ranked(*gains), ranked(*[sorted(of_client, reverse=True) for of_client in gains])
    for of in (average_precision, ndcg, recall):
        assert (of(shown, k) <= of(best, k) + 1e-12).all()
        assert of(best, k) == pytest.approx(np.ones(best.clients))
        assert ((of(shown, k) >= 0) & (of(shown, k) <= 1 + 1e-12)).all()
