"""What changes about clients within a month: birthdays, accounts of firms, jobs, products closed, clients who leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaf.simulation.needs import advance_needs
from sheaf.simulation.population import hire
from sheaf.simulation.state import MARITAL, NOBODY, RATINGS, Array, Bank, Segment
from sheaf.simulation.timing import Draws, Month, Purpose

LEAVES_A_YEAR = 0.035  # share of clients
LEAVES_LESS_A_PRODUCT = 0.85  # factor on leaving for every product held
RAISE, RAISE_SPREAD = 1.02, 0.03  # yearly factor on incomes, standard deviation of its logarithm
DRIFT_SPREAD = 0.03  # standard deviation of a quarter's logarithmic change of a firm's turnover
REGRADES_A_YEAR, MARRIES_A_YEAR, PARTS_A_YEAR = 0.12, 0.05, 0.015  # shares of clients
STAYS_WITH_EMPLOYER = 0.2  # share of those with a new job whose employer is the same
RETIREMENT_AGE = 65


@dataclass
class Closed:
    """Holdings that ended: places in the segment, product rows, days opened and closed."""

    client: Array
    product: Array
    opened: Array
    closed: Array


def end_holdings(
    segment: Segment,
    number: int,
    block: slice,
    opened_something: Array,
    month: Month,
    draws: Draws,
    leaving: Array | None = None,
) -> Closed:
    """Draws who leaves and what else is closed, and takes it off the books. Who opened something this month stays.

    `leaving` is the chance to leave of those who do not open anything; nobody closes everything without leaving then.
    """
    rng = draws.of(Purpose.ENDINGS, month.index, segment.place, number)
    held_before = (segment.opened[:, block] > 0) & (segment.opened[:, block] < month.first)
    served = segment.active(month.first - 1, block)
    held_before &= served
    chance = LEAVES_A_YEAR / 12 * 2 * LEAVES_LESS_A_PRODUCT ** held_before.sum(axis=0) if leaving is None else leaving
    leaves = served & ~opened_something & (rng.random(len(served)) < chance)
    day = month.first + rng.integers(1, month.days, held_before.shape, dtype=np.int32)
    left = month.first + rng.integers(1, month.days, len(served), dtype=np.int32)
    rates = np.array([segment.behaviour.products[product].closes for product in segment.products])[:, None]
    closes = held_before & (rng.random(held_before.shape, np.float32) < rates / 12)
    _keep_an_account(segment, block, closes)
    if leaving is not None:
        closes &= ~(closes == (segment.opened[:, block] > 0)).all(axis=0)
    closes = np.where(leaves, held_before, closes)
    day = np.where(leaves, left, day)
    segment.left[block] = np.where(leaves, left, 0) + segment.left[block] * ~leaves
    product, client = np.nonzero(closes)
    ended = Closed(client + block.start, product, segment.opened[product, client + block.start], day[product, client])
    segment.before[:, block] |= closes
    segment.closed[block] = np.where(closes.any(axis=0), np.where(closes, day, 0).max(axis=0), segment.closed[block])
    segment.opened[:, block] *= ~closes
    segment.balance[:, block] *= ~closes
    return ended


def _keep_an_account(segment: Segment, block: slice, closes: Array) -> None:
    accounts = [segment.row(name) for name in ("current_account", "payroll_account") if name in segment.products]
    kept = (segment.opened[accounts, block] > 0) & ~closes[accounts]
    for row in accounts:
        closes[row] &= kept.any(axis=0)


def change(bank: Bank, segment: Segment, number: int, block: slice, month: Month, draws: Draws) -> tuple[Array, Array]:
    """Moves attributes and needs on; returns whose attributes changed (places in the segment) and on which days."""
    rng = draws.of(Purpose.CHANGES, month.index, segment.place, number)
    starts = advance_needs(segment, number, block, month, draws)
    attributes = {name: values[block] for name, values in segment.attributes.items()}
    n = block.stop - block.start
    changed = _needs_change(segment, attributes, starts)
    turn = (np.arange(block.start, block.stop) * 7 + month.number) % (12 if segment is bank.retail else 3) == 0
    if segment is bank.retail:
        attributes["age"] += turn.astype(np.int16)
        raised = RAISE * np.exp(RAISE_SPREAD * rng.standard_normal(n))
        attributes["income"][turn] = np.round(attributes["income"] * raised, -2)[turn]
        segment.works[block] &= attributes["age"] < RETIREMENT_AGE
        _marital(attributes["marital_status"], rng)
    else:
        drifted = np.round(attributes["turnover"] * np.exp(DRIFT_SPREAD * rng.standard_normal(n)), -3)
        attributes["turnover"][turn] = np.maximum(drifted, 1000)[turn]
    regraded = rng.random(n) < REGRADES_A_YEAR / 12
    step = rng.choice([-1, 1], n)
    attributes["rating"][regraded] = np.clip(attributes["rating"] + step, 0, len(RATINGS) - 1)[regraded]
    changed |= turn | regraded
    day = month.first + rng.integers(1, month.days, n, dtype=np.int32)
    known = segment.active(month.first - 1, block) & (segment.left[block] == 0)
    places = np.flatnonzero(changed & known)
    return places + block.start, day[places]


def _needs_change(segment: Segment, attributes: dict[str, Array], starts: Array) -> Array:
    changed = np.zeros(starts.shape[1], dtype=bool)
    for place, need in enumerate(segment.behaviour.needs.values()):
        who = starts[place]
        for name, step in need.adds.items():
            values = attributes[name]
            most = 1.0 if name == "export_share" else np.inf
            values[who] = np.minimum(np.round(values[who] + step, 2), most).astype(values.dtype)
            changed |= who
        for name, factor in need.grows.items():
            values = attributes[name]
            grown = values[who] * factor
            values[who] = np.ceil(grown) if values.dtype.kind == "i" else np.round(grown, -2)
            changed |= who
    return changed


def _marital(status: Array, rng: np.random.Generator) -> None:
    chance = rng.random(len(status))
    single, married, divorced = (MARITAL.index(name) for name in ("single", "married", "divorced"))
    marries = ((status == single) | (status == divorced)) & (chance < MARRIES_A_YEAR / 12)
    parts = (status == married) & (chance < PARTS_A_YEAR / 12)
    status[marries], status[parts] = married, divorced


@dataclass
class Employment:
    """Jobs that ended: the people, their former employers, since when, until when."""

    person: Array
    employer: Array
    since: Array
    until: Array


def change_jobs(bank: Bank, month: Month, draws: Draws) -> Employment:
    """New employers for those whose job need starts in `month`; jobs end with whoever left or retired."""
    rng = draws.of(Purpose.LINKS, month.index)
    retail, firms = bank.retail, bank.firms
    moves = (retail.need_age[list(retail.behaviour.needs).index("job")] == 0) & retail.works
    moves &= (rng.random(len(retail)) >= STAYS_WITH_EMPLOYER) & retail.active(month.last)
    moves &= bank.employed_since < month.first
    has = bank.employer >= 0
    gone = has & (retail.left > 0)
    if len(firms):
        gone |= has & (firms.left[bank.employer] > 0)
    gone |= has & ~retail.works
    ends = (moves & has) | gone
    day = month.first + rng.integers(1, month.days, len(retail), dtype=np.int32)
    until = day
    for left in (firms.left[bank.employer] if len(firms) else retail.left, retail.left):
        until = np.where(has & (left > 0), left, until)
    person = np.flatnonzero(ends & (bank.employed_since <= until))
    former = Employment(person, bank.employer[person], bank.employed_since[person], until[person])
    bank.employer[ends] = NOBODY
    movers = np.flatnonzero(moves)
    bank.employer[movers] = hire(firms, firms.active(month.first - 1) & (firms.left == 0), len(movers), rng)
    bank.employed_since[movers] = day[movers]
    return former
