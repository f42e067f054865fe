"""Models of acceptance as a function of price: a logit, and LightGBM that is monotone in the concession.

    log-odds of acceptance = a + b·x + f(log_odds) + g[kind]·s/P

with `x` of `COLUMNS`, `f` piecewise linear and non-decreasing, `s` the concession and `P` the list price. The logit is
the reference. The trees are the challenger: they know nothing of concessions beyond those of the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from sheaf.catalog import Kind, Line
from sheaf.pricing import Offers

KINDS, LINES = tuple(map(str, Kind)), tuple(map(str, Line))
OF_PAIR = (
    *(f"kind_{kind}" for kind in KINDS), *(f"line_{line}" for line in LINES), "log_odds", "brings", "products_held",
)  # fmt: skip
COLUMNS = (*OF_PAIR, "log_list_price")
"""Kind of client and line of the bundle as 0 or 1; `log_odds`: how readily the products that it brings are opened
anyway, by the model, each by itself, the mean; how many it brings, how many are held; the logarithm of P."""
LOG_ODDS = COLUMNS.index("log_odds")
KNOTS = 5  # what a model tells of the rare is less apart in truth than what it tells of the likely
ALIKE = 2.0  # standard deviation, before any offer is seen, of a kind's slope around the mean of all kinds
RIDGE = 1.0
TREES: Mapping[str, Any] = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 100, "lambda_l2": 10.0,
    "monotone_constraints": [0] * len(COLUMNS) + [1], "monotone_constraints_method": "advanced",
    "deterministic": True, "force_col_wise": True, "seed": 0, "verbosity": -1,
}  # fmt: skip
ROUNDS, PATIENCE = 400, 20
MOST_LEVELS = 13  # of past concessions, spread evenly over the offers, are enough


@dataclass(frozen=True)
class ShareLogit:
    """The reference: utility linear in `COLUMNS`, bent where `log_odds` passes a knot, and a slope in s/P of its own
    for each kind of client.

    `coefficients` are those of `COLUMNS` and of what `log_odds` is above each knot.
    """

    intercept: float
    coefficients: np.ndarray
    slopes: np.ndarray
    knots: np.ndarray
    told: str = ""
    assumption: bool = False

    @classmethod
    def fit(cls, x: np.ndarray, share: np.ndarray, accepted: np.ndarray, weight: np.ndarray) -> ShareLogit:
        """By weighted, penalised maximum likelihood; no slope is below 0, nor is any piece of what `log_odds` adds.

        `x` (offers, columns) of `COLUMNS`, `share` conceded of the list price.
        """
        knots = np.unique(np.quantile(x[:, LOG_ODDS], np.arange(1, KNOTS + 1) / (KNOTS + 1)))
        bent = pieces(x, knots)
        mean, spread = bent.mean(axis=0), bent.std(axis=0)
        spread[spread <= 1e-9 * np.maximum(np.abs(mean), 1.0)] = 0.0  # rounding of a column that is the same for all
        scaled = np.divide(bent - mean, spread, out=np.zeros_like(bent), where=spread > 0)
        priced = x[:, : len(KINDS)] * share[:, None]
        design = np.column_stack([np.ones(len(x)), scaled, priced])
        columns = bent.shape[1]

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            utility = design @ theta
            b, g = theta[1 : columns + 1], theta[columns + 1 :]
            apart = (g - g.mean()) / ALIKE**2
            value = weight @ (np.logaddexp(0.0, utility) - accepted * utility)
            slope = design.T @ (weight * (expit(utility) - accepted))
            slope[1 : columns + 1] += RIDGE * b
            slope[columns + 1 :] += apart
            return float(value + RIDGE * (b @ b) / 2 + apart @ (g - g.mean()) / 2), slope

        start = np.r_[np.zeros(columns + 1), np.ones(len(KINDS))]
        rising: list[tuple[float | None, None]] = [(0.0, None)]
        bounds = [(None, None)] * (len(COLUMNS) + 1) + rising * (len(knots) + len(KINDS))
        bounds[1 + LOG_ODDS] = rising[0]
        theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
        b = np.divide(theta[1 : columns + 1], spread, out=np.zeros(columns), where=spread > 0)
        intercept = float(theta[0] - b @ mean)
        b[len(COLUMNS) :] = np.diff(b[[LOG_ODDS, *range(len(COLUMNS), columns)]])  # by how much each bends
        return cls(intercept, b, theta[columns + 1 :], knots)

    def as_logit(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        """(offers,) each: utility at list price, and what a unit of money adds to it."""
        x, price = _x(offers), offers.list_price
        steep = x[:, : len(KINDS)] @ self.slopes
        gamma = np.divide(steep, price, out=np.zeros(len(x)), where=price > 0)
        return self.intercept + _bent(x, self.knots) @ self.coefficients, gamma

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        utility, gamma = self.as_logit(offers)
        q: np.ndarray = expit(utility + gamma * s)
        return q

    def to_json(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "coefficients": dict(zip(COLUMNS, self.coefficients.tolist(), strict=False)),
            "knots": self.knots.tolist(),
            "beyond_knots": self.coefficients[len(COLUMNS) :].tolist(),
            "slopes": dict(zip(KINDS, self.slopes.tolist(), strict=True)),
        }


@dataclass(frozen=True)
class Trees:
    """The challenger: LightGBM over `COLUMNS` and s/P, non-decreasing in s/P.

    `levels` are the s/P that it is asked about, which were conceded before: where it rises between two of them, trees
    do not know.
    """

    booster: lgb.Booster
    levels: np.ndarray
    told: str = ""
    assumption: bool = False

    @classmethod
    def fit(cls, x: np.ndarray, share: np.ndarray, accepted: np.ndarray, weight: np.ndarray, part: np.ndarray) -> Trees:
        """As many rounds as serve clients of part 0 best, then anew on all; `part` is of the client."""
        rows, ours = np.column_stack([x, share]), part > 0
        both = [len(np.unique(accepted[of])) > 1 for of in (ours, ~ours)]
        rounds = ROUNDS // 10
        if all(both):
            seen = lgb.Dataset(rows[ours], accepted[ours], weight=weight[ours], params=dict(TREES))
            other = lgb.Dataset(rows[~ours], accepted[~ours], weight=weight[~ours], reference=seen)
            stop = lgb.early_stopping(PATIENCE, verbose=False)
            rounds = lgb.train(dict(TREES), seen, ROUNDS, valid_sets=[other], callbacks=[stop]).best_iteration
        data = lgb.Dataset(rows, accepted, weight=weight, params=dict(TREES))
        levels = np.unique(np.r_[0.0, np.quantile(share.round(3), np.linspace(0, 1, MOST_LEVELS), method="nearest")])
        return cls(lgb.train(dict(TREES), data, max(rounds, 1)), levels)

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        share = np.divide(s, offers.list_price, out=np.zeros(len(s)), where=offers.list_price > 0)
        return np.asarray(self.booster.predict(np.column_stack([_x(offers), share])))

    def to_json(self) -> dict[str, Any]:
        return {"booster": self.booster.model_to_string(), "levels": self.levels.tolist()}


def _bent(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(offers, columns and knots): `x`, and how far `log_odds` is above each knot."""
    return np.column_stack([x, np.maximum(x[:, LOG_ODDS, None] - knots, 0.0)])


def pieces(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(offers, columns and knots): `x` with how much of `log_odds` lies below the first knot, and between each and the
    next: what has a slope of its own."""
    below = np.minimum(x[:, LOG_ODDS, None], knots[0])
    between = np.clip(x[:, LOG_ODDS, None] - knots, 0.0, np.append(np.diff(knots), np.inf))
    return np.column_stack([x[:, :LOG_ODDS], below, x[:, LOG_ODDS + 1 :], between])


def _x(offers: Offers) -> np.ndarray:
    if offers.inputs is None:
        raise ValueError(
            "a learned price response needs the inputs of every offer: sheaf.training.price_response.inputs.inputs"
        )
    return np.column_stack([offers.inputs, np.log(np.maximum(offers.list_price, 1e-2))])
