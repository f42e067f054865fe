"""Economic capital of credit: the Basel internal-ratings formulas, as a share of the exposure at default.

Basel Committee on Banking Supervision, CRE31 (in force 2023); the same functions stand in Basel II (June 2006) in
paragraphs 272 and 273 (firms, firm size), 328 (residential mortgages), 329 (revolving retail) and 330 (other retail),
and its annex 5 has a table of their results. All functions take numbers or arrays that broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from sheaf.catalog import AssetClass

CONFIDENCE = 0.999  # CRE31: capital covers losses in all but one year of a thousand
MATURITY_YEARS = (1.0, 5.0)  # CRE32: the effective maturity is held between these
SALES = (
    5.0,
    50.0,
)  # Basel II par. 273: millions of euro; below, a firm counts as of the first; from the second on, as large


def correlation(asset_class: AssetClass, pd: Any, sales: Any = np.inf) -> np.ndarray:
    """How far exposures of the class move with the economy: R; `sales` in millions of euros a year, of firms alone."""
    pd = np.asarray(pd, dtype=float)
    if asset_class == "residential_mortgage":
        return np.full_like(pd, 0.15)
    if asset_class == "revolving_retail":
        return np.full_like(pd, 0.04)
    low, high, k = (0.03, 0.16, 35.0) if asset_class == "other_retail" else (0.12, 0.24, 50.0)
    weight = (1 - np.exp(-k * pd)) / (1 - np.exp(-k))
    found: np.ndarray = low * weight + high * (1 - weight)
    if asset_class == "corporate":
        found = found - 0.04 * (1 - (np.clip(sales, *SALES) - SALES[0]) / (SALES[1] - SALES[0]))
    return found


def unit_capital(asset_class: AssetClass, pd: Any, sales: Any = np.inf) -> np.ndarray:
    """N[G(PD)/sqrt(1-R) + sqrt(R/(1-R))·G(0.999)] - PD: capital for a loss given default of 1, before maturity."""
    pd = np.asarray(pd, dtype=float)
    if not ((pd > 0) & (pd < 1)).all():
        raise ValueError(f"pd {pd} is not above 0 and below 1; give a probability of default within a year")
    r = correlation(asset_class, pd, sales)
    stressed: np.ndarray = ndtr((ndtri(pd) + np.sqrt(r) * ndtri(CONFIDENCE)) / np.sqrt(1 - r))
    return stressed - pd


def maturity_factor(pd: Any, years: Any) -> np.ndarray:
    """(1 + (M - 2.5)·b) / (1 - 1.5·b), b = (0.11852 - 0.05478·ln PD)²: longer credits to firms take more capital."""
    b = (0.11852 - 0.05478 * np.log(pd)) ** 2
    found: np.ndarray = (1 + (np.clip(years, *MATURITY_YEARS) - 2.5) * b) / (1 - 1.5 * b)
    return found


def capital_share(asset_class: AssetClass, pd: Any, lgd: Any, years: Any = 2.5, sales: Any = np.inf) -> np.ndarray:
    """K, the capital for one unit of exposure at default; its risk weight is 12.5·K. Retail takes no maturity."""
    k = np.asarray(lgd * unit_capital(asset_class, pd, sales))
    return k * maturity_factor(pd, years) if asset_class == "corporate" else k
