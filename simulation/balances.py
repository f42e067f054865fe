"""Month-end balances, rates, fees and limits of what is held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaf.simulation.needs import lasting
from sheaf.simulation.state import Array, Segment
from sheaf.simulation.timing import DAYS_A_MONTH, Draws, Month, Purpose

WOBBLE = 0.12  # standard deviation of a balance's logarithm around its aim, month by month
RATING_STEP = 0.004  # a year, added to a credit rate for every grade below B
SMALLEST_TIMES = 0.02  # balances stay above this share of their aim


@dataclass
class Statement:
    """The month's positions of a block, one entry a product held, and what the client was booked for them.

    `balance`, `rate` and `limit` are NaN where the product has none; `fees` and `repaid` are per client, a month.
    """

    client: Array
    product: Array
    balance: Array
    rate: Array
    fees: Array
    limit: Array
    fees_booked: Array
    repaid: Array


def settle(segment: Segment, number: int, block: slice, month: Month, draws: Draws) -> Statement:
    """Moves the block's balances on to the end of `month` and states them."""
    rng = draws.of(Purpose.MONEY, month.index, segment.place, number)
    n = block.stop - block.start
    held = (segment.opened[:, block] > 0) & (segment.opened[:, block] <= month.last) & segment.active(month.last, block)
    basis = segment.basis(block)
    liquid = _liquid_factor(segment, block)
    drains, attrition = segment.drains(block), segment.behaviour.attrition
    fees_booked, repaid = np.zeros(n, np.float32), np.zeros(n, np.float32)
    parts = []
    for row, product_id in enumerate(segment.products):
        money = segment.behaviour.products[product_id].money
        clients = np.flatnonzero(held[row])
        m = len(clients)
        nothing = np.full(m, np.nan, np.float32)
        balance, rate, limit = nothing, nothing, nothing
        if money.times:
            at = clients + block.start
            before = segment.balance[row, at]
            aim = basis[clients] * np.float32(money.times)
            if not money.term:
                aim = aim * segment.thrift[at] * (liquid[clients] if money.liquid else 1)
            noise = rng.standard_normal(m, np.float32)
            fresh = aim * np.exp(np.float32(money.spread) * noise)
            if money.term:
                keeps = np.float32(1 - 1 / money.term)
                fresh = fresh * keeps ** ((month.last - segment.opened[row, at]) / DAYS_A_MONTH)
                later = before * keeps
                repaid[clients] += np.where(before > 0, before - later, 0)
            else:
                pull = np.full(m, money.pull, np.float32)
                if money.liquid and money.pull:  # what has a fixed term stays until it ends
                    pull[drains[clients]] = max(attrition.pull, money.pull)
                later = before + pull * (aim * np.exp(np.float32(WOBBLE) * noise) - before)
            balance = np.where(before > 0, later, np.maximum(fresh, aim * np.float32(SMALLEST_TIMES)))
            segment.balance[row, at] = balance
            if money.rate is not None:
                credit = money.term or money.limit
                grade = segment.attributes["rating"][at].astype(np.float32) - 1
                rate = np.float32(money.rate) + (np.float32(RATING_STEP) * grade if credit else np.zeros(m, np.float32))
            if money.limit is not None:
                limit = np.round(basis[clients] * np.float32(money.limit), -2)
        fees = np.full(m, money.fee, np.float32)
        fees_booked[clients] += fees
        parts.append((clients + block.start, np.full(m, row, np.int8), balance, rate, fees, limit))
    client, product, balance, rate, fees, limit = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Statement(client, product, balance, rate, fees, limit, fees_booked, repaid)


def _liquid_factor(segment: Segment, block: slice) -> Array:
    """What the needs that are not silent, and a drain, do to the deposits aimed at."""
    drained = np.where(segment.drains(block), np.float32(segment.behaviour.attrition.liquid), np.float32(1))
    factors = np.array([need.liquid for need in segment.behaviour.needs.values()], dtype=np.float32)[:, None]
    return np.prod(np.where(lasting(segment, block), factors, np.float32(1)), axis=0) * drained
