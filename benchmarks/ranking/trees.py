"""Boosted trees as a data scientist would use them: multiclass LightGBM, XGBoost `rank:ndcg`, CatBoost `YetiRank`.

The first sees a client's whole profile and tells which product is opened; the other two rank candidate rows, the very
rows of our adoption model. Each stops by a twentieth of the clients, whom it does not learn from. Their parameters are
about ours: learning rate 0.1, four tenths of the columns a tree, eight tenths of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from benchmarks.ranking.tasks import Task, View
from sheaf.training.samples import fold

ROUNDS, PATIENCE = 400, 25
TWENTIETHS = 20
THREADS = 2
AT = 5
MULTICLASS = {
    "objective": "multiclass", "learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 50, "feature_fraction": 0.4,
    "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0, "max_bin": 127, "cat_smooth": 20.0,
    "num_threads": THREADS, "seed": 0, "verbose": -1,
}  # fmt: skip
XGBOOST = {
    "objective": "rank:ndcg", "lambdarank_pair_method": "topk", "lambdarank_num_pair_per_sample": 8, "eta": 0.1,
    "max_depth": 6, "min_child_weight": 5, "colsample_bytree": 0.4, "subsample": 0.8, "reg_lambda": 5.0,
    "max_bin": 127, "eval_metric": f"ndcg@{AT}", "nthread": THREADS, "seed": 0,
}  # fmt: skip
CATBOOST = {
    "loss_function": "YetiRank", "learning_rate": 0.15, "depth": 6, "rsm": 0.4, "border_count": 127,
    "eval_metric": f"NDCG:top={AT}", "thread_count": THREADS, "random_seed": 0, "verbose": False,
    "allow_writing_files": False,
}  # fmt: skip
Scores = Callable[[View], np.ndarray]


def multiclass(task: Task) -> Scores:
    """Which product is opened next, from the client's profile: one row for every opening, one for who opened none.

    The shares that it tells sum to one over classes; times the rows a client has on average they are probabilities.
    """
    values = np.concatenate([view.values for view in task.learned])
    opened = np.concatenate([day.opened for day in task.sample.days])
    clients = np.concatenate([view.profiles.client_ids for view in task.learned])
    products, opener = opened.shape[1], opened.any(axis=1)
    row, label = np.nonzero(opened)
    row, label = np.r_[row, np.flatnonzero(~opener)], np.r_[label, np.full((~opener).sum(), products)]
    classes, label = np.unique(label, return_inverse=True)  # a product never opened is no class
    settings = {**MULTICLASS, "num_class": len(classes)}
    out = fold(clients, TWENTIETHS)[row] == 0
    coded = [index for index, name in enumerate(task.encoding.columns) if name in task.encoding.categories]
    data = lgb.Dataset(values[row[~out]], label[~out], categorical_feature=coded, params=settings)
    stop = lgb.Dataset(values[row[out]], label[out], reference=data)
    booster = lgb.train(
        settings, data, ROUNDS, valid_sets=[stop], callbacks=[lgb.early_stopping(PATIENCE, verbose=False)]
    )
    many = len(label) / len(opened)

    def score(view: View) -> np.ndarray:
        shares = np.asarray(booster.predict(view.values, num_threads=THREADS))
        told = np.zeros((len(shares), products + 1))
        told[:, classes] = shares
        return np.minimum(told[:, :products] * many, 1.0)

    return score


@dataclass(frozen=True)
class Groups:
    """Candidate rows of the clients who opened something, in groups of a client and day."""

    x: np.ndarray
    opened: np.ndarray
    group: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(cls, task: Task) -> Groups:
        parts, start = [], 0
        for view, day in zip(task.learned, task.sample.days, strict=True):
            rows, pairs = view.rows()
            label = day.opened[pairs.client, pairs.item]
            kept = np.isin(pairs.client, pairs.client[label > 0])
            stop = (fold(view.profiles.client_ids, TWENTIETHS) == 0)[pairs.client]
            parts.append((rows[kept], label[kept], pairs.client[kept] + start, stop[kept]))
            start += len(view.values)
        return cls(*(np.concatenate(of_days) for of_days in zip(*parts, strict=True)))

    def where(self, kept: np.ndarray) -> Groups:
        return Groups(self.x[kept], self.opened[kept], self.group[kept], self.stop[kept])


def xgboost(task: Task) -> Scores:
    """LambdaMART over candidate rows, product and client categories as categories."""
    import xgboost as xgb

    coded = set(task.encoding.product_categories)
    width = len(task.encoding.product_columns)
    kinds = ["c" if index in coded else "q" for index in range(width)]
    common = {"feature_types": kinds, "enable_categorical": True}
    groups = Groups.of(task)
    learn, stop = groups.where(~groups.stop), groups.where(groups.stop)
    bins = {**common, "max_bin": XGBOOST["max_bin"]}
    data = xgb.QuantileDMatrix(learn.x, learn.opened, qid=learn.group, **bins)
    watched = xgb.QuantileDMatrix(stop.x, stop.opened, qid=stop.group, ref=data, **bins)
    booster = xgb.train(
        XGBOOST, data, ROUNDS, evals=[(watched, "stop")], early_stopping_rounds=PATIENCE, verbose_eval=False
    )
    upto = (0, booster.best_iteration + 1)
    return _by_row(lambda rows: booster.predict(xgb.DMatrix(rows, **common), iteration_range=upto))


def catboost(task: Task) -> Scores:
    """YetiRank over candidate rows, product and client categories as categories."""
    from catboost import CatBoostRanker, Pool

    coded = task.encoding.product_categories

    def pool(rows: np.ndarray, **labels: Any) -> Pool:
        frame = pd.DataFrame(rows, columns=task.encoding.product_columns)
        names = [task.encoding.product_columns[index] for index in coded]
        for name in names:  # CatBoost takes categories as whole numbers, and no null among them
            frame[name] = frame[name].fillna(-1).astype(int)
        return Pool(frame, cat_features=names, **labels)

    groups = Groups.of(task)
    learn, stop = groups.where(~groups.stop), groups.where(groups.stop)
    model = CatBoostRanker(iterations=ROUNDS, od_type="Iter", od_wait=PATIENCE, **CATBOOST)
    model.fit(
        pool(learn.x, label=learn.opened, group_id=learn.group),
        eval_set=pool(stop.x, label=stop.opened, group_id=stop.group),
        use_best_model=True,
    )
    return _by_row(lambda rows: model.predict(pool(rows)))


def _by_row(predict: Callable[[np.ndarray], np.ndarray]) -> Scores:
    def score(view: View) -> np.ndarray:
        rows, pairs = view.rows()
        told = np.zeros(view.slate.reached.shape)
        told[pairs.client, pairs.item] = predict(rows)
        return told

    return score
