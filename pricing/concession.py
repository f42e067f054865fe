"""The vectorised heart of pricing: the best concession for any number of (client, bundle) pairs at once.

For every pair: what the products that the client does not hold yet bring, what acceptance changes in those already
held, and the concession s that maximises q(s)·(EVA at list price + change - (1 - tax)·s) within what may be granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sheaf.catalog import Authority, Bundle
from sheaf.pricing.acceptance import AcceptanceModel, Offers, best_concession, of_policy, once
from sheaf.pricing.client_value import Held, Own, worth
from sheaf.pricing.price_table import AskedError, PriceTable

CHUNK = 50_000  # pairs at once: what is computed between stays in the processor's cache


@dataclass(frozen=True)
class Clients:
    """Clients to price for: `cell` (clients,) in the book, `held` (clients, products) flags, and `own`, what is held as
    it stands; left out, typical contracts."""

    cell: np.ndarray
    held: np.ndarray
    own: Own | None = None


@dataclass(frozen=True)
class Prices:
    """Priced pairs, one entry each; money a year.

    `concession` is the best within the authority of the one who asks, `ideal` the best within anybody's; `room` is
    what floors and caps leave, `affordable` what the hurdle leaves. `eva` is the bundle's own at list price, `change`
    what acceptance changes in what is held, `expected` = q·(eva + change - (1 - tax)·concession). NaN throughout for a
    bundle with a product that has no price sheet; a bundle that brings nothing is worth nothing.
    """

    list_price: np.ndarray
    room: np.ndarray
    affordable: np.ndarray
    authority: np.ndarray
    concession: np.ndarray
    ideal: np.ndarray
    acceptance_at_list: np.ndarray
    acceptance: np.ndarray
    net_income: np.ndarray
    capital: np.ndarray
    eva: np.ndarray
    change: np.ndarray
    expected: np.ndarray


def granted(authority: Authority, list_price: np.ndarray) -> np.ndarray:
    """The largest concession that the authority may grant on the list price, in whole cents."""
    most = authority.share * np.maximum(list_price, 0.0)
    if authority.amount is not None:
        most = np.minimum(most, authority.amount)
    return np.floor(most * 100 + 1e-7) / 100


def signing(authorities: Sequence[Authority], list_price: np.ndarray, concession: np.ndarray) -> np.ndarray:
    """(pairs,): the place among the authorities of the first who may grant the concession, to half a cent; their number
    where nobody may."""
    may = np.stack([granted(one, list_price) >= concession - 0.005 for one in authorities])
    return np.where(may.any(axis=0), may.argmax(axis=0), len(authorities))


@dataclass(frozen=True)
class Pricer:
    """Prices the `bundles` of a book by a response; without one, by the policy's assumption."""

    book: PriceTable
    bundles: tuple[Bundle, ...]
    response: AcceptanceModel | None = None

    @cached_property
    def answer(self) -> AcceptanceModel:
        return self.response or of_policy(self.book.pricing)

    @cached_property
    def slots(self) -> np.ndarray:
        """(bundles, most products one has): positions of its products; one past the last fills up."""
        most = max((len(bundle.products) for bundle in self.bundles), default=1)
        found = np.full((len(self.bundles), most), len(self.book.products))
        for row, bundle in enumerate(self.bundles):
            found[row, : len(bundle.products)] = [self.book.positions[key] for key in bundle.products]
        return found

    @cached_property
    def _at_list(self) -> np.ndarray:
        """(cells, products + 1, 5): list price, room, net income, capital and EVA; the last product is none."""
        year, positive = self.book.economics, np.maximum(self.book.list_price, 0.0)
        each = np.stack(
            [positive.sum(axis=-1), self.book.room.sum(axis=-1), year.net_income, year.capital, year.eva], axis=-1
        )
        return np.concatenate([each, np.zeros_like(each[:, :1])], axis=1)

    def authority(self, name: str | None) -> Authority:
        """The one of that name, the one who may grant least where none is named. Raises ValueError for another."""
        known = self.book.pricing.authorities
        for one in known:
            if name in (None, one.name):
                return one
        raise AskedError(
            "authority", f"authority {name!r} is not known; use one of {', '.join(one.name for one in known)}"
        )

    def price(
        self,
        clients: Clients,
        client: np.ndarray,
        bundle: np.ndarray,
        authority: str | None = None,
        inputs: np.ndarray | None = None,
        acceptance: np.ndarray | None = None,
    ) -> Prices:
        """The pairs (client[i], bundle[i]) priced; `inputs` and `acceptance` are the pairs' own, as in `Offers`."""
        asks = self.authority(authority)
        gain, lost = self._in_held(clients)
        held = np.concatenate([clients.held, np.ones((len(clients.held), 1), dtype=bool)], axis=1)
        parts = []
        for start in range(0, max(len(client), 1), CHUNK):
            rows = slice(start, start + CHUNK)
            of, slots = client[rows], self.slots[bundle[rows]]
            brings = ~held[of[:, None], slots]
            each = np.where(brings[..., None], self._at_list[clients.cell[of][:, None], slots], 0.0)
            change = np.where(brings.any(axis=1), gain[of], 0.0) - (lost[of[:, None], slots] * brings).sum(axis=1)
            own = [None if values is None else values[rows] for values in (inputs, acceptance)]
            parts.append(self._priced(each.sum(axis=1), change, asks, *own))
        if len(parts) == 1:
            return parts[0]
        return Prices(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in vars(parts[0])})

    def _in_held(self, clients: Clients) -> tuple[np.ndarray, np.ndarray]:
        """(clients,): EVA that acceptance keeps; (clients, products + 1): EVA of what is held that moves into each."""
        own = clients.own or Own(*(of[clients.cell] for of in self._typical))
        eva = np.where(clients.held, own.eva, 0.0)
        retention = self.book.pricing.retention
        kept = retention.attrition * retention.saved * np.maximum(eva.sum(axis=1), 0.0)
        lost = np.zeros((len(eva), len(self.book.products) + 1))
        balance, of_balance = (np.where(clients.held, of, 0.0) for of in (own.balance, own.of_balance))
        for new, sources in self._draws:
            if clients.held[:, sources].any():
                lost[:, new] = (self.book.drawn(clients.cell, new, balance) * of_balance).sum(axis=1)
        return kept, lost

    @cached_property
    def _draws(self) -> list[tuple[int, np.ndarray]]:
        """Each product that draws from others, and those."""
        draws = self.book.draws
        return [(new, np.flatnonzero(draws[new])) for new in np.flatnonzero(draws.any(axis=1)).tolist()]

    @cached_property
    def _typical(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `Own` holds, of typical contracts: each (cells, products)."""
        book = self.book
        shape = book.economics.eva.shape
        cell, product = (of.ravel() for of in np.indices(shape))
        unknown = np.full(len(product), np.nan)
        alone = worth(book, Held(product, cell, unknown, unknown, unknown, unknown), balance_alone=True)
        of_balance, balance = (np.nan_to_num(of).reshape(shape) for of in (alone.eva, alone.balance))
        return np.nan_to_num(book.economics.eva), of_balance, balance

    def _priced(
        self,
        sums: np.ndarray,
        change: np.ndarray,
        asks: Authority,
        inputs: np.ndarray | None,
        acceptance: np.ndarray | None,
    ) -> Prices:
        list_price, room, income, capital, eva = sums.T
        keep = 1 - self.book.pricing.tax
        value = eva + change
        # a concession may take all of the added EVA and no more: then RAROC is still the hurdle
        affordable = np.maximum(np.minimum(eva, value), 0.0) / keep
        most, limit = np.minimum(room, affordable), granted(asks, list_price)
        offers = Offers(list_price, inputs, acceptance)
        answer: AcceptanceModel = once(self.answer, offers)
        ideal = best_concession(answer, offers, value, keep, most)
        if hasattr(answer, "as_logit"):  # a logit's expected value has one peak: beyond the limit, the limit
            concession = np.minimum(ideal, limit)
        else:
            concession = best_concession(answer, offers, value, keep, np.minimum(most, limit))
        concession, ideal = (np.floor(s * 100 + 1e-7) / 100 for s in (concession, ideal))
        q = answer.accepts(offers, concession)
        at_list = answer.accepts(offers, np.zeros_like(concession))
        expected = q * (value - keep * concession)
        return Prices(
            list_price, room, affordable, limit, concession, ideal, at_list, q, income, capital, eva, change, expected
        )
