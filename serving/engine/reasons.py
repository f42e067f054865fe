"""Why a bundle ranks where it does, in at most four curated sentences taken from the model's own contributions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from sheaf.features import UNSEEN, Feature, FeatureType
from sheaf.training import Candidates, Model

MOST = 4
COMPARED = ("affinity", "affinity_most", "peers_hold", "peers_opened")
VALUE = "{value}"  # in a feature's sentence; other braces are part of a bank's own names
LEAST_SHARE = 0.05  # of all that speaks for the bundle: a weaker ground is no reason
FAINT = 0.02  # of all that speaks for a product: a weaker column is not looked at
DAYS_OF_A_MONTH = 365.25 / 12
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
            return self.of_feature(self._features.get(name), value)
        if name in self._own:
            feature = self._features.get(f"{self._own[name]}__{self._products[product].product_id}")
            return self.of_feature(feature, value)
        title = self._products[product].name
        if name in COMPARED[:2] and value > 0:
            ties = np.where(held, self._affinity[:, product], -np.inf)
            return f"{title} goes well with {self._products[int(ties.argmax())].name}, which is held"
        if name == "peers_hold" and value >= 0.01:
            return f"{value:.0%} of similar clients hold {title}"
        if name == "peers_opened" and value >= 0.001:
            return f"{value:.1%} of similar clients opened {title} in the last three months"
        return ""

    def of_feature(self, feature: Feature | None, value: float) -> str:
        """The feature's sentence of a value; empty where it has none, or says nothing."""
        if feature is None or not feature.reason or math.isnan(value):
            return ""
        if feature.type is FeatureType.CATEGORY and self._categories[feature.name][int(value)] == UNSEEN:
            return ""
        if feature.type is FeatureType.CATEGORY:
            return feature.reason.replace(VALUE, self._categories[feature.name][int(value)])
        if value == 0.0:  # the sentences say what is there, not what is lacking
            return ""
        return feature.reason.replace(VALUE, in_words(value, feature.unit))


def in_words(value: float, unit: str) -> str:
    """A number as a person writes it: whole from 10 on, shares in percent, thousands apart, times with their unit."""
    if unit in ("share", "fraction"):
        return f"{value:.0%}"
    if unit == "months":
        return _time(value)
    if value == int(value) or abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:,.1f}"


def _time(months: float) -> str:
    for unit, length in (("year", 12.0), ("month", 1.0)):
        if months >= 2 * length:
            return f"{months / length:.0f} {unit}s"
    days = max(round(months * DAYS_OF_A_MONTH), 1)
    return f"{days} day{'s' if days > 1 else ''}"


class Grounds:
    """What speaks for each of some products to one client, the strongest ground first.

    `contributions` and `rows` are (products, columns), `products` positions in the catalog; `held` is True for the
    products that the client holds.
    """

    def __init__(
        self, reasons: Reasons, contributions: np.ndarray, rows: np.ndarray, products: Sequence[int], held: np.ndarray
    ):
        speaks_for = np.maximum(contributions, 0.0)
        all_that_speaks = speaks_for.sum(axis=1)
        self._floors = (LEAST_SHARE * all_that_speaks).tolist()
        worded = speaks_for[:, reasons.with_words]
        place, at = np.nonzero(worded > FAINT * all_that_speaks[:, None])
        amounts, columns = worded[place, at], reasons.with_words[at]
        strongest = np.argsort(-amounts, kind="stable")
        said: dict[tuple[int, int], str] = {}  # what was put into words for one product need not be for the next
        # Of each product: (amount, theme, sentence).
        self._told: list[list[tuple[float, tuple[str, int], str]]] = [[] for _ in products]
        looked_at = (array[strongest].tolist() for array in (place, columns, amounts, rows[place, columns]))
        for part, column, amount, value in zip(*looked_at, strict=True):
            product = products[part]
            about = NO_PRODUCT if column < reasons.clients else product
            sentence = said.get((column, about))
            if sentence is None:
                sentence = said[column, about] = reasons.sentence(column, value, product, held)
            if sentence:
                self._told[part].append((amount, (reasons.themes[column], about), sentence))

    def reasons(self, parts: Sequence[int]) -> tuple[str, ...]:
        """Sentences for a bundle of the products at these places, the strongest ground first."""
        grounds = [ground for part in parts for ground in self._told[part]]
        if len(parts) > 1:
            grounds.sort(key=itemgetter(0), reverse=True)
        told: dict[tuple[str, int], str] = {}
        sums: dict[str, float] = {}
        for amount, theme, sentence in grounds:
            said = told.setdefault(theme, sentence)
            sums[said] = sums.get(said, 0.0) + amount
        floor = sum(self._floors[part] for part in parts)
        strongest = sorted((-amount, sentence) for sentence, amount in sums.items() if amount >= floor)
        return tuple(sentence for _, sentence in strongest[:MOST])
