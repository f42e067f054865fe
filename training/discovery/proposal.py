"""What is proposed: bundles and linked offers, each with its evidence and what is at stake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from sheaf.catalog import Bundle
from sheaf.training.discovery.evidence import Evidence

_P = TypeVar("_P")


@dataclass(frozen=True)
class Stake:
    """What a proposal could bring.

    `reach`: clients who may have all of it and lack a part; `takers`: how many of them are expected to complete it;
    `value`: what these would bring a year, in the catalog's currency, before cost, risk and capital.
    """

    reach: int
    takers: float
    value: float


@dataclass(frozen=True)
class Proposal:
    """A bundle that the catalog does not have, in the form it could have there, without a reason in words."""

    bundle: Bundle
    evidence: tuple[Evidence, ...]
    stake: Stake


@dataclass(frozen=True)
class LinkedProposal:
    """Products for clients tied to another who holds a product of its own: nothing that one bundle can hold.

    Of clients tied by `relation`, the one on `side` is offered `products` where the one on `where_side` holds
    `where_product`. Evidence counts the clients on `side`; its support is their share of those there who could.
    """

    relation: str
    where_side: str
    where_product: str
    side: str
    products: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    stake: Stake


@dataclass(frozen=True)
class Discovery:
    """All proposals, the most valuable first, found among `clients` of the day by `trials` of sets of products."""

    as_of: dt.date
    clients: int
    trials: int
    bundles: tuple[Proposal, ...]
    linked: tuple[LinkedProposal, ...]

    def top(self, count: int) -> Discovery:
        """The first `count` bundles and linked proposals."""
        return Discovery(self.as_of, self.clients, self.trials, self.bundles[:count], self.linked[:count])


def stake(held: np.ndarray, worth: np.ndarray) -> Stake:
    """What is at stake with clients who hold the parts that `held` (parts, clients) says, each of a yearly `worth`.

    Who holds exactly the parts H is expected to complete them as often as those who hold at least H hold everything:
    `takers = Σ_H n(exactly H) · n(all) / n(at least H)`, over all H that lack a part; `value` counts with each taker
    the worth of the parts that are not in H.
    """
    parts = len(held)
    holding = (held.astype(np.int64) << np.arange(parts)[:, None]).sum(axis=0)
    exactly = np.bincount(holding, minlength=1 << parts)
    takers = value = 0.0
    for has, clients in enumerate(exactly[:-1].tolist()):
        if clients:
            at_least = sum(int(exactly[more]) for more in range(1 << parts) if more & has == has)
            taking = clients * int(exactly[-1]) / at_least
            takers += taking
            value += taking * sum(worth[part] for part in range(parts) if not has >> part & 1)
    return Stake(int(exactly[:-1].sum()), takers, float(value))


def unnested(ordered: Iterable[_P], parts: Callable[[_P], Iterable[Any]]) -> list[_P]:
    """Without those that hold all parts of one before them in the order, or of which one before holds all parts."""
    kept: list[tuple[set[Any], _P]] = []
    for one in ordered:
        its = set(parts(one))
        if not any(its <= others or others <= its for others, _ in kept):
            kept.append((its, one))
    return [one for _, one in kept]
