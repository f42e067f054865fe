"""A client as pricing sees one: kind, grade, sales, and what is held. Nothing else of a client can move a price."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sheaf.catalog import Kind
from sheaf.pricing.client_value import BOUNDS, Held, refuse, worth
from sheaf.pricing.economics import Economics
from sheaf.pricing.price_table import PriceTable

NAN = float("nan")


@dataclass(frozen=True)
class Position:
    """A product held: `balance` and `limit` in money, `rate` a fraction a year, `fees` money a year; NaN if unknown."""

    balance: float = NAN
    rate: float = NAN
    fees: float = NAN
    limit: float = NAN


@dataclass(frozen=True)
class Client:
    """Whom a quote is for.

    `sales`: a firm's, money a year. `attributes` are those that the catalog's conditions may ask for. `suitable_until`:
    the last day of a current suitability profile. `abroad`: a foreign client.
    """

    client_id: str
    kind: Kind
    rating: str | None = None
    sales: float | None = None
    held: Mapping[str, Position] = field(default_factory=dict)
    attributes: Mapping[str, float | str | None] = field(default_factory=dict)
    suitable_until: dt.date | None = None
    abroad: bool = False

    def cell(self, book: PriceTable) -> int:
        """The client's place in the book; raises ValueError as `PriceTable.cell` does."""
        return book.cell(self.rating, self.sales)

    def flags(self, book: PriceTable) -> np.ndarray:
        """(products,): True where held."""
        return np.array([product.product_id in self.held for product in book.products])

    def worth(self, book: PriceTable, balance_alone: bool = False) -> Economics:
        """(products,): a year's economics of what is held now, 0 where a product is not held; `balance_alone` as in
        `sheaf.pricing.client_value.worth`.

        Raises ValueError for positions that cannot be.
        """
        keys = [key for key in self.held if key in book.positions]
        product = np.array([book.positions[key] for key in keys], dtype=int)
        cell = np.full(len(product), self.cell(book))
        numbers = {
            name: np.array([getattr(self.held[key], name) for key in keys], dtype=float)
            for name in ("balance", "rate", "fees", "limit")
        }
        for name in BOUNDS:
            refuse(name, numbers[name], lambda at: f"{keys[at]} of client {self.client_id}")
        return worth(book, Held(product, cell, **numbers), balance_alone).grouped(product, len(book.products))
