"""How managers are judged: small books worked out by hand, and what holds of every bank."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sheaf.features import Bank
from sheaf.pricing.price_table import PriceTable
from sheaf.strategy import Scorecard, Strategy, StrategyError, judge, read_strategy
from sheaf.strategy.managers.peers import between, shrunk, standing
from sheaf.strategy.managers.scorecard import month_ends, read_plans
from sheaf.strategy.views.scorecard import card_table, draw_card, draw_scores, scores_table
from tests.strategy.banks import CATALOG, POLICY, changed

NOVEMBER, DECEMBER = dt.date(2025, 11, 30), dt.date(2025, 12, 31)
FUNDS = dict(zip((p.product_id for p in CATALOG.products), PriceTable(CATALOG).funds, strict=True))
ALL = {name: {"weight": 1 / 13} for name in (POLICY.scorecard.measures if POLICY.scorecard else {})}


def policy(measures: dict[str, Any] | None = None, **other: Any) -> Strategy:
    """One measure, or those given, with clients alike by kind and one of two sizes."""
    content = POLICY.model_dump(mode="json")
    content["scorecard"] |= {"measures": measures or ALL, "bands": 2} | other
    return Strategy.model_validate(content)


def clients(*rows: dict[str, Any]) -> pd.DataFrame:
    """Persons of manager M1 in branch B1, who joined long ago; ids are stated."""
    usual = {"kind": "retail", "joined_on": "2020-01-01", "manager_id": "M1", "branch_id": "B1"}
    return pd.DataFrame([usual | row for row in rows])


def positions(*rows: tuple[str, str, dt.date, float], **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["client_id", "product_id", "month", "balance"])
    return frame.assign(**columns)


def bank(clients: pd.DataFrame, **tables: pd.DataFrame) -> Bank:
    holdings = pd.DataFrame({"client_id": clients["client_id"], "product_id": "mortgage", "opened_on": "2021-01-01"})
    return Bank.of(clients=clients, holdings=holdings.drop_duplicates(), **tables)


def figures(found: Scorecard, unit: str, name: str, measure: str) -> dict[str, Any]:
    [row] = [one for one in found.of(unit, name).to_pylist() if one["measure"] == measure]
    return row


def three_managers(extra: float = 0.0) -> Bank:
    """M1 has two poor clients, M2 two rich ones, M3 one of each; deposits grow by 1 and by 100, of `p1` by more."""
    of = {"p1": "M1", "p2": "M1", "r1": "M2", "r2": "M2", "p3": "M3", "r3": "M3"}
    rows = []
    for client in of:
        before, growth = (10.0, 1.0) if client[0] == "p" else (1000.0, 100.0)
        more = extra if client == "p1" else 0.0
        rows += [
            (client, "savings_account", NOVEMBER, before),
            (client, "savings_account", DECEMBER, before + growth + more),
        ]
    return bank(clients(*({"client_id": c, "manager_id": m} for c, m in of.items())), positions=positions(*rows))


def test_a_manager_with_poor_clients_is_no_poor_manager() -> None:
    found = judge(policy({"deposits_local": {"weight": 1.0}}), CATALOG, three_managers(), [DECEMBER])
    for name, change in (("M1", 2.0), ("M2", 200.0), ("M3", 101.0)):
        row = figures(found, "manager", name, "deposits_local")
        assert (row["actual"], row["expected"]) == (pytest.approx(change), pytest.approx(change))
        assert figures(found, "manager", name, "score")["points"] == 100.0


def test_expected_is_what_the_same_clients_bring_on_the_banks_average() -> None:
    found = judge(policy({"deposits_local": {"weight": 1.0}}), CATALOG, three_managers(extra=2.0), [DECEMBER])
    poor = (3.0 + 1.0 + 1.0) / 3
    row = figures(found, "manager", "M1", "deposits_local")
    assert (row["actual"], row["expected"]) == (pytest.approx(4.0), pytest.approx(2 * poor))
    variance = ((3 - poor) ** 2 + 2 * (1 - poor) ** 2) / 3  # of a client of the cell; two of them are the book's
    assert row["high"] - row["expected"] == pytest.approx(1.959964 * np.sqrt(2 * variance))
    assert figures(found, "manager", "M3", "deposits_local")["expected"] == pytest.approx(poor + 100)
    assert figures(found, "manager", "M2", "deposits_local")["expected"] == pytest.approx(200)


def test_deposits_are_by_currency_and_those_of_who_left_are_lost() -> None:
    rows = positions(
        ("a", "savings_account", NOVEMBER, 100.0), ("a", "savings_account", DECEMBER, 130.0),
        ("a", "foreign_currency_account", NOVEMBER, 10.0), ("a", "foreign_currency_account", DECEMBER, 15.0),
        ("b", "savings_account", NOVEMBER, 50.0), ("a", "mortgage", DECEMBER, 1e6),
    )  # fmt: skip
    rows["currency"] = [None, None, "USD", "USD", "USD", None]
    of = clients(
        {"client_id": "a"}, {"client_id": "b", "left_on": "2025-12-10"}, {"client_id": "c", "left_on": "2025-11-10"}
    )
    found = judge(policy(), CATALOG, bank(of, positions=rows), [DECEMBER])
    rate = CATALOG.pricing.rates["USD"] if CATALOG.pricing else 1.0
    assert figures(found, "manager", "M1", "deposits_local")["actual"] == pytest.approx(30.0)
    assert figures(found, "manager", "M1", "deposits_foreign")["actual"] == pytest.approx(rate * (5.0 - 50.0))
    assert figures(found, "manager", "M1", "deposits_local")["clients"] == 2


def test_a_client_counts_for_whoever_has_it_at_the_end_of_the_month() -> None:
    of = clients(
        {"client_id": "a", "valid_from": "2020-01-01"},
        {"client_id": "a", "valid_from": "2025-12-15", "manager_id": "M2"},
        {"client_id": "a", "valid_from": "2026-01-02", "manager_id": "M3"},
        {"client_id": "b", "valid_from": "2020-01-01"},
    )
    found = judge(policy(), CATALOG, bank(of), [NOVEMBER, DECEMBER])
    rows = {(row["month"], row["id"]): row["clients"] for row in found.rows.to_pylist() if row["unit"] == "manager"}
    assert rows == {(NOVEMBER, "M1"): 2, (DECEMBER, "M1"): 1, (DECEMBER, "M2"): 1}


def test_loans_that_do_not_perform_and_those_that_were_preserved() -> None:
    of = clients(
        {"client_id": "a", "rating": "D", "valid_from": "2020-01-01"},  # watched, and pays again
        {"client_id": "a", "rating": "A", "valid_from": "2025-12-20"},
        {"client_id": "b", "rating": "E", "valid_from": "2020-01-01"},  # paid back 40 of 100
        {"client_id": "c", "rating": "A", "valid_from": "2020-01-01"},
    )
    rows = [
        ("a", "mortgage", NOVEMBER, 60.0),
        ("b", "mortgage", NOVEMBER, 100.0),
        ("c", "mortgage", NOVEMBER, 500.0),
        *(("a", "mortgage", DECEMBER, 60.0), ("b", "mortgage", DECEMBER, 60.0), ("c", "mortgage", DECEMBER, 480.0)),
    ]
    found = judge(policy(), CATALOG, bank(of, positions=positions(*rows)), [DECEMBER])
    assert figures(found, "manager", "M1", "non_performing")["actual"] == pytest.approx(60 / 600)
    assert figures(found, "manager", "M1", "assets_preserved")["actual"] == pytest.approx((60 + 40) / 160)
    told = judge(
        policy(), CATALOG, bank(of.assign(non_performing=[0, 0, 0, 1]), positions=positions(*rows)), [DECEMBER]
    )
    assert figures(told, "manager", "M1", "non_performing")["actual"] == pytest.approx(480 / 600)


def test_a_rate_above_list_on_loans_or_below_on_deposits_is_achieved() -> None:
    product = {one.product_id: one for one in CATALOG.products}
    grades = CATALOG.pricing.grades if CATALOG.pricing else {}
    lent = FUNDS["mortgage"] + product["mortgage"].margin + grades["D"].margin
    paid = FUNDS["savings_account"] - product["savings_account"].margin
    rows = positions(("a", "mortgage", DECEMBER, 300.0), ("a", "savings_account", DECEMBER, 100.0),
                     ("a", "term_deposit", DECEMBER, 1e6), rate=[lent + 0.002, paid + 0.001, None])  # fmt: skip
    found = judge(policy(), CATALOG, bank(clients({"client_id": "a", "rating": "D"}), positions=rows), [DECEMBER])
    row = figures(found, "manager", "M1", "rate_achieved")
    assert row["actual"] == pytest.approx((300 * 0.002 - 100 * 0.001) / 400)


def test_flows_fees_and_the_wallet() -> None:
    flows = pd.DataFrame({"client_id": "a", "booked_at": ["2025-11-30", "2025-12-01", "2025-12-31", "2025-12-05"],
                          "amount": [9.0, 100.0, -40.0, -7.0], "currency": ["EUR", None, "EUR", "USD"]})  # fmt: skip
    stood = positions(
        *((name, "savings_account", DECEMBER, balance) for name, balance in zip("abc", (0, 50, 100), strict=True)),
        fees=2.0,
    )
    of = clients(*({"client_id": name} for name in "abc"))
    found = judge(policy(wallet=0.5), CATALOG, bank(of, positions=stood, transactions=flows), [DECEMBER])
    told = {row["measure"]: row["actual"] for row in found.of("branch", "B1").to_pylist()}
    assert (told["settlement"], told["foreign_exchange"], told["fees"]) == (140.0, 7.0, 6.0)
    assert told["share_of_wallet"] == pytest.approx(150 / (50 + 50 + 100))  # half of the clients are below 50


def test_offers_count_when_made_and_when_answered() -> None:
    offers = pd.DataFrame(
        [("o1", "2025-11-20", "accepted", "2025-12-02"), ("o2", "2025-12-03", "rejected", "2025-12-09"),
         ("o3", "2025-12-04", "accepted", "2026-01-02"), ("o4", "2025-11-02", "accepted", "2025-11-09")],
        columns=["offer_id", "offered_at", "outcome", "responded_at"],
    ).assign(client_id="a", bundle_id="term_deposit")  # fmt: skip
    found = judge(policy(), CATALOG, bank(clients({"client_id": "a"}), offers=offers), [DECEMBER])
    assert figures(found, "manager", "M1", "offers_made")["actual"] == 2
    assert figures(found, "manager", "M1", "offers_accepted")["actual"] == 0.5


def test_clients_won_are_expected_by_those_who_were_there() -> None:
    new = {"joined_on": "2025-12-01"}
    of = clients(*({"client_id": f"m{at}"} for at in range(3)), {"client_id": "m3", "manager_id": "M2"},
                 {"client_id": "n1"} | new, {"client_id": "n2", "manager_id": "M2"} | new)  # fmt: skip
    found = judge(policy(), CATALOG, bank(of), [DECEMBER])
    assert [figures(found, "manager", name, "clients_won")["actual"] for name in ("M1", "M2")] == [1, 1]
    assert [figures(found, "manager", name, "clients_won")["expected"] for name in ("M1", "M2")] == [1.5, 0.5]


def test_what_is_no_number_in_arrow_tables_is_not_known_either() -> None:
    of = clients({"client_id": "a"}, {"client_id": "b"}, {"client_id": "c"})
    table = pa.table({name: of[name].to_list() for name in of} | {"satisfaction": [8.0, math.nan, math.nan],
                                                                  "non_performing": [0.0, math.nan, 1.0]})  # fmt: skip
    held = pa.table({"client_id": ["a"], "product_id": ["mortgage"], "opened_on": ["2021-01-01"]})
    loans = positions(*((client, "mortgage", DECEMBER, 100.0) for client in "abc"))
    lent = pa.table({name: loans[name].to_list() for name in loans})
    found = judge(policy(), CATALOG, Bank.of(clients=table, holdings=held, positions=lent), [DECEMBER])
    assert figures(found, "manager", "M1", "satisfaction")["actual"] == 8.0
    assert figures(found, "manager", "M1", "non_performing")["actual"] == pytest.approx(1 / 3)
    none = table.set_column(table.column_names.index("satisfaction"), "satisfaction", pa.array([math.nan] * 3))
    told = judge(policy(), CATALOG, Bank.of(clients=none, holdings=held), [DECEMBER]).left_out[DECEMBER]
    assert "no number in satisfaction for any client in 2025-12" in told["satisfaction"]


def test_chance_does_not_take_a_share_out_of_0_to_1() -> None:
    few = clients({"client_id": "a"}, {"client_id": "b"}, {"client_id": "c"})
    loans = positions(*((client, "mortgage", DECEMBER, 100.0) for client in "abc"))
    found = judge(policy(), CATALOG, bank(few.assign(non_performing=[1.0, 0.0, 0.0]), positions=loans), [DECEMBER])
    row = figures(found, "manager", "M1", "non_performing")
    assert row["expected"] == pytest.approx(1 / 3)
    assert row["low"] == 0.0  # 1/3 less 1.96 · √(2/27)
    assert row["high"] == pytest.approx(1 / 3 + 1.959964 * math.sqrt(2 / 27))


def test_satisfaction_is_measured_where_the_bank_has_it() -> None:
    of = clients({"client_id": "a"}, {"client_id": "b"}, {"client_id": "c"}).assign(satisfaction=[8.0, 6.0, None])
    found = judge(policy(), CATALOG, bank(of), [DECEMBER])
    assert figures(found, "manager", "M1", "satisfaction")["actual"] == 7.0
    without = judge(policy(), CATALOG, bank(clients({"client_id": "a"})), [DECEMBER])
    assert without.left_out[DECEMBER] == {
        "satisfaction": "table clients has no attribute satisfaction with numbers",
        **dict.fromkeys(("deposits_local", "deposits_foreign", "share_of_wallet", "non_performing", "rate_achieved",
                         "assets_preserved", "fees"), "there is no table positions"),
        **dict.fromkeys(("foreign_exchange", "settlement"), "there is no table transactions"),
        **dict.fromkeys(("offers_made", "offers_accepted"), "there is no table offers"),
    }  # fmt: skip
    nobody = judge(policy(), CATALOG, bank(of.assign(satisfaction=math.nan)), [DECEMBER])
    assert "no number in satisfaction for any client in 2025-12" in nobody.left_out[DECEMBER]["satisfaction"]
    assert "satisfaction" not in nobody.rows["measure"].to_pylist()
    stood = bank(clients({"client_id": "a"}), positions=positions(("a", "savings_account", DECEMBER, 5.0)))
    first = judge(policy(), CATALOG, stood, [DECEMBER])  # no change without a month before
    assert first.left_out[DECEMBER]["deposits_local"] == "table positions has no row of 2025-11"
    assert figures(first, "manager", "M1", "share_of_wallet")["actual"] == 1.0


def test_a_plan_counts_beside_the_peers() -> None:
    measures = {"deposits_local": {"weight": 0.5, "plan": 2.0}, "fees": {"weight": 0.5}}
    plans = {
        ("M2", "deposits_local", ""): 160.0,
        ("M3", "deposits_local", "2025-12"): 202.0,
        ("M3", "deposits_local", ""): 1.0,
    }
    found = judge(policy(measures), CATALOG, three_managers(), [DECEMBER], plans)
    rows = {name: figures(found, "manager", name, "deposits_local") for name in ("M1", "M2", "M3")}
    assert {name: row["plan"] for name, row in rows.items()} == {"M1": 4.0, "M2": 160.0, "M3": 202.0}
    assert {name: row["points_plan"] for name, row in rows.items()} == {"M1": 50.0, "M2": 125.0, "M3": 50.0}
    assert rows["M1"]["points"] == pytest.approx(0.7 * 100 + 0.3 * 50)
    assert figures(found, "manager", "M1", "score")["points"] == pytest.approx(85)  # nobody paid a fee
    with pytest.warns(UserWarning, match="plans are of M9, who had no clients"):
        judge(policy(measures), CATALOG, three_managers(), [DECEMBER], {("M9", "fees", ""): 1.0})


def test_what_is_better_lower_gains_by_being_lower() -> None:
    measures = {"non_performing": {"weight": 1.0, "better": "lower", "plan": 0.2}}
    of = clients({"client_id": "a", "rating": "E"}, {"client_id": "b", "rating": "A"})
    rows = positions(("a", "mortgage", DECEMBER, 10.0), ("b", "mortgage", DECEMBER, 90.0))
    found = judge(policy(measures), CATALOG, bank(of, positions=rows), [DECEMBER])
    assert figures(found, "manager", "M1", "non_performing")["points_plan"] == pytest.approx(150.0)


def test_a_deviation_counts_as_far_as_it_is_more_than_chance() -> None:
    off, error = np.array([1.0, -1.0]), np.array([0.1, 0.1])
    # weights 100 each, Q = 200, and (200 - 1) / (200 - 20,000 / 200) is the variance between the two
    assert between(off, error) == pytest.approx(1.99)
    np.testing.assert_allclose(shrunk(off, error), [np.sqrt(1.99) / 2.0, -np.sqrt(1.99) / 2.0])
    assert shrunk(off, np.array([2.0, 2.0])).tolist() == [0.0, 0.0]  # as much as chance gives
    noisy = shrunk(np.array([1.0, -1.0, 1.0]), np.array([0.1, 0.1, 1.0]))
    assert 0 < noisy[2] < noisy[0]  # a small book with the same deviation
    assert shrunk(np.array([1.0]), np.array([0.1])).tolist() == [0.0]  # no peer


def test_months_end_where_they_end() -> None:
    assert month_ends(dt.date(2024, 3, 5), 3) == [dt.date(2024, 1, 31), dt.date(2024, 2, 29), dt.date(2024, 3, 31)]
    assert month_ends(dt.date(2025, 12, 31), 1) == [DECEMBER]


KINDS, BALANCES = st.sampled_from(["retail", "corporate"]), st.floats(0, 1e6)
SOLD = st.sampled_from(["savings_account", "mortgage", "foreign_currency_account", "business_account"])


@st.composite
def banks(draw: st.DrawFn) -> dict[str, pd.DataFrame]:
    """The tables of any small bank, as known at the end of December."""
    ids = [f"c{at}" for at in range(draw(st.integers(1, 7)))]
    of = clients(*(
        {"client_id": one, "kind": draw(KINDS), "manager_id": draw(st.sampled_from(["M1", "M2", "M3"])),
         "branch_id": draw(st.sampled_from(["B1", "B2"])), "rating": draw(st.sampled_from(["A", "D", "E"])),
         "joined_on": draw(st.sampled_from(["2020-01-01", "2025-12-05"]))}
        for one in ids))  # fmt: skip
    keys = draw(st.lists(st.tuples(st.sampled_from(ids), SOLD, st.sampled_from([NOVEMBER, DECEMBER])), unique=True))
    stood = positions(*((*key, draw(BALANCES)) for key in keys), fees=1.0, rate=0.02)
    some = [
        (draw(st.sampled_from(ids)), draw(st.floats(-1e4, 1e4)), draw(st.sampled_from(["EUR", "USD"])))
        for _ in range(4)
    ]
    flows = pd.DataFrame(some, columns=["client_id", "amount", "currency"]).assign(booked_at="2025-12-10")
    offers = pd.DataFrame({"offer_id": [f"o{one}" for one in ids], "client_id": ids, "bundle_id": "term_deposit",
                           "offered_at": "2025-12-03", "outcome": "accepted",
                           "responded_at": draw(st.sampled_from(["2025-12-09", "2026-01-09"]))})  # fmt: skip
    return {"clients": of.assign(valid_from="2020-01-01"), "positions": stood, "transactions": flows, "offers": offers}


@given(tables=banks())
@settings(max_examples=6, deadline=None)
def test_branches_and_managers_add_up_to_the_bank(tables: dict[str, pd.DataFrame]) -> None:
    found = judge(policy(), CATALOG, bank(**tables), [DECEMBER]).rows.to_pandas()
    summed = found[found["measure"].isin(["deposits_local", "deposits_foreign", "fees", "offers_made", "settlement"])]
    whole = summed[summed["unit"] == "bank"].set_index("measure")[["actual", "expected"]]
    np.testing.assert_allclose(whole["expected"], whole["actual"], rtol=1e-9, atol=1e-6)
    for unit in ("branch", "manager"):
        parts = summed[summed["unit"] == unit].groupby("measure")[["actual", "expected"]].sum()
        np.testing.assert_allclose(parts.loc[whole.index], whole, rtol=1e-9, atol=1e-6)


@given(tables=banks(), balance=BALANCES, manager=st.sampled_from(["M1", "M9"]))
@settings(max_examples=6, deadline=None)
def test_nothing_dated_after_the_month_changes_it(
    tables: dict[str, pd.DataFrame], balance: float, manager: str
) -> None:
    before = judge(policy(), CATALOG, bank(**tables), [DECEMBER])
    first = str(tables["clients"]["client_id"].iloc[0])
    later = dict(tables)
    moved = tables["clients"].assign(valid_from="2026-01-01", manager_id=manager, rating="E", left_on=None)
    new = clients({"client_id": "new", "joined_on": "2026-01-02", "valid_from": "2026-01-02"})
    later["clients"] = pd.concat([tables["clients"].assign(left_on="2026-02-01"), moved, new], ignore_index=True)
    january = positions((first, "savings_account", dt.date(2026, 1, 31), balance), fees=5.0, rate=0.1)
    later["positions"] = pd.concat([tables["positions"], january], ignore_index=True)
    booked = pd.DataFrame({"client_id": [first], "amount": [balance], "currency": ["USD"], "booked_at": ["2026-01-01"]})
    later["transactions"] = pd.concat([tables["transactions"], booked], ignore_index=True)
    offered = tables["offers"].assign(offer_id="x" + tables["offers"]["offer_id"], offered_at="2026-01-01",
                                      responded_at="2026-01-02")  # fmt: skip
    later["offers"] = pd.concat([tables["offers"], offered], ignore_index=True)
    after = judge(policy(), CATALOG, bank(**later), [DECEMBER])
    pd.testing.assert_frame_equal(after.rows.to_pandas(), before.rows.to_pandas())
    assert after.left_out == before.left_out


def test_whom_there_is_nobody_to_judge_is_told() -> None:
    of = clients({"client_id": "a"})
    with pytest.raises(ValueError, match="neither manager_id nor branch_id, so there is nobody to judge"):
        judge(policy(), CATALOG, bank(of.drop(columns=["manager_id", "branch_id"])), [DECEMBER])
    with pytest.warns(UserWarning, match="table clients has no manager_id: no scorecards by that"):
        found = judge(policy(), CATALOG, bank(of.drop(columns="manager_id")), [DECEMBER])
    with pytest.raises(ValueError, match="there is no manager M1 in these months; table clients tells no manager_id"):
        found.of("manager", "M1")
    with pytest.raises(ValueError, match="there is no branch B2 in these months; use one of B1"):
        found.of("branch", "B2")
    with pytest.raises(ValueError, match="the bank has no client in 2019-12"):
        judge(policy(), CATALOG, bank(of), [dt.date(2019, 12, 31)])
    with pytest.raises(ValueError, match="the policy Default strategy has no section scorecard"):
        judge(POLICY.model_copy(update={"scorecard": None}), CATALOG, bank(of), [DECEMBER])
    with pytest.raises(ValueError, match="nothing of the scorecard can be measured in 2025-12: there is no table pos"):
        judge(policy({"fees": {"weight": 1.0}}), CATALOG, bank(of), [DECEMBER])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,plan\nM1,5", "1: lacks measure"),
        ("id,measure,plan\nM1,fee,5", "2: there is no measure fee; did you mean fees?"),
        ("id,measure,plan\nM1,fees,5\nM1,fees,much", "3: plan 'much'"),
        ("id,measure,plan,month\nM1,fees,5,2025-13", "2: plan '5' or month '2025-13'"),
        ("id,measure,plan\nM1,fees,5\nM1,fees,6", "3: M1 fees is there twice"),
        ("id,measure,plan\nM1,fees", "2: plan None"),
    ],
)
def test_a_plan_that_cannot_be_read_is_told_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "plan.csv").write_text(content)
    assert POLICY.scorecard
    with pytest.raises(ValueError, match=r"plan\.csv") as told:
        read_plans(tmp_path / "plan.csv", POLICY.scorecard)
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("at", "to", "message"),
    [
        (("measures", "fees", "weight"), 0.5, "scorecard.measures: the weights add up to 1.44 and not to 1"),
        (("measures", "fee"), {"weight": 0.0}, "scorecard.measures.fee: there is no measure fee; did you mean fees?"),
        (("against", "plan"), 0.4, "scorecard.against: the weights add up to 1.1 and not to 1"),
        (("watched",), ["D", "Z"], "scorecard.watched[1]: there is no grade Z"),
        (("alike",), ["kind", "sizes"], "scorecard.alike[1]"),
        (("measures", "fees", "better"), "more", "scorecard.measures.fees.better"),
    ],
)
def test_what_is_wrong_with_a_scorecard_is_told_with_its_line(tmp_path: Path, at: Any, to: Any, message: str) -> None:
    with pytest.raises(StrategyError) as told:
        read_strategy(changed(tmp_path / "mine.yaml", "scorecard", *at, to=to), CATALOG)
    assert message in str(told.value)
    assert str(told.value).startswith(f"{tmp_path / 'mine.yaml'}:")


def test_a_narrow_terminal_cuts_no_figure_short() -> None:
    found = judge(policy(), CATALOG, three_managers(), [NOVEMBER, DECEMBER])
    narrow = Console(record=True, width=80)
    narrow.print(card_table(found, found.of("manager", "M1"), CATALOG), scores_table(found))
    assert "…" not in narrow.export_text()


def answered(*rows: tuple[str, int, int]) -> Bank:
    """Managers with a client for every offer answered: (manager, accepted, answered)."""
    of = [(f"{name}-{at}", name, at < taken) for name, taken, many in rows for at in range(many)]
    offers = pd.DataFrame(
        [{"offer_id": f"o{one}", "client_id": one, "bundle_id": "term_deposit", "offered_at": "2025-12-03",
          "outcome": "accepted" if took else "rejected", "responded_at": "2025-12-09"} for one, _, took in of]
    )  # fmt: skip
    return bank(clients(*({"client_id": one, "manager_id": name} for one, name, _ in of)), offers=offers)


def accepted(plan: float | None, *rows: tuple[str, int, int]) -> Scorecard:
    measures = {"offers_accepted": {"weight": 0.5, "plan": plan}, "offers_made": {"weight": 0.5}}
    return judge(policy(measures), CATALOG, answered(*rows), [DECEMBER])


@pytest.mark.parametrize("plan", [None, 0.05, 0.0])
def test_none_of_two_offers_accepted_where_nobody_accepts_is_nothing_to_judge(plan: float | None) -> None:
    found = accepted(plan, ("M1", 0, 2), ("M2", 0, 4))
    row = figures(found, "manager", "M1", "offers_accepted")
    assert (row["actual"], row["expected"], row["low"], row["high"]) == (0, 0, 0, 0)
    assert (row["points_peers"], row["points_plan"], row["points"], row["weight"]) == (None, None, None, 0.0)
    score = figures(found, "manager", "M1", "score")  # of offers made alone
    assert (score["points"], score["weight"]) == (100.0, 0.5)


def test_none_of_a_hundred_offers_accepted_misses_the_plan() -> None:
    row = figures(accepted(0.05, ("M1", 0, 100), ("M2", 0, 4)), "manager", "M1", "offers_accepted")
    assert (row["points_peers"], row["points_plan"], row["points"]) == (None, 0.0, 0.0)
    assert row["weight"] == pytest.approx(0.5 * 0.3)  # the plan's part


def test_one_of_two_offers_accepted_is_no_tenfold_plan() -> None:
    row = figures(accepted(0.05, ("M1", 1, 2), ("M2", 2, 60)), "manager", "M1", "offers_accepted")
    assert row["points_plan"] is None


def test_a_manager_without_peers_is_not_as_expected_but_not_compared() -> None:
    stood = positions(("a", "savings_account", NOVEMBER, 1.0), ("a", "savings_account", DECEMBER, 9.0))
    alone = bank(clients({"client_id": "a"}), positions=stood)
    found = judge(policy({"deposits_local": {"weight": 1.0}}), CATALOG, alone, [DECEMBER])
    for unit, name in (("manager", "M1"), ("branch", "B1"), ("bank", "bank")):
        row = figures(found, unit, name, "deposits_local")
        assert (row["actual"], row["points"], row["weight"]) == (8.0, None, 0.0)
        assert "score" not in found.of(unit, name)["measure"].to_pylist()


def table_of(off: list[float], error: list[float]) -> pa.Table:
    whole = np.ones(len(off))
    return pa.table({"part": 1 + np.array(off), "expected": whole, "whole": whole, "deviation": error,
                     "compared": np.ones(len(off), bool)})  # fmt: skip


def test_what_chance_explains_has_no_points_and_what_it_does_not_has() -> None:
    """Deposits three times the expected within chance are not *as expected*; beyond chance they stand out."""
    assert np.isnan(standing(table_of([2.0, -1.0, -1.0], [2.0, 2.0, 2.0]))).all()
    calm = [0.0] * 40
    out = standing(table_of([4.0, *calm], [1.0] * 41))  # Q = 15.6 of 40 units: no variance between them
    assert out[0] == pytest.approx(math.sqrt(1 - 1 / 16))
    assert np.isnan(out[1:]).all()
    assert standing(table_of([-4.0, *calm], [1.0] * 41))[0] == pytest.approx(-math.sqrt(1 - 1 / 16))
    assert np.isnan(standing(table_of([2.5, *calm], [1.0] * 41))[0])  # one of forty is so far off by chance


def test_fees_within_chance_leave_the_points_to_the_plan_and_its_weight() -> None:
    """Fees of 4 where the same clients bring 5 anybody, and a plan of 2: double the plan, and peers say nothing."""
    of = clients(*({"client_id": f"c{at}", "manager_id": "M1" if at < 2 else "M2"} for at in range(4)))
    stood = positions(*((f"c{at}", "savings_account", DECEMBER, 10.0) for at in range(4)), fees=[0.0, 4.0, 0.0, 16.0])
    found = judge(policy({"fees": {"weight": 1.0, "plan": 1.0}}), CATALOG, bank(of, positions=stood), [DECEMBER])
    row = figures(found, "manager", "M1", "fees")
    assert (row["actual"], row["expected"], row["plan"]) == (4.0, 10.0, 2.0)
    assert (row["points_peers"], row["points_plan"], row["weight"]) == (None, 200.0, pytest.approx(0.3))
    assert figures(found, "manager", "M1", "score")["points_plan"] == 200.0


def test_a_plan_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="the plan of M1 fees is nan and no number; correct it or leave it out"):
        judge(policy(), CATALOG, three_managers(), [DECEMBER], {("M1", "fees", ""): math.nan})


@pytest.mark.parametrize(("plan", "points"), [(-100.0, 200.0), (0.0, 100.0)])
def test_a_plan_of_nothing_or_of_a_loss_is_reached_by_more(plan: float, points: float) -> None:
    plans = {("M1", "deposits_local", ""): plan}
    found = judge(policy({"deposits_local": {"weight": 1.0}}), CATALOG, three_managers(), [DECEMBER], plans)
    assert figures(found, "manager", "M1", "deposits_local")["points_plan"] == points


def test_measures_without_points_are_shown_and_drawn(tmp_path: Path) -> None:
    found = accepted(0.05, ("M1", 0, 2), ("M2", 0, 4))
    draw_card(found.of("manager", "M1"), tmp_path / "card.png")
    draw_scores(found, tmp_path / "scores.png")
    assert (tmp_path / "card.png").stat().st_size > 0
