"""LightGBM by folds: for every row there is a booster that never saw it."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np

from training.parameters import Parameters

MORE_ROUNDS = 1.2  # a model of all rows has more to learn from than one that lacks a fold, so it may go on for longer

Boosters = dict[int | None, lgb.Booster]


def cross_fit(
    settings: dict[str, Any], data: lgb.Dataset, part: np.ndarray, rounds: int, parameters: Parameters
) -> tuple[Boosters, float]:
    """By fold a booster without the fold's rows, which tell it when to stop; under None one of all rows.

    `part` is the fold of each row of `data`. Beside them stands how many rounds the folds' boosters took on average.
    """
    boosters: Boosters = {}
    for fold in range(parameters.folds):
        inside, outside = (np.flatnonzero(rows).tolist() for rows in (part != fold, part == fold))
        boosters[fold] = lgb.train(
            settings, data.subset(inside), rounds, valid_sets=[data.subset(outside)],
            callbacks=[lgb.early_stopping(parameters.patience, verbose=False)],
        )  # fmt: skip
    taken = float(np.mean([booster.best_iteration or rounds for booster in boosters.values()]))
    boosters[None] = lgb.train(settings, data, max(1, round(taken * MORE_ROUNDS)))
    return boosters, taken
