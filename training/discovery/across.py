"""Products of one client that go with a product of another who is tied to it: staff and employer, firm and owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from sheaf.catalog import Catalog
from sheaf.features import Bank, C, from_day_number
from sheaf.features.contract import Relation
from sheaf.training.discovery.association import Association, weakest
from sheaf.training.discovery.baskets import HELD, OPENED, Baskets, Items, different, every, joined, splits
from sheaf.training.discovery.book import HoldingsHistory, coded, segments
from sheaf.training.discovery.evidence import DiscoverySettings, Evidence, Trial, judged
from sheaf.training.discovery.proposal import LinkedProposal, stake, unnested

# Of a row of `links`: what the client is to the linked one, and what that one is to the client.
SIDES = {
    Relation.GROUP: ("group member", "group head"),
    Relation.EMPLOYER: ("staff", "employer"),
    Relation.OWNER: ("owned firm", "owner"),
    Relation.GUARANTOR: ("guaranteed", "guarantor"),
    Relation.SUPPLIER: ("buyer", "supplier"),
}


@dataclass(frozen=True)
class Ties:
    """The ties of one relation in one direction: positions of clients, and day numbers (since: -inf, until: inf where
    not told). `lead` is the client whose product is looked at first, `follow` the one who would be offered something.
    """

    relation: Relation
    lead_side: str
    follow_side: str
    lead: np.ndarray
    follow: np.ndarray
    since: np.ndarray
    until: np.ndarray

    def baskets(self, book: HoldingsHistory, settings: DiscoverySettings) -> tuple[Baskets, Baskets]:
        """Rows are ties; of their items the first half are products of the lead, the second half of the other.

        Held: ties that last on the day. Opened: ties and windows; the lead opened in that window or the one before,
        the other in the window itself, each of what it did not hold before.
        """
        segment = self._segments(book)
        alive = self.until == np.inf
        held = book.held(book.day) & book.may
        return (
            self._rows(HELD, book, alive, (held, held), (book.may, book.may), coded(segment)),
            self._opened(book, segment, settings),
        )

    def _opened(self, book: HoldingsHistory, segment: np.ndarray, settings: DiscoverySettings) -> Baskets:
        parts = []
        for number in range(settings.windows):
            until = book.day - number * settings.window_days
            start = until - settings.window_days
            before = start - settings.window_days
            lasts = (self.since <= start) & (self.until > start)
            may = (book.may & ~book.held(before), book.may & ~book.held(start))
            has = (book.opened_in(before, until) & may[0], book.opened_in(start, until) & may[1])
            parts.append(self._rows(OPENED, book, lasts, has, may, coded(segment) * settings.windows + number))
        return joined(parts)

    def _rows(
        self,
        way: str,
        book: HoldingsHistory,
        rows: np.ndarray,
        has: tuple[np.ndarray, np.ndarray],
        may: tuple[np.ndarray, np.ndarray],
        stratum: np.ndarray,
    ) -> Baskets:
        lead, follow = self.lead[rows], self.follow[rows]
        marks = [np.concatenate([of[0][:, lead], of[1][:, follow]]) for of in (has, may)]
        owners = lead, follow, coded(self.lead, self.follow)[rows]
        return Baskets(way, marks[0], marks[1], stratum[rows], follow, book.kind[follow], owners)

    def _segments(self, book: HoldingsHistory) -> np.ndarray:
        """Of each tie, by what is known of both clients and the kinds they are of."""
        held = book.held(book.day)
        attributes = np.concatenate([book.attributes[self.lead], book.attributes[self.follow]], axis=1)
        leaves = segments(attributes, np.concatenate([held[:, self.lead], held[:, self.follow]]))
        return coded(leaves, book.kind[self.lead], book.kind[self.follow])


def read_ties(bank: Bank, book: HoldingsHistory) -> list[Ties]:
    """Every relation of the bank's links, as known on the book's day, in both directions; ties within the book only."""
    if "links" not in bank:
        return []
    links = bank.known_on(from_day_number(book.day))["links"].collect().to_pandas()
    ids = pd.Index(book.client_ids)
    client, linked = (ids.get_indexer(links[name]) for name in (C.CLIENT, C.LINKED))
    inside = (client >= 0) & (linked >= 0) & (client != linked)
    since = links[C.SINCE].fillna(-np.inf).to_numpy(float)
    until = links[C.UNTIL].fillna(np.inf).to_numpy(float)
    found = []
    for relation, (its_side, other_side) in SIDES.items():
        rows = inside & (links[C.RELATION] == str(relation)).to_numpy(bool)
        if rows.any():
            days = since[rows], until[rows]
            found.append(Ties(relation, other_side, its_side, linked[rows], client[rows], *days))
            found.append(Ties(relation, its_side, other_side, client[rows], linked[rows], *days))
    return found


def find_linked(
    book: HoldingsHistory,
    catalog: Catalog,
    ties: list[Ties],
    settings: DiscoverySettings,
    progress: Callable[[str], None],
) -> tuple[list[LinkedProposal], int]:
    """The proposals, the most valuable first, and how many trials it took.

    A product of the lead is tried with one product of the other's, and with several that seem to go with it one by one.
    Of the two directions of a pair, the one counts in which it was opened more surely, or else the one in which fewer
    lead more, as one employer does its staff. Of nested proposals, the one with more at stake is given.
    """
    trials: list[Trial] = []
    order: dict[Any, float] = {}
    for number, of in enumerate(ties):
        progress(f"clients tied by {of.relation}: {number + 1} of {len(ties)}")
        ways = of.baskets(book, settings)
        pairs = _pairs(ways, number, len(catalog.products), settings)
        order |= {trial.of: trial.found.interval[0] for trial in pairs if trial.way == OPENED}
        pairs = _beyond_stronger(pairs, {baskets.way: baskets for baskets in ways}, settings)
        trials += pairs + _larger(pairs, ways, number, settings)
    stand = judged(trials, settings)

    def leads(number: int, lead: int, follow: int) -> bool:  # a relation's two directions are 2n and 2n + 1
        pair, turned = (number, lead, (follow,)), (number ^ 1, follow, (lead,))
        few, many = different(ties[number].lead), different(ties[number].follow)
        return pair in stand and (order.get(pair, 0.0), many) >= (order.get(turned, 0.0), few)

    held, worth = book.held(book.day), np.array([product.yearly_worth for product in catalog.products])
    found = [
        _proposal(ties[number], lead, follow, evidence, book, held, worth, catalog)
        for (number, lead, follow), evidence in stand.items()
        if all(leads(number, lead, one) for one in follow)
    ]
    found.sort(key=lambda one: (-one.stake.value, -one.stake.takers, one.where_product, one.products))
    return unnested(found, _elements), len(trials)


def _larger(pairs: list[Trial], ways: tuple[Baskets, Baskets], number: int, settings: DiscoverySettings) -> list[Trial]:
    """One product of the lead with several of those that each seem to go with it."""
    seem: dict[int, set[int]] = {}
    for trial in pairs:
        if trial.seems(settings):
            _, lead, follow = trial.of
            seem.setdefault(lead, set()).update(follow)
    return [
        trial
        for lead, follows in seem.items()
        for size in range(2, settings.most_products)
        for several in combinations(sorted(follows), size)
        for baskets in ways
        for trial in _trial(baskets, number, lead, several, settings)
    ]


def _pairs(ways: tuple[Baskets, Baskets], number: int, products: int, settings: DiscoverySettings) -> list[Trial]:
    """Each pair in each way in which enough ties have it; one without lift enough in any is not looked at closely."""
    told = [baskets.lifts(slice(products), slice(products, None)) for baskets in ways]
    promising = np.any([lift > settings.least_lift for _, lift in told], axis=0)
    trials = []
    for baskets, (together, lift) in zip(ways, told, strict=True):
        for lead, follow in np.argwhere(together >= settings.LEAST_CLIENTS).tolist():
            if promising[lead, follow]:
                trials += _trial(baskets, number, lead, (follow,), settings)
            else:
                found = Association.unlikely(int(together[lead, follow]), float(lift[lead, follow]))
                trials.append(Trial((number, lead, (follow,)), baskets.way, 0, 1, found))
    return trials


def _beyond_stronger(pairs: list[Trial], ways: dict[str, Baskets], settings: DiscoverySettings) -> list[Trial]:
    """The trials, each as weak as among ties whose lead has no product that goes better with what follows.

    A firm that grows signs for payroll and takes cards at once: its staff follow the payroll, not the cards.
    """
    strength: dict[Any, float] = {}
    for trial in pairs:
        strength[trial.of] = max(strength.get(trial.of, 0.0), trial.found.interval[0])
    narrowed = []
    for trial in pairs:
        _, lead, follow = trial.of
        floor = max(strength[trial.of], settings.least_lift)
        stronger = [other for (_, other, same), its in strength.items() if same == follow and its > floor]
        if stronger and trial.seems(settings):
            baskets = ways[trial.way]
            rest = baskets.association((lead,), (follow[0] + len(baskets.has) // 2,), stronger)
            trial = replace(trial, found=weakest([trial.found, rest], settings.least_lift))
        narrowed.append(trial)
    return narrowed


def _trial(baskets: Baskets, number: int, lead: int, follow: Items, settings: DiscoverySettings) -> list[Trial]:
    """That no two parts of it, of whichever side, meet just by popularity; none where too few of a side have it."""
    items = (lead, *(one + len(baskets.has) // 2 for one in follow))
    both = every(baskets.has, items)
    leads, clients = (different(owner[both]) for owner in baskets.owners[:2])
    could = different(baskets.client[every(baskets.may, items)])
    if leads < settings.LEAST_CLIENTS or clients < settings.least_clients(could):
        return []
    parts = [baskets.association(one, other) for one, other in splits(items)]
    return [Trial((number, lead, follow), baskets.way, clients, could, weakest(parts, settings.least_lift))]


def _proposal(
    of: Ties,
    lead: int,
    follow: Items,
    evidence: tuple[Evidence, ...],
    book: HoldingsHistory,
    held: np.ndarray,
    worth: np.ndarray,
    catalog: Catalog,
) -> LinkedProposal:
    reached = np.unique(of.follow[(of.until == np.inf) & held[lead, of.lead]])
    reached = reached[every(book.may, follow)[reached]]
    ids = [product.product_id for product in catalog.products]
    return LinkedProposal(
        relation=str(of.relation),
        where_side=of.lead_side,
        where_product=ids[lead],
        side=of.follow_side,
        products=tuple(ids[one] for one in follow),
        evidence=evidence,
        stake=stake(held[np.ix_(follow, reached)], worth[list(follow)]),
    )


def _elements(one: LinkedProposal) -> set[tuple[str, str, str]]:
    sides = {(one.where_side, one.where_product), *((one.side, product) for product in one.products)}
    return {(one.relation, *element) for element in sides}
