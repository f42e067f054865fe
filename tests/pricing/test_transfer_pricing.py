from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.catalog.price_schema import Credit, Point, Slice
from sheaf.pricing.transfer_pricing import average_balance, blended, effective_maturity, outstanding, price_of_funds

CURVE = (Point(years=0.25, rate=0.02), Point(years=1.0, rate=0.022), Point(years=5.0, rate=0.03))


def credit(term_years: float, amortisation: str) -> Credit:
    return Credit(asset_class="corporate", lgd=0.4, term_years=term_years, amortisation=amortisation)


def test_between_two_points_the_price_of_funds_lies_on_the_straight_line() -> None:
    assert price_of_funds(CURVE, 1.0) == pytest.approx(0.022)
    assert price_of_funds(CURVE, 2.0) == pytest.approx(0.022 + 0.008 / 4)


@pytest.mark.parametrize("years", [0.1, 6.0])
def test_a_tenor_beyond_the_curve_is_refused(years: float) -> None:
    with pytest.raises(ValueError, match=f"tenor {years:g} years is beyond the curve, which goes from 0.25 to 5 years"):
        price_of_funds(CURVE, years)


def test_a_deposit_is_worth_more_the_more_of_it_stays() -> None:
    sticky = (Slice(share=0.7, years=5.0), Slice(share=0.3, years=0.25))
    volatile = (Slice(share=0.2, years=5.0), Slice(share=0.8, years=0.25))
    assert blended(CURVE, sticky) == pytest.approx(0.7 * 0.03 + 0.3 * 0.02)
    assert blended(CURVE, volatile) == pytest.approx(0.2 * 0.03 + 0.8 * 0.02)


def test_a_mortgage_is_paid_back_as_in_the_textbook() -> None:
    """Fabozzi, Bond Markets, level-payment mortgages: 100,000 at 8.125 % over 360 months, paid 742.50 a month."""
    left = 100_000 * outstanding(credit(30.0, "annuity"), 0.08125)
    interest = left[0] * 0.08125 / 12
    assert round(interest, 2) == 677.08
    assert round(left[0] - left[1] + interest, 2) == 742.50
    assert round(left[1], 2) == 99_934.59


def test_an_annuity_is_paid_back_as_in_a_second_textbook() -> None:
    """Brealey, Myers and Allen, Principles of Corporate Finance, an amortizing loan: 1,000 at 10 % a period, paid back
    by 315.47 after each of four: 784.53, 547.51 and 286.78 are left. A period is a month here."""
    left = 1_000 * outstanding(credit(4 / 12, "annuity"), 12 * 0.10)
    assert left == pytest.approx([1_000, 784.53, 547.51, 286.79], abs=0.02)
    assert left[0] * 1.1 - left[1] == pytest.approx(315.47, abs=0.005)


def test_equal_parts_of_the_principal() -> None:
    assert outstanding(credit(1.0, "linear"), 0.05) == pytest.approx(1 - np.arange(12) / 12)
    assert average_balance(credit(1.0, "linear"), 0.05) == pytest.approx(6.5 / 12)
    assert average_balance(credit(0.5, "linear"), 0.05) == pytest.approx(
        (1 + 5 / 6 + 4 / 6 + 3 / 6 + 2 / 6 + 1 / 6) / 12
    )


@pytest.mark.parametrize("months", [1, 3, 11, 12, 13, 30])
def test_a_bullet_loan_is_outstanding_for_its_months_of_the_first_year(months: int) -> None:
    assert average_balance(credit(months / 12, "none"), 0.05) == pytest.approx(min(months, 12) / 12)


@pytest.mark.parametrize("amortisation", ["none", "linear", "annuity"])
def test_a_credit_of_two_weeks_is_outstanding_for_two_weeks(amortisation: str) -> None:
    assert average_balance(credit(14 / 365, amortisation), 0.05) == pytest.approx(14 / 365)


def test_a_revolving_line_stands_all_year_whatever_its_term() -> None:
    three_months = credit(0.25, "none")
    assert average_balance(three_months.model_copy(update={"revolving": True}), 0.05) == 1.0
    card = {"asset_class": "revolving_retail", "lgd": 0.65, "term_years": 0.25}
    assert average_balance(Credit(**card), 0.05) == 1.0
    assert average_balance(Credit(**card, revolving=False), 0.05) == 0.25


def test_what_revolves_is_not_repaid_by_instalments() -> None:
    with pytest.raises(ValueError, match="is revolving and repaid by amortisation linear; remove one of the two"):
        Credit(asset_class="corporate", lgd=0.4, amortisation="linear", revolving=True)


@given(st.floats(0.02, 3), st.floats(0, 0.4))
def test_a_credit_that_is_repaid_earlier_stands_for_less(years: float, rate: float) -> None:
    of = {kind: average_balance(credit(years, kind), rate) for kind in ("none", "linear")}
    assert 0 < of["linear"] <= of["none"] + 0.5 / 12  # whole months
    assert of["none"] == pytest.approx(min(years, 1.0))


def test_effective_maturity_weighs_the_payments() -> None:
    assert effective_maturity(credit(3.0, "none"), 0.0) == pytest.approx(3.0)
    assert effective_maturity(credit(3.0, "linear"), 0.0) == pytest.approx((1 + 36) / 2 / 12)
    assert effective_maturity(credit(0.25, "none"), 0.0) == 1.0
    assert effective_maturity(credit(30.0, "annuity"), 0.05) == 5.0


@given(st.floats(0.1, 40), st.sampled_from(["none", "linear", "annuity"]), st.floats(-0.01, 0.4))
def test_what_is_outstanding_falls_from_all_to_the_last_instalment(years: float, kind: str, rate: float) -> None:
    left = outstanding(credit(years, kind), rate)
    assert left[0] == pytest.approx(1.0)
    assert (np.diff(left) <= 1e-12).all()
    assert left[-1] > 0
    assert 0 < average_balance(credit(years, kind), rate) <= 1
