"""LightGBM by folds: for every row there is a booster that never saw it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np

from sheaf.training.parameters import Parameters

MORE_ROUNDS = 1.2  # a model of all rows has more to learn from than one that lacks a fold, so it may go on for longer

Boosters = dict[int | None, lgb.Booster]


def cross_fit(
    settings: dict[str, Any], data: lgb.Dataset, part: np.ndarray, rounds: int, parameters: Parameters
) -> tuple[Boosters, float]:
    """By fold a booster without the fold's rows, which tell it when to stop; under None one of all rows, or with
    `averaged` the mean of that and of the folds' boosters.

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
    whole = lgb.train(settings, data, max(1, round(taken * MORE_ROUNDS)))
    answers = mean([whole, *boosters.values()]) if parameters.averaged else whole
    return boosters | {None: on_any_machine(answers)}, taken


def on_any_machine(booster: lgb.Booster) -> lgb.Booster:
    """The same trees; their text, of which a model's version is made, does not say how many threads grew them."""
    text = re.sub(r"^\[num_threads: \d+\]$", "[num_threads: 0]", booster.model_to_string(), flags=re.MULTILINE)
    return lgb.Booster(model_str=text)


def mean(boosters: Sequence[lgb.Booster]) -> lgb.Booster:
    """One booster whose raw score is the mean of theirs, which have the same columns and classes.

    It has all their trees, each answering with its share. LightGBM joins models in its own continued training only, so
    the trees are joined in its text format, where the sizes of trees may be left out.
    """
    texts = [booster.model_to_string() for booster in boosters]
    head, end = (texts[0].index(mark) for mark in ("Tree=", "end of trees"))
    trees = "".join(text[text.index("Tree=") : text.index("end of trees")] for text in texts)

    def shared(line: re.Match[str]) -> str:
        return f"{line[1]}={' '.join(repr(float(value) / len(boosters)) for value in line[2].split())}"

    # With linear_tree a leaf answers with leaf_const and leaf_coeff.
    trees = re.sub(r"^(leaf_value|internal_value|leaf_const|leaf_coeff)=(.*)$", shared, trees, flags=re.MULTILINE)
    return lgb.Booster(
        model_str=re.sub(r"^tree_sizes=.*\n", "", texts[0][:head], flags=re.MULTILINE) + trees + texts[0][end:]
    )
