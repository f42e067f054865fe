"""A component's line of a quote, in whole cents: every amount is rounded once, and what adds up still does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np

from sheaf.pricing.concession_split import Element, elements
from sheaf.pricing.economics import break_even_income, left_of_income, ratio
from sheaf.pricing.money import cents, decimal
from sheaf.pricing.price_table import PriceTable


@dataclass(frozen=True)
class Amounts:
    """Money a year, to the cent.

    price = list_price - concession = margin + fees; net_income = price - opex - expected_loss + return_on_capital -
    tax; eva = net_income - capital_charge: all exactly. `margin` and `fees` are after the concession.
    """

    list_price: Decimal
    concession: Decimal
    price: Decimal
    margin: Decimal
    fees: Decimal
    opex: Decimal
    expected_loss: Decimal
    return_on_capital: Decimal
    tax: Decimal
    net_income: Decimal
    capital: Decimal
    capital_charge: Decimal
    eva: Decimal


@dataclass(frozen=True)
class QuoteLine:
    """One product of the bundle that the client does not hold: what is paid for it, and its economics.

    `balance` and `undrawn` are the year's averages; `raroc` and `break_even_margin` are NaN where there is no capital
    or no balance. `break_even_income`: margin and fees at which the line earns the hurdle on the capital taken at list
    price; NaN where no price is enough. Those of all lines add up to the list price less the quote's break-even.
    `alone`: can be had without the others; `cancellation`: its terms.
    """

    product_id: str
    name: str
    balance: Decimal
    undrawn: Decimal
    elements: tuple[Element, ...]
    amounts: Amounts
    raroc: float
    break_even_margin: float
    break_even_income: float
    alone: bool
    cancellation: str


def line_of(book: PriceTable, cell: int, product: int, conceded: np.ndarray) -> QuoteLine:
    """The line of a product for a client of that cell, with `conceded` (elements,) cents."""
    of, sheet, listed = book.products[product], book.sheets[product], book.list_price[cell, product]
    assert sheet is not None
    year, rates = book.economics.at((cell, product)), book.rates
    parts = elements(
        of, sheet, float(book.funds[product]), float(book.margin[cell, product]), listed, conceded, float(year.balance)
    )
    service = of.side == "service"
    offered = [cents(float(amount)) - int(given) for amount, given in zip(listed, conceded, strict=True)]
    margin = 0 if service else offered[0]
    list_price, concession = sum(cents(float(amount)) for amount in listed), int(np.sum(conceded))
    price = list_price - concession
    opex, loss, capital = (cents(float(amount)) for amount in (year.opex, year.expected_loss, year.capital))
    on_capital = round(rates.on_capital * capital)
    before_tax = price - opex - loss + on_capital
    tax = round(rates.tax * before_tax)
    net_income = before_tax - tax
    charge = round(rates.hurdle * capital)
    whole = (
        list_price, concession, price, margin, price - margin, opex, loss, on_capital, tax, net_income, capital, charge,
        net_income - charge,
    )  # fmt: skip
    undrawn = float(book.undrawn[product])
    needed = float(_needed(book, cell, product))
    fees = float(listed[1:].sum())  # a service's margin is charged on its balance, as a loan's is
    return QuoteLine(
        of.product_id, of.name, decimal(cents(float(year.balance))), decimal(cents(undrawn)), parts,
        Amounts(*map(decimal, whole)), net_income / capital if capital > 0 else float("nan"),
        float(ratio(needed - fees, year.balance)), needed, of.alone, sheet.cancellation,
    )  # fmt: skip


def _needed(book: PriceTable, cell: int, product: int) -> np.ndarray:
    year = book.economics.at((cell, product))
    needed = break_even_income(year.opex, year.expected_loss, year.capital, book.rates)
    return np.where(left_of_income(book.coefficients.of_revenue[product], book.rates) > 0, needed, np.nan)


def total(amounts: Sequence[Amounts]) -> Amounts:
    """The sums, exact to the cent."""
    return Amounts(*(sum((getattr(one, f.name) for one in amounts), Decimal("0.00")) for f in fields(Amounts)))
