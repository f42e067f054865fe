"""Why a bundle ranks where it does, in at most four curated sentences taken from the model's own contributions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from features import UNSEEN, Feature, FeatureType
from training import Candidates, Model

MOST = 4
LOOKED_AT = 8  # grounds looked at for every product of a bundle, the strongest first
COMPARED = ("affinity", "affinity_most", "peers_hold", "peers_opened")
VALUE = "{value}"  # in a feature's sentence; other braces are part of a bank's own names
LEAST_SHARE = 0.05  # of all that speaks for the bundle: a weaker ground is no reason


class Reasons:
    """Puts contributions of candidate rows into words."""

    def __init__(self, model: Model, candidates: Candidates):
        self._columns = model.encoding.product_columns
        self._clients = len(model.encoding.client_columns)
        self._own = dict(zip((f"{stem}__this" for stem in model.encoding.per_product), model.encoding.per_product,
                             strict=True))  # fmt: skip
        self._features = {feature.name: feature for feature in model.features}
        self._categories = model.encoding.categories
        self._products = candidates.catalog.products
        self._affinity = candidates.population.affinity
        # What is said of one month, three and twelve is one ground, told once, by its strongest column.
        self._themes = [re.sub(r"_(\d+m|most)(?=__|$)", "", name) for name in self._columns]
        self._has_words = np.array([self._may_speak(name) for name in self._columns])

    def _may_speak(self, column: str) -> bool:
        """Whether any value of the column has a sentence."""
        if column in self._own:
            named = (self._features.get(f"{self._own[column]}__{product.product_id}") for product in self._products)
            return any(feature is not None and feature.reason for feature in named)
        feature = self._features.get(column)
        return column in COMPARED or bool(feature and feature.reason)

    def of(self, contributions: np.ndarray, rows: np.ndarray, products: Sequence[int], held: np.ndarray) -> list[str]:
        """Sentences for a bundle, the strongest ground first.

        `contributions` and `rows` are (parts, columns): of the products that the bundle brings, positions `products`
        in the catalog; `held` is True for the products that the client holds.
        """
        total: dict[str, float] = {}
        told: dict[tuple[str, int], str] = {}
        speaks_for = np.where(contributions > 0, contributions, 0.0)
        floor = LEAST_SHARE * float(speaks_for.sum())
        ranked = np.argsort(-(speaks_for * self._has_words).ravel(), kind="stable")
        for place in ranked[: LOOKED_AT * len(products)].tolist():
            part, column = divmod(place, speaks_for.shape[1])
            if speaks_for[part, column] <= 0:
                break
            theme = (self._themes[column], -1 if column < self._clients else products[part])
            sentence = told.get(theme) or self._sentence(column, rows[part], products[part], held)
            if sentence:
                told[theme] = sentence
                total[sentence] = total.get(sentence, 0.0) + float(speaks_for[part, column])
        strongest = sorted(total, key=lambda sentence: (-total[sentence], sentence))
        return [sentence for sentence in strongest if total[sentence] >= floor][:MOST]

    def _sentence(self, column: int, row: np.ndarray, product: int, held: np.ndarray) -> str:
        name, value = self._columns[column], float(row[column])
        if math.isnan(value):
            return ""
        if column < self._clients:
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
