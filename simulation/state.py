"""The state of the simulated bank: segments of clients that behave by one table, and the ties between them.

Arrays are as long as the segment; products and needs are rows of matrices, so that one of them lies together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sheaf.catalog import Bundle, Catalog, Kind, Product, Range
from sheaf.simulation.behaviour import Behaviour

Array = npt.NDArray[Any]

BLOCK_CLIENTS = 50_000  # worked on and written at a time: bounds the memory
IDLE = -1  # age in months of a need, or a drain, that the client does not have
NOBODY = -1  # in place of another client's number

SECTORS = (
    "agriculture", "manufacturing", "construction", "retail_trade", "tourism", "transport", "services",
    "public", "health", "education",
)  # fmt: skip
RATINGS = ("A", "B", "C", "D", "E")
SEXES = ("female", "male")
MARITAL = ("single", "married", "divorced", "widowed")
TEXTS = {"sector": SECTORS, "rating": RATINGS, "sex": SEXES, "marital_status": MARITAL}


@dataclass
class Segment:
    """Clients that share one table of behaviour. A client's number in the bank is `first` + its place here.

    `attributes` are what the clients table tells (texts as codes into `TEXTS`); days are days since 1970-01-01, 0 for
    never. `opened` is the day (product × client), 0 where not held; `balance` in the reporting currency.
    `need_age` is in months since the need started; `silent` needs leave no trace. `drain_age` is in months since money
    began to move away, `closed` the day on which something was closed last, 0 for never.
    """

    name: str
    place: int
    first: int
    behaviour: Behaviour
    products: tuple[str, ...]
    kind: Array
    joined: Array
    left: Array
    attributes: dict[str, Array]
    works: Array
    thrift: Array
    activity: Array
    abroad: Array
    opened: Array
    before: Array
    balance: Array
    need_age: Array
    silent: Array
    drain_age: Array
    closed: Array

    def __len__(self) -> int:
        return len(self.joined)

    def row(self, product: str) -> int:
        return self.products.index(product)

    def blocks(self) -> Iterator[tuple[int, slice]]:
        """Blocks of clients, each with its number."""
        for number, start in enumerate(range(0, len(self), BLOCK_CLIENTS)):
            yield number, slice(start, min(start + BLOCK_CLIENTS, len(self)))

    def active(self, day: int, block: slice = slice(None)) -> Array:
        """Who is a client at the end of `day`."""
        left = self.left[block]
        return (self.joined[block] <= day) & ((left == 0) | (left > day))

    def basis(self, block: slice = slice(None)) -> Array:
        """The yearly amount that all amounts of a client are multiples of."""
        return self.attributes[self.behaviour.basis][block]

    def drains(self, block: slice = slice(None)) -> Array:
        """Whose money moves away this month."""
        found: Array = self.drain_age[block] != IDLE
        return found

    def eligible(self, catalog: Catalog, block: slice = slice(None)) -> Array:
        """Whom the catalog lets have what (product × client): by kind, and by conditions on attributes known here."""
        allowed = np.zeros((len(self.products), len(self.kind[block])), dtype=bool)
        for row, product_id in enumerate(self.products):
            allowed[row] = self.meets(catalog.product(product_id), block)
        return allowed

    def meets(self, item: Product | Bundle, block: slice) -> Array:
        """Who is of a kind that may have the product or bundle, and meets its conditions on attributes known here."""
        met = np.isin(self.kind[block], [list(Kind).index(kind) for kind in item.kinds])
        for name, condition in item.where.items():
            if name not in self.attributes:
                continue
            value = self.attributes[name][block]
            if isinstance(condition, Range):
                met &= value >= (-np.inf if condition.min is None else condition.min)
                met &= value <= (np.inf if condition.max is None else condition.max)
            elif name in TEXTS:
                met &= np.isin(value, [code for code, text in enumerate(TEXTS[name]) if text in condition])
        return met


@dataclass
class Edges:
    """Lasting ties: `source`'s <relation> is `target` (places in their segments) from day `since` on."""

    relation: str
    source: Array
    target: Array
    since: Array


@dataclass
class Bank:
    """All clients and ties. `number` is the figure in a client's id, in an order that tells nothing."""

    retail: Segment
    firms: Segment
    number: Array
    employer: Array  # place among the firms, of each retail client, or NOBODY
    employed_since: Array
    owners: Edges
    suppliers: Edges
    heads: Edges
    guarantors: Edges

    @property
    def segments(self) -> tuple[Segment, Segment]:
        return self.retail, self.firms
