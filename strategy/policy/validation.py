"""What must be true between the parts of a policy, the catalog, and the columns of profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sheaf.catalog import Catalog
from sheaf.catalog.validation import Where, did_you_mean
from sheaf.features import C
from sheaf.strategy.policy.columns import CATEGORY, NUMBER, OF_CALL, OF_LIST, OF_PAIR, OF_PLAN, Columns, texts
from sheaf.strategy.policy.conditions import Condition, Rule, exact
from sheaf.strategy.policy.managers import of_card, of_day
from sheaf.strategy.policy.measures import MEASURES
from sheaf.strategy.policy.schema import NONE, OF_TIER, POTENTIAL, Entry, Scale, Strategy

Found = Iterator[tuple[Where, str]]
REPAIRS = ("exit", "repair", "watch", NONE)


def contradictions(
    policy: Strategy, catalog: Catalog, columns: Columns, occurring: Mapping[str, Sequence[str]]
) -> Found:
    """Everything wrong, each as (keys that lead to the place, what is wrong and what to do).

    `columns` are those of profiles, `occurring` the texts that occur in some of them.
    """
    yield from _industries(policy, catalog, occurring)
    yield from _conditions(policy, catalog, columns, occurring)
    for stage in (*policy.facts, *policy.following):
        yield from _rules(stage.rules, stage.at)
    yield from _tiers(policy)
    yield from _service(policy)
    yield from _routes(policy, catalog)
    if policy.book:
        yield from _rules(policy.book.urgency, ("book", "urgency"))
        yield from of_day(policy.book, policy.service.channels.known)
    if policy.scorecard:
        grades = None if catalog.pricing is None else list(catalog.pricing.grades)
        yield from of_card(policy.scorecard, list(MEASURES), grades)
    yield from _lists(policy)
    yield from _linkage(policy, catalog)


def _industries(policy: Strategy, catalog: Catalog, occurring: Mapping[str, Sequence[str]]) -> Found:
    if catalog.policy.protects(C.SECTOR) and policy.industries.sectors:
        what = f"{C.SECTOR} is protected by policy and may not decide how a client is served; leave the lists empty"
        yield ("industries",), what
        return
    sectors, first = occurring.get(C.SECTOR), dict[str, str]()
    for name in type(policy.industries).model_fields:
        for at, sector in enumerate(getattr(policy.industries, name)):
            where: Where = ("industries", name, at)
            if sector in first:
                yield where, f"{sector} is already {first[sector]}; keep it in one of the two"
            first.setdefault(sector, name)
            if sectors is not None and sector not in sectors:
                yield where, f"no client is of the sector {sector}; {did_you_mean(sector, sectors)}"
    missing = [sector for sector in sectors or () if sector not in first]
    if missing:
        yield ("industries",), f"lacks {', '.join(missing)}, which clients are of; add them to one of its lists"


def _conditions(policy: Strategy, catalog: Catalog, columns: Columns, occurring: Mapping[str, Sequence[str]]) -> Found:
    """Of every condition: a column that is there by then, of the right type, that is not protected, with texts that can
    occur."""
    known = {name: kind for name, kind in columns.items() if name not in OF_PLAN and name != C.CLIENT}
    known[POTENTIAL] = NUMBER
    said = dict(occurring) | texts(policy, catalog)

    def check(column: str, condition: Condition | None, at: Where, known: Columns) -> Found:
        if catalog.policy.protects(column):
            yield at, f"{column} is protected by policy and may not decide how a client is served; remove the condition"
        elif column not in known:
            if column in OF_PLAN or column in OF_PAIR:
                yield at, f"{column} cannot be asked for here: it is told later, or is no single value; ask for another"
            else:
                yield at, f"{column} is not a column of profiles; {_near(column, known)}"
        elif (known[column] is CATEGORY) != bool(condition and condition.texts):
            wants = "[a, b], as it has texts" if known[column] is CATEGORY else '">= 1", as it has numbers'
            yield at, f"{column} is compared with what it has not; write {wants}"
        else:
            for text in condition.texts if condition else ():
                if column in said and text not in said[column]:
                    yield at, f"{column} is never {text}; {did_you_mean(text, said[column])}"

    def each(rules: Sequence[Rule[Any]], at: Where, known: Columns) -> Found:
        for number, rule in enumerate(rules):
            for column, condition in rule.when.items():
                yield from check(column, condition, (*at, number, "when", column), known)

    known["industry"] = CATEGORY
    for stage in policy.facts:
        yield from each(stage.rules, stage.at, known)
        known |= {name: OF_PLAN[name] for name in stage.columns}
    yield from each([one.rule for one in policy.tiers.scales], ("tiers", "scales"), known)
    for number, scale in enumerate(policy.tiers.scales):
        for column in scale.figure:
            yield from check(column, None, ("tiers", "scales", number, "figure", column), known)
    known |= {name: OF_PLAN[name] for name in OF_TIER}
    for stage in policy.following:
        yield from each(stage.rules, stage.at, known)
        known |= {name: OF_PLAN[name] for name in stage.columns if name != "channels"}
    if policy.lists:
        for name, of_list in OF_LIST.items():
            yield from each(getattr(policy.lists, name).rules, ("lists", name, "rules"), {**known, **of_list})
        for number, column in enumerate(policy.lists.win.columns):
            yield from check(column, None, ("lists", "win", "columns", number), known)
        for column in policy.lists.leaving.stake:
            yield from check(column, None, ("lists", "leaving", "stake", column), known)
    known |= OF_PAIR
    yield from each(policy.routes.rules, ("routes", "rules"), known)
    subs = [one.rule for one in policy.routes.sub_authorities]
    yield from each(subs, ("routes", "sub_authorities"), known)
    if policy.book:
        single = {name: kind for name, kind in OF_PLAN.items() if name not in ("channels", "next_visit")}
        yield from each(policy.book.urgency, ("book", "urgency"), {**single, **OF_CALL})
    linkage = policy.linkage
    yield from each([one.rule for one in linkage.linked], ("linkage", "linked"), known)
    yield from each(linkage.leads, ("linkage", "leads"), known)


def _near(column: str, known: Columns) -> str:
    near = did_you_mean(column, known)
    return (
        near
        if near.startswith("did")
        else "docs/reference/features.md has them, and a bank's own come by --profiles or --data"
    )


def _rules(rules: Sequence[Rule[Any]], at: Where) -> Found:
    """The last is for everybody, and none before it is."""
    if not rules:
        yield at, "has no rule; add one that says what holds for everybody"
        return
    for number, rule in enumerate(rules[:-1]):
        if not rule.when:
            yield (*at, number + 1), f"is never reached, as {rule.name} before it is for everybody; move it up"
            break
    if rules[-1].when:
        yield (*at, len(rules) - 1), f"{rules[-1].name} has conditions, which leaves a gap; end with one without when"
    yield from _names([rule.name for rule in rules], at)


def _names(names: Sequence[str], at: Where) -> Found:
    for name, times in Counter(names).items():
        if times > 1:
            yield (*at, len(names) - 1 - names[::-1].index(name)), f"{name} is there {times} times; rename all but one"


def _tiers(policy: Strategy) -> Found:
    order, at = policy.tiers.order, ("tiers", "scales")
    yield from _names(order, ("tiers", "order"))
    yield from _rules([one.rule for one in policy.tiers.scales], at)
    for number, scale in enumerate(policy.tiers.scales):
        yield from _scale(scale, order, (*at, number))


def _scale(scale: Scale, order: Sequence[str], at: Where) -> Found:
    total = sum(scale.figure.values())
    if abs(total - 1) > 1e-9:
        yield (*at, "figure"), f"the weights add up to {total:g} and not to 1; correct one"
    unknown = [(*at, "steps", number) for number, step in enumerate(scale.steps) if step.tier not in order]
    for where in unknown:
        tier = scale.steps[int(where[-1])].tier
        yield where, f"there is no tier {tier}; {did_you_mean(tier, order)}"
    places = [] if unknown else [order.index(step.tier) for step in scale.steps]
    if any(later <= earlier for earlier, later in pairwise(places)):
        yield (*at, "steps"), f"the tiers do not go down as in tiers.order, {', '.join(order)}; sort the steps"
    first, last = scale.steps[0], scale.steps[-1]
    if first.below is not None:
        yield (*at, "steps", 0), f"leaves a gap from {exact(first.below)} on; remove below of the best tier"
    if last.at_least is not None:
        what = f"leaves a gap below {exact(last.at_least)}; remove at_least of the last tier"
        yield (*at, "steps", len(scale.steps) - 1), what
    if last.margin:
        yield (*at, "steps", len(scale.steps) - 1), "the last tier has no at_least for its margin; remove the margin"
    for number, (upper, lower) in enumerate(pairwise(scale.steps)):
        where = (*at, "steps", number + 1)
        if upper.at_least is None:
            yield (*at, "steps", number), f"{upper.tier} has no at_least, so it takes everybody; say where it begins"
        elif lower.below is None or lower.below > upper.at_least:
            yield where, f"{lower.tier} and {upper.tier} overlap; set its below to {exact(upper.at_least)}"
        elif lower.below < upper.at_least:
            ends = f"{exact(lower.below)} to {exact(upper.at_least)}"
            yield where, f"nobody has a tier from {ends}, a gap; set its below to {exact(upper.at_least)}"
        elif lower.at_least is not None and lower.at_least + lower.margin > upper.at_least - upper.margin:
            ends = f"{exact(lower.at_least)} and {exact(upper.at_least)}"
            yield where, f"the margins around {ends} overlap, or the thresholds do not go down; make them smaller"


def _service(policy: Strategy) -> Found:
    channels, managers = policy.service.channels, policy.service.managers
    at: Where = ("service", "channels", "rules")
    for number, rule in enumerate(channels.rules):
        for channel, times in Counter(rule.then).items():
            if channel not in channels.known:
                yield (*at, number, "then"), f"there is no channel {channel}; {did_you_mean(channel, channels.known)}"
            elif times > 1:
                yield (*at, number, "then"), f"{channel} is named twice; name it once"
    for number, one in enumerate(managers.rules):
        if one.then not in managers.grades:
            what = f"there is no grade {one.then}; {did_you_mean(one.then, managers.grades)}"
            yield ("service", "managers", "rules", number, "then"), what


def _routes(policy: Strategy, catalog: Catalog) -> Found:
    """That somebody may sign every route: an authority of the catalog, with a committee where one decides."""
    routes, at = policy.routes, ("routes", "rules")
    yield from _rules(routes.rules, at)
    yield from _names([one.name for one in routes.sub_authorities], ("routes", "sub_authorities"))
    if catalog.pricing is None:
        yield ("routes",), "the catalog has no price sheet, so it has no authorities, and nobody may sign; add pricing"
        return
    names = [one.name for one in catalog.pricing.authorities]
    highest = catalog.pricing.authorities[-1]
    if highest.share < 1 or highest.amount is not None:
        what = f"a concession above what {highest.name} may grant is a route that nobody may sign"
        yield ("routes",), f"{what}; give the catalog's last authority the share 1.0 and no amount"
    for number, name in enumerate(routes.committees):
        if name not in names:
            yield ("routes", "committees", number), f"there is no authority {name}; {did_you_mean(name, names)}"
    known = [name for name in names if name in routes.committees]
    if known and names[names.index(known[0]) :] != known:
        what = f"every authority above {known[0]} needs a committee too, as what goes up to it may need one; add it"
        yield ("routes", "committees"), what
    for number, rule in enumerate(routes.rules):
        signs = rule.then.signs
        if signs not in names:
            what = f"nobody may sign: there is no authority {signs} in the catalog; {did_you_mean(signs, names)}"
            yield (*at, number, "then", "signs"), what
        elif rule.then.signature == "committee" and signs not in routes.committees:
            what = f"nobody may sign: {signs} has no committee; add it to routes.committees, or write single"
            yield (*at, number, "then", "signature"), what
    products = [product.product_id for product in catalog.products]
    for number, one in enumerate(routes.sub_authorities):
        where: Where = ("routes", "sub_authorities", number)
        if one.signs not in names:
            yield (
                (*where, "signs"),
                f"there is no authority {one.signs} in the catalog; {did_you_mean(one.signs, names)}",
            )
        for place, product in enumerate(one.products):
            if product not in products:
                yield (*where, "products", place), f"there is no product {product}; {did_you_mean(product, products)}"


def _lists(policy: Strategy) -> Found:
    """That lists end with a rule for everybody, and that nobody is let go whose repair was not due yet."""
    if policy.lists is None:
        return
    for name in OF_LIST:
        rules: Sequence[Rule[Entry]] = getattr(policy.lists, name).rules
        at: Where = ("lists", name, "rules")
        yield from _rules(rules, at)
        if rules and rules[-1].then.action != NONE:
            yield (*at, len(rules) - 1, "then", "action"), f"everybody would be on the list; write {NONE}"
    for number, tier in enumerate(policy.lists.win.like):
        if tier not in policy.tiers.order:
            what = f"there is no tier {tier}; {did_you_mean(tier, policy.tiers.order)}"
            yield ("lists", "win", "like", number), what
    stake = sum(policy.lists.leaving.stake.values())
    if abs(stake - 1) > 1e-9:
        yield ("lists", "leaving", "stake"), f"the weights add up to {stake:g} and not to 1; correct one"
    for number, rule in enumerate(policy.lists.repair.rules):
        where: Where = ("lists", "repair", "rules", number)
        action, overdue = rule.then.action, rule.when.get("overdue")
        if action not in REPAIRS:
            yield (*where, "then", "action"), f"there is no step {action}; {did_you_mean(action, REPAIRS)}"
        elif action == "repair" and not (rule.then.lever and rule.then.days):
            yield (
                (*where, "then"),
                "a repair needs a lever (price, product, security) and the days that it has; add them",
            )
        elif action == "exit" and not (overdue and overdue.holds(1.0) and not overdue.holds(0.0)):
            yield (*where, "when"), "a client is let go only after its repair was due; add overdue: true"


def _linkage(policy: Strategy, catalog: Catalog) -> Found:
    """That every line has a desk, every desk named is there, and the shares of a product's gain are all of it."""
    linkage, at = policy.linkage, ("linkage",)
    yield from _names(linkage.desks, (*at, "desks"))
    yield from _rules(linkage.leads, (*at, "leads"))
    yield from _names([one.name for one in linkage.linked], (*at, "linked"))
    sold = dict.fromkeys(product.line for product in catalog.products)
    if missing := [line for line in sold if line not in linkage.lines]:
        yield (*at, "lines"), f"lacks {', '.join(missing)}, which products are of; give each a desk"
    named: list[tuple[Where, str]] = [((*at, "lines", line), desk) for line, desk in linkage.lines.items()]
    named += [((*at, "linked", number, "desk"), one.desk) for number, one in enumerate(linkage.linked)]
    named += [((*at, "leads", number, "then"), one.then) for number, one in enumerate(linkage.leads)]
    for where, desk in named:
        if desk not in linkage.desks:
            yield where, f"there is no desk {desk}; {did_you_mean(desk, linkage.desks)}"
    idle = [desk for desk in linkage.desks if desk not in {desk for _, desk in named}]
    if idle:
        yield (*at, "desks"), f"{', '.join(idle)} is never in the room; name it in lines, linked or leads, or remove it"
    products = [product.product_id for product in catalog.products]
    for number, one in enumerate(linkage.linked):
        for place, product in enumerate(one.products):
            if product not in products:
                where = (*at, "linked", number, "products", place)
                yield where, f"there is no product {product}; {did_you_mean(product, products)}"
    split = linkage.split
    total = split.lead + split.line + split.linked
    if abs(total - 1) > 1e-9:
        yield (*at, "split"), f"the weights add up to {total:g} and not to 1; correct one"
    elif not split.lead + split.line:
        yield (*at, "split"), "what no linked client has part in would be nobody's; give lead or line a weight"
