"""What clients are worth by what they hold now: the economics of their positions, summed by client and by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sheaf.pricing.economics import Coefficients, Economics, Volumes, cost_risk_capital, ratio
from sheaf.pricing.price_table import PriceTable

BOUNDS = {"balance": (0.0, np.inf), "limit": (0.0, np.inf), "rate": (-0.5, 1.0)}
"""Of what is known of a position: from, and below."""


@dataclass(frozen=True)
class Held:
    """Products held, one entry each: arrays of one length.

    `product` is its position in the book and `cell` its holder's. `balance` and `limit` are money, `rate` the client's,
    a fraction a year, `fees` money a year; NaN for what is not known.
    """

    product: np.ndarray
    cell: np.ndarray
    balance: np.ndarray
    rate: np.ndarray
    fees: np.ndarray
    limit: np.ndarray

    def __post_init__(self) -> None:
        for name in BOUNDS:
            refuse(name, np.asarray(getattr(self, name), dtype=float), lambda at: f"position {at}")


def refuse(name: str, values: np.ndarray, of: Callable[[int], str]) -> None:
    """Raises ValueError where a value of positions cannot be, saying of which by its place."""
    low, high = BOUNDS[name]
    outside = (values < low) | (values >= high)
    if outside.any():
        wrong = np.flatnonzero(outside)
        bounds = f"a number of at least {low:g}" if high == np.inf else f"a fraction from {low:g} and below {high:g}"
        raise ValueError(f"{name} {values[wrong[0]]:g} of {of(int(wrong[0]))} is not {bounds}; correct it")


@dataclass(frozen=True)
class Own:
    """Of what clients hold as it stands, (clients, products): a year's EVA, that of the balance alone, the balance."""

    eva: np.ndarray
    of_balance: np.ndarray
    balance: np.ndarray

    @classmethod
    def of(cls, whole: Economics, alone: Economics) -> Own:
        """Of one client, (1, products), by what `worth` gives of all that is held and of the balance alone."""
        return cls(whole.eva[None], alone.eva[None], whole.balance[None])


def worth(book: PriceTable, held: Held, balance_alone: bool = False) -> Economics:
    """A year's economics of every position, at the client's own rate and fees.

    Margin is balance·(rate - funds) for loans and balance·(funds - rate) for deposits. What is not known is the
    product's own: its list margin, its fees, no undrawn limit; without a balance its typical one where nothing is
    known of the position at all, else none. A product without a price sheet brings its list margin and fees alone.
    `balance_alone`: only what goes where the balance goes, without fees and what the product costs whatever is on it.
    """
    return worths(book, held)[balance_alone]


def worths(book: PriceTable, held: Held) -> tuple[Economics, Economics]:
    """`worth` of all that is held, and of its balance alone."""
    product, cell = held.product, held.cell
    of = Coefficients(**{name: _at(values, cell, product) for name, values in vars(book.known_coefficients).items()})
    no_balance, no_fees, no_limit = (np.isnan(told) for told in (held.balance, held.fees, held.limit))
    nothing = no_balance & no_fees & no_limit
    balance = np.where(nothing, book.balance[product], np.where(no_balance, 0.0, held.balance))
    side = book.side[product]
    margin = balance * np.where(
        np.isnan(held.rate) | (side == 0), book.margin[cell, product], side * (held.rate - book.funds[product])
    )
    limit = np.where(nothing, book.limit[product], np.where(no_limit, 0.0, held.limit))
    undrawn, fixed = np.maximum(limit - balance, 0.0), book.fixed[product]

    def economics(coefficients: Coefficients, fees: np.ndarray) -> Economics:
        charged, revenue = np.maximum(fees - fixed, 0.0), np.maximum(margin + fees, 0.0)
        amounts = cost_risk_capital(coefficients, Volumes(balance, undrawn, charged, revenue))
        return Economics(margin, fees, *amounts, balance, book.rates)

    return (
        economics(of, np.where(no_fees, book.fees[product], held.fees)),
        economics(replace(of, opex=0.0), np.zeros(len(product))),
    )


def _at(values: np.ndarray, cell: np.ndarray, product: np.ndarray) -> np.ndarray:
    """The coefficient of every position, from (cells, products), (cells, 1) or (products,)."""
    if values.ndim == 1:
        found: np.ndarray = values[product]
    else:
        found = values[cell, product if values.shape[1] > 1 else 0]
    return found


def of_clients(economics: Economics, client: np.ndarray, clients: int) -> Economics:
    """One entry a client, the sum of the positions whose `client` number it is."""
    return economics.grouped(client, clients)


def groups(clients: int, tied: Sequence[tuple[int, int]] | np.ndarray) -> np.ndarray:
    """The number of every client's group: those tied directly or through others are one, and each client is in one."""
    pairs = np.asarray(tied, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(clients, clients))
    _, labels = connected_components(graph, directed=False)
    found: np.ndarray = labels
    return found


def of_groups(of_client: Economics, tied: Sequence[tuple[int, int]] | np.ndarray) -> tuple[np.ndarray, Economics]:
    """Every client's group and the groups' economics; a client counts once, however many ways it is tied."""
    group = groups(len(of_client.margin), tied)
    return group, of_client.grouped(group, int(group.max(initial=-1)) + 1)


def shares(of_client: Economics) -> np.ndarray:
    """Every client's net income over the bank's; NaN where the bank's is not positive."""
    incomes: Any = of_client.net_income
    return ratio(incomes, np.sum(incomes))
