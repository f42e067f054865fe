"""Stage one: how likely a client is to open a product within the horizon.

One LightGBM model sees every (client, product) pair, so what it learns of one product serves another, and a new
product works through its attributes. It is cross-fitted by client: no pair is calibrated, and no ranking trained,
on a probability from a model that saw that client.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from sklearn.linear_model import LogisticRegression

from training.candidates import Candidates, Slate
from training.parameters import Parameters

TINY = 1e-6
MORE_ROUNDS = 1.2
OPENINGS_A_LEAF = 500
LEAVES = (31, 127)  # of the adoption model's trees


@dataclass(frozen=True)
class Rows:
    """Candidate rows of one or more days: `x` float32 (pairs, columns), `opened` 0 or 1.

    `weight` undoes the sampling of pairs without an opening; `part` is the fold of the pair's client.
    """

    x: np.ndarray
    opened: np.ndarray
    weight: np.ndarray
    part: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Platt's sigmoid over log-odds: `probability = 1 / (1 + exp(-(slope * log_odds + intercept)))`.

    Strictly increasing, so it never ties what the model tells apart (Platt 1999, Probabilistic outputs for SVMs).
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, log_odds: np.ndarray, opened: np.ndarray, weight: np.ndarray) -> Calibration:
        """Fitted on cross-fitted log-odds; the identity where only one class is there."""
        if len(np.unique(opened)) < 2:
            return cls()
        fitted = LogisticRegression(C=1e6, tol=1e-8, max_iter=200).fit(log_odds[:, None], opened, sample_weight=weight)
        slope = float(fitted.coef_[0, 0])
        return cls(slope, float(fitted.intercept_[0])) if slope > 0 else cls()

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        return sigmoid(self.slope * log_odds + self.intercept)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-value))


def logit(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, TINY, 1.0 - TINY)
    return np.log(clipped) - np.log1p(-clipped)


def keep_share(pairs: int, openings: int, parameters: Parameters) -> float:
    """The share of pairs without an opening that training keeps."""
    without = pairs - openings
    wanted = max(openings * parameters.negatives, parameters.least_rows - openings)
    return min(1.0, wanted / without) if without else 1.0


def leaves(openings: int) -> int:
    """Leaves of a tree where the parameters name none: larger trees need more openings to learn from."""
    return int(np.clip(openings // OPENINGS_A_LEAF, *LEAVES))


@dataclass(frozen=True)
class Adoption:
    """The model and its calibration."""

    booster: lgb.Booster
    calibration: Calibration

    def probability(self, x: np.ndarray, threads: int) -> np.ndarray:
        """Calibrated probability of each candidate row of `x`."""
        if not len(x):
            return np.empty(0)
        return self.calibration(np.asarray(self.booster.predict(x, raw_score=True, num_threads=threads)))

    def of_clients(
        self, candidates: Candidates, values: np.ndarray, slate: Slate, peers: np.ndarray, threads: int
    ) -> np.ndarray:
        """(clients, products): probability of opening, within the horizon, each product that the slate reaches; 0
        elsewhere."""
        probability = np.zeros(slate.reached.shape)
        rows = candidates.product_rows(values, slate.products, peers)
        probability[slate.products.client, slate.products.item] = self.probability(rows, threads)
        return probability


@dataclass(frozen=True)
class CrossFitted:
    """The model of all clients, and those that each saw all but one fold of them."""

    final: Adoption
    folds: dict[int, Adoption]
    rounds: float

    def of_clients(
        self, candidates: Candidates, values: np.ndarray, peers: np.ndarray, part: np.ndarray, threads: int
    ) -> np.ndarray:
        """As `Adoption.of_clients`, each client's by the model that never saw it; `part` is the fold of each."""
        probability = np.zeros((len(values), candidates.parts.shape[1]))
        for number, model in self.folds.items():
            chosen = part == number
            slate = candidates.slate(values[chosen])
            probability[chosen] = model.of_clients(candidates, values[chosen], slate, peers[chosen], threads)
        return probability


def fit(rows: Rows, categorical: list[int], parameters: Parameters) -> CrossFitted:
    """The adoption models. Raises ValueError where there is no row, and where none, or every one, is an opening."""
    pairs, openings = len(rows.opened), int(rows.opened.sum())
    if not pairs:
        raise ValueError(
            "no client may have any product of the catalog that it does not hold, so there is nothing to learn; look "
            "at the kinds and conditions of the catalog's products"
        )
    if openings in (0, pairs):
        raise ValueError(
            f"{'all' if openings else 'none of the'} {pairs} candidate pairs {'were' if openings else 'was'} opened: a "
            "model needs both; give other as-of days (openings must fall within the horizon after them), another "
            "horizon, or more clients"
        )
    settings = {"num_leaves": leaves(openings), **parameters.lightgbm("binary")}
    data = lgb.Dataset(
        rows.x, rows.opened, weight=rows.weight, categorical_feature=categorical, params=settings, free_raw_data=False
    ).construct()
    boosters, log_odds = {}, np.empty(len(rows.opened))
    for part in range(parameters.folds):
        outside = np.flatnonzero(rows.part == part)
        inside = np.flatnonzero(rows.part != part)
        if not len(outside) or not 0 < rows.opened[inside].mean() < 1:
            raise ValueError(
                f"fold {part + 1} of {parameters.folds} has no client, or the other folds no openings or nothing else; "
                "train on more clients or days, or on fewer folds"
            )
        boosters[part] = lgb.train(
            settings, data.subset(inside.tolist()), parameters.rounds, valid_sets=[data.subset(outside.tolist())],
            callbacks=[lgb.early_stopping(parameters.patience, verbose=False)],
        )  # fmt: skip
        log_odds[outside] = boosters[part].predict(rows.x[outside], raw_score=True, num_threads=parameters.threads)
    calibration = Calibration.fit(log_odds, rows.opened, rows.weight)
    rounds = float(np.mean([booster.best_iteration or parameters.rounds for booster in boosters.values()]))
    # A model of everybody has more to learn from than one that lacks a fold, so it may go on for longer.
    final = lgb.train(settings, data, max(1, round(rounds * MORE_ROUNDS)))
    folds = {part: Adoption(booster, calibration) for part, booster in boosters.items()}
    return CrossFitted(Adoption(final, calibration), folds, rounds)
