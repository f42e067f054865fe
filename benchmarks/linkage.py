"""What a firm's package offered together with its staff's brings, beside the same offers made separately, in truth.

A simulated bank makes offers over two years; it is handed over as known on 2025-11-30, the champion is trained on it
and the price response learned from it. Every firm that may be offered the firm's bundle (by default one with payroll)
and has staff among the bank's clients is offered it in December, and each of its staff who may have it the staff's
bundle, once. Who is offered what is the same in every way; what differs is when, and by which price:

- separately: all in December, each at the price that is best for it alone;
- together: the firm in December, at the price that counts its staff (`sheaf.strategy.plans.packages`), the staff in
  January, at the price that is best after the firm's answer. Where sheaf finds that the firm's acceptance makes its
  staff less willing, there is no package, and the offers are made separately here too.

What it brings is by the truth, not by the model: the bank's state of 2025-11-30 is simulated once more (its
probabilities have to be those in the bank's folder, or nothing is measured), and the simulation's own functions say how
everybody opens products and answers offers, once as it stands and once with every such firm having signed. That the
link acts for three months, and that staff open accounts by themselves once their employer has signed, is in both ways:
products that are opened without an offer within these three months count at list price, and every product for a year,
whenever it was opened. Needs and holdings otherwise stay as they are in December. Beside it: accepted offers alone, the
list price for all, and prices that know the truth.

Ratios are of sums over firms, their 95 % intervals by bootstrap over firms, in pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import typer
from rich.table import Table
from scipy.special import expit

from benchmarks.figures import Figure
from benchmarks.measure import bootstrap, console, report, simulated
from benchmarks.simulated import RANKED, month_end
from sheaf.catalog import DEFAULT, Catalog, read_catalog
from sheaf.features import Bank, ProfileMatrix, day_number, profile_matrices
from sheaf.pricing import Clients, Pricer
from sheaf.pricing.acceptance import closed_form
from sheaf.simulation.balances import settle
from sheaf.simulation.bank import WARM_UP_MONTHS
from sheaf.simulation.changes import change, change_jobs, end_holdings
from sheaf.simulation.conditions import RECENT_MONTHS, Conditions, link_signals
from sheaf.simulation.needs import advance_needs
from sheaf.simulation.offers import Offering
from sheaf.simulation.openings import open_products, opening_probabilities, start_holdings
from sheaf.simulation.population import populate
from sheaf.simulation.state import NOBODY, Segment
from sheaf.simulation.state import Bank as State
from sheaf.simulation.timing import Draws, Month, calendar
from sheaf.strategy.plans.packages import Packager
from sheaf.training import Parameters, fit, read_sample
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.learning import choose_price_response
from sheaf.training.price_response.offer_history import read_offer_history

ANYBODY = "head_office"
SIGNED = "payroll_agency"  # what the staff's employer has to open for the link to act


@dataclass(frozen=True)
class Truth:
    """Of clients (places in a segment) and one bundle: what the truth says of an offer and of openings without one.

    `possible`, `utility`, `slope` (clients,) as in `sheaf.simulation.offers.Response`; `opens` (clients, products of
    the bundle) is the chance of opening each in a month by itself, 0 where held or not to be had.
    """

    possible: np.ndarray
    list_price: np.ndarray
    utility: np.ndarray
    slope: np.ndarray
    opens: np.ndarray

    def accepts(self, s: np.ndarray) -> np.ndarray:
        q: np.ndarray = expit(self.utility + self.slope * s)
        return np.where(self.possible, q, 0.0)


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=2_000)] = 12_000,
    months: Annotated[int, typer.Option(help="Month-ends the champion learns from.", min=1, max=12)] = 4,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 3,
    firm: Annotated[str, typer.Option(help="The firms' bundle.")] = "payroll_package",
    staff: Annotated[str, typer.Option(help="The staff's bundle.")] = "salary_package",
    assumed: Annotated[
        bool, typer.Option("--assumed", help="Prices by the policy's assumption; nothing is learned of offers.")
    ] = False,
) -> None:
    """EVA of packages, the firm first and its staff by its answer, as a multiple of the same offers made separately."""
    folder = simulated(clients, 24, seed, offers=True)
    bank, sold = Bank.open(folder), read_catalog(DEFAULT)
    with console.status("Simulating once more") as status:
        state, month = replay(clients, 24, seed, sold)
        checked(folder, state, month, sold)
        status.update("Training")
        chosen = Parameters()
        known = bank.known_on(RANKED)
        sample = read_sample(known, sold, [month_end(10 - back) for back in range(months)])
        model, _ = fit(sample, sold, chosen, {"horizon_days": sample.horizon_days})
        learned = None
        if not assumed:
            learned = PriceResponse(
                choose_price_response(
                    read_offer_history(bank, sold, RANKED, chosen, status.update), sold, True, {}
                ).response,
                {},
            )
        packager = Packager(model, sold, ANYBODY, learned)
        status.update("Packages")
        measured = Measured.of(state, month, sold, known, packager, firm, staff)
    console.print(f"price response {packager.valuer.pricer.answer.told}.", highlight=False)
    data = f"Simulated bank of {clients:,} clients, seed {seed}, {months} month-ends"
    report(f"Packages of {firm} and {staff}", data, measured.figures())


def replay(clients: int, months: int, seed: int, sold: Catalog) -> tuple[State, Month]:
    """The state of the simulated bank with offers before its last month, and that month: as `simulation.simulate` makes
    it, without the tables."""
    draws, every = Draws(seed), calendar(months, WARM_UP_MONTHS)
    span, offering = every[WARM_UP_MONTHS:], Offering(sold)
    bank = populate(clients, span, sold, draws)
    start_holdings(bank, every[0], sold, draws)
    for month in every[:-1]:
        warm_up = month.index < 0
        links = [link_signals(bank, segment, month) for segment in bank.segments]
        for segment, signals in zip(bank.segments, links, strict=True):
            for number, block in segment.blocks():
                probability = opening_probabilities(Conditions(segment, block, month, signals), sold)
                answers = None if warm_up else offering.response(segment, block, probability)
                opened = open_products(segment, number, block, probability, month, draws)
                if answers is None:
                    advance_needs(segment, number, block, month, draws)
                    settle(segment, number, block, month, draws)
                    continue
                made = offering.make(segment, number, block, answers, month, draws)
                opened |= offering.open_accepted(segment, block, made, month)
                end_holdings(segment, number, block, opened, month, draws)
                change(bank, segment, number, block, month, draws)
        if warm_up:
            continue
        change_jobs(bank, month, draws)
        for segment in bank.segments:
            for number, block in segment.blocks():
                settle(segment, number, block, month, draws)
    return bank, every[-1]


def checked(folder: Path, state: State, month: Month, sold: Catalog) -> None:
    """That the state is the bank's. Raises RuntimeError where one of its probabilities is another."""
    assert month.first - 1 == day_number(RANKED)
    told = duckdb.read_parquet(str(folder / "truth" / "opening_probability.parquet"))
    [[rows, summed]] = told.filter(f"as_of = date '{RANKED}'").aggregate("count(*), sum(probability)").fetchall()
    chances = []
    for segment in state.segments:
        signals = link_signals(state, segment, month)
        for _, block in segment.blocks():
            found = opening_probabilities(Conditions(segment, block, month, signals), sold)
            chances.append(found[~np.isnan(found)])
    ours = np.concatenate(chances)
    if rows != len(ours) or not np.isclose(summed, ours.sum(), rtol=1e-9):
        raise RuntimeError(
            f"the state simulated once more is not that of {folder}: {len(ours):,} probabilities add up to "
            f"{ours.sum():.6f}, and {rows:,} there to {summed:.6f}"
        )


def truth(segment: Segment, month: Month, signals: dict[str, np.ndarray], sold: Catalog, bundle: str) -> Truth:
    """What the truth says of a bundle for every client of a segment, whose linked clients did what `signals` say."""
    at = [offer.bundle_id for offer in sold.offers].index(bundle)
    rows = [segment.row(product) for product in sold.offers[at].products]
    parts, offering = [], Offering(sold)
    for _, block in segment.blocks():
        opens = opening_probabilities(Conditions(segment, block, month, signals), sold)
        of = offering.response(segment, block, opens)
        parts.append(
            Truth(of.possible[at], of.list_price[at], of.utility[at], of.slope[at], np.nan_to_num(opens[rows].T))
        )
    return Truth(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in vars(parts[0])})


@dataclass(frozen=True)
class Side:
    """Firms or staff: what acceptance at list price brings, with what it changes in products held; what each of the
    bundle's products brings (clients, products), 0 where held; the largest concession; and 1 - tax."""

    value: np.ndarray
    of_product: np.ndarray
    most: np.ndarray
    keep: float

    def best(self, truth: Truth, gain: np.ndarray | float = 0.0) -> np.ndarray:
        """The concession that is best by the truth, where acceptance adds `gain` elsewhere."""
        best = closed_form(truth.utility, truth.slope, self.value + gain, self.keep)
        return np.clip(best, 0.0, np.maximum(self.most, 0.0))


@dataclass(frozen=True)
class Measured:
    """EVA by firm (firms,) of every way, in truth."""

    separately: dict[str, np.ndarray]
    together: dict[str, np.ndarray]
    staff: int
    packages: int

    @classmethod
    def of(
        cls, state: State, month: Month, sold: Catalog, known: Bank, packager: Packager, firm: str, staff: str
    ) -> Measured:  # fmt: skip
        firms, people = state.firms, state.retail
        signals = link_signals(state, people, month)
        of_firms = truth(firms, month, link_signals(state, firms, month), sold, firm)
        before = truth(people, month, signals, sold, staff)
        rows = [firms.row(product) for product in sold.offers[packager.places[firm]].products]
        candidate = of_firms.possible & (firms.opened[firms.row(SIGNED)] == 0)
        opened = firms.opened.copy()
        firms.opened[np.ix_(rows, candidate)] = np.where(opened[np.ix_(rows, candidate)] > 0,
                                                         opened[np.ix_(rows, candidate)], month.first - 1)  # fmt: skip
        signed = link_signals(state, people, month)
        firms.opened[:] = opened
        ties = {name: link.tie for name, link in people.behaviour.links.items()}
        # an owner's firm that signs moves the owner too; that is no part of a package for staff
        after_signals = {name: signed[name] if ties[name] == "employer" else signals[name] for name in signals}
        after = truth(people, month, after_signals, sold, staff)
        employer = np.where(state.employed_since < month.first, state.employer, NOBODY)
        member = np.flatnonzero((employer != NOBODY) & candidate[employer] & before.possible)
        taking = np.unique(employer[member])
        ids = {segment.name: np.array([f"C{number:07d}" for number in state.number[segment.first :][: len(segment)]])
               for segment in state.segments}  # fmt: skip
        profiles = packager.model.align(ProfileMatrix.join(list(profile_matrices(known, sold, RANKED))))
        place = {name: at for at, name in enumerate(profiles.client_ids)}
        theirs = profiles.values[[place[name] for name in ids["retail"][member]]]
        of_taking = profiles.values[[place[name] for name in ids["firms"][taking]]]
        at = np.searchsorted(taking, employer[member])  # whose staff each is
        return cls.measured(
            packager, firm, staff, of_taking, theirs, at,
            (_at(of_firms, taking), _at(before, member), _at(after, member)),
        )  # fmt: skip

    @classmethod
    def measured(
        cls, packager: Packager, firm: str, staff: str, firms: np.ndarray, people: np.ndarray, at: np.ndarray,
        truths: tuple[Truth, Truth, Truth],
    ) -> Measured:  # fmt: skip
        of_firm, before, after = truths
        count = len(firms)
        once, again = _side(packager, firm, firms), _side(packager, staff, people)

        def by_firm(values: np.ndarray) -> np.ndarray:
            return np.bincount(at, values, count)

        # sheaf's prices, which know nothing of the truth
        told = packager.offered(people, [staff] * len(people))
        signed = np.zeros_like(people)
        for number in range(count):
            mine = at == number
            products = packager.brings(firms[number : number + 1], firm)
            signed[mine] = packager.after(people[mine], ["staff"] * int(mine.sum()), products)
        later = packager.offered(signed, [staff] * len(people))
        gain = by_firm(later.value - told.value)
        alone = packager.offered(firms, [firm] * count)
        joint = packager.offered(firms, [firm] * count, gain=gain)
        package = gain > 0
        ways = {
            "sheaf's prices": (alone.concession, joint.concession, told.concession, later.concession, package),
            "list price": (*[np.zeros(count)] * 2, *[np.zeros(len(at))] * 2, np.ones(count, dtype=bool)),
        }
        q0, q1 = again.best(before), again.best(after)
        more = by_firm(after.accepts(q1) * (again.value - again.keep * q1)
                       - before.accepts(q0) * (again.value - again.keep * q0))  # fmt: skip
        ways["true prices"] = (once.best(of_firm), once.best(of_firm, more), q0, q1, more > 0)
        separately, together = {}, {}
        signing = packager.candidates.offers[packager.places[firm]].products.index(SIGNED)
        for name, (s_alone, s_joint, s_before, s_after, packed) in ways.items():
            for anyway in (True, False):
                own, signs = _firms(once, of_firm, signing, s_alone, anyway)
                apart = own + by_firm(_separately(again, before, after, s_before, signs[at], anyway))
                own, signs = _firms(once, of_firm, signing, s_joint, anyway)
                along = own + by_firm(_together(again, before, after, s_before, s_after, signs[at], anyway))
                key = name if anyway else f"{name}, accepted offers alone"
                separately[key], together[key] = apart, np.where(packed, along, apart)
        return cls(separately, together, len(at), int(package.sum()))

    def figures(self) -> list[Figure]:
        table = Table(title=f"{len(next(iter(self.together.values()))):,} firms with {self.staff:,} staff; sheaf makes "
                            f"packages of {self.packages:,}")  # fmt: skip
        for name in ("", "separately", "together", "more, a firm"):
            table.add_column(name, justify="left" if not name else "right")
        found = []
        for name, along in self.together.items():
            apart = self.separately[name]
            ratio, more = _intervals(along, apart)
            table.add_row(name, f"{apart.sum():,.0f}", f"{along.sum():,.0f}",
                          f"{(along - apart).mean():,.2f} ({more[0]:,.2f} to {more[1]:,.2f})")  # fmt: skip
            target = 1.0 if name == "sheaf's prices" else None
            found.append(Figure(name, f"together {along.sum():,.0f}", f"separately {apart.sum():,.0f}",
                                float(along.sum() / apart.sum()), target, False, ratio))  # fmt: skip
        console.print(table)
        return found


def _intervals(along: np.ndarray, apart: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of the ratio of sums, and of the mean difference."""
    ratio = bootstrap(lambda drawn: along[drawn].sum() / apart[drawn].sum(), len(along))
    return ratio, bootstrap(lambda drawn: (along - apart)[drawn].mean(), len(along))


def _at(of: Truth, places: np.ndarray) -> Truth:
    return Truth(**{name: values[places] for name, values in vars(of).items()})


def _side(packager: Packager, bundle: str, values: np.ndarray) -> Side:
    """What the bundle brings to the clients, by the catalog's prices."""
    candidates, pricer = packager.candidates, Pricer(packager.valuer.book, tuple(packager.candidates.offers))
    held, cell = candidates.held(values), packager.valuer.cells(values)
    each, item = np.arange(len(values)), np.full(len(values), packager.places[bundle])
    prices = pricer.price(Clients(cell, held), each, item, ANYBODY)
    parts = [pricer.book.positions[key] for key in candidates.offers[packager.places[bundle]].products]
    of_product = np.where(held[:, parts], 0.0, pricer.book.economics.eva[cell][:, parts])
    most = np.minimum(prices.room, prices.affordable)
    return Side(prices.eva + prices.change, of_product, most, 1 - pricer.book.pricing.tax)


def _firms(side: Side, truth: Truth, signing: int, s: np.ndarray, anyway: bool) -> tuple[np.ndarray, np.ndarray]:
    """EVA of the firms' own bundles, and the chance that each has signed by the end of December."""
    q = truth.accepts(s)
    brought = q * (side.value - side.keep * s)
    if not anyway:
        return brought, q
    opened = 1 - (1 - truth.opens) ** (1 + RECENT_MONTHS)
    brought += (1 - q) * (opened * side.of_product).sum(axis=1)
    return brought, 1 - (1 - q) * (1 - truth.opens[:, signing])


def _separately(
    people: Side, before: Truth, after: Truth, s: np.ndarray, signs: np.ndarray, anyway: bool
) -> np.ndarray:  # fmt: skip
    """EVA of offers to staff in December, whose employers sign in that month with these chances."""
    q = before.accepts(s)
    brought = q * (people.value - people.keep * s)
    if anyway:
        left = signs[:, None] * (1 - after.opens) ** RECENT_MONTHS
        left += (1 - signs[:, None]) * (1 - before.opens) ** RECENT_MONTHS
        brought += (1 - q) * ((1 - (1 - before.opens) * left) * people.of_product).sum(axis=1)
    return brought


def _together(
    people: Side, before: Truth, after: Truth, s_before: np.ndarray, s_after: np.ndarray, signs: np.ndarray,
    anyway: bool,
) -> np.ndarray:  # fmt: skip
    """EVA of offers to staff in January, by what their employers have answered."""
    opened = before.opens * anyway  # in December, by themselves
    brought = (opened * people.of_product).sum(axis=1)
    left = (1 - opened) * people.of_product
    change = people.value - people.of_product.sum(axis=1)
    for chance, truth, s in ((signs, after, s_after), (1 - signs, before, s_before)):
        q = truth.accepts(s)
        later = (1 - (1 - truth.opens) ** RECENT_MONTHS) * anyway
        brought += chance * q * (left.sum(axis=1) + change - people.keep * s)
        brought += chance * (1 - q) * (left * later).sum(axis=1)
    return brought


if __name__ == "__main__":
    typer.run(main)
