"""The plain object that answers: which bundles for this client, how likely, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from catalog import Catalog, Line
from features import ProfileMatrix
from features.snapshot import Snapshot
from serving.reasons import Reasons
from training import Candidates, Contributions, Model, Pairs, bundle_rows


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
        self._contributions = Contributions(model.adoption.booster)
        self._reasons = Reasons(model, self.candidates)
        self._products = self.candidates.catalog.products
        self._lines = np.array([list(Line).index(offer.line) for offer in self.candidates.offers])

    def recommend(self, client_id: str, k: int = 5, lines: Sequence[Line] = ()) -> Answer:
        """The k best bundles for a client of the snapshot, of the lines named (none: of all).

        Raises UnknownClientError for a client without a profile.
        """
        row = self.snapshot.row(client_id)
        if row is None:
            raise UnknownClientError(
                f"no client {client_id!r} in the profiles of {self.snapshot.as_of}; check the id, or profile anew if the "
                "client joined later"
            )
        profiles = self.snapshot.profiles
        one = ProfileMatrix(
            profiles.client_ids[row : row + 1], profiles.columns, profiles.categories, profiles.values[row : row + 1]
        )
        return self._answer(client_id, one, k, lines)

    def recommend_new(self, attributes: Mapping[str, float | str | None], k: int = 5, lines: Sequence[Line] = ()) -> Answer:
        """The same for someone who is not a client yet: `attributes` by profile column, at least `kind`.

        What is not given is not known; nothing is held. Raises ValueError for a column that profiles lack, or a
        text where they hold a number.
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
                if value not in categories[name]:
                    categories[name].append(value)
                values[0, at[name]] = categories[name].index(value)
            else:
                values[0, at[name]] = value
        return self._answer(None, ProfileMatrix(np.array([""]), profiles.columns, categories, values), k, lines)

    def _answer(self, client_id: str | None, profile: ProfileMatrix, k: int, lines: Sequence[Line]) -> Answer:
        model, candidates = self.model, self.candidates
        aligned = model.align(profile)
        values, peers = aligned.values, candidates.peer_groups(aligned)
        held = candidates.held(values)
        reached = np.flatnonzero(candidates.within_reach(values)[0])
        rows = candidates.product_rows(values, Pairs(np.zeros(len(reached), dtype=int), reached), peers)
        probability = np.zeros(held.shape)
        probability[0, reached] = model.adoption.probability(rows, threads=1)
        bundles = bundle_rows(candidates, values, probability)
        score, whole = model.order.score(bundles, threads=1), model.completion(bundles)
        item = bundles.pairs.item
        shown = np.lexsort((item, -score))
        if lines:
            wanted = [list(Line).index(line) for line in lines]
            shown = shown[np.isin(self._lines[item[shown]], wanted)]
        shown = shown[:k]
        row_of = {int(product): row for row, product in enumerate(reached)}
        brought = [self._brings(int(item[place]), held[0]) for place in shown]
        needed = sorted({row_of[product] for products in brought for product in products})
        ground = dict(zip(needed, self._contributions.of(rows[needed]), strict=True))
        offers = []
        for rank, (place, products) in enumerate(zip(shown, brought, strict=True), start=1):
            offer = candidates.offers[item[place]]
            at = [row_of[product] for product in products]
            reasons = self._reasons.of(np.stack([ground[row] for row in at]), rows[at], products, held[0])
            offers.append(
                Offer(
                    rank=rank,
                    bundle_id=offer.bundle_id,
                    name=offer.name,
                    line=offer.line,
                    probability=float(whole[place]),
                    score=float(score[place]),
                    products=tuple(self._part(product, held[0], probability[0]) for product in offer.products),
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

    def _brings(self, item: int, held: np.ndarray) -> list[int]:
        return [int(product) for product in np.flatnonzero(self.candidates.parts[item]) if not held[product]]

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
