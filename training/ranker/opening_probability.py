"""Stage one: how likely a client is to open a product within the horizon.

One LightGBM model sees every (client, product) pair, so what it learns of one product serves another, and a new
product works through its attributes. Beside it, where enough was opened, a choice model
(`sheaf.training.ranker.choice`) weighs a client's products against each other; one calibration makes a probability of
both. All is cross-fitted by client: no pair is calibrated, and no ranking trained, on what a model says of a client
that it saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from sklearn.linear_model import LogisticRegression

from sheaf.training.boosting import Boosters, cross_fit
from sheaf.training.candidates.pairs import Candidates, Slate
from sheaf.training.parameters import Parameters
from sheaf.training.ranker.choice import ChoiceModel

TINY = 1e-6
OPENINGS_A_LEAF = 500
LEAVES = (31, 127)  # of the adoption model's trees


@dataclass(frozen=True)
class PairRows:
    """Candidate rows of one or more days: `x` float32 (pairs, columns), `opened` 0 or 1.

    `weight` undoes the sampling of pairs without an opening; `part` is the fold of the pair's client.
    """

    x: np.ndarray
    opened: np.ndarray
    weight: np.ndarray
    part: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Platt's sigmoid: `probability = 1 / (1 + exp(-(slope * log_odds + share * chosen + intercept)))`.

    Strictly increasing, so it never ties what the models tell apart (Platt 1999, Probabilistic outputs for SVMs).
    """

    slope: float = 1.0
    intercept: float = 0.0
    share: float = 0.0

    @classmethod
    def fit(
        cls, log_odds: np.ndarray, opened: np.ndarray, weight: np.ndarray, chosen: np.ndarray | None = None
    ) -> Calibration:
        """Fitted on what models say of clients they never saw.

        The identity where only one class is there, or where a model would count against what it says.
        """
        if len(np.unique(opened)) < 2:
            return cls()
        x = np.stack([log_odds] if chosen is None else [log_odds, chosen], axis=1)
        fitted = LogisticRegression(C=1e6, tol=1e-8, max_iter=200).fit(x, opened, sample_weight=weight)
        slopes = [float(slope) for slope in fitted.coef_[0]]
        return cls(slopes[0], float(fitted.intercept_[0]), *slopes[1:]) if min(slopes) > 0 else cls()

    def __call__(self, log_odds: np.ndarray, chosen: np.ndarray | float = 0.0) -> np.ndarray:
        return sigmoid(self.slope * log_odds + self.share * chosen + self.intercept)


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
class Odds:
    """(clients, products) each, of models that never saw the client: log-odds of opening, NaN where the product is no
    candidate, and log-odds of being what is opened next, NaN where the choice model does not say."""

    adoption: np.ndarray
    choice: np.ndarray


@dataclass(frozen=True)
class Adoption:
    """The model with its own calibration; and the choice model, where there is one, with that of both."""

    booster: lgb.Booster
    calibration: Calibration
    choice: ChoiceModel | None = None
    together: Calibration = Calibration()

    @classmethod
    def calibrated(
        cls, booster: lgb.Booster, choice: ChoiceModel | None, odds: Odds, opened: np.ndarray, weight: np.ndarray
    ) -> Adoption:
        """These models, calibrated by what was opened of what models told that never saw the clients.

        Arrays are (clients, products), but for `weight`, which is how many clients each of them stands for. The choice
        model is left out where it does not help to tell what is opened.
        """
        weight = np.broadcast_to(weight[:, None], opened.shape)
        told = ~np.isnan(odds.adoption)
        calibration = Calibration.fit(odds.adoption[told], opened[told], weight[told])
        told &= ~np.isnan(odds.choice)
        if choice is None or not told.any():
            return cls(booster, calibration)
        together = Calibration.fit(odds.adoption[told], opened[told], weight[told], odds.choice[told])
        return cls(booster, calibration, choice, together) if together.share > 0 else cls(booster, calibration)

    def of_odds(self, log_odds: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The calibrated probability of opening, and the share of the client's next opening that the choice model
        gives, from the log-odds of both models; NaN where these are, and a share of NaN without a choice model."""
        if self.choice is None:
            return self.calibration(log_odds), np.full(log_odds.shape, np.nan)
        told = np.where(np.isnan(chosen), self.calibration(log_odds), self.together(log_odds, chosen))
        return told, sigmoid(chosen)

    def of_rows(
        self, candidates: Candidates, values: np.ndarray, slate: Slate, log_odds: np.ndarray, threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`of_odds` of each of the slate's products, from the adoption model's log-odds of their rows."""
        chosen = np.full(log_odds.shape, np.nan)
        if self.choice is not None:
            of_all = self.choice.log_odds(candidates, values, slate.reached, threads)
            chosen = of_all[slate.products.client, slate.products.item]
        return self.of_odds(log_odds, chosen)

    def estimates(
        self, candidates: Candidates, values: np.ndarray, slate: Slate, peers: np.ndarray, threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(clients, products) each: `of_clients`, and the shares of `of_odds`, NaN where there is none."""
        probability, share = np.zeros(slate.reached.shape), np.full(slate.reached.shape, np.nan)
        rows = candidates.product_rows(values, slate.products, peers)
        if len(rows):
            log_odds = np.asarray(self.booster.predict(rows, raw_score=True, num_threads=threads))
            at = slate.products.client, slate.products.item
            probability[at], share[at] = self.of_rows(candidates, values, slate, log_odds, threads)
        return probability, share

    def of_clients(
        self, candidates: Candidates, values: np.ndarray, slate: Slate, peers: np.ndarray, threads: int
    ) -> np.ndarray:
        """(clients, products): probability of opening, within the horizon, each product that the slate reaches; 0
        elsewhere."""
        return self.estimates(candidates, values, slate, peers, threads)[0]


def fit(rows: PairRows, categorical: list[int], parameters: Parameters) -> tuple[Boosters, float]:
    """The adoption model's boosters, and the rounds they took: `sheaf.training.boosting.cross_fit`.

    Raises ValueError where there is no row, and where none, or every one, is an opening.
    """
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
    data = lgb.Dataset(rows.x, rows.opened, weight=rows.weight, categorical_feature=categorical, params=settings)
    for part in range(parameters.folds):
        inside = rows.part != part
        if inside.all() or not 0 < rows.opened[inside].mean() < 1:
            raise ValueError(
                f"fold {part + 1} of {parameters.folds} has no client, or the other folds no openings or nothing else; "
                f"train on more clients or days{', or on fewer folds' if parameters.folds > 2 else ''}"
            )
    return cross_fit(settings, data, rows.part, parameters.rounds, parameters)
