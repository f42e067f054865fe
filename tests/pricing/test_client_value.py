from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.pricing.basel import capital_share
from sheaf.pricing.client_value import Held, groups, of_clients, of_groups, shares, worth
from sheaf.pricing.economics import Economics, Rates
from sheaf.pricing.price_table import PriceTable
from tests.pricing.books import PRODUCTS, catalog

BOOK = PriceTable(catalog())
NAN = float("nan")


def held(*rows: tuple[str, str, float, float, float, float]) -> Held:
    """Rows of product, rating, balance, rate, fees, limit."""
    product, rating, *numbers = zip(*rows, strict=True)
    positions = np.array([BOOK.positions[key] for key in product])
    return Held(positions, np.array([BOOK.cell(grade) for grade in rating]), *map(np.array, numbers))


def test_what_is_held_earns_at_the_clients_own_rate() -> None:
    """Deposit 5,000 at 1 % against funds of 2.6 %: 80, and 24 of fees; 30 cost: (104 - 30) × 0.75 = 55.5.
    Loan of 40,000 at 7 % against 3 %: 1,600; expected loss 180, cost 200."""
    of = worth(BOOK, held(("account", "B", 5000, 0.01, 24, NAN), ("loan", "B", 40_000, 0.07, 0, NAN)))
    assert of.margin == pytest.approx([80, 1600])
    assert of.net_income == pytest.approx([55.5, (1600 - 200 - 180) * 0.75])
    assert of.capital[0] == pytest.approx(0.15 * 104)
    assert of.sum().raroc == pytest.approx((55.5 + 915) / of.capital.sum())


def test_what_is_not_known_is_the_products_own() -> None:
    rows = held(
        ("account", "B", NAN, NAN, NAN, NAN), ("line", "B", NAN, NAN, NAN, NAN), ("line", "B", 0, NAN, NAN, NAN)
    )
    of = worth(BOOK, rows)
    cell = BOOK.cell("B")
    assert of.contribution[:2] == pytest.approx(BOOK.economics.contribution[cell, [0, BOOK.positions["line"]]])
    assert of.net_income[:2] == pytest.approx(BOOK.economics.net_income[cell, [0, BOOK.positions["line"]]])
    assert of.capital[2] == of.margin[2] == 0  # a balance of nothing is known to be nothing, and no limit is known


def test_a_limit_not_drawn_takes_capital() -> None:
    of = worth(BOOK, held(("line", "B", 1000, 0.08, 0, 5000)))
    assert of.capital == pytest.approx([(1000 + 0.4 * 4000) * float(capital_share("other_retail", 0.01, 0.45))])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("loan", "B", -5.0, 0.05, 0.0, NAN), "balance -5 of position 0 is not a number of at least 0; correct it"),
        (("loan", "B", 5.0, 5.0, 0.0, NAN), "rate 5 of position 0 is not a fraction from -0.5 and below 1; correct it"),
        (("line", "B", 5.0, 0.05, 0.0, -1.0), "limit -1 of position 0 is not a number of at least 0"),
    ],
)
def test_positions_that_cannot_be_are_refused(row: tuple[str, str, float, float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        held(row)


def incomes(*contributions: float) -> Economics:
    amounts = np.array(contributions)
    nothing = np.zeros_like(amounts)
    return Economics(amounts, nothing, nothing, nothing, amounts * 2, amounts * 10, Rates(0.0, 0.1))


def test_tied_clients_are_one_group_and_counted_once() -> None:
    """0 - 1 and 1 - 2 are tied, twice and from both sides; 3 stands alone, and with itself."""
    group, of = of_groups(incomes(1, 2, 4, 8), [(0, 1), (1, 0), (1, 2), (1, 2), (3, 3)])
    assert group[0] == group[1] == group[2] != group[3]
    assert of.net_income[group] == pytest.approx([7, 7, 7, 8])
    assert of.net_income.sum() == pytest.approx(15)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_groups_never_count_a_client_twice(tied: list[tuple[int, int]]) -> None:
    of_client = incomes(*range(1, 11))
    group, of = of_groups(of_client, tied)
    assert of.net_income.sum() == pytest.approx(of_client.net_income.sum())
    assert all(group[one] == group[other] for one, other in tied)


def test_clients_shares_of_the_bank() -> None:
    assert shares(incomes(1, 3)) == pytest.approx([0.25, 0.75])
    assert np.isnan(shares(incomes(1, -3))).all()
    assert groups(3, []).tolist() == [0, 1, 2]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_clients_sums_are_those_of_their_positions(client: list[int]) -> None:
    rows = held(*[(PRODUCTS[i % len(PRODUCTS)].product_id, "C", 100.0 * i, 0.03, 5.0, NAN) for i in range(len(client))])
    of = worth(BOOK, rows)
    by_client = of_clients(of, np.array(client), 4)
    assert by_client.eva.sum() == pytest.approx(of.eva.sum())
    assert by_client.eva[client[0]] == pytest.approx(of.eva[np.array(client) == client[0]].sum())
