"""What a bank could do without sheaf: popularity, popularity by segment, and a logistic regression for each product.

Each learns from the clients and days that the model learned from, and returns what gives profiles their (clients,
products) probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from sheaf.features import ProfileMatrix
from sheaf.training import Candidates, Day

SEGMENT = ("kind", "tier", "age")
AGES = (18, 25, 35, 45, 55, 65, 75)  # where bands begin
LEAN = 200.0  # clients: a segment's share counted over fewer than this leans to that of all
FAR = 5.0  # standard deviations: amounts have long tails, and a linear model must not hang on a few giants
STRENGTH = 0.01  # scikit-learn's C, the best of 0.001, 0.01 and 0.1 for a bank of 20,000 clients
ROWS = 30_000  # of clients who did not open the product; beyond, a sample that is weighted up

Scores = Callable[[ProfileMatrix], np.ndarray]


class Baselines:
    """The training days stacked: who could open what (clients, products), and who did. Profiles are the model's."""

    def __init__(self, days: Sequence[Day], candidates: Candidates, segment: Sequence[str] = SEGMENT):
        self._segment = segment
        aligned = [day.profiles.align(candidates.encoding.columns, candidates.encoding.categories) for day in days]
        self._columns, self._categories = aligned[0].columns, aligned[0].categories
        self._values = np.concatenate([profiles.values for profiles in aligned])
        self._could = np.concatenate([candidates.products(profiles.values) for profiles in aligned])
        self._did = np.concatenate([day.opened for day in days]) * self._could
        known = np.ma.masked_invalid(self._values)
        self._mean, self._spread = (of(axis=0, dtype=float).filled(0.0) for of in (known.mean, known.std))

    def popularity(self) -> Scores:
        """Of those who could open a product, the share that did."""
        share = self._did.sum(axis=0) / np.maximum(self._could.sum(axis=0), 1)
        return lambda profiles: np.tile(share, (len(profiles.values), 1))

    def by_segment(self) -> Scores:
        """The same within segments: what these columns say, age in bands."""
        labels, segment = np.unique(self._segments(self._values), axis=0, return_inverse=True)
        overall = self._did.sum(axis=0) / np.maximum(self._could.sum(axis=0), 1)
        share = np.tile(overall, (len(labels) + 1, 1))  # the last for a segment that nobody was in
        for number in range(len(labels)):
            there = segment.ravel() == number
            did, could = self._did[there].sum(axis=0), self._could[there].sum(axis=0)
            share[number] = (did + LEAN * overall) / (could + LEAN)
        position = {tuple(label): number for number, label in enumerate(labels)}

        def score(profiles: ProfileMatrix) -> np.ndarray:
            wanted = [position.get(tuple(label), -1) for label in self._segments(profiles.values)]
            return share[wanted]

        return score

    def _segments(self, values: np.ndarray) -> np.ndarray:
        told = {name: np.nan_to_num(values[:, self._columns.index(name)], nan=-1.0) for name in self._segment}
        return np.stack([np.digitize(told[name], AGES) if name == "age" else told[name] for name in told], axis=1)

    def logistic(self, strength: float = STRENGTH) -> Scores:
        """One logistic regression a product, on standardised numbers (null as the mean) and one-hot categories."""
        rng = np.random.default_rng(0)
        x, fitted = self._standardised(self._values), {}
        for product in range(self._did.shape[1]):
            could, did = self._could[:, product], self._did[:, product] > 0
            without = np.flatnonzero(could & ~did)
            if not did.any() or not len(without):
                continue
            kept = rng.permutation(without)[:ROWS]
            rows = np.concatenate([np.flatnonzero(did), kept])
            weight = np.where(did[rows], 1.0, len(without) / len(kept))
            regression = LogisticRegression(C=strength, max_iter=300)
            fitted[product] = regression.fit(x[rows], did[rows], sample_weight=weight)

        def score(profiles: ProfileMatrix) -> np.ndarray:
            wanted = self._standardised(profiles.values)
            probability = np.zeros((len(wanted), self._did.shape[1]))
            for product, regression in fitted.items():
                probability[:, product] = regression.predict_proba(wanted)[:, 1]
            return probability

        return score

    def _standardised(self, values: np.ndarray) -> np.ndarray:
        numeric = np.array([name not in self._categories for name in self._columns])
        varying = [index for index in np.flatnonzero(numeric) if self._spread[index] > 0]
        numbers = (values[:, varying] - self._mean[varying]) / self._spread[varying]
        parts = [np.nan_to_num(np.clip(numbers, -FAR, FAR))]
        for name, texts in self._categories.items():
            code = values[:, self._columns.index(name), None]
            parts.append((code == np.arange(len(texts))).astype(np.float32))
        return np.concatenate(parts, axis=1)
