"""The table `offers` as a training set: what was offered at which price, and whether it was accepted.

Past prices were not drawn by chance: a client who wants a bundle more may have been given more, and a slope learned
from that is too steep. Offers with a logged price propensity are weighted by its inverse (Horvitz and Thompson 1952).
Where there are enough of them, they alone are used.

How readily a client opens the bundle anyway is an input. It comes from a model of the days before these offers: a model
trained on what they led to would know the answers.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pandas as pd

from sheaf.catalog import Catalog
from sheaf.features import Bank, C, ProfileMatrix, day_number, from_day_number, profile_matrices
from sheaf.features.contract import Answered
from sheaf.pricing import Offers
from sheaf.pricing.money import ROUNDED
from sheaf.training.parameters import Parameters
from sheaf.training.price_response.inputs import inputs, list_prices
from sheaf.training.price_response.models import OF_PAIR
from sheaf.training.ranker.fitting import fit
from sheaf.training.ranker.model import Model
from sheaf.training.samples import HORIZON_DAYS, read_sample

LEAST_PRICES = 1.9  # to draw from are two, less what a rounded propensity hides
LEAST = 100  # offers that were accepted, and as many that were not: fewer teach no response
ANSWERED = 0.99  # of the answers come within the time that an offer has to be old
WEIGHT = 10.0  # a single offer counts for no more than so many
ADOPTION_DAYS = 9


class ResponseError(ValueError):
    """Offers that no response can be learned from; the message says what is missing and what to do."""


@dataclass(frozen=True)
class OfferHistory:
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

    def __getitem__(self, kept: np.ndarray) -> OfferHistory:
        return OfferHistory(**{name: values[kept] for name, values in vars(self).items()})

    @classmethod
    def join(cls, parts: Sequence[OfferHistory]) -> OfferHistory:
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


def read_offer_history(
    bank: Bank, catalog: Catalog, as_of: dt.date, parameters: Parameters, progress: Callable[[str], None]
) -> OfferHistory:
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
    return OfferHistory.join(parts)


def could_be_drawn(price_propensity: np.ndarray) -> bool:
    """Whether prices may have been drawn with these chances: the mean of their inverses estimates how many prices there
    were to draw from (Horvitz and Thompson 1952), which are two or more. Chances of lists are too near 1 for that."""
    if len(price_propensity) < 2:
        return True
    inverse = 1 / price_propensity
    return bool(inverse.mean() + 3 * inverse.std() / np.sqrt(len(inverse)) >= LEAST_PRICES)


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
) -> tuple[OfferHistory, int]:
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
    made = OfferHistory(
        rows["client_id"][kept], np.full(len(client), as_of, dtype=object),
        np.column_stack([given, np.log(np.maximum(price, 1e-2))]), price,
        np.clip(np.divide(rows["concession"][kept], price, out=np.zeros(len(price)), where=sold), 0.0, 1.0),
        rows[C.PRICE_PROPENSITY][kept], rows["accepted"][kept],
    )  # fmt: skip
    return made[sold & ~above], int((sold & above).sum())
