"""The economics of a component: margin and fees, less cost, expected loss and tax, against the capital it takes.

The two functions that hold the formulas only add and multiply, so they take numbers, arrays and Narwhals expressions:
a quote and a profile cannot differ in them. `Economics` keeps the results as arrays and takes ratios of their sums.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sheaf.catalog import Pricing


@dataclass(frozen=True)
class Rates:
    """What holds for every component: `tax` and `hurdle` rate, and what capital earns itself (`on_capital`)."""

    tax: float
    hurdle: float
    on_capital: float = 0.0

    @classmethod
    def of(cls, pricing: Pricing) -> Rates:
        return cls(pricing.tax, pricing.hurdle, pricing.return_on_capital)


@dataclass(frozen=True)
class Coefficients:
    """What a component's volumes are multiplied with; numbers, arrays or expressions.

    `opex` money a year; `cost_rate` of the balance; `unit_cost` of each unit of money charged by the unit; `pd`, `lgd`,
    `ccf`; `k` capital for one unit of exposure; `of_balance`, `of_revenue` capital of what is no credit.
    """

    opex: Any
    cost_rate: Any
    unit_cost: Any
    pd: Any
    lgd: Any
    ccf: Any
    k: Any
    of_balance: Any
    of_revenue: Any


@dataclass(frozen=True)
class Volumes:
    """Money that a component moves: average `balance`, `undrawn` limit, fees `charged` by the unit, `revenue` (what is
    positive of margin and fees), all over `years`, so that months of a year add up to its average."""

    balance: Any
    undrawn: Any
    charged: Any
    revenue: Any
    years: Any = 1.0


def cost_risk_capital(of: Coefficients, volumes: Volumes) -> tuple[Any, Any, Any]:
    """Operating cost, expected loss and economic capital.

    EAD = drawn + CCF·undrawn; EL = PD·LGD·EAD; EC = K·EAD for credit, a·balance + c·revenue for what is none.
    """
    exposure = volumes.balance + of.ccf * volumes.undrawn
    opex = of.opex * volumes.years + of.cost_rate * volumes.balance + of.unit_cost * volumes.charged
    expected_loss = of.pd * of.lgd * exposure
    capital = of.k * exposure + of.of_balance * volumes.balance + of.of_revenue * volumes.revenue
    return opex, expected_loss, capital


def net_income(margin: Any, fees: Any, opex: Any, expected_loss: Any, capital: Any, rates: Rates) -> Any:
    """(margin + fees - opex - EL + return on the capital itself)·(1 - tax)."""
    return (margin + fees - opex - expected_loss + rates.on_capital * capital) * (1 - rates.tax)


def economic_value_added(net_income: Any, capital: Any, rates: Rates) -> Any:
    """Net income less what the capital must earn: hurdle·EC."""
    return net_income - rates.hurdle * capital


def break_even_income(opex: Any, expected_loss: Any, capital: Any, rates: Rates) -> Any:
    """Margin and fees, money a year before tax, at which RAROC is the hurdle: opex + EL + EC·(hurdle/(1 - tax) - return
    on capital)."""
    return opex + expected_loss + capital * (rates.hurdle / (1 - rates.tax) - rates.on_capital)


def left_of_income(of_revenue: Any, rates: Rates) -> Any:
    """EVA that a unit more of income brings where it takes `of_revenue` of capital: what is left after tax, and after
    the hurdle on that capital; where it is not above 0, no list price is high enough."""
    return (1 + rates.on_capital * of_revenue) * (1 - rates.tax) - rates.hurdle * of_revenue


@dataclass(frozen=True)
class Economics:
    """A year's economics of any number of components, as arrays of one shape."""

    margin: np.ndarray
    fees: np.ndarray
    opex: np.ndarray
    expected_loss: np.ndarray
    capital: np.ndarray
    balance: np.ndarray
    rates: Rates

    @property
    def contribution(self) -> np.ndarray:
        """Margin and fees, before cost, risk and capital."""
        return self.margin + self.fees

    @property
    def net_income(self) -> np.ndarray:
        """After cost, expected loss and tax."""
        found: np.ndarray = net_income(self.margin, self.fees, self.opex, self.expected_loss, self.capital, self.rates)
        return found

    @property
    def eva(self) -> np.ndarray:
        """Economic value added."""
        found: np.ndarray = economic_value_added(self.net_income, self.capital, self.rates)
        return found

    @property
    def raroc(self) -> np.ndarray:
        """Net income over economic capital; NaN where there is no capital."""
        return ratio(self.net_income, self.capital)

    @property
    def break_even_margin(self) -> np.ndarray:
        """The margin, a fraction of the balance, at which RAROC is the hurdle; NaN without a balance.

        (EL + opex - fees + EC·(hurdle/(1 - tax) - return on capital)) / B, with the capital as it is.
        """
        needed = break_even_income(self.opex, self.expected_loss, self.capital, self.rates)
        return ratio(needed - self.fees, self.balance)

    @property
    def return_on_net_assets(self) -> np.ndarray:
        """Risk-adjusted return on net assets, by our own definition; NaN without assets.

        Net income, which is after expected loss, over the average balances on both sides less the expected loss.
        """
        return ratio(self.net_income, self.balance - self.expected_loss)

    def sum(self, axis: int | None = None) -> Economics:
        """The components taken together; ratios of the sums are the relationship's, never means of ratios."""
        return self._each(lambda values: np.sum(values, axis=axis))

    def scaled(self, factor: Any) -> Economics:
        """Every amount times `factor`."""
        return self._each(lambda values: values * factor)

    def plus(self, other: Economics) -> Economics:
        """Amount by amount."""
        mine, theirs = ({one.name: getattr(it, one.name) for one in fields(it)} for it in (self, other))
        return Economics(**{name: mine[name] + theirs[name] for name in mine if name != "rates"}, rates=self.rates)

    def grouped(self, group: np.ndarray, groups: int) -> Economics:
        """One entry a group: the sums of the components whose number in `group` it is."""
        return self._each(lambda values: np.bincount(group, values, groups).astype(float))

    def at(self, index: Any) -> Economics:
        """Those at `index`."""
        return self._each(lambda values: values[index])

    def _each(self, of: Any) -> Economics:
        amounts = {one.name: of(getattr(self, one.name)) for one in fields(self) if one.name != "rates"}
        return Economics(**amounts, rates=self.rates)


def ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole; NaN where the whole is not positive."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
