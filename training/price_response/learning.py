"""Learns a price response from the offer history: logit against trees on later offers, and the slope's interval."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sheaf.catalog import Catalog
from sheaf.features import Bank, C
from sheaf.features.conditions import need_met
from sheaf.pricing import AcceptanceModel, Assumed
from sheaf.pricing.price_table import need_pricing
from sheaf.training.metrics import bootstrap_interval
from sheaf.training.parameters import Parameters
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.models import ALIKE, KINDS, RIDGE, ShareLogit, Trees, pieces
from sheaf.training.price_response.offer_history import (
    LEAST,
    OfferHistory,
    ResponseError,
    could_be_drawn,
    read_offer_history,
)
from sheaf.training.promotion import Verdict, contest
from sheaf.training.samples import HORIZON_DAYS, fold, last_day

FOLDS = 3


@dataclass(frozen=True)
class LearnedPriceResponse:
    """The response that is to answer, the losses that it was chosen by, and the slope with its 95 % interval.

    `slope` is the mean over the offers: what log-odds of acceptance a concession of the whole list price would add.
    `losses` are log losses on later offers to other clients: of logit, trees, the policy's assumption, one share for
    all, and of the present champion, where there are offers later than it learned from.
    """

    response: ShareLogit | Trees
    logit: ShareLogit
    losses: dict[str, float]
    slope: float
    slope_between: tuple[float, float]
    offers: OfferHistory
    by_chance: bool
    about: dict[str, Any]
    present: dict[str, Any] | None = None  # what the present champion is about
    deciding: int = 0  # offers that the contest rests on: the fewer of those accepted and those not

    @property
    def verdict(self) -> Verdict:
        """Champion where it `answers`, on enough offers that the present champion has not learned from."""
        mine = self.losses["trees" if isinstance(self.response, Trees) else "logit"]
        others = (name for name in self.losses if name not in ("trees", "logit"))
        losing_to = " and ".join(name for name in others if mine >= self.losses[name])
        return contest(self.about, self.present, losing_to, self.deciding, "offers accepted, or not accepted,")

    @property
    def answers(self) -> bool:
        """Whether it tells later offers better than the policy's assumption, than one share for all (what does no
        better than that has learned nothing of prices), and than the present champion."""
        mine = self.losses["trees" if isinstance(self.response, Trees) else "logit"]
        return all(mine < loss for name, loss in self.losses.items() if name not in ("trees", "logit"))


def fit_price_response(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date | None = None,
    parameters: Parameters | None = None,
    propensities: bool = True,
    progress: Callable[[str], None] = lambda step: None,
    present: PriceResponse | None = None,
) -> LearnedPriceResponse:
    """The response learned from what was offered and answered by `as_of` (default: the bank's last day).

    The earlier half of the months with offers teaches how readily clients open products, the later half how they
    answer. Without `propensities` all offers count alike, as if their prices had been drawn by chance. `present` is the
    champion to compare with. Raises ResponseError where there are too few offers, and NoPriceSheetError where the
    catalog has no prices.
    """
    need_pricing(catalog)  # first: what follows takes a while
    need_met(bank, catalog)
    day = as_of or last_day(bank)
    made = read_offer_history(bank, catalog, day, parameters or Parameters(), progress)
    progress("price response")
    about = {"as_of": str(day), "catalog": catalog.name, "catalog_version": catalog.version,
             "horizon_days": HORIZON_DAYS}  # fmt: skip
    return choose_price_response(made, catalog, propensities, about, present)


def choose_price_response(
    made: OfferHistory,
    catalog: Catalog,
    propensities: bool,
    about: Mapping[str, Any],
    present: PriceResponse | None = None,
) -> LearnedPriceResponse:
    """The better of both responses to these offers. Raises ResponseError where they are too few."""
    logged = made[np.isfinite(made.price_propensity)]
    drawn = could_be_drawn(logged.price_propensity)
    if not drawn:
        warnings.warn(
            f"table offers: {C.PRICE_PROPENSITY} of {len(logged.share):,} offers is too near 1 for prices that were "
            "drawn by chance, so it is not used. Give the chance of the concession, not of the list, and leave it "
            "empty where the price was computed",
            stacklevel=3,
        )
    by_chance = propensities and drawn and logged.enough()
    made = logged if by_chance else replace(made, price_propensity=np.full(len(made.share), np.nan))
    if not made.enough():
        accepted = int(made.accepted.sum())
        raise ResponseError(
            f"table offers: {len(made.share):,} answered offers of bundles that are sold, of which {accepted:,} were "
            f"accepted, at {len(np.unique(made.share.round(4))):,} prices; a response takes {LEAST} accepted and "
            f"{LEAST} not, at different concessions. Until then quotes go by the policy's assumption"
        )
    losses, better, deciding = _losses(made, catalog, present)
    part = fold(made.client_id, FOLDS, "price response")
    logit = ShareLogit.fit(made.x, made.share, made.accepted, made.weight)
    response: ShareLogit | Trees = Trees.fit(made.x, made.share, made.accepted, made.weight, part) if better else logit
    how = (
        "each weighed by the logged chance of its price"
        if by_chance
        else "whose prices nobody drew by chance: clients may answer less to a price than told"
    )
    told = (
        f"learned ({'trees' if better else 'logit'}) from {len(made.share):,} offers from the month after "
        f"{made.as_of.min()} to that after {made.as_of.max()}, {how}"
    )
    if unmoved := _unmoved(made, logit):
        told += f"; {unmoved} were found not to answer to a price"
        warnings.warn(
            f"table offers: the more was conceded, the fewer {unmoved} accepted, or as many: their slope is held at 0. "
            "Either a price does not move them, or those who wanted the bundle less were given more (confounding): log "
            f"the chance of every price in {C.PRICE_PROPENSITY}, and draw some by chance",
            stacklevel=3,
        )
    response = replace(response, told=told)
    slope, interval = between(made, logit, made.x[:, : len(KINDS)].mean(axis=0))
    known = None if present is None else present.about
    return LearnedPriceResponse(response, logit, losses, slope, interval, made, by_chance, dict(about), known, deciding)


def _unmoved(made: OfferHistory, logit: ShareLogit) -> str:
    """The kinds of clients, of those who had offers at different prices, whose slope is at its bound of 0."""
    of_kind = made.x[:, : len(KINDS)] > 0
    priced = [len(np.unique(made.share[of_kind[:, at]].round(4))) > 1 for at in range(len(KINDS))]
    names = [f"{kind} clients" for at, kind in enumerate(KINDS) if priced[at] and logit.slopes[at] <= 1e-6]
    return " and ".join(names)


def _losses(made: OfferHistory, catalog: Catalog, present: PriceResponse | None) -> tuple[dict[str, float], bool, int]:
    """Weighted log losses on the last quarter of the months, of responses to earlier offers to other clients, and of
    the `present` champion; of these months those that it did not learn from, if there are any. And
    whether the 95 % interval of trees less logit, by bootstrap over offers, lies below 0. And of how many offers the
    present champion is compared on, the fewer of those accepted and those not."""
    months = sorted(set(made.as_of))
    late = made.as_of >= months[-max(len(months) // 4, 1)]
    part = fold(made.client_id, FOLDS, "price response")
    told = {name: np.full(len(late), np.nan) for name in ("logit", "trees", "one share", "assumed")}
    for number in range(FOLDS):
        seen, asked = ~late & (part != number), late & (part == number)
        if not asked.any():
            continue
        if len(np.unique(made.accepted[seen])) < 2:
            raise ResponseError(
                "table offers: the earlier offers were all accepted, or none of them was, so nothing can be learned "
                "to be compared on later ones; wait for more months"
            )
        before, then = made[seen], made[asked]
        s = then.share * then.list_price
        args = before.x, before.share, before.accepted, before.weight
        told["logit"][asked] = ShareLogit.fit(*args).accepts(then.offers, s)
        of = fold(before.client_id, FOLDS, "rounds")
        told["trees"][asked] = Trees.fit(*args, of).accepts(then.offers, s)
        told["one share"][asked] = np.average(before.accepted, weights=before.weight)
        assumed: AcceptanceModel = Assumed(catalog.pricing.response) if catalog.pricing else ShareLogit.fit(*args)
        told["assumed"][asked] = assumed.accepts(then.offers, s)
    if present is not None:
        unseen = late & (made.as_of >= dt.date.fromisoformat(present.about["as_of"]))
        if unseen.any():
            late = unseen
            told["present champion"] = present.response.accepts(made.offers, made.share * made.list_price)
    accepted, weight = made.accepted[late] > 0, made.weight[late]
    each = {
        name: -np.log(np.clip(np.where(accepted, q[late], 1 - q[late]), 1e-9, 1.0)) * weight / weight.mean()
        for name, q in told.items()
    }
    better = bootstrap_interval(each["trees"] - each["logit"])[1] < 0
    deciding = min(int(accepted.sum()), int((~accepted).sum())) if "present champion" in told else 0
    return {name: float(of.mean()) for name, of in each.items()}, better, deciding


def slope_errors(made: OfferHistory, logit: ShareLogit) -> np.ndarray:
    """(kinds, kinds): covariance of the slopes, robust and by client.

    H⁻¹ (Σ g gᵀ) H⁻¹ with the loss's second derivative H and a client's first derivatives g: Liang and Zeger 1986. A
    client's offers are not independent, and weights are no counts.
    """
    x, kinds = made.x, len(KINDS)
    bent = pieces(x, logit.knots)
    design = np.column_stack([np.ones(len(x)), bent, x[:, :kinds] * made.share[:, None]])
    q = logit.accepts(made.offers, made.share * made.list_price)
    penalty = np.diag(np.r_[0.0, RIDGE * bent.var(axis=0), np.zeros(kinds)])
    penalty[-kinds:, -kinds:] = (np.eye(kinds) - 1 / kinds) / ALIKE**2
    second = (design * (made.weight * q * (1 - q))[:, None]).T @ design + penalty
    clients, of = np.unique(made.client_id.astype(str), return_inverse=True)
    first = np.zeros((len(clients), design.shape[1]))
    np.add.at(first, of, design * (made.weight * (q - made.accepted))[:, None])
    bread = np.linalg.pinv(second)
    covariance: np.ndarray = (bread @ (first.T @ first) @ bread)[-kinds:, -kinds:]
    return covariance


def between(made: OfferHistory, logit: ShareLogit, mix: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The slope of a `mix` (kinds,) of clients, and its 95 % interval."""
    slope, error = float(mix @ logit.slopes), float(np.sqrt(mix @ slope_errors(made, logit) @ mix))
    return slope, (max(slope - 1.96 * error, 0.0), slope + 1.96 * error)


def described(found: LearnedPriceResponse) -> dict[str, float]:
    """The figures of a run: losses, slope and its interval, numbers of offers."""
    low, high = found.slope_between
    return {
        **{f"log_loss.{name.replace(' ', '_')}": value for name, value in found.losses.items()},
        "slope": found.slope, "slope.low": low, "slope.high": high,
        **{f"slope.{name}": value for name, value in zip(KINDS, found.logit.slopes.tolist(), strict=True)},
        "offers": float(len(found.offers.share)), "accepted": float(found.offers.accepted.sum()),
    }  # fmt: skip
