"""What rests for a client: the catalog's contact policy over the decision log, and what was accepted already."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sheaf.catalog import Contact
from sheaf.catalog.contact_policy import after_rejection, after_shown, latest, over_limits
from sheaf.features.acceptances import not_shown_yet
from sheaf.serving.decisions import Accepted, Outcome, Past
from sheaf.serving.schemas.answers import Resting


def resting(policy: Contact, past: Sequence[Past], channel: str | None, now: dt.datetime) -> tuple[Resting, ...]:
    """What rests for a client of whom the log knows `past`, when offers are requested over a channel.

    A contact is an answer of which something was shown, whatever it had. A bundle counts once in each.
    """
    shown = [entry for entry in past if entry.outcome is Outcome.SHOWN]
    channels = {entry.decision_id: entry.channel for entry in shown}
    contacts = latest((entry.decision_id, entry.at) for entry in shown)
    found = [
        Resting(None, until, why)
        for until, why in over_limits(policy, [(channels[key], at) for key, at in contacts.items()], channel, now)
    ]
    rejections = latest((entry.bundle_id, entry.at) for entry in past if entry.outcome is Outcome.REJECTED)
    for bundle_id, rejected in rejections.items():
        if rest := after_rejection(policy, rejected, now):
            found.append(Resting(bundle_id, *rest))
    by_bundle: dict[str, list[Past]] = defaultdict(list)
    for entry in shown:
        by_bundle[entry.bundle_id].append(entry)
    for bundle_id, entries in by_bundle.items():
        if rest := after_shown(policy, latest((entry.decision_id, entry.at) for entry in entries).values(), now):
            found.append(Resting(bundle_id, *rest))
    return tuple(found)


def awaited(brings: Mapping[str, frozenset[str]], accepted: Sequence[Accepted], day: dt.date) -> tuple[Resting, ...]:
    """Bundles that bring a product which the client has accepted and which the tables of the day do not show yet.

    `brings` are the products of each bundle that the client does not hold by these tables; `accepted`, oldest first, is
    what was accepted on that day and later.
    """
    last = {product: one.at for one in accepted for product in one.products}
    found = []
    for bundle_id, products in brings.items():
        if known := products & last.keys():
            at = max(last[product] for product in known)
            found.append(Resting(bundle_id, None, not_shown_yet(known, at.date(), day)))
    return tuple(found)
