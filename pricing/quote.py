"""The quote: one client, one bundle, one price for the relationship, with everything that led to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from sheaf.catalog import Authority, Bundle, Catalog
from sheaf.catalog.validation import did_you_mean
from sheaf.pricing.acceptance import AcceptanceModel, Assumed, Offers
from sheaf.pricing.client import Client
from sheaf.pricing.client_value import Own
from sheaf.pricing.concession import Clients, Pricer, Prices, signing
from sheaf.pricing.concession_split import spread
from sheaf.pricing.economics import Economics, left_of_income
from sheaf.pricing.money import cents
from sheaf.pricing.price_table import AskedError, NoPriceSheetError, PriceTable
from sheaf.pricing.quote_lines import Amounts, QuoteLine, line_of, total
from sheaf.pricing.rules import RuleCheck, checks

CURVE_POINTS = 41


@dataclass(frozen=True)
class Standing:
    """The relationship in one state of it: a year's contribution, net income, capital, EVA, RAROC (NaN: no capital)."""

    state: str
    contribution: float
    net_income: float
    capital: float
    eva: float
    raroc: float


@dataclass(frozen=True)
class Curve:
    """Acceptance and expected EVA over the concession: arrays of one length, money a year."""

    concession: np.ndarray
    acceptance: np.ndarray
    expected_eva: np.ndarray


@dataclass(frozen=True)
class Quote:
    """A bundle priced for a client; money a year in the catalog's currency.

    `lines` are of the products that the client does not hold yet, and add up to `total` exactly. `ideal` is the best
    concession whoever asks, `authority` the one who asks, `limit` what that one may grant; what is conceded above it
    (`above`) goes to `goes_to`. `break_even` is the concession that leaves the bundle no EVA, on the capital taken at
    list price. `kept` and `moved` are what acceptance keeps of the relationship and takes from products held. `remedy`
    says what would meet the hurdle.
    `group`: what the client's group of linked clients is worth today, None where it is of none.
    """

    client_id: str
    bundle: Bundle
    as_of: dt.date
    currency: str
    lines: tuple[QuoteLine, ...]
    total: Amounts
    raroc: float
    hurdle: float
    meets_hurdle: bool
    remedy: str
    concession: Decimal
    ideal: float
    authority: str
    limit: float
    above: float
    goes_to: str | None
    break_even: float
    acceptance_at_list: float
    acceptance: float
    expected_eva: float
    kept: float
    moved: float
    relationship: tuple[Standing, ...]
    group: Standing | None
    curve: Curve
    checks: tuple[RuleCheck, ...]
    assumption: bool
    notes: tuple[str, ...]


def price_bundle(
    catalog: Catalog,
    client: Client,
    bundle_id: str,
    as_of: dt.date,
    authority: str | None = None,
    concession: float | None = None,
    response: AcceptanceModel | None = None,
    inputs: np.ndarray | None = None,
    acceptance: float | None = None,
    book: PriceTable | None = None,
    group: Sequence[Client] = (),
    left_out: int = 0,
) -> Quote:
    """The bundle quoted for the client, at the best concession of the one who asks, or at the `concession` given.

    `response` stands for the policy's assumption where none is given, `inputs` (1, columns) and `acceptance` at list
    price are what it takes of this client and bundle; `group` are the clients of its group, itself too, and `left_out`
    is the size of one that is too large to be added up.

    Raises ValueError where the bundle or the authority is not known, is not for this kind of client, brings nothing
    new, has a product without a price sheet, where the rating is not in the catalog's grades, acceptance is no
    probability, or the concession is negative or above the list price; one above what floors and caps or the hurdle
    leave is capped, and a note says so.
    """
    book = book or PriceTable(catalog)
    bundle, new = _wanted(book, client, bundle_id)
    pricer = Pricer(book, (bundle,), response)
    asks = pricer.authority(authority)
    cell, worth, of_balance = client.cell(book), client.worth(book), client.worth(book, balance_alone=True)
    whom = Clients(np.array([cell]), client.flags(book)[None], Own.of(worth, of_balance))
    zero = np.zeros(1, dtype=int)
    if acceptance is not None and not 0 <= acceptance <= 1:
        raise ValueError(f"acceptance {acceptance:g} is not a probability from 0 to 1; give one, or leave it out")
    at_list = None if acceptance is None else np.array([acceptance])
    prices = pricer.price(whom, zero, zero, asks.name, inputs, at_list)
    notes = _assumptions(book, client, pricer, acceptance)
    if left_out:
        notes.append(too_large(left_out))
    wanted = float(prices.concession[0])
    if concession is not None:
        wanted = _capped(concession, prices, _shown(book, cell, new), notes)
    room, sheets = book.room[cell, new], [sheet for at in new if (sheet := book.sheets[at])]
    conceded = spread(cents(wanted), room, sheets)
    granted_cents = int(conceded.sum())
    if granted_cents < cents(wanted):
        notes.append(f"{(cents(wanted) - granted_cents) / 100:.2f} of the concession fit no component and are kept")
    lines = tuple(line_of(book, cell, at, given) for at, given in zip(new, conceded, strict=True))
    sums = total([line.amounts for line in lines])
    s = granted_cents / 100
    keep = 1 - book.pricing.tax
    offers = Offers(prices.list_price, inputs, at_list)
    value = prices.eva + prices.change
    q = float(pricer.answer.accepts(offers, np.array([s]))[0])
    ideal = float(prices.ideal[0]) if concession is None else s
    above = max(ideal - float(prices.authority[0]), 0.0)
    meets = float(sums.eva) >= -0.01 * len(lines)
    moved = of_balance.scaled(_drawn(book, cell, new, worth.balance)).sum()  # out of what is held, into what is new
    parts = [catalog.product(key) for key in bundle.products]
    today = worth.sum()
    if value[0] < keep * s:
        takes = float(prices.eva[0]) >= keep * s
        why = "brings less than it takes from products held" if takes else "does not earn the hurdle by itself"
        notes.append(
            f"if the client accepts, the bank is {keep * s - float(value[0]):,.2f} of EVA a year worse off: the bundle "
            f"{why}"
        )
    with_it = today.plus(moved.scaled(-1.0)).plus(_offered(sums, book, cell, new))
    retention = book.pricing.retention
    states = {
        "today": today,
        "at risk": today.scaled(retention.attrition),
        "with this bundle": with_it,
        "if lost": today.scaled(0.0),
    }
    relationship = tuple(_standing(name, of) for name, of in states.items())
    return Quote(
        client.client_id, bundle, as_of, catalog.currency, lines, sums,
        raroc=float(sums.net_income) / float(sums.capital) if sums.capital > 0 else float("nan"),
        hurdle=book.pricing.hurdle, meets_hurdle=meets,
        remedy="" if meets else _remedy(book, lines, new, sums, relationship[2]),
        concession=sums.concession, ideal=ideal, authority=asks.name, limit=float(prices.authority[0]), above=above,
        goes_to=_goes_to(book.pricing.authorities, prices.list_price, ideal) if above > 0 else None,
        break_even=max(float(prices.eva[0]) / keep, 0.0),
        acceptance_at_list=float(prices.acceptance_at_list[0]), acceptance=q,
        expected_eva=q * (float(value[0]) - keep * s),
        kept=float(prices.change[0] + moved.eva), moved=float(moved.eva),
        relationship=relationship, group=_of_group(book, client, today, group),
        curve=_curve(pricer, offers, float(value[0]), keep, max(float(prices.room[0]), s)),
        checks=tuple(checks(bundle, parts, book.pricing, client, s > 0, as_of)),
        assumption=pricer.answer.assumption, notes=tuple(notes),
    )  # fmt: skip


def _drawn(book: PriceTable, cell: int, new: list[int], balance: np.ndarray) -> np.ndarray:
    """(products,): the share of each balance held that goes into what is new."""
    one = np.array([cell])
    share: np.ndarray = sum((book.drawn(one, at, balance[None])[0] for at in new), np.zeros(len(balance)))
    return share


def _wanted(book: PriceTable, client: Client, bundle_id: str) -> tuple[Bundle, list[int]]:
    """The bundle, and the positions of its products that the client does not hold."""
    known = {bundle.bundle_id: bundle for bundle in book.catalog.offers}
    _ = book.pricing  # without a price sheet, that is what to say first
    if bundle_id not in known:
        raise AskedError(
            "bundle_id", f"there is no bundle {bundle_id!r} in the catalog; {did_you_mean(bundle_id, known)}"
        )
    bundle = known[bundle_id]
    if client.kind not in bundle.kinds:
        raise AskedError(
            "bundle_id",
            f"{bundle_id} is for {' and '.join(bundle.kinds)} clients, and {client.client_id} is a {client.kind} "
            "client",
        )
    new = [book.positions[key] for key in bundle.products if key not in client.held]
    if not new:
        raise AskedError(
            "bundle_id", f"client {client.client_id} holds all of {bundle_id} already; quote another bundle"
        )
    for key in bundle.products:
        if book.sheets[book.positions[key]] is None:
            raise NoPriceSheetError(
                f"{key} has no price sheet, so {bundle_id} cannot be quoted; add it to pricing.products"
            )
    return bundle, new


def _shown(book: PriceTable, cell: int, new: list[int]) -> float:
    """The list price as a quote shows it: each of its elements in whole cents."""
    return sum(cents(float(amount)) for amount in book.list_price[cell, new].ravel() if amount > 0) / 100


def too_large(clients: int) -> str:
    """The note on a group of so many clients that it is not added up."""
    return f"the client's group has {clients:,} clients; what so large a group is worth is not worked out here"


def _capped(concession: float, prices: Prices, shown: float, notes: list[str]) -> float:
    """The concession asked for, brought within what may be conceded; a note says by what."""
    most = float(prices.list_price[0])
    if not 0 <= concession <= max(most, shown):
        remedy = "ask for 0 or more" if concession < 0 else "ask for less"
        raise AskedError(
            "concession", f"concession {concession:.2f} is not from 0 to the list price, {most:.2f} a year; {remedy}"
        )
    concession = min(concession, most)
    for what, bound in (("floors and caps", prices.room[0]), ("the hurdle", prices.affordable[0])):
        if concession > bound:
            notes.append(f"a concession of {concession:.2f} was asked for; {what} leave {bound:.2f}, which is quoted")
            concession = float(np.floor(bound * 100 + 1e-7) / 100)
    return concession


def _assumptions(book: PriceTable, client: Client, pricer: Pricer, acceptance: float | None) -> list[str]:
    answer, retention = pricer.answer, book.pricing.retention
    told = answer.told
    if acceptance is not None and isinstance(answer, Assumed):
        told = answer.told_around(acceptance)
    found = [f"price response {told}"]
    if client.held and retention.attrition:
        found.append(
            f"assumed by policy: {retention.attrition:.0%} of clients leave within a year, "
            f"acceptance prevents {retention.saved:.0%} of it"
        )
    if client.rating is None:
        found.append(f"the client has no rating and is priced as grade {book.pricing.unrated}")
    return found


def _offered(sums: Amounts, book: PriceTable, cell: int, new: list[int]) -> Economics:
    amounts = (sums.margin, sums.fees, sums.opex, sums.expected_loss, sums.capital)
    margin, fees, opex, loss, capital = (np.array(float(amount)) for amount in amounts)
    return Economics(margin, fees, opex, loss, capital, book.economics.balance[cell, new].sum(), book.rates)


def _standing(state: str, of: Economics) -> Standing:
    return Standing(
        state, float(of.contribution), float(of.net_income), float(of.capital), float(of.eva), float(of.raroc)
    )


def _of_group(book: PriceTable, client: Client, today: Economics, group: Sequence[Client]) -> Standing | None:
    """The group's worth today: the client's own and that of each other member, once."""
    others = {one.client_id: one for one in group if one.client_id != client.client_id}
    if not others:
        return None
    of = today
    for other in others.values():
        of = of.plus(other.worth(book).sum())
    return _standing(f"group of {len(others) + 1}, today", of)


def _goes_to(authorities: tuple[Authority, ...], list_price: np.ndarray, concession: float) -> str | None:
    at = int(signing(authorities, list_price, np.array([concession]))[0])
    return authorities[at].name if at < len(authorities) else None


def _remedy(book: PriceTable, lines: tuple[QuoteLine, ...], new: list[int], sums: Amounts, with_it: Standing) -> str:
    """What would bring the bundle to the hurdle: the price that the line needs which misses it most, and whether the
    relationship carries it."""
    at, line = min(zip(new, lines, strict=True), key=lambda one: one[1].amounts.eva)
    revenue, rates = float(book.coefficients.of_revenue[at]), book.rates
    leaves = left_of_income(revenue, rates)
    if leaves <= 0:
        return (
            f"no price of {line.name} would meet it: a unit of income takes {revenue:g} of capital, which has to earn "
            f"{rates.hurdle * revenue:.2f}, and leaves {1 - rates.tax:.2f} after tax"
        )
    missing, balance = -float(sums.eva) / leaves, float(line.balance)
    told = f"{missing:,.2f} more a year before tax would meet it"
    margin = (float(line.amounts.margin) + missing) / balance if balance else 0.0
    if balance and (book.side[at] >= 0 or margin <= book.funds[at]):
        told += f": {missing / balance * 1e4:,.0f} basis points more of margin on {line.name}"
    elif balance:  # a deposit at a rate below 0 is no remedy
        told += f": as a fee of {line.name}, as no rate of 0 or more would do"
    elif line.amounts.price > 0:
        told += f": prices of {line.name} {missing / float(line.amounts.price):.0%} higher"
    side = "above" if with_it.raroc >= book.pricing.hurdle else "below"
    known = with_it.raroc == with_it.raroc
    return told + (f"; the relationship with it earns {with_it.raroc:.1%}, {side} the hurdle" if known else "")


def _curve(pricer: Pricer, offers: Offers, value: float, keep: float, most: float) -> Curve:
    s = np.linspace(0.0, most, CURVE_POINTS)
    many = Offers(
        *(None if one is None else np.repeat(one, CURVE_POINTS, axis=0)
          for one in (offers.list_price, offers.inputs, offers.acceptance))  # type: ignore[arg-type]
    )  # fmt: skip
    q = pricer.answer.accepts(many, s)
    return Curve(s, q, q * (value - keep * s))
