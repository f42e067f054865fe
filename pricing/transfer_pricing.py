"""What funds cost within the bank by their tenor, and what of a loan is outstanding while it is paid back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sheaf.catalog import Curve
from sheaf.catalog.price_schema import Credit, Slice
from sheaf.pricing.basel import MATURITY_YEARS

MONTHS = 12


def price_of_funds(curve: Curve, years: float) -> float:
    """The funds-transfer rate for a tenor, on the straight line between the curve's points.

    Raises ValueError for a tenor beyond the curve.
    """
    tenors = [point.years for point in curve]
    if not tenors[0] <= years <= tenors[-1]:
        raise ValueError(
            f"tenor {years:g} years is beyond the curve, which goes from {tenors[0]:g} to {tenors[-1]:g} years; "
            "choose a tenor within it, or lengthen the curve"
        )
    return float(np.interp(years, tenors, [point.rate for point in curve]))


def blended(curve: Curve, funding: Sequence[Slice]) -> float:
    """The funds-transfer rate of a balance funded in slices: of a deposit the core for long, the rest for short."""
    return sum(part.share * price_of_funds(curve, part.years) for part in funding)


def outstanding(credit: Credit, rate: float) -> np.ndarray:
    """Share of what was lent that is outstanding during each month of the term, instalments at its end.

    `none`: all of it to the end. `linear`: equal parts of the principal. `annuity`: equal instalments, so that after
    k of n months (1 - v^(n-k)) / (1 - v^n) is left, with v = 1 / (1 + rate/12).
    """
    months = max(1, round(credit.term_years * MONTHS))
    passed = np.arange(months)
    if credit.amortisation == "none":
        return np.ones(months)
    monthly = rate / MONTHS
    if credit.amortisation == "linear" or abs(monthly) < 1e-12:
        return 1 - passed / months
    left: np.ndarray = np.expm1(-(months - passed) * np.log1p(monthly)) / np.expm1(-months * np.log1p(monthly))
    return left


def average_balance(credit: Credit, rate: float) -> float:
    """Average balance over the first year, as a share of what was lent.

    Nothing is outstanding after the end of a term below a year, unless the credit revolves. What is repaid at once
    counts for its days, what is repaid by instalments for its whole months.
    """
    left = outstanding(credit, rate)
    if credit.revolves or credit.amortisation == "none" or len(left) == 1:
        return credit.share_of_year
    return float(left[:MONTHS].sum() / MONTHS)


def effective_maturity(credit: Credit, rate: float) -> float:
    """Years, sum(t·CF)/sum(CF) over the credit's contractual payments (CRE32), held between 1 and 5."""
    left = outstanding(credit, rate)
    principal = left - np.append(left[1:], 0.0)
    payments = principal + left * rate / MONTHS
    years = np.arange(1, len(left) + 1) / MONTHS
    return float(np.clip((years * payments).sum() / payments.sum(), *MATURITY_YEARS))
