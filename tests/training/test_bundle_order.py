from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.training import BundleRows, Candidates, Model, Pairs, TrainingSample, bundle_rows, fit
from sheaf.training.metrics import Ranked, ndcg
from sheaf.training.ranker.bundle_order import (
    COLUMNS,
    Completion,
    Order,
    Sample,
    expected_gain,
    fit_order,
    gain,
    opened_of,
)
from sheaf.training.ranker.opening_probability import logit
from tests.made import CATALOG, OFFERS, QUICK, bundles_wanted


@pytest.mark.parametrize(
    ("opened", "brings", "expected"),
    [(1, 1, 1.0), (0, 1, 0.0), (2, 2, 2.0), (1, 2, 1 / 2), (1, 3, 1 / 3), (2, 3, 4 / 3), (3, 3, 3.0), (0, 4, 0.0)],
)
def test_what_a_bundle_was_worth(opened: float, brings: float, expected: float) -> None:
    assert gain(np.array([opened]), np.array([brings])) == pytest.approx([expected])


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5))
def test_expected_gain_is_the_mean_over_all_that_may_be_opened(chances: list[float]) -> None:
    chance = np.array(chances)
    by_outcome = sum(
        np.prod(np.where(opened, chance, 1 - chance)) * sum(opened) ** 2 / len(chance)
        for opened in product([0, 1], repeat=len(chance))
    )
    told = expected_gain(chance.sum(keepdims=True), (chance**2).sum(keepdims=True), np.array([len(chance)]))
    assert told == pytest.approx([by_outcome], rel=1e-9)


def rows_of(model: Model, sample: TrainingSample, chance: float | None = None) -> tuple[Candidates, BundleRows]:
    candidates, aligned = model.candidates(), model.align(sample.days[-1].profiles)
    slate, peers = candidates.slate(aligned.values), candidates.peer_groups(aligned.values)
    if chance is None:
        probability = model.adoption.of_clients(candidates, aligned.values, slate, peers, threads=2)
    else:
        probability = np.where(slate.reached, chance, 0.0)
    return candidates, bundle_rows(candidates, aligned.values, slate, probability)


def test_a_row_of_a_bundle_by_hand(model: Model, sample: TrainingSample) -> None:
    candidates, rows = rows_of(model, sample, chance=0.2)
    values = model.align(sample.days[-1].profiles).values
    held = candidates.held(values)
    home = rows.pairs.item == OFFERS.index("home")
    mortgage, insurance = candidates.positions["mortgage"], candidates.positions["insurance"]
    for state, brings in (((False, False), 2), ((True, False), 1), ((False, True), 1)):
        of_state = (held[rows.pairs.client][:, [mortgage, insurance]] == state).all(axis=1) & home
        assert of_state.any()
        found = {name: np.unique(rows.column(name)[of_state]) for name in COLUMNS}
        assert found["brings"] == brings
        assert found["size"] == 2
        assert found["held_share"] == pytest.approx(1 - brings / 2)
        assert found["expected_openings"] == pytest.approx(0.2 * brings)
        assert found["all_independently"] == pytest.approx(brings * np.log(0.2))
        # two at one chance in five: 2 · 0.04 for both, 1/2 · 2 · 0.16 for one of them
        assert found["expected_gain"] == pytest.approx(np.log(0.2 if brings == 1 else 2 * 0.04 + 0.5 * 0.32))
        assert found["most_likely"] == pytest.approx(logit(np.array([0.2])), rel=1e-5)
        assert found["least_likely"] == found["most_likely"]
        assert found["lines"] == 2  # retail and intermediary
        learned, alone = candidates.co_openings, float(logit(np.array([0.2]))[0])
        if brings == 2:
            weight = (
                2 * learned.slope * alone
                + learned.bias[[mortgage, insurance]].sum()
                + learned.ties[mortgage, insurance]
            )
            assert found["all_together"] == pytest.approx(weight, rel=1e-5)


def test_what_is_held_already_is_not_counted_as_opened(model: Model) -> None:
    candidates = model.candidates()
    pairs = Pairs(np.array([0, 0, 1]), np.array([OFFERS.index(name) for name in ("home", "card", "home")]))
    opened, held = np.zeros((2, 8), np.int8), np.zeros((2, 8), bool)
    mortgage, insurance = candidates.positions["mortgage"], candidates.positions["insurance"]
    opened[:, [mortgage, insurance]] = 1
    held[1, mortgage] = True
    assert opened_of(candidates, pairs, opened, held).tolist() == [2, 0, 1]


def of_matrix(pairs: Pairs, x: np.ndarray) -> BundleRows:
    return BundleRows(pairs, {name: lambda at=at: x[:, at] for at, name in enumerate(COLUMNS)})  # type: ignore[misc]


def hand_made(parts: list[list[float]]) -> BundleRows:
    """A row a bundle, from the probabilities of the products it brings."""
    x = np.zeros((len(parts), len(COLUMNS)), np.float32)
    for row, chances in enumerate(parts):
        chance = np.array(chances)
        told = {"brings": len(chance), "least_likely": logit(chance).min(), "all_independently": np.log(chance).sum()}
        for name, value in told.items():
            x[row, COLUMNS.index(name)] = value
    return of_matrix(Pairs(np.arange(len(parts)), np.arange(len(parts))), x)


PARTS = st.lists(st.lists(st.floats(1e-4, 0.999), min_size=1, max_size=4), min_size=1, max_size=6)


REGRESSION = st.tuples(*[st.floats(-3, 3)] * 4, st.floats(-20, 20))


@given(PARTS, REGRESSION, REGRESSION)
def test_a_bundle_is_never_likelier_than_its_least_likely_part(
    parts: list[list[float]], two: tuple[float, ...], more: tuple[float, ...]
) -> None:
    least = np.array([min(chances) for chances in parts])
    for completion in (Completion(), Completion(two, more)):
        whole = completion(hand_made(parts))
        assert (whole <= least * (1 + 1e-4)).all()
        assert (whole >= 0).all()
        single = np.array([len(chances) == 1 for chances in parts])
        assert whole[single] == pytest.approx(least[single], rel=1e-4)


def test_without_enough_whole_bundles_opened_products_are_taken_as_independent() -> None:
    nothing = Completion.fit(np.zeros((19, 4)), np.ones(19, bool), np.ones(19))
    assert nothing == Completion()
    assert nothing(hand_made([[0.5, 0.2], [0.5]])) == pytest.approx([0.1, 0.5], rel=1e-5)


def test_completion_finds_bundles_that_are_opened_together() -> None:
    """Products opened together half of the time, where independence would say one time in a hundred."""
    rng = np.random.default_rng(0)
    rows = hand_made([[0.1, 0.1]] * 4_000)
    x = Completion.inputs(rows)
    found = Completion.fit(x, rng.random(len(x)) < 0.05, np.ones(len(x)))
    assert found(rows) == pytest.approx(np.full(len(x), 0.05), abs=0.01)


def test_bundles_of_two_and_of_more_are_each_told_right() -> None:
    """Pairs are opened whole as independence says, three at once ten times as often: one line tells neither."""
    rng = np.random.default_rng(1)
    rows = hand_made([[0.2, 0.2], [0.2, 0.2, 0.2]] * 10_000)
    x, three = Completion.inputs(rows), np.arange(20_000) % 2 == 1
    whole = rng.random(len(x)) < np.where(three, 0.08, 0.04)
    found = Completion.fit(x, whole, np.ones(len(x)))
    told = found(rows)
    assert told[three] == pytest.approx(np.full(10_000, 0.08), abs=0.01)
    assert told[~three] == pytest.approx(np.full(10_000, 0.04), abs=0.01)
    few = Completion.fit(x[~three], whole[~three], np.ones(10_000))
    assert few.more == few.two is not None


def test_the_trained_model_keeps_to_that_as_well(model: Model, sample: TrainingSample) -> None:
    _, rows = rows_of(model, sample)
    whole = model.completion(rows)
    least = 1 / (1 + np.exp(-rows.column("least_likely").astype(float)))
    assert ((whole > 0) & (whole <= least + 1e-9)).all()


def test_a_bundle_is_chosen_as_often_as_the_products_it_brings(model: Model, sample: TrainingSample) -> None:
    """Shares of 0.3 each: 0.6 for a bundle that brings two. A product that the choice model does not know has its
    probability over the sum of those of products that it knows; 0 where it knows none."""
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values
    slate = candidates.slate(values)
    flat = np.where(slate.reached, 0.2, 0.0)
    told = bundle_rows(candidates, values, slate, flat, np.where(slate.reached, 0.3, np.nan))
    assert np.exp(told.column("chosen")) == pytest.approx(0.3 * told.column("brings"), rel=1e-5)
    untold = bundle_rows(candidates, values, slate, flat)
    assert not untold.column("chosen").any()
    share = np.where(slate.reached, 0.3, np.nan)
    share[:, candidates.positions["card"]] = np.nan
    partly = bundle_rows(candidates, values, slate, flat, share)
    card = partly.pairs.item == OFFERS.index("card")
    known = (~np.isnan(share)).sum(axis=1)[partly.pairs.client[card]]
    assert card.any()
    expected = 1 / np.maximum(known, 1)
    assert np.exp(partly.column("chosen")[card]) == pytest.approx(expected, rel=1e-5)


def test_the_order_goes_by_the_choice_only_where_that_orders_better() -> None:
    sample = bundles_wanted()
    parameters = QUICK.model_copy(update={"ranking_rounds": 0})
    chosen = COLUMNS.index("chosen")
    sample.x[:, chosen] = np.random.default_rng(1).normal(size=len(sample.x)) / 10
    assert fit_order(sample, parameters)[0].share == 0.0
    sample.x[:, chosen] = np.where(sample.gain > 0, 3.0, -3.0)
    order, told = fit_order(sample, parameters)
    assert order.booster is None
    assert order.share == told["share"] > 0
    rows = of_matrix(Pairs(sample.client, np.tile([0, 1, 2], 300)), sample.x)
    by_choice, without = (
        ndcg(Ranked.of(sample.client, of.score(rows, 1), sample.gain), 5).mean() for of in (order, Order(None))
    )
    assert by_choice > without + 0.1


def softmax_choices(seed: int, clients: int, of_gain: float, of_chosen: float) -> Sample:
    """Clients who choose one of five bundles by a softmax over `of_gain · expected_gain + of_chosen · chosen`."""
    rng = np.random.default_rng(seed)
    x = np.zeros((clients * 5, len(COLUMNS)), dtype=np.float32)
    gain, chosen = rng.normal(size=(2, clients, 5))
    x[:, COLUMNS.index("expected_gain")], x[:, COLUMNS.index("chosen")] = gain.ravel(), chosen.ravel()
    wants = of_gain * gain + of_chosen * chosen + rng.gumbel(size=gain.shape)
    opened = np.eye(5)[wants.argmax(axis=1)].ravel()
    client, ones = np.repeat(np.arange(clients), 5), np.ones(len(opened))
    return Sample(x, client, opened, opened > 0, ones, client % 2)


def test_the_choice_counts_as_much_as_it_tells() -> None:
    order, _ = fit_order(softmax_choices(2, 4_000, 0.8, 1.2), QUICK.model_copy(update={"ranking_rounds": 0}))
    assert order.share == pytest.approx(1.5, rel=0.1)


def test_what_the_choice_tells_is_not_dropped_by_luck() -> None:
    """It tells little here: NDCG of 1,000 clients says that it orders worse in nine of thirty draws."""
    parameters = QUICK.model_copy(update={"ranking_rounds": 0})
    shares = [fit_order(softmax_choices(seed, 1_000, 2.0, 0.2), parameters)[0].share for seed in range(20)]
    assert min(shares) > 0
    assert np.mean(shares) == pytest.approx(0.1, rel=0.2)


def test_the_ranking_model_learns_what_the_start_misses() -> None:
    sample = bundles_wanted()
    order, told = fit_order(sample, QUICK)
    assert order.booster is not None
    assert told["after"] > told["before"] + 0.1
    rows = of_matrix(Pairs(sample.client, np.tile([0, 1, 2], 300)), sample.x)
    learned, start = (
        ndcg(Ranked.of(sample.client, of.score(rows, 1), sample.gain), 5).mean() for of in (order, Order(None))
    )
    assert learned > start + 0.1


def test_the_start_is_the_order_where_nothing_can_be_learned() -> None:
    sample = bundles_wanted()
    column = COLUMNS.index("expected_gain")
    sample.x[:, column] = np.where(sample.gain > 0, 1.0, -1.0)  # the start is right everywhere already
    order, told = fit_order(sample, QUICK)
    assert order.booster is None
    assert told["before"] == pytest.approx(1.0)
    rows = of_matrix(Pairs(sample.client, sample.client), sample.x)
    assert order.score(rows, threads=1).tolist() == sample.x[:, column].tolist()


def test_stage_two_can_be_left_out(sample: TrainingSample) -> None:
    model, told = fit(sample, CATALOG, QUICK.model_copy(update={"ranking_rounds": 0}), {})
    assert model.order.booster is None
    assert "ranking_rounds" not in told


def test_joined_samples_keep_their_clients_apart() -> None:
    one, other = bundles_wanted(2), bundles_wanted(3)
    joined = Sample.join([one, other])
    assert joined.client.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert joined.gain.tolist() == [*one.gain, *other.gain]


def test_ranks_begin_at_one_with_the_best(model: Model, sample: TrainingSample) -> None:
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    assert (np.diff(ranking.client) >= 0).all()
    for client in range(0, len(values), 50):
        mine = ranking.client == client
        assert ranking.rank[mine].tolist() == list(range(1, mine.sum() + 1))
        assert ranking.score[mine].tolist() == sorted(ranking.score[mine], reverse=True)
    best = ranking.top(2)
    assert best.rank.max() == 2
    assert len(best.client) == (ranking.rank <= 2).sum()


def test_nobody_has_no_ranking(model: Model, sample: TrainingSample) -> None:
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values[:0]
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    assert [len(of) for of in vars(ranking).values()] == [0] * 6
