"""Candidates: which products and bundles a client may be offered, and the numbers that models see of each pair.

`Candidates` is the one place where profiles become candidate rows, for training, bulk ranking and serving alike.
It works on encoded float32 rows only, so a request costs a few array look-ups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from catalog import Bundle, Catalog, Kind, Line, Product, Range
from features import Feature, ProfileMatrix

HELD = "held"
KIND = "kind"
RECENT_MONTHS = 3.1  # an opening within the last three calendar months
PEERS = (KIND, "tier")  # who is compared with whom: the same kind of client, of the same tier of contribution


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
        # Of all that is known product by product, the whole row of what is held goes to the model as well.
        client = [name for name, (stem, product) in stems.items() if not product or stem == HELD]
        attributes = sorted({name for product in catalog.products for name in product.attributes})
        return cls(
            columns=tuple(stems),
            categories={name: tuple(texts) for name, texts in categories.items()},
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
class Population:
    """How common each product is on a day, among peers and in the whole bank, and which products go together.

    `holds` and `opened` are (groups + 1, products): the share of each group of peers that holds a product, and that
    opened it in the last three months; the last row is for everyone. `affinity` is (products, products): how much
    more often the column's product is held among holders of the row's than in the bank, as a log ratio, shrunk.
    """

    groups: dict[tuple[str, ...], int]
    holds: np.ndarray
    opened: np.ndarray
    affinity: np.ndarray

    SHRINK = 50.0  # clients: a share counted over fewer than this leans to the bank's share

    @classmethod
    def of(cls, profiles: ProfileMatrix, products: Sequence[str]) -> Population:
        """Counted over these profiles, so as of their day."""
        held = np.nan_to_num(_stem(profiles, HELD, products))
        opened = (_stem(profiles, "opened_months", products) <= RECENT_MONTHS) & (held > 0)
        keys = peer_keys(profiles)
        groups = {key: index for index, key in enumerate(sorted(set(keys)))}
        member = np.array([groups[key] for key in keys], dtype=int)
        clients = max(len(keys), 1)
        overall = np.stack([held.sum(axis=0), opened.sum(axis=0)]) / clients
        shares = np.empty((2, len(groups) + 1, len(products)))
        shares[:, -1] = overall
        for index in groups.values():
            of_group = member == index
            sums = np.stack([held[of_group].sum(axis=0), opened[of_group].sum(axis=0)])
            shares[:, index] = (sums + cls.SHRINK * overall) / (of_group.sum() + cls.SHRINK)
        together = held.T @ held
        alone = np.diag(together)
        expected = np.outer(alone, alone) / clients
        affinity = np.log((together + cls.SHRINK) / (expected + cls.SHRINK))
        np.fill_diagonal(affinity, 0.0)
        return cls(groups, shares[0], shares[1], affinity)

    def for_products(self, known: Sequence[str], wanted: Sequence[str]) -> Population:
        """The same for another list of products; NaN for those never counted, and no affinity."""
        at = {product: index for index, product in enumerate(known)}
        index = np.array([at.get(product, -1) for product in wanted])
        lacking = index < 0
        holds, opened = self.holds[:, index].copy(), self.opened[:, index].copy()
        holds[:, lacking] = opened[:, lacking] = np.nan
        affinity = self.affinity[np.ix_(index, index)].copy()
        affinity[lacking] = affinity[:, lacking] = 0.0
        return Population(self.groups, holds, opened, affinity)

    def to_json(self) -> dict[str, Any]:
        return {
            "groups": [list(key) for key in self.groups],
            "holds": self.holds.tolist(),
            "opened": self.opened.tolist(),
            "affinity": self.affinity.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Population:
        groups = {tuple(key): index for index, key in enumerate(content["groups"])}
        return cls(groups, *(np.array(content[name], dtype=float) for name in ("holds", "opened", "affinity")))


def _stem(profiles: ProfileMatrix, stem: str, products: Sequence[str]) -> np.ndarray:
    at = {name: index for index, name in enumerate(profiles.columns)}
    columns = [at.get(f"{stem}__{product}", -1) for product in products]
    values = profiles.values[:, columns].copy()
    values[:, [index < 0 for index in columns]] = np.nan
    return values


def peer_keys(profiles: ProfileMatrix) -> list[tuple[str, ...]]:
    """Of every client, the texts of `PEERS`; an empty text where one is not known."""
    texts = []
    for name in PEERS:
        if name not in profiles.columns or name not in profiles.categories:
            texts.append([""] * len(profiles.client_ids))
            continue
        names = [*profiles.categories[name], ""]
        codes = profiles.values[:, profiles.columns.index(name)]
        texts.append([names[-1 if np.isnan(code) else int(code)] for code in codes])
    return list(zip(*texts, strict=True))


@dataclass(frozen=True)
class Pairs:
    """Flat candidate pairs: `client` are rows of the profiles, ascending; `item` are positions in the catalog."""

    client: np.ndarray
    item: np.ndarray


@dataclass(frozen=True)
class _Gate:
    """Who may have an item: kinds of client, and conditions on encoded columns."""

    kinds: tuple[float, ...]
    ranges: tuple[tuple[int, float, float], ...]
    texts: tuple[tuple[int, tuple[float, ...]], ...]


@dataclass
class Candidates:
    """Candidate pairs and their rows, for one encoding, one catalog and one population.

    All arrays of clients are float32 rows in `encoding.columns` (what `ProfileMatrix.align` returns).
    """

    encoding: Encoding
    catalog: Catalog
    population: Population
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
        unknown = len(encoding.columns)  # a column of NaN is appended to every row
        self._held = self._lookup([HELD], unknown)[:, 0]
        self._own = self._lookup(encoding.per_product, unknown)
        self._client = np.array([self._column[name] for name in encoding.client_columns], dtype=int)
        self._static = self._product_numbers()
        self._product_gates = [self._gate(product) for product in products]
        self._offer_gates = [self._gate(offer) for offer in self.offers]

    def _lookup(self, stems: Sequence[str], unknown: int) -> np.ndarray:
        names = [[f"{stem}__{product.product_id}" for stem in stems] for product in self.catalog.products]
        return np.array([[self._column.get(name, unknown) for name in row] for row in names], dtype=int)

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

    def _gate(self, item: Product | Bundle) -> _Gate:
        codes = {text: float(index) for index, text in enumerate(self.encoding.categories.get(KIND, ()))}
        kinds = () if set(item.kinds) == set(Kind) else tuple(codes.get(str(kind), -1.0) for kind in item.kinds)
        ranges, texts = [], []
        for name, condition in item.where.items():
            column = self._column.get(name)
            if column is None:
                continue  # not known of any client, and what is not known excludes nobody
            if isinstance(condition, Range):
                low = -np.inf if condition.min is None else condition.min
                high = np.inf if condition.max is None else condition.max
                ranges.append((column, low, high))
            else:
                known = {text: float(index) for index, text in enumerate(self.encoding.categories.get(name, ()))}
                texts.append((column, tuple(known[text] for text in condition if text in known)))
        return _Gate(kinds, tuple(ranges), tuple(texts))

    def _open(self, values: np.ndarray, gates: Sequence[_Gate]) -> np.ndarray:
        allowed = np.ones((len(values), len(gates)), dtype=bool)
        kind = values[:, self._column[KIND]]
        for index, gate in enumerate(gates):
            fits = allowed[:, index]
            if gate.kinds:
                fits &= _among(kind, gate.kinds)
            for column, low, high in gate.ranges:
                value = values[:, column]
                fits &= np.isnan(value) | ((value >= low) & (value <= high))
            for column, codes in gate.texts:
                fits &= np.isnan(values[:, column]) | _among(values[:, column], codes)
        return allowed

    def held(self, values: np.ndarray) -> np.ndarray:
        """(clients, products): True where held on the profile's day."""
        return _with_unknown(values)[:, self._held] > 0

    def products(self, values: np.ndarray) -> np.ndarray:
        """(clients, products): True where the client may have the product and does not hold it."""
        return self._open(values, self._product_gates) & ~self.held(values)

    def bundles(self, values: np.ndarray, held: np.ndarray | None = None) -> Pairs:
        """The candidate pairs of clients and offers: eligible, and at least one product not held yet."""
        held = self.held(values) if held is None else held
        brings = (~held).astype(np.float32) @ self.parts.T
        client, item = np.nonzero(self._open(values, self._offer_gates) & (brings > 0))
        return Pairs(client, item)

    def within_reach(self, values: np.ndarray) -> np.ndarray:
        """(clients, products): True where a candidate bundle would bring the product."""
        held = self.held(values)
        pairs = self.bundles(values, held)
        offered = np.zeros((len(values), len(self.offers)), dtype=np.float32)
        offered[pairs.client, pairs.item] = 1.0
        reached: np.ndarray = ((offered @ self.parts) > 0) & ~held
        return reached

    def product_rows(self, values: np.ndarray, pairs: Pairs, peers: np.ndarray) -> np.ndarray:
        """The adoption model's rows, float32 (pairs, columns), in `encoding.product_columns`.

        `peers` are the positions of the clients' groups in the population (`peer_groups`).
        """
        full = _with_unknown(values)
        client, item = pairs.client, pairs.item
        fixed, own = len(self._client), self._own.shape[1]
        rows = np.empty((len(client), len(self.encoding.product_columns)), dtype=np.float32)
        rows[:, :fixed] = full[:, self._client][client]
        rows[:, fixed : fixed + own] = full[client[:, None], self._own[item]]
        held = np.nan_to_num(full[:, self._held])
        population, group = self.population, peers[client]
        # Summed over what is held, and the strongest single tie.
        rows[:, fixed + own] = (held @ population.affinity.astype(np.float32))[client, item]
        rows[:, fixed + own + 1] = self._strongest(held)[client, item]
        rows[:, fixed + own + 2] = population.holds[group, item]
        rows[:, fixed + own + 3] = population.opened[group, item]
        rows[:, fixed + own + 4] = population.holds[-1, item]
        rows[:, fixed + own + 5] = population.opened[-1, item]
        rows[:, fixed + own + 6 :] = self._static[item]
        return rows

    def _strongest(self, held: np.ndarray) -> np.ndarray:
        strongest = np.zeros_like(held)
        for row, ties in enumerate(self.population.affinity.astype(np.float32)):
            np.maximum(strongest, held[:, row, None] * ties[None, :], out=strongest)
        return strongest

    def peer_groups(self, profiles: ProfileMatrix) -> np.ndarray:
        """Of every client the position of its peers in the population; the last (everyone) where it has none."""
        everyone = len(self.population.groups)
        return np.array([self.population.groups.get(key, everyone) for key in peer_keys(profiles)], dtype=int)


def _with_unknown(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.full((len(values), 1), np.nan, dtype=np.float32)], axis=1)


def _among(values: np.ndarray, codes: Sequence[float]) -> np.ndarray:
    fits = np.zeros(len(values), dtype=bool)
    for code in codes:
        fits |= values == code
    return fits
