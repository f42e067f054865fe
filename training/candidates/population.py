"""How common each product is, among whom, and what goes together: what a candidate row is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sheaf.features import ProfileMatrix

HELD = "held"
KIND = "kind"
RECENT_MONTHS = 3.1  # an opening within the last three calendar months
PEERS = (KIND, "tier")  # who is compared with whom: the same kind of client, of the same tier of contribution


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
