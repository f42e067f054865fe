"""Offers that the bank makes, at prices: by a past policy that is partly a manager's judgement and partly chance.

Who accepts is drawn from a true response: a logit in the concession as a share of the list price. Its utility at list
price grows with how readily the client would open the bundle's products anyway, and its slope differs between clients.
Half of the concessions are drawn with known chances that depend on what the bank records of a client
(`price_propensity` is logged). The others are a manager's, who sees more of what the client wants than the tables tell,
and gives more to who wants it more. Who takes those prices for chance finds clients too ready to answer to a price.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sheaf.catalog import Catalog, Kind
from sheaf.pricing import PriceTable
from sheaf.simulation.state import RATINGS, Array, Segment
from sheaf.simulation.timing import Draws, Month, Purpose

OFFERED_A_MONTH = 0.06  # share of the clients who may have any bundle
CHOICES = 3  # bundles that come to mind for a client: the one that is wanted most is offered
BY_CHANCE = 0.5  # share of the offers whose concession is drawn with logged price propensity
LEVELS = np.arange(0.0, 0.31, 0.05)  # concessions, shares of the list price
TILT = 0.35  # how far the chances of the levels lean to high ones for clients with many products, to low for others
MANY_PRODUCTS = 4
MANAGER_BASE, MANAGER_SEES, MANAGER_SPREAD = 0.12, 0.07, 0.05  # shares of the list price
AT_LIST, INTEREST, LIKELY = -1.2, 0.55, -4.5  # utility at list price of a bundle of which log-odds of `LIKELY` are told
SENSITIVITY = {Kind.RETAIL: 4.5, Kind.CORPORATE: 3.5, Kind.INSTITUTION: 2.5}  # on the share of the list price
YOUNG, YOUNG_TIMES, FEW_TIMES = 35, 1.3, 1.2  # the young, and who holds few products, look at prices more
REJECTS = 0.4  # of those who do not accept; the others let the offer pass
CHANNELS = ("branch", "call", "app")


@dataclass(frozen=True)
class Response:
    """The truth of a block, (offers, clients): may it be offered; utility at list price; what a unit of money adds."""

    possible: Array
    list_price: Array
    utility: Array
    slope: Array


@dataclass(frozen=True)
class Made:
    """Offers made in a month to clients of a block (places in it); `day` is the answer's, `price_propensity` NaN:
    a manager's."""

    client: Array
    offer: Array
    channel: Array
    price_propensity: Array
    concession: Array
    accepted: Array
    rejected: Array
    day: Array


@dataclass(frozen=True)
class Offering:
    """What can be offered from a catalog, and at which list prices."""

    catalog: Catalog

    @cached_property
    def book(self) -> PriceTable:
        return PriceTable(self.catalog)

    def response(self, segment: Segment, block: slice, probability: Array) -> Response:
        """`probability` is that of opening each product in the month without any offer; NaN where it may not be had."""
        held = segment.opened[:, block] > 0
        cells, row = self._cells(segment, block), {product: at for at, product in enumerate(segment.products)}
        price = np.nan_to_num(np.maximum(self.book.list_price, 0.0).sum(axis=-1))
        odds = np.log(probability) - np.log1p(-probability)
        shape = (len(self.catalog.offers), held.shape[1])
        possible, total, wanted = np.zeros(shape, bool), np.zeros(shape), np.zeros(shape)
        for at, offer in enumerate(self.catalog.offers):
            if not set(offer.products) <= set(row):
                continue
            parts = [row[product] for product in offer.products]
            brings = ~held[parts]
            may = ~np.isnan(probability[parts]) | held[parts]
            count = brings.sum(axis=0)
            possible[at] = may.all(axis=0) & (count > 0) & segment.meets(offer, block)
            listed = price[cells][:, [self.book.positions[product] for product in offer.products]].T
            total[at] = (listed * brings).sum(axis=0)
            wanted[at] = np.where(brings, np.nan_to_num(odds[parts]), 0.0).sum(axis=0) / np.maximum(count, 1)
        possible &= total > 0
        slope = _sensitivity(segment, block, held) / np.where(total > 0, total, 1.0)
        return Response(possible, total, AT_LIST + INTEREST * (wanted - LIKELY), slope)

    def make(self, segment: Segment, number: int, block: slice, truth: Response, month: Month, draws: Draws) -> Made:
        """Draws the month's offers, all of its first day, and what becomes of them."""
        rng = draws.of(Purpose.OFFERS, month.index, segment.place, number)
        clients = truth.possible.shape[1]
        thought_of = np.where(truth.possible, rng.random(truth.possible.shape), -1.0)
        first = np.argsort(-thought_of, axis=0)[:CHOICES]
        there = np.take_along_axis(truth.possible, first, axis=0)
        liked = np.where(there, np.take_along_axis(truth.utility, first, axis=0), -np.inf)
        offer = np.take_along_axis(first, liked.argmax(axis=0)[None], axis=0)[0]
        client = np.flatnonzero(there.any(axis=0) & (rng.random(clients) < OFFERED_A_MONTH))
        offer, at = offer[client], (offer[client], client)
        many = (segment.opened[:, block] > 0).sum(axis=0)[client] >= MANY_PRODUCTS
        steps = np.arange(len(LEVELS)) - (len(LEVELS) - 1) / 2
        chances = np.exp(np.where(many[:, None], TILT, -TILT) * steps)
        chances /= chances.sum(axis=1, keepdims=True)
        level = (rng.random(len(client))[:, None] > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
        by_chance = rng.random(len(client)) < BY_CHANCE
        judged = MANAGER_BASE + MANAGER_SEES * (truth.utility[at] - AT_LIST)
        judged = np.clip(judged + MANAGER_SPREAD * rng.standard_normal(len(client)), 0.0, LEVELS[-1])
        share = np.where(by_chance, LEVELS[level], judged)
        concession = np.round(share * truth.list_price[at], 2)
        price_propensity = np.where(by_chance, chances[np.arange(len(client)), level], np.nan)
        q = 1 / (1 + np.exp(-(truth.utility[at] + truth.slope[at] * concession)))
        accepted = rng.random(len(client)) < q
        rejected = ~accepted & (rng.random(len(client)) < REJECTS)
        answered = month.first + rng.integers(1, month.days, len(client), dtype=np.int32)
        day = np.where(accepted | rejected, answered, month.last)  # what is let pass ends with the month
        channel = rng.integers(len(CHANNELS), size=len(client))
        return Made(client, offer, channel, price_propensity, concession, accepted, rejected, day)

    def open_accepted(self, segment: Segment, block: slice, made: Made, month: Month) -> Array:
        """Books what was accepted, on the day of the client's other openings of the month; returns who accepted."""
        opened = segment.opened[:, block]
        accepting = np.zeros(opened.shape[1], dtype=bool)
        for offer, client, day in zip(
            made.offer[made.accepted], made.client[made.accepted], made.day[made.accepted], strict=True
        ):
            rows = [segment.row(product) for product in self.catalog.offers[offer].products]
            same_day = opened[:, client].max()
            on = same_day if same_day >= month.first else day
            opened[rows, client] = np.where(opened[rows, client] > 0, opened[rows, client], on)
            accepting[client] = True
        return accepting

    def _cells(self, segment: Segment, block: slice) -> Array:
        """The place of each client in the book: by rating and yearly sales, as the clients table tells them."""
        known, unknown = segment.attributes, np.full(len(segment.kind[block]), np.nan)
        turnover = self.book.pricing.turnover
        code = known["rating"][block] if "rating" in known else np.full(len(unknown), -1)
        return self.book.cells_of(RATINGS, code, known[turnover][block] if turnover in known else unknown)


def _sensitivity(segment: Segment, block: slice, held: Array) -> Array:
    """How much the share of the list price that is conceded adds to a client's utility."""
    of_kind = np.array([SENSITIVITY[kind] for kind in Kind])[segment.kind[block]]
    few = np.where(held.sum(axis=0) < MANY_PRODUCTS, FEW_TIMES, 1.0)
    young = np.where(segment.attributes["age"][block] < YOUNG, YOUNG_TIMES, 1.0) if "age" in segment.attributes else 1.0
    return np.asarray(of_kind * few * young)
