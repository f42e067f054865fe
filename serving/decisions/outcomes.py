"""The decision log as the contract's table `offers`: what was offered, and what became of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sheaf.features.export import write_parquet
from sheaf.serving.decisions.database import connect, said, shown
from sheaf.serving.decisions.tables import Outcome, decisions, feedback
from sheaf.serving.settings import SettingError

PART = 50_000  # rows in memory at a time
_SECONDS = 60.0  # for one answer of the database: this is no request
SCHEMA = pa.schema(
    {
        "offer_id": pa.string(), "client_id": pa.string(), "bundle_id": pa.string(), "offered_at": pa.date32(),
        "channel": pa.string(), "list_propensity": pa.float64(), "price_propensity": pa.float64(),
        "concession": pa.float64(), "outcome": pa.string(), "responded_at": pa.date32(),
    }
)  # fmt: skip


class Shown(StrEnum):
    """What counts as shown to the client: all that an answer had, or what its caller reported."""

    ANSWERED = "answered"
    REPORTED = "reported"


def write_outcomes(url: sa.URL, out: Path, count: Shown = Shown.ANSWERED) -> int:
    """Writes the offers to clients of the bank as Parquet, in order of decisions, and returns how many there are.

    An offer is dated by its answer, or, if only what was reported counts, by the first report on it: either way no row
    depends on what came after its own days. Raises SettingError where the log cannot be read, and ValueError where
    it has nothing to write; then `out` is as it was.
    """
    written = 0

    def parts() -> Iterator[pa.Table]:
        nonlocal written
        rows: list[dict[str, Any]] = []
        for offer in _offers(url, count):
            rows.append(offer)
            written += 1
            if len(rows) == PART:
                yield pa.Table.from_pylist(rows, SCHEMA)
                rows.clear()
        if rows:
            yield pa.Table.from_pylist(rows, SCHEMA)
        if not written:
            raise ValueError(
                f"the decision log {shown(url)} has no offer to a client of the bank"
                f"{' of which anything was reported' if count is Shown.REPORTED else ''} yet; nothing was written"
            )

    write_parquet(out, parts())
    return written


def _offers(url: sa.URL, count: Shown) -> Iterator[dict[str, Any]]:
    told = (feedback.c.bundle_id, feedback.c.outcome, feedback.c.at)
    wanted = (
        sa.select(*(decisions.c[name] for name in ("decision_id", "client_id", "asked_at", "channel", "list_propensity",
                                                   "price_propensity", "answer")), *told)
        .join(feedback, isouter=count is Shown.ANSWERED)
        .where(decisions.c.client_id.is_not(None))
        .order_by(decisions.c.decision_id)
    )  # fmt: skip
    try:
        with connect(url, _SECONDS).connect() as connection:
            found = connection.execution_options(stream_results=True, yield_per=1_000).execute(wanted)
            for _, rows in groupby(found, key=lambda row: row.decision_id):
                yield from _of_decision(list(rows), count)
    except (SQLAlchemyError, OSError) as error:
        raise SettingError(
            f"the decision log {shown(url)} cannot be read: {said(error)}; see that it is there, or name another: "
            "SHEAF_DECISIONS"
        ) from error


def _of_decision(rows: list[Any], count: Shown) -> Iterator[dict[str, Any]]:
    decision = rows[0]
    price_propensity = json.loads(decision.price_propensity or "{}")
    for offer in json.loads(decision.answer)["offers"]:
        of_it = sorted((row.at, row.outcome) for row in rows if row.bundle_id == offer["bundle_id"])
        if not of_it and count is Shown.REPORTED:
            continue
        begun = decision.asked_at if count is Shown.ANSWERED else max(of_it[0][0], decision.asked_at)
        answered = next(((at, outcome) for at, outcome in of_it if outcome != Outcome.SHOWN), None)
        yield {
            "offer_id": f"{decision.decision_id}/{offer['bundle_id']}",
            "client_id": decision.client_id,
            "bundle_id": offer["bundle_id"],
            "offered_at": _day(begun),
            "channel": decision.channel,
            "list_propensity": decision.list_propensity if decision.list_propensity < 1 else None,  # 1: not drawn
            "price_propensity": price_propensity.get(offer["bundle_id"]),
            "concession": offer["worth"] and offer["worth"]["concession"],
            "outcome": answered and answered[1],
            "responded_at": answered and _day(max(answered[0], begun)),
        }


def _day(moment: dt.datetime) -> dt.date:
    return moment.astimezone(dt.UTC).date()
