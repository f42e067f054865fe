"""What the words of the behaviour tables mean for a block of clients: bands, needs, holdings, links, texts, months."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sheaf.catalog import Kind
from sheaf.simulation.behaviour import DRAIN, conditions
from sheaf.simulation.state import TEXTS, Array, Bank, Edges, Segment
from sheaf.simulation.timing import DAYS_A_MONTH, DAYS_A_YEAR, Month

RECENT_MONTHS = 3  # how long an opening counts as recent


@dataclass
class Conditions:
    """The conditions of one block as they stand before `month` begins; each is worked out once."""

    segment: Segment
    block: slice
    month: Month
    links: dict[str, Array] = field(default_factory=dict)
    _known: dict[str, Array] = field(default_factory=dict)

    def all_of(self, expression: str) -> tuple[Array, Array]:
        """For "a & !b & need.c": where every plain condition holds, and the product of the needs' strengths."""
        holds, strength = (np.ones(self.block.stop - self.block.start, dtype=kind) for kind in (bool, np.float32))
        for name, negated in conditions(expression):
            value = self[name]
            if value.dtype == bool:
                holds = holds & (~value if negated else value)
            else:
                strength = strength * (1 - value if negated else value)
        return holds, strength

    def __getitem__(self, name: str) -> Array:
        if name not in self._known:
            self._known[name] = self._evaluate(name)
        return self._known[name]

    def _evaluate(self, name: str) -> Array:
        segment, block, behaviour = self.segment, self.block, self.segment.behaviour
        prefix, dot, word = name.partition(".")
        if name == DRAIN:
            return np.array([*behaviour.attrition.strength, 0.0], dtype=np.float32)[segment.drain_age[block]]
        if not dot:
            variable, low, high = behaviour.bands[name]
            value = self._variable(variable)
            return (value >= (-np.inf if low is None else low)) & (value < (np.inf if high is None else high))
        if prefix == "need":
            place = list(behaviour.needs).index(word)
            strength = np.array([*behaviour.needs[word].strength, 0.0], dtype=np.float32)
            return strength[segment.need_age[place, block]]
        if prefix == "link":
            return self.links[word][block]
        if prefix == "month":
            return np.full(block.stop - block.start, self.month.number == int(word))
        if prefix in TEXTS:
            return segment.attributes[prefix][block] == TEXTS[prefix].index(word)
        if word not in segment.products:  # the catalog does not sell it
            return np.zeros(block.stop - block.start, dtype=bool)
        opened = segment.opened[segment.row(word), block]
        if prefix == "holds":
            return opened > 0
        if prefix == "recent":
            return opened >= recent_since(self.month)
        return segment.before[segment.row(word), block] & (opened == 0)

    def _variable(self, name: str) -> Array:
        segment, block = self.segment, self.block
        if name in segment.attributes:
            return segment.attributes[name][block]
        if name == "products":
            return (segment.opened[:, block] > 0).sum(axis=0)
        if name == "tenure":
            return (self.month.first - segment.joined[block]) / DAYS_A_YEAR
        if name == "closed":
            closed = segment.closed[block]
            return np.where(closed > 0, (self.month.first - closed) / DAYS_A_MONTH, np.inf)
        if name == "works":
            return segment.works[block]
        if name == "institution":
            return segment.kind[block] == list(Kind).index(Kind.INSTITUTION)
        money = [segment.behaviour.products[product].money for product in segment.products]
        liquid = [row for row, product in enumerate(money) if product.liquid]
        deposits = segment.balance[liquid, block].sum(axis=0)
        return deposits if name == "deposits" else deposits / segment.basis(block)


def recent_since(month: Month) -> int:
    """The first day from which on an opening counts as recent when `month` begins."""
    first = np.datetime64(month.first, "D").astype("M8[M]") - RECENT_MONTHS
    return int(first.astype("M8[D]").astype(np.int64))


def link_signals(bank: Bank, segment: Segment, month: Month) -> dict[str, Array]:
    """For every link of the segment's behaviour: whose tied clients did what it names, as known before `month`."""
    retail, firms = bank.retail, bank.firms
    staff = np.flatnonzero(bank.employer >= 0)
    employers = Edges("employer", staff, bank.employer[staff], bank.employed_since[staff])
    ties = {
        "employer": (employers.source, employers.target, employers.since, firms),
        "firm": (bank.owners.target, bank.owners.source, bank.owners.since, firms),
        "owner": (bank.owners.source, bank.owners.target, bank.owners.since, retail),
        "group": (*_both_ways(bank.heads), firms),
        "trade": (*_both_ways(bank.suppliers), firms),
    }
    since = recent_since(month)
    signals = {}
    for name, link in segment.behaviour.links.items():
        ours, theirs, tied_since, other = ties[link.tie]
        fires = np.zeros(len(other), dtype=bool)
        for products, first in ((link.opened, since), (link.holds, 1)):
            for product in set(products) & set(other.products):
                fires |= other.opened[other.row(product)] >= first
        signals[name] = np.zeros(len(segment), dtype=bool)
        signals[name][ours[fires[theirs] & (tied_since < month.first)]] = True
    return signals


def _both_ways(edges: Edges) -> tuple[Array, Array, Array]:
    return (
        np.concatenate([edges.source, edges.target]),
        np.concatenate([edges.target, edges.source]),
        np.concatenate([edges.since, edges.since]),
    )
