from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from sheaf.training import Contributions, Model, TrainingSample


def candidate_rows(model: Model, sample: TrainingSample) -> np.ndarray:
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values
    return candidates.product_rows(values, candidates.slate(values).products, candidates.peer_groups(values))


def test_contributions_and_base_are_the_models_score_to_the_last_digit(model: Model, sample: TrainingSample) -> None:
    rows = candidate_rows(model, sample)
    assert np.isnan(rows).any()
    assert '"decision_type": "=="' in lgb_dump(model.adoption.booster), "no tree splits on a category"
    contributions = Contributions(model.adoption.booster)
    leaves = contributions.leaves(rows)
    found = contributions.of(leaves)
    assert found.shape == (len(rows), len(model.encoding.product_columns))
    told = np.asarray(model.adoption.booster.predict(rows, raw_score=True))
    assert np.abs(found.sum(axis=1) + contributions.base - told).max() < 1e-9
    assert contributions.log_odds(leaves).tolist() == told.tolist()
    one = contributions.leaves(rows[7:8])
    assert one.tolist() == leaves[7:8].tolist()
    assert contributions.of(one) == pytest.approx(found[7:8], abs=1e-12)


def lgb_dump(booster: lgb.Booster) -> str:
    import json

    return json.dumps(booster.dump_model()["tree_info"])


def test_a_loaded_model_gives_the_same_contributions(model: Model, sample: TrainingSample, tmp_path: Path) -> None:
    rows = candidate_rows(model, sample)[:200]
    model.save(tmp_path / "model")
    loaded = Contributions(Model.load(tmp_path / "model").adoption.booster)
    found = Contributions(model.adoption.booster)
    assert loaded.leaves(rows).tolist() == found.leaves(rows).tolist()
    assert np.abs(loaded.of(loaded.leaves(rows)) - found.of(found.leaves(rows))).max() < 1e-12
    assert loaded.log_odds(loaded.leaves(rows)).tolist() == found.log_odds(found.leaves(rows)).tolist()
    assert loaded.base == pytest.approx(found.base, abs=1e-12)


def test_one_split_by_hand() -> None:
    """Ten of each side; the answer of a leaf is its mean, and the column split on takes all of the difference."""
    x = np.repeat([[0.0, 5.0], [1.0, 5.0]], 10, axis=0)
    y = np.repeat([1.0, 3.0], 10)
    settings = {"objective": "regression", "num_leaves": 2, "min_data_in_leaf": 1, "learning_rate": 1.0, "verbose": -1,
                "boost_from_average": False, "lambda_l2": 0.0}  # fmt: skip
    contributions = Contributions(lgb.train(settings, lgb.Dataset(x, y), 1))
    assert contributions.base == pytest.approx(2.0)
    leaves = contributions.leaves(np.array([[0.0, 5.0], [1.0, 5.0]]))
    assert contributions.of(leaves) == pytest.approx(np.array([[-1.0, 0.0], [1.0, 0.0]]))
    assert contributions.log_odds(leaves) == pytest.approx([1.0, 3.0])


def test_a_value_never_seen_and_a_missing_one_go_where_the_model_sends_them() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 4, 600), rng.normal(size=600)], axis=1).astype(float)
    y = (x[:, 0] == 2) * 2.0 + x[:, 1] + rng.normal(scale=0.1, size=600)
    x[rng.random(600) < 0.2, 1] = np.nan
    settings = {
        "objective": "regression",
        "num_leaves": 7,
        "min_data_in_leaf": 5,
        "min_data_per_group": 5,
        "verbose": -1,
    }
    booster = lgb.train(settings, lgb.Dataset(x, y, categorical_feature=[0]), 20)
    asked = np.array([[2.0, 0.1], [99.0, 0.1], [np.nan, 0.1], [2.0, np.nan], [np.nan, np.nan], [-1.0, np.inf]])
    contributions = Contributions(booster)
    leaves = contributions.leaves(asked)
    assert contributions.of(leaves).sum(axis=1) + contributions.base == pytest.approx(booster.predict(asked), abs=1e-9)
    assert contributions.log_odds(leaves).tolist() == np.asarray(booster.predict(asked)).tolist()


def test_a_model_that_found_no_split_explains_nothing() -> None:
    settings = {"objective": "binary", "min_data_in_leaf": 100, "verbose": -1}
    booster = lgb.train(settings, lgb.Dataset(np.arange(20.0)[:, None], np.arange(20) % 2), 3)
    contributions = Contributions(booster)
    leaves = contributions.leaves(np.array([[1.0], [2.0]]))
    found = contributions.of(leaves)
    assert not found.any()
    assert found.sum(axis=1) + contributions.base == pytest.approx(booster.predict([[1.0], [2.0]], raw_score=True))


def test_no_rows_no_contributions(model: Model) -> None:
    columns = len(model.encoding.product_columns)
    contributions = Contributions(model.adoption.booster)
    leaves = contributions.leaves(np.empty((0, columns), np.float32))
    assert contributions.of(leaves).shape == (0, columns)
    assert contributions.log_odds(leaves).shape == (0,)


@pytest.mark.parametrize(
    "settings", [{"linear_tree": True}, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}]
)
def test_trees_that_do_not_add_up_are_refused(settings: dict[str, object]) -> None:
    x = np.random.default_rng(0).normal(size=(200, 2))
    data = lgb.Dataset(x, x[:, 0] > 0)
    booster = lgb.train({"objective": "binary", "num_leaves": 4, "verbose": -1, **settings}, data, 3)
    with pytest.raises(ValueError, match="averaged or linear trees has no exact contributions"):
        Contributions(booster)
