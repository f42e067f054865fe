"""How likely a client is to accept, by what is conceded: one interface, whatever stands behind it.

A response is non-decreasing in the concession `s`, the client's saving against list price in money a year. Behind it
stands the policy's assumption here, or what `sheaf.training.price_response` learned from the bank's own offers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.special import expit, wrightomega

from sheaf.catalog import Pricing
from sheaf.catalog.price_schema import Assumption


@dataclass(frozen=True)
class Offers:
    """What a response is a function of, beside the concession: one entry an offer.

    `list_price` is money a year; `inputs` (offers, columns) encodes client and bundle for a learned response;
    `acceptance`, where it is known, is the chance that the client accepts at list price.
    """

    list_price: np.ndarray
    inputs: np.ndarray | None = None
    acceptance: np.ndarray | None = None


class AcceptanceModel(Protocol):
    """Probability of acceptance. `assumption` says that it was not learned; `told` describes it in a quote.

    One that is a logit in `s` also has `as_logit(offers)`: (offers,) each, utility at list price and what a unit of
    money adds to it. Then the best concession is known in closed form. One that knows of certain concessions only has
    these as `levels`, shares of the list price, rising from 0.
    """

    @property
    def assumption(self) -> bool: ...

    @property
    def told(self) -> str: ...

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        """(offers,): between 0 and 1, non-decreasing in `s`."""
        ...


@dataclass(frozen=True)
class Logit:
    """q(s) = 1 / (1 + exp(-(alpha + beta·x + gamma·s))), with x the offer's inputs and s in money a year."""

    alpha: float
    gamma: float
    beta: np.ndarray = field(default_factory=lambda: np.zeros(0))
    assumption: bool = False
    told: str = "logit"

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"gamma {self.gamma:g} is below 0; who saves more is not less likely to accept")

    def as_logit(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        """(offers,) each: utility at list price, and what a unit of money adds to it."""
        utility = np.full(len(offers.list_price), self.alpha)
        if offers.inputs is not None and len(self.beta):
            utility = utility + offers.inputs @ self.beta
        return utility, np.full(len(utility), self.gamma)

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        utility, gamma = self.as_logit(offers)
        q: np.ndarray = expit(utility + gamma * s)
        return q


@dataclass(frozen=True)
class Assumed:
    """The policy's assumption as a logit: its share accepts at list price, with its elasticity there.

    With q the acceptance at list price P, elasticity = dq/ds·P/q = gamma·P·(1 - q), so gamma = elasticity/(P·(1 - q)).
    """

    policy: Assumption
    assumption: bool = True

    @property
    def told(self) -> str:
        return (
            f"assumed by policy, not learned: {self.policy.acceptance:.0%} accept at list price, "
            f"elasticity {self.policy.elasticity:g}"
        )

    def told_around(self, acceptance: float) -> str:
        """The same where the chance of acceptance at list price is known of the client and the bundle."""
        return (
            f"assumed by policy, not learned: elasticity {self.policy.elasticity:g}, around the model's probability of "
            f"the whole bundle, {acceptance:.1%}, as acceptance at list price"
        )

    def as_logit(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        """(offers,) each: utility at list price, and what a unit of money adds to it."""
        price = offers.list_price
        q = np.full(len(price), self.policy.acceptance) if offers.acceptance is None else offers.acceptance
        q = np.clip(q, 1e-6, 1 - 1e-6)
        gamma = np.divide(self.policy.elasticity, price * (1 - q), out=np.zeros(len(price)), where=price > 0)
        return np.log(q / (1 - q)), gamma

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        utility, gamma = self.as_logit(offers)
        q: np.ndarray = expit(utility + gamma * s)
        return q


@dataclass(frozen=True)
class FixedLogit:
    """A logit's answer for certain offers: `as_logit` of them, worked out once."""

    utility: np.ndarray
    gamma: np.ndarray
    assumption: bool
    told: str

    def as_logit(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        return self.utility, self.gamma

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        q: np.ndarray = expit(self.utility + self.gamma * s)
        return q


def once(response: AcceptanceModel, offers: Offers) -> AcceptanceModel:
    """The response for these offers only: of a logit, what it takes of them is worked out here."""
    as_logit = getattr(response, "as_logit", None)
    if as_logit is None:
        return response
    utility, gamma = as_logit(offers)
    return FixedLogit(utility, gamma, response.assumption, response.told)


def of_policy(pricing: Pricing) -> Assumed:
    """The response of a bank that has learned none yet."""
    return Assumed(pricing.response)


def best_concession(
    response: AcceptanceModel, offers: Offers, value: np.ndarray, keep: float, bound: np.ndarray, steps: int = 24
) -> np.ndarray:
    """(offers,): the `s` in [0, bound] that maximises q(s)·(value - keep·s); 0 where the bound is not positive.

    `value` is what acceptance at list price brings, `keep` = 1 - tax. For a logit in closed form (`closed_form`), else
    by search: the best of `steps` even steps, then golden sections between its neighbours; of a response with `levels`
    the best of these, and of the bound where that is below some.
    """
    bound = np.maximum(np.where(np.isnan(bound), 0.0, bound), 0.0)
    if (as_logit := getattr(response, "as_logit", None)) is not None:
        utility, gamma = as_logit(offers)
        return np.clip(closed_form(utility, gamma, value, keep), 0.0, bound)
    if (levels := getattr(response, "levels", None)) is not None:
        return _best_level(response, offers, value, keep, bound, levels)
    return search(lambda s: response.accepts(offers, s) * (value - keep * s), bound, steps)


def closed_form(utility: np.ndarray, gamma: np.ndarray, value: np.ndarray, keep: float) -> np.ndarray:
    """s* = v - (1 + W(exp(utility + gamma·v - 1)))/gamma with v = value/keep, where W is Lambert's function.

    From dq/ds·(v - s) = q with dq/ds = gamma·q·(1 - q): the margin left, m = v - s, has gamma·m - 1 = exp(utility +
    gamma·(v - m)), hence (gamma·m - 1)·exp(gamma·m - 1) = exp(utility + gamma·v - 1). Aravindakshan and Ratchford,
    Solving Share Equations in Logit Models Using the LambertW Function, Review of Marketing Science 9 (2011).
    W(e^x) is Wright's omega function of x, which does not overflow. Minus infinity where gamma is 0.
    """
    worth = value / keep
    with np.errstate(divide="ignore", invalid="ignore"):
        s: np.ndarray = worth - (1 + wrightomega(utility + gamma * worth - 1)) / gamma
    return np.where(gamma > 0, s, -np.inf)


def search(objective: ConcessionObjective, bound: np.ndarray, steps: int = 24, sections: int = 60) -> np.ndarray:
    """(offers,): where in [0, bound] the objective is largest; the first such place where it is flat."""
    width = bound / steps
    best, at = objective(np.zeros_like(bound)), np.zeros_like(bound)
    for step in range(1, steps + 1):
        there = objective(width * step)
        better = there > best
        best, at = np.where(better, there, best), np.where(better, width * step, at)
    low, high = np.maximum(at - width, 0.0), np.minimum(at + width, bound)
    golden = (5**0.5 - 1) / 2
    one, other = high - golden * (high - low), low + golden * (high - low)
    of_one, of_other = objective(one), objective(other)
    for _ in range(sections):
        left = of_one >= of_other
        low, high = np.where(left, low, one), np.where(left, other, high)
        fresh = np.where(left, high - golden * (high - low), low + golden * (high - low))
        of_fresh = objective(fresh)
        one, other = np.where(left, fresh, other), np.where(left, one, fresh)
        of_one, of_other = np.where(left, of_fresh, of_other), np.where(left, of_one, of_fresh)
    middle = (low + high) / 2
    return np.where(objective(middle) > best, middle, at)


def _best_level(
    response: AcceptanceModel, offers: Offers, value: np.ndarray, keep: float, bound: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """(offers,): the best of the levels within the bound, the response asked once for all of them."""
    s = np.fmin(offers.list_price[:, None] * levels, bound[:, None])  # without a list price the bound, 0
    every = Offers(
        *(None if of is None else np.repeat(of, len(levels), axis=0)
          for of in (offers.list_price, offers.inputs, offers.acceptance))  # type: ignore[arg-type]
    )  # fmt: skip
    q = response.accepts(every, s.ravel()).reshape(s.shape)
    best = (q * (value[:, None] - keep * s)).argmax(axis=1)
    return s[np.arange(len(s)), best]


class ConcessionObjective(Protocol):
    """What is maximised, for all offers at once."""

    def __call__(self, s: np.ndarray) -> np.ndarray: ...
