"""Whom the lists have, why, and what the list of last time changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features import Bank, write_parquet
from sheaf.strategy import Listed, Lister, Planner, StrategyError, read_strategy
from sheaf.strategy.lists.lister import schema
from sheaf.strategy.lists.prospects import likeness
from sheaf.strategy.views.plans import list_rows, list_table
from sheaf.training.attrition import Attrition
from sheaf.training.ranker.opening_probability import Calibration
from tests.strategy.banks import CATALOG, DAY, POLICY, changed, profiles, some_clients

FIRM = {"kind": "corporate", "loans": 100_000.0, "held__business_account": 1.0}
LOSING = FIRM | {"eva": -500.0, "raroc": 0.02, "contribution": 1_000.0, "expected_loss": 100.0}
MONTH_ENDS = [dt.date(2025, month, day) for month, day in ((9, 30), (10, 31), (11, 30), (12, 31))]


class Repair:
    """Repair lists one after the other, each with the list before it."""

    def __init__(self, folder: Path, offers: dict[str, float] | None = None):
        self.folder = folder
        self.offers = folder / "offers.parquet"
        made = offers or {"somebody else": 1.0}
        rows = [{"client_id": client, "bundle_id": "leasing", "rank": 1, "score": 1.0, "concession": 0.0, "eva": eva}
                for client, eva in made.items()]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), self.offers)
        self.last: Path | None = None

    def on(self, day: dt.date, *clients: dict[str, Any]) -> list[dict[str, Any]]:
        file = self.folder / f"profiles-{day}.parquet"
        pq.write_table(profiles(*clients), file)
        found = Lister(Planner(POLICY, day, offers=self.offers), file).repair(self.last)
        self.last = self.folder / f"repair-{day}.parquet"
        write_parquet(self.last, [list_rows("repair", found)])
        return found.rows


def told(rows: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


def test_a_client_is_watched_then_repaired_and_let_go_only_after_that_was_due(tmp_path: Path) -> None:
    repair = Repair(tmp_path)
    steps = [repair.on(day, LOSING)[0] for day in MONTH_ENDS]
    assert told(steps, "action", "below_months", "below_since") == [
        ("watch", 0, MONTH_ENDS[0]), ("watch", 1, MONTH_ENDS[0]), ("watch", 2, MONTH_ENDS[0]),
        ("repair", 3, MONTH_ENDS[0]),
    ]  # fmt: skip
    due = dt.date(2025, 12, 31) + dt.timedelta(days=180)
    assert (steps[-1]["lever"], steps[-1]["due"], steps[-1]["repair_due"]) == ("price", due, due)
    [still] = repair.on(due, LOSING)  # on the day itself it is not overdue
    assert told([still], "action", "due") == [("repair", due)]
    [gone] = repair.on(due + dt.timedelta(days=1), LOSING)
    assert told([gone], "action", "rule", "below_months") == [("exit", "repair did not help", 9)]
    assert gone["due"] == due + dt.timedelta(days=91)


def test_who_is_above_the_hurdle_again_starts_anew(tmp_path: Path) -> None:
    repair = Repair(tmp_path)
    for day in MONTH_ENDS:
        repair.on(day, LOSING)
    assert repair.on(dt.date(2026, 1, 31), LOSING | {"eva": 0.0}) == []
    [again] = repair.on(dt.date(2026, 12, 31), LOSING)
    assert told([again], "action", "below_months", "repair_due") == [("watch", 0, None)]


def test_who_can_be_lifted_by_a_bundle_is_neither_repaired_nor_let_go(tmp_path: Path) -> None:
    repair = Repair(tmp_path, {"c0": 500.0, "c1": 499.0})
    for day in MONTH_ENDS:
        rows = repair.on(day, LOSING, LOSING)
    assert told(rows, "client_id", "action", "lift", "lifted") == [
        ("c1", "repair", 499.0, False), ("c0", "watch", 500.0, True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("client", "lever"),
    [
        ({"expected_loss": 500.0}, "security"),  # half of the contribution
        ({"expected_loss": 499.0}, "price"),
        ({"contribution": -1.0}, "price"),  # a share of nothing is not known
        ({"loans": 0.0}, "product"),
    ],
)
def test_the_lever_of_a_repair_is_a_rule(tmp_path: Path, client: dict[str, float], lever: str) -> None:
    repair = Repair(tmp_path)
    for day in MONTH_ENDS:
        rows = repair.on(day, LOSING | client)
    assert told(rows, "action", "lever") == [("repair", lever)]


def test_a_group_that_earns_enough_carries_its_members(tmp_path: Path) -> None:
    group = LOSING | {"group_clients": 2.0, "group_eva": 10.0}
    assert Repair(tmp_path).on(DAY, group) == []


def test_a_repair_list_wants_offers_and_a_list_of_before(tmp_path: Path) -> None:
    file = tmp_path / "profiles.parquet"
    pq.write_table(profiles(LOSING), file)
    with pytest.raises(ValueError, match="name them with --offers"):
        Lister(Planner(POLICY, DAY), file).repair()
    with pytest.raises(ValueError, match=r"lacks below_since, repair_due; give a file as `sheaf clients repair`"):
        Lister(Planner(POLICY, DAY, offers=Repair(tmp_path).offers), file).repair(file)


@pytest.fixture(scope="module")
def model() -> Attrition:
    """A real one that learned that clients leave whose inflow fell."""
    trend = np.linspace(-1, 1, 400)[:, None]
    left = (trend[:, 0] < -0.5).astype(float) * (np.arange(400) % 2)
    params = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 20, "num_threads": 1}
    booster = lgb.train(params, lgb.Dataset(trend, left), 40)
    return Attrition(booster, Calibration(), ("inflow_trend",), {}, {"known_by": "2025-12-31", "horizon_days": 31})


Leaving = Callable[..., Listed]


@pytest.fixture
def leaving(tmp_path: Path, model: Attrition) -> Leaving:
    def make(*clients: dict[str, Any]) -> Listed:
        file = tmp_path / "profiles.parquet"
        pq.write_table(profiles(*clients), file)
        return Lister(Planner(POLICY, DAY), file).leaving(model)

    return make


def test_who_is_about_to_leave_stands_in_the_order_of_what_is_at_risk(leaving: Leaving) -> None:
    falls, rises = {"inflow_trend": -0.9}, {"inflow_trend": 0.9}
    rows = leaving(
        falls | {"contribution": 10.0, "eva": 10.0}, falls | FIRM | {"contribution": 90_000.0, "eva": 90_000.0},
        rises | {"contribution": 1_000.0, "eva": 1_000.0}, falls | {"contribution": 300.0, "eva": 1.0},
        falls | {"contribution": -50.0},
    ).rows  # fmt: skip
    assert told(rows, "client_id", "action", "due") == [
        ("c1", "visit", dt.date(2026, 1, 3)), ("c3", "call", dt.date(2026, 1, 7)),
        ("c0", "message", dt.date(2026, 1, 14)), ("c4", "message", dt.date(2026, 1, 14)),
    ]  # fmt: skip
    assert rows[0]["stake"] == 90_000
    assert rows[0]["at_risk"] == pytest.approx(rows[0]["leaving"] * 90_000)
    assert rows[3]["stake"] == 0  # a client that costs more than it brings has nothing at stake
    assert 0.3 < rows[0]["leaving"] < 0.7


def test_a_contribution_that_is_no_number_is_no_stake(leaving: Leaving) -> None:
    falls = {"inflow_trend": -0.9}
    rows = leaving(*(falls | {"contribution": of} for of in (float("nan"), 0.0, float("nan")))).rows
    assert [(row["stake"], row["at_risk"]) for row in rows] == [(0.0, 0.0)] * 3
    assert not any(row["rule"] == "much at risk" for row in rows)


def test_a_row_says_which_values_were_looked_at_and_what_would_change_it(leaving: Leaving) -> None:
    found = leaving({"inflow_trend": -0.9, "contribution": 300.0, "eva": 1.0})
    table = list_rows("leaving", found)
    assert table.schema == schema("leaving")
    [row] = table.to_pylist()
    assert row["rule"] == "much at risk"
    assert row["because"].startswith("leaving is 0.")
    assert "(>= 0.02); at_risk is " in row["because"]
    assert "visit with tier one of key, core (now basic)" in row["change"]
    assert "message with at_risk < 25" in row["change"]
    assert list_table("leaving", found, POLICY, 10).row_count == 1


@given(table=some_clients(), trend=st.lists(st.floats(-1, 1), min_size=12, max_size=12))
@settings(max_examples=15)
def test_a_row_meets_its_rule_and_none_before_it(
    tmp_path_factory: pytest.TempPathFactory, model: Attrition, table: pa.Table, trend: list[float]
) -> None:
    file = tmp_path_factory.mktemp("any") / "profiles.parquet"
    at = table.column_names.index("inflow_trend")
    table = table.set_column(at, "inflow_trend", pa.array(trend[: len(table)], pa.float64()))
    pq.write_table(table, file)
    lister = Lister(Planner(POLICY, DAY), file)
    found, rules = lister.leaving(model), lister.lists.leaving.rules
    ids = [row["client_id"] for row in found.rows]
    assert len(set(ids)) == len(ids)
    for row in found.rows:
        at = [rule.name for rule in rules].index(row["rule"])
        assert not rules[at].unmet(row)
        assert all(rule.unmet(row) for rule in rules[:at])
        assert row["action"] == rules[at].then.action != "none"
    for number, told_of in enumerate(model.of_table(table)):
        if f"c{number}" not in ids:
            assert told_of < 0.2  # the rule likely to leave asks for nothing else


def people(*firms: str) -> pd.DataFrame:
    known = {"kind": "corporate", "joined_on": pd.Timestamp("2020-01-01"), "left_on": pd.NaT}
    return pd.DataFrame([{"client_id": firm, **known} for firm in firms])


def bank(links: list[tuple[Any, ...]] = (), paid: list[tuple[Any, ...]] = (), gone: str = "") -> Bank:  # type: ignore[assignment]
    clients = people("best", "other", "small")
    clients["left_on"] = pd.to_datetime(clients["left_on"]).where(clients["client_id"] != gone, pd.Timestamp(DAY))
    held = {"product_id": "business_account", "opened_on": pd.Timestamp("2020-01-01"), "closed_on": pd.NaT}
    return Bank.of(
        clients=clients,
        holdings=pd.DataFrame([{"client_id": client, **held} for client in clients["client_id"]]),
        links=pd.DataFrame(links, columns=["client_id", "linked_id", "relation", "since", "until"]).astype(
            {"since": "datetime64[us]", "until": "datetime64[us]"}
        ),
        transactions=pd.DataFrame(paid, columns=["client_id", "counterparty_id", "booked_at", "amount"]).astype(
            {"booked_at": "datetime64[us]", "amount": float}
        ),
    )


FIRMS = (
    {"client_id": "best", "kind": "corporate", "eva": 90_000.0, "contribution": 90_000.0, "turnover": 5e6,
     "employees": 50.0, "products_held": 9.0},
    {"client_id": "other", "kind": "corporate", "eva": 10.0, "turnover": 1e5, "employees": 2.0, "products_held": 3.0},
    {"client_id": "small", "kind": "corporate", "eva": 10.0, "turnover": 4e6, "employees": 40.0, "products_held": 1.0},
)  # fmt: skip
THEN, LONG_AGO, LATER = (pd.Timestamp(day) for day in ("2025-06-01", "2024-11-30", "2026-01-01"))
TIES = [("best", "stranger", "supplier", THEN, pd.NaT), ("small", "best", "group", THEN, pd.NaT)]
PAID = [("best", "stranger", THEN, -400.0), ("best", "stranger", THEN, 30.0), ("other", "passer", THEN, -5.0)]


@pytest.fixture
def win(tmp_path: Path) -> Callable[[Bank], list[dict[str, Any]]]:
    policy = read_strategy(changed(tmp_path / "one.yaml", "lists", "win", "neighbours", to=1), CATALOG)
    pq.write_table(profiles(*FIRMS), tmp_path / "profiles.parquet")
    return lambda made: Lister(Planner(policy, DAY), tmp_path / "profiles.parquet").win(made).rows


Win = Callable[[Bank], list[dict[str, Any]]]


def test_firms_are_won_that_are_close_to_the_best_and_like_them(win: Win) -> None:
    """small, between the others by turnover and heads, is nearest to best by rank or to other: ranks are 0, 1/2, 1."""
    rows = win(bank(TIES, PAID))
    stranger = next(row for row in rows if row["client_id"] == "stranger")
    assert told([stranger], "outsider", "ties", "linked_best", "received", "paid", "tier") == [
        (True, 1, 1, 400.0, 30.0, None)
    ]
    assert "passer" not in [row["client_id"] for row in rows]  # close to none of the best
    assert "best" not in [row["client_id"] for row in rows]


def test_what_ended_is_too_old_or_dated_later_ties_nobody(win: Win) -> None:
    ended = [("best", "stranger", "supplier", LONG_AGO, THEN), ("best", "owner", "owner", THEN, pd.NaT)]
    old = [("best", "stranger", LONG_AGO, -400.0)]
    assert win(bank(ended, old)) == []


@given(
    more=st.lists(st.tuples(st.sampled_from(["best", "small", "new"]), st.sampled_from(["stranger", "x", "best"]),
                            st.integers(0, 400), st.floats(-1e6, 1e6)), max_size=6),
)  # fmt: skip
@settings(max_examples=8)
def test_nothing_dated_after_the_day_moves_a_list(tmp_path_factory: pytest.TempPathFactory, more) -> None:
    folder = tmp_path_factory.mktemp("later")
    pq.write_table(profiles(*FIRMS), folder / "profiles.parquet")

    def listed(made: Bank) -> list[dict[str, Any]]:
        return Lister(Planner(POLICY, DAY), folder / "profiles.parquet").win(made).rows

    later = [(ours, theirs, LATER + pd.Timedelta(days, "D"), amount) for ours, theirs, days, amount in more]
    links = [(ours, theirs, "group", LATER + pd.Timedelta(days, "D"), pd.NaT) for ours, theirs, days, _ in more]
    ends = [(*one[:4], LATER) for one in TIES]  # an end that is to come is not known
    assert listed(bank([*ends, *links], [*PAID, *later])) == listed(bank(TIES, PAID))


def test_likeness_is_the_share_of_the_best_among_the_nearest_others() -> None:
    firms = np.array([[1.0], [2.0], [3.0], [100.0], [200.0]])
    best = np.array([False, False, False, True, True])
    assert likeness(firms, best, 1)[[0, 1, 4]].tolist() == [0, 0, 1]  # itself left out, in ranks
    assert likeness(firms, best, 2).tolist() == [0, 0, 0.5, 0.5, 0.5]
    assert likeness(firms, best, 9).tolist() == [0.5, 0.5, 0.5, 0.25, 0.25]  # as many as there are
    assert likeness(firms, best, 1, np.array([[160.0], [np.nan]])).tolist() == [1, 0]  # not known: the middle, 3
    assert likeness(firms[:1], best[:1], 3).tolist() == [0]
    assert likeness(firms, best, 2, np.zeros((0, 1))).tolist() == []


def test_a_policy_without_lists_says_so(tmp_path: Path) -> None:
    file = tmp_path / "profiles.parquet"
    pq.write_table(profiles(FIRM), file)
    with pytest.raises(ValueError, match="has no lists; take the section of strategy/default"):
        Lister(Planner(POLICY.model_copy(update={"lists": None}), DAY), file)


@pytest.mark.parametrize(
    ("at", "to", "message"),
    [
        (("repair", "rules", 1, "when"), {"lifted": False}, "let go only after its repair was due; add overdue: true"),
        (("repair", "rules", 1, "when", "overdue"), ">= 0", "let go only after its repair was due; add overdue: true"),
        (("repair", "rules", 2, "then"), {"action": "repair"}, "a repair needs a lever .* and the days"),
        (("repair", "rules", 2, "then", "action"), "repare", "there is no step repare; did you mean repair"),
        (("repair", "rules", 2, "then", "lever"), "luck", "lever"),
        (("leaving", "rules", 3, "then", "action"), "call", "everybody would be on the list; write none"),
        (("leaving", "stake"), {"contribution": 0.5}, "add up to 0.5 and not to 1"),
        (("leaving", "stake"), {"rating": 1.0}, "rating is compared with what it has not"),
        (("leaving", "rules", 0, "when"), {"likeness": ">= 0.5"}, "likeness is not a column of profiles"),
        (("win", "like"), ["best"], "there is no tier best"),
        (("win", "columns"), ["turnovr"], "turnovr is not a column of profiles; did you mean turnover"),
        (("win", "columns"), ["sex"], "sex is protected by policy"),
        (("win", "rules", 3, "when"), {"ties": ">= 1"}, "others has conditions, which leaves a gap"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path: Path, at: tuple[Any, ...], to: Any, message: str) -> None:
    file = changed(tmp_path / "wrong.yaml", "lists", *at, to=to)
    with pytest.raises(StrategyError, match=rf"wrong\.yaml:\d+: lists\.{at[0]}.*{message}"):
        read_strategy(file, CATALOG)
