"""The simulation itself: month by month, block by block, from the state before a month to the tables after it.

In each month clients first open products, by the state before it (this is the truth), then some close or leave, needs
start and end, attributes change, and at last balances and bookings follow from all of it. A need acts from the month
after it started, while its trace is in the bookings of the month it started in: the tables show before the day most
of what moves the client after it. Needs, bands and links meet in products of conditions, so that no product has the
same drivers for everyone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sheaf.catalog import DEFAULT, Catalog, read_catalog
from sheaf.simulation.attrition import leaving_probabilities, start_drains
from sheaf.simulation.balances import settle
from sheaf.simulation.bookings import Partners, book
from sheaf.simulation.changes import change, change_jobs, end_holdings
from sheaf.simulation.conditions import Conditions, link_signals
from sheaf.simulation.needs import advance_needs
from sheaf.simulation.offers import Offering
from sheaf.simulation.openings import open_products, opening_probabilities, start_holdings
from sheaf.simulation.population import populate
from sheaf.simulation.records import Records
from sheaf.simulation.state import Bank
from sheaf.simulation.tables import SimulationError, replacing
from sheaf.simulation.timing import Draws, Month, calendar

TRUTH_MONTHS = 2  # the last ones, whose probabilities are written
WARM_UP_MONTHS = 8  # before the first: until needs, what they made clients open, and balances have found their level
MOST_CLIENTS = 9_999_999  # what ids have digits for


def simulate(
    folder: Path | str,
    clients: int,
    months: int = 24,
    seed: int = 0,
    *,
    offers: bool = False,
    attrition: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes the tables of a simulated bank to a folder, and the truth about it.

    The tables are clients, holdings, positions, transactions and links, as the contract says, with the products of the
    default catalog. The truth is what every claim is measured against.

    Parameters
    ----------
    folder
        A new folder.
    clients
        How many clients the bank has had by the end of 2025, at most.
    months
        How many months the tables cover, until December 2025.
    seed
        The same arguments give the same bytes.
    offers
        The bank also makes offers at prices, in table `offers`. What is accepted is opened beside what is opened
        anyway. `truth/offer_response.parquet` then holds `utility` and `slope` of every offer that might be made in
        December: it is accepted with probability 1 / (1 + exp(-(utility + slope·concession))).
    attrition
        Clients leave for reasons that the tables show before. `truth/leaving_probability.parquet` then holds the
        probability that an active client leaves in the 31 days after the ends of October and November 2025.
    overwrite
        Replace a bank that is already there.
    progress
        Called after every month with the months done and all months.

    Returns
    -------
    None
        `truth/opening_probability.parquet` holds as_of, client_id, product_id and the probability that the product is
        opened within 31 days without an offer, for every eligible product not held, at the ends of October and
        November.

    Raises
    ------
    SimulationError
        Where the arguments make no bank, or `folder` already holds tables. Nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp() + "/bank"
    >>> sheaf.simulate(folder, clients=50, months=3)
    >>> "clients" in sheaf.Bank.open(folder)
    True
    """
    if not 1 <= clients <= MOST_CLIENTS:
        raise SimulationError(f"{clients} clients make no bank; give a number from 1 to {MOST_CLIENTS}")
    if not 1 <= months <= 240:
        raise SimulationError(f"{months} months cannot be simulated; give a number from 1 to 240")
    if seed < 0:
        raise SimulationError(f"seed {seed} is negative; give 0 or more")
    catalog, draws = read_catalog(DEFAULT), Draws(seed)
    every = calendar(months, WARM_UP_MONTHS)
    earlier, span = every[:WARM_UP_MONTHS], every[WARM_UP_MONTHS:]
    with replacing(Path(folder), overwrite) as draft:
        bank = populate(clients, span, catalog, draws)
        start_holdings(bank, every[0], catalog, draws)
        for month in earlier:
            _warm_up(bank, month, catalog, draws)
        offering = Offering(catalog) if offers else None
        with Records(draft, bank, catalog.currency, offering, attrition) as records:
            for segment in bank.segments:
                for _, block in segment.blocks():
                    there = np.flatnonzero(segment.joined[block] < span[0].first) + block.start
                    records.clients(segment, there, np.full(len(there), span[0].first - 1))
            for month in span:
                left = months - month.index
                _simulate_month(bank, month, left, catalog, records, draws, offering, attrition)
                if progress:
                    progress(month.index + 1, months)
            records.links(span[-1].last)
            for segment in bank.segments:
                for _, block in segment.blocks():
                    records.still_open(segment, block)


def _warm_up(bank: Bank, month: Month, catalog: Catalog, draws: Draws) -> None:
    links = [link_signals(bank, segment, month) for segment in bank.segments]
    for segment, signals in zip(bank.segments, links, strict=True):
        for number, block in segment.blocks():
            probability = opening_probabilities(Conditions(segment, block, month, signals), catalog)
            open_products(segment, number, block, probability, month, draws)
            advance_needs(segment, number, block, month, draws)
            settle(segment, number, block, month, draws)


def _simulate_month(
    bank: Bank, month: Month, left: int, catalog: Catalog, records: Records, draws: Draws, offering: Offering | None,
    attrition: bool,
) -> None:  # fmt: skip
    # Links are read before anything is opened in the month, so that what one client does moves others from the next on.
    links = [link_signals(bank, segment, month) for segment in bank.segments]
    for segment, signals in zip(bank.segments, links, strict=True):
        for number, block in segment.blocks():
            now = Conditions(segment, block, month, signals)
            probability = opening_probabilities(now, catalog)
            leaving = leaving_probabilities(now) if attrition else None
            if attrition:
                start_drains(now, number, draws)
            if left <= TRUTH_MONTHS:
                records.truth(segment, block, month.first - 1, probability)
                if leaving is not None:  # who opens something stays
                    stays = np.prod(1 - np.nan_to_num(probability), axis=0)
                    records.leaving(segment, block, month.first - 1, leaving * stays)
            answers = offering.response(segment, block, probability) if offering else None
            opened = open_products(segment, number, block, probability, month, draws)
            if offering and answers:
                if left == 1:
                    records.response(segment, block, month.first - 1, answers)
                made = offering.make(segment, number, block, answers, month, draws)
                opened |= offering.open_accepted(segment, block, made, month)
                records.offers(segment, block, made, month)
            records.closed(segment, end_holdings(segment, number, block, opened, month, draws, leaving))
            changed, on = change(bank, segment, number, block, month, draws)
            joined, gone = (
                np.flatnonzero((day[block] >= month.first) & (day[block] <= month.last)) + block.start
                for day in (segment.joined, segment.left)
            )
            told = np.concatenate([changed, joined, gone])
            records.clients(segment, told, np.concatenate([on, segment.joined[joined], segment.left[gone]]))
    records.former_jobs(change_jobs(bank, month, draws))
    positions, transactions = records.month(month)
    with positions, transactions:
        for segment in bank.segments:
            partners = Partners(bank, segment, month, draws)
            for number, block in segment.blocks():
                stated = settle(segment, number, block, month, draws)
                records.positions(positions, segment, block, month, stated)
                rows = book(bank, segment, number, block, month, stated, partners, draws)
                records.transactions(transactions, segment, block, rows)
