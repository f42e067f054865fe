"""The contact policy: when a client, or a bundle, is left in peace. One definition for the service and for call lists.

Moments are of one type in a call: `datetime` where a log knows the second, `date` where tables know the day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from sheaf.catalog.schema import Contact

Moment = TypeVar("Moment", dt.date, dt.datetime)


def look_back(policy: Contact) -> dt.timedelta:
    """How old a contact or rejection may be that the policy still goes by."""
    days = [limit.days for limit in policy.limits] + [policy.rest_after_rejection]
    days += [policy.rest_after_shown.days] if policy.rest_after_shown else []
    return dt.timedelta(days=max(days))


def over_limits(
    policy: Contact, contacts: Sequence[tuple[str | None, Moment]], channel: str | None, now: Moment
) -> Iterator[tuple[Moment, str]]:
    """For each limit that is reached over a channel: until when the client is left in peace, and why.

    `contacts` has the channel and the moment of each contact.
    """
    for limit in policy.limits:
        if limit.channel not in (None, channel):
            continue
        span = dt.timedelta(days=limit.days)
        recent = sorted(at for over, at in contacts if limit.channel in (None, over) and at > now - span)
        if len(recent) >= limit.most:
            over = f" over {limit.channel}" if limit.channel else ""
            why = f"{len(recent)} contacts{over} in {limit.days} days; the policy allows {limit.most}"
            yield recent[-limit.most] + span, why


def after_rejection(policy: Contact, rejected: Moment, now: Moment) -> tuple[Moment, str] | None:
    """Until when a bundle rests that was last rejected at a moment, and why; None where it does not."""
    until = rejected + dt.timedelta(days=policy.rest_after_rejection)
    if now >= until:
        return None
    return until, f"rejected on {rejected:%Y-%m-%d}; rests {policy.rest_after_rejection} days"


def after_shown(policy: Contact, shown: Iterable[Moment], now: Moment) -> tuple[Moment, str] | None:
    """Until when a bundle rests that was shown at these moments, once in a contact, and why; None where it does not."""
    rest = policy.rest_after_shown
    if rest is None:
        return None
    span = dt.timedelta(days=rest.days)
    recent = [at for at in shown if at > now - span]
    if len(recent) < rest.times:
        return None
    return max(recent) + span, f"shown {len(recent)} times in {rest.days} days; the policy allows {rest.times}"


def latest(moments: Iterable[tuple[str, Moment]]) -> Mapping[str, Moment]:
    """The last moment by key."""
    found: dict[str, Moment] = {}
    for key, at in moments:
        found[key] = max(at, found.get(key, at))
    return found
