"""Latent needs: they come, last for some months, change who the client is, and go."""

from __future__ import annotations

import numpy as np

from sheaf.simulation.conditions import Conditions
from sheaf.simulation.state import IDLE, Array, Segment
from sheaf.simulation.timing import Draws, Month, Purpose

SILENT_SHARE = 0.015  # needs that leave no trace in bookings and balances


def advance_needs(segment: Segment, number: int, block: slice, month: Month, draws: Draws) -> Array:
    """Moves the block's needs on into `month`; returns which start in it (need × client)."""
    rng = draws.of(Purpose.NEEDS, month.index, segment.place, number)
    now = Conditions(segment, block, month)
    months = np.array([len(need.strength) for need in segment.behaviour.needs.values()], dtype=np.int8)[:, None]
    age = segment.need_age[:, block]
    age = np.where(age >= 0, age + 1, IDLE)
    age = np.where(age >= months, IDLE, age).astype(np.int8)
    chance = rng.random(age.shape, np.float32)
    silent = rng.random(age.shape, np.float32) < SILENT_SHARE
    starts = np.zeros(age.shape, dtype=bool)
    for place, need in enumerate(segment.behaviour.needs.values()):
        among, _ = now.all_of(need.among)
        rate = need.a_year / 12 * need.times.get(month.number, 1.0)
        starts[place] = (age[place] == IDLE) & among & (chance[place] < rate)
    segment.need_age[:, block] = np.where(starts, 0, age)
    segment.silent[:, block] = np.where(starts, silent, segment.silent[:, block])
    return starts


def traces(segment: Segment, block: slice) -> Array:
    """Which needs leave traces in the block's bookings this month (need × client)."""
    months = np.array([need.shows for need in segment.behaviour.needs.values()], dtype=np.int8)[:, None]
    return lasting(segment, block) & (segment.need_age[:, block] < months)


def lasting(segment: Segment, block: slice) -> Array:
    """Which needs that are not silent last this month (need × client)."""
    return (segment.need_age[:, block] != IDLE) & ~segment.silent[:, block]
