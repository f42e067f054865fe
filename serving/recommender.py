"""The plain object that answers: which bundles for this client, how likely, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from catalog import Catalog, Kind, Line
from features import Alignment, C, ProfileMatrix
from features.snapshot import Snapshot
from serving.reasons import Grounds, Reasons
from training import Candidates, Contributions, Model, bundle_rows
from training.by_value import Aim, Valuer, Worth
from training.price_response import Artifact


class UnknownClientError(LookupError):
    """No profile of that client; the message says of which day the profiles are."""


@dataclass(slots=True)
class Part:
    """One product of an offered bundle; `probability` is of opening it within the horizon, None where it is held."""

    product_id: str
    name: str
    line: Line
    held: bool
    probability: float | None


@dataclass(slots=True)
class Priced:
    """What a bundle is worth to the bank, money a year in `currency`; an offer by value has it as its score.

    `concession` is what the client would save against list price, `acceptance` the probability with it, and `eva` what
    the bundle then brings, with what changes in products held. `value` is acceptance times EVA.
    """

    currency: str
    concession: float
    acceptance: float
    eva: float
    value: float


@dataclass(slots=True)
class Offer:
    """One bundle for the client. `probability` is that all products it brings are opened within the horizon.

    Ordered by value, `worth` says what the bundle is worth; by relevance it is None.
    """

    rank: int
    bundle_id: str
    name: str
    line: Line
    probability: float
    score: float
    products: tuple[Part, ...]
    reasons: tuple[str, ...]
    why: str
    worth: Priced | None


@dataclass(slots=True)
class Answer:
    """The offers for a client, best first, and what they rest on; `decision_id` is None until it is logged."""

    client_id: str | None
    offers: tuple[Offer, ...]
    horizon_days: int
    profile_day: str
    model_version: str
    catalog_version: str
    objective: Aim
    decision_id: str | None


ANSWER = TypeAdapter(Answer)
"""Writes an answer as JSON, and reads one."""


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer with all that it was chosen from.

    `profile` is the client's row, float32 in the columns of the model's encoding. Every candidate is in `bundle_ids`,
    best first, with its score and probability, whatever `k` and the lines left of them; `forbidden` are those that may
    not be sold, of an order by value.
    """

    answer: Answer
    profile: np.ndarray
    bundle_ids: list[str]
    scores: list[float]
    probabilities: list[float]
    forbidden: list[str]


class Recommender:
    """Answers from one model, one snapshot of profiles and one catalog; all are only read, so threads may share it."""

    def __init__(
        self,
        model: Model,
        snapshot: Snapshot,
        catalog: Catalog | None = None,
        learned: Artifact | None = None,
        authority: str | None = None,
    ):
        """`authority`: who prices an order by value; the one who may grant least where none is named."""
        self.model, self.learned, self.authority = model, learned, authority
        self.snapshot = snapshot
        self.candidates: Candidates = model.candidates(catalog)
        profiles, encoding = snapshot.profiles, model.encoding
        self._align = Alignment(profiles.columns, profiles.categories, encoding.columns, encoding.categories)
        self._contributions = Contributions(model.adoption.booster)
        self._reasons = Reasons(model, self.candidates)
        # The class that NumPy maps files with costs more than what is done here; a plain array reads the same map.
        self._values = np.asarray(profiles.values)
        positions = self.candidates.positions
        self._parts = [[positions[product] for product in offer.products] for offer in self.candidates.offers]
        self._bundle_ids = [offer.bundle_id for offer in self.candidates.offers]
        self._rests_on: dict[str, Any] = {
            "horizon_days": int(model.about["horizon_days"]),
            "profile_day": str(snapshot.as_of),
            "model_version": model.version,
            "catalog_version": self.candidates.catalog.version,
        }

    def recommend(
        self, client_id: str, k: int = 5, lines: Sequence[Line] = (), objective: Aim = Aim.RELEVANCE
    ) -> Answer:
        """The k best bundles for a client of the snapshot, of the lines named (none: of all).

        Raises UnknownClientError for a client without a profile, and NoPriceSheetError where bundles are to be ordered
        by value and the catalog has no prices.
        """
        return self.decide(self.profile_of(client_id), client_id, k, lines, objective).answer

    def recommend_new(
        self,
        attributes: Mapping[str, float | str | None],
        k: int = 5,
        lines: Sequence[Line] = (),
        objective: Aim = Aim.RELEVANCE,
    ) -> Answer:
        """The same for someone who is not a client yet: `attributes` by profile column, at least `kind`.

        Raises ValueError as `profile_of_new` does.
        """
        return self.decide(self.profile_of_new(attributes), None, k, lines, objective).answer

    def profile_of(self, client_id: str) -> np.ndarray:
        """float32 (1, columns of the model's encoding) of a client of the snapshot. Raises UnknownClientError."""
        row = self.snapshot.row(client_id)
        if row is None:
            raise UnknownClientError(
                f"no client {client_id!r} in the profiles of {self.snapshot.as_of}; check the id, or profile anew if "
                "the client joined later"
            )
        return self._align(self._values[row : row + 1])

    def profile_of_new(self, attributes: Mapping[str, float | str | None]) -> np.ndarray:
        """The same of someone who is not a client yet. What is not given is not known; nothing is held.

        Raises ValueError for a column that profiles lack, a text where they hold a number, a number that is not finite,
        and a kind that is none.
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
        return self.model.align(new).values

    def in_words(self, profile: np.ndarray) -> dict[str, float | str | None]:
        """A profile's row by column: numbers, texts of categories, None for what is not known."""
        encoding = self.model.encoding
        told: dict[str, float | str | None] = {}
        for name, value in zip(encoding.columns, profile.ravel().tolist(), strict=True):
            known = not math.isnan(value)
            texts = encoding.categories.get(name)
            told[name] = None if not known else value if texts is None else texts[int(value)]
        return told

    @cached_property
    def valuer(self) -> Valuer:
        """What bundles are worth. Raises NoPriceSheetError where the catalog has no prices."""
        return Valuer(self.candidates, self.authority, self.learned)

    def decide(
        self,
        values: np.ndarray,
        client_id: str | None,
        k: int = 5,
        lines: Sequence[Line] = (),
        objective: Aim = Aim.RELEVANCE,
    ) -> Decided:
        """The answer for a row as `profile_of` and `profile_of_new` give it, with all that it was chosen from.

        The same row and parameters give the same answer. Raises NoPriceSheetError as `recommend` does.
        """
        model, candidates = self.model, self.candidates
        slate = candidates.slate(values)
        held, reached = slate.held[0], slate.products.item
        rows = candidates.product_rows(values, slate.products, candidates.peer_groups(values))
        probability, share = np.zeros(slate.held.shape), np.full(slate.held.shape, np.nan)
        leaves = self._contributions.leaves(rows)
        log_odds = self._contributions.log_odds(leaves)
        told = model.adoption.of_rows(candidates, values, slate, log_odds, threads=1)
        probability[0, reached], share[0, reached] = told
        holds, chance = held.tolist(), probability[0].tolist()
        bundles = bundle_rows(candidates, values, slate, probability, share)
        whole, worth = model.completion(bundles), None
        if objective is Aim.VALUE:
            worth = self.valuer(values, slate.held, bundles.pairs.client, bundles.pairs.item, whole)
        score = model.order.score(bundles, threads=1) if worth is None else worth.value
        order = np.lexsort((bundles.pairs.item, -score))
        forbidden: list[int] = []
        if worth is not None:
            forbidden = bundles.pairs.item[~worth.sold].tolist()
            order = order[worth.sold[order]]
        items = bundles.pairs.item[order].tolist()
        chosen = self._choose(zip(order.tolist(), items, strict=True), holds, k, lines)
        brings = sorted({product for _, _, products in chosen for product in products})
        their = np.searchsorted(reached, brings)
        place_of = {product: place for place, product in enumerate(brings)}
        grounds = Grounds(self._reasons, self._contributions.of(leaves[their]), rows[their], brings, held)
        offers = []
        for rank, (place, item, products) in enumerate(chosen, start=1):
            offer = candidates.offers[item]
            offers.append(
                Offer(
                    rank=rank,
                    bundle_id=offer.bundle_id,
                    name=offer.name,
                    line=offer.line,
                    probability=float(whole[place]),
                    score=float(score[place]),
                    products=tuple(self._part(product, holds, chance) for product in self._parts[item]),
                    reasons=grounds.reasons([place_of[product] for product in products]),
                    why=offer.why,
                    worth=None if worth is None else self._priced(worth, place),
                )
            )
        answer = Answer(
            client_id=client_id, offers=tuple(offers), objective=objective, decision_id=None, **self._rests_on
        )
        ids = self._bundle_ids
        return Decided(
            answer, values, [ids[item] for item in items], score[order].tolist(), whole[order].tolist(),
            [ids[item] for item in forbidden],
        )  # fmt: skip

    def _priced(self, worth: Worth, place: int) -> Priced:
        currency = self.candidates.catalog.currency
        numbers = (worth.concession, worth.acceptance, worth.eva, worth.value)
        return Priced(currency, *(float(of[place]) for of in numbers))

    def _choose(
        self, order: Iterable[tuple[int, int]], held: Sequence[bool], k: int, lines: Sequence[Line]
    ) -> list[tuple[int, int, list[int]]]:
        """Of (place, offer) in order the first k, of these lines, each with the products it brings.

        Bundles that would bring a client the same products are one offer: the first of them is shown.
        """
        chosen: dict[tuple[int, ...], tuple[int, int]] = {}
        for place, item in order:
            if not lines or self.candidates.offers[item].line in lines:
                brings = tuple(sorted(product for product in self._parts[item] if not held[product]))
                chosen.setdefault(brings, (place, item))
                if len(chosen) == k:
                    break
        return [(place, item, list(products)) for products, (place, item) in chosen.items()]

    def _part(self, product: int, held: Sequence[bool], probability: Sequence[float]) -> Part:
        sold = self.candidates.catalog.products[product]
        return Part(
            product_id=sold.product_id,
            name=sold.name,
            line=sold.line,
            held=held[product],
            probability=None if held[product] else probability[product],
        )
