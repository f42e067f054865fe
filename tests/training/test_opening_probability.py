from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.training import Model, Parameters, TrainingSample, fit
from sheaf.training.ranker import opening_probability
from sheaf.training.ranker.opening_probability import Calibration, PairRows, keep_share, logit, sigmoid
from sheaf.training.samples import fold
from tests.made import CATALOG, QUICK


@pytest.mark.parametrize(
    ("pairs", "openings", "negatives", "least", "expected"),
    [
        (1_000, 10, 5, 1, 5 * 10 / 990),
        (1_000, 10, 5, 500, 490 / 990),  # rather more than five for each, to have 500 rows
        (1_000, 10, 99, 1, 1.0),  # there are just as many
        (1_000, 10, 500, 1, 1.0),
        (60, 50, 15, 1, 1.0),
        (50, 50, 15, 1, 1.0),
    ],
)
def test_how_many_pairs_without_an_opening_are_kept(
    pairs: int, openings: int, negatives: float, least: int, expected: float
) -> None:
    parameters = Parameters(negatives=negatives, least_rows=least)
    assert keep_share(pairs, openings, parameters) == pytest.approx(expected)


def test_leaving_pairs_out_does_not_move_the_base_rate(sample: TrainingSample) -> None:
    """What is promised in sum is what was opened in sum, whether all pairs and clients were kept or a tenth of them."""
    day = sample.days[-1]
    for fewer in ({}, {"negatives": 3.0, "least_rows": 1}, {"least_rows": 1, "judged": 300}):
        parameters = QUICK.model_copy(update=fewer)
        model, _ = fit(sample, CATALOG, parameters, {})
        candidates, aligned = model.candidates(), model.align(day.profiles)
        slate = candidates.slate(aligned.values)
        peers = candidates.peer_groups(aligned.values)
        promised = model.adoption.of_clients(candidates, aligned.values, slate, peers, threads=2)[slate.reached].sum()
        opened = day.opened[slate.reached].sum()
        assert opened > 50
        assert promised == pytest.approx(opened, rel=0.2)


LOG_ODDS = st.lists(st.floats(-30, 30), min_size=2, max_size=20)


@given(LOG_ODDS, st.floats(0.01, 5), st.floats(-5, 5))
def test_calibration_keeps_the_order(log_odds: list[float], slope: float, intercept: float) -> None:
    calibrated = Calibration(slope, intercept)(np.sort(log_odds))
    assert (np.diff(calibrated) >= 0).all()
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_calibration_finds_how_the_model_exaggerates() -> None:
    rng = np.random.default_rng(1)
    told = rng.normal(-1, 2, 40_000)
    opened = (rng.random(len(told)) < sigmoid(0.5 * told - 1)).astype(float)
    found = Calibration.fit(told, opened, np.ones(len(told)))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1, abs=0.05)
    assert found(told).mean() == pytest.approx(opened.mean(), rel=1e-3)


def test_calibration_counts_a_pair_by_its_weight() -> None:
    told = np.array([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0])
    opened = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    weight = np.array([3, 3, 1, 1, 1, 1])
    by_weight = Calibration.fit(told, opened, weight)
    by_rows = Calibration.fit(np.repeat(told, weight), np.repeat(opened, weight), np.ones(weight.sum()))
    assert by_weight.slope == pytest.approx(by_rows.slope, rel=1e-4)
    assert by_weight.intercept == pytest.approx(by_rows.intercept, rel=1e-4)


@pytest.mark.parametrize("opened", [[0, 0, 0], [1, 1, 1], [1, 0, 0]])
def test_calibration_that_cannot_be_fitted_changes_nothing(opened: list[int]) -> None:
    """One class only, or openings where the model said they would not be: no slope that keeps the order."""
    told = np.array([-1.0, 0.0, 1.0])
    assert Calibration.fit(told, np.array(opened), np.ones(3)) == Calibration(1.0, 0.0)


def test_logit_and_sigmoid_undo_each_other() -> None:
    chance = np.array([0.001, 0.2, 0.5, 0.999])
    assert sigmoid(logit(chance)) == pytest.approx(chance)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def rows(clients: int = 400, seed: int = 0) -> PairRows:
    """A pair a client; the first column decides, roughly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(clients, 3)).astype(np.float32)
    opened = (rng.random(clients) < sigmoid(2 * x[:, 0])).astype(np.float32)
    part = fold(np.arange(clients).astype(str), QUICK.folds)
    return PairRows(x, opened, np.ones(clients), part)


def test_the_trees_of_a_fold_never_saw_what_its_clients_opened() -> None:
    told = rows()
    otherwise = replace(told, opened=np.where(told.part == 0, 1 - told.opened, told.opened))
    one, other = (
        [fitted[part].dump_model()["tree_info"] for part in (0, 1)]
        for fitted, _ in (opening_probability.fit(told, [], QUICK), opening_probability.fit(otherwise, [], QUICK))
    )
    shared = min(len(one[0]), len(other[0]))  # the fold's own clients do say how many trees are enough
    assert shared > 0
    assert one[0][:shared] == other[0][:shared]
    assert one[1][0] != other[1][0]


def test_a_client_falls_into_one_fold_on_every_day(sample: TrainingSample) -> None:
    folds: dict[str, set[int]] = {}
    for day in sample.days:
        parts = fold(day.profiles.client_ids, 3)
        for client, part in zip(day.profiles.client_ids.tolist(), parts.tolist(), strict=True):
            folds.setdefault(client, set()).add(part)
    assert {len(parts) for parts in folds.values()} == {1}
    sizes = np.bincount([min(parts) for parts in folds.values()])
    assert len(sizes) == 3
    assert sizes.min() > len(folds) / 3 * 0.8


@pytest.mark.parametrize(
    ("opened", "so"), [(0, "none of the 40 candidate pairs was"), (1, "all 40 candidate pairs were")]
)
def test_openings_of_nobody_or_of_everybody_are_nothing_to_learn_from(opened: int, so: str) -> None:
    told = rows(40)
    with pytest.raises(ValueError, match=f"{so} opened: a model needs both; give other as-of days"):
        opening_probability.fit(replace(told, opened=np.full(40, opened, np.float32)), [], QUICK)


def test_a_fold_with_all_the_openings_is_refused() -> None:
    told = rows(40)
    with pytest.raises(
        ValueError, match=r"fold 1 of 2 has no client, or the other folds no openings .* more clients or days$"
    ):
        opening_probability.fit(replace(told, opened=(told.part == 0).astype(np.float32)), [], QUICK)


def test_a_sample_without_openings_says_so(sample: TrainingSample) -> None:
    nothing = replace(sample, days=tuple(replace(day, opened=np.zeros_like(day.opened)) for day in sample.days))
    with pytest.raises(ValueError, match=r"none of the .* candidate pairs was opened"):
        fit(nothing, CATALOG, QUICK, {})


def test_the_model_learns_what_the_made_bank_needs(model: Model, sample: TrainingSample) -> None:
    profiles = sample.days[-1].profiles
    aligned, candidates = model.align(profiles), model.candidates()
    slate = candidates.slate(aligned.values)
    chance = model.adoption.of_clients(candidates, aligned.values, slate, candidates.peer_groups(aligned.values), 2)
    needs = aligned.values[:, aligned.columns.index("need")]
    for product in ("card", "mortgage", "till"):
        at = candidates.positions[product]
        needy = needs == aligned.categories["need"].index(f"of_{product}")
        asked = slate.reached[:, at]
        assert chance[needy & asked, at].mean() > 2 * chance[~needy & asked, at].mean()
    assert not chance[~slate.reached].any()
