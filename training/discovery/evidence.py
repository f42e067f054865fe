"""What counts as evidence that products belong together, and what stays of it after everything that was tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np

from sheaf.training.discovery.association import Association, false_discovery


@dataclass(frozen=True)
class DiscoverySettings:
    """What to look for; ValueError where a number cannot be meant.

    `least_support`: of the clients of a kind, or of one side of a tie, the share who must have a set (never fewer than
    `LEAST_CLIENTS`).
    `least_lift`: what the lower end of the lift's interval must pass; segments never explain quite all of popularity.
    `window_days`: opened together is what is opened within one window of that length, of those that fit into the last
    `look_back_days`. `most_products`: of a proposal, at most. `mistakes`: the share of proposals that may be mere
    chance, as expected (Benjamini and Hochberg).
    """

    least_support: float = 0.001
    least_lift: float = 1.2
    window_days: int = 61
    look_back_days: int = 730
    most_products: int = 4
    mistakes: float = 0.05

    LEAST_CLIENTS: ClassVar[int] = 10  # fewer bear no interval, and somebody might recognise them

    def __post_init__(self) -> None:
        for name, value, least in (
            ("least_lift", self.least_lift, 1),
            ("window_days", self.window_days, 1),
            ("look_back_days", self.look_back_days, self.window_days),
            ("most_products", self.most_products, 2),
        ):
            if not value >= least:
                raise ValueError(f"{name} is {value:g}; give {least} or more")
        for name, share in (("least_support", self.least_support), ("mistakes", self.mistakes)):
            if not 0 < share < 1:
                raise ValueError(f"{name} is {share:g}, which is no share; give a number between 0 and 1")

    @property
    def windows(self) -> int:
        return self.look_back_days // self.window_days

    def least_clients(self, clients: int) -> int:
        """How many of `clients` make a set frequent."""
        return max(self.LEAST_CLIENTS, ceil(self.least_support * clients))


@dataclass(frozen=True)
class Evidence:
    """`clients` who hold all of it (`way` held), or opened all of it within a window (`way` opened).

    `support` is their share of those who could have all of it. `lift` and its `interval` (95 %) are against popularity
    within segments; for more than two products, those of the two parts that explain the whole best. `chance` is the
    p-value of a lift no higher than the least asked for, adjusted for all trials.
    """

    way: str
    clients: int
    support: float
    lift: float
    interval: tuple[float, float]
    chance: float


@dataclass(frozen=True)
class Trial:
    """One set of products tried in one way: `clients` of those who `could` have it all do; `found` is the weakest of
    the associations that must hold."""

    of: Any
    way: str
    clients: int
    could: int
    found: Association

    def seems(self, settings: DiscoverySettings) -> bool:
        """Whether it is worth to look further, before all trials are known."""
        return self.found.interval[0] > settings.least_lift


def judged(trials: Sequence[Trial], settings: DiscoverySettings) -> dict[Any, tuple[Evidence, ...]]:
    """By set the evidence of all ways, of those that stand in one way at least."""
    chances = false_discovery(np.array([trial.found.p_value(settings.least_lift) for trial in trials]))
    evidence: dict[Any, list[Evidence]] = {}
    standing = set()
    for trial, chance in zip(trials, chances, strict=True):
        share, found = trial.clients / trial.could, trial.found
        one = Evidence(trial.way, trial.clients, share, found.lift, found.interval, float(chance))
        evidence.setdefault(trial.of, []).append(one)
        if trial.seems(settings) and chance <= settings.mistakes:
            standing.add(trial.of)
    return {of: tuple(ways) for of, ways in evidence.items() if of in standing}
