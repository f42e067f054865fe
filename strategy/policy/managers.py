"""The parts of the policy that are about account managers: a day of calls, and the card they are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, Strict

from sheaf.catalog.schema import Model, Name, Number
from sheaf.catalog.validation import Where, did_you_mean
from sheaf.strategy.policy.conditions import Rule

VISIT = "visit"
"""The channel of a visit that is due."""

Minutes = Annotated[int, Strict(), Field(ge=1, le=600)]
Hours = Annotated[float, Strict(), Field(gt=0, le=24, allow_inf_nan=False)]
Ahead = Annotated[int, Strict(), Field(ge=0, le=366)]
Factor = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]


def nearest(name: str, names: Sequence[str]) -> str:
    """The remedy for a manager or branch that is not there."""
    told = did_you_mean(name, names)
    return told if names and not told.startswith("see the catalog") else "table clients has those there are"


class Meeting(Model):
    """How many `minutes` a call takes, and the channel's name in table `offers` and in the contact policy (`told_as`).

    If `told_as` is left out, the name is the same.
    """

    minutes: Minutes
    told_as: Name | None = None


class CallDay(Model):
    """An account manager's day.

    - `channels`: a client is contacted over the first of its own channels that is listed.
    - `visit`, `days_before`: a visit is made from `days_before` days before the planned day.
    - `offer_days`: how long an offer stays open.
    - `urgency`: the first rule that a call meets gives its factor.
    """

    hours: Hours
    channels: Annotated[dict[Name, Meeting], Field(min_length=1)]
    visit: Meeting
    days_before: Ahead = 0
    offer_days: Annotated[int, Strict(), Field(ge=1, le=366)] = 30
    urgency: tuple[Rule[Factor], ...]

    @property
    def asks(self) -> set[str]:
        """The columns that its rules look at."""
        return {column for rule in self.urgency for column in rule.when}


def of_day(day: CallDay, channels: Sequence[str]) -> Iterator[tuple[Where, str]]:
    """What is wrong with a day beside its rules; `channels` are those of the service plan."""
    for channel in day.channels:
        if channel == VISIT:
            yield ("book", "channels", channel), "a visit is no channel of its own here; it stands in book.visit"
        elif channel not in channels:
            yield ("book", "channels", channel), f"there is no channel {channel}; {did_you_mean(channel, channels)}"


Weight = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]


class Measure(Model):
    """The weight of a measure, the better direction, and the plan: a share or rate, or an amount a client and month."""

    weight: Weight
    better: Literal["higher", "lower"] = "higher"
    plan: Number | None = None


class Against(Model):
    """How much the comparison with peers counts, and how much the plan, if there is one."""

    peers: Weight
    plan: Weight


class Card(Model):
    """How managers and branches are scored.

    - `alike`, `bands`: what clients of a cell have in common; `size` is one of `bands` of volume a month before.
    - `points`: points for one standard deviation between managers; 100 is the expected result.
    - `wallet`: the quantile of the volume of similar clients that counts as the wallet.
    - `non_performing`, `watched`: rating grades of clients who do not pay, and of clients who may stop paying.
    """

    alike: Annotated[tuple[Literal["kind", "size", "sector", "rating"], ...], Field(min_length=1)]
    bands: Annotated[int, Strict(), Field(ge=1, le=10)] = 3
    points: Annotated[float, Strict(), Field(gt=0, le=100, allow_inf_nan=False)] = 25.0
    against: Against
    wallet: Annotated[float, Strict(), Field(gt=0, lt=1, allow_inf_nan=False)] = 0.8
    non_performing: tuple[Name, ...] = ()
    watched: tuple[Name, ...] = ()
    measures: Annotated[dict[Name, Measure], Field(min_length=1)]


def of_card(card: Card, measures: Sequence[str], grades: Sequence[str] | None) -> Iterator[tuple[Where, str]]:
    """What is wrong with a scorecard; `measures` are those there are, `grades` the catalog's, None without a price
    sheet."""
    at: Where = ("scorecard", "measures")
    for name in card.measures:
        if name not in measures:
            yield (*at, name), f"there is no measure {name}; {did_you_mean(name, measures)}"
    for where, weights in ((at, [one.weight for one in card.measures.values()]),
                           (("scorecard", "against"), [card.against.peers, card.against.plan])):  # fmt: skip
        if abs(sum(weights) - 1) > 1e-9:
            yield where, f"the weights add up to {sum(weights):g} and not to 1; correct one"
    for field in ("non_performing", "watched"):
        for number, grade in enumerate(getattr(card, field)):
            if grades is not None and grade not in grades:
                yield ("scorecard", field, number), f"there is no grade {grade}; {did_you_mean(grade, grades)}"
