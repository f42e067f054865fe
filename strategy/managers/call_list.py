"""An account manager's book of a day: whom to call and why, by probability × value at stake × urgency.

A call is worth one of two things. *Offer*: the acceptance of the client's best bundle times the EVA that it brings, as
ranked by value. *Visit*, where one is due: the catalog's yearly attrition times the EVA of the relationship as it
stands, which is what a quote calls at risk. The larger one counts, times the urgency of the policy.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa

from sheaf.catalog import Catalog
from sheaf.catalog.validation import did_you_mean
from sheaf.features import Bank, C, day_number
from sheaf.features.acceptances import awaited
from sheaf.features.bank import connect
from sheaf.features.client_positions import Relationships
from sheaf.pricing import price_bundle
from sheaf.pricing.price_table import PriceTable, need_pricing
from sheaf.strategy.contacts import Contacts
from sheaf.strategy.policy.columns import of_file, parquet
from sheaf.strategy.policy.conditions import quoted
from sheaf.strategy.policy.managers import VISIT, CallDay, Meeting, nearest
from sheaf.strategy.policy.schema import Strategy

PLAN = ("tier", "priority", "channels", "visit_days", "visit_rule", "visit_purpose", "next_visit")
OFFER = ("rank", C.BUNDLE, C.CONCESSION, "acceptance", "eva")
CALL = pa.schema(
    [("rank", pa.int64()), (C.CLIENT, pa.string()), ("because", pa.string()), ("probability", pa.float64()),
     ("value", pa.float64()), ("urgency", pa.float64()), ("urgency_rule", pa.string()), ("score", pa.float64()),
     (C.BUNDLE, pa.string()), ("acceptance", pa.float64()), ("eva", pa.float64()), (C.CONCESSION, pa.float64()),
     ("price", pa.float64()), ("channel", pa.string()), ("minutes", pa.int64()), ("tier", pa.string()),
     ("priority", pa.int64()), ("visit_rule", pa.string()), ("visit_purpose", pa.string()),
     ("next_visit", pa.date32())]
)  # fmt: skip


@dataclass(frozen=True)
class Calls:
    """The calls of a manager's day, a row each by `CALL`, the best first; what was left out, as clients by reason.

    `because` is offer or visit; `probability` × `value` × `urgency` is the `score`, money a year, and those whose
    scores are equal to the millionth have the same rank. `bundle_id`, with its `acceptance`, `eva`, `concession` and
    `price` (money a year; null where it cannot be quoted), is null where nothing may be offered.
    """

    manager: str
    as_of: dt.date
    clients: int
    calls: pa.Table
    left_out: dict[str, int]

    @property
    def minutes(self) -> int:
        return sum(self.calls["minutes"].to_pylist())


def clients_of(bank: Bank, as_of: dt.date, manager: str) -> list[str]:
    """The clients whom a manager has on a day. Raises ValueError where the bank does not tell, or has no such one."""
    if not bank.has("clients", C.MANAGER):
        raise ValueError(f"table clients has no column {C.MANAGER}, so nobody has a book; add it")
    there = bank.clients_on(as_of).filter(nw.col(C.JOINED_ON) <= day_number(as_of), nw.col(C.LEFT_ON).is_null())
    found = there.filter(nw.col(C.MANAGER) == manager).select(C.CLIENT).collect("pyarrow")[C.CLIENT].to_list()
    if not found:
        names = there.select(C.MANAGER).unique().drop_nulls().collect("pyarrow")[C.MANAGER].to_list()
        raise ValueError(f"manager {manager} has no client on {as_of}; {nearest(manager, sorted(names))}")
    return sorted(map(str, found))


def rows_of(path: Path, columns: Iterable[str], clients: Sequence[str], wanted: str) -> list[dict[str, Any]]:
    """Some columns of the rows of a Parquet file that are of these clients. Raises ValueError where it lacks one."""
    connection = connect()
    source, columns = parquet(connection, path), [C.CLIENT, *columns]
    missing = [column for column in columns if column not in of_file(connection, source)]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; give {wanted}")
    connection.register("whom", pa.table({"_id": pa.array(clients, pa.string())}))
    select = ", ".join(map(quoted, columns))
    table = connection.sql(f"select {select} from {source} semi join whom on {C.CLIENT}::varchar = _id")
    rows: list[dict[str, Any]] = table.to_arrow_table().to_pylist()
    return rows


def book_of(
    policy: Strategy,
    catalog: Catalog,
    bank: Bank,
    as_of: dt.date,
    manager: str,
    plans: Iterable[Mapping[str, Any]],
    offers: Iterable[Mapping[str, Any]],
    ranked_on: dt.date | None = None,
) -> Calls:
    """Whom a manager calls on the day after the end of `as_of`.

    `plans` are rows of the clients' service plans with `PLAN` and what the policy's urgency asks for, `offers` rows of
    offers by value with `OFFER`, of the day `ranked_on` (default: `as_of`); what brings a client a product accepted
    since then, or not in holdings yet, is not offered. Calls are taken in their order as long as they fit the hours;
    one that does not fit leaves its time to the next. Raises ValueError where the policy has no `book` or the catalog
    not an offered bundle, and NoPriceSheetError without prices.
    """
    day = need_day(policy)
    clients = clients_of(bank, as_of, manager)
    planned = {row[C.CLIENT]: row for row in plans}
    ranked, sold = list(offers), {offer.bundle_id for offer in catalog.offers}
    for row in ranked:
        if row[C.BUNDLE] not in sold:
            told = did_you_mean(str(row[C.BUNDLE]), sold)
            raise ValueError(f"an offer is of {row[C.BUNDLE]!r}, which the catalog has not; {told}, or rank anew")
    ranked = _not_accepted(bank, catalog, as_of, ranked_on or as_of, clients, ranked)
    contacts = Contacts(bank, catalog.policy.contact, as_of, clients)
    rows, left_out = _candidates(day, as_of, clients, planned, contacts, _best(ranked))
    due = [
        row[C.CLIENT] for row in rows if row["days_to_visit"] is not None and row["days_to_visit"] <= day.days_before
    ]
    eva = _worth(bank, catalog, as_of, due)
    attrition = need_pricing(catalog).retention.attrition
    visits = [
        row | {"because": "visit", "probability": attrition, "value": eva[row[C.CLIENT]]}
        for row in rows
        if eva.get(row[C.CLIENT], 0.0) > 0
    ]
    offered = [
        row | {"because": "offer", "probability": row["acceptance"], "value": row["eva"]}
        for row in rows
        if row[C.BUNDLE] is not None and row["eva"] > 0 and row["acceptance"] > 0
    ]
    calls = _of_clients(day, [*offered, *visits])
    left_out["nothing to offer, and no visit due"] = len({row[C.CLIENT] for row in rows}) - len(calls)
    chosen = _fitting(day, calls)
    left_out[f"beyond the {day.hours:g} hours"] = len(calls) - len(chosen)
    _price(bank, catalog, as_of, chosen)
    table = pa.Table.from_pylist([{name: row.get(name) for name in CALL.names} for row in chosen], CALL)
    return Calls(manager, as_of, len(clients), table, {why: many for why, many in left_out.items() if many})


def _not_accepted(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    ranked_on: dt.date,
    clients: Sequence[str],
    offers: list[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """The offers that bring no product which the client did not hold when they were ranked, and has accepted."""
    if not (accepted := awaited(bank, catalog, as_of, clients, ranked_on)):
        return offers
    open_then = bank.known_on(ranked_on)["holdings"].filter(
        nw.col(C.CLIENT).is_in(list(accepted)), nw.col(C.CLOSED_ON).is_null()
    )
    held = {
        (str(client), product) for client, product in open_then.select(C.CLIENT, C.PRODUCT).collect("pyarrow").rows()
    }
    parts = {offer.bundle_id: offer.products for offer in catalog.offers}

    def is_new(row: Mapping[str, Any]) -> bool:
        client = row[C.CLIENT]
        return not any(one in accepted.get(client, ()) and (client, one) not in held for one in parts[row[C.BUNDLE]])

    return [row for row in offers if is_new(row)]


def need_day(policy: Strategy) -> CallDay:
    """The policy's section `book`. Raises ValueError where it has none."""
    if policy.book is None:
        raise ValueError(f"the policy {policy.name} has no section book; add one, as in strategy/default.yaml")
    return policy.book


def _best(offers: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(offers, key=lambda one: (one["rank"], one[C.BUNDLE])):
        if all(row[name] is not None and row[name] == row[name] for name in ("acceptance", "eva")):
            found.setdefault(row[C.CLIENT], []).append(row)
    return found


def _candidates(
    day: CallDay,
    as_of: dt.date,
    clients: Sequence[str],
    planned: Mapping[str, Mapping[str, Any]],
    contacts: Contacts,
    offers: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """A row for every bundle that a client may be offered, or one without where there is none; and who is left out."""
    rows, left_out = [], Counter[str]()
    for client in clients:
        plan = planned.get(client)
        channel = next((one for one in plan["channels"] or () if one in day.channels), None) if plan else None
        if plan is None or channel is None:
            left_out["no plan" if plan is None else "met over no channel of a manager"] += 1
            continue
        visit = plan["next_visit"]
        days = None if visit is None else (visit - as_of).days
        channel = VISIT if days is not None and days <= day.days_before else channel
        if contacts.client(client, _meeting(day, channel).told_as or channel):
            left_out["left in peace by the contact policy"] += 1
            continue
        about = dict(plan) | {"channel": channel, "days_to_visit": days}
        allowed = [row for row in offers.get(client, ()) if contacts.bundle(client, row[C.BUNDLE]) is None]
        for offer in allowed or [dict.fromkeys(OFFER)]:
            left = None if not allowed else contacts.days_left(client, offer[C.BUNDLE], day.offer_days)
            rows.append(about | {name: offer[name] for name in OFFER} | {"offer_days_left": left})
    return rows, left_out


def _of_clients(day: CallDay, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best row of every client with its urgency and score, the best first; a tie goes to the offer."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        rule = next(one for one in day.urgency if not one.unmet(row))
        score = round(row["probability"] * row["value"] * rule.then, 6)
        row |= {"urgency": rule.then, "urgency_rule": rule.name, "score": score}
        other = best.get(row[C.CLIENT])
        if other is None or score > other["score"]:
            best[row[C.CLIENT]] = row
    return sorted(best.values(), key=lambda row: (-row["score"], row[C.CLIENT]))


def _fitting(day: CallDay, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that fit the day in their order, each with its rank among all and its minutes."""
    left, chosen = day.hours * 60, []
    rank = 0
    for at, call in enumerate(calls):
        if not at or call["score"] < calls[at - 1]["score"]:
            rank = at + 1
        minutes = _meeting(day, call["channel"]).minutes
        if minutes <= left:
            left -= minutes
            chosen.append(call | {"rank": rank, "minutes": minutes})
    return chosen


def _meeting(day: CallDay, channel: str) -> Meeting:
    return day.visit if channel == VISIT else day.channels[channel]


def _some(bank: Bank, clients: Sequence[str]) -> Bank:
    """The bank with these clients and what they hold; positions stay whole, as they tell the last month-end."""
    ids = list(clients)
    tables = {name: bank[name].filter(nw.col(C.CLIENT).is_in(ids)) for name in ("clients", "holdings")}
    return Bank(tables | ({"positions": bank["positions"]} if "positions" in bank else {}))


def _worth(bank: Bank, catalog: Catalog, as_of: dt.date, clients: Sequence[str]) -> dict[str, float]:
    """What these clients' relationships bring a year as they stand, EVA; who cannot be priced is not there."""
    priced, found = PriceTable(catalog), {}
    relationships = Relationships.of(_some(bank, clients), catalog, as_of) if clients else None
    for client in dict.fromkeys(clients):
        try:
            found[client] = float(relationships.client(client, catalog).worth(priced).eva.sum())  # type: ignore[union-attr]
        except ValueError:  # an unknown rating, or positions that are too old: `sheaf check` and `sheaf quote` tell
            continue
    return found


def _price(bank: Bank, catalog: Catalog, as_of: dt.date, calls: Sequence[dict[str, Any]]) -> None:
    """Adds the price of each call's bundle at its concession, as a quote has it."""
    offered = [call for call in calls if call[C.BUNDLE] is not None]
    if not offered:
        return
    priced = PriceTable(catalog)
    relationships = Relationships.of(_some(bank, [call[C.CLIENT] for call in offered]), catalog, as_of)
    for call in offered:
        try:
            whom = relationships.client(call[C.CLIENT], catalog)
            quoted = price_bundle(catalog, whom, call[C.BUNDLE], as_of, concession=call[C.CONCESSION], book=priced)
            call["price"] = float(quoted.total.price)
        except ValueError:  # what cannot be quoted has no price here; `sheaf quote` says why
            call["price"] = None
