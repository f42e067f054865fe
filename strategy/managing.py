"""The parts of the policy that are about account managers: a day of calls, and the card they are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field, Strict

from catalog.checks import Where, did_you_mean
from catalog.models import Model, Name
from strategy.conditions import Rule

VISIT = "visit"
"""The channel of a visit that is due."""

Minutes = Annotated[int, Strict(), Field(ge=1, le=600)]
Hours = Annotated[float, Strict(), Field(gt=0, le=24, allow_inf_nan=False)]
Ahead = Annotated[int, Strict(), Field(ge=0, le=366)]
Factor = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]


class Meeting(Model):
    """How long a call takes, and what its channel is called in table `offers` and in the catalog's limits of contacts
    (left out: as here)."""

    minutes: Minutes
    told_as: Name | None = None


class Day(Model):
    """An account manager's day.

    A client is met over the first of its `channels` that stands here. A `visit` is made from `days_before` the planned
    day on. An offer is open for `offer_days`. Of `urgency` the first rule that a call meets is its factor.
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


def of_day(day: Day, channels: Sequence[str]) -> Iterator[tuple[Where, str]]:
    """What is wrong with a day beside its rules; `channels` are those of the service plan."""
    for channel in day.channels:
        if channel == VISIT:
            yield ("book", "channels", channel), "a visit is no channel of its own here; it stands in book.visit"
        elif channel not in channels:
            yield ("book", "channels", channel), f"there is no channel {channel}; {did_you_mean(channel, channels)}"
