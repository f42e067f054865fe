"""Decisions as the tests write them into a log, without a model."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from sheaf.serving.decisions import FeedbackEntry, Outcome, new_id

ASKED = dt.datetime(2025, 6, 2, 9, 30, tzinfo=dt.UTC)
NOW = ASKED + dt.timedelta(days=30)
BUNDLES = ("home", "card", "insurance")


def decision(**changes: Any) -> dict[str, Any]:
    """A row of `decisions`: three bundles offered to client c0001, `card` with a concession of 12.50."""
    worth = {"home": None, "card": {"concession": 12.5}, "insurance": {"concession": 0.0}}
    offers = [
        {"rank": rank, "bundle_id": bundle, "worth": worth[bundle]} for rank, bundle in enumerate(BUNDLES, start=1)
    ]
    row = {
        "decision_id": new_id(), "request_id": None, "caller": None, "asked_at": ASKED, "client_id": "c0001",
        "new_client": None, "channel": "app", "objective": "relevance", "k": 5, "lines": "[]", "authority": None,
        "candidates": "{}", "list_propensity": 1.0, "price_propensity": None,
        "answer": json.dumps({"offers": offers}), "profile": b"\0\1\2\3",
        "own": None,
        "profile_day": "2025-05-31", "model_version": "m", "catalog_version": "c", "response_version": None,
        "plan": None, "policy_version": None,
    }  # fmt: skip
    assert row.keys() >= changes.keys()
    return row | changes


def told(decision_id: str, outcome: str = "accepted", after: float = 60.0, **changes: Any) -> FeedbackEntry:
    """Feedback on `card`, so many seconds after the decision."""
    given: dict[str, Any] = {
        "idempotency_key": new_id(), "decision_id": decision_id, "bundle_id": "card", "outcome": Outcome(outcome),
        "at": ASKED + dt.timedelta(seconds=after),
    }  # fmt: skip
    return FeedbackEntry(**(given | changes))
