"""Who opens what in a month, and the probability it was drawn with: the known truth."""

from __future__ import annotations

import numpy as np

from sheaf.catalog import Catalog
from sheaf.simulation.behaviour import conditions
from sheaf.simulation.conditions import Conditions
from sheaf.simulation.state import Array, Bank, Segment
from sheaf.simulation.timing import Draws, Month, Purpose

PROFILE_WEIGHT = 0.5  # how far the profile's coefficients act on what is held at the start
STAFF_WITH_ACCOUNT = 0.65  # share of the staff of payroll agency users with a payroll account at the start
HISTORY_YEARS = 12  # holdings at the start are at most this old
NEWCOMERS_SHARE = 0.6  # of the usual holdings, on the day somebody joins
STATIC = frozenset({"age", "income", "children", "works", "employees", "turnover", "export_share", "institution"})
MAIN_ACCOUNTS = {"retail": ("current_account", "payroll_account"), "firms": ("business_account",)}


def opening_probabilities(now: Conditions, catalog: Catalog) -> Array:
    """P(opens in the month), product × client, NaN where the client may not have it, holds it or is no client.

    Independent of each other given the state: `1 / (1 + exp(-log_odds))`, log-odds as in the behaviour tables.
    """
    segment, block = now.segment, now.block
    held = segment.opened[:, block] > 0
    open_to = segment.eligible(catalog, block) & ~held & segment.active(now.month.first - 1, block)
    result = np.full(open_to.shape, np.nan)
    for row, product in enumerate(segment.products):
        log_odds = log_odds_of(now, segment.behaviour.products[product].opens)
        result[row] = np.where(open_to[row], 1 / (1 + np.exp(-log_odds.astype(np.float64))), np.nan)
    return result


def log_odds_of(now: Conditions, opens: dict[str, float]) -> Array:
    """The base, and the coefficients of the expressions that hold, each times the strengths in it."""
    total = np.full(now.block.stop - now.block.start, opens["base"], dtype=np.float32)
    for expression, coefficient in opens.items():
        if expression != "base":
            holds, strength = now.all_of(expression)
            total += np.float32(coefficient) * holds * strength
    return total


def open_products(segment: Segment, number: int, block: slice, probability: Array, month: Month, draws: Draws) -> Array:
    """Draws and books the openings of the month; returns who opened anything.

    All that a client opens in a month is opened on one day, from the second to the last: so the 31 days after the
    end of any month hold exactly the openings of the next.
    """
    rng = draws.of(Purpose.OPENINGS, month.index, segment.place, number)
    opens = rng.random(probability.shape) < np.nan_to_num(probability)
    day = month.first + rng.integers(1, month.days, probability.shape[1], dtype=np.int32)
    segment.opened[:, block] = np.where(opens, day, segment.opened[:, block])
    return np.any(opens, axis=0)


def start_holdings(bank: Bank, start: Month, catalog: Catalog, draws: Draws) -> None:
    """What is held when the bank is first seen (and, of those to join later, on the day they will)."""
    for segment in reversed(bank.segments):  # firms first: their staff follows
        for number, block in segment.blocks():
            _start_block(bank, segment, number, block, start, catalog, draws)


def _start_block(
    bank: Bank, segment: Segment, number: int, block: slice, start: Month, catalog: Catalog, draws: Draws
) -> None:
    rng = draws.of(Purpose.START, 0, segment.place, number)
    now, eligible = Conditions(segment, block, start), segment.eligible(catalog, block)
    joined = segment.joined[block]
    newcomer = joined >= start.first
    held = np.zeros(eligible.shape, dtype=bool)
    for row, product in enumerate(segment.products):
        behaviour = segment.behaviour.products[product]
        profile = {key: value for key, value in behaviour.opens.items() if key != "base" and _is_static(segment, key)}
        odds = np.log(behaviour.start / (1 - behaviour.start))
        odds = odds + PROFILE_WEIGHT * log_odds_of(now, {"base": 0.0, **profile})
        share = np.where(newcomer, NEWCOMERS_SHARE, 1.0) / (1 + np.exp(-odds))
        held[row] = eligible[row] & (rng.random(len(joined)) < share)
    if segment is bank.retail and len(bank.firms):
        employer, account = bank.employer[block], segment.row("payroll_account")
        signed = (employer >= 0) & (bank.firms.opened[bank.firms.row("payroll_agency")][employer] > 0)
        held[account] |= signed & ~newcomer & (rng.random(len(joined)) < STAFF_WITH_ACCOUNT) & eligible[account]
    # A retail client has an account, a firm at least one product.
    accounts = [segment.row(product) for product in MAIN_ACCOUNTS[segment.name]]
    served = held[accounts].any(axis=0) if segment is bank.retail else held.any(axis=0)
    held[accounts[0]] |= ~served & eligible[accounts[0]]
    earliest = np.maximum(joined, start.first - int(HISTORY_YEARS * 365))
    age = rng.random(held.shape) ** 1.5 * (start.first - 1 - earliest)
    segment.opened[:, block] = np.where(held, np.where(newcomer, joined, earliest + age.astype(np.int32)), 0)


def _is_static(segment: Segment, expression: str) -> bool:
    """Whether the expression speaks of nothing but attributes that are there before any holdings are."""
    for name, _ in conditions(expression):
        prefix, dot, _ = name.partition(".")
        if not (prefix in ("rating", "sector") if dot else segment.behaviour.bands[name][0] in STATIC):
            return False
    return True
