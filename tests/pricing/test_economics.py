"""A component's economics against worked examples of the literature, and the catalog's own against hand-made sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.pricing.economics import Coefficients, Economics, Rates, Volumes, cost_risk_capital
from sheaf.pricing.money import cents, decimal, split


def component(rates: Rates, **amounts: float) -> Economics:
    given_: dict[str, Any] = dict.fromkeys(("margin", "fees", "opex", "expected_loss", "capital", "balance"), 0.0)
    return Economics(**{name: np.array([value]) for name, value in (given_ | amounts).items()}, rates=rates)


def coefficients(**numbers: float) -> Coefficients:
    names = ("opex", "cost_rate", "unit_cost", "pd", "lgd", "ccf", "k", "of_balance", "of_revenue")
    return Coefficients(**(dict.fromkeys(names, 0.0) | numbers))


def test_raroc_of_a_loan_book_funded_by_deposits() -> None:
    """Financial Risk Manager part 2, practice question "Bank AAA": 3 billion at 4 % funded at 1.5 %, expected loss 1 %,
    operating cost 1 %, economic capital 8 % earning 3 %: 22.2 million on 240 million, RAROC 9.25 %."""
    opex, loss, capital = cost_risk_capital(
        coefficients(cost_rate=0.01, pd=0.02, lgd=0.5, k=0.08), Volumes(3e9, 0.0, 0.0, 0.0)
    )
    book = component(
        Rates(tax=0.0, hurdle=0.0, on_capital=0.03),
        margin=3e9 * (0.04 - 0.015), opex=opex, expected_loss=loss, capital=capital,
    )  # fmt: skip
    assert [cents(float(amount[0])) for amount in (book.net_income, book.capital)] == [22_200_000_00, 240_000_000_00]
    assert book.raroc == pytest.approx(0.0925)


def test_raroc_of_a_loan_business_with_default_and_loss_given_default() -> None:
    """Financial Risk Manager practice exam: 500 million at 10 %, PD 2 %, LGD 50 %, cost 10 million, funding 30 million,
    capital 7.5 % that earns 6 %: (50 - 10 - 30 - 5 + 2.25) / 37.5 = 19.33 %."""
    _, loss, capital = cost_risk_capital(coefficients(pd=0.02, lgd=0.5, k=0.075), Volumes(500e6, 0.0, 0.0, 0.0))
    assert (loss, capital) == (5e6, 37.5e6)
    business = component(Rates(0.0, 0.0, 0.06), margin=50e6 - 30e6, opex=10e6, expected_loss=loss, capital=capital)
    assert cents(float(business.net_income[0])) == 7_250_000_00
    assert business.raroc == pytest.approx(0.1933, abs=5e-5)


def test_raroc_of_fee_business() -> None:
    """Hull, Risk Management and Financial Institutions, problem on asset management: fees 12 million, cost 3 million,
    expected operational loss 2 million, worst case 40 million: 7 / 38 = 18.4 % before tax."""
    business = component(Rates(0.0, 0.0), fees=12e6, opex=3e6, expected_loss=2e6, capital=40e6 - 2e6)
    assert business.raroc == pytest.approx(0.184, abs=5e-4)


def test_undrawn_limits_take_loss_and_capital_too() -> None:
    """EAD = 60 + 0.4 × 40 = 76; EL = 0.01 × 0.45 × 76 = 0.342; EC = 0.08 × 76 = 6.08."""
    of = coefficients(pd=0.01, lgd=0.45, ccf=0.4, k=0.08, opex=1.0, cost_rate=0.001)
    opex, loss, capital = cost_risk_capital(of, Volumes(balance=60.0, undrawn=40.0, charged=0.0, revenue=2.0))
    assert (opex, loss, capital) == pytest.approx((1.06, 0.342, 6.08))


def test_tax_hurdle_and_break_even() -> None:
    """(20 + 5 - 8 - 4) × 0.75 = 9.75 on 60: RAROC 16.25 %, EVA 9.75 - 6 = 3.75; break-even (4 + 8 - 5 + 8) / 1000."""
    one = component(Rates(0.25, 0.10), margin=20.0, fees=5.0, opex=8.0, expected_loss=4.0, capital=60.0, balance=1000.0)
    assert one.net_income == pytest.approx(9.75)
    assert one.raroc == pytest.approx(0.1625)
    assert one.eva == pytest.approx(3.75)
    assert one.break_even_margin == pytest.approx(0.015)
    assert one.return_on_net_assets == pytest.approx(9.75 / 996)


@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 5, st.floats(1, 1e7)), min_size=1, max_size=5), st.floats(0, 0.1))
def test_at_the_break_even_margin_raroc_is_the_hurdle(rows: list[tuple[float, ...]], on_capital: float) -> None:
    names = ("margin", "fees", "opex", "expected_loss", "capital", "balance")
    columns = dict(zip(names, np.array(rows).T, strict=True))
    some = Economics(**columns, rates=Rates(0.25, 0.12, on_capital))
    there = Economics(**(columns | {"margin": some.break_even_margin * some.balance}), rates=some.rates)
    assert there.eva == pytest.approx(np.zeros(len(rows)), abs=1e-6 * np.max(np.array(rows)))


def test_the_ratio_of_a_relationship_is_one_of_sums() -> None:
    small = component(Rates(0.0, 0.1), margin=30.0, capital=100.0)
    large = component(Rates(0.0, 0.1), margin=50.0, capital=1000.0)
    assert small.plus(large).raroc == pytest.approx(80 / 1100)  # and not (0.30 + 0.05) / 2


def test_without_capital_there_is_no_raroc() -> None:
    assert np.isnan(component(Rates(0.25, 0.1), fees=10.0).raroc).all()


@given(st.integers(0, 10**9), st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(lambda w: sum(w) > 0))
def test_what_is_spread_adds_up_to_the_cent(total: int, weights: list[float]) -> None:
    parts = split(total, np.array(weights))
    assert parts.sum() == total
    assert (np.abs(parts - total * np.array(weights) / sum(weights)) < 1 + 1e-6).all()


def test_the_largest_remainders_get_the_cents() -> None:
    assert split(100, np.array([1.0, 1.0, 1.0])).tolist() == [34, 33, 33]
    assert split(5, np.array([0.9, 0.0, 0.1])).tolist() == [5, 0, 0]
    assert str(decimal(cents(12.345678))) == "12.35"


def test_nothing_can_be_spread_over_nothing() -> None:
    assert split(0, np.zeros(2)).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"cannot spread 5 cents over weights \[0.0, 0.0\]"):
        split(5, np.zeros(2))
