"""What schemathesis makes of the API's own description: nothing it sends gets a 500, or an answer not described."""

from __future__ import annotations

import os

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = int(os.environ.get("SHEAF_SCHEMA_EXAMPLES") or 30)  # of each endpoint and mode; set more for a long run
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDPOINTS = [
    ("POST", "/v1/recommend"), ("POST", "/v1/recommend_batch"), ("POST", "/v1/quote"), ("POST", "/v1/feedback"),
    ("GET", "/v1/clients/{client_id}"), ("GET", "/v1/clients/{client_id}/plan"),
    ("GET", "/v1/decisions/{decision_id}"), ("GET", "/v1/quotes/{quote_id}"),
]  # fmt: skip


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda part: part.strip("/"))
def test_whatever_is_sent_is_answered_as_described(service: str, method: str, path: str, mode: GenerationMode) -> None:
    if method == "GET" and mode is GenerationMode.NEGATIVE:
        pytest.skip("any text may stand in a path, but for line breaks")
    operation = schemathesis.openapi.from_url(f"{service}/openapi.json")[path][method]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Case) -> None:
        case.call_and_validate(checks=CHECKS)

    answered()


@pytest.mark.parametrize("path", ["clients/%0A", "clients/C1%0D%0Ax: y", "decisions/%0Ax", "nothing%0A"])
def test_a_line_break_in_a_path_is_no_path(service: str, path: str) -> None:
    reply = httpx.get(f"{service}/v1/{path}")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


def test_every_endpoint_is_among_them(service: str) -> None:
    schema = schemathesis.openapi.from_url(f"{service}/openapi.json")
    found = {(of.ok().method.upper(), of.ok().path) for of in schema.get_all_operations() if isinstance(of, Ok)}
    assert found == set(ENDPOINTS)
