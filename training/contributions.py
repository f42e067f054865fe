"""What each column of a candidate row adds to or takes from its log-odds, exactly.

A tree's answer is its root's mean plus the change of the mean at every split on the row's way down; each change
belongs to the column that was split on (Saabas 2014; Palczewska et al. 2014, Interpreting random forest models using
a feature contribution method). The contributions of a row and the base add up to the model's log-odds, and a table of
ways by leaf, made once on loading, gives them in microseconds: exact Shapley values of such a model take milliseconds
a row, more than a whole request has.
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np


class Contributions:
    """The contribution tables of one boosted model."""

    def __init__(self, booster: lgb.Booster):
        self._booster = booster
        self.columns = booster.num_feature()
        trees = booster.dump_model()["tree_info"]
        ways: list[list[tuple[int, float]]] = []
        self._first = np.empty(len(trees), dtype=np.int64)  # of every tree, the row of its leaf 0
        self.base = 0.0
        for number, tree in enumerate(trees):
            self._first[number] = len(ways)
            root = tree["tree_structure"]
            leaves: dict[int, list[tuple[int, float]]] = {}
            self.base += _mean(root)
            _walk(root, [], leaves)
            ways += [leaves[leaf] for leaf in range(len(leaves))]
        depth = max((len(way) for way in ways), default=0)
        # Ways shorter than the deepest one end in steps of an extra column that adds nothing.
        self._column = np.full((len(ways), depth), self.columns, dtype=np.int32)
        self._change = np.zeros((len(ways), depth))
        for row, way in enumerate(ways):
            self._column[row, : len(way)] = [column for column, _ in way]
            self._change[row, : len(way)] = [change for _, change in way]

    def of(self, x: np.ndarray, threads: int = 1) -> np.ndarray:
        """(rows, columns) of log-odds; a row's sum plus `base` is the booster's raw score."""
        if not len(x) or not len(self._first):
            return np.zeros((len(x), self.columns))
        leaf = np.asarray(self._booster.predict(x, pred_leaf=True, num_threads=threads), dtype=np.int64)
        way = leaf.reshape(len(x), -1) + self._first
        width = self.columns + 1
        place = self._column[way] + (np.arange(len(x)) * width)[:, None, None]
        sums = np.bincount(place.ravel(), weights=self._change[way].ravel(), minlength=len(x) * width)
        return sums.reshape(len(x), width)[:, :-1]


def _mean(node: dict[str, Any]) -> float:
    return float(node["internal_value"] if "internal_value" in node else node["leaf_value"])


def _walk(node: dict[str, Any], way: list[tuple[int, float]], leaves: dict[int, list[tuple[int, float]]]) -> None:
    if "split_feature" not in node:
        leaves[node.get("leaf_index", 0)] = way
        return
    for side in ("left_child", "right_child"):
        child = node[side]
        _walk(child, [*way, (node["split_feature"], _mean(child) - _mean(node))], leaves)
