"""The example that docs/explanation/prices.md goes through by hand is what the default catalog gives."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from rich.console import Console

from sheaf.catalog import DEFAULT, Kind, read_catalog
from sheaf.pricing import Client, Quote, price_bundle
from sheaf.pricing.views import draw, shown

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "prices.md"


@pytest.fixture(scope="module")
def example() -> Quote:
    return price_bundle(
        read_catalog(DEFAULT), Client("new", Kind.RETAIL, "B"), "home_improvement", dt.date(2025, 12, 31)
    )


def test_the_worked_example_has_the_figures_of_the_quote(example: Quote) -> None:
    _, _, text = PAGE.read_text(encoding="utf-8").partition("## An example to follow by hand")
    loan, insurance = example.lines
    figures = [
        *(f"{amount:,.2f}" for amount in (
            loan.balance, loan.amounts.list_price, insurance.amounts.list_price, example.total.list_price,
            loan.amounts.expected_loss, loan.amounts.capital, insurance.amounts.capital, example.total.capital,
            example.break_even, example.ideal, example.concession, loan.amounts.concession,
            insurance.amounts.concession, example.total.price, example.total.tax, example.total.net_income,
            example.total.eva, example.expected_eva,
        )),
        f"{loan.elements[0].list_price:.3%}".replace("%", " %"), f"{loan.elements[0].price:.3%}".replace("%", " %"),
        f"{example.raroc:.1%}".replace("%", " %"), f"{example.acceptance:.1%}".replace("%", " %"),
    ]  # fmt: skip
    assert [figure for figure in figures if figure not in text] == []
    assert example.goes_to == "branch"


def test_a_quote_is_shown_whole(example: Quote) -> None:
    console = Console(record=True, width=120)
    console.print(shown(example))
    said = " ".join(console.export_text().split())
    for text in ("Home improvement for client new", "7.725% │ 7.147% │ spread amount",
                 "At the end of each insured year.",
                 "with this bundle", "The account manager may concede 54.00. 128.56 is 74.56 above that",
                 "price response assumed by policy, not learned: 15% accept at list price"):  # fmt: skip
        assert text in said


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_digit_is_cut_where_the_terminal_is_narrow(example: Quote, width: int) -> None:
    console = Console(record=True, width=width)
    console.print(shown(example))
    said = console.export_text()
    assert "…" not in said
    for line in example.lines:
        for amount in (line.amounts.list_price, line.amounts.capital, line.amounts.eva):
            assert f"{amount:,.2f}" in said


def test_the_curve_is_a_picture(example: Quote, tmp_path: Path) -> None:
    draw(example, tmp_path / "new" / "curve.png")
    assert (tmp_path / "new" / "curve.png").read_bytes().startswith(b"\x89PNG")
