"""The yardsticks themselves: what they compute by hand, that they skip where they must, and that they agree."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import discovery, profiles
from benchmarks.figures import Figure
from benchmarks.measure import in_turns, median_ratio
from benchmarks.profile_query import query
from benchmarks.santander import __main__ as santander
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features.bank import connect
from sheaf.simulation.behaviour import read_behaviour


def test_average_precision_counts_the_first_seven_and_divides_by_what_was_opened():
    shown = np.array([[0, 1, 2, 3, 4, 5, 6], [7, 8, 0, -1, -1, -1, -1], [0, 1, 2, 3, 4, 5, 6]])
    opened = np.zeros((3, 9), dtype=bool)
    opened[0, [0, 2]] = True
    opened[1, [0, 8, 3]] = True
    assert santander.average_precision(shown, opened) == pytest.approx([(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 3, 0])


def test_average_precision_of_a_client_who_opened_more_than_seven_can_still_be_one():
    opened = np.ones((1, 9), dtype=bool)
    assert santander.average_precision(np.arange(7)[None], opened) == pytest.approx([1.0])


def test_a_client_without_a_ranking_counts_zero():
    assert santander.average_precision(np.full((1, 7), -1), np.ones((1, 9), dtype=bool)) == pytest.approx([0.0])


def test_santander_is_skipped_where_the_data_is_absent(tmp_path, capsys):
    santander.main(data=tmp_path)
    assert "skipped" in capsys.readouterr().out


def test_ways_take_turns_and_the_order_turns_too():
    called = []
    seconds = in_turns(3, ours=lambda: called.append("ours"), theirs=lambda: called.append("theirs"))
    assert called == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert {name: len(of_way) for name, of_way in seconds.items()} == {"ours": 3, "theirs": 3}


def test_ratio_is_the_median_over_rounds():
    assert median_ratio([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == 2.0


@pytest.mark.parametrize(("at_most", "met"), [(True, False), (False, True)])
def test_a_target_is_a_limit_or_a_floor(at_most, met):
    assert Figure("", "", "", 1.6, 1.5, at_most).met is met


def test_the_query_written_by_hand_gives_the_profile(tmp_path):
    sold = read_catalog(DEFAULT).model_copy(update={"pricing": None})  # the query knows no prices
    profiles.make(tmp_path, 1_500, 30_000, sold)
    by_hand = connect().sql(query(tmp_path, sold, profiles.DAY)).to_arrow_table()
    assert profiles.check_equal(profiles.by_sheaf(tmp_path, sold), by_hand, tmp_path, sold) == by_hand.num_columns


def test_a_difference_between_query_and_profile_is_named(tmp_path):
    sold = read_catalog(DEFAULT).model_copy(update={"pricing": None})  # the query knows no prices
    profiles.make(tmp_path, 300, 3_000, sold)
    wrong = query(tmp_path, sold, profiles.DAY).replace("/ 30.4375 as tenure_months", "/ 30 as tenure_months")
    with pytest.raises(ValueError, match="tenure_months"):
        profiles.check_equal(profiles.by_sheaf(tmp_path, sold), connect().sql(wrong).to_arrow_table(), tmp_path, sold)


def test_ties_are_read_from_what_the_simulation_draws_from():
    tied = discovery.tied(read_behaviour("retail"), ["credit_card", "debit_card", "mortgage", "overdraft"])
    assert ("credit_card", "debit_card") in tied  # a need for travel acts on holders of a debit card
    assert ("credit_card", "overdraft") in tied  # a squeeze, of young people with a middle income
    assert ("debit_card", "mortgage") not in tied
    apart = discovery.can_both
    retail = read_behaviour("retail")
    assert apart(retail, "need.wealth & prime", "need.wealth & high")
    assert not apart(retail, "need.wealth & prime", "need.wealth & senior")
    assert not apart(retail, "need.travel & low", "need.travel & !low")
    assert not apart(retail, "rating.D & low", "rating.E & low")
    linked = discovery.linked_ties()
    assert ("employer", "payroll_agency", "payroll_account") in linked
    assert ("owner", "life_insurance", "leasing") in linked  # the owner is the linked client, the firm borrows
    assert ("owner", "leasing", "life_insurance") not in linked
    assert {
        ("group", "cash_management", "cash_management"),
        ("supplier", "letter_of_credit", "cross_border_payments"),
    } <= linked


@pytest.mark.parametrize(
    "module",
    [
        "discovery", "linkage", "logged_prices", "new_products", "pricing", "profiles", "rank", "ranking.ablation",
        "ranking.single",
        "serving.__main__", "simulated", "simulation", "strategy", "training",
    ],
)  # fmt: skip
def test_every_benchmark_says_what_it_compares(module):
    app = typer.Typer()
    app.command()(importlib.import_module(f"benchmarks.{module}").main)
    told = CliRunner().invoke(app, ["--help"])
    assert told.exit_code == 0, told.output
