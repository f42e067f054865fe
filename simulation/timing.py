"""The simulated months and the streams of random numbers: one for each purpose, month, segment and block of clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

LAST_MONTH = np.datetime64("2025-12", "M")
DAYS_A_YEAR = 365.25
DAYS_A_MONTH = DAYS_A_YEAR / 12


@dataclass(frozen=True)
class Month:
    """A calendar month: its place in the simulation, first day (days since 1970-01-01), length, number in the year."""

    index: int
    first: int
    days: int
    number: int

    @property
    def last(self) -> int:
        return self.first + self.days - 1

    @property
    def name(self) -> str:
        return str(np.datetime64(self.first, "D").astype("M8[M]"))


def calendar(months: int, before: int = 0) -> list[Month]:
    """The `months` months that end with December 2025, after `before` earlier ones with negative index."""
    starts = LAST_MONTH - months - before + 1 + np.arange(months + before + 1)
    days = starts.astype("M8[D]").astype(np.int64)
    numbers = starts.astype(np.int64) % 12 + 1
    return [
        Month(place - before, int(days[place]), int(days[place + 1] - days[place]), int(numbers[place]))
        for place in range(months + before)
    ]


class Purpose(IntEnum):
    """What random numbers are drawn for; a purpose added at the end leaves the draws of the others as they are."""

    PEOPLE = 0
    LINKS = 1
    START = 2
    NEEDS = 3
    OPENINGS = 4
    ENDINGS = 5
    CHANGES = 6
    MONEY = 7
    BOOKINGS = 8
    OFFERS = 9
    ATTRITION = 10


@dataclass(frozen=True)
class Draws:
    """The random numbers of one simulation."""

    seed: int

    def of(self, purpose: Purpose, month: int = 0, segment: int = 0, block: int = 0) -> np.random.Generator:
        """The stream of one purpose, month (from -1: before the first), segment and block."""
        key = (int(purpose), month + 1000, segment, block)
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.seed, spawn_key=key)))
