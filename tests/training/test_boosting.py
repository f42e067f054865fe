from __future__ import annotations

import os
import subprocess
import sys

import lightgbm as lgb
import numpy as np
import pytest

from sheaf.training import Parameters, TrainingSample, fit
from sheaf.training.boosting import cross_fit, mean
from tests import made


def trained(objective: str, seed: int, rounds: int, **more: object) -> lgb.Booster:
    rng = np.random.default_rng(seed)
    x = np.stack([rng.normal(size=300), rng.integers(0, 6, 300).astype(float)], axis=1)
    x[::7, 0] = np.nan
    y = (np.nan_to_num(x[:, 0]) + x[:, 1] % 3 + rng.normal(size=300) > 1) * 1 + (x[:, 1] > 4) * (objective != "binary")
    settings = {"objective": objective, "verbose": -1, "num_leaves": 5, "min_data_in_leaf": 5, "num_threads": 1}
    if objective == "multiclass":
        settings["num_class"] = 3
    settings |= more
    return lgb.train(settings, lgb.Dataset(x, y, categorical_feature=[1], params=settings), rounds)


@pytest.mark.parametrize("more", [{}, {"linear_tree": True}], ids=["", "linear"])
@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_the_mean_of_boosters_answers_with_the_mean_of_their_raw_scores(objective: str, more: dict[str, bool]) -> None:
    boosters = [trained(objective, seed, rounds, **more) for seed, rounds in enumerate((7, 3, 12))]
    x = np.random.default_rng(9).normal(size=(50, 2)).round(1)
    x[:, 1] = np.arange(50) % 7
    x[::5, 0] = np.nan
    apart = np.mean([booster.predict(x, raw_score=True) for booster in boosters], axis=0)
    joined = mean(boosters)
    assert np.ptp(apart) > 0.1
    assert joined.predict(x, raw_score=True) == pytest.approx(apart, abs=1e-12)
    assert joined.num_trees() == sum(booster.num_trees() for booster in boosters)


def test_only_where_it_is_asked_for_do_the_folds_answer_too() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y, part = (x[:, 0] + rng.normal(size=400) > 0).astype(float), np.arange(400) % 2
    fitted = {}
    for averaged in (False, True):
        parameters = Parameters(averaged=averaged, adoption={"num_leaves": 4})
        data = lgb.Dataset(x, y, params=parameters.lightgbm("binary"))
        fitted[averaged] = cross_fit(parameters.lightgbm("binary"), data, part, 20, parameters)[0]
    alone, together = ({k: b.predict(x, raw_score=True) for k, b in of.items()} for of in fitted.values())
    assert np.array_equal(alone[0], together[0])
    assert together[None] == pytest.approx(np.mean([alone[None], alone[0], alone[1]], axis=0))


def test_a_models_version_does_not_hang_on_the_threads(sample: TrainingSample) -> None:
    about = {"horizon_days": sample.horizon_days}
    models = [
        fit(sample, made.CATALOG, made.QUICK.model_copy(update={"threads": threads}), about)[0] for threads in (1, 2, 3)
    ]
    assert len({model.version for model in models}) == 1


@pytest.mark.parametrize(("given", "taken"), [(None, "1000"), ("77", "77")])
def test_threads_that_wait_for_each_other_soon_leave_the_cores_to_others(given: str | None, taken: str) -> None:
    told = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    told |= {"OMP_DISPLAY_ENV": "verbose"} | ({} if given is None else {"GOMP_SPINCOUNT": given})
    openmp = subprocess.run([sys.executable, "-c", "import sheaf.training"], env=told, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{taken}'" in openmp.stderr
