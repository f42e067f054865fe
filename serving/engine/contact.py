"""When a client, or a bundle, is left in peace: the catalog's contact policy over what the log knows of the client."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from sheaf.catalog import Contact
from sheaf.serving.decisions import Accepted, Outcome, Past
from sheaf.serving.schemas.answers import Resting


def look_back(policy: Contact) -> dt.timedelta:
    """How old feedback may be that the policy still goes by."""
    days = [limit.days for limit in policy.limits] + [policy.rest_after_rejection]
    days += [policy.rest_after_shown.days] if policy.rest_after_shown else []
    return dt.timedelta(days=max(days))


def resting(policy: Contact, past: Sequence[Past], channel: str | None, now: dt.datetime) -> tuple[Resting, ...]:
    """What rests for a client of whom the log knows `past`, when offers are asked for over a channel.

    A contact is an answer of which something was shown, whatever it had; a bundle counts once in each.
    """
    return (*_too_often(policy, past, channel, now), *_rejected(policy, past, now), *_shown(policy, past, now))


def _too_often(policy: Contact, past: Sequence[Past], channel: str | None, now: dt.datetime) -> Iterable[Resting]:
    for limit in policy.limits:
        if limit.channel not in (None, channel):
            continue
        span, shown = dt.timedelta(days=limit.days), dict[str, dt.datetime]()
        for one in past:
            if one.outcome is Outcome.SHOWN and limit.channel in (None, one.channel) and one.at > now - span:
                shown[one.decision_id] = max(one.at, shown.get(one.decision_id, one.at))
        if len(shown) >= limit.most:
            over = f" over {limit.channel}" if limit.channel else ""
            until = sorted(shown.values())[-limit.most] + span
            yield Resting(
                None, until, f"{len(shown)} contacts{over} in {limit.days} days; the policy allows {limit.most}"
            )


def _rejected(policy: Contact, past: Sequence[Past], now: dt.datetime) -> Iterable[Resting]:
    span = dt.timedelta(days=policy.rest_after_rejection)
    last = {one.bundle_id: one.at for one in sorted(past, key=lambda one: one.at) if one.outcome is Outcome.REJECTED}
    for bundle_id, at in last.items():
        if now < at + span:
            yield Resting(bundle_id, at + span, f"rejected on {at:%Y-%m-%d}; rests {policy.rest_after_rejection} days")


def _shown(policy: Contact, past: Sequence[Past], now: dt.datetime) -> Iterable[Resting]:
    rest = policy.rest_after_shown
    if rest is None:
        return
    span, shown = dt.timedelta(days=rest.days), dict[str, dict[str, dt.datetime]]()
    for one in past:
        if one.outcome is Outcome.SHOWN and one.at > now - span:
            of_bundle = shown.setdefault(one.bundle_id, {})
            of_bundle[one.decision_id] = max(one.at, of_bundle.get(one.decision_id, one.at))
    for bundle_id, times in shown.items():
        if len(times) >= rest.times:
            why = f"shown {len(times)} times in {rest.days} days; the policy allows {rest.times}"
            yield Resting(bundle_id, max(times.values()) + span, why)


def awaited(brings: Mapping[str, frozenset[str]], accepted: Sequence[Accepted], day: dt.date) -> tuple[Resting, ...]:
    """Bundles that bring a product which the client has accepted and which the tables of the day do not show yet.

    `brings` are the products of each bundle that the client does not hold by these tables; `accepted`, oldest first, is
    what was accepted on that day and later.
    """
    last = {product: one.at for one in accepted for product in one.products}
    found = []
    for bundle_id, products in brings.items():
        if known := sorted(products & last.keys()):
            at = max(last[product] for product in known)
            why = f"{', '.join(known)} accepted on {at:%Y-%m-%d}; the tables of {day} do not show it yet"
            found.append(Resting(bundle_id, None, why))
    return tuple(found)
