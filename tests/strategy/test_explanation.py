"""What would change an outcome does change it."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
from hypothesis import assume, given, settings

from sheaf.strategy import Explanation, Planner, explained
from tests.strategy.banks import DAY, POLICY, profiles, some_clients

FIRM = {"kind": "corporate", "eva": 9_000.0, "contribution": 9_000.0}


def why(client: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Explanation]:
    found = Planner(POLICY, DAY).one("c0", [profiles(client)])
    return {one.part: one for one in explained(POLICY, found.plan, last)}


def test_a_tier_is_explained_by_the_figure_and_the_thresholds_on_both_sides() -> None:
    tier = why(FIRM)["tier"]
    assert (tier.outcome, tier.rule) == ("standard", "firms and institutions")
    assert [(one.outcome, one.needs[0].needed) for one in tier.changes] == [("core", ">= 10,000"), ("basic", "< 1,000")]
    assert tier.changes[0].needs[0].column == "0.8 eva + 0.2 contribution"
    assert tier.changes[0].needs[0].now == 9000


def test_after_a_plan_the_margin_counts() -> None:
    tier = why(FIRM, {"scale": "firms and institutions", "tier": "standard"})["tier"]
    assert [one.needs[0].needed for one in tier.changes] == [">= 11,000", "< 800"]


def test_the_nearest_rule_before_is_told_with_what_it_lacks() -> None:
    visit = why(FIRM | {"limit_use": 0.85, "inflow_trend": 0.4})["visit"]
    assert visit.rule == "standard firm"
    assert visit.looked[0].column == "tier"
    [change] = visit.changes
    assert (change.rule, change.outcome.days) == ("limits used up", 14)
    assert [(one.column, one.now, one.needed) for one in change.needs] == [("limit_use", 0.85, ">= 0.9")]


def test_the_bound_that_a_client_stands_on_is_told() -> None:
    visit = why(FIRM | {"limit_use": 0.95})["visit"]
    assert (visit.changes[-1].rule, visit.changes[-1].needs[0].needed) == ("standard firm", "< 0.9")


def test_the_industry_is_explained_by_the_sector() -> None:
    industry = why(FIRM | {"sector": "tourism"})["industry"]
    assert (industry.outcome, industry.rule, industry.looked[0].now) == (
        "restricted",
        "industries.restricted",
        "tourism",
    )


@given(table=some_clients())
@settings(max_examples=15)
def test_the_figure_that_is_needed_gives_the_tier_that_is_told(table: pa.Table) -> None:
    row = table.to_pylist()[0]
    scale = next(one for one in POLICY.tiers.scales if one.name == why(row)["tier"].rule)
    for change in why(row)["tier"].changes:
        sign, number = change.needs[0].needed.split(" ")
        figure = float(number.replace(",", ""))
        moved = {
            column: figure if sign == ">=" else math.nextafter(figure, -math.inf) - 1e-6 for column in scale.figure
        }
        found = why(row | moved)["tier"]
        assume(found.rule == scale.name)
        assert found.outcome == change.outcome


@given(table=some_clients())
@settings(max_examples=15)
def test_every_outcome_is_that_of_the_plan_and_its_rule(table: pa.Table) -> None:
    found = Planner(POLICY, DAY).one("c0", [table.slice(0, 1)])
    for one in explained(POLICY, found.plan):
        if one.part == "visit":
            assert one.outcome.days == found.plan["visit_days"]
        else:
            outcome = list(one.outcome) if isinstance(one.outcome, tuple) else one.outcome
            assert outcome == found.plan[one.part]
        if one.part not in ("industry", "tier"):
            assert one.rule == found.plan[f"{one.part}_rule"]
        for need in one.looked:
            assert need.now == found.plan[need.column]
