"""Whom an account manager calls: hand-made clients of a bank with two loans and an account."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sheaf.catalog import Catalog, Contact
from sheaf.features import Bank
from sheaf.strategy import Calls, Strategy, StrategyError, book_of, read_strategy
from tests.strategy.banks import CATALOG, POLICY, changed

DAY = dt.date(2025, 12, 31)
RETENTION = CATALOG.pricing.retention.attrition if CATALOG.pricing else 0.0


def bank(*ids: str, offers: list[dict[str, Any]] | None = None, manager: str = "M1") -> Bank:
    """Retail clients of a manager with a mortgage each."""
    clients = pd.DataFrame({"client_id": ids, "kind": "retail", "joined_on": "2020-01-01", "manager_id": manager})
    holdings = pd.DataFrame({"client_id": ids, "product_id": "mortgage", "opened_on": "2021-01-01"})
    tables = {"clients": clients, "holdings": holdings}
    if offers:
        told = pd.DataFrame(offers).assign(offer_id=[f"O{at}" for at in range(len(offers))])
        tables["offers"] = told.astype({"outcome": "str"}) if "outcome" in told else told
    return Bank.of(**tables)


def planned(client: str, **other: Any) -> dict[str, Any]:
    plan = {"tier": "standard", "priority": 5, "channels": ["mobile", "phone", "desk"], "visit_days": None,
            "visit_rule": "no visits", "visit_purpose": "On request.", "next_visit": None}  # fmt: skip
    return {"client_id": client} | plan | other


def offer(client: str, acceptance: float, eva: float, bundle: str = "term_deposit", rank: int = 1) -> dict[str, Any]:
    return {"client_id": client, "bundle_id": bundle, "rank": rank, "concession": 0.0, "acceptance": acceptance,
            "eva": eva}  # fmt: skip


def policy(**day: Any) -> Strategy:
    content = POLICY.model_dump(mode="json")
    content["book"] |= day
    return Strategy.model_validate(content)


def with_contact(**of: Any) -> Catalog:
    return CATALOG.model_copy(update={"policy": CATALOG.policy.model_copy(update={"contact": Contact(**of)})})


def book(of: Bank, plans: list[Any], offers: list[Any], sold: Catalog = CATALOG, chosen: Strategy = POLICY) -> Calls:
    return book_of(chosen, sold, of, DAY, "M1", plans, offers)


def test_calls_go_by_probability_times_value_times_urgency() -> None:
    plans = [planned("a"), planned("b", priority=1), planned("c")]
    found = book(bank("a", "b", "c"), plans, [offer("a", 0.5, 100), offer("b", 0.1, 450), offer("c", 0.9, 10)])
    rows = found.calls.to_pylist()
    assert [(row["rank"], row["client_id"], row["score"]) for row in rows] == [
        (1, "b", 0.1 * 450 * 1.2), (2, "a", 50.0), (3, "c", 9.0)]  # fmt: skip
    assert [(row["urgency_rule"], row["channel"], row["minutes"]) for row in rows[:2]] == [
        ("served first", "phone", 15), ("no hurry", "phone", 15)]  # fmt: skip
    assert rows[0]["price"] > 0
    assert found.left_out == {}


def test_an_offer_of_what_the_catalog_has_not_is_told() -> None:
    with pytest.raises(ValueError, match="an offer is of 'term_depo', which the catalog has not; did you mean term_d"):
        book(bank("a"), [planned("a")], [offer("a", 0.5, 100, bundle="term_depo")])


def test_equal_clients_have_equal_ranks_in_the_order_of_ids() -> None:
    ids = ("d", "c", "b", "a")
    found = book(bank(*ids), [planned(one) for one in ids], [offer(one, 0.5, 9 if one == "a" else 10) for one in ids])
    assert [(row["rank"], row["client_id"]) for row in found.calls.to_pylist()] == [
        (1, "b"), (1, "c"), (1, "d"), (4, "a")]  # fmt: skip


def test_the_day_is_filled_in_order_and_what_does_not_fit_leaves_its_time_to_the_next() -> None:
    plans = [planned("a"), planned("b", channels=["desk"]), planned("c"), planned("d")]
    offers = [offer(one, 0.5, value) for one, value in zip("abcd", (40, 30, 20, 10), strict=True)]
    found = book(bank(*"abcd"), plans, offers, chosen=policy(hours=0.5))  # 15 + (40) + 15 minutes
    assert [(row["rank"], row["client_id"]) for row in found.calls.to_pylist()] == [(1, "a"), (3, "c")]
    assert (found.minutes, found.left_out) == (30, {"beyond the 0.5 hours": 2})


def test_a_visit_that_is_due_is_worth_what_would_be_lost_with_the_client() -> None:
    due = planned("a", next_visit=dt.date(2026, 1, 2), visit_rule="limits used up", visit_days=14)
    later = planned("b", next_visit=dt.date(2026, 1, 3), visit_days=14)
    found = book(bank("a", "b"), [due, later], [])
    [row] = found.calls.to_pylist()
    assert (row["client_id"], row["because"], row["channel"], row["minutes"]) == ("a", "visit", "visit", 60)
    assert (row["probability"], row["urgency"], row["bundle_id"]) == (RETENTION, 3.0, None)
    assert row["score"] == pytest.approx(RETENTION * row["value"] * 3, abs=1e-6)
    assert row["value"] > 0
    assert found.left_out == {"nothing to offer, and no visit due": 1}


def test_the_larger_of_offer_and_visit_counts() -> None:
    due = planned("a", next_visit=DAY, visit_days=30)
    [small] = book(bank("a"), [due], [offer("a", 0.5, 1e-3)]).calls.to_pylist()
    [large] = book(bank("a"), [due], [offer("a", 0.5, 1e6)]).calls.to_pylist()
    assert (small["because"], small["bundle_id"]) == ("visit", "term_deposit")  # told all the same
    assert (large["because"], large["probability"], large["value"]) == ("offer", 0.5, 1e6)


def test_a_rejected_bundle_rests_and_the_next_one_is_offered() -> None:
    told = [{"client_id": "a", "bundle_id": "term_deposit", "offered_at": "2025-12-01", "outcome": "rejected",
             "responded_at": "2025-12-11"}]  # fmt: skip
    offers = [offer("a", 0.5, 100), offer("a", 0.4, 50, "savings_account", 2)]
    for days, bundle in ((20, "term_deposit"), (21, "savings_account")):  # 20 days have gone by
        found = book(bank("a", offers=told), [planned("a")], offers, with_contact(rest_after_rejection=days))
        assert found.calls["bundle_id"].to_pylist() == [bundle]
    assert book(bank("a", offers=told), [planned("a")], offers).calls["bundle_id"].to_pylist() == ["term_deposit"]


@pytest.mark.parametrize(
    ("responded", "ranked_on", "opened", "bundle"),
    [
        ("2025-12-11", None, "2025-12-10", "savings_account"),  # holdings do not reach as far
        ("2025-12-11", None, "2025-12-20", "term_deposit"),  # holdings are younger
        ("2025-12-20", None, "2025-12-20", "savings_account"),  # of that very day
        ("2025-12-11", dt.date(2025, 12, 10), "2025-12-20", "savings_account"),  # the offers are older
        ("2026-01-01", None, "2025-12-10", "term_deposit"),  # nobody knows that yet
    ],
)
def test_an_accepted_bundle_is_not_offered_until_the_tables_show_it(
    responded: str, ranked_on: dt.date | None, opened: str, bundle: str
) -> None:
    told = [{"client_id": "a", "bundle_id": "term_deposit", "offered_at": "2025-12-01", "outcome": "accepted",
             "responded_at": responded}]  # fmt: skip
    holdings = pd.DataFrame({"client_id": ["a", "z"], "product_id": "mortgage", "opened_on": ["2021-01-01", opened]})
    clients = pd.DataFrame({"client_id": ["a", "z"], "kind": "retail", "joined_on": "2020-01-01",
                            "manager_id": ["M1", "M2"]})  # fmt: skip
    of = Bank.of(clients=clients, holdings=holdings, offers=pd.DataFrame(told).assign(offer_id="O1"))
    offers = [offer("a", 0.5, 100), offer("a", 0.4, 50, "savings_account", 2)]
    found = book_of(POLICY, CATALOG, of, DAY, "M1", [planned("a")], offers, ranked_on)
    assert found.calls["bundle_id"].to_pylist() == [bundle]


def test_a_client_who_was_met_often_enough_is_left_in_peace() -> None:
    both = [{"client_id": "a", "bundle_id": bundle, "offered_at": "2025-12-20", "channel": "call"}
            for bundle in ("term_deposit", "mortgage")]  # fmt: skip
    more = {"client_id": "a", "bundle_id": "term_deposit", "offered_at": "2025-12-22", "channel": "call"}
    limit = with_contact(limits=({"channel": "call", "days": 30, "most": 2},))
    other = with_contact(limits=({"channel": "branch", "days": 30, "most": 1},))
    plans, offers = [planned("a")], [offer("a", 0.5, 100)]
    assert len(book(bank("a", offers=both), plans, offers, limit).calls) == 1  # two bundles, one contact
    resting = book(bank("a", offers=[*both, more]), plans, offers, limit)
    assert (len(resting.calls), resting.left_out) == (0, {"left in peace by the contact policy": 1})
    assert len(book(bank("a", offers=[*both, more]), plans, offers, other).calls) == 1
    days = with_contact(limits=({"channel": "call", "days": 9, "most": 1},))  # the last one was nine days ago
    assert len(book(bank("a", offers=[*both, more]), plans, offers, days).calls) == 1


def test_a_bundle_offered_too_often_rests() -> None:
    told = [{"client_id": "a", "bundle_id": "term_deposit", "offered_at": f"2025-12-{day}", "channel": "app"}
            for day in (10, 20)]  # fmt: skip
    sold = with_contact(rest_after_shown={"times": 2, "days": 30})
    found = book(bank("a", offers=told), [planned("a")], [offer("a", 0.5, 100)], sold)
    assert found.left_out == {"nothing to offer, and no visit due": 1}


def test_an_open_offer_that_runs_out_is_urgent_and_what_comes_later_is_not_known() -> None:
    told = [{"client_id": "a", "bundle_id": "term_deposit", "offered_at": "2025-12-03", "outcome": "accepted",
             "responded_at": "2026-01-05"}]  # fmt: skip
    [row] = book(bank("a", offers=told), [planned("a")], [offer("a", 0.5, 100)]).calls.to_pylist()
    assert (row["urgency_rule"], row["score"]) == ("offer runs out", 100.0)
    answered = [told[0] | {"responded_at": "2025-12-30"}]
    [row] = book(bank("a", offers=answered), [planned("a")], [offer("a", 0.5, 100)]).calls.to_pylist()
    assert row["urgency_rule"] == "no hurry"


def test_who_cannot_be_met_is_told() -> None:
    found = book(bank("a", "b"), [planned("a", channels=["web"])], [offer("a", 0.5, 100)])
    assert found.left_out == {"met over no channel of a manager": 1, "no plan": 1}


def test_a_manager_who_is_not_there_and_a_bank_without_managers_are_told() -> None:
    with pytest.raises(ValueError, match="manager M1 has no client on 2025-12-31; did you mean M12"):
        book(bank("a", manager="M12"), [], [])
    of_many = bank(*(f"c{at}" for at in range(30)), manager="M12")
    frame = of_many["clients"].collect("pandas").to_native().assign(manager_id=[f"X{at}" for at in range(30)])
    holdings = of_many["holdings"].collect("pandas").to_native()
    with pytest.raises(ValueError, match="manager M1 has no client on 2025-12-31; table clients has those there are"):
        book(Bank.of(clients=frame, holdings=holdings), [], [])
    clients = pd.DataFrame({"client_id": ["a"], "kind": "retail", "joined_on": "2020-01-01"})
    holdings = pd.DataFrame({"client_id": ["a"], "product_id": "mortgage", "opened_on": "2021-01-01"})
    with pytest.raises(ValueError, match="table clients has no column manager_id, so nobody has a book"):
        book(Bank.of(clients=clients, holdings=holdings), [], [])
    without = POLICY.model_copy(update={"book": None})
    with pytest.raises(ValueError, match="the policy Default strategy has no section book"):
        book(bank("a"), [], [], chosen=without)


@pytest.mark.parametrize(
    ("at", "to", "message"),
    [
        (("channels",), {"telex": {"minutes": 5}}, "book.channels.telex: there is no channel telex"),
        (("hours",), 0, "book.hours"),
        (("urgency", 0, "when"), {"days_to_vist": "<= 2"}, "days_to_vist is not a column of profiles; did you mean"),
        (("urgency", 0, "when"), {"visit_rule": ["limit used up"]}, "visit_rule is never limit used up; did you mean"),
        (("urgency", 4, "when"), {"tier": ["key"]}, "no hurry has conditions, which leaves a gap"),
        (("urgency", 3, "then"), -1.0, "book.urgency[3].then"),
    ],
)
def test_what_is_wrong_with_a_day_is_told_with_its_line(tmp_path: Path, at: Any, to: Any, message: str) -> None:
    with pytest.raises(StrategyError) as told:
        read_strategy(changed(tmp_path / "mine.yaml", "book", *at, to=to), CATALOG)
    assert message in str(told.value)
    assert str(told.value).startswith(f"{tmp_path / 'mine.yaml'}:")
