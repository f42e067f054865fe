"""How much more often two things meet than their popularity explains, how sure that is, and what many tests leave.

Nothing here knows of banks: rows, two marks on each, a stratum, and who the row belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Association:
    """What `associate` found: rows that count, rows where both marks meet, the lift and its error on a log scale."""

    rows: int
    together: int
    lift: float
    log_error: float

    @classmethod
    def unlikely(cls, together: int, lift: float) -> Association:
        """One whose lift alone tells enough: its error was not worked out."""
        return cls(0, together, lift, np.inf)

    @property
    def interval(self) -> tuple[float, float]:
        """Of the lift, at `LEVEL`: normal on the log scale."""
        away = float(np.exp(NormalDist().inv_cdf((1 + LEVEL) / 2) * self.log_error))
        return self.lift / away, self.lift * away if self.lift else np.inf

    def p_value(self, least: float = 1.0) -> float:
        """Of a lift no higher than `least`, one-sided, normal on the log scale; 1 where nothing meets or varies."""
        if not self.lift > least or not 0 < self.log_error < np.inf:
            return 1.0
        return NormalDist().cdf(-np.log(self.lift / least) / self.log_error)


def associate(
    first: np.ndarray,
    second: np.ndarray,
    stratum: np.ndarray,
    owners: tuple[np.ndarray, ...] = (),
) -> Association:
    """The association of two marks (rows,) of bool: `lift = Σ_s o_s / Σ_s (a_s·b_s / n_s)` over strata s.

    o rows have both marks, a the first, b the second, n there are: what is seen against what would be seen if the
    marks were independent within each stratum (indirect standardisation). Given a, b and n that expectation is exact
    however small a stratum is, as in the test of Mantel and Haenszel.

    The error is the delta method's: a row adds `o/O − (a·b_s/n_s + b·a_s/n_s − a_s·b_s/n_s²)/E` to log(lift), summed
    over the rows of an owner and squared. `owners` are integers a row: none where rows are independent; one where rows
    of the same owner are not; three where each row has two, the third standing for both together: V₁ + V₂ − V₁₂
    (Cameron, Gelbach and Miller 2011).
    """
    n = np.bincount(stratum)
    share_first = np.bincount(stratum[first], minlength=len(n)) / np.maximum(n, 1)
    share_second = np.bincount(stratum[second], minlength=len(n)) / np.maximum(n, 1)
    expected = float((share_first * share_second * n).sum())
    both = first & second
    together = int(both.sum())
    if not together:
        return Association(len(first), 0, 0.0, np.inf)
    influence = ((share_first * share_second) / expected)[stratum]
    influence[first] -= (share_second / expected)[stratum[first]]
    influence[second] -= (share_first / expected)[stratum[second]]
    influence[both] += 1 / together
    return Association(len(first), together, together / expected, float(np.sqrt(_variance(influence, owners))))


def _variance(influence: np.ndarray, owners: tuple[np.ndarray, ...]) -> float:
    if not owners:
        return float((influence**2).sum())
    first, *more = (float((np.bincount(owner, influence) ** 2).sum()) for owner in owners)
    return max(first + more[0] - more[1], more[1]) if more else first


def weakest(associations: list[Association], least: float = 1.0) -> Association:
    """The one least sure to be above `least`: where each has to hold, its p-value is that of all (Berger 1982)."""
    return max(associations, key=lambda one: (one.p_value(least), -one.lift))


def false_discovery(p_values: np.ndarray) -> np.ndarray:
    """Adjusted by Benjamini and Hochberg (1995): to keep those up to q expects a share q of mistakes among them."""
    from scipy.stats import false_discovery_control

    adjusted: np.ndarray = false_discovery_control(p_values, method="bh") if len(p_values) else np.empty(0)
    return adjusted
