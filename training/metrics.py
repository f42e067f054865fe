"""Metrics of an order and of a probability. Each is the mean of its value per client, which is what functions return.

An order is given flat: for every candidate pair the client, the score and the gain (0: not wanted). Clients who
wanted nothing have no order to get right and are left out, as in the Kaggle metric MAP@7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranked:
    """Candidate pairs in the order shown, of the clients who wanted something.

    `client` is ascending, `rank` starts at 1 within a client, `gain` is what each pair was worth;
    `wanted` and `ideal` are as long as the clients: how many pairs had a gain, and all gains from the best on.
    """

    client: np.ndarray
    item: np.ndarray
    rank: np.ndarray
    gain: np.ndarray
    clients: int

    @classmethod
    def of(cls, client: np.ndarray, score: np.ndarray, gain: np.ndarray, item: np.ndarray | None = None) -> Ranked:
        """Ranked by score, highest first; equal scores in order of the item, so that an order is never by luck.

        Raises ValueError where a score is not a number.
        """
        if np.isnan(score).any():
            raise ValueError(f"{int(np.isnan(score).sum())} scores are not numbers, so there is no order by them")
        item = np.arange(len(client)) if item is None else item
        wanting = np.unique(client[gain > 0])
        kept = np.isin(client, wanting)
        client, score, gain, item = client[kept], score[kept], gain[kept], item[kept]
        order = np.lexsort((item, -score, client))
        client = np.searchsorted(wanting, client[order])
        return cls(client, item[order], _position(client), gain[order], len(wanting))

    def per_client(self, value: np.ndarray) -> np.ndarray:
        """Sums of `value`, one of each pair, over every client's pairs."""
        return np.bincount(self.client, weights=value, minlength=self.clients)


def _position(client: np.ndarray) -> np.ndarray:
    starts = np.flatnonzero(np.r_[True, client[1:] != client[:-1]]) if len(client) else np.empty(0, dtype=int)
    counts = np.diff(np.r_[starts, len(client)])
    return np.arange(len(client)) - np.repeat(starts, counts) + 1


def average_precision(ranked: Ranked, k: int) -> np.ndarray:
    """AP@k of each client: `Σ_{i≤k} hit_i · precision@i / min(wanted, k)`. MAP@k is the mean."""
    hit = (ranked.gain > 0).astype(float)
    so_far = np.cumsum(hit)
    starts = np.flatnonzero(ranked.rank == 1)
    before = (so_far - hit)[starts]
    precision = (so_far - before[ranked.client]) / ranked.rank
    wanted = np.minimum(ranked.per_client(hit), k)
    return ranked.per_client(hit * precision * (ranked.rank <= k)) / wanted


def ndcg(ranked: Ranked, k: int) -> np.ndarray:
    """NDCG@k of each client: `Σ_{i≤k} gain_i / log2(i + 1)` over the same sum for the best possible order."""
    best = np.lexsort((-ranked.gain, ranked.client))
    return _dcg(ranked, ranked.gain, k) / _dcg(ranked, ranked.gain[best], k)


def _dcg(ranked: Ranked, gain: np.ndarray, k: int) -> np.ndarray:
    return ranked.per_client(gain / np.log2(ranked.rank + 1) * (ranked.rank <= k))


def recall(ranked: Ranked, k: int) -> np.ndarray:
    """Recall@k of each client: of the pairs with a gain, the share within the first k; out of k where more had one."""
    hit = (ranked.gain > 0).astype(float)
    return ranked.per_client(hit * (ranked.rank <= k)) / np.minimum(ranked.per_client(hit), k)


def coverage(ranked: Ranked, k: int, items: int) -> float:
    """Share of the catalog's items that stand within the first k of at least one client; NaN of no items."""
    return len(np.unique(ranked.item[ranked.rank <= k])) / items if items else float("nan")


def calibration_error(
    probability: np.ndarray, happened: np.ndarray, weight: np.ndarray | None = None, bins: int = 15
) -> float:
    """Expected calibration error: `Σ_b share_b · |mean probability_b − mean happened_b|` over bins of equal weight.

    Naeini, Cooper, Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning, with bins of
    equal weight: rare events leave all but the first bin of equal width empty. NaN without rows.
    """
    table = reliability(probability, happened, weight, bins)
    return float((table[:, 2] * np.abs(table[:, 0] - table[:, 1])).sum() / table[:, 2].sum()) if len(table) else np.nan


def reliability(
    probability: np.ndarray, happened: np.ndarray, weight: np.ndarray | None = None, bins: int = 15
) -> np.ndarray:
    """(bins, 3): mean probability, share that happened, and weight of each bin; empty without rows."""
    if not len(probability):
        return np.empty((0, 3))
    weight = np.ones(len(probability)) if weight is None else weight
    order = np.argsort(probability, kind="stable")
    probability, happened, weight = probability[order], happened[order].astype(float), weight[order]
    upto = np.cumsum(weight)
    place = np.minimum((upto - weight / 2) / upto[-1] * bins, bins - 1).astype(int)
    sums = np.stack(
        [
            np.bincount(place, weights=value * weight, minlength=bins)
            for value in (probability, happened, weight * 0 + 1)
        ]
    )
    filled = sums[2] > 0
    return np.stack([sums[0, filled] / sums[2, filled], sums[1, filled] / sums[2, filled], sums[2, filled]], axis=1)


def bootstrap_interval(
    values: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of per-client values; (NaN, NaN) without values."""
    if not len(values):
        return (np.nan, np.nan)
    rng = np.random.default_rng(seed)
    means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
