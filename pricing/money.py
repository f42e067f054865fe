"""Money to the cent. Every line of a quote is rounded once, and totals are sums of lines, so nothing is lost between.

Amounts are whole cents (int64) while they are added up and Decimals where a person or a channel reads them.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

CENT = Decimal("0.01")
ROUNDED = 0.05  # money: what is rounded element by element may add up to so much more than what is rounded once


def cents(amount: float) -> int:
    """The nearest whole cent, halves to the even one."""
    return round(amount * 100)


def decimal(cents: int) -> Decimal:
    """Whole cents as money."""
    return (Decimal(cents) * CENT).quantize(CENT)


def split(total: int, weights: np.ndarray) -> np.ndarray:
    """`total` cents spread in proportion to the weights, each within a cent of its exact part, adding up to `total`.

    The largest remainders get the cents that rounding down leaves; among equal ones the first. Raises ValueError
    where a weight is negative, or where there is something to spread and nothing to spread it over.
    """
    weights = np.asarray(weights, dtype=float)
    if (weights < 0).any() or (total and not weights.sum() > 0):
        raise ValueError(
            f"cannot spread {total} cents over weights {weights.tolist()}; they must be 0 or more, not all 0"
        )
    if not total:
        return np.zeros(len(weights), dtype=np.int64)
    exact = total * (weights / weights.sum())
    parts = np.floor(exact).astype(np.int64)
    left = total - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:left]] += 1
    return parts
