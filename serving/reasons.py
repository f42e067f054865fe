"""Why a bundle ranks where it does, in at most four curated sentences taken from the model's own contributions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from features import UNSEEN, Feature, FeatureType
from training import Candidates, Model

MOST = 4
LOOKED_AT = 8  # grounds looked at for every product of a bundle, the strongest first
COMPARED = ("affinity", "affinity_most", "peers_hold", "peers_opened")
VALUE = "{value}"  # in a feature's sentence; other braces are part of a bank's own names
LEAST_SHARE = 0.05  # of all that speaks for the bundle: a weaker ground is no reason
NO_PRODUCT = -1  # what a ground is about that is the client's own


class Reasons:
    """Puts columns of candidate rows into words."""

    def __init__(self, model: Model, candidates: Candidates):
        self.columns = model.encoding.product_columns
        self.clients = len(model.encoding.client_columns)
        self._own = dict(zip((f"{stem}__this" for stem in model.encoding.per_product), model.encoding.per_product,
                             strict=True))  # fmt: skip
        self._features = {feature.name: feature for feature in model.features}
        self._categories = model.encoding.categories
        self._products = candidates.catalog.products
        self._affinity = candidates.population.affinity
        # What is said of one month, three and twelve is one ground, told once, by its strongest column.
        self.themes = [re.sub(r"_(\d+m|most)(?=__|$)", "", name) for name in self.columns]
        self.with_words = np.flatnonzero([self._may_speak(name) for name in self.columns])

    def _may_speak(self, column: str) -> bool:
        """Whether any value of the column has a sentence."""
        if column in self._own:
            named = (self._features.get(f"{self._own[column]}__{product.product_id}") for product in self._products)
            return any(feature is not None and feature.reason for feature in named)
        feature = self._features.get(column)
        return column in COMPARED or bool(feature and feature.reason)

    def sentence(self, column: int, value: float, product: int, held: np.ndarray) -> str:
        """What a value says for a product; empty where there is nothing to say. `held` is True for what is held."""
        if math.isnan(value):
            return ""
        name = self.columns[column]
        if column < self.clients:
            return self._in_words(self._features.get(name), value)
        if name in self._own:
            return self._in_words(self._features.get(f"{self._own[name]}__{self._products[product].product_id}"), value)
        title = self._products[product].name
        if name in COMPARED[:2] and value > 0:
            ties = np.where(held, self._affinity[:, product], -np.inf)
            return f"{title} goes well with {self._products[int(ties.argmax())].name}, which is held"
        if name == "peers_hold" and value >= 0.01:
            return f"{value:.0%} of similar clients hold {title}"
        if name == "peers_opened" and value >= 0.001:
            return f"{value:.1%} of similar clients opened {title} in the last three months"
        return ""

    def _in_words(self, feature: Feature | None, value: float) -> str:
        if feature is None or not feature.reason:
            return ""
        if feature.type is FeatureType.CATEGORY and self._categories[feature.name][int(value)] == UNSEEN:
            return ""
        if feature.type is FeatureType.CATEGORY:
            return feature.reason.replace(VALUE, self._categories[feature.name][int(value)])
        if value == 0.0:  # the sentences say what is there, not what is lacking
            return ""
        return feature.reason.replace(VALUE, in_words(value, feature.unit))


def in_words(value: float, unit: str) -> str:
    """A number as a person writes it: whole from 10 on, shares in percent, thousands apart."""
    if unit in ("share", "fraction"):
        return f"{value:.0%}"
    if value == int(value) or abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:,.1f}"


class Grounds:
    """What speaks for each of some products to one client, the strongest ground first.

    `contributions` and `rows` are (products, columns), `products` positions in the catalog; `held` is True for the
    products that the client holds.
    """

    def __init__(
        self, reasons: Reasons, contributions: np.ndarray, rows: np.ndarray, products: Sequence[int], held: np.ndarray
    ):
        self._reasons, self._rows, self._products, self._held = reasons, rows, products, held
        speaks_for = np.maximum(contributions, 0.0)
        self._floors = (LEAST_SHARE * speaks_for.sum(axis=1)).tolist()
        worded = speaks_for[:, reasons.with_words]
        ranked = np.argsort(-worded, axis=1, kind="stable")[:, : LOOKED_AT * len(products)]
        self._columns = reasons.with_words[ranked].tolist()
        self._amounts = np.take_along_axis(worded, ranked, axis=1).tolist()
        self._said: dict[tuple[int, int], str] = {}  # what was put into words for one bundle need not be for the next

    def reasons(self, parts: Sequence[int]) -> tuple[str, ...]:
        """Sentences for a bundle of the products at these places, the strongest ground first."""
        looked_at = LOOKED_AT * len(parts)
        grounds = [
            (amount, column, part)
            for part in parts
            for amount, column in zip(self._amounts[part][:looked_at], self._columns[part], strict=False)
        ]
        if len(parts) > 1:
            grounds.sort(key=itemgetter(0), reverse=True)
        clients, themes = self._reasons.clients, self._reasons.themes
        told: dict[tuple[str, int], str] = {}
        sums: dict[str, float] = {}
        for amount, column, part in grounds[:looked_at]:
            if amount <= 0:
                break
            about = NO_PRODUCT if column < clients else part
            theme = (themes[column], about)
            sentence = told.get(theme) or self._sentence(column, part, about)
            if sentence:
                told[theme] = sentence
                sums[sentence] = sums.get(sentence, 0.0) + amount
        floor = sum(self._floors[part] for part in parts)
        strongest = sorted((-amount, sentence) for sentence, amount in sums.items() if amount >= floor)
        return tuple(sentence for _, sentence in strongest[:MOST])

    def _sentence(self, column: int, part: int, about: int) -> str:
        said = self._said.get((column, about))
        if said is None:
            value = float(self._rows[part, column])
            said = self._reasons.sentence(column, value, self._products[part], self._held)
            self._said[column, about] = said
        return said
