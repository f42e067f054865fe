"""Why a client's outcome is what it is: the rule, the values it looked at, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sheaf.features import C
from sheaf.strategy.plans.linking import TIES, Room, linked_clients
from sheaf.strategy.plans.planner import thresholds
from sheaf.strategy.policy.conditions import Condition, Rule, exact
from sheaf.strategy.policy.schema import Strategy


@dataclass(frozen=True)
class NeededChange:
    """A column, its value now, and what it would have to be."""

    column: str
    now: Any
    needed: str


@dataclass(frozen=True)
class Change:
    """Another outcome, the rule that gives it, and what it needs."""

    outcome: Any
    rule: str
    needs: tuple[NeededChange, ...]


@dataclass(frozen=True)
class Explanation:
    """One outcome: the part of the policy, what came out, by which rule, on which values (column, value, what the rule
    wants), and what would change it, the nearest first."""

    part: str
    outcome: Any
    rule: str
    looked: tuple[NeededChange, ...]
    changes: tuple[Change, ...]


def explained(policy: Strategy, values: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> list[Explanation]:
    """Every outcome of a client's plan; `values` are those of a row of `Planner.plans` with `policy.asks_of_clients`
    kept, `last` the row of the plan before."""
    sector = NeededChange(C.SECTOR, values.get(C.SECTOR), "")
    found = [Explanation("industry", values["industry"], f"industries.{values['industry']}", (sector,), ())]
    found += [of_rules(stage.name, stage.rules, values) for stage in policy.facts]
    found.append(_of_tier(policy, values, last or {}))
    found += [of_rules(stage.name, stage.rules, values) for stage in policy.following]
    return found


def explained_route(policy: Strategy, values: Mapping[str, Any]) -> Explanation:
    """The rule behind a route; `values` are those of the client's plan and of a row of `Router.routes`."""
    return of_rules("route", policy.routes.rules, values)


def explained_room(policy: Strategy, values: Mapping[str, Any], room: Room) -> list[Explanation]:
    """Who leads, and which desks of linked clients are in the room and which are not; `values` as for
    `Linker.room`."""
    names, looked, changes = [], list[NeededChange](), []
    for one in policy.linkage.linked:
        if one.products and not room.parts.keys() & set(one.products):
            continue
        column, least = TIES[one.relation], 2 if one.relation == "group" else 1
        count = NeededChange(column, values.get(column), f">= {least}")
        there, unmet = linked_clients(values, one.relation), _needs(one.rule.unmet(values), values)
        if there and not unmet:
            names.append(one.name)
            looked += [count, *(NeededChange(key, values.get(key), str(asked)) for key, asked in one.when.items())]
        else:
            changes.append(Change(one.desk, one.name, (*(() if there else (count,)), *unmet)))
    beside = Explanation(
        "linked", tuple(one.desk for one in policy.linkage.linked if one.name in names), ", ".join(names) or "none",
        tuple(looked), tuple(changes),
    )  # fmt: skip
    return [of_rules("lead", policy.linkage.leads, values), beside]


def of_rules(part: str, rules: Sequence[Rule[Any]], values: Mapping[str, Any]) -> Explanation:
    """The outcome of rules, of which the values meet one at least."""
    at = next(number for number, rule in enumerate(rules) if not rule.unmet(values))
    rule = rules[at]
    looked = tuple(NeededChange(column, values.get(column), str(condition)) for column, condition in rule.when.items())
    earlier = [one for one in rules[:at] if one.then != rule.then]
    nearest = min(earlier, key=lambda one: _distance(one.unmet(values), values), default=None)
    changes = [] if nearest is None else [Change(nearest.then, nearest.name, _needs(nearest.unmet(values), values))]
    lost = _lost(rules, at, values)
    return Explanation(part, rule.then, rule.name, looked, (*changes, *([lost] if lost else [])))


def _distance(unmet: Mapping[str, Condition], values: Mapping[str, Any]) -> tuple[int, float]:
    """How many conditions are not met, and how far the furthest is."""
    return len(unmet), max(condition.gap(values.get(column)) for column, condition in unmet.items())


def _needs(unmet: Mapping[str, Condition], values: Mapping[str, Any]) -> tuple[NeededChange, ...]:
    return tuple(
        NeededChange(column, values.get(column), one.unmet(values.get(column))) for column, one in unmet.items()
    )


def _lost(rules: Sequence[Rule[Any]], at: int, values: Mapping[str, Any]) -> Change | None:
    """The nearest bound that the client's rule stands on, and what would decide past it."""
    bounds = [
        (abs(values[column] - bound.number) / max(abs(bound.number), 1e-9), column, bound)
        for column, condition in rules[at].when.items()
        for bound in condition.bounds
        if bound.sign != "="
    ]
    if not bounds:
        return None
    _, column, bound = min(bounds, key=lambda one: one[:2])
    past = {">=": "<", ">": "<=", "<=": ">", "<": ">="}[bound.sign]
    needed = bound.model_copy(update={"sign": past})
    beyond = {**values, column: _beyond(bound.number, past)}  # everything else as it is
    then = next(rule for rule in rules if not rule.unmet(beyond))
    if then.then == rules[at].then:
        return None
    return Change(then.then, then.name, (NeededChange(column, values[column], str(needed)),))


def _beyond(number: float, sign: str) -> float:
    """A number on that side of the bound, as near as counts."""
    step = max(abs(number), 1.0) * 1e-9
    return number if "=" in sign else number - step if sign == "<" else number + step


def _of_tier(policy: Strategy, values: Mapping[str, Any], last: Mapping[str, Any]) -> Explanation:
    """The tier by its scale; up and down are the thresholds that count after last time's tier."""
    scale = next(one for one in policy.tiers.scales if one.name == values["scale"])
    tiers, figure = [step.tier for step in scale.steps], values["figure"]
    before = last.get("tier") if last.get("scale") == scale.name else None
    at, least = tiers.index(values["tier"]), thresholds(scale, before)
    told = " + ".join(f"{weight:g} {column}" if weight != 1 else column for column, weight in scale.figure.items())
    looked = [NeededChange(column, values.get(column), str(one)) for column, one in scale.when.items()]
    looked += [NeededChange(column, values.get(column), "") for column in scale.figure]
    changes = []
    if at:
        changes.append(Change(tiers[at - 1], scale.name, (NeededChange(told, figure, f">= {exact(least[at - 1])}"),)))
    if at < len(least):
        changes.append(Change(tiers[at + 1], scale.name, (NeededChange(told, figure, f"< {exact(least[at])}"),)))
    return Explanation("tier", values["tier"], scale.name, tuple(looked), tuple(changes))
