"""What a plan says of a client, and what holds of plans whatever the policy and the clients are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features.bank import connect
from sheaf.strategy import Planner
from sheaf.strategy.policy.conditions import Condition
from tests.strategy.banks import CATALOG, DAY, EDGES, NUMBERS, POLICY, TEXTS, plan, profiles, some_clients

FIRM = {"kind": "corporate"}


def scaled(figure: float) -> dict[str, float]:
    """Columns that come to that figure on a scale of EVA and contribution."""
    return {"eva": figure, "contribution": figure}


def test_a_key_firm_with_a_payroll_in_a_favoured_industry() -> None:
    [found] = plan(profiles(FIRM | scaled(60_000) | {"sector": "health", "held__payroll_agency": 1.0, "loans": 5.0}))
    told = {name: found[name] for name in ("type", "business", "membership", "agency", "industry", "tier", "priority")}
    assert told == {"type": "corporate", "business": "loan_client", "membership": "single", "agency": "payer",
                    "industry": "favoured", "tier": "key", "priority": 1}  # fmt: skip
    assert found["channels"] == ["web", "host_to_host", "phone", "desk"]
    assert (found["key_client_centre"], found["green_channel"]) == (True, True)
    assert (found["manager"], found["manager_load"]) == ("dedicated", 1 / 30)
    assert (found["visit_days"], found["visit_rule"]) == (30, "key")
    assert found["priority_rule"] == "key client of a favoured industry"


def test_of_whom_nothing_is_known_a_plan_is_made_too() -> None:
    [found] = plan(profiles({}))
    assert (found["type"], found["tier"], found["figure"], found["industry"]) == ("individual", "basic", 0.0, "neutral")
    assert (found["visit_days"], found["next_visit"]) == (None, None)


def test_what_is_no_number_in_a_file_is_not_known_either(tmp_path: Path) -> None:
    """The bounds of a Parquet file's columns leave NaN out, and DuckDB compares by them."""
    pq.write_table(profiles(FIRM | scaled(float("nan")), FIRM | scaled(20_000.0)), tmp_path / "profiles.parquet")
    found = pa.concat_tables(Planner(POLICY, DAY).plans(tmp_path / "profiles.parquet")).to_pylist()
    assert [(one["figure"], one["tier"]) for one in found] == [(0.0, "basic"), (20_000.0, "core")]


def test_a_group_counts_as_one_and_its_key_clients_get_a_team() -> None:
    small = FIRM | scaled(10.0) | {"group_clients": 3.0, "group_eva": 150_000.0}
    [found] = plan(profiles(small))
    assert (found["scale"], found["tier"], found["manager"]) == ("groups", "key", "team")
    assert found["manager_load"] == 3 / 12


def test_an_early_warning_comes_before_the_visits_of_the_tier() -> None:
    [warned] = plan(profiles(FIRM | scaled(60_000) | {"limit_use": 0.9}))
    assert (warned["visit_days"], warned["visit_rule"]) == (14, "limits used up")


@pytest.mark.parametrize(("figure", "tier"), [(1000.0, "standard"), (999.99, "basic"), (10_000.0, "core")])
def test_a_tier_begins_at_its_threshold(figure: float, tier: str) -> None:
    assert plan(profiles(FIRM | scaled(figure)))[0]["tier"] == tier


@pytest.mark.parametrize(
    ("before", "figure", "after"),
    [  # key from 50,000 with a margin of 5,000; core from 10,000 with one of 1,000
        ("core", 54_999.0, "core"),
        ("core", 55_000.0, "key"),
        ("key", 45_000.0, "key"),
        ("key", 44_999.0, "core"),
        ("standard", 10_999.0, "standard"),
        ("standard", 50_000.0, "core"),  # beyond the margin of the one threshold, not of the other
        ("key", 9_000.0, "core"),
        ("key", 8_999.0, "standard"),
        ("unheard of", 50_000.0, "key"),
    ],
)
def test_a_client_keeps_its_tier_within_the_margin(tmp_path: Path, before: str, figure: float, after: str) -> None:
    table = profiles(FIRM | scaled(figure))
    last = pa.table({"client_id": ["c0"], "scale": ["firms and institutions"], "tier": [before],
                     "next_visit": pa.array([None], pa.date32())})  # fmt: skip
    pq.write_table(last, tmp_path / "last.parquet")
    assert plan(table, previous=tmp_path / "last.parquet")[0]["tier"] == after


def test_a_tier_of_another_scale_is_not_kept(tmp_path: Path) -> None:
    last = pa.table({"client_id": ["c0"], "scale": ["groups"], "tier": ["key"], "next_visit": [DAY]})
    pq.write_table(last, tmp_path / "last.parquet")
    assert plan(profiles(FIRM | scaled(49_000)), previous=tmp_path / "last.parquet")[0]["tier"] == "core"


@given(table=some_clients(), earlier=st.lists(st.sampled_from(POLICY.tiers.order), min_size=12, max_size=12),
       scale=st.sampled_from([one.name for one in POLICY.tiers.scales]), ago=st.integers(-40, 200))  # fmt: skip
@settings(max_examples=20)
def test_a_policy_applied_to_its_own_result_gives_it_again(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, earlier: list[str], scale: str, ago: int
) -> None:
    folder, count = tmp_path_factory.mktemp("plans"), len(table)
    last = {"client_id": table["client_id"], "scale": [scale] * count, "tier": earlier[:count],
            "next_visit": [DAY - dt.timedelta(ago)] * count}  # fmt: skip
    pq.write_table(pa.table(last), folder / "last.parquet")
    once = plan(table, previous=folder / "last.parquet")
    pq.write_table(pa.Table.from_pylist(once), folder / "once.parquet")
    assert plan(table, previous=folder / "once.parquet") == once


@given(table=some_clients())
@settings(max_examples=12)
def test_first_plans_are_kept_by_the_second(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> None:
    file, first = tmp_path_factory.mktemp("plans") / "first.parquet", plan(table)
    pq.write_table(pa.Table.from_pylist(first), file)
    assert plan(table, previous=file) == first


@given(figure=st.one_of(st.sampled_from(EDGES), st.floats(-1e6, 1e6)), kind=st.sampled_from(TEXTS["kind"]))
@settings(max_examples=20)
def test_a_client_is_in_the_one_tier_whose_bounds_hold_its_figure(figure: float, kind: str) -> None:
    [found] = plan(profiles({"kind": kind, "eva": figure, "contribution": figure}))
    scale = next(one for one in POLICY.tiers.scales if one.name == found["scale"])
    of = [
        step.tier
        for step in scale.steps
        if (step.at_least is None or found["figure"] >= step.at_least)
        and (step.below is None or found["figure"] < step.below)
    ]
    assert of == [found["tier"]]


def rules() -> st.SearchStrategy[dict[str, Any]]:
    """A condition on any column of profiles, as YAML has it."""
    signs, number = st.sampled_from([">=", "<=", ">", "<"]), st.sampled_from(EDGES)
    numeric = st.tuples(st.sampled_from(NUMBERS), st.builds(lambda s, n: f"{s} {n:.2f}", signs, number))
    texts = st.sampled_from(sorted(TEXTS)).flatmap(
        lambda name: st.tuples(st.just(name), st.lists(st.sampled_from(TEXTS[name]), min_size=1, max_size=2))
    )
    return st.lists(st.one_of(numeric, texts), min_size=1, max_size=2).map(dict)


PLACES = {
    ("client", "type"): "institution",
    ("client", "agency"): "payer",
    ("priority",): 9,
    ("service", "key_client_centre"): True,
    ("service", "visits"): {"days": 7, "purpose": "To see"},
}


@given(table=some_clients(), when=rules(), at=st.sampled_from(list(PLACES)))
@settings(max_examples=30)
def test_a_rule_put_above_the_others_changes_only_the_clients_it_matches(
    table: pa.Table, when: dict[str, Any], at: tuple[str, ...]
) -> None:
    content = POLICY.model_dump(mode="json")
    place: Any = content
    for key in at:
        place = place[key]
    place.insert(0, {"name": "put above", "when": when, "then": PLACES[at]})
    policy = type(POLICY).model_validate(content)
    conditions = {name: Condition.model_validate(one) for name, one in when.items()}
    matched = [all(one.holds(row[name]) for name, one in conditions.items()) for row in table.to_pylist()]
    order = sorted(range(len(table)), key=lambda at: table["client_id"][at].as_py())
    before, after = plan(table), plan(table, policy)
    rule = f"{'visit' if at[-1] == 'visits' else at[-1]}_rule"
    for row, was, now in zip(order, before, after, strict=True):
        if matched[row]:
            assert now[rule] == "put above"
        else:
            assert now == was


@given(table=some_clients(), when=rules())
@settings(max_examples=12)
def test_a_scale_put_above_the_others_changes_only_the_clients_it_matches(
    table: pa.Table, when: dict[str, Any]
) -> None:
    content = POLICY.model_dump(mode="json")
    steps = [{"tier": "key", "at_least": 0.0}, {"tier": "basic", "below": 0.0}]
    content["tiers"]["scales"].insert(0, {"name": "put above", "when": when, "figure": {"loans": 1.0}, "steps": steps})
    before, after = plan(table), plan(table, type(POLICY).model_validate(content))
    conditions = {name: Condition.model_validate(one) for name, one in when.items()}
    rows = {row["client_id"]: row for row in table.to_pylist()}
    for was, now in zip(before, after, strict=True):
        row = rows[was["client_id"]]
        if all(one.holds(row[name]) for name, one in conditions.items()):
            figure = row["loans"] if row["loans"] is not None and row["loans"] == row["loans"] else 0.0
            assert (now["scale"], now["figure"]) == ("put above", pytest.approx(figure, abs=1e-6))
            assert now["tier"] == ("key" if round(figure, 6) >= 0 else "basic")
        else:
            assert now == was


@given(when=rules(), values=st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=1))
@settings(max_examples=30)
def test_a_condition_holds_in_sql_as_in_python(when: dict[str, Any], values: list[float | None]) -> None:
    column, written = next(iter(when.items()))
    condition = Condition.model_validate(written)
    given_values: list[Any] = [None, *TEXTS[column]] if column in TEXTS else values
    connection = connect()
    connection.register("t", pa.table({"row": range(len(given_values)), column: given_values}))
    cleaned = f'"{column}"' if column in TEXTS else f"nullif(\"{column}\"::double, 'nan'::double)"
    source = f'(select row, {cleaned} as "{column}" from t)'
    found = connection.sql(f"select coalesce({condition.sql(column)}, false) from {source} order by row").fetchall()
    assert [row[0] for row in found] == [condition.holds(value) for value in given_values]


def test_plans_of_a_file_and_of_parts_are_the_same(tmp_path: Path) -> None:
    table = profiles(*(FIRM | scaled(float(figure)) for figure in range(0, 60_000, 7_000)))
    pq.write_table(table.take(list(range(len(table)))[::-1]), tmp_path / "profiles.parquet")
    of_file = pa.concat_tables(Planner(POLICY, DAY).plans(tmp_path / "profiles.parquet"))
    of_parts = pa.concat_tables(Planner(POLICY, DAY).plans([table[:4], table[4:]]))
    assert of_file.to_pylist() == of_parts.to_pylist()
    assert of_file["client_id"].to_pylist() == table["client_id"].to_pylist()


def test_first_visits_are_spread_over_the_days_between_two_and_fall_on_workdays() -> None:
    found = plan(profiles(*(FIRM | scaled(60_000) for _ in range(300))))
    days = {one["next_visit"] for one in found}
    assert len(days) > 15
    assert min(days) > DAY
    assert max(days) <= DAY + dt.timedelta(30 + 2)
    assert all(day.weekday() < 5 for day in days)


@pytest.mark.parametrize(
    ("last", "next_visit"),
    [
        (dt.date(2026, 1, 9), dt.date(2026, 1, 9)),  # still to come
        (dt.date(2025, 12, 31), dt.date(2026, 1, 30)),  # that was today: thirty days on, a Friday
        (dt.date(2026, 6, 1), dt.date(2026, 1, 30)),  # visits have become more frequent
    ],
)
def test_a_visit_stays_where_it_was_unless_it_is_due_sooner(tmp_path: Path, last: dt.date, next_visit: dt.date) -> None:
    before = {"client_id": ["c0"], "scale": ["firms and institutions"], "tier": ["key"], "next_visit": [last]}
    pq.write_table(pa.table(before), tmp_path / "last.parquet")
    [found] = plan(profiles(FIRM | scaled(60_000)), previous=tmp_path / "last.parquet")
    assert found["next_visit"] == next_visit


def test_a_column_that_profiles_lack_is_told_once_and_meets_nothing() -> None:
    planner, table = Planner(POLICY, DAY), profiles(FIRM, FIRM).drop_columns(["limit_use", "rating"])
    with pytest.warns(UserWarning, match="the profiles lack limit_use, rating") as told:
        found = pa.concat_tables(planner.plans([table[:1], table[1:]])).to_pylist()
    assert len(told) == 1
    assert [one["visit_rule"] for one in found] == ["no visits", "no visits"]


def test_the_potential_is_that_of_the_best_offer(tmp_path: Path) -> None:
    offers = {"client_id": ["c0", "c0", "c1"], "rank": [1, 2, 1], "bundle_id": ["growth", "leasing", "growth"],
              "score": [6000.0, 10.0, -5.0], "concession": [0.0] * 3, "eva": [0.0] * 3}  # fmt: skip
    pq.write_table(pa.table(offers), tmp_path / "offers.parquet")
    planner = Planner(POLICY, DAY, offers=tmp_path / "offers.parquet")
    found = pa.concat_tables(planner.plans([profiles(FIRM, FIRM, FIRM)], ["potential"])).sort_by("client_id")
    assert found["potential"].to_pylist() == [6000.0, 0.0, None]
    assert found["priority_rule"].to_pylist() == ["firm with potential", "basic", "basic"]


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"client_id": ["a", "a"]}), tmp_path / "some.parquet")
    with pytest.raises(ValueError, match=r"some.parquet lacks scale, tier, next_visit; give plans"):
        Planner(POLICY, DAY, tmp_path / "some.parquet")
    with pytest.raises(ValueError, match=r"some.parquet lacks bundle_id, rank, score, concession, eva; give offers"):
        Planner(POLICY, DAY, offers=tmp_path / "some.parquet")
    columns = {"client_id": ["a", "a"], "scale": ["x"] * 2, "tier": ["x"] * 2, "next_visit": [DAY] * 2}
    pq.write_table(pa.table(columns), tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="more than one plan of 1 clients"):
        Planner(POLICY, DAY, tmp_path / "twice.parquet")
    (tmp_path / "none.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match=r"none.parquet is no Parquet file"):
        Planner(POLICY, DAY, tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="there is no such file"):
        next(Planner(POLICY, DAY).plans(tmp_path / "missing.parquet"))


def test_a_version_stands_for_the_content() -> None:
    content = POLICY.model_dump(mode="json")
    assert type(POLICY).model_validate(content).version == POLICY.version
    content["priority"][0]["then"] = 3
    assert type(POLICY).model_validate(content).version != POLICY.version
    assert CATALOG.version != POLICY.version
