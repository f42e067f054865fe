"""The plain object that answers: which bundles for this client, how likely, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from catalog import Catalog, Kind, Line
from features import Alignment, C, ProfileMatrix
from features.snapshot import Snapshot
from serving.reasons import Reasons
from training import Candidates, Contributions, Model, bundle_rows


class UnknownClientError(LookupError):
    """No profile of that client; the message says of which day the profiles are."""


class Part(BaseModel):
    """One product of an offered bundle; `probability` is of opening it within the horizon, None where it is held."""

    model_config = ConfigDict(frozen=True)

    product_id: str
    name: str
    line: Line
    held: bool
    probability: float | None


class Offer(BaseModel):
    """One bundle for the client. `probability` is that all products it brings are opened within the horizon."""

    model_config = ConfigDict(frozen=True)

    rank: int
    bundle_id: str
    name: str
    line: Line
    probability: float
    score: float
    products: tuple[Part, ...]
    reasons: tuple[str, ...]
    why: str


class Answer(BaseModel):
    """The offers for a client, best first, and what they rest on."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    client_id: str | None
    offers: tuple[Offer, ...]
    horizon_days: int
    profile_day: str
    model_version: str
    catalog_version: str


class Recommender:
    """Answers from one model, one snapshot of profiles and one catalog; all are only read, so threads may share it."""

    def __init__(self, model: Model, snapshot: Snapshot, catalog: Catalog | None = None):
        self.model = model
        self.snapshot = snapshot
        self.candidates: Candidates = model.candidates(catalog)
        profiles, encoding = snapshot.profiles, model.encoding
        self._align = Alignment(profiles.columns, profiles.categories, encoding.columns, encoding.categories)
        self._contributions = Contributions(model.adoption.booster)
        self._reasons = Reasons(model, self.candidates)
        self._products = self.candidates.catalog.products
        self._lines = [list(Line).index(offer.line) for offer in self.candidates.offers]
        self._parts = [np.flatnonzero(row).tolist() for row in self.candidates.parts]

    def recommend(self, client_id: str, k: int = 5, lines: Sequence[Line] = ()) -> Answer:
        """The k best bundles for a client of the snapshot, of the lines named (none: of all).

        Raises UnknownClientError for a client without a profile.
        """
        row = self.snapshot.row(client_id)
        if row is None:
            raise UnknownClientError(
                f"no client {client_id!r} in the profiles of {self.snapshot.as_of}; check the id, or profile anew if "
                "the client joined later"
            )
        values = self._align(self.snapshot.profiles.values[row : row + 1])
        return self._answer(client_id, values, k, lines)

    def recommend_new(
        self, attributes: Mapping[str, float | str | None], k: int = 5, lines: Sequence[Line] = ()
    ) -> Answer:
        """The same for someone who is not a client yet: `attributes` by profile column, at least `kind`.

        What is not given is not known; nothing is held. Raises ValueError for a column that profiles lack, a
        text where they hold a number, a number that is not finite, and a kind that is none.
        """
        profiles = self.snapshot.profiles
        values = np.full((1, len(profiles.columns)), np.nan, dtype=np.float32)
        at = {name: index for index, name in enumerate(profiles.columns)}
        for feature in self.model.features:
            if feature.missing is not None and feature.name in at:
                values[0, at[feature.name]] = feature.missing
        categories = {name: list(texts) for name, texts in profiles.categories.items()}
        for name, value in attributes.items():
            if name not in at:
                raise ValueError(f"{name}: no such column of a profile")
            if value is None:
                continue
            if (name in categories) != isinstance(value, str):
                raise ValueError(f"{name}: {'a text' if name in categories else 'a number'} is wanted, not {value!r}")
            if isinstance(value, str):
                if name == C.KIND and value not in set(Kind):  # what is not known would exclude nobody
                    raise ValueError(f"{name}: {value!r} is none of {', '.join(Kind)}")
                if value not in categories[name]:
                    categories[name].append(value)
                values[0, at[name]] = categories[name].index(value)
            elif not abs(value) <= float(np.finfo(np.float32).max):
                raise ValueError(f"{name}: {value:g} is not a number that profiles can hold")
            else:
                values[0, at[name]] = value
        new = ProfileMatrix(np.array([""]), profiles.columns, categories, values)
        return self._answer(None, self.model.align(new).values, k, lines)

    def _answer(self, client_id: str | None, values: np.ndarray, k: int, lines: Sequence[Line]) -> Answer:
        model, candidates = self.model, self.candidates
        slate = candidates.slate(values)
        held, reached = slate.held[0], slate.products.item
        rows = candidates.product_rows(values, slate.products, candidates.peer_groups(values))
        probability = np.zeros(slate.held.shape)
        log_odds = np.asarray(model.adoption.booster.predict(rows, raw_score=True, num_threads=1))
        probability[0, reached] = model.adoption.probability(candidates, values, slate, log_odds, threads=1)
        bundles = bundle_rows(candidates, values, slate, probability)
        score, whole = model.order.score(bundles, threads=1), model.completion(bundles)
        item = bundles.pairs.item
        wanted = [list(Line).index(line) for line in lines or Line]
        chosen = self._choose(np.lexsort((item, -score)), item, held, wanted, k)
        row_of = {product: row for row, product in enumerate(reached.tolist())}
        needed = sorted({row_of[product] for _, products in chosen for product in products})
        ground = dict(zip(needed, self._contributions.of(rows[needed]), strict=True))
        offers = []
        for rank, (place, products) in enumerate(chosen, start=1):
            offer = candidates.offers[item[place]]
            at = [row_of[product] for product in products]
            reasons = self._reasons.of(np.stack([ground[row] for row in at]), rows[at], products, held)
            offers.append(
                Offer(
                    rank=rank,
                    bundle_id=offer.bundle_id,
                    name=offer.name,
                    line=offer.line,
                    probability=float(whole[place]),
                    score=float(score[place]),
                    products=tuple(self._part(product, held, probability[0]) for product in offer.products),
                    reasons=tuple(reasons),
                    why=offer.why,
                )
            )
        return Answer(
            client_id=client_id,
            offers=tuple(offers),
            horizon_days=int(model.about["horizon_days"]),
            profile_day=str(self.snapshot.as_of),
            model_version=model.version,
            catalog_version=candidates.catalog.version,
        )

    def _choose(
        self, order: np.ndarray, item: np.ndarray, held: np.ndarray, lines: Sequence[int], k: int
    ) -> list[tuple[int, list[int]]]:
        """The first k places of the order, of these lines, each with the products it brings.

        Bundles that would bring a client the same products are one offer: the first of them is shown.
        """
        chosen: dict[tuple[int, ...], int] = {}
        for place in order.tolist():
            if self._lines[item[place]] in lines:
                chosen.setdefault(tuple(product for product in self._parts[item[place]] if not held[product]), place)
                if len(chosen) == k:
                    break
        return [(place, list(products)) for products, place in chosen.items()]

    def _part(self, product_id: str, held: np.ndarray, probability: np.ndarray) -> Part:
        at = self.candidates.positions[product_id]
        product = self._products[at]
        return Part(
            product_id=product_id,
            name=product.name,
            line=product.line,
            held=bool(held[at]),
            probability=None if held[at] else float(probability[at]),
        )
