"""Clients who leave: their money moves away first, which the tables show, and then some of them go.

A drain starts in a month, shows in its bookings and balances, and acts from the month after, as needs do: who leaves in
a month could be seen to before. How likely a drain starts, and a client leaves with or without one, is in the behaviour
tables, in products of conditions: what is held, how long the client has been one, what was closed lately.
"""

from __future__ import annotations

import numpy as np

from sheaf.simulation.conditions import Conditions
from sheaf.simulation.openings import log_odds_of
from sheaf.simulation.state import IDLE, Array
from sheaf.simulation.timing import Draws, Purpose


def leaving_probabilities(now: Conditions) -> Array:
    """P(leaves in the month, opening nothing in it), of each of the block's clients; 0 for who is none."""
    log_odds = log_odds_of(now, now.segment.behaviour.attrition.leaves).astype(np.float64)
    served = now.segment.active(now.month.first - 1, now.block)
    return np.where(served, 1 / (1 + np.exp(-log_odds)), 0.0)


def start_drains(now: Conditions, number: int, draws: Draws) -> None:
    """Moves the block's drains on into the month: those that lasted long enough end, others start."""
    segment, block, attrition = now.segment, now.block, now.segment.behaviour.attrition
    rng = draws.of(Purpose.ATTRITION, now.month.index, segment.place, number)
    log_odds = log_odds_of(now, attrition.starts).astype(np.float64)
    starts = rng.random(len(log_odds)) < 1 / (1 + np.exp(-log_odds))
    age = segment.drain_age[block]
    ages = np.where(age == IDLE, IDLE, age + 1)
    over = ages >= len(attrition.strength)
    begins = (age == IDLE) & starts & segment.active(now.month.first - 1, block)
    segment.drain_age[block] = np.where(begins, 0, np.where(over, IDLE, ages))
