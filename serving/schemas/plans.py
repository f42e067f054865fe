"""How a client is served and a bundle approved, as callers read it: in short with an answer, or with every reason."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, WithJsonSchema
from pydantic_core import to_json

from sheaf.strategy import Explanation, NeededChange, Strategy, explained
from sheaf.strategy.plans.planner import LAST
from sheaf.strategy.plans.single_client import Approval, following_from, planned
from sheaf.strategy.plans.snapshot import read_plan
from sheaf.strategy.policy.conditions import shown
from sheaf.strategy.policy.schema import Route, Visit

ALWAYS_SENT = ConfigDict(json_schema_serialization_defaults_required=True)
"""Of answers with fields that older ones in the decision log lack: those sent have them all."""


UntoldFloat = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})]
"""A number that is NaN, null in JSON, where an audit does not tell it."""


@dataclass(slots=True)
class Gate:
    """One of what a bundle has to pass before it is offered, and why it does or does not, with what the client has;
    `open` is for a person to see to. What is offered has failed none."""

    gate: Literal["eligible", "applicable", "suitable"]
    status: Literal["passed", "failed", "open"]
    why: str


@dataclass(slots=True)
class Plan:
    """How the client is served, by the bank's policy as of a day: `priority` 1 is served first, `channel` is tried
    first, `manager` is a grade; `next_visit` is None where none is due. `without_others` names the fields that may also
    follow from clients of whom the caller is not told: they are as if nothing were known of these."""

    as_of: str
    tier: str
    priority: int
    manager: str
    channel: str
    next_visit: str | None
    policy_version: str
    __pydantic_config__: ClassVar = ALWAYS_SENT
    without_others: tuple[str, ...] = ()


@dataclass(slots=True)
class Wanted:
    """A column that a rule looks at, its value now in words, and what the rule wants of it."""

    column: str
    now: str
    wanted: str


@dataclass(slots=True)
class Otherwise:
    """Another outcome, the rule that gives it, and what it needs."""

    outcome: Any
    rule: str
    needs: tuple[Wanted, ...]


@dataclass(slots=True)
class Reasoned:
    """One outcome: the rule, what it looked at, and what would change it, the nearest first."""

    part: str
    outcome: Any
    rule: str
    because: tuple[Wanted, ...]
    would_change: tuple[Otherwise, ...]


@dataclass(slots=True)
class Approved:
    """How a bundle is approved, and why; where one of the `gates` failed, the client may not have it. `credit` is the
    exposure that it typically adds, `list_price` and `concession` are money a year."""

    bundle_id: str
    credit: float
    list_price: float
    concession: float
    route: Approval
    why: Reasoned
    gates: tuple[Gate, ...]


@dataclass(slots=True)
class WholePlan:
    """A client's plan with the reason for every outcome; `approval` is of the bundle asked about."""

    client_id: str
    plan: Plan
    policy: str
    visit_purpose: str
    outcomes: tuple[Reasoned, ...]
    approval: Approved | None

    def hide(self, hidden: Callable[[str], bool]) -> None:
        """Leaves out what hidden columns hold now: it tells of others, who are not to be told of."""
        for reasoned in (*self.outcomes, *([self.approval.why] if self.approval else [])):
            for one in (*reasoned.because, *(need for other in reasoned.would_change for need in other.needs)):
                if any(map(hidden, re.findall(r"\w+", one.column))):  # a figure may be a sum of columns
                    one.now = "not told"


WHOLE_PLAN = TypeAdapter(WholePlan)
"""Writes a plan as JSON, and reads one."""


def in_short(policy: Strategy, values: Mapping[str, Any]) -> Plan:
    """What an answer says of a plan; `values` are those of `sheaf.strategy.plans.snapshot.read_plan`."""
    visit = values["next_visit"]
    return Plan(
        as_of=str(values["as_of"]),
        tier=values["tier"],
        priority=values["priority"],
        manager=values["manager"],
        channel=values["channels"][0],
        next_visit=None if visit is None else str(visit),
        policy_version=policy.version,
        without_others=tuple(values.get(WITHOUT, ())),
    )


def whole(policy: Strategy, client_id: str, text: str) -> WholePlan:
    """The plan that `Plans.of` gives, with its reasons."""
    values, last = read_plan(text)
    outcomes = tuple(map(reasoned, explained(policy, values, last)))
    return WholePlan(client_id, in_short(policy, values), policy.name, values["visit_purpose"], outcomes, None)


def reasoned(one: Explanation) -> Reasoned:
    """The explanation in plain values."""

    def told(outcome: Any) -> Any:
        return outcome.model_dump(mode="json") if isinstance(outcome, Visit | Route) else outcome

    changes = tuple(Otherwise(told(of.outcome), of.rule, tuple(map(_wanted, of.needs))) for of in one.changes)
    return Reasoned(one.part, told(one.outcome), one.rule, tuple(map(_wanted, one.looked)), changes)


def _wanted(need: NeededChange) -> Wanted:
    return Wanted(need.column, shown(need.now), need.needed)


WITHOUT = "without_others"
_SHORT = {
    "tier": "tier",
    "priority": "priority",
    "manager": "manager",
    "channels": "channel",
    "next_visit": "next_visit",
}


def worked_out_without(policy: Strategy, text: str, hidden: Callable[[str], bool]) -> str:
    """The plan as JSON, worked out as if hidden columns, and what the plan before had by them, were not known."""
    values, open_to = json.loads(text), following_from(policy, hidden)
    values |= {name: None for name in values if hidden(name)}
    values |= {held: None for name, held in LAST.items() if name in open_to}
    values[WITHOUT] = [name for outcome, name in _SHORT.items() if outcome in open_to]
    return worked_out_again(policy, to_json(values).decode())


def worked_out_again(policy: Strategy, text: str) -> str:
    """The plan as JSON, with its outcomes anew from what they went by."""
    logged = json.loads(text)
    values, last = read_plan(text)
    again = planned(policy, values, last, dt.date.fromisoformat(logged["as_of"]))
    return to_json(logged | again).decode()
