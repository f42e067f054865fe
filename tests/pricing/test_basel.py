"""Capital against the Basel Committee's own table: Basel II (June 2006), annex 5, illustrative IRB risk weights."""

from __future__ import annotations

import numpy as np
import pytest

from sheaf.pricing.basel import capital_share, correlation, maturity_factor, unit_capital

# PD: corporate LGD 45 % M 2.5 with sales of 50 and of 5 million, mortgages LGD 45 % and 25 %, other retail LGD 45 % and
# 85 %, qualifying revolving LGD 45 % and 85 %; risk weights in percent.
ANNEX_5 = {
    0.0003: (14.44, 11.30, 4.15, 2.30, 4.45, 8.41, 0.98, 1.85),
    0.0010: (29.65, 23.30, 10.69, 5.94, 11.16, 21.08, 2.71, 5.12),
    0.0025: (49.47, 39.01, 21.30, 11.83, 21.15, 39.96, 5.76, 10.88),
    0.0050: (69.61, 54.91, 35.08, 19.49, 32.36, 61.13, 10.04, 18.97),
    0.0100: (92.32, 72.40, 56.40, 31.33, 45.77, 86.46, 17.22, 32.53),
    0.0200: (114.86, 88.55, 87.94, 48.85, 57.99, 109.53, 28.92, 54.63),
    0.0250: (122.16, 93.43, 100.64, 55.91, 60.90, 115.03, 33.98, 64.18),
}


@pytest.mark.parametrize("pd", ANNEX_5)
def test_risk_weights_are_those_of_basel_annex_5(pd: float) -> None:
    found = [
        capital_share("corporate", pd, 0.45, 2.5, 50.0), capital_share("corporate", pd, 0.45, 2.5, 5.0),
        capital_share("residential_mortgage", pd, 0.45), capital_share("residential_mortgage", pd, 0.25),
        capital_share("other_retail", pd, 0.45), capital_share("other_retail", pd, 0.85),
        capital_share("revolving_retail", pd, 0.45), capital_share("revolving_retail", pd, 0.85),
    ]  # fmt: skip
    assert [1250 * float(k) for k in found] == pytest.approx(ANNEX_5[pd], abs=0.006)  # printed to the hundredth


def test_the_saudi_rulebook_has_the_same_weights_at_todays_loss_given_default() -> None:
    """SAMA, illustrative risk weights under CRE31 (2023), table 1: PD 1 %."""
    assert round(float(1250 * capital_share("corporate", 0.01, 0.40, 2.5, 50.0)), 2) == 82.06
    assert round(float(1250 * capital_share("corporate", 0.01, 0.40, 2.5, 5.0)), 2) == 64.35
    assert round(float(1250 * capital_share("revolving_retail", 0.01, 0.50)), 2) == 19.14


def test_a_firm_of_twenty_million_lies_between_the_sizes() -> None:
    small, middle, large, larger = (correlation("corporate", 0.01, sales) for sales in (5.0, 20.0, 50.0, 400.0))
    assert middle == pytest.approx(large - 0.04 * (1 - 15 / 45))
    assert large == larger == pytest.approx(correlation("corporate", 0.01))
    assert small == correlation("corporate", 0.01, 1.0) == pytest.approx(large - 0.04)


def test_maturity_is_held_between_one_and_five_years() -> None:
    assert maturity_factor(0.01, 1.0) == pytest.approx(1.0)  # as the formula is scaled: (1 - 1.5b)/(1 - 1.5b)
    assert maturity_factor(0.01, 0.1) == maturity_factor(0.01, 1.0)
    assert maturity_factor(0.01, 30.0) == maturity_factor(0.01, 5.0) > maturity_factor(0.01, 2.5) > 1


@pytest.mark.parametrize("pd", [0.0, 1.0, -0.1, np.nan])
def test_a_probability_of_default_that_is_none_is_refused(pd: float) -> None:
    with pytest.raises(ValueError, match="is not above 0 and below 1"):
        unit_capital("corporate", pd)
