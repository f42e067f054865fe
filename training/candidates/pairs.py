"""Candidates: which products and bundles a client may be offered, and the numbers that models see of each pair.

`Candidates` is the one place where profiles become candidate rows, for training, bulk ranking and serving alike.
It works on encoded float32 rows only, so a request costs a few array look-ups.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product as combinations_of
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from sheaf.catalog import Bundle, Catalog, Line, Product, Range
from sheaf.features import UNSEEN, Feature, ProfileMatrix
from sheaf.training.candidates.co_openings import CoOpenings
from sheaf.training.candidates.population import HELD, KIND, PEERS, Population

# Of what is known product by product, this speaks for other products too, so the models see it for all of them:
# what is held and since when, and what those close to the client hold and took.
ACROSS = (HELD, "opened_months", "linked_opened", "linked_held", "employer_held")


class Encoding(BaseModel):
    """What the models' columns are made of, fixed when a model is trained and kept in its artifact.

    `columns` are the profile columns used, `categories` their texts; `per_product` are the stems of columns that
    exist once a product (`held__mortgage` has the stem `held`), looked up for the candidate's own product.
    """

    model_config = ConfigDict(frozen=True)

    columns: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    client_columns: tuple[str, ...]
    per_product: tuple[str, ...]
    products: tuple[str, ...]
    attributes: tuple[str, ...]
    families: tuple[str, ...]

    @classmethod
    def of(cls, features: Sequence[Feature], categories: Mapping[str, Sequence[str]], catalog: Catalog) -> Encoding:
        """The encoding of profiles with these features for models over this catalog."""
        products = tuple(product.product_id for product in catalog.products)
        stems = {feature.name: split_product(feature.name, products) for feature in features}
        per_product = dict.fromkeys(stem for stem, product in stems.values() if product)
        client = [name for name, (stem, product) in stems.items() if not product or stem in ACROSS]
        attributes = sorted({name for product in catalog.products for name in product.attributes})
        return cls(
            columns=tuple(stems),
            categories={name: (*texts, UNSEEN) for name, texts in categories.items()},
            client_columns=tuple(client),
            per_product=tuple(per_product),
            products=products,
            attributes=tuple(attributes),
            families=tuple(sorted({product.family for product in catalog.products})),
        )

    @property
    def product_columns(self) -> tuple[str, ...]:
        """Names of the columns of a (client, product) row, in order."""
        return (
            *self.client_columns,
            *(f"{stem}__this" for stem in self.per_product),
            *_COMPARED,
            *_OF_PRODUCT,
            *(f"product_{name}" for name in self.attributes),
        )

    @property
    def product_categories(self) -> list[int]:
        """Positions among `product_columns` of those that hold codes of categories."""
        coded = {*self.categories, "product", "product_line", "product_family"}
        return [index for index, name in enumerate(self.product_columns) if name in coded]


def split_product(name: str, products: Sequence[str]) -> tuple[str, str | None]:
    """The stem and the product of a column that exists once a product; the name and None of any other."""
    for product in products:
        if name.endswith(f"__{product}"):
            return name.removesuffix(f"__{product}"), product
    return name, None


_COMPARED = ("affinity", "affinity_most", "peers_hold", "peers_opened", "bank_holds", "bank_opened")
_OF_PRODUCT = ("product", "product_line", "product_family", "product_alone", "product_margin", "product_fee",
               "product_balance")  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """Flat candidate pairs: `client` are rows of the profiles, ascending; `item` are positions in the catalog."""

    client: np.ndarray
    item: np.ndarray


class Gates:
    """Who may have each of several items: conditions on encoded columns, each worked out once for all that state it.

    A column that profiles lack, or a value that is not known, excludes nobody. A range on texts, or texts on numbers,
    cannot be compared, so nobody may have the item.
    """

    def __init__(self, items: Sequence[Product | Bundle], encoding: Encoding | ProfileMatrix):
        column_at = {name: index for index, name in enumerate(encoding.columns)}
        stated: dict[tuple[int, Range | tuple[str, ...]], list[int]] = {}  # (column, condition) -> items
        self._comparable = np.ones(len(items), dtype=bool)
        for number, item in enumerate(items):
            conditions: dict[str, Any] = {KIND: tuple(map(str, item.kinds)), **item.where}
            for name, condition in conditions.items():
                if name not in column_at:
                    continue
                if isinstance(condition, Range) == (name in encoding.categories):
                    self._comparable[number] = False
                else:
                    stated.setdefault((column_at[name], condition), []).append(number)
        ranges = [(column, of) for column, of in stated if isinstance(of, Range)]
        texts = [(column, of) for column, of in stated if not isinstance(of, Range)]
        self._stated = np.zeros((len(stated), len(items)), dtype=np.float32)
        for row, of_items in enumerate([*map(stated.__getitem__, ranges), *map(stated.__getitem__, texts)]):
            self._stated[row, of_items] = 1.0
        self._numbers = np.array([column for column, _ in ranges], dtype=int)
        # In 32 bits like the profiles, in which 0.7 is a little less than 0.7 is in 64.
        self._least = np.array([-np.inf if of.min is None else of.min for _, of in ranges], dtype=np.float32)
        self._most = np.array([np.inf if of.max is None else of.max for _, of in ranges], dtype=np.float32)
        self._codes = np.array([column for column, _ in texts], dtype=int)
        known = [encoding.categories.get(encoding.columns[column], ()) for column, _ in texts]
        self._unknown = np.array([len(names) for names in known], dtype=np.float32)
        self._refused = np.zeros((len(texts), max(map(len, known), default=0) + 1), dtype=bool)
        for row, (names, (_, of)) in enumerate(zip(known, texts, strict=True)):
            self._refused[row, : len(names)] = [name not in of for name in names]
            if UNSEEN in names:  # it may be one of those that the condition names and training never saw
                self._refused[row, names.index(UNSEEN)] = set(of) <= set(names)

    def open(self, values: np.ndarray) -> np.ndarray:
        """(clients, items): True where the client may have the item."""
        number, code = values[:, self._numbers], np.fmin(values[:, self._codes], self._unknown).astype(int)
        outside = (number < self._least) | (number > self._most)  # neither is so of what is not known
        refused = self._refused[np.arange(len(self._codes)), code]
        fits: np.ndarray = np.concatenate([outside, refused], axis=1).astype(np.float32) @ self._stated == 0
        return fits & self._comparable


@dataclass(frozen=True)
class Slate:
    """What may be offered to some clients: their candidate bundles, and the products these would bring.

    `held` and `reached` are (clients, products); `pairs` are of clients and offers, `products` of clients and products.
    """

    held: np.ndarray
    reached: np.ndarray
    pairs: Pairs
    products: Pairs


@dataclass
class Candidates:
    """Candidate pairs and their rows, for one encoding, one catalog and one population.

    All arrays of clients are float32 rows in `columns`, or in `encoding.columns` alone (what `Model.align` returns).
    `columns` are those of the encoding, and after them which clients hold a product that came after training: no model
    has learned anything of these, but who holds a product is not offered it.
    """

    encoding: Encoding
    catalog: Catalog
    population: Population
    co_openings: CoOpenings
    columns: tuple[str, ...] = field(init=False)
    offers: tuple[Bundle, ...] = field(init=False)
    positions: dict[str, int] = field(init=False)  # of products by their id
    parts: np.ndarray = field(init=False)  # (offers, products): 1 where the offer holds the product

    def __post_init__(self) -> None:
        encoding, products = self.encoding, self.catalog.products
        self.offers = self.catalog.offers
        self._column = {name: index for index, name in enumerate(encoding.columns)}
        self.positions = {product.product_id: index for index, product in enumerate(products)}
        self.parts = np.zeros((len(self.offers), len(products)), dtype=np.float32)
        for index, offer in enumerate(self.offers):
            self.parts[index, [self.positions[product] for product in offer.products]] = 1.0
        self.size = self.parts.sum(axis=1)
        came_after = [f"{HELD}__{product.product_id}" for product in products]
        self.columns = (*encoding.columns, *(name for name in came_after if name not in self._column))
        held_at = {name: index for index, name in enumerate(self.columns)}
        self._held = self._lookup([HELD], held_at)[:, 0]
        self._own = self._lookup(encoding.per_product, self._column)
        self._client = np.array([self._column[name] for name in encoding.client_columns], dtype=int)
        self._static = self._product_numbers()
        self._width = len(encoding.product_columns)
        self._product_gates = Gates(products, encoding)
        self._offer_gates = Gates(self.offers, encoding)
        self._affinity = self.population.affinity.astype(np.float32)
        among = (self.population.holds, self.population.opened)
        everyone = [np.broadcast_to(share[-1], share.shape) for share in among]
        self._shares = np.stack([*among, *everyone], axis=2).astype(np.float32)  # (groups + 1, products, 4)

    def _lookup(self, stems: Sequence[str], at: Mapping[str, int]) -> np.ndarray:
        unknown = len(self.columns)  # a column of NaN is appended to every row
        names = [[f"{stem}__{product.product_id}" for stem in stems] for product in self.catalog.products]
        return np.array([[at.get(name, unknown) for name in row] for row in names], dtype=int)

    def _with_unknown(self, values: np.ndarray) -> np.ndarray:
        lacking = len(self.columns) + 1 - values.shape[1]
        return np.concatenate([values, np.full((len(values), lacking), np.nan, dtype=np.float32)], axis=1)

    def _product_numbers(self) -> np.ndarray:
        encoding = self.encoding
        codes = {product: float(index) for index, product in enumerate(encoding.products)}
        families = {family: float(index) for index, family in enumerate(encoding.families)}
        lines = {line: float(index) for index, line in enumerate(Line)}
        rows = [
            [
                codes.get(product.product_id, np.nan),
                lines[product.line],
                families.get(product.family, np.nan),
                float(product.alone),
                product.margin,
                product.annual_fee,
                product.balance,
                *(product.attributes.get(name, np.nan) for name in encoding.attributes),
            ]
            for product in self.catalog.products
        ]
        return np.array(rows, dtype=np.float32)

    def held(self, values: np.ndarray) -> np.ndarray:
        """(clients, products): True where held on the profile's day."""
        return self._with_unknown(values)[:, self._held] > 0

    def bringing(self, values: np.ndarray, products: Sequence[Container[str]]) -> np.ndarray:
        """(clients, offers): True where an offer brings the client one of these products, given by client."""
        wanted = np.array([[one.product_id in of for one in self.catalog.products] for of in products], dtype=bool)
        there = wanted.reshape(len(values), -1) & ~self.held(values)
        brings: np.ndarray = there.astype(np.float32) @ self.parts.T > 0
        return brings

    def products(self, values: np.ndarray) -> np.ndarray:
        """(clients, products): True where the client may have the product and does not hold it."""
        return self._product_gates.open(values) & ~self.held(values)

    def slate(self, values: np.ndarray) -> Slate:
        """The candidates of these clients: eligible bundles that bring at least one product not held yet."""
        held = self.held(values)
        missing = ~held
        candidate = self._offer_gates.open(values) & ((missing.astype(np.float32) @ self.parts.T) > 0)
        reached = missing & ((candidate.astype(np.float32) @ self.parts) > 0)
        return Slate(held, reached, Pairs(*np.nonzero(candidate)), Pairs(*np.nonzero(reached)))

    @cached_property
    def trained_as(self) -> np.ndarray:
        """(products,): the position that the encoding gives each product of the catalog; -1 for one it lacks."""
        at = {product: index for index, product in enumerate(self.encoding.products)}
        return np.array([at.get(product.product_id, -1) for product in self.catalog.products], dtype=int)

    @cached_property
    def slots(self) -> np.ndarray:
        """(offers, most products an offer has): positions of its products; one past the last fills up."""
        slots = np.full((len(self.offers), int(self.size.max(initial=1))), self.parts.shape[1], dtype=int)
        for index, row in enumerate(self.parts):
            products = np.flatnonzero(row)
            slots[index, : len(products)] = products
        return slots

    @cached_property
    def line_numbers(self) -> np.ndarray:
        """(offers, 2): how many lines an offer spans, and the position of its own in `Line`."""
        own = [list(Line).index(offer.line) for offer in self.offers]
        spans = [len({self.catalog.product(product).line for product in offer.products}) for offer in self.offers]
        return np.array([spans, own], dtype=float).T

    def product_rows(self, values: np.ndarray, pairs: Pairs, peers: np.ndarray) -> np.ndarray:
        """The adoption model's rows, float32 (pairs, columns), in `encoding.product_columns`.

        `peers` are the positions of the clients' groups in the population (`peer_groups`).
        """
        full = self._with_unknown(values)
        client, item = pairs.client, pairs.item
        fixed, own = len(self._client), self._own.shape[1]
        rows = np.empty((len(client), self._width), dtype=np.float32)
        rows[:, :fixed] = full[:, self._client][client]
        rows[:, fixed : fixed + own] = full[client[:, None], self._own[item]]
        held = full[:, self._held]
        held[np.isnan(held)] = 0.0
        # Summed over what is held, and the strongest single tie.
        rows[:, fixed + own] = (held @ self._affinity)[client, item]
        rows[:, fixed + own + 1] = self._strongest(held)[client, item]
        rows[:, fixed + own + 2 : fixed + own + 6] = self._shares[peers[client], item]
        rows[:, fixed + own + 6 :] = self._static[item]
        return rows

    def _strongest(self, held: np.ndarray) -> np.ndarray:
        if len(held) == 1:  # a request
            return (held[0, :, None] * self._affinity).max(axis=0, initial=0.0, keepdims=True)
        strongest = np.zeros_like(held)
        for product in np.flatnonzero(held.any(axis=0)):
            np.maximum(strongest, held[:, product, None] * self._affinity[product], out=strongest)
        return strongest

    def peer_groups(self, values: np.ndarray) -> np.ndarray:
        """Of every client the position of its peers in the population; the last (everyone) where it has none."""
        codes = [
            np.where(np.isnan(values[:, column]), size - 1, values[:, column]).astype(int)
            for column, size in zip(self._peer_columns, self._peer_table.shape, strict=True)
        ]
        groups: np.ndarray = self._peer_table[tuple(codes)]
        return groups if codes else np.full(len(values), groups)

    @cached_property
    def _peer_columns(self) -> list[int]:
        return [self._column[name] for name in PEERS if name in self.encoding.categories]

    @cached_property
    def _peer_table(self) -> np.ndarray:
        texts = [(*self.encoding.categories[name], "") if name in self.encoding.categories else ("",) for name in PEERS]
        everyone = len(self.population.groups)
        groups = [self.population.groups.get(key, everyone) for key in combinations_of(*texts)]
        shape = [len(of_peer) for of_peer, name in zip(texts, PEERS, strict=True) if name in self.encoding.categories]
        return np.array(groups, dtype=int).reshape(shape)
