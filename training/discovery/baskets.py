"""Baskets: rows in which products may meet. What is held on a day is one, what is opened within a window another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from sheaf._extras import needs_extra
from sheaf.training.discovery.association import Association, associate
from sheaf.training.discovery.book import HoldingsHistory, coded

with needs_extra("discover"):
    from mlxtend.frequent_patterns import fpgrowth

HELD, OPENED = "held", "opened"
Items = tuple[int, ...]  # in ascending order


@dataclass(frozen=True)
class Baskets:
    """`has` and `may` are (items, rows) of bool: what a row has, and what it could have had.

    A row is of a `stratum` and a `client` of some `kind`; `owners` are those that `associate` asks for. `way` says how
    rows came to have what they have.
    """

    way: str
    has: np.ndarray
    may: np.ndarray
    stratum: np.ndarray
    client: np.ndarray
    kind: np.ndarray
    owners: tuple[np.ndarray, ...] = ()

    def frequent(self, kind: int, least: int, most_items: int) -> list[Items]:
        """Sets of two to `most_items` items that at least `least` rows of a kind have, by FP-growth."""
        rows = self.kind == kind
        rows[rows] = self.has[:, rows].sum(axis=0) > 1
        has = pd.DataFrame(self.has[:, rows].T)
        columns = [item for item in has if has[item].sum() >= least]
        if len(columns) < 2:
            return []
        found = fpgrowth(has[columns], min_support=(least - 0.5) / len(has), max_len=most_items)
        return [tuple(sorted(columns[at] for at in one)) for one in found["itemsets"] if len(one) > 1]

    def where(self, rows: np.ndarray) -> Baskets:
        """The rows for which `rows` is True."""
        if rows.all():
            return self
        return Baskets(
            self.way,
            self.has[:, rows],
            self.may[:, rows],
            self.stratum[rows],
            self.client[rows],
            self.kind[rows],
            tuple(owner[rows] for owner in self.owners),
        )

    def count(self, items: Items) -> int:
        """Different clients who have all of the items in one row."""
        return different(self.client[every(self.has, items)])

    def association(self, first: Items, second: Items, without: Sequence[int] = ()) -> Association:
        """How having all of `first` goes with having all of `second`, among the rows that could have all of both and
        have none of `without`."""
        could = every(self.may, (*first, *second))
        for item in without:
            could &= ~self.has[item]
        rows = np.flatnonzero(could)
        return associate(
            every(self.has, first)[rows],
            every(self.has, second)[rows],
            self.stratum[rows],
            tuple(owner[rows] for owner in self.owners),
        )

    def lifts(self, first: slice, second: slice) -> tuple[np.ndarray, np.ndarray]:
        """(first items, second items): rows that have both, and the lift that `association` finds; 0 where none has."""
        order = np.argsort(self.stratum, kind="stable")
        together = expected = np.zeros((len(self.has[first]), len(self.has[second])))
        with threadpool_limits(1, "blas"):  # thousands of small products: threads would wait for each other
            for rows in np.split(order, np.flatnonzero(np.diff(self.stratum[order])) + 1):
                has, may = (marks[:, rows].astype(np.float32) for marks in (self.has, self.may))
                n = may[first] @ may[second].T
                of_independent = (has[first] @ may[second].T) * (may[first] @ has[second].T) / np.maximum(n, 1)
                together, expected = together + has[first] @ has[second].T, expected + of_independent
        return together, np.divide(together, expected, out=np.zeros_like(together), where=together > 0)


def different(positions: np.ndarray) -> int:
    """How many different ones there are, none negative."""
    return int(np.count_nonzero(np.bincount(positions)))


def joined(parts: Sequence[Baskets]) -> Baskets:
    """The rows of all parts, which have the same items; strata of the same number are the same."""
    return Baskets(
        parts[0].way,
        np.concatenate([part.has for part in parts], axis=1),
        np.concatenate([part.may for part in parts], axis=1),
        coded(np.concatenate([part.stratum for part in parts])),
        np.concatenate([part.client for part in parts]),
        np.concatenate([part.kind for part in parts]),
        tuple(np.concatenate(owners) for owners in zip(*(part.owners for part in parts), strict=True)),
    )


def every(marks: np.ndarray, items: Items) -> np.ndarray:
    """(rows,): True where all of the items are marked; `marks` is (items, rows)."""
    together: np.ndarray = reduce(np.logical_and, [marks[item] for item in items])
    return together


def held_baskets(book: HoldingsHistory, segment: np.ndarray) -> Baskets:
    """A row a client: what it holds on the day."""
    held = book.held(book.day)
    clients = np.arange(len(segment))
    return Baskets(HELD, held & book.may, book.may, coded(segment, book.kind), clients, book.kind)


def opened_baskets(book: HoldingsHistory, segment: np.ndarray, window_days: int, windows: int) -> Baskets:
    """A row a client and window of time since it joined: what it opened in the window of what it did not hold before.

    Windows follow each other without a gap up to the day, and each is a stratum of its own, as is the one in which a
    client joins: what a campaign, a season or a first visit makes popular at once is no tie.
    """
    coded_segment, parts = coded(segment, book.kind), []
    for number in range(windows):
        until = book.day - number * window_days
        there = np.flatnonzero(book.joined <= until)
        may = (book.may & ~book.held(until - window_days))[:, there]
        has = book.opened_in(until - window_days, until)[:, there] & may
        joins = book.joined[there] > until - window_days
        stratum = (coded_segment[there] * 2 + joins) * windows + number
        parts.append(Baskets(OPENED, has, may, stratum, there, book.kind[there], (there,)))
    return joined(parts)


def splits(items: Items) -> Iterator[tuple[Items, Items]]:
    """Every way to part the items in two: one for a pair, three for three items, seven for four."""
    first, *rest = items
    for size in range(len(rest)):
        for more in combinations(rest, size):
            yield (first, *more), tuple(item for item in rest if item not in more)
