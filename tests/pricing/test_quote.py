"""Quotes: what they say adds up, keeps its bounds, and does not hang on what may not matter."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.catalog import Catalog, Kind, Range
from sheaf.pricing import Client, NoPriceSheetError, Position, PriceTable, Quote, apply_terms
from sheaf.pricing import price_bundle as quote_
from sheaf.pricing.acceptance import Logit
from sheaf.pricing.client_value import Own
from sheaf.pricing.concession import CHUNK, Clients, Pricer
from sheaf.pricing.concession_split import spread
from sheaf.pricing.quote_lines import Amounts
from sheaf.pricing.rules import CROSS_SELLING, ELIGIBLE, MORTGAGES, SUITABILITY, TYING
from tests.pricing.books import BUNDLES, catalog, with_sheet

DAY = dt.date(2025, 12, 31)
CATALOG = catalog()
FIRM = Client("f", Kind.CORPORATE, "B", 2e7, {"account": Position(8_000.0, 0.0, 60.0)})
PERSON = Client("p", Kind.RETAIL, "A")


def price_bundle(client: Client, bundle: str, of: Catalog = CATALOG, **more: Any) -> Quote:
    return quote_(of, client, bundle, DAY, **more)


def test_a_bundle_by_hand() -> None:
    """Start for who holds nothing, at list price. Account: margin 200 and fee 60, cost 30, tax 57.50, net 172.50,
    capital 39, EVA 168.60. Card: fee 24, cost 2, tax 5.50, net 16.50, capital 3.60, EVA 16.14."""
    found = price_bundle(PERSON, "start", concession=0.0)
    account, card = (line.amounts for line in found.lines)
    assert [str(amount) for amount in (account.tax, account.net_income, account.capital, account.eva)] == [
        "57.50", "172.50", "39.00", "168.60",
    ]  # fmt: skip
    assert (str(card.net_income), str(card.eva)) == ("16.50", "16.14")
    assert str(found.total.eva) == "184.74"
    assert found.raroc == pytest.approx(189 / 42.6)
    assert found.break_even == pytest.approx(184.74 / 0.75)
    assert found.acceptance == found.acceptance_at_list == pytest.approx(0.2)
    assert found.expected_eva == pytest.approx(0.2 * 184.74)


def test_the_best_concession_stays_within_the_authority_and_says_who_may_grant_more() -> None:
    mine = price_bundle(PERSON, "start")
    assert float(mine.concession) == pytest.approx(28.4)  # a tenth of 284
    assert mine.ideal > mine.limit == pytest.approx(28.4)
    assert mine.above == pytest.approx(mine.ideal - mine.limit)
    assert mine.goes_to == "head_office"
    theirs = price_bundle(PERSON, "start", authority="head_office")
    assert float(theirs.concession) == pytest.approx(mine.ideal)
    assert (theirs.above, theirs.goes_to) == (0, None)
    assert theirs.expected_eva > mine.expected_eva
    best = theirs.curve.expected_eva.max()
    assert theirs.expected_eva >= best - 1e-9


QUOTABLE = [
    (client, bundle.bundle_id)
    for client in (FIRM, PERSON, replace(FIRM, rating="C"))
    for bundle in CATALOG.offers
    if client.kind in bundle.kinds and not set(bundle.products) <= set(client.held)
]


@pytest.mark.parametrize(("client", "bundle"), QUOTABLE)
def test_many_at_once_are_priced_as_one_is(client: Client, bundle: str) -> None:
    book = PriceTable(CATALOG)
    of = next(one for one in CATALOG.offers if one.bundle_id == bundle)
    alone = price_bundle(client, bundle)
    own = Own.of(client.worth(book), client.worth(book, balance_alone=True))
    whom = Clients(np.array([client.cell(book)]), client.flags(book)[None], own)
    where = np.array([CATALOG.offers.index(of)])
    prices = Pricer(book, CATALOG.offers).price(whom, np.zeros(1, dtype=int), where)
    assert prices.concession[0] == pytest.approx(float(alone.concession), abs=0.05)
    assert prices.eva[0] - 0.75 * prices.concession[0] == pytest.approx(float(alone.total.eva), abs=0.1)
    assert prices.expected[0] == pytest.approx(alone.expected_eva, rel=1e-3, abs=0.05)
    assert prices.capital[0] == pytest.approx(float(alone.total.capital), abs=0.02)


def test_more_pairs_than_a_chunk_are_all_priced() -> None:
    pricer = Pricer(PriceTable(CATALOG), BUNDLES)
    clients = Clients(np.array([0, 4]), np.zeros((2, 9), dtype=bool))
    n = 2 * CHUNK + 7
    client, bundle = np.arange(n) % 2, np.arange(n) % 4
    found = pricer.price(clients, client, bundle)
    few = pricer.price(clients, client[:8], bundle[:8])
    assert len(found.expected) == n
    assert found.expected[-4:] == pytest.approx(few.expected[(n - 4) % 4 : (n - 4) % 4 + 4])


# --- money -------------------------------------------------------------------------------------------------------


def adds_up(found: Quote) -> None:
    for one in fields(Amounts):
        assert sum((getattr(line.amounts, one.name) for line in found.lines), Decimal(0)) == getattr(
            found.total, one.name
        )
    for a in (*(line.amounts for line in found.lines), found.total):
        assert a.price == a.list_price - a.concession == a.margin + a.fees
        assert a.net_income == a.price - a.opex - a.expected_loss + a.return_on_capital - a.tax
        assert a.eva == a.net_income - a.capital_charge
    for line in found.lines:
        assert sum((part.concession for part in line.elements), Decimal(0)) == line.amounts.concession
        assert sum((part.amount for part in line.elements), Decimal(0)) == line.amounts.price
        assert all(part.concession <= max(part.list_amount, Decimal(0)) for part in line.elements)
    assert found.concession == found.total.concession


MONEY = st.integers(0, 10**9).map(lambda n: n / 1000)


@given(
    st.sampled_from(["start", "firm", "saver", "home"]),
    st.tuples(MONEY, MONEY, MONEY),
    st.floats(-0.02, 0.3),
    st.sampled_from(["A", "B", "C", None]),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.03]),
)
@settings(max_examples=60)
def test_money_is_never_lost_to_rounding(
    bundle: str, money: tuple[float, float, float], margin: float, rating: str | None, share: float, on_capital: float
) -> None:
    balance, fee, fixed = money
    changed = {
        "account": {"balance": balance, "annual_fee": fee, "margin": margin},
        "loan": {"balance": balance, "margin": max(margin, 0.015)},
        "mortgage": {"balance": balance, "margin": margin},
        "payroll": {"annual_fee": 100.0 + fee},
        "card": {"annual_fee": fixed},
        "fund": {"balance": balance, "margin": abs(margin)},
    }
    kind = Kind.CORPORATE if bundle == "firm" else Kind.RETAIL
    of, client = catalog(changed, return_on_capital=on_capital), Client("x", kind, rating)
    best = price_bundle(client, bundle, of, authority="head_office")
    adds_up(best)
    most = float(best.total.list_price)
    if most > 0:
        adds_up(price_bundle(client, bundle, of, concession=round(share * most, 2)))


@given(st.lists(st.tuples(*[st.floats(0, 1e4)] * 3), min_size=1, max_size=4), st.floats(0, 1))
def test_no_element_gives_more_than_its_room(rooms: list[tuple[float, ...]], share: float) -> None:
    room = np.array(rooms)
    sheets = [PriceTable(CATALOG).pricing.products["account"]] * len(rooms)
    most = int(np.floor(room * 100 + 1e-6).sum())
    parts = spread(int(share * most), room, sheets)
    assert parts.sum() == int(share * most)
    assert (parts <= np.floor(room * 100 + 1e-6)).all()


def test_a_fee_that_can_only_be_waived_goes_wholly_or_not_at_all() -> None:
    of = catalog(products=with_sheet("card", benefits=["waive"]))
    assert price_bundle(PERSON, "start", of, concession=23.99).lines[1].amounts.concession == 0
    waived = price_bundle(PERSON, "start", of, concession=30.0)
    assert str(waived.lines[1].amounts.concession) == "24.00"
    assert waived.lines[1].elements[0].benefit == "waive"
    alone = price_bundle(PERSON, "card", of, concession=10.0)
    assert alone.concession == 0
    assert "10.00 of the concession fit no component and are kept" in alone.notes


def test_concessions_are_put_as_the_sheet_allows() -> None:
    found = price_bundle(replace(FIRM, rating="A"), "firm", concession=300.0)
    loan, payroll, exchange = found.lines
    assert [part.benefit for part in loan.elements] == ["spread_amount"]
    assert loan.elements[0].price == pytest.approx(0.06 - float(loan.amounts.concession) / 100_000)
    fee, unit = payroll.elements
    assert (fee.kind, unit.kind, unit.benefit) == ("fee", "unit", "percent")
    assert unit.price == pytest.approx(0.5 * (1 - float(unit.concession) / 500))
    assert exchange.elements[0].price < 0.004
    deposit = price_bundle(PERSON, "account", concession=100.0).lines[0].elements[0]
    assert deposit.price == pytest.approx(deposit.list_price + float(deposit.concession) / 10_000)


# --- bounds ------------------------------------------------------------------------------------------------------


def test_a_bundle_below_the_hurdle_says_what_would_meet_it() -> None:
    poor = replace(FIRM, rating="C")
    found = price_bundle(poor, "loan")
    missing = -float(found.total.eva) / 0.75
    assert not found.meets_hurdle
    assert found.concession == 0
    assert f"{missing:,.2f} more a year before tax would meet it" in found.remedy
    assert f"{missing / 100_000 * 1e4:,.0f} basis points more of margin on Loan" in found.remedy
    assert "the relationship with it earns" in found.remedy
    needed = CATALOG.product("loan").margin + (missing + 0.01) / 100_000
    assert price_bundle(poor, "loan", apply_terms(CATALOG, {"loan.margin": str(needed)}, "C")).meets_hurdle


def test_no_price_meets_a_hurdle_that_takes_more_of_income_than_tax_leaves() -> None:
    """A unit of income takes 1 of capital, which must earn 0.99, and leaves 0.75."""
    greedy = catalog(fee_capital={"revenue": 1.0}, hurdle=0.99)
    found = price_bundle(PERSON, "card", greedy)
    assert not found.meets_hurdle
    assert "no price of Card would meet it: a unit of income takes 1 of capital, which has to earn 0.99" in found.remedy
    assert np.isnan(found.lines[0].break_even_income)


def test_the_remedy_is_of_the_line_that_misses_the_hurdle_most() -> None:
    dear = with_sheet("card", opex=500.0)
    found = price_bundle(PERSON, "start", catalog(products=dear))
    assert found.lines[0].amounts.eva > 0 > found.lines[1].amounts.eva
    missing = -float(found.total.eva) / (0.75 - 0.1 * 0.15)
    assert f"{missing:,.2f} more a year before tax would meet it" in found.remedy
    assert f"prices of Card {missing / 24:.0%} higher" in found.remedy
    raised = catalog({"card": {"annual_fee": 24 + missing + 0.02}}, products=dear)
    assert price_bundle(PERSON, "start", raised).meets_hurdle


def test_no_deposit_is_asked_to_pay_for_being_held() -> None:
    found = price_bundle(PERSON, "dollars", catalog(products=with_sheet("dollars", opex=900.0)))
    assert "as a fee of Dollars, as no rate of 0 or more would do" in found.remedy


@pytest.mark.parametrize("bundle", ["account", "fund", "dollars"])
def test_at_the_break_even_margin_a_line_adds_nothing(bundle: str) -> None:
    """All of it conceded that floors and caps leave no matter: the whole list margin may go."""
    free = catalog(max_concession=1.0)
    found = price_bundle(PERSON, bundle, free, concession=0.0)
    even = price_bundle(PERSON, bundle, free, concession=found.break_even, authority="head_office")
    [line] = even.lines
    assert float(line.amounts.eva) == pytest.approx(0, abs=0.03)
    assert float(line.amounts.price) == pytest.approx(line.break_even_income, abs=0.02)
    assert line.break_even_margin == pytest.approx((line.break_even_income - float(found.lines[0].amounts.fees) * (
        bundle != "fund")) / float(line.balance))  # fmt: skip


def test_the_break_evens_of_lines_add_up_to_that_of_the_bundle() -> None:
    """For who is of grade B, at list price; n = 0.10 / 0.75 = 0.13333.

    | | list | cost | EL | capital | even at: cost + EL + n·capital | EVA / 0.75 |
    | --- | --- | --- | --- | --- | --- | --- |
    | payroll | 600 | 50 + 0.2/0.5 × 500 = 250 | 0 | 0.15 × 600 = 90 | 262.00 | 338.00 |
    | exchange | 1,200 | 80 + 0.001/0.004 × 1,200 = 380 | 0 | 180 | 404.00 | 796.00 |
    """
    found = price_bundle(FIRM, "firm", concession=0.0)
    loan, payroll, exchange = found.lines
    assert payroll.break_even_income == pytest.approx(262.0)
    assert exchange.break_even_income == pytest.approx(404.0)
    assert [float(line.amounts.eva) / 0.75 for line in (payroll, exchange)] == pytest.approx([338.0, 796.0])
    assert loan.break_even_income == pytest.approx(
        float(loan.amounts.opex + loan.amounts.expected_loss) + 0.1 / 0.75 * float(loan.amounts.capital), abs=0.01
    )
    even = sum(line.break_even_income for line in found.lines)
    assert float(found.total.list_price) - found.break_even == pytest.approx(even, abs=0.01)


def test_a_hurdle_that_no_price_can_meet_is_named() -> None:
    found = price_bundle(FIRM, "firm", apply_terms(CATALOG, {"hurdle": "0.99"}))
    assert not found.meets_hurdle
    assert found.concession == 0
    assert "would meet it" in found.remedy


def test_a_concession_that_goes_too_far_is_refused_or_capped() -> None:
    with pytest.raises(ValueError, match=r"concession 284.01 is not from 0 to the list price, 284.00 a year"):
        price_bundle(PERSON, "start", concession=284.01)
    with pytest.raises(ValueError, match=r"concession -1.00 is not from 0 .* ask for 0 or more"):
        price_bundle(PERSON, "start", concession=-1.0)
    capped = price_bundle(PERSON, "start", concession=200.0)
    assert float(capped.concession) == 184.0  # half the margin, 100, and both fees
    assert "a concession of 200.00 was asked for; floors and caps leave 184.00, which is quoted" in capped.notes
    dear = price_bundle(FIRM, "firm", apply_terms(CATALOG, {"hurdle": "0.30"}), concession=1500.0)
    assert any("the hurdle leave" in note for note in dear.notes)
    assert dear.meets_hurdle
    assert abs(float(dear.total.eva)) < 0.05


def test_a_concession_above_the_authority_is_quoted_and_sent_on() -> None:
    found = price_bundle(PERSON, "start", concession=50.0)
    assert str(found.concession) == "50.00"
    assert found.above == pytest.approx(50 - 28.4)
    assert found.goes_to == "branch"


@pytest.mark.parametrize(
    ("client", "bundle", "more", "message"),
    [
        (PERSON, "strat", {}, "there is no bundle 'strat' in the catalog; did you mean start"),
        (PERSON, "firm", {}, "firm is for corporate and institution clients, and p is a retail client"),
        (FIRM, "account", {}, "client f holds all of account already"),
        (
            PERSON,
            "start",
            {"authority": "janitor"},
            "authority 'janitor' is not known; use one of account_manager, bra",
        ),
        (replace(PERSON, rating="AAA"), "start", {}, "rating 'AAA' is not in the catalog's grades, which are A, B, C"),
        (
            replace(FIRM, held={"loan": Position(-1.0)}),
            "start",
            {},
            "balance -1 of loan of client f is not a number of at",
        ),
        (
            replace(FIRM, held={"loan": Position(1.0, 5.0)}),
            "start",
            {},
            "rate 5 of loan of client f is not a fraction",
        ),
    ],
)
def test_what_cannot_be_quoted_is_refused(client: Client, bundle: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        price_bundle(client, bundle, **more)


def test_without_a_price_sheet_nothing_is_quoted() -> None:
    with pytest.raises(NoPriceSheetError, match="the catalog small has no price sheet, so nothing can be quoted"):
        price_bundle(PERSON, "start", CATALOG.model_copy(update={"pricing": None}))
    few = catalog(products={"account": with_sheet("account")["account"]})
    with pytest.raises(NoPriceSheetError, match="card has no price sheet, so start cannot be quoted; add it"):
        price_bundle(PERSON, "start", few)


# --- the relationship ---------------------------------------------------------------------------------------------


def test_the_relationship_today_at_risk_with_the_bundle_and_if_lost() -> None:
    """The account earns 8,000 × 0.026 + 60 = 268, costs 30: net 178.50, capital 40.20, EVA 174.48."""
    found = price_bundle(FIRM, "firm", concession=0.0)
    today, at_risk, with_it, lost = found.relationship
    assert [one.state for one in found.relationship] == ["today", "at risk", "with this bundle", "if lost"]
    assert (today.net_income, today.capital, today.eva) == pytest.approx((178.5, 40.2, 174.48))
    assert at_risk.eva == pytest.approx(17.448)
    assert with_it.eva == pytest.approx(174.48 + float(found.total.eva), abs=0.02)
    assert with_it.raroc == pytest.approx(with_it.net_income / with_it.capital)
    assert (lost.net_income, lost.eva) == (0, 0)
    assert found.kept == pytest.approx(174.48 * 0.1 * 0.5)
    assert found.moved == 0


def test_what_moves_out_of_products_held_is_taken_off() -> None:
    """Half of the account's 8,000 goes into the dollars, and with it half of the margin of 208 and of the capital that
    this takes, 0.15 of it: 208 × 0.75 - 0.1 × 31.20 = 152.88. Fees and the cost of the account stay."""
    found = price_bundle(replace(FIRM, kind=Kind.RETAIL), "dollars", concession=0.0)
    assert found.moved == pytest.approx(152.88 / 2)
    assert found.relationship[2].eva == pytest.approx(174.48 - 152.88 / 2 + float(found.total.eva), abs=0.02)
    assert found.expected_eva == pytest.approx(0.2 * (float(found.total.eva) + found.kept - found.moved), abs=0.01)


def test_no_more_moves_than_the_new_product_takes() -> None:
    """Of 800,000 half would be 400,000, and the dollars take 8,000: a hundredth of the balance and of its margin."""
    rich = replace(FIRM, kind=Kind.RETAIL, held={"account": Position(800_000.0, 0.0, 60.0)})
    found = price_bundle(rich, "dollars", concession=0.0)
    assert found.moved == pytest.approx(0.01 * 800_000 * 0.026 * (0.75 - 0.1 * 0.15))
    assert found.relationship[2].eva > found.relationship[0].eva + float(found.total.eva) - 155


def test_of_several_products_no_more_moves_than_the_new_one_takes() -> None:
    """Of accounts with 30,000 and deposits with 10,000 half would be 20,000, and the fund takes 8,000 of them: two
    fifths of what was to move, 6,000 out of the account and 2,000 out of the deposit. Account: a fifth of 30,000 ×
    0.026; deposit: a fifth of 10,000 × (0.04 - 0.03); both times 0.75 - 0.1 × 0.15."""
    sheets = with_sheet("dollars", draws_from={"account": 0.5, "mortgage": 0.5})
    sold = catalog({"mortgage": {"side": "deposit"}}, products={
        **sheets, "mortgage": {"funding": [{"share": 1.0, "years": 5.0}], "opex": 300.0},
    })  # fmt: skip
    held = {"account": Position(30_000.0, 0.0, 60.0), "mortgage": Position(10_000.0, 0.02, 0.0)}
    rich = replace(FIRM, kind=Kind.RETAIL, held=held)
    found = price_bundle(rich, "dollars", sold, concession=0.0)
    moved = 0.2 * (30_000 * 0.026 + 10_000 * 0.01) * (0.75 - 0.1 * 0.15)
    assert found.moved == pytest.approx(moved)
    book = PriceTable(sold)
    own = Own.of(rich.worth(book), rich.worth(book, balance_alone=True))
    pricer = Pricer(book, tuple(sold.offers))
    names = [offer.bundle_id for offer in sold.offers]
    pair = np.zeros(1, dtype=int), np.array([names.index("dollars")])
    change = pricer.price(Clients(np.array([rich.cell(book)]), rich.flags(book)[None], own), *pair).change
    assert found.kept - moved == pytest.approx(change[0])


def test_products_of_a_bundle_that_draw_more_than_there_is_are_refused() -> None:
    sheets = with_sheet("dollars", draws_from={"account": 0.7})
    told = (
        "pricing.products.fund.draws_from.account: bundle saver draws 0.7 by dollars and 0.4 by fund, 1.1 of account, "
        "and no more than 1 is there; lower one"
    )
    with pytest.raises(ValueError, match=re.escape(told)):
        catalog(products={**sheets, "fund": {**sheets["fund"], "draws_from": {"account": 0.4}}})
    assert catalog(products={**sheets, "fund": {**sheets["fund"], "draws_from": {"account": 0.3}}})


def test_a_balance_that_costs_more_in_fees_than_it_earns_gains_nothing_by_moving() -> None:
    poor = replace(FIRM, kind=Kind.RETAIL, held={"account": Position(10.0, 0.0, 0.0)})
    assert price_bundle(poor, "dollars", concession=0.0).moved > 0


def test_a_bundle_that_takes_more_than_it_brings_says_so() -> None:
    """The dollars bring 8,000 × 0.01 - 10 before tax; their 8,000 earned 0.026 in the account."""
    rich = replace(FIRM, kind=Kind.RETAIL, held={"account": Position(800_000.0, 0.0, 60.0)})
    lossless = catalog(retention={"attrition": 0.0, "saved": 0.0})
    found = price_bundle(rich, "dollars", lossless, concession=0.0)
    assert found.expected_eva < 0
    worse = found.moved - float(found.total.eva)
    assert f"the bank is {worse:,.2f} of EVA a year worse off" in " ".join(found.notes)


# --- who gets which quote -----------------------------------------------------------------------------------------


@given(st.sampled_from(["sex", "religion", "nationality"]), st.text(max_size=5))
@settings(max_examples=20)
def test_equal_clients_get_equal_quotes_whatever_is_protected(attribute: str, value: str) -> None:
    one = price_bundle(PERSON, "start")
    other = price_bundle(replace(PERSON, client_id="q", attributes={attribute: value}), "start")
    assert repr(replace(other, client_id="p")) == repr(one)


def test_a_learned_response_is_not_called_an_assumption() -> None:
    learned = price_bundle(PERSON, "start", response=Logit(-1.0, 0.02, np.array([0.3])), inputs=np.array([[1.0]]))
    assert not learned.assumption
    assert learned.acceptance_at_list == pytest.approx(1 / (1 + np.exp(0.7)))
    assumed = price_bundle(PERSON, "start", acceptance=0.4)
    assert assumed.assumption
    assert assumed.acceptance_at_list == pytest.approx(0.4)
    around = "elasticity 2, around the model's probability of the whole bundle, 40.0%, as acceptance at list price"
    assert f"price response assumed by policy, not learned: {around}" in assumed.notes
    assert "20% accept at list price" in " ".join(price_bundle(PERSON, "start").notes)
    with pytest.raises(ValueError, match=r"acceptance 1.4 is not a probability from 0 to 1"):
        price_bundle(PERSON, "start", acceptance=1.4)


def test_who_has_no_rating_is_told_to_be_priced_as_unrated() -> None:
    assert (
        "the client has no rating and is priced as grade B" in price_bundle(replace(PERSON, rating=None), "start").notes
    )


# --- rules --------------------------------------------------------------------------------------------------------


def found_of(found: Quote) -> dict[str, str]:
    return {check.rule: check.status for check in found.checks}


def test_rules_of_the_european_union() -> None:
    assert found_of(price_bundle(PERSON, "saver")) == {CROSS_SELLING: "kept", SUITABILITY: "open"}
    current = replace(PERSON, suitable_until=dt.date(2026, 5, 1))
    assert found_of(price_bundle(current, "saver"))[SUITABILITY] == "kept"
    late = replace(PERSON, suitable_until=dt.date(2025, 12, 30))
    assert found_of(price_bundle(late, "saver"))[SUITABILITY] == "broken"
    silent = catalog(products=with_sheet("fund", cancellation=""))
    assert found_of(price_bundle(PERSON, "saver", silent))[CROSS_SELLING] == "broken"
    assert found_of(price_bundle(PERSON, "fund")) == {SUITABILITY: "open"}
    assert found_of(price_bundle(PERSON, "home")) == {MORTGAGES: "kept"}
    tied = catalog({"mortgage": {"alone": False}})
    assert found_of(price_bundle(PERSON, "home", tied)) == {MORTGAGES: "broken"}


def test_tying_in_the_united_states() -> None:
    us = catalog(jurisdiction="US")
    assert found_of(price_bundle(PERSON, "start", us))[TYING] == "broken"  # the card is no loan and no deposit
    assert TYING not in found_of(price_bundle(PERSON, "start", us, concession=0.0))
    assert found_of(price_bundle(replace(PERSON, abroad=True), "start", us))[TYING] == "kept"
    assert found_of(price_bundle(PERSON, "home", us, authority="head_office"))[TYING] == "kept"
    trust = catalog(jurisdiction="US", products=with_sheet("card", traditional=True))
    assert found_of(price_bundle(PERSON, "start", trust))[TYING] == "kept"


def test_conditions_that_are_known_not_to_hold_are_told() -> None:
    grown = catalog({"account": {"where": {"age": Range(min=18.0)}}})
    assert found_of(price_bundle(replace(PERSON, attributes={"age": 16.0}), "start", grown)) == {ELIGIBLE: "broken"}
    assert found_of(price_bundle(replace(PERSON, attributes={"age": 18.0}), "start", grown)) == {}
    assert found_of(price_bundle(PERSON, "start", grown)) == {}


# --- what-if ------------------------------------------------------------------------------------------------------


def test_what_if_terms_change_the_list_price() -> None:
    line = price_bundle(
        PERSON, "mortgage", apply_terms(CATALOG, {"mortgage.rate": "0.05", "mortgage.balance": "100000"}, "A")
    ).lines[0]
    assert line.elements[0].list_price == pytest.approx(0.05)
    assert 95_000 < line.balance < 100_000
    dollars = price_bundle(
        PERSON, "dollars", apply_terms(CATALOG, {"dollars.balance": "1000", "dollars.rate": "0.01"})
    ).lines[0]
    assert str(dollars.balance) == "800.00"  # at 0.8 euros a dollar
    assert dollars.elements[0].list_price == pytest.approx(0.01)
    fewer = price_bundle(FIRM, "payroll", apply_terms(CATALOG, {"payroll.volume": "400", "payroll.fee": "90"})).lines[0]
    assert str(fewer.amounts.list_price) == "290.00"
    limit = price_bundle(PERSON, "home", apply_terms(CATALOG, {"line.limit": "5000"})).lines[1]
    assert str(limit.undrawn) == "1000.00"
    cheaper = price_bundle(FIRM, "payroll", apply_terms(CATALOG, {"payroll.unit_price": "0.4"}), concession=0.0).lines[
        0
    ]
    assert cheaper.elements[1].list_price == pytest.approx(0.4)
    listed = price_bundle(FIRM, "payroll", concession=0.0).lines[0].amounts.list_price
    assert float(cheaper.amounts.list_price) == pytest.approx(100 + (float(listed) - 100) * 0.8)


def test_a_shorter_loan_is_funded_for_less_time_and_takes_less_capital() -> None:
    listed, shorter = (
        price_bundle(FIRM, "loan", apply_terms(CATALOG, terms, "B"), concession=0.0).lines[0]
        for terms in ({}, {"loan.term": "1"})
    )
    assert shorter.amounts.capital < listed.amounts.capital
    assert shorter.elements[0].list_price < listed.elements[0].list_price
    assert shorter.amounts.price == listed.amounts.price  # the margin is the same
    terms = {"loan.rate": "0.07", "loan.term": "1"}
    asked = price_bundle(FIRM, "loan", apply_terms(CATALOG, terms, "B"), concession=0.0).lines[0]
    assert asked.elements[0].list_price == pytest.approx(0.07)  # the rate asked for, whatever funds of that term cost
    riskier = price_bundle(FIRM, "loan", apply_terms(CATALOG, {"loan.lgd": "0.9"}), concession=0.0).lines[0]
    assert float(riskier.amounts.expected_loss) == pytest.approx(2 * float(listed.amounts.expected_loss))


@pytest.mark.parametrize(
    ("term", "value", "message"),
    [
        ("loan.balance", "-5", "loan.balance -5 is below 0; it has to be 0 or more"),
        ("loan.rate", "5", "loan.rate 5 is not from -0.5 and below 1; write a fraction, 0.05 for five percent"),
        ("loan.currency", "XXX", "loan.currency 'XXX' is not a currency with a rate; use one of EUR, USD"),
        ("loan.balance", "much", "loan.balance 'much' is not a number"),
        ("loan.balance", "nan", "loan.balance nan is no amount that a contract has"),
        (
            "loan.colour",
            "1",
            "term 'loan.colour' is not known; write PRODUCT.NAME=VALUE with NAME one of balance, limit",
        ),
        ("lone.balance", "1", "term 'lone.balance' is not known"),
        ("card.limit", "1", "card.limit: card has no limit, as it is no credit"),
        ("card.volume", "1", "card.volume: card is not charged by the unit; give its fee"),
        ("card.rate", "0.1", "card.rate: card is a service and has no rate; give its margin or its fee"),
        ("loan.margin", "0.01", "loan.margin 0.01 leaves a margin of 0.0100, below the floor of 0.015"),
        ("card.term", "3", "card.term: card is no credit, so it has none"),
        ("loan.term", "40", "products.loan.funding[0].years"),
        ("loan.term", "0", "is not above 0"),
        ("loan.lgd", "45", "loan.credit.lgd: 45.0 is not more than 0 and at most 1; correct it"),
        ("card.unit_price", "1", "card.unit_price: card is not charged by the unit"),
        ("hurdle", "12", "with hurdle 12: pricing.hurdle: 12 is not from 0 and below 1; write a fraction"),
        ("acceptance", "1", "1 is not above 0 and below 1; a probability of 0 or 1 has no price"),
        ("jurisdiction", "EUR", "pricing.jurisdiction: the text 'EUR' is not known; did you mean EU"),
        ("elasticity", "-2", "with elasticity -2: pricing.response.elasticity: -2.0 is not more than 0; correct it"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_name_value_and_bounds(term: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        apply_terms(CATALOG, {term: value})
