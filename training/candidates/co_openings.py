"""Which products are opened together, beyond what each one's own probability says.

An auto-logistic model (Besag 1974, Spatial interaction and the statistical analysis of lattice systems): of a client
who opens several products, the log-odds of one given the others are
`slope · logit(p_i) + bias_i + Σ_j tie_ij · opened_j`, the ties symmetric. It is fitted by pseudo-likelihood
(Besag 1975), that is: one logistic regression over (client, product) pairs. The weight of a set of products is then
`Σ_i (slope · logit(p_i) + bias_i) + Σ_{i<j} tie_ij`: of sets of one size, that which weighs most is likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

STRENGTH = 0.3  # scikit-learn's C: ties of pairs seldom opened lean to none; 0.3 to 1 do alike on Santander
LEAST_CLIENTS = 100  # who opened several products; fewer teach nothing
MOST_CLIENTS = 20_000  # more of them, drawn at random, tell little more


@dataclass(frozen=True)
class CoOpenings:
    """`bias` is (products,), `ties` (products, products): symmetric, zero on the diagonal."""

    slope: float
    bias: np.ndarray
    ties: np.ndarray

    @classmethod
    def independent(cls, products: int) -> CoOpenings:
        return cls(1.0, np.zeros(products), np.zeros((products, products)))

    @classmethod
    def fit(cls, log_odds: np.ndarray, opened: np.ndarray, reached: np.ndarray, seed: int = 0) -> CoOpenings:
        """Fitted on (clients, products): cross-fitted log-odds of opening, what was opened, what could be opened.

        Independence where too few clients opened several products.
        """
        products = opened.shape[1]
        taken = (opened > 0) & reached
        several = np.flatnonzero(taken.sum(axis=1) > 1)
        if len(several) < LEAST_CLIENTS:
            return cls.independent(products)
        if len(several) > MOST_CLIENTS:
            several = np.sort(np.random.default_rng(seed).choice(several, MOST_CLIENTS, replace=False))
        taken, reached, log_odds = taken[several], reached[several], log_odds[several]
        client, product = np.nonzero(reached)
        if taken[client, product].all():  # everybody opened all they could: nothing tells what goes with what
            return cls.independent(products)
        rows = np.arange(len(client))
        others = taken[client]
        others[rows, product] = False
        row, other = np.nonzero(others)
        first, second = np.triu_indices(products, 1)
        number = np.zeros((products, products), dtype=int)
        number[first, second] = number[second, first] = np.arange(len(first))
        x = sparse.hstack(
            [
                sparse.csr_matrix(log_odds[client, product][:, None]),
                sparse.csr_matrix((np.ones(len(rows)), (rows, product)), shape=(len(rows), products)),
                sparse.csr_matrix(
                    (np.ones(len(row)), (row, number[product[row], other])), shape=(len(rows), len(first))
                ),
            ]
        ).tocsr()
        fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit(x, taken[client, product])
        slope, bias, tie = np.split(fitted.coef_[0], [1, 1 + products])
        ties = np.zeros((products, products))
        ties[first, second] = ties[second, first] = tie
        return cls(float(slope[0]), bias, ties)

    def for_products(self, known: Sequence[str], wanted: Sequence[str]) -> CoOpenings:
        """The same for another list of products; one never learned has the mean bias, and nothing ties it."""
        at = {product: index for index, product in enumerate(known)}
        index = np.array([at.get(product, -1) for product in wanted], dtype=int)
        learned = index >= 0
        bias = np.where(learned, self.bias[index], self.bias.mean())
        return CoOpenings(self.slope, bias, self.ties[np.ix_(index, index)] * np.outer(learned, learned))

    def weights(self, log_odds: np.ndarray, missing: np.ndarray, client: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """(sets,): of each set the weight of those of its products that the client does not hold.

        `log_odds` and `missing` are (clients, products), `client` (sets,) rows of them; `slots` (sets, most products)
        positions of a set's products, one past the last filling up.
        """
        lone = np.zeros((len(missing), missing.shape[1] + 1))
        lone[:, :-1] = np.where(missing, self.slope * log_odds + self.bias, 0.0)
        there = np.zeros(lone.shape, dtype=bool)
        there[:, :-1] = missing
        rows = client[:, None]
        there, weight = there[rows, slots], lone[rows, slots].sum(axis=1)
        one, other = _pairs(slots.shape[1])
        both = self._ties[slots[:, one], slots[:, other]] * (there[:, one] & there[:, other])
        # One after the other, so that a set has the same weight whatever the most products of a set are.
        summed: np.ndarray = np.cumsum(np.concatenate([weight[:, None], both], axis=1), axis=1)[:, -1]
        return summed

    @cached_property
    def _ties(self) -> np.ndarray:
        """With a last product that nothing ties."""
        return np.pad(self.ties, (0, 1))

    def to_json(self) -> dict[str, Any]:
        return {"slope": self.slope, "bias": self.bias.tolist(), "ties": self.ties.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> CoOpenings:
        return cls(content["slope"], *(np.array(content[name], dtype=float) for name in ("bias", "ties")))


@cache
def _pairs(size: int) -> tuple[np.ndarray, ...]:
    """The one and the other of every two places of `size`."""
    return np.triu_indices(size, 1)


def sets_of(likeliest: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every set of `size` of each client's likeliest products: whose it is (sets,), and its products (sets, size).

    `likeliest` is (clients, products) positions.
    """
    within: Sequence[tuple[int, ...]] = list(combinations(range(likeliest.shape[1]), size))
    clients = np.repeat(np.arange(len(likeliest)), len(within))
    return clients, likeliest[:, np.array(within, dtype=int).reshape(-1, size)].reshape(-1, size)
