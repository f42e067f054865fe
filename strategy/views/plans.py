"""Plans, routes and comparisons as a person reads them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from sheaf.catalog import Catalog
from sheaf.features import C
from sheaf.strategy.fairness.audit import FairnessAudit, Interval
from sheaf.strategy.lists.lister import FIGURES, Listed, schema
from sheaf.strategy.managers.call_list import Calls
from sheaf.strategy.plans.comparison import Comparison
from sheaf.strategy.plans.explanation import Explanation, NeededChange
from sheaf.strategy.plans.linking import Room
from sheaf.strategy.plans.packages import Members, Package
from sheaf.strategy.policy.conditions import shown
from sheaf.strategy.policy.schema import NONE, Entry, Route, Strategy, Visit
from sheaf.training.attrition import LearnedAttrition


def plan_table(policy: Strategy, plan: Mapping[str, Any], why: Sequence[Explanation]) -> Group:
    """One client's plan with the reason for each outcome."""
    title = f"Client {plan[C.CLIENT]} as of {plan['as_of']}"
    visit = "No visit is due" if plan["next_visit"] is None else f"Next visit {plan['next_visit']:%A, %Y-%m-%d}"
    return Group(_explained(title, why, policy), escape(f"{visit}: {plan['visit_purpose']}"))


def route_table(policy: Strategy, route: Mapping[str, Any], why: Explanation, currency: str) -> Group:
    """One bundle's route with its reason."""
    table = _explained(f"Client {route[C.CLIENT]}, bundle {route[C.BUNDLE]}", [why], policy)
    signs = shown(route["signs"]) if route["signs"] else "nobody"
    how = "in committee" if route["signature"] == "committee" else "alone"
    told = [
        f"{signs} signs, {how}, within {_days(route['days'])}, on {route['papers']} papers; "
        f"priority {route['route_priority']}.",
        f"Credit {route['credit']:,.0f}, list price {route['list_price']:,.2f}, concession {route['concession']:,.2f} "
        f"{currency}: {shown(route['concession_signs']) if route['concession_signs'] else 'nobody'} may grant that.",
    ]
    if route["sub_authority"]:
        told.append(f"Sub-authority: {route['sub_authority']}.")
    return Group(table, escape("\n".join(told)))


def room_table(policy: Strategy, room: Room, why: Sequence[Explanation], currency: str) -> Group:
    """Who is in the room for a bundle with the reasons, and what each desk gains."""
    table = Table(title=f"What each desk gains, {currency} a year", title_justify="left", show_lines=True)
    for name in ("desk", "in the room, as"):
        table.add_column(name)
    for name in ("contribution", "EVA"):
        table.add_column(name, justify="right")
    for seat in room.seats:
        amounts = ["" if of is None else f"{of:,.2f}" for of in (seat.contribution, seat.eva)]
        table.add_row(*map(escape, (shown(seat.desk), "\n".join(seat.reasons), *amounts)))
    priced = [seat for seat in room.seats if seat.contribution is not None and seat.eva is not None]
    if priced:
        sums = [sum(of, Decimal(0)) for of in zip(*((one.contribution, one.eva) for one in priced), strict=True)]
        table.add_section()
        table.add_row("together", "", *(f"{of:,.2f}" for of in sums))
    if not why:
        return Group(table)
    title = f"Client {room.client_id}, bundle {room.bundle_id}: who sells it"
    return Group(_explained(title, why, policy), table)


def package_table(found: Package, members: Members, bundle: str, currency: str) -> Group:
    """What a client's bundle and those of its linked clients are worth together and separately."""
    table = Table(title=f"Expected EVA, {currency} a year", title_justify="left")
    for name in ("", "bundle"):
        table.add_column(name)
    for name in ("offered to", "separately", "together"):
        table.add_column(name, justify="right")
    joint = found.together - found.gain * float((found.joint.acceptance * found.joint.open).sum())
    ours = joint - float(found.before.value.sum())
    table.add_row("the client", bundle, f"{found.joint.open.sum()}", f"{found.alone.value.sum():,.2f}", f"{ours:,.2f}")
    signs = float((found.joint.acceptance * found.joint.open).sum())
    for relation, theirs in dict.fromkeys(zip(members.relation, members.bundle, strict=True)):
        mine = np.array([one == relation for one in members.relation])
        before, after = (float(of.value[mine].sum()) for of in (found.before, found.after))
        many = f"{found.after.open[mine].sum():,} of {mine.sum():,}"
        table.add_row(shown(relation), theirs, many, f"{before:,.2f}", f"{before + signs * (after - before):,.2f}")
    table.add_section()
    table.add_row("all", "", "", f"{found.separately:,.2f}", f"{found.together:,.2f}")
    alone, conceded = float(found.alone.concession.sum()), float(found.joint.concession.sum())
    told = [
        f"The client is conceded {conceded:,.2f} in place of {alone:,.2f}, and accepts with {signs:.1%} in place of "
        f"{float(found.alone.acceptance.sum()):.1%}; that adds {found.gain:,.2f} to the others' offers.",
        "Offer the client first, and the others by its answer."
        if found.together > found.separately
        else "The others would not rather take their bundles after it: offer separately.",
    ]
    return Group(table, escape("\n".join(told)))


def comparison_tables(found: Comparison, names: tuple[str, str]) -> list[Table]:
    """Moves between tiers, and tiers, managers and routes under either policy."""
    rows = [one.tier for one in found.tiers]
    moves = Table(
        title=escape(f"{found.moved:,} of {found.clients:,} clients change tier: from {names[0]} (down) to {names[1]}")
    )
    moves.add_column("")
    for tier in rows:
        moves.add_column(escape(tier), justify="right")
    for tier in rows:
        moves.add_row(escape(tier), *(f"{found.moves.get((tier, other), 0):,}" for other in rows))
    tiers = _pairs("Clients, EVA and capital a year by tier", ("clients", "EVA", "capital", "potential"), "tier")
    for one in found.tiers:
        tiers.add_row(escape(one.tier), *_each(one.clients, one.eva, one.capital, one.potential))
    grades = _pairs("Managers that the clients take", ("clients", "managers"), "grade")
    for grade in found.grades:
        grades.add_row(escape(grade.grade), *_each(grade.clients), *(f"{load:,.1f}" for load in grade.managers))
    levels = _pairs("Who markets to the clients", ("clients",), "level")
    for level in found.levels:
        levels.add_row(escape(shown(level.level)), *_each(level.clients))
    tables = [moves, tiers, grades, levels]
    if found.routes:
        title = f"Routes of offers; {found.rerouted:,} change"
        routes = _pairs(title, ("offers", "days"), "signs", "signature", "papers")
        for route in found.routes:
            way = (shown(route.signs) if route.signs else "nobody", route.signature, route.papers)
            routes.add_row(*map(escape, way), *_each(route.offers), *(f"{days:,.1f}" for days in route.days))
        tables.append(routes)
    return tables


def book_table(found: Calls, catalog: Catalog) -> Group:
    """A manager's calls in their order, and in one line who was left out."""
    title = f"Book of {found.manager} after {found.as_of}: {found.calls.num_rows} of {found.clients:,} clients"
    table = Table(title=escape(title), title_justify="left", caption_justify="left", show_lines=True)
    table.add_column("", justify="right")
    table.add_column("client", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("because", no_wrap=True)
    table.add_column("bundle and price", overflow="fold")
    table.add_column("how, and the next visit", overflow="fold")
    names = {offer.bundle_id: offer.name for offer in catalog.offers}
    for call in found.calls.to_pylist():
        table.add_row(
            str(call["rank"]), escape(f"{call[C.CLIENT]}\n{call['tier']}\npriority {call['priority']}"),
            f"{call['score']:,.2f}", escape(_why_call(call)), escape(_offered(call, names)),
            escape(f"{shown(call['channel'])}, {call['minutes']} min\n{_visit(call)}"),
        )  # fmt: skip
    money = f"{catalog.currency} a year"
    at_stake = "the EVA of the offer if accepted, or of the relationship if lost"
    table.caption = escape(f"score: probability × value at stake × urgency; value: {at_stake}; prices: {money}")
    left = ", ".join(f"{many:,} {why}" for why, many in found.left_out.items())
    hours = f"{found.minutes / 60:.1f} hours"
    return Group(table, escape(f"{hours} of calls. Not called: {left or 'nobody'}."))


def _why_call(call: Mapping[str, Any]) -> str:
    product = f"{call['probability']:.1%} × {call['value']:,.0f} × {call['urgency']:g}"
    return f"{call['because']}\n{product}\n{call['urgency_rule']}"


def _offered(call: Mapping[str, Any], names: Mapping[str, str]) -> str:
    if call[C.BUNDLE] is None:
        return "nothing to offer"
    price = "no price" if call["price"] is None else f"{call['price']:,.2f}"
    return f"{names.get(call[C.BUNDLE], call[C.BUNDLE])}\n{price}, conceding {call[C.CONCESSION]:,.2f}"


def _visit(call: Mapping[str, Any]) -> str:
    return ("" if call["next_visit"] is None else f"{call['next_visit']}: ") + str(call["visit_purpose"])


def audit_table(found: FairnessAudit) -> Table:
    """Every comparison, those to look at first."""
    how = "within worth" if found.by_worth else "corrected difference"
    table = Table(title="Outcomes of each group against all other clients, with 95 % intervals", title_justify="left")
    for name in ("attribute", "group", "outcome"):
        table.add_column(name)
    for name in ("clients", "mean", "others", "difference", "ratio", how, "p"):
        table.add_column(name, justify="right")
    table.add_column("")
    words = {"look": "[bold]look[/]", "worth": "worth", "same": "", "few": "too few"}
    places = list(words)
    for one in sorted(found.compared, key=lambda one: places.index(one.verdict)):
        scale = 100.0 if one.share else 1.0
        figures = [_number(one.mean * scale), _number(one.others * scale), _interval(one.difference, scale)]
        figures += [_interval(one.ratio), _interval(one.within, scale), _number(one.p)]
        verdict = ", ".join(filter(None, (words[one.verdict], "below 4/5" if one.below_four_fifths else "")))
        about = (one.attribute, one.group, f"{one.outcome}{', %' if one.share else ''}")
        table.add_row(*map(escape, about), f"{one.clients:,}", *figures, verdict)
    return table


def _interval(of: Interval, scale: float = 1.0) -> str:
    if of.value != of.value:
        return "–"
    low, high = (_number(one * scale) for one in (of.low, of.high))
    return f"{_number(of.value * scale)} [dim]{low} to {high}[/]"


def _number(value: float) -> str:
    return "–" if value != value else f"{value:,.3g}"


def because(one: Explanation, between: str = "; ") -> str:
    """The values that a rule looked at, in words."""
    return between.join(map(_looked, one.looked)) or "no rule before it is met"


def would_change(one: Explanation, between: str = "; ") -> str:
    """What would change an outcome, in words."""
    return between.join(map(_change, one.changes))


def list_table(name: str, listed: Listed, policy: Strategy, top: int) -> Table:
    """The first clients of a list, each with its figures and why it is there."""
    count = len(listed.rows)
    title = f"{name.capitalize()}: {count:,} on the list" + (f", the first {top:,}" if top < count else "")
    table = Table(title=title, title_justify="left", caption_justify="left", show_lines=True)
    for column in ("client", "what to do", "figures", "rule and because", "what would change it"):
        table.add_column(column, overflow="fold")
    for row, one in list(zip(listed.rows, listed.why, strict=True))[:top]:
        until = f" by {row['due']}" if row["due"] else ""
        lever = f", {row['lever']}" if row["lever"] else ""
        figures = [f"{column} {_figure(row[column])}" for column in FIGURES[name] if row[column] is not None]
        table.add_row(
            *map(escape, (row[C.CLIENT], f"{shown(row['action'])}{lever}{until}\n{row['purpose']}", "\n".join(figures),
                          f"{row['rule']}\n{because(one, chr(10))}", would_change(one, "\n")))
        )  # fmt: skip
    table.caption = escape(f"policy {policy.name} {policy.version}")
    return table


def list_rows(name: str, listed: Listed) -> pa.Table:
    """All of a list, a row a client, with the columns of `sheaf.strategy.lists.lister.schema`."""
    told = [
        {**row, "because": because(one), "change": would_change(one)}
        for row, one in zip(listed.rows, listed.why, strict=True)
    ]
    return pa.Table.from_pylist(told, schema=schema(name))


def attrition_lines(found: LearnedAttrition) -> list[str]:
    """How well a model of earlier days tells who left after the last."""
    of, low_high = found.figures, found.intervals.get("auc", (float("nan"), float("nan")))
    return [
        f"After {found.model.about['as_of'][-1]}, by a model of the earlier days: {of['left']:,.0f} of "
        f"{of['clients']:,.0f} clients left within {found.model.about['horizon_days']} days, {of['expected']:,.0f} "
        "were expected.",
        f"AUC {of['auc']:.3f} ({low_high[0]:.3f} to {low_high[1]:.3f}), calibration error "
        f"{of['calibration_error']:.4f}, log loss {of['log_loss']:.4f}; one share for all "
        f"{found.losses['one share']:.4f}.",
    ]


def _pairs(title: str, figures: Sequence[str], *keys: str) -> Table:
    table = Table(title=title, caption="each under the first policy, then under the second", title_justify="left")
    for key in keys:
        table.add_column(key, overflow="fold")
    for figure in figures:
        for _ in range(2):
            table.add_column(figure, justify="right", overflow="fold")  # a narrow terminal cuts no figure short
    return table


def _each(*pairs: tuple[float, float]) -> list[str]:
    return [f"{value:,.0f}" for pair in pairs for value in pair]


def _explained(title: str, why: Sequence[Explanation], policy: Strategy) -> Table:
    table = Table(title=escape(title), title_justify="left", caption_justify="left", show_lines=True)
    for name in ("", "outcome", "rule", "because", "what would change it"):
        table.add_column(name, overflow="fold")
    for one in why:
        told = (shown(one.part), _told(one.outcome), one.rule, because(one, "\n"), would_change(one, "\n"))
        table.add_row(*map(escape, told))
    table.caption = escape(f"policy {policy.name} {policy.version}")
    return table


def _looked(need: NeededChange) -> str:
    return f"{need.column} is {shown(need.now)}" + (
        f" ({need.needed})" if need.needed not in ("", str(need.now)) else ""
    )


def _change(change: Any) -> str:
    needs = " and ".join(f"{need.column} {need.needed} (now {shown(need.now)})" for need in change.needs)
    return f"{_told(change.outcome)} with {needs}"


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _figure(value: Any) -> str:
    return str(value) if isinstance(value, dt.date) else shown(value)


def _told(outcome: Any) -> str:
    if isinstance(outcome, Entry):
        return "not on the list" if outcome.action == NONE else shown(outcome.action)
    if isinstance(outcome, Visit):
        return "no visits" if outcome.days is None else f"every {outcome.days} days"
    if isinstance(outcome, Route):
        return f"{shown(outcome.signs)}, {outcome.signature}, {outcome.papers} papers, {_days(outcome.days)}"
    return shown(outcome)
