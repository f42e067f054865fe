"""Which product is opened next, given that something is: one multiclass LightGBM over those who opened something.

The adoption model judges every product by itself; this one weighs a client's products against each other, as a
conditional choice among the candidates does (McFadden 1974, Conditional logit analysis of qualitative choice behavior).
Both views together order better than either; `sheaf.training.ranker.opening_probability` calibrates them into one
probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from sheaf.training.boosting import cross_fit
from sheaf.training.candidates.pairs import Candidates
from sheaf.training.parameters import Parameters

SURE = 1e-6  # a share is never nearer to 1: that of an only candidate would have no odds
LEAST_A_PRODUCT = 10  # openings, of the clients that a fold is trained on: fewer teach trees nothing


@dataclass(frozen=True)
class ChoiceModel:
    """The model; its classes are the products of the encoding that candidates are made with."""

    booster: lgb.Booster

    def log_odds(self, candidates: Candidates, values: np.ndarray, reached: np.ndarray, threads: int) -> np.ndarray:
        """(clients, products): log-odds that what the client opens next, of its candidates, is this one.

        NaN for a product that is not reached, and for one that the model was not trained with.
        """
        known = reached & (candidates.trained_as >= 0)
        if not known.any():
            return np.full(reached.shape, np.nan)
        learned = values[:, : len(candidates.encoding.columns)]
        score = np.asarray(self.booster.predict(learned, raw_score=True, num_threads=threads)).reshape(len(values), -1)
        weight = np.exp(score - score.max(axis=1, keepdims=True))[:, candidates.trained_as] * known
        total = weight.sum(axis=1, keepdims=True)
        others = np.maximum(total - weight, SURE * total)
        odds = np.divide(weight, others, out=np.full(reached.shape, np.nan), where=weight > 0)
        return np.asarray(np.log(odds))


@dataclass(frozen=True)
class Openings:
    """Rows of those who opened something: `x` profiles in the encoding's columns, `product` opened, `part` the fold.

    The `weight`s of a client's openings of one day add up to 1: who opens several products at once tells no more of
    what comes first than who opens one.
    """

    x: np.ndarray
    product: np.ndarray
    part: np.ndarray
    weight: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Openings]) -> Openings:
        names = ("x", "product", "part", "weight")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit(
    openings: Openings, products: int, categorical: list[int], parameters: Parameters
) -> dict[int | None, ChoiceModel]:
    """A model without each fold's clients, by the fold, and that of all under None; empty where too few opened, or
    where there is but one product to choose."""
    of_fold = [int((openings.part == part).sum()) for part in range(parameters.folds)]
    others = len(openings.part) - max(of_fold)
    if parameters.choice_rounds == 0 or products < 2 or others < LEAST_A_PRODUCT * products or not all(of_fold):
        return {}
    settings = {**parameters.lightgbm("multiclass"), "num_class": products}
    data = lgb.Dataset(
        openings.x, openings.product, weight=openings.weight, categorical_feature=categorical, params=settings
    )
    boosters, _ = cross_fit(settings, data, openings.part, parameters.choice_rounds, parameters)
    return {part: ChoiceModel(booster) for part, booster in boosters.items()}
