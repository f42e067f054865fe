"""The price sheets as arrays, by hand, and what a bank may get wrong in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sheaf.catalog import Catalog, CatalogError, read_catalog
from sheaf.pricing.basel import capital_share
from sheaf.pricing.price_table import NoPriceSheetError, PriceTable, funds_rate
from tests.catalog.test_errors import GOOD
from tests.pricing.books import SHEETS, catalog, with_sheet

BOOK = PriceTable(catalog())


def at(amounts: np.ndarray, key: str, rating: str = "B", sales: float | None = None) -> Any:
    return amounts[BOOK.cell(rating, sales), BOOK.positions[key]]


def test_a_deposit_earns_margin_and_fee_and_takes_capital_of_its_revenue() -> None:
    """Margin 10,000 × 0.02 = 200, fee 60; cost 30; net (260 - 30) × 0.75 = 172.5; capital 0.15 × 260 = 39."""
    year = BOOK.economics
    assert at(year.contribution, "account") == pytest.approx(260)
    assert at(year.net_income, "account") == pytest.approx(172.5)
    assert at(year.eva, "account") == pytest.approx(172.5 - 3.9)


def test_a_loan_to_a_firm_by_grade_and_size() -> None:
    """The expected loss of 100,000 at PD 1 % and LGD 45 % is 450, its capital the Basel share of 100,000."""
    year = BOOK.economics
    assert at(year.margin, "loan") == pytest.approx(3200)  # 3 %, and 0.2 % for grade B
    assert at(year.margin, "loan", "A") == pytest.approx(3000)
    assert at(year.expected_loss, "loan") == pytest.approx(450)
    # a bullet loan of 2.5 years at 6 % pays interest before: its effective maturity is a little less
    maturity = BOOK.maturity[BOOK.positions["loan"]]
    assert 2.3 < maturity < 2.5
    for sales, counts_as in ((None, np.inf), (3e6, 5.0), (5e6, 5.0), (6e6, 50.0), (51e6, np.inf)):
        k = capital_share("corporate", 0.01, 0.45, maturity, counts_as)
        assert at(year.capital, "loan", "B", sales) == pytest.approx(float(k) * 100_000)


def test_a_line_is_drawn_and_undrawn() -> None:
    """4,000 drawn, 6,000 undrawn, of which 40 % will be drawn: EAD 6,400."""
    assert at(BOOK.economics.expected_loss, "line") == pytest.approx(0.01 * 0.45 * 6400)
    assert at(BOOK.economics.capital, "line") == pytest.approx(6400 * float(capital_share("other_retail", 0.01, 0.45)))


def test_services_by_the_unit_cost_by_the_unit() -> None:
    """Payroll: 600 a year are 100 fixed and 1,000 payments at 0.50, each of which costs 0.20; and 50 fixed cost."""
    assert at(BOOK.economics.opex, "payroll") == pytest.approx(50 + 1000 * 0.2)
    assert at(BOOK.economics.opex, "exchange") == pytest.approx(80 + 300_000 * 0.001)  # 1,200 at 0.4 % are 300,000
    assert at(BOOK.economics.fees, "fund") == pytest.approx(160)


def test_another_currency_is_funded_by_its_own_curve() -> None:
    assert BOOK.funds[BOOK.positions["dollars"]] == pytest.approx(0.04)
    assert BOOK.funds[BOOK.positions["account"]] == pytest.approx(0.6 * 0.03 + 0.4 * 0.02)


def test_how_far_a_price_may_be_lowered() -> None:
    room = {key: at(BOOK.room, key).tolist() for key in SHEETS}
    assert room["account"] == pytest.approx([100, 60, 0])  # half the margin; the fee may be waived
    assert room["loan"] == pytest.approx([1600, 0, 0])  # half of 3,200 lies above the floor of 1,500
    assert room["payroll"] == pytest.approx([0, 60, 200])  # a floor of 40; one of 0.30 a payment
    assert room["line"] == pytest.approx([104, 0, 0])
    assert at(BOOK.room, "loan", "A")[0] == pytest.approx(1500)


def test_a_catalog_without_a_price_sheet_says_so() -> None:
    bare = catalog().model_copy(update={"pricing": None})
    with pytest.raises(NoPriceSheetError, match="the catalog small has no price sheet, so nothing can be quoted; add"):
        _ = PriceTable(bare).economics
    assert funds_rate(bare, bare.products[0]) == bare.policy.transfer_rate


def test_a_rating_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="rating 'Z' is not in the catalog's grades, which are A, B, C; add it"):
        BOOK.cell("Z")
    with pytest.raises(ValueError, match="turnover -1 is below 0"):
        BOOK.cell("A", -1.0)
    assert BOOK.cell(None) == BOOK.cell("B")


YAML = (
    GOOD.replace(
        "line: corporate\n    family: loans", "line: corporate\n    family: loans\n    side: asset\n    margin: 0.02"
    ).replace("family: accounts", "family: accounts\n    side: deposit\n    annual_fee: 10")
    + """\
pricing:
  curves: {EUR: [{years: 0.25, rate: 0.02}, {years: 10, rate: 0.03}]}
  grades: {A: {pd: 0.01}}
  unrated: A
  products:
    account:
      funding: [{share: 1, years: 1}]
    loan:
      funding: [{share: 1, years: 5}]
      credit: {asset_class: corporate, lgd: 0.45}
      opex: 10
"""
)


def test_the_price_sheet_that_the_next_test_breaks_is_good(tmp_path: Path) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(YAML)
    read = read_catalog(file)
    assert Catalog.model_validate_json(read.model_dump_json()) == read
    file.write_text(YAML.replace("opex: 10", "opex: 11"))
    assert read_catalog(file).version != read.version


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate: 0.03", "rate: 3", "curves.EUR[1].rate: 3 is not from -0.5 and below 1; write a fraction, 0.05"),
        ("pd: 0.01", "pd: 0.0", "grades.A.pd: 0 is not from 0.0003 and below 1; write a fraction; 0.03 percent is"),
        ("pd: 0.01", "pd: 1", "grades.A.pd: 1 is not from 0.0003 and below 1; write a fraction; 0.03 percent is"),
        ("unrated: A", "unrated: B", "pricing: unrated B is not a grade; use one of A"),
        ("unrated: A", "unrated: A\n  hurdle: 10", "hurdle: 10 is not from 0 and below 1; write a fraction, 0.05"),
        ("years: 5}", "years: 12}", "products.loan.funding[0].years: 12 years are beyond the EUR curve, which goes "
         "from 0.25 to 10; stay within it"),
        ("opex: 10", "margin_floor: 0.03", "products.loan.margin_floor: 0.03 is above the list price, the product's "
         "margin 0.02; set it to at most 0.02"),
        ("years: 1}]", "years: 1}]\n      fee_floor: 12", "products.account.fee_floor: 12 is above the list price, a "
         "fixed fee of 10; set it between 0 and 10"),
        ("opex: 10", "currency: USD", "products.loan.currency: there is no rate for USD; add it to pricing.rates"),
        ("opex: 10", "currency: USD", "products.loan.currency: there is no curve for USD; add it to pricing.curves"),
        ("opex: 10", "currency: Euro", "products.loan.currency: the text 'Euro' is not a currency; write its three"),
        ("curves: {EUR:", "curves: {USD:", "pricing.curves: there is no curve for EUR, the catalog's currency; add"),
        ("share: 1, years: 1}", "share: 0.5, years: 1}", "products.account.funding: the shares add up to 0.5 and not"),
        ("      credit: {asset_class: corporate, lgd: 0.45}\n", "", "products.loan: lends and has no credit; add"),
        ("lgd: 0.45", "lgd: 45", "products.loan.credit.lgd: 45 is not more than 0 and at most 1; correct it"),
        ("lgd: 0.45", "lgdd: 0.45", "products.loan.credit.lgdd: is not a field of a credit; did you mean lgd?"),
        ("corporate, lgd", "corporat, lgd", "credit.asset_class: the text 'corporat' is not known; did you mean corp"),
        ("    loan:\n      funding", "    laon:\n      funding", "products.laon: there is no product laon; did you"),
        ("unrated: A", "unrated: A\n  turnover: sex", "pricing.turnover: sex is protected by policy and may not move"),
        ("opex: 10", "unit_price: 1\n      unit_floor: 2", "unit_floor 2 is above the list price, unit_price 1; set"),
        ("lgd: 0.45", "lgd: 0.45, term_years: 400", "credit.term_years: 400 is not above 0 and below 100; give"),
        ("opex: 10", "opex: -10", "products.loan.opex: -10 is not at least 0; correct it"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_price_sheet_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert YAML.count(old) == 1
    file = tmp_path / "bank.yaml"
    file.write_text(YAML.replace(old, new))
    with pytest.raises(CatalogError) as caught:
        read_catalog(file)
    assert message in str(caught.value)


def test_a_sheet_may_be_missing_and_then_brings_nothing_known() -> None:
    book = PriceTable(catalog(products={"card": SHEETS["card"]}))
    assert np.isnan(book.economics.eva[0, book.positions["loan"]])
    assert book.economics.eva[0, book.positions["card"]] == pytest.approx((24 - 2) * 0.75 - 0.1 * 0.15 * 24)


def test_a_floor_may_not_be_undercut_by_a_sheets_own_cap() -> None:
    book = PriceTable(catalog(products=with_sheet("account", margin_floor=0.019), max_concession=0.9))
    assert book.room[0, 0] == pytest.approx([10_000 * 0.001, 60, 0])


def test_a_limit_below_what_is_drawn_of_it_is_named() -> None:
    credit = SHEETS["line"]["credit"] | {"limit": 10.0}
    with pytest.raises(ValueError, match=r"limit: 10 is below the product's balance"):
        catalog(products=with_sheet("line", credit=credit))


def test_a_floor_above_the_list_price_of_some_grade_is_named() -> None:
    grades = {"A": {"pd": 0.002, "margin": -0.02}, "B": {"pd": 0.01}}
    with pytest.raises(ValueError, match=r"0.015 is above the list price of grade A, a margin of 0.01"):
        catalog(grades=grades)


def test_a_unit_that_costs_more_than_its_price_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"unit_cost 0\.6 is above the list price, unit_price 0\.5, so every unit"
    ):
        catalog(products=with_sheet("payroll", unit_cost=0.6))


def test_an_attribute_that_a_price_goes_by_is_not_protected_and_named_once() -> None:
    with pytest.raises(ValidationError, match="nationality is protected by policy and may not move a price"):
        catalog(abroad="nationality")
    with pytest.raises(ValidationError, match="ends is named for more than one of turnover, suitable_until, abroad"):
        catalog(abroad="ends", suitable_until="ends")


def test_the_balance_of_an_annuity_goes_by_the_clients_own_rate() -> None:
    """A mortgage of 100,000 over 30 years at funds of 3 % and a margin of 4.925 %, to which grade B adds 0.2 %: at
    8.125 % Fabozzi (Bond Markets, level-payment mortgages) has 742.50 paid a month. At grade A's rate, 7.925 %, more is
    paid back in the first year."""
    sheets = with_sheet("mortgage", credit={**SHEETS["mortgage"]["credit"], "term_years": 30.0})
    book = PriceTable(catalog({"mortgage": {"balance": 100_000.0, "margin": 0.04925}}, products=sheets))
    at, left, owed = book.positions["mortgage"], [], 100_000.0
    for _ in range(12):
        left.append(owed)
        owed = owed * (1 + 0.08125 / 12) - 742.50
    lent = {grade: float(book.economics.balance[book.cell(grade), at]) for grade in "AB"}
    assert lent["B"] == pytest.approx(np.mean(left), abs=0.05)
    assert lent["A"] < lent["B"] - 10
    assert book.list_price[book.cell("B"), at, 0] == pytest.approx(np.mean(left) * 0.05125, abs=0.01)


def in_forints(**prices: Any) -> Catalog:
    """The small bank with its money in HUF, 400 to the euro; prices are as told."""
    content = catalog().model_dump()
    content["pricing"] |= {
        "curves": {"HUF": content["pricing"]["curves"]["EUR"], "USD": content["pricing"]["curves"]["USD"]},
        "rates": {"EUR": 400.0, "USD": 320.0},
    }
    content["pricing"] |= prices
    return Catalog.model_validate(content | {"currency": "HUF"})


@pytest.mark.parametrize("euros", [None, 1e6, 4.999e6, 5e6, 5.001e6, 2e7, 5e7, 5.001e7])
def test_a_firm_is_as_large_in_forints_as_in_euros(euros: float | None) -> None:
    """The bands of CRE31.8 are millions of euros: sales of HUF 2,000 million are EUR 5 million."""
    forints = PriceTable(in_forints())
    assert forints.cell("C", None if euros is None else euros * 400) == BOOK.cell("C", euros)


def test_capital_of_a_firm_in_forints_by_hand() -> None:
    """CRE31.5 and CRE31.8 for a PD of 8 %, an LGD of 45 % and sales of HUF 2,000 million, EUR 5 million:
    w = (1 - e^-4)/(1 - e^-50) = 0.98168, R = 0.12 w + 0.24 (1 - w) - 0.04 = 0.08220, G(0.08) = -1.40507,
    N[(-1.40507 + 0.28670 · 3.09023)/0.95802] = N(-0.54184) = 0.29396, K before maturity 0.45 · 0.21396 = 0.09628."""
    book = PriceTable(in_forints())
    cell, at = book.cell("C", 2e9), book.positions["loan"]
    b = (0.11852 - 0.05478 * np.log(0.08)) ** 2
    factor = (1 + (book.maturity[at] - 2.5) * b) / (1 - 1.5 * b)
    assert book.coefficients.k[cell, at] == pytest.approx(0.09628 * factor, rel=2e-4)
    assert book.economics.capital[cell, at] < book.economics.capital[book.cell("C"), at]


def test_bands_of_sales_without_a_rate_for_the_euro_are_refused() -> None:
    message = (
        r"pricing\.firm_sizes: are millions of euros, and there is no rate for EUR; say in pricing\.rates what one"
    )
    with pytest.raises(ValidationError, match=message):
        in_forints(rates={"USD": 320.0})
    assert PriceTable(in_forints(rates={"USD": 320.0}, firm_sizes=())).sizes == [np.inf]  # nothing to convert


def test_a_loan_of_three_months_brings_a_quarter_of_its_margin_loss_and_capital() -> None:
    """100,000 for three months: the mean of twelve is 25,000, and its effective maturity counts as a year."""
    credit = {**SHEETS["loan"]["credit"], "term_years": 0.25}
    book = PriceTable(catalog(products=with_sheet("loan", credit=credit)))
    cell, product = book.cell("B"), book.positions["loan"]
    year = book.economics.at((cell, product))
    assert year.balance == 25_000
    assert year.margin == pytest.approx(25_000 * 0.032)
    assert year.expected_loss == pytest.approx(25_000 * 0.01 * 0.45)
    assert year.capital == pytest.approx(25_000 * float(capital_share("corporate", 0.01, 0.45, 1.0)))
    assert year.opex == 200  # an account costs what it costs
    assert book.room[cell, product, 0] == pytest.approx(25_000 * 0.016)  # half of the margin may be conceded


def test_a_limit_of_three_months_is_undrawn_for_three_months_unless_it_revolves() -> None:
    credit = {**SHEETS["line"]["credit"], "term_years": 0.25}
    for revolving, share in ((None, 0.25), (True, 1.0)):
        more = {} if revolving is None else {"revolving": revolving}
        book = PriceTable(catalog(products=with_sheet("line", credit=credit | more)))
        at = book.positions["line"]
        assert book.undrawn[at] == 6_000 * share
        assert book.economics.expected_loss[book.cell("B"), at] == pytest.approx(0.01 * 0.45 * 6400 * share)


def test_a_catalog_that_says_nothing_of_revolving_keeps_its_version() -> None:
    assert "revolving" not in catalog().model_dump_json()
    assert Catalog.model_validate_json(catalog().model_dump_json()).version == catalog().version
