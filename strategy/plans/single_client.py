"""The policy applied to one client without a database: what `Planner` and `Router` give, rule by rule.

A service answers from plans that were made ahead and asks here for the routes of a few bundles; an auditor has a plan
worked out again from what it went by.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sheaf.catalog import Catalog
from sheaf.features import C
from sheaf.pricing import signing
from sheaf.pricing.price_table import need_pricing
from sheaf.strategy.plans.planner import thresholds
from sheaf.strategy.policy.conditions import Rule
from sheaf.strategy.policy.schema import INDUSTRIES, Stage, Strategy

Values = Mapping[str, Any]


@dataclass(slots=True)
class Approval:
    """How a bundle is approved, as a row of `Router.routes`: in which order, on which papers, who signs (None where
    nobody may), alone or in committee, the days that it takes, and the rules that counted."""

    priority: int
    papers: str
    signs: str | None
    signature: str
    days: int
    rule: str
    sub_authority: str | None


@dataclass(frozen=True)
class Approver:
    """Routes bundles of a catalog by a policy."""

    policy: Strategy
    catalog: Catalog

    @cached_property
    def _names(self) -> list[str]:
        return [one.name for one in need_pricing(self.catalog).authorities]

    @cached_property
    def _bundles(self) -> dict[str, tuple[str, list[tuple[str, float]]]]:
        """Of each bundle its line, and its products with what a typical contract of each adds to the exposure."""
        sheets = need_pricing(self.catalog).products

        def credit(product: str) -> float:
            sheet = sheets.get(product)
            return max(self.catalog.product(product).balance, sheet.credit.limit) if sheet and sheet.credit else 0.0

        return {
            one.bundle_id: (str(one.line), [(product, credit(product)) for product in one.products])
            for one in self.catalog.offers
        }

    def pairs(
        self,
        bundles: Sequence[str],
        held: Container[str],
        list_prices: Sequence[float],
        concessions: Sequence[float],
    ) -> list[dict[str, Any]]:
        """What rules may ask of each bundle for a client who has the products `held`; money a year."""
        return [
            {
                C.BUNDLE: bundle,
                "line": self._bundles[bundle][0],
                "credit": sum(credit for product, credit in self._bundles[bundle][1] if product not in held),
                "list_price": price,
                C.CONCESSION: concession,
            }
            for bundle, price, concession in zip(bundles, list_prices, concessions, strict=True)
        ]

    def approve(self, plan: Values, pairs: Sequence[Mapping[str, Any]], held: Container[str]) -> list[Approval]:
        """The routes of the `pairs` for the client whose plan, with what it went by, is given."""
        of = {name: np.array([pair[name] for pair in pairs], dtype=float) for name in ("list_price", C.CONCESSION)}
        granted = signing(need_pricing(self.catalog).authorities, of["list_price"], of[C.CONCESSION]).tolist()
        return [self._approve({**plan, **pair}, held, least) for pair, least in zip(pairs, granted, strict=True)]

    def _approve(self, values: Values, held: Container[str], granted: int) -> Approval:
        routes, names = self.policy.routes, self._names
        rule = routes.rules[first_of(routes.rules, values)]
        signs, then = names.index(rule.then.signs), rule.then
        lent = [product for product, credit in self._bundles[values[C.BUNDLE]][1] if credit and product not in held]
        sub = next(
            (
                one
                for one in sorted(routes.sub_authorities, key=lambda one: names.index(one.signs))  # the lowest counts
                if lent and set(lent) <= set(one.products) and not one.rule.unmet(values)
            ),
            None,
        )
        if sub is not None and not (names.index(sub.signs) < signs and granted < signs):
            sub = None  # it counts only where it lies below the rule's
        at = max(signs if sub is None else names.index(sub.signs), granted)
        return Approval(
            priority=then.priority,
            papers=then.papers,
            signs=names[at] if at < len(names) else None,
            signature=then.signature if sub is None else "single",
            days=then.days,
            rule=rule.name,
            sub_authority=None if sub is None else sub.name,
        )


def first_of(rules: Sequence[Rule[Any]], values: Values) -> int:
    """The place of the first rule that these values meet."""
    for at, rule in enumerate(rules):
        if all(condition.holds(values.get(column)) for column, condition in rule.when.items()):
            return at
    raise ValueError("no rule is for everybody; sheaf policy check says where")


def planned(policy: Strategy, profile: Values, last: Values | None, as_of: dt.date) -> dict[str, Any]:
    """The outcomes of a client's plan as of a day, by column of `Planner.plans`, without the names of rules.

    `profile` has the client's id and the columns that the policy asks for, `last` the scale, tier and next visit of the
    plan before.
    """
    values, before = dict(profile), last or {}
    values["industry"] = next(
        (name for name in INDUSTRIES if values.get(C.SECTOR) in getattr(policy.industries, name)), "neutral"
    )
    for stage in policy.facts:
        values |= _outcome(stage, values)
    scale = policy.tiers.scales[first_of([one.rule for one in policy.tiers.scales], values)]
    figure = _rounded(sum(weight * (values.get(column) or 0.0) for column, weight in scale.figure.items()))
    least = thresholds(scale, before.get("tier") if before.get("scale") == scale.name else None)
    at = next((number for number, number_at in enumerate(least) if figure >= number_at), len(least))
    values |= {"scale": scale.name, "figure": figure, "tier": scale.steps[at].tier}
    for stage in policy.following:
        values |= _outcome(stage, values)
    values["next_visit"] = _next_visit(values[C.CLIENT], values["visit_days"], before.get("next_visit"), as_of)
    outcomes = {"industry", "scale", "figure", "tier", "next_visit"}
    outcomes |= {name for stage in (*policy.facts, *policy.following) for name in stage.columns}
    return {name: value for name, value in values.items() if name in outcomes}


def following_from(policy: Strategy, is_hidden: Callable[[str], bool]) -> set[str]:
    """The outcomes of plans that hidden columns may decide, by the columns that rules look at."""
    found: set[str] = {"industry"} if is_hidden(C.SECTOR) else set()

    def rests(columns: Iterable[str]) -> bool:
        return any(column in found or is_hidden(column) for column in columns)

    def add(stages: Iterable[Stage]) -> None:
        for stage in stages:
            if rests(column for rule in stage.rules for column in rule.when):
                found.update(stage.columns)

    add(policy.facts)
    if any(rests([*one.when, *one.figure]) for one in policy.tiers.scales):
        found.update(("scale", "figure", "tier"))
    add(policy.following)
    return found | ({"next_visit"} if "visit_days" in found else set())


def _outcome(stage: Stage, values: Values) -> dict[str, Any]:
    then = stage.rules[first_of(stage.rules, values)].then
    return {name: look(then) for name, (_, look) in stage.columns.items()}


def _rounded(number: float) -> float:
    """To a millionth, half away from zero, as the database rounds."""
    scaled = number * 1e6
    return math.copysign(math.floor(abs(scaled) + 0.5), scaled) / 1e6


def _next_visit(client: str, every: int | None, last: dt.date | None, day: dt.date) -> dt.date | None:
    """As `Planner` has it."""
    if every is None:
        return None
    due = _workday(day + dt.timedelta(every))
    if last is None:
        number = int.from_bytes(hashlib.md5(client.encode(), usedforsecurity=False).digest()[8:], "little")
        return _workday(day + dt.timedelta(1 + number % every))
    return min(last, due) if last > day else due


def _workday(day: dt.date) -> dt.date:
    return day + dt.timedelta({5: 2, 6: 1}.get(day.weekday(), 0))
