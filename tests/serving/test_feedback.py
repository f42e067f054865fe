"""Decisions and feedback over HTTP, as a channel and an auditor meet them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from sheaf.serving import ANSWER
from sheaf.serving.decisions import new_id
from tests.conftest import WholeLine
from tests.serving.test_service import is_as_described, post


@pytest.fixture(scope="module")
def client_id(line: WholeLine) -> str:
    return str(line.recommender.snapshot.profiles.client_ids[7])


@pytest.fixture
def answer(service: str, client_id: str) -> dict[str, Any]:
    """An answer, logged a moment ago."""
    body = {"client_id": client_id, "k": 3, "channel": "app", "lines": ["retail", "intermediary"]}
    headers = {"x-request-id": "req-42"}
    reply = httpx.post(f"{service}/v1/recommend", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def feedback(answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC).isoformat()
    given = {"idempotency_key": new_id(), "decision_id": answer["decision_id"],
             "bundle_id": answer["offers"][0]["bundle_id"], "outcome": "shown", "at": now}  # fmt: skip
    return given | changes


def audited(service: str, decision_id: str) -> httpx.Response:
    return httpx.get(f"{service}/v1/decisions/{decision_id}")


def test_an_auditor_reads_what_was_asked_answered_and_told(
    service: str, answer: dict[str, Any], client_id: str, line: WholeLine
) -> None:
    for outcome in ("shown", "accepted"):
        reply = post(service, feedback(answer, outcome=outcome), "v1/feedback")
        assert reply.status_code == 200, reply.text
        is_as_described(service, reply, "/v1/feedback")
    reply = audited(service, answer["decision_id"])
    assert reply.status_code == 200, reply.text
    is_as_described(service, reply, "/v1/decisions/{decision_id}")
    found = reply.json()
    assert found["answer"] == answer
    asked = ("client_id", "k", "channel", "lines", "objective", "request_id", "new_client", "list_propensity")
    assert [found[name] for name in asked] == [
        client_id, 3, "app", ["retail", "intermediary"], "relevance", "req-42", None, 1.0
    ]  # fmt: skip
    assert [told["outcome"] for told in found["feedback"]] == ["shown", "accepted"]
    assert found["replay"] == {
        "same": True, "why": "the logged inputs give the same answer, to the last digit", "differences": []
    }  # fmt: skip
    assert found["profile"]["kind"] in ("retail", "corporate", "institution")
    assert len(found["candidates"]) >= len(answer["offers"])


def test_by_value_the_price_is_logged_and_replayed(service: str, client_id: str) -> None:
    answer = post(service, {"client_id": client_id, "objective": "value"}).json()
    found = audited(service, answer["decision_id"]).json()
    assert found["answer"]["offers"][0]["worth"] == answer["offers"][0]["worth"] != None  # noqa: E711
    assert found["replay"]["same"] is True
    assert found["authority"]


def test_someone_new_is_logged_with_what_was_told(service: str) -> None:
    told = {"kind": "retail", "age": 31.0, "sector": "a\x00漢字"}
    answer = post(service, {"new_client": told}).json()
    found = audited(service, answer["decision_id"]).json()
    assert (found["new_client"], found["client_id"], found["replay"]["same"]) == (told, None, True)


def test_every_answer_is_a_decision_of_its_own(service: str, client_id: str) -> None:
    ids = {post(service, {"client_id": client_id}).json()["decision_id"] for _ in range(5)}
    assert len(ids) == 5


def test_feedback_told_twice_is_answered_alike(service: str, answer: dict[str, Any]) -> None:
    at = dt.datetime.now(dt.timezone(dt.timedelta(hours=9))).isoformat()
    body = feedback(answer, at=at)
    before = counted(service, body)
    first, second = post(service, body, "v1/feedback"), post(service, body, "v1/feedback")
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert len(audited(service, answer["decision_id"]).json()["feedback"]) == 1
    assert counted(service, body) == before + 1


def counted(service: str, told: dict[str, Any]) -> float:
    """How often such feedback is in the service's figures."""
    name = f'sheaf_feedback_total{{bundle_id="{told["bundle_id"]}",outcome="{told["outcome"]}"}} '
    figures = httpx.get(f"{service}/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in figures if line.startswith(name))


LATER = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
WRONG: list[tuple[dict[str, Any], int, str, str]] = [
    ({"decision_id": "01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4e"}, 404, "decision_id", "no decision"),
    ({"decision_id": "漢\x00字"}, 404, "decision_id", "no decision"),
    ({"bundle_id": "nothing"}, 422, "bundle_id", "was not offered in this decision; it offered"),
    ({"bundle_id": "a\x00"}, 422, "bundle_id", "was not offered"),
    ({"outcome": "bought"}, 422, "outcome", "'shown', 'accepted', 'rejected' or 'ignored'"),
    ({"at": "2020-01-01T00:00:00Z"}, 422, "at", "before the decision"),
    ({"at": LATER}, 422, "at", "in the future"),
    ({"at": "0001-01-01T00:00:00+14:00"}, 422, "at", "before the decision"),
    ({"at": "9999-12-31T23:59:59-14:00"}, 422, "at", "in the future"),
    ({"at": "2026-01-01T00:00:00"}, 422, "at", "timezone"),
    ({"at": "yesterday"}, 422, "at", "valid datetime"),
    ({"at": 1_780_000_000}, 422, "at", "valid datetime"),
    ({"idempotency_key": ""}, 422, "idempotency_key", "pattern"),
    ({"idempotency_key": "a\x00"}, 422, "idempotency_key", "pattern"),
    ({"idempotency_key": "k" * 201}, 422, "idempotency_key", "pattern"),
    ({"more": 1}, 422, "more", "not permitted"),
]


@pytest.mark.parametrize(
    ("changes", "status", "field", "problem"), WRONG, ids=[f"{n} {one[2]}" for n, one in enumerate(WRONG)]
)
def test_feedback_that_cannot_be_is_refused_by_field(
    service: str, answer: dict[str, Any], changes: dict[str, Any], status: int, field: str, problem: str
) -> None:
    reply = post(service, feedback(answer, **changes), "v1/feedback")
    assert reply.status_code == status, reply.text
    is_as_described(service, reply, "/v1/feedback")
    told = reply.json()["errors"]
    assert [problem in one["problem"] for one in told if one["field"] == field] == [True], told
    assert audited(service, answer["decision_id"]).json()["feedback"] == []


def test_what_contradicts_earlier_feedback_is_a_conflict(service: str, answer: dict[str, Any]) -> None:
    assert post(service, feedback(answer, outcome="rejected"), "v1/feedback").status_code == 200
    reply = post(service, feedback(answer, outcome="accepted"), "v1/feedback")
    assert reply.status_code == 409
    is_as_described(service, reply, "/v1/feedback")
    [told] = reply.json()["errors"]
    assert told["field"] == "outcome"
    assert "was rejected at" in told["problem"]
    assert "ask for a new decision" in told["problem"]


@pytest.mark.parametrize("decision_id", ["01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4e", "x", "%00", "a%20b", "x" * 200])
def test_an_unknown_decision_is_a_404(service: str, decision_id: str) -> None:
    reply = audited(service, decision_id)
    assert reply.status_code == 404
    is_as_described(service, reply, "/v1/decisions/{decision_id}")


@pytest.mark.parametrize("request_id", ["a b", "x" * 201, "é"])
def test_a_request_id_that_cannot_be_logged_is_refused(service: str, client_id: str, request_id: str) -> None:
    headers = {b"x-request-id": request_id.encode()}
    reply = httpx.post(f"{service}/v1/recommend", json={"client_id": client_id}, headers=headers)
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "x-request-id"


def test_a_refused_question_is_no_decision(service: str, line: WholeLine) -> None:
    import sqlite3

    def count() -> int:
        with sqlite3.connect(line.folder / "mlruns" / "decisions.db") as log:
            return int(log.execute("SELECT count(*) FROM decisions").fetchone()[0])

    before = count()
    post(service, {"client_id": "nobody"})
    post(service, {"new_client": {"kind": "wizard"}})
    assert count() == before
    ANSWER.validate_python(post(service, {"new_client": {"kind": "retail"}}).json())
    assert count() == before + 1
