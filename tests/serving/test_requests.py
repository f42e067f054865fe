"""Which texts bodies may hold for moments and days."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from pydantic import ValidationError

from sheaf.serving.schemas.requests import AskQuote, Feedback

FEEDBACK = {"idempotency_key": "k", "decision_id": "d", "bundle_id": "b", "outcome": "shown"}


@pytest.mark.parametrize("at", ["1764537195", "1764537195.5", "-1", 1764537195, 1.5, True, "2026-06-02", None,
                                "2026-06-02T09:31:00", "\u0662026-06-02T09:31:00Z", ""])  # fmt: skip
def test_a_moment_that_is_no_iso_text_with_a_zone_is_refused(at: Any) -> None:
    with pytest.raises(ValidationError):
        Feedback.model_validate_json(json.dumps(FEEDBACK | {"at": at}))


def test_a_moment_keeps_its_zone() -> None:
    told = Feedback.model_validate_json(json.dumps(FEEDBACK | {"at": "2026-06-02T09:31:00+02:00"}))
    assert told.at == dt.datetime(2026, 6, 2, 7, 31, tzinfo=dt.UTC)


@pytest.mark.parametrize("day", ["86400", 0, 86400, True, "2026-06-02T00:00:00", "20260602", "2026-02-30", ""])
def test_a_day_that_is_no_iso_text_is_refused(day: Any) -> None:
    with pytest.raises(ValidationError):
        AskQuote.model_validate_json(json.dumps({"client_id": "c", "bundle_id": "b", "suitable_until": day}))


def test_a_quote_that_was_asked_survives_its_json() -> None:
    asked = AskQuote(client_id="c", bundle_id="b", suitable_until=dt.date(2026, 6, 2))
    assert AskQuote.model_validate_json(asked.model_dump_json()) == asked
