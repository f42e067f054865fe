from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from sheaf.catalog.price_schema import Assumption
from sheaf.pricing.acceptance import Assumed, Logit, Offers, best_concession, closed_form, search

UTILITY, GAMMA, VALUE = st.floats(-6, 3), st.floats(1e-4, 0.5), st.floats(-500, 5000)


@given(UTILITY, GAMMA, VALUE, st.floats(0.4, 1.0))
def test_lamberts_w_gives_the_peak_to_a_millionth(utility: float, gamma: float, value: float, keep: float) -> None:
    def slope(s: float) -> float:
        """The derivative of q(s)·(value - keep·s), over q."""
        return float(gamma * (1 - expit(utility + gamma * s)) * (value - keep * s) - keep)

    [found] = closed_form(np.array([utility]), np.array([gamma]), np.array([value]), keep)
    low = found - 1 / gamma
    peak = brentq(slope, low, value / keep, xtol=1e-10, rtol=1e-14)
    assert found == pytest.approx(peak, abs=1e-6)


@given(UTILITY, GAMMA, VALUE, st.floats(1, 3000))
def test_the_search_finds_what_the_closed_form_does(utility: float, gamma: float, value: float, most: float) -> None:
    offers, bound, keep = Offers(np.array([1000.0])), np.array([most]), 0.75
    logit = Logit(utility, gamma)
    known = best_concession(logit, offers, np.array([value]), keep, bound)

    def objective(s: np.ndarray) -> np.ndarray:
        return logit.accepts(offers, s) * (value - keep * s)

    found = search(objective, bound)
    assert objective(found) >= objective(known) - 1e-9 * max(1.0, abs(value))
    if objective(known)[0] > 1e-3 and gamma * most > 0.01:  # where it is not flat for lack of digits
        assert found == pytest.approx(known, abs=1e-6 * max(most, 1.0) + 2e-5 / gamma)


def test_a_response_of_steps_is_searched_to_the_foot_of_the_best_step() -> None:
    """Accepts 10 % below 50 and 60 % from 50 on: with value 200 and keep 1, 0.6 × 150 = 90 beats 0.1 × 200."""

    class Steps:
        assumption, told = False, "steps"

        def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
            return np.where(s >= 50, 0.6, 0.1)

    [found] = best_concession(Steps(), Offers(np.array([300.0])), np.array([200.0]), 1.0, np.array([120.0]))
    assert found == pytest.approx(50, abs=1e-3)


@given(st.floats(0.01, 0.9), st.floats(0.1, 5), st.floats(10, 1e5))
def test_the_policys_elasticity_is_the_responses_at_list_price(share: float, elasticity: float, price: float) -> None:
    response = Assumed(Assumption(acceptance=share, elasticity=elasticity))
    offers, step = Offers(np.array([price])), 1e-6
    at, after = (float(response.accepts(offers, np.array([price * s]))[0]) for s in (0.0, step))
    assert at == pytest.approx(share)
    assert (after - at) / at / step == pytest.approx(elasticity, rel=1e-3)
    assert response.assumption
    assert "assumed by policy, not learned" in response.told


def test_what_is_known_of_the_client_takes_the_place_of_the_assumed_share() -> None:
    response = Assumed(Assumption(acceptance=0.2, elasticity=2.0))
    offers = Offers(np.array([100.0, 100.0]), acceptance=np.array([0.5, 0.01]))
    assert response.accepts(offers, np.zeros(2)) == pytest.approx([0.5, 0.01])


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_who_saves_more_is_not_less_likely_to_accept(one: float, other: float) -> None:
    less, more = sorted((one, other))
    offers = Offers(np.array([500.0]), inputs=np.array([[1.0, 2.0]]))
    for response in (Logit(-2.0, 0.01, np.array([0.1, 0.2])), Assumed(Assumption())):
        assert response.accepts(offers, np.array([less])) <= response.accepts(offers, np.array([more]))


def test_a_response_that_falls_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma -1 is below 0"):
        Logit(0.0, -1.0)


def test_nothing_is_conceded_where_there_is_no_room_or_no_value() -> None:
    offers = Offers(np.array([100.0, 100.0, 0.0]))
    found = best_concession(
        Assumed(Assumption()), offers, np.array([80.0, -50.0, 10.0]), 0.75, np.array([0.0, 50.0, 0.0])
    )
    assert found.tolist() == [0, 0, 0]
