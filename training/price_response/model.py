"""How clients answer to a price, learned from the bank's own offers.

    log-odds of acceptance = a + b·x + f(log_odds) + g[kind]·s/P

with `x` of `COLUMNS`, `f` straight between knots and nowhere falling, `s` what is conceded and `P` the list price: a
logit (the reference), and beside it LightGBM with a monotone constraint on s/P (the challenger), which answers where
its log loss on later offers to other clients is lower by more than chance: trees tell nothing of concessions beyond
those that were made.

Prices of the past were not drawn by chance: who wants a bundle more may have been given more, and a slope learned from
that is too steep. Offers whose price was drawn with a logged chance are weighed by its inverse (Horvitz and
Thompson 1952), and where there are enough of them they alone are learned from.

How readily the client opens the bundle anyway is an input. It comes from a model of the days before these offers: one
that was trained on what they led to would know the answers.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import narwhals as nw
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from sheaf.catalog import Catalog, Kind, Line
from sheaf.features import Bank, C, ProfileMatrix, day_number, from_day_number, profile_matrices
from sheaf.features.conditions import need_met
from sheaf.features.contract import Answered
from sheaf.pricing import Assumed, Book, Clients, Offers, Pricer, Response
from sheaf.pricing.money import ROUNDED
from sheaf.pricing.price_table import need_pricing
from sheaf.training.booster_text import read_booster
from sheaf.training.candidates.pairs import Candidates
from sheaf.training.candidates.population import KIND
from sheaf.training.json_artifact import OneFile
from sheaf.training.metrics import bootstrap_interval
from sheaf.training.parameters import Parameters
from sheaf.training.promotion import Verdict, contest, differing
from sheaf.training.ranker.fitting import fit
from sheaf.training.ranker.model import ArtifactError, Model
from sheaf.training.samples import HORIZON_DAYS, fold, last_day, read_sample

KINDS, LINES = tuple(map(str, Kind)), tuple(map(str, Line))
OF_PAIR = (
    *(f"kind_{kind}" for kind in KINDS), *(f"line_{line}" for line in LINES), "log_odds", "brings", "products_held",
)  # fmt: skip
COLUMNS = (*OF_PAIR, "log_list_price")
"""Kind of client and line of the bundle as 0 or 1; `log_odds`: how readily the products that it brings are opened
anyway, by the model, each by itself, the mean; how many it brings, how many are held; the logarithm of P."""
LOG_ODDS = COLUMNS.index("log_odds")
KNOTS = 5  # what a model tells of the rare is less apart in truth than what it tells of the likely
LEAST_PRICES = 1.9  # to draw from are two, less what a rounded propensity hides
LEAST = 100  # offers that were accepted, and as many that were not: fewer teach no response
FOLDS = 3
ALIKE = 2.0  # standard deviation, before any offer is seen, of a kind's slope around the mean of all kinds
RIDGE = 1.0
ANSWERED = 0.99  # of the answers come within the time that an offer has to be old
WEIGHT = 10.0  # a single offer counts for no more than so many
ADOPTION_DAYS = 9
FILE = "response.json"
TREES: Mapping[str, Any] = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 100, "lambda_l2": 10.0,
    "monotone_constraints": [0] * len(COLUMNS) + [1], "monotone_constraints_method": "advanced",
    "deterministic": True, "force_col_wise": True, "seed": 0, "verbosity": -1,
}  # fmt: skip
ROUNDS, PATIENCE = 400, 20
MOST_LEVELS = 13  # of past concessions, spread evenly over the offers, are enough


class ResponseError(ValueError):
    """Offers that no response can be learned from; the message says what is missing and what to do."""


def inputs(
    candidates: Candidates,
    values: np.ndarray,
    held: np.ndarray,
    client: np.ndarray,
    item: np.ndarray,
    log_odds: np.ndarray,
) -> np.ndarray:
    """(pairs, columns of `OF_PAIR`): what a learned response takes of the pairs (client, item).

    `values` are profiles in the encoding's columns, `held` (clients, products); `log_odds` are those of `Ranking`.
    """
    brings = ((~held).astype(float) @ candidates.parts.T)[client, item]
    texts = candidates.encoding.categories[KIND]
    kind = values[:, candidates.encoding.columns.index(KIND)][client]
    line = np.array([str(offer.line) for offer in candidates.offers])[item]
    of_kind = [kind == (texts.index(name) if name in texts else -1) for name in KINDS]
    columns = [*of_kind, *(line == name for name in LINES), log_odds, brings, held.sum(axis=1)[client]]
    return np.stack(columns, axis=1).astype(float)


@dataclass(frozen=True)
class Pair:
    """What the model tells of a bundle for a client: `inputs` (1, columns of `OF_PAIR`) of a learned response, and
    `probability` of the whole bundle, which stands for acceptance at list price where none was learned."""

    inputs: np.ndarray
    probability: float


def pair_of(model: Model, candidates: Candidates, values: np.ndarray, bundle_id: str) -> Pair | None:
    """What is told of a bundle offered to a client, whose profile `values` (1, columns of the encoding) are; None where
    the bundle is no candidate."""
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    names = [offer.bundle_id for offer in candidates.offers]
    place = np.flatnonzero(ranking.item == (names.index(bundle_id) if bundle_id in names else -1))
    if not len(place):
        return None
    client, item, log_odds = (of[place] for of in (ranking.client, ranking.item, ranking.log_odds))
    given = inputs(candidates, values, candidates.held(values), client, item, log_odds)
    return Pair(given, float(ranking.probability[place[0]]))


@dataclass(frozen=True)
class ShareLogit:
    """The reference: utility linear in `COLUMNS`, bent where `log_odds` passes a knot, and a slope in s/P of its own
    for each kind of client.

    `coefficients` are those of `COLUMNS` and of what `log_odds` is above each knot.
    """

    intercept: float
    coefficients: np.ndarray
    slopes: np.ndarray
    knots: np.ndarray
    told: str = ""
    assumption: bool = False

    @classmethod
    def fit(cls, x: np.ndarray, share: np.ndarray, accepted: np.ndarray, weight: np.ndarray) -> ShareLogit:
        """By weighted, penalised maximum likelihood; no slope is below 0, nor is any piece of what `log_odds` adds.

        `x` (offers, columns) of `COLUMNS`, `share` conceded of the list price.
        """
        knots = np.unique(np.quantile(x[:, LOG_ODDS], np.arange(1, KNOTS + 1) / (KNOTS + 1)))
        bent = _pieces(x, knots)
        mean, spread = bent.mean(axis=0), bent.std(axis=0)
        spread[spread <= 1e-9 * np.maximum(np.abs(mean), 1.0)] = 0.0  # rounding of a column that is the same for all
        scaled = np.divide(bent - mean, spread, out=np.zeros_like(bent), where=spread > 0)
        priced = x[:, : len(KINDS)] * share[:, None]
        design = np.column_stack([np.ones(len(x)), scaled, priced])
        columns = bent.shape[1]

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            utility = design @ theta
            b, g = theta[1 : columns + 1], theta[columns + 1 :]
            apart = (g - g.mean()) / ALIKE**2
            value = weight @ (np.logaddexp(0.0, utility) - accepted * utility)
            slope = design.T @ (weight * (expit(utility) - accepted))
            slope[1 : columns + 1] += RIDGE * b
            slope[columns + 1 :] += apart
            return float(value + RIDGE * (b @ b) / 2 + apart @ (g - g.mean()) / 2), slope

        start = np.r_[np.zeros(columns + 1), np.ones(len(KINDS))]
        rising: list[tuple[float | None, None]] = [(0.0, None)]
        bounds = [(None, None)] * (len(COLUMNS) + 1) + rising * (len(knots) + len(KINDS))
        bounds[1 + LOG_ODDS] = rising[0]
        theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
        b = np.divide(theta[1 : columns + 1], spread, out=np.zeros(columns), where=spread > 0)
        intercept = float(theta[0] - b @ mean)
        b[len(COLUMNS) :] = np.diff(b[[LOG_ODDS, *range(len(COLUMNS), columns)]])  # by how much each bends
        return cls(intercept, b, theta[columns + 1 :], knots)

    def as_logit(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        """(offers,) each: utility at list price, and what a unit of money adds to it."""
        x, price = _x(offers), offers.list_price
        steep = x[:, : len(KINDS)] @ self.slopes
        gamma = np.divide(steep, price, out=np.zeros(len(x)), where=price > 0)
        return self.intercept + _bent(x, self.knots) @ self.coefficients, gamma

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        utility, gamma = self.as_logit(offers)
        q: np.ndarray = expit(utility + gamma * s)
        return q

    def to_json(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "coefficients": dict(zip(COLUMNS, self.coefficients.tolist(), strict=False)),
            "knots": self.knots.tolist(),
            "beyond_knots": self.coefficients[len(COLUMNS) :].tolist(),
            "slopes": dict(zip(KINDS, self.slopes.tolist(), strict=True)),
        }


@dataclass(frozen=True)
class Trees:
    """The challenger: LightGBM over `COLUMNS` and s/P, non-decreasing in s/P.

    `levels` are the s/P that it is asked about, which were conceded before: where it rises between two of them, trees
    do not know.
    """

    booster: lgb.Booster
    levels: np.ndarray
    told: str = ""
    assumption: bool = False

    @classmethod
    def fit(cls, x: np.ndarray, share: np.ndarray, accepted: np.ndarray, weight: np.ndarray, part: np.ndarray) -> Trees:
        """As many rounds as serve clients of part 0 best, then anew on all; `part` is of the client."""
        rows, ours = np.column_stack([x, share]), part > 0
        both = [len(np.unique(accepted[of])) > 1 for of in (ours, ~ours)]
        rounds = ROUNDS // 10
        if all(both):
            seen = lgb.Dataset(rows[ours], accepted[ours], weight=weight[ours], params=dict(TREES))
            other = lgb.Dataset(rows[~ours], accepted[~ours], weight=weight[~ours], reference=seen)
            stop = lgb.early_stopping(PATIENCE, verbose=False)
            rounds = lgb.train(dict(TREES), seen, ROUNDS, valid_sets=[other], callbacks=[stop]).best_iteration
        data = lgb.Dataset(rows, accepted, weight=weight, params=dict(TREES))
        levels = np.unique(np.r_[0.0, np.quantile(share.round(3), np.linspace(0, 1, MOST_LEVELS), method="nearest")])
        return cls(lgb.train(dict(TREES), data, max(rounds, 1)), levels)

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        share = np.divide(s, offers.list_price, out=np.zeros(len(s)), where=offers.list_price > 0)
        return np.asarray(self.booster.predict(np.column_stack([_x(offers), share])))

    def to_json(self) -> dict[str, Any]:
        return {"booster": self.booster.model_to_string(), "levels": self.levels.tolist()}


def _bent(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(offers, columns and knots): `x`, and how far `log_odds` is above each knot."""
    return np.column_stack([x, np.maximum(x[:, LOG_ODDS, None] - knots, 0.0)])


def _pieces(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(offers, columns and knots): `x` with how much of `log_odds` lies below the first knot, and between each and the
    next: what has a slope of its own."""
    below = np.minimum(x[:, LOG_ODDS, None], knots[0])
    between = np.clip(x[:, LOG_ODDS, None] - knots, 0.0, np.append(np.diff(knots), np.inf))
    return np.column_stack([x[:, :LOG_ODDS], below, x[:, LOG_ODDS + 1 :], between])


def _x(offers: Offers) -> np.ndarray:
    if offers.inputs is None:
        raise ValueError("a learned price response needs the inputs of every offer: training.price_response.inputs")
    return np.column_stack([offers.inputs, np.log(np.maximum(offers.list_price, 1e-2))])


@dataclass(frozen=True)
class Made:
    """Offers of the past, one entry each, with what was known on the last month-end before (`as_of`).

    `share` is what was conceded of the list price, `price_propensity` the logged chance of that price (NaN: not drawn).
    """

    client_id: np.ndarray
    as_of: np.ndarray
    x: np.ndarray
    list_price: np.ndarray
    share: np.ndarray
    price_propensity: np.ndarray
    accepted: np.ndarray

    def __getitem__(self, kept: np.ndarray) -> Made:
        return Made(**{name: values[kept] for name, values in vars(self).items()})

    @classmethod
    def join(cls, parts: Sequence[Made]) -> Made:
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})

    @property
    def weight(self) -> np.ndarray:
        """(offers,): inverse price propensity, of mean 1 and at most `WEIGHT`; 1 where it is not known."""
        inverse = 1 / np.clip(self.price_propensity, 1e-3, 1.0)
        known = np.isfinite(inverse)
        if not known.any():
            return np.ones(len(inverse))
        return np.where(known, np.minimum(inverse / inverse[known].mean(), WEIGHT), 1.0)

    @property
    def offers(self) -> Offers:
        return Offers(self.list_price, self.x[:, : len(OF_PAIR)])

    def enough(self) -> bool:
        accepted = int(self.accepted.sum())
        return min(accepted, len(self.accepted) - accepted) >= LEAST and len(np.unique(self.share.round(4))) > 1


@dataclass(frozen=True)
class Found:
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
    offers: Made
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


def learn(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date | None = None,
    parameters: Parameters | None = None,
    propensities: bool = True,
    progress: Callable[[str], None] = lambda step: None,
    present: Artifact | None = None,
) -> Found:
    """The response learned from what was offered and answered by `as_of` (default: the bank's last day).

    The earlier half of the months with offers teaches how readily clients open products, the later half how they
    answer. Without `propensities` all offers count alike, as if their prices had been drawn by chance. `present` is the
    champion to compare with. Raises ResponseError where there are too few offers, and NoPriceSheetError where the
    catalog has no prices.
    """
    need_pricing(catalog)  # first: what follows takes a while
    need_met(bank, catalog)
    day = as_of or last_day(bank)
    made = offers_made(bank, catalog, day, parameters or Parameters(), progress)
    progress("price response")
    about = {"as_of": str(day), "catalog": catalog.name, "catalog_version": catalog.version,
             "horizon_days": HORIZON_DAYS}  # fmt: skip
    return choose(made, catalog, propensities, about, present)


def offers_made(
    bank: Bank, catalog: Catalog, as_of: dt.date, parameters: Parameters, progress: Callable[[str], None]
) -> Made:
    """The offers of the later half of the months that have any, as answered by a day; raises as `learn` does."""
    known = bank.known_on(as_of)
    table = _answered(bank, catalog, as_of)
    months = sorted(set(table["as_of"]))
    later = months[len(months) // 2 :]
    days = [month for month in months if month + dt.timedelta(days=HORIZON_DAYS) <= later[0]][-ADOPTION_DAYS:]
    if len(later) < 2 or not days:
        raise ResponseError(
            f"table offers: answered offers of {len(months)} months up to {as_of}; a response is learned from the "
            "later half of them, of four or more: wait for more"
        )
    progress(f"how readily clients open products, by {later[0]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is not opened in a few months is no matter here
        sample = read_sample(known.known_on(later[0]), catalog, days, HORIZON_DAYS)
        model, _ = fit(sample, catalog, parameters, {"horizon_days": HORIZON_DAYS})
    parts, beyond = [], 0
    for number, month in enumerate(later, start=1):
        progress(f"offers of month {number} of {len(later)}")
        rows = {name: of[table["as_of"] == month] for name, of in table.items()}
        part, above = _of_month(known, catalog, model, month, rows, parameters.threads)
        parts.append(part)
        beyond += above
    if beyond:
        warnings.warn(
            f"table offers: {beyond:,} concessions are above the list price of what the bundle brought the client; "
            "these offers are left out. Correct the concessions, or the list prices in the catalog: sheaf check",
            stacklevel=3,
        )
    return Made.join(parts)


def choose(
    made: Made, catalog: Catalog, propensities: bool, about: Mapping[str, Any], present: Artifact | None = None
) -> Found:
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
    return Found(response, logit, losses, slope, interval, made, by_chance, dict(about), known, deciding)


def could_be_drawn(price_propensity: np.ndarray) -> bool:
    """Whether prices may have been drawn with these chances: the mean of their inverses estimates how many prices there
    were to draw from (Horvitz and Thompson 1952), which are two or more. Chances of lists are too near 1 for that."""
    if len(price_propensity) < 2:
        return True
    inverse = 1 / price_propensity
    return bool(inverse.mean() + 3 * inverse.std() / np.sqrt(len(inverse)) >= LEAST_PRICES)


def _unmoved(made: Made, logit: ShareLogit) -> str:
    """The kinds of clients, of those who had offers at different prices, whose slope is at its bound of 0."""
    of_kind = made.x[:, : len(KINDS)] > 0
    priced = [len(np.unique(made.share[of_kind[:, at]].round(4))) > 1 for at in range(len(KINDS))]
    names = [f"{kind} clients" for at, kind in enumerate(KINDS) if priced[at] and logit.slopes[at] <= 1e-6]
    return " and ".join(names)


def _answered(bank: Bank, catalog: Catalog, as_of: dt.date) -> dict[str, np.ndarray]:
    """Offers of the catalog's bundles that were answered or have lapsed by a day, with the last month-end before each.

    One without an answer that is older than nearly all answers took (`ANSWERED`) has lapsed: it was not accepted. Those
    of the days since, most of which are not answered yet, are left out. So is what cannot have been; warnings tell how
    many of each there are.
    """
    if "offers" not in bank:
        raise ResponseError(
            "table offers is missing, so there is no answer to any price to learn from; until there is, quotes go by "
            "the policy's assumption"
        )
    unknown = bank.undetermined_propensity
    if unknown is not None and not bank.has("offers", C.PRICE_PROPENSITY):
        warnings.warn(
            f"table offers: column {unknown!r} is not read, as it may be the chance of the list or that of the price. "
            f"Call it {C.PRICE_PROPENSITY} if each concession was drawn with that chance, else {C.LIST_PROPENSITY}",
            stacklevel=4,
        )
    columns = [C.OFFER, C.CLIENT, C.BUNDLE, C.OFFERED_AT, C.PRICE_PROPENSITY, C.CONCESSION, C.OUTCOME,
               C.RESPONDED_AT]  # fmt: skip
    sold = [offer.bundle_id for offer in catalog.offers]
    known = bank.known_on(as_of)["offers"].filter(nw.col(C.BUNDLE).is_in(sold))
    rows = known.select(columns).collect().to_pandas()
    rows = _possible(rows[rows[C.CONCESSION].notna() & rows[C.OFFERED_AT].notna()])
    told = rows[C.OUTCOME].notna() & (rows[C.OUTCOME] != "")
    if words := sorted(set(rows[C.OUTCOME][told]) - set(Answered)):
        raise ResponseError(
            f"table offers: {C.OUTCOME} has {', '.join(map(repr, words[:5]))}, no words of the contract; use "
            f"{', '.join(Answered)}, and leave empty what nobody answered yet"
        )
    delay = (rows[C.RESPONDED_AT] - rows[C.OFFERED_AT])[told].quantile(ANSWERED)
    if delay >= 0:  # of later offers only the quick answers are there yet, and those who accept may be quicker
        rows = rows[rows[C.OFFERED_AT] + delay <= day_number(as_of)]
        rows = _lapsed(rows, bank, as_of, delay)
    else:
        rows = rows[told]
    if rows.empty:
        raise ResponseError(
            "table offers: no offer of a bundle of the catalog has both a concession and an outcome; fill in both "
            "columns (0 is an offer at list price)"
        )
    rows = rows.sort_values([C.OFFERED_AT, C.CLIENT, C.BUNDLE], kind="stable")
    before = [from_day_number(day).replace(day=1) - dt.timedelta(days=1) for day in rows[C.OFFERED_AT]]
    return {
        "client_id": rows[C.CLIENT].to_numpy(dtype=object),
        "item": rows[C.BUNDLE].map({name: at for at, name in enumerate(sold)}).to_numpy(int),
        "concession": rows[C.CONCESSION].to_numpy(float),
        C.PRICE_PROPENSITY: rows[C.PRICE_PROPENSITY].to_numpy(float),
        "accepted": (rows[C.OUTCOME] == "accepted").to_numpy(float),
        "as_of": np.array(before, dtype=object),
    }


def _possible(rows: pd.DataFrame) -> pd.DataFrame:
    """Without offers whose concession or price propensity cannot have been, and without chances of 1, at which nothing
    is drawn; warnings tell how many they are."""
    concession, propensity = rows[C.CONCESSION], rows[C.PRICE_PROPENSITY]
    no_price = ~np.isfinite(concession) | (concession < 0)
    no_chance = propensity.notna() & ~((propensity > 0) & (propensity <= 1))
    if (no_price | no_chance).any():
        warnings.warn(
            f"table offers: {no_price.sum():,} concessions are below 0 or not finite, and {no_chance.sum():,} "
            "price propensities are not above 0 and at most 1; these offers are left out. sheaf check names them",
            stacklevel=4,
        )
    if (certain := propensity == 1).any():
        warnings.warn(
            f"table offers: {certain.sum():,} offers have a {C.PRICE_PROPENSITY} of 1, so their price was not drawn by "
            "chance; they count as prices that were computed. Leave it empty there",
            stacklevel=4,
        )
    return rows.assign(**{C.PRICE_PROPENSITY: propensity.mask(certain)})[~(no_price | no_chance)]


def _lapsed(rows: pd.DataFrame, bank: Bank, as_of: dt.date, delay: float) -> pd.DataFrame:
    """Offers that are all older than `delay` days, those without an answer as not accepted; without those that were
    accepted on a day that nobody wrote down. Warnings tell how many there are of both."""
    undated = bank["offers"].filter(nw.col(C.OUTCOME) == "accepted", nw.col(C.RESPONDED_AT).is_null())
    accepted = rows[C.OFFER].isin(undated.select(C.OFFER).collect()[C.OFFER].to_list())
    if accepted.any():
        warnings.warn(
            f"table offers: {accepted.sum():,} offers were accepted without responded_at, so that nobody knows when; "
            "they are left out, and acceptance is understated. Fill in the days: sheaf check names the offers",
            stacklevel=4,
        )
    rows = rows[~accepted]
    unanswered = rows[C.OUTCOME].isna() | (rows[C.OUTCOME] == "")
    if unanswered.any():
        warnings.warn(
            f"table offers: {unanswered.sum():,} of {len(rows):,} offers have no dated answer by {as_of} and are older "
            f"than the {delay:.0f} days within which {ANSWERED:.0%} of answers come: they count as not accepted. Where "
            "some were answered, fill in outcome and responded_at",
            stacklevel=4,
        )
    return rows


def _of_month(
    known: Bank, catalog: Catalog, model: Model, as_of: dt.date, rows: Mapping[str, np.ndarray], threads: int
) -> tuple[Made, int]:
    """The offers of a month, and how many were left out because their concession is above the list price."""
    candidates = model.candidates(catalog)
    cohort = sorted(set(rows["client_id"]))
    profiles = model.align(ProfileMatrix.join(list(profile_matrices(known, catalog, as_of, cohort))), candidates)
    row = {client: at for at, client in enumerate(profiles.client_ids)}
    client = np.array([row.get(name, -1) for name in rows["client_id"]], dtype=int)
    ranking = model.rank(candidates, profiles.values, candidates.peer_groups(profiles.values), threads)
    log_odds = np.full((len(profiles.client_ids) + 1, len(candidates.offers)), np.nan)
    log_odds[ranking.client, ranking.item] = ranking.log_odds
    of_pair = log_odds[client, rows["item"]]
    kept = np.isfinite(of_pair)  # the others were no candidates: they held all of it, or may not have it
    client, item = client[kept], rows["item"][kept]
    held = candidates.held(profiles.values)
    given = inputs(candidates, profiles.values, held, client, item, of_pair[kept])
    price = list_prices(candidates, profiles.values, held, client, item)
    sold, above = price > 0, rows["concession"][kept] > price + ROUNDED
    made = Made(
        rows["client_id"][kept], np.full(len(client), as_of, dtype=object),
        np.column_stack([given, np.log(np.maximum(price, 1e-2))]), price,
        np.clip(np.divide(rows["concession"][kept], price, out=np.zeros(len(price)), where=sold), 0.0, 1.0),
        rows[C.PRICE_PROPENSITY][kept], rows["accepted"][kept],
    )  # fmt: skip
    return made[sold & ~above], int((sold & above).sum())


class Cells:
    """The places of clients in a book, by rating and yearly sales; one not known counts as unrated, and as large."""

    def __init__(self, book: Book, candidates: Candidates):
        encoding = candidates.encoding
        self._book, self._places = book, book.places_of(encoding.categories.get(C.RATING, ()))
        at = {name: index for index, name in enumerate(encoding.columns)}
        self._rating, self._sales = at.get(C.RATING), at.get(book.pricing.turnover or "")

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(clients,): `values` are profiles in the encoding's columns."""
        rating, sales = (
            np.full(len(values), np.nan) if at is None else values[:, at].astype(float)
            for at in (self._rating, self._sales)
        )
        return self._book.cells_at(self._places, np.where(np.isnan(rating), -1, rating).astype(int), sales)


def cells(book: Book, candidates: Candidates, values: np.ndarray) -> np.ndarray:
    """(clients,): `Cells` of these profiles."""
    return Cells(book, candidates)(values)


def list_prices(
    candidates: Candidates, values: np.ndarray, held: np.ndarray, client: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """(pairs,): money a year of what the bundle brings the client; 0 where it cannot be priced."""
    book = Book(candidates.catalog)
    pricer = Pricer(book, tuple(candidates.offers))
    price = pricer.price(Clients(cells(book, candidates, values), held), client, item).list_price
    return np.nan_to_num(price)


def _losses(made: Made, catalog: Catalog, present: Artifact | None) -> tuple[dict[str, float], bool, int]:
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
        assumed: Response = Assumed(catalog.pricing.response) if catalog.pricing else ShareLogit.fit(*args)
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


def slope_errors(made: Made, logit: ShareLogit) -> np.ndarray:
    """(kinds, kinds): covariance of the slopes, robust and by client.

    H⁻¹ (Σ g gᵀ) H⁻¹ with the loss's second derivative H and a client's first derivatives g: Liang and Zeger 1986. A
    client's offers are not independent, and weights are no counts.
    """
    x, kinds = made.x, len(KINDS)
    bent = _pieces(x, logit.knots)
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


def between(made: Made, logit: ShareLogit, mix: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The slope of a `mix` (kinds,) of clients, and its 95 % interval."""
    slope, error = float(mix @ logit.slopes), float(np.sqrt(mix @ slope_errors(made, logit) @ mix))
    return slope, (max(slope - 1.96 * error, 0.0), slope + 1.96 * error)


@dataclass(frozen=True)
class Artifact(OneFile):
    """A response as the registry and the service keep it."""

    FILE, FORMAT, AGAIN = FILE, 3, "sheaf price-response"

    response: ShareLogit | Trees
    about: dict[str, Any]

    def differs(self, model: Model) -> str:
        """How the model that now tells what clients open differs from the one that this was learned with, in words;
        empty where it does not."""
        return differing(self.about, model.about)

    def to_json(self) -> dict[str, Any]:
        which = "trees" if isinstance(self.response, Trees) else "logit"
        return {"columns": COLUMNS, "told": self.response.told, "about": self.about, which: self.response.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Artifact:
        if tuple(content["columns"]) != COLUMNS:
            raise ArtifactError(f"{cls.FILE} is of another version of Sheaf; learn it anew: {cls.AGAIN}")
        return cls(replace(_read(content), told=content["told"]), content["about"])


def _read(content: Mapping[str, Any]) -> ShareLogit | Trees:
    if "trees" in content:
        of = content["trees"]
        return Trees(read_booster(of["booster"]), np.array(of["levels"], dtype=float))
    of = content["logit"]
    coefficients, slopes = (
        np.array([of[key][name] for name in names]) for key, names in (("coefficients", COLUMNS), ("slopes", KINDS))
    )
    coefficients = np.concatenate([coefficients, of["beyond_knots"]])
    return ShareLogit(float(of["intercept"]), coefficients, slopes, np.array(of["knots"], dtype=float))


def described(found: Found) -> dict[str, float]:
    """The figures of a run: losses, slope and its interval, numbers of offers."""
    low, high = found.slope_between
    return {
        **{f"log_loss.{name.replace(' ', '_')}": value for name, value in found.losses.items()},
        "slope": found.slope, "slope.low": low, "slope.high": high,
        **{f"slope.{name}": value for name, value in zip(KINDS, found.logit.slopes.tolist(), strict=True)},
        "offers": float(len(found.offers.share)), "accepted": float(found.offers.accepted.sum()),
    }  # fmt: skip


def register(found: Found) -> tuple[str, str]:
    """Logs and registers it; returns version and alias, by its `verdict`."""
    from sheaf.training import plots, registry

    artifact = Artifact(found.response, found.about)
    parameters = {**found.about, "prices_by_chance": found.by_chance}
    drawn = {"price_response": plots.price_response(found)}
    registered = registry.record(artifact, parameters, described(found), drawn, {}, registry.RESPONSE)
    alias = registry.CHAMPION if found.verdict.promoted else registry.CHALLENGER
    registry.crown(registered, alias, registry.RESPONSE, found.verdict.why)
    return registered.version, alias
