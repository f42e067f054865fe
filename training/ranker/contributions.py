"""What each column of a candidate row adds to or takes from its log-odds, exactly.

A tree's answer is its root's mean plus the change of the mean at every split on the row's way down; each change
belongs to the column that was split on (Saabas 2014; Palczewska et al. 2014, Interpreting random forest models using
a feature contribution method). The contributions of a row and the base add up to the model's log-odds, and a table of
ways by leaf, made once on loading, gives them in microseconds: exact Shapley values of such a model take milliseconds
a row, more than a whole request has. To go down the trees is what takes time, so a request does it once: the leaves
that its rows come to give the log-odds as well.
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np


class Contributions:
    """The contribution tables of one boosted model.

    Raises ValueError for a model whose log-odds are not the sum of its leaves.
    """

    def __init__(self, booster: lgb.Booster):
        self._booster = booster
        self.columns = booster.num_feature()
        dumped = booster.dump_model()
        ways: list[list[tuple[int, float]]] = []
        answers: list[float] = []
        first = []  # of every tree, the place of its leaf 0 among all leaves
        self.base = 0.0
        for tree in dumped["tree_info"]:
            first.append(len(ways))
            root = tree["tree_structure"]
            leaves: dict[int, tuple[list[tuple[int, float]], dict[str, Any]]] = {}
            self.base += _mean(root)
            _walk(root, [], leaves)
            ways += [leaves[leaf][0] for leaf in range(len(leaves))]
            answers += [leaves[leaf][1]["leaf_value"] for leaf in range(len(leaves))]
            if dumped["average_output"] or "leaf_const" in leaves[0][1]:
                raise ValueError(
                    "a model of averaged or linear trees has no exact contributions, so its reasons would be wrong; "
                    "train without LightGBM's `boosting: rf` and `linear_tree`"
                )
        self._first = np.array(first, dtype=np.intp)
        self._answer = np.array(answers)
        # The steps of all ways, one after the other: those of way n are `_steps[n]` many, from `_start[n]` on.
        self._steps = np.array([len(way) for way in ways], dtype=np.intp)
        self._start = np.cumsum(self._steps) - self._steps
        self._column = np.array([column for way in ways for column, _ in way], dtype=np.intp)
        self._change = np.array([change for way in ways for _, change in way], dtype=float)

    def leaves(self, x: np.ndarray, threads: int = 1) -> np.ndarray:
        """(rows, trees): the leaf that each row comes to in every tree, as its place among all leaves."""
        if not len(x) or not len(self._first):
            return np.zeros((len(x), len(self._first)), dtype=np.intp)
        leaf = np.asarray(self._booster.predict(x, pred_leaf=True, num_threads=threads))
        return leaf.reshape(len(x), -1) + self._first

    def log_odds(self, leaves: np.ndarray) -> np.ndarray:
        """(rows,): the booster's raw score to the last bit, since it adds up its trees one by one too."""
        if not leaves.size:
            return np.zeros(len(leaves))
        scores: np.ndarray = np.cumsum(self._answer[leaves], axis=1)[:, -1]
        return scores

    def of(self, leaves: np.ndarray) -> np.ndarray:
        """(rows, columns) of log-odds; a row's sum plus `base` is the booster's raw score."""
        if not leaves.size:
            return np.zeros((len(leaves), self.columns))
        way = leaves.ravel()
        steps = self._steps[way]
        end = np.cumsum(steps)
        at = np.arange(end[-1]) + np.repeat(self._start[way] - end + steps, steps)
        row = np.repeat(np.arange(len(leaves)), steps.reshape(leaves.shape).sum(axis=1))
        place = row * self.columns + self._column[at]
        sums = np.bincount(place, weights=self._change[at], minlength=len(leaves) * self.columns)
        return sums.reshape(len(leaves), self.columns)


def _mean(node: dict[str, Any]) -> float:
    return float(node["internal_value"] if "internal_value" in node else node["leaf_value"])


def _walk(
    node: dict[str, Any],
    way: list[tuple[int, float]],
    leaves: dict[int, tuple[list[tuple[int, float]], dict[str, Any]]],
) -> None:
    if "split_feature" not in node:
        leaves[node.get("leaf_index", 0)] = way, node
        return
    for side in ("left_child", "right_child"):
        child = node[side]
        _walk(child, [*way, (node["split_feature"], _mean(child) - _mean(node))], leaves)
