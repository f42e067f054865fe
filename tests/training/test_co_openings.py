"""What is opened together, on tables worked out by hand and on openings drawn from a known model."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.training.candidates.co_openings import CoOpenings, sets_of
from sheaf.training.ranker.bundle_order import Completion, likeliest_sets
from sheaf.training.ranker.opening_probability import logit

TIES = np.array([[0.0, 2.0, -1.0], [2.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
LEARNED = CoOpenings(0.5, np.array([0.1, 0.2, 0.3]), TIES)


def test_the_weight_of_a_set_by_hand() -> None:
    log_odds, missing = np.array([[1.0, 2.0, 3.0]]), np.array([[True, True, True]])
    slots = np.array([[0, 1, 3], [0, 1, 2], [2, 3, 3]])  # 3 fills up
    found = LEARNED.weights(log_odds, missing, np.zeros(3, dtype=int), slots)
    pair = 0.5 * 1 + 0.1 + 0.5 * 2 + 0.2 + 2
    assert found == pytest.approx([pair, pair + 0.5 * 3 + 0.3 - 1, 0.5 * 3 + 0.3])


def test_what_is_held_weighs_nothing() -> None:
    held_second = np.array([[True, False, True]])
    found = LEARNED.weights(np.array([[1.0, 2.0, 3.0]]), held_second, np.array([0]), np.array([[0, 1, 2]]))
    assert found == pytest.approx([0.5 * 1 + 0.1 + 0.5 * 3 + 0.3 - 1])


def test_a_product_never_learned_is_tied_to_nothing() -> None:
    moved = LEARNED.for_products(["a", "b", "c"], ["new", "b", "a"])
    assert moved.bias == pytest.approx([0.2, 0.2, 0.1])
    assert moved.ties.tolist() == [[0, 0, 0], [0, 0, 2], [0, 2, 0]]


def drawn(clients: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of four products, and openings of which the first two come together and never with the third."""
    rng = np.random.default_rng(0)
    log_odds = logit(rng.uniform(0.05, 0.3, (clients, 4)))
    patterns = np.array(list(product([0, 1], repeat=4)))
    weight = log_odds @ patterns.T + 2 * patterns[:, 0] * patterns[:, 1] - 3 * patterns[:, 0] * patterns[:, 2]
    chance = np.exp(weight) / np.exp(weight).sum(axis=1, keepdims=True)
    picked = (rng.random((clients, 1)) < chance.cumsum(axis=1)).argmax(axis=1)
    return log_odds, patterns[picked]


def test_ties_are_found_with_their_sign() -> None:
    log_odds, opened = drawn(20_000)
    found = CoOpenings.fit(log_odds, opened, np.ones(opened.shape, dtype=bool))
    assert found.ties[0, 1] > found.ties[[0, 1, 2], [3, 3, 3]].max() + 1
    assert found.ties[0, 2] < found.ties[[0, 1, 2], [3, 3, 3]].min() - 1
    assert (found.ties == found.ties.T).all()
    assert not found.ties.diagonal().any()


def test_too_few_who_opened_several_teach_nothing() -> None:
    log_odds, opened = drawn(300)
    opened[np.flatnonzero(opened.sum(axis=1) > 1)[99:]] = 0
    found = CoOpenings.fit(log_odds, opened, np.ones(opened.shape, dtype=bool))
    assert found.slope == 1.0
    assert not found.bias.any()
    assert not found.ties.any()


def test_who_opened_all_they_could_teach_nothing() -> None:
    everything = np.ones((150, 2))
    found = CoOpenings.fit(np.zeros((150, 2)), everything, everything > 0)
    assert found.slope == 1.0
    assert not found.ties.any()


@given(st.integers(1, 4), st.integers(2, 6), st.integers(2, 3))
def test_every_set_is_there_once(clients: int, products: int, size: int) -> None:
    likeliest = np.tile(np.arange(products), (clients, 1))
    client, sets = sets_of(likeliest, size)
    told = {(int(whose), *map(int, of_set)) for whose, of_set in zip(client, sets, strict=True)}
    assert len(told) == len(client)
    assert all(len(set(of_set)) == size for of_set in sets)


def test_completion_is_learned_from_the_likeliest_sets() -> None:
    """The probability of a pair that comes together is above the product of its parts', and right on average."""
    _, opened = drawn(20_000)
    reached = np.ones(opened.shape, dtype=bool)
    alone = opened.mean(axis=0)
    probability = np.broadcast_to(alone, opened.shape)
    learned = CoOpenings.fit(logit(probability), opened, reached)
    x, whole, _ = likeliest_sets(probability, reached, opened, learned)
    completion = Completion.fit(x, whole, np.ones(len(x)))
    assert completion.two is not None
    pair = x[(x[:, 3] == 2) & np.isclose(x[:, 1], np.log(alone[:2]).sum())][:1]
    told = 1 / (1 + np.exp(-(pair @ np.array(completion.two[:-1]) + completion.two[-1])))
    assert told[0] == pytest.approx(opened[:, :2].all(axis=1).mean(), rel=0.25)
    assert told[0] > 1.5 * alone[:2].prod()
