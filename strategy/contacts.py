"""Which clients and bundles are left in peace, by the catalog's contact policy over the bank's table `offers`.

The service goes by the same policy over its decision log, where an answer is a contact. Here what a client was offered
on one day over one channel is one contact, by our own definition, and a bundle counts once in each.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence

import narwhals as nw

from sheaf.catalog import Contact
from sheaf.catalog.contact_policy import after_rejection, after_shown, over_limits
from sheaf.features import Bank, C, day_number, from_day_number

Seen = tuple[int, str | None]
"""A contact: its day as a number, and its channel."""


class Contacts:
    """What some clients of a bank were offered until the end of a day."""

    def __init__(self, bank: Bank, policy: Contact | None, day: dt.date, clients: Sequence[str]) -> None:
        self.policy, self.day = policy, day_number(day)
        self._seen: dict[str, set[Seen]] = defaultdict(set)
        self._shown: dict[tuple[str, str], set[Seen]] = defaultdict(set)
        self._rejected: dict[tuple[str, str], int] = {}
        self._open: dict[tuple[str, str], int] = {}
        known = bank.known_on(day)
        if "offers" not in known:
            return
        columns = (C.CLIENT, C.BUNDLE, C.OFFERED_AT, C.CHANNEL, C.OUTCOME, C.RESPONDED_AT)
        theirs = known["offers"].filter(nw.col(C.CLIENT).is_in(list(clients))).select(*columns)
        for client, bundle, offered, channel, outcome, responded in theirs.collect("pyarrow").rows():
            pair, at = (client, bundle), int(offered)
            self._seen[client].add((at, channel))
            self._shown[pair].add((at, channel))
            if outcome is None:
                self._open[pair] = max(at, self._open.get(pair, at))
            elif outcome == "rejected":
                answered = at if responded is None else int(responded)
                self._rejected[pair] = max(answered, self._rejected.get(pair, answered))

    def client(self, client: str, channel: str) -> str | None:
        """Why a client is not called over a channel, or None."""
        if self.policy is None:
            return None
        contacts = [(over, from_day_number(at)) for at, over in self._seen[client]]
        return next((why for _, why in over_limits(self.policy, contacts, channel, from_day_number(self.day))), None)

    def bundle(self, client: str, bundle: str) -> str | None:
        """Why a bundle is not offered to a client, or None."""
        if self.policy is None:
            return None
        now, rejected = from_day_number(self.day), self._rejected.get((client, bundle))
        shown = [from_day_number(at) for at, _ in self._shown[client, bundle]]
        rest = None if rejected is None else after_rejection(self.policy, from_day_number(rejected), now)
        rest = rest or after_shown(self.policy, shown, now)
        return rest and rest[1]

    def days_left(self, client: str, bundle: str, days: int) -> int | None:
        """For how many days more an offer that is not answered is open, of `days`; None without one that is."""
        offered = self._open.get((client, bundle))
        left = None if offered is None else offered + days - self.day
        return None if left is None or left < 0 else left
