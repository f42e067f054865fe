"""The month's transactions: what clients earn, spend, pay and collect, and the traces that their needs leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sheaf.simulation.balances import Statement
from sheaf.simulation.behaviour import Booking
from sheaf.simulation.conditions import Conditions
from sheaf.simulation.needs import traces
from sheaf.simulation.state import NOBODY, Array, Bank, Segment
from sheaf.simulation.timing import Draws, Month, Purpose

FOREIGN = ("USD", "GBP", "CHF", "CNY", "SEK", "JPY")  # what foreign bookings are in, less the bank's own currency
WITHOUT_ACCOUNT = 0.4  # factor on the count of a client's bookings whose main account is elsewhere
TRACE_SPREAD = 0.25  # standard deviation of the logarithm of how strongly a need shows, client by client
FEE, REPAYMENT = "fee", "repayment"  # kinds of the bookings that follow from positions


@dataclass
class Rows:
    """Bookings: clients (places in the segment), days, signed amounts; `recipe` is a place in `recipes`."""

    client: Array
    day: Array
    amount: Array
    recipe: Array
    counterparty: Array  # number in the bank, or NOBODY


def recipes(segment: Segment) -> list[tuple[str, str, bool]]:
    """Kind, channel and whether foreign, of every sort of booking in the segment."""
    of_needs = [booking for need in segment.behaviour.needs.values() for booking in need.bookings]
    stated = [(entry.kind, entry.channel, entry.foreign) for entry in (*segment.behaviour.bookings, *of_needs)]
    stated += [(entry.kind, entry.channel, entry.foreign) for entry in segment.behaviour.attrition.bookings]
    return [*stated, (FEE, "internal", False), (REPAYMENT, "internal", False)]


def book(
    bank: Bank, segment: Segment, number: int, block: slice, month: Month, statement: Statement, partners: Partners,
    draws: Draws,
) -> Rows:  # fmt: skip
    """The block's bookings in `month`, each on a day on which the client is one."""
    rng = draws.of(Purpose.BOOKINGS, month.index, segment.place, number)
    n = block.stop - block.start
    now = Conditions(segment, block, month)
    left = segment.left[block]
    from_day = np.maximum(segment.joined[block], month.first)
    to_day = np.where(left > 0, np.minimum(left, month.last), month.last)
    span = np.maximum(to_day - from_day + 1, 0)  # 0: no client in this month
    presence = (span / month.days).astype(np.float32)
    if segment is bank.firms and "business_account" in segment.products:
        presence = presence * np.where(segment.opened[segment.row("business_account"), block] > 0, 1, WITHOUT_ACCOUNT)
    clients, amounts, codes, others = [], [], [], []
    for code, (booking, counts) in enumerate(_counts(now, presence, rng)):
        who = np.repeat(np.arange(n, dtype=np.int32), counts)
        each = segment.basis(block) / 12 * (booking.share / (1 if booking.once else booking.a_month))
        if booking.sized:
            each = each / segment.activity[block]
        amount = each[who] * np.exp(np.float32(booking.spread) * rng.standard_normal(len(who), np.float32))
        clients.append(who)
        amounts.append(amount if booking.way == "in" else -amount)
        codes.append(np.full(len(who), code, np.int8))
        others.append(partners.of(booking, block)[who])
    for kind, amount in enumerate((statement.fees_booked, statement.repaid)):
        who = np.flatnonzero((amount > 0) & (span > 0)).astype(np.int32)
        clients.append(who)
        amounts.append(-amount[who])
        codes.append(np.full(len(who), len(recipes(segment)) - 2 + kind, np.int8))
        others.append(np.full(len(who), NOBODY, np.int32))
    client = np.concatenate(clients)
    day = from_day[client] + (rng.random(len(client), np.float32) * span[client]).astype(np.int32)
    day = np.minimum(day, to_day[client])  # a float32 just below 1 rounds up
    amount = np.round(np.concatenate(amounts).astype(np.float64), 2)
    return Rows(client + block.start, day, amount, np.concatenate(codes), np.concatenate(others))


def _counts(now: Conditions, presence: Array, rng: np.random.Generator) -> Iterator[tuple[Booking, Array]]:
    """Every sort of booking with how many of them each client has, in the order of `recipes`."""
    segment, block = now.segment, now.block
    attrition, drains = segment.behaviour.attrition, segment.drains(block)
    stays = np.where(drains, np.float32(attrition.inflow), np.float32(1))
    for booking in segment.behaviour.bookings:
        among, _ = now.all_of(booking.among)
        if booking.once:
            stopped = drains & (booking.way == "in")
            yield booking, (among & ~stopped & (presence > 0.5)).astype(np.int64)
            continue
        expected = booking.a_month * presence * among * (segment.activity[block] if booking.sized else 1)
        if booking.scale:
            expected = expected * segment.attributes[booking.scale][block]
        yield booking, rng.poisson(expected * stays if booking.way == "in" else expected)
    shows = traces(segment, block) & (presence > 0)
    for place, need in enumerate(segment.behaviour.needs.values()):
        for booking in need.bookings:
            strength = np.exp(TRACE_SPREAD * rng.standard_normal(len(presence), np.float32))
            expected = booking.a_month * strength * (segment.activity[block] if booking.sized else 1)
            yield booking, shows[place] * (1 + rng.poisson(expected))
    moves = drains & (presence > 0)
    for booking in attrition.bookings:
        some = rng.poisson(booking.a_month, len(moves)) if moves.any() else np.zeros(len(moves), np.int64)
        yield booking, moves * (1 + some)


class Partners:
    """Whom a client pays and is paid by: the employer, and one of its buyers and suppliers a month."""

    def __init__(self, bank: Bank, segment: Segment, month: Month, draws: Draws):
        n, firms = len(segment), bank.firms
        self.nobody = np.full(n, NOBODY, np.int32)
        self.found: dict[str, Array] = {}
        if segment is bank.retail:
            works_there = (bank.employer >= 0) & (bank.employed_since < month.first)
            self.found["employer"] = np.where(works_there, bank.employer + firms.first, NOBODY).astype(np.int32)
            return
        edges = bank.suppliers
        active = firms.active(month.first - 1) & firms.active(month.last)
        live = np.flatnonzero((edges.since < month.first) & active[edges.source] & active[edges.target])
        draws.of(Purpose.BOOKINGS, month.index, segment.place, 1_000_000).shuffle(live)
        for name, ours, theirs in (("buyer", edges.target, edges.source), ("supplier", edges.source, edges.target)):
            self.found[name] = self.nobody.copy()
            self.found[name][ours[live]] = theirs[live] + firms.first  # the last of the shuffled stays

    def of(self, booking: Booking, block: slice) -> Array:
        """The counterparty of each of the block's clients, as its number in the bank."""
        return (self.found[booking.counterparty] if booking.counterparty else self.nobody)[block]
