"""What is written to the decision log and read from it: decisions, and feedback with the rules that it has to keep."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from uuid_utils import uuid7

from sheaf.serving.decisions.tables import Outcome, decisions, feedback, quotes
from sheaf.serving.decisions.writer import RefusedError, Work

LEEWAY = dt.timedelta(seconds=5)  # by which callers' clocks may differ from ours
# Nothing else is looked up: there are texts that PostgreSQL does not compare.
_ID = re.compile("[0-9a-f-]{36}").fullmatch
_ADD_DECISION, _ADD_QUOTE, _ADD_FEEDBACK = sa.insert(decisions), sa.insert(quotes), sa.insert(feedback)
_DECISION = sa.select(decisions).where(decisions.c.decision_id == sa.bindparam("decision_id"))
_QUOTE = sa.select(quotes).where(quotes.c.quote_id == sa.bindparam("quote_id"))
_FOR_FEEDBACK = sa.select(*(decisions.c[name] for name in ("asked_at", "answer"))).where(
    decisions.c.decision_id == sa.bindparam("decision_id")
)
_WHOSE_DECISION = sa.select(decisions.c.client_id, decisions.c.caller).where(
    decisions.c.decision_id == sa.bindparam("decision_id")
)
_WHOSE_QUOTE = sa.select(quotes.c.client_id, quotes.c.caller).where(quotes.c.quote_id == sa.bindparam("quote_id"))
_PAST = (
    sa.select(decisions.c.client_id, feedback.c.outcome, decisions.c.decision_id, decisions.c.channel,
              feedback.c.bundle_id, feedback.c.at)
    .join(feedback)
    .where(decisions.c.client_id.in_(sa.bindparam("clients", expanding=True)), feedback.c.at >= sa.bindparam("since"))
)  # fmt: skip
_ACCEPTED = (
    sa.select(decisions.c.client_id, feedback.c.bundle_id, feedback.c.at, decisions.c.answer)
    .join(feedback)
    .where(feedback.c.at >= sa.bindparam("since"), feedback.c.outcome == Outcome.ACCEPTED.value)
    .order_by(feedback.c.at, feedback.c.idempotency_key)
)  # fmt: skip
_OF_ONE = _ACCEPTED.where(decisions.c.client_id == sa.bindparam("client"))  # a list takes longer than its look-up
_OF_MANY = _ACCEPTED.where(decisions.c.client_id.in_(sa.bindparam("clients", expanding=True)))
# At one moment: between two looks, another process might write the same, which then would look like a contradiction.
_BEFORE = sa.select(feedback).where(
    ((feedback.c.idempotency_key == sa.bindparam("idempotency_key")) & (feedback.c.caller == sa.bindparam("caller")))
    | (feedback.c.decision_id == sa.bindparam("decision_id"))
)
_OF_DECISION = (
    sa.select(feedback)
    .where(feedback.c.decision_id == sa.bindparam("decision_id"))
    .order_by(feedback.c.recorded_at, feedback.c.idempotency_key)
)


@dataclass(frozen=True, slots=True)
class FeedbackEntry:
    """Feedback as a caller gives it; `at` is when it happened, with a time zone."""

    idempotency_key: str
    decision_id: str
    bundle_id: str
    outcome: Outcome
    at: dt.datetime


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): ids are in order of time."""
    return str(uuid7())


def add_decisions(rows: Sequence[Mapping[str, Any]]) -> Work[None]:
    """Writes decisions, all or none: rows are by column of `tables.decisions`."""

    def work(connection: sa.Connection) -> None:
        connection.execute(_ADD_DECISION, rows)

    return work


def add_quote(row: Mapping[str, Any]) -> Work[None]:
    """Writes a quote: `row` is by column of `tables.quotes`."""

    def work(connection: sa.Connection) -> None:
        connection.execute(_ADD_QUOTE, row)

    return work


@dataclass(frozen=True, slots=True)
class Past:
    """One piece of feedback of a client, with the channel of the decision that it is on."""

    decision_id: str
    channel: str | None
    bundle_id: str
    outcome: Outcome
    at: dt.datetime


def read_past(client_ids: Sequence[str], since: dt.datetime) -> Work[dict[str, list[Past]]]:
    """By client, all feedback since a moment on what was offered; a client without any is not there."""

    def work(connection: sa.Connection) -> dict[str, list[Past]]:
        found: dict[str, list[Past]] = {}
        for client_id, outcome, *told in connection.execute(_PAST, {"clients": list(client_ids), "since": since}):
            decision_id, channel, bundle_id, at = told
            found.setdefault(client_id, []).append(Past(decision_id, channel, bundle_id, Outcome(outcome), at))
        return found

    return work


@dataclass(frozen=True, slots=True)
class Accepted:
    """A bundle that a client accepted, when, and its products that the client did not hold when it was offered."""

    bundle_id: str
    at: dt.datetime
    products: frozenset[str]


def read_accepted(client_ids: Sequence[str], since: dt.datetime) -> Work[dict[str, list[Accepted]]]:
    """By client, what was accepted since a moment, the oldest first; a client who accepted nothing is not there."""

    def work(connection: sa.Connection) -> dict[str, list[Accepted]]:
        found: dict[str, list[Accepted]] = {}
        one = len(client_ids) == 1
        whom = {"client": client_ids[0]} if one else {"clients": list(client_ids)}
        rows = connection.execute(_OF_ONE if one else _OF_MANY, {**whom, "since": since})
        for client_id, bundle_id, at, answer in rows:
            [offer] = [one for one in json.loads(answer)["offers"] if one["bundle_id"] == bundle_id]
            products = frozenset(part["product_id"] for part in offer.get("products", ()) if not part["held"])
            found.setdefault(client_id, []).append(Accepted(bundle_id, at, products))
        return found

    return work


def unless_accepted(
    write: Work[None], client_id: str, since: dt.datetime, known: int
) -> Work[Sequence[Accepted] | None]:
    """Writes an entry, unless the client has accepted more than `known` bundles since a moment: these are returned."""
    read = read_accepted([client_id], since)

    def work(connection: sa.Connection) -> Sequence[Accepted] | None:
        found = read(connection).get(client_id, ())
        if len(found) > known:
            return found
        write(connection)
        return None

    return work


Visible = Callable[[str | None, str | None], bool]
"""Whether who asks may see an entry, by its client and by who asked then."""


def everything(client_id: str | None, asked_by: str | None) -> bool:
    return True


def _is_visible(whose: tuple[Any, ...] | None, visible: Visible) -> bool:
    """Whether the entry is there and visible; the same work where it is not there, so that the time tells nothing."""
    return visible(*(("", None) if whose is None else whose)) and whose is not None


def add_feedback(
    told: FeedbackEntry, now: dt.datetime, caller: str | None = None, visible: Visible = everything
) -> Work[dict[str, Any]]:
    """Writes feedback and returns its row; where it was written before, that one.

    Keys are each caller's own. Refuses another body under the same key, an unknown decision or one that is not
    visible, a bundle that was not in it, a time before it or in the future, and what contradicts earlier feedback.
    """

    def work(connection: sa.Connection) -> dict[str, Any]:
        which = {"decision_id": told.decision_id if _ID(told.decision_id) else ""}
        key = {"idempotency_key": told.idempotency_key, "caller": caller or ""}
        before = [dict(row) for row in connection.execute(_BEFORE, key | which).mappings()]
        same = next((row for row in before if key.items() <= row.items()), None)
        if same is not None:
            _check_same(told, same)
            return same
        seen = _is_visible(connection.execute(_WHOSE_DECISION, which).first(), visible)
        decision = connection.execute(_FOR_FEEDBACK, which).first() if seen else None
        if decision is None:
            if _is_visible(connection.execute(_WHOSE_QUOTE, {"quote_id": which["decision_id"]}).first(), visible):
                raise RefusedError(422, "decision_id", "is the id of a quote, which is not accepted here, a what-if "
                                   "least of all; give the decision_id of an answer")  # fmt: skip
            raise RefusedError(404, "decision_id", f"no decision {told.decision_id!r} is logged; give the decision_id "
                               "of an answer")  # fmt: skip
        _check_bundle(told, decision.answer)
        _check_time(told, decision.asked_at, now)
        _check_history(told, [row for row in before if row["bundle_id"] == told.bundle_id])
        row = {
            **key, **which, "bundle_id": told.bundle_id, "outcome": told.outcome.value,
            "at": told.at.astimezone(dt.UTC),
            "recorded_at": now,
        }  # fmt: skip
        connection.execute(_ADD_FEEDBACK, row)
        return row

    return work


def read_decision(decision_id: str, visible: Visible = everything) -> Work[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The row of a decision and its feedback, oldest first. Refuses an unknown one, or one that is not visible."""

    def work(connection: sa.Connection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        which = {"decision_id": decision_id}
        whose = connection.execute(_WHOSE_DECISION, which).first() if _ID(decision_id) else None
        row = connection.execute(_DECISION, which).mappings().first() if _is_visible(whose, visible) else None
        if row is None:
            raise RefusedError(404, "decision_id", f"no decision {decision_id!r} is logged; give the decision_id of an "
                               "answer")  # fmt: skip
        of_it = connection.execute(_OF_DECISION, which).mappings()
        return dict(row), [dict(told) for told in of_it]

    return work


def read_quote(quote_id: str, visible: Visible = everything) -> Work[dict[str, Any]]:
    """The row of a quote. Refuses an unknown one, or one that is not visible."""

    def work(connection: sa.Connection) -> dict[str, Any]:
        which = {"quote_id": quote_id}
        whose = connection.execute(_WHOSE_QUOTE, which).first() if _ID(quote_id) else None
        row = connection.execute(_QUOTE, which).mappings().first() if _is_visible(whose, visible) else None
        if row is None:
            raise RefusedError(404, "quote_id", f"no quote {quote_id!r} is logged; give the quote_id of a quote")
        return dict(row)

    return work


def read_versions() -> Work[dict[str, set[str]]]:
    """The versions of `model` and `price_response` that what is logged rests on."""

    def work(connection: sa.Connection) -> dict[str, set[str]]:
        models = set(connection.scalars(sa.select(decisions.c.model_version).distinct()))
        responses: set[str] = set()
        for table in (decisions, quotes):
            responses |= {one for one in connection.scalars(sa.select(table.c.response_version).distinct()) if one}
        return {"model": models, "price_response": responses}

    return work


def _check_same(told: FeedbackEntry, before: Mapping[str, Any]) -> None:
    for field in ("decision_id", "bundle_id", "outcome", "at"):
        if before[field] != getattr(told, field):
            raise RefusedError(
                422, "idempotency_key",
                f"was used before, with another {field} ({before[field]}); a key is for one piece of feedback: repeat "
                "it unchanged, or use a new key",
            )  # fmt: skip


def _check_bundle(told: FeedbackEntry, answer: str) -> None:
    offered = [offer["bundle_id"] for offer in json.loads(answer)["offers"]]
    if told.bundle_id not in offered:
        which = f"it offered {', '.join(offered)}" if offered else "it offered none"
        raise RefusedError(422, "bundle_id", f"{told.bundle_id!r} was not offered in this decision; {which}")


def _check_time(told: FeedbackEntry, asked_at: dt.datetime, now: dt.datetime) -> None:
    if told.at < asked_at - LEEWAY:
        raise RefusedError(422, "at", f"is before the decision, which was made at {_written(asked_at)}; give the time "
                           "at which it happened, with its time zone")  # fmt: skip
    if told.at > now + LEEWAY:
        raise RefusedError(422, "at", f"is in the future, it is {_written(now)} now; tell what happened once it has, "
                           "and look at the caller's clock and time zone")  # fmt: skip


def _check_history(told: FeedbackEntry, before: list[dict[str, Any]]) -> None:
    answered = next((row for row in before if row["outcome"] != Outcome.SHOWN), None)
    if told.outcome is Outcome.SHOWN:
        if answered is not None and told.at > answered["at"]:
            when = f"{answered['outcome']}, at {_written(answered['at'])}"
            raise RefusedError(
                409, "at", f"is after the bundle was {when}; ask for a new decision before it is shown again"
            )
        return
    if answered is not None:
        what = "again" if answered["outcome"] == told.outcome else "now"
        raise RefusedError(
            409, "outcome",
            f"the bundle was {answered['outcome']} at {_written(answered['at'])} and cannot be {told.outcome} {what}; "
            "a bundle of a decision is answered once: repeat feedback with its own idempotency_key, or ask for a new "
            "decision",
        )  # fmt: skip
    last = max((row["at"] for row in before), default=None)
    if last is not None and told.at < last - LEEWAY:
        raise RefusedError(409, "at", f"is before the bundle was last shown, at {_written(last)}; give the time at "
                           "which the client answered")  # fmt: skip


def _written(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")
