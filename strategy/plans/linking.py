"""Which desks sell a bundle to a client together, who leads, and what each gains of it.

In the room are the desks of the lines that the bundle's new products are of, the desks of linked clients whom the
bundle moves too, and the desk that leads. What every product brings is split once, in whole cents, between the desks
that have a part in it: a desk with two parts has the sum of both, and the desks' amounts add up to the quote's.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sheaf.catalog import Catalog, Kind
from sheaf.features import C
from sheaf.pricing import Client, NoPriceSheetError, Position, PriceTable, Quote, price_bundle
from sheaf.pricing.money import CENT, decimal, split
from sheaf.pricing.quote_lines import QuoteLine
from sheaf.strategy.plans.router import HELD, Router
from sheaf.strategy.policy.columns import OF_PAIR
from sheaf.strategy.policy.schema import Strategy, Tie

TIES: Mapping[Tie, str] = {
    "staff": "links_employer_of", "employer": "links_employer", "owner": "links_owner", "owned": "links_owner_of",
    "group": "group_clients", "supplier": "links_supplier", "buyer": "links_supplier_of",
    "guarantor": "links_guarantor", "guaranteed": "links_guarantor_of",
}  # fmt: skip
"""The column of profiles that counts the linked clients of a relation; a group's members count the client as well."""

BLOCK = 5_000  # offers whose rooms are held at once
_MONEY = pa.decimal128(18, 2)
ROOMS = pa.schema(
    {C.CLIENT: pa.string(), C.BUNDLE: pa.string(), "desk": pa.string(), "leads": pa.bool_(),
     "reasons": pa.list_(pa.string()), "contribution": _MONEY, "eva": _MONEY}
)  # fmt: skip


@dataclass(frozen=True)
class Seat:
    """A desk in the room: why it is there, whether it leads, and what it gains, money a year to the cent; None where
    the bundle was not priced."""

    desk: str
    leads: bool
    reasons: tuple[str, ...]
    contribution: Decimal | None = None
    eva: Decimal | None = None


@dataclass(frozen=True)
class Room:
    """Who sells a bundle to a client together. `parts`: of each product that it brings, the weights of desks."""

    client_id: str
    bundle_id: str
    seats: tuple[Seat, ...]
    parts: Mapping[str, Mapping[str, float]]

    def shared(self, lines: Iterable[QuoteLine]) -> Room:
        """The same with what each desk gains of a quote's lines: contribution is their price, EVA theirs.

        Both add up to the sums over the lines exactly, and each product's within a cent of the desks' weights.
        """
        amounts = [(self.parts[line.product_id], line.amounts) for line in lines]
        contribution = gains((parts, of.price) for parts, of in amounts)
        eva = gains((parts, of.eva) for parts, of in amounts)
        none = Decimal("0.00")
        return replace(
            self,
            seats=tuple(
                replace(seat, contribution=contribution.get(seat.desk, none), eva=eva.get(seat.desk, none))
                for seat in self.seats
            ),
        )


def gains(amounts: Iterable[tuple[Mapping[str, float], Decimal]]) -> dict[str, Decimal]:
    """What each desk has of amounts, money to the cent, each split by its weights; the sums add up to the amounts'."""
    found: dict[str, int] = {}
    for weights, amount in amounts:
        desks = sorted(weights)  # of equal remainders the first in the alphabet gets the cent, whatever the order
        whole = int(amount / CENT)
        for desk, cents in zip(desks, split(whole, np.array([weights[one] for one in desks])), strict=True):
            found[desk] = found.get(desk, 0) + int(cents)
    return {desk: decimal(cents) for desk, cents in found.items()}


def gathered(rooms: Sequence[Room]) -> Room:
    """The room of a package: that of the client, first of `rooms`, with what its desks gain of all of them."""
    first, others = rooms[0], Counter(seat.desk for room in rooms[1:] for seat in room.seats)
    own = {seat.desk: seat for seat in first.seats}
    seats = []
    for desk in dict.fromkeys([*own, *sorted(others)]):
        seat = own.get(desk, Seat(desk, False, ()))
        reasons = [*seat.reasons, *([f"{others[desk]:,} bundles of linked clients"] if others[desk] else [])]
        theirs = [one for room in rooms for one in room.seats if one.desk == desk]
        contribution = sum((one.contribution or Decimal(0) for one in theirs), Decimal("0.00"))
        eva = sum((one.eva or Decimal(0) for one in theirs), Decimal("0.00"))
        seats.append(Seat(desk, seat.leads, tuple(reasons), contribution, eva))
    return Room(first.client_id, first.bundle_id, tuple(seats), first.parts)


class Linker:
    """Says by a policy who is in the room for a client and a bundle of the catalog."""

    def __init__(self, policy: Strategy, catalog: Catalog) -> None:
        self.policy, self.catalog = policy, catalog
        self.offers = {offer.bundle_id: offer for offer in catalog.offers}

    @property
    def keep(self) -> list[str]:
        """The columns of profiles that linkage needs, beside those of routes."""
        counts = {TIES[one.relation] for one in self.policy.linkage.linked}
        return sorted(counts | (self.policy.asks_of_rooms - self.policy.of_plans - OF_PAIR.keys()))

    def room(self, values: Mapping[str, Any]) -> Room:
        """Who is in the room; `values` are those of a client's plan with `keep` and `Router.keep`, and of the pair's
        row of `Router.routes`."""
        linkage, offer = self.policy.linkage, self.offers[values[C.BUNDLE]]
        new = [self.catalog.product(key) for key in offer.products if not values.get(HELD + key)]
        lead = next(rule for rule in linkage.leads if not rule.unmet(values))
        reasons: dict[str, list[str]] = {lead.then: [f"leads: {lead.name}"]}
        parts: dict[str, dict[str, float]] = {}
        for product in new:
            desk = linkage.lines[product.line]
            reasons.setdefault(desk, []).append(f"{product.name} is of line {product.line}")
            parts[product.product_id] = _sum([(lead.then, linkage.split.lead), (desk, linkage.split.line)])
        beside: dict[str, dict[str, None]] = {key: {} for key in parts}  # desks of linked clients, each once
        for one in linkage.linked:
            moved = [key for key in parts if not one.products or key in one.products]
            there = linked_clients(values, one.relation)
            if moved and there and not one.rule.unmet(values):
                told = f"{there:,} linked by {one.relation}: {one.name}"
                reasons.setdefault(one.desk, []).append(told)
                for key in moved:
                    beside[key][one.desk] = None
        for key, desks in beside.items():
            share = linkage.split.linked
            parts[key] = _sum([*parts[key].items(), *((desk, share / len(desks)) for desk in desks)])
        seats = tuple(Seat(desk, desk == lead.then, tuple(why)) for desk, why in reasons.items())
        return Room(values[C.CLIENT], offer.bundle_id, seats, parts)

    def of_offers(self, router: Router, profiles: Path | Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The rooms of the offers that a router's planner has, a row a client, bundle and desk, in the offers' order:
        `client_id`, `bundle_id`, `desk`, `leads`, `reasons`, and `contribution` and `eva`, money a year that add up to
        the bundle's at its concession; null where a product has no price sheet. Raises as `Router.of_offers`."""
        for plans, routes in router.with_plans(profiles, self.keep):
            for start in range(0, max(len(routes), 1), BLOCK):  # a part without offers gives a table without rows
                pairs = routes.slice(start, BLOCK)
                theirs = plans.filter(pc.is_in(plans[C.CLIENT], pairs[C.CLIENT].combine_chunks()))
                of = {plan[C.CLIENT]: plan for plan in theirs.to_pylist()}
                rooms = (self.priced(of[pair[C.CLIENT]] | pair, router) for pair in pairs.to_pylist())
                rows = [
                    {C.CLIENT: one.client_id, C.BUNDLE: one.bundle_id, **vars(seat)}
                    for one in rooms
                    for seat in one.seats
                ]
                yield pa.Table.from_pylist(rows, schema=ROOMS)

    def priced(self, values: Mapping[str, Any], router: Router) -> Room:
        """The room with what each desk gains at the pair's concession; without, where a product has no price sheet."""
        room = self.room(values)
        with contextlib.suppress(NoPriceSheetError):
            return room.shared(quoted(router.book, values, router.planner.as_of).lines)
        return room

    def package(self, router: Router, plans: pa.Table, offers: pa.Table) -> Room:
        """The room of a package: `offers` are the client's, first, and those of its linked clients, each client once,
        as `Router.routes` takes them, `plans` theirs. What the desks gain is what all bring where all accept."""
        if len(set(offers[C.CLIENT].to_pylist())) < len(offers):
            raise ValueError("a client is in the package twice; offer each one bundle")
        of = {plan[C.CLIENT]: plan for plan in plans.to_pylist()}
        pairs = router.routes(plans, offers).to_pylist()
        return gathered([self.priced(of[pair[C.CLIENT]] | pair, router) for pair in pairs])


def linked_clients(values: Mapping[str, Any], relation: Tie) -> int:
    """How many others are tied to the client by the relation, by its profile; 0 where that is not known."""
    found = values.get(TIES[relation])
    if found is None or found != found:
        return 0
    return max(int(found) - (relation == "group"), 0)


def quoted(book: PriceTable, values: Mapping[str, Any], as_of: dt.date) -> Quote:
    """The bundle quoted at the concession of the pair's row, by what pricing looks at of the client's profile.

    Raises ValueError as `pricing.quote` does; a rating that the catalog lacks counts as unrated, as in profiles.
    """
    if values.get(C.KIND) is None:
        raise ValueError(f"the kind of client {values[C.CLIENT]} is not known, so nothing is quoted; profile it anew")
    catalog = book.catalog
    grade, turnover = values.get(C.RATING), book.pricing.turnover
    sales = values.get(turnover) if turnover else None
    held = {product.product_id: Position() for product in catalog.products if values.get(HELD + product.product_id)}
    client = Client(
        values[C.CLIENT], Kind(values[C.KIND]), grade if grade in book.pricing.grades else None,
        None if sales is None or sales != sales else float(sales), held,
    )  # fmt: skip
    highest = book.pricing.authorities[-1].name
    return price_bundle(catalog, client, values[C.BUNDLE], as_of, highest, values[C.CONCESSION], book=book)


def _sum(weights: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for desk, weight in weights:
        found[desk] = found.get(desk, 0.0) + weight
    return found
