"""Bundles ordered by what they are worth to the bank: the chance that they are taken times what they then bring.

    value = q(s)·(EVA at list price + change in what is held - (1 - tax)·s)

with `s` the concession that is best within an authority and `q` the chance of acceptance: as learned from the bank's
own offers (`sheaf.training.price_response`), or until there is that, by the policy's elasticity around the
model's calibrated probability of the whole bundle. A product that no price sheet covers cannot be valued, and a bundle
that a rule of the catalog's jurisdiction forbids is not offered, nor an investment to a client whose suitability
profile has ended; one that may not be tied to a concession is offered at list
price.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from sheaf.catalog import Kind
from sheaf.pricing import Client, Clients, Pricer
from sheaf.pricing.client_value import Own
from sheaf.pricing.price_table import PriceTable
from sheaf.pricing.rules import checks
from sheaf.training.candidates.pairs import Candidates
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.inputs import Cells, inputs
from sheaf.training.ranker.model import Ranking, ordered


class Aim(StrEnum):
    """What an order of bundles is good for: what the client wants next, or what that is worth to the bank."""

    RELEVANCE = "relevance"
    VALUE = "value"


@dataclass(frozen=True)
class Worth:
    """One entry a candidate pair; money a year in the catalog's currency.

    `list_price` is what it costs at list, `concession` what the client would save, `acceptance` the probability with
    it, `eva` what the bundle then brings with what changes in products held, `value` the product of the two. `sold`:
    False for what may not be offered.
    """

    list_price: np.ndarray
    concession: np.ndarray
    acceptance: np.ndarray
    eva: np.ndarray
    value: np.ndarray
    sold: np.ndarray

    def __getitem__(self, pairs: np.ndarray) -> Worth:
        return Worth(**{name: values[pairs] for name, values in vars(self).items()})


class Valuer:
    """Values candidate bundles; clients are rows in the encoding's columns."""

    def __init__(self, candidates: Candidates, authority: str | None = None, learned: PriceResponse | None = None):
        """Raises NoPriceSheetError where the catalog has no prices, ValueError for an authority it does not know."""
        self.book = PriceTable(candidates.catalog)
        self.candidates, self.learned = candidates, learned
        self.pricer = Pricer(self.book, tuple(candidates.offers), learned.response if learned else None)
        self.authority = self.pricer.authority(authority).name
        self._keep = 1.0 - self.book.pricing.tax
        self.cells = Cells(self.book, candidates)
        at = {name: index for index, name in enumerate(candidates.encoding.columns)}
        # months since the profile's last day are null where that is still to come, or not known
        self._lapsed, self._abroad = (
            at.get(f"{self.book.pricing.suitable_until}_months"),
            at.get(self.book.pricing.abroad or ""),
        )
        lapsed = {"suitable_until": dt.date.min}
        sheets = self.book.sheets
        self.unpriced = np.array(
            [any(sheets[self.book.positions[key]] is None for key in offer.products) for offer in candidates.offers],
            dtype=bool,
        )
        """(offers,): True where a product has no price sheet, so that the bundle has no price."""
        self._forbidden, self.unsuitable, self._at_list, self._at_list_abroad = (
            np.array([self._broken(at, conceded, of_client) for at in range(len(candidates.offers))], dtype=bool)
            for conceded, of_client in ((False, {}), (False, lapsed), (True, {}), (True, {"abroad": True}))
        )

    def _broken(self, at: int, conceded: bool, of_client: dict[str, Any]) -> bool:
        """Whether a rule forbids the offer to a client of whom no more than `of_client` is known; what is open is for a
        person to see to, and what has no price sheet is not sold at a price."""
        offer = self.candidates.offers[at]
        if self.unpriced[at]:
            return False
        parts = [self.book.catalog.product(key) for key in offer.products]
        anybody = Client("", Kind(offer.kinds[0]), **of_client)
        found = checks(offer, parts, self.book.pricing, anybody, conceded, dt.date.max)
        return any(check.status == "broken" for check in found)

    def allowed(self, values: np.ndarray, client: np.ndarray, item: np.ndarray) -> np.ndarray:
        """(pairs,): False where a rule of the catalog's jurisdiction forbids the bundle to the client."""
        kept: np.ndarray = ~self._forbidden[item]
        if self._lapsed is not None:
            kept &= ~((values[client, self._lapsed] > 0) & self.unsuitable[item])
        return kept

    def suits(self, values: np.ndarray) -> np.ndarray:
        """(offers,): False where the client's suitability profile, in its row `values`, has ended and a rule asks."""
        ended = self._lapsed is not None and bool(values[0, self._lapsed] > 0)
        return ~(self.unsuitable & ended)

    def __call__(
        self,
        values: np.ndarray,
        held: np.ndarray,
        client: np.ndarray,
        item: np.ndarray,
        probability: np.ndarray,
        log_odds: np.ndarray,
        own: Own | None = None,
    ) -> Worth:
        """The pairs (client, item) valued; `held` is (clients, products), `probability` and `log_odds` are those of
        `Ranking`. What is held is as `own` has it; without, it counts as typical contracts."""
        whom = Clients(self.cells(values), held, own)
        given = inputs(self.candidates, values, held, client, item, log_odds) if self.learned else None
        priced = self.pricer.price(whom, client, item, self.authority, given, probability)
        at_list = self._at_list[item]
        if self._abroad is not None:
            at_list = np.where(values[client, self._abroad] == 1, self._at_list_abroad[item], at_list)
        concession = np.where(at_list, 0.0, priced.concession)
        acceptance = np.where(at_list, priced.acceptance_at_list, priced.acceptance)
        eva = priced.eva + priced.change - self._keep * concession
        sold = self.allowed(values, client, item) & ~self.unpriced[item] & np.isfinite(eva)
        return Worth(priced.list_price, concession, acceptance, eva, np.where(sold, acceptance * eva, -np.inf), sold)

    def rank(
        self, values: np.ndarray, held: np.ndarray, ranking: Ranking, own: Own | None = None
    ) -> tuple[Ranking, Worth]:
        """The ranking anew, by value, without what may not be offered; its scores are the values."""
        worth = self(values, held, ranking.client, ranking.item, ranking.probability, ranking.log_odds, own)
        kept = np.flatnonzero(worth.sold)
        worth = worth[kept]
        order, again = ordered(
            ranking.client[kept], ranking.item[kept], worth.value, ranking.probability[kept], ranking.log_odds[kept]
        )
        return again, worth[order]
