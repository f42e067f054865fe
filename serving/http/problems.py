"""Every refusal in one shape: problem details for HTTP (RFC 9457), with the fields that are wrong and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict
from starlette.routing import BaseRoute, Match

from sheaf.serving.decisions import LogUnavailableError, RefusedError
from sheaf.serving.schemas.requests import PRINTABLE

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
MEDIA_TYPE = "application/problem+json"
REQUEST_ID: dict[str, Any] = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "the caller's own name of the request, 1 to 200 printable characters; without, one is made",
    "schema": {"type": "string", "pattern": PRINTABLE},
}
ECHOED = {"description": "the request's, as in the logs", "schema": {"type": "string"}}


class Wrong(BaseModel):
    """One thing that is wrong with a request, and where in it: `k`, `lines.1`, `new_client.age`, or `body`."""

    field: str
    problem: str


class Problem(BaseModel):
    """Why there is no answer, and what to do; `errors` are the fields to blame, if any are. The log has the same
    `request_id`."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Wrong] = []
    request_id: str


class Refusal(Exception):
    """Refuses a request, with the status of HTTP that says so."""

    def __init__(self, status: int, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None):
        self.status, self.detail, self.headers = status, detail, headers
        self.errors = [] if field is None else [Wrong(field=field, problem=detail)]
        super().__init__(detail)


def status_of(error: Exception) -> int:
    """The status of HTTP that an error is answered with."""
    if isinstance(error, Refusal | RefusedError):
        return error.status
    return {RequestValidationError: 422, LogUnavailableError: 503}.get(type(error), 500)


def problem(
    status: int,
    detail: str,
    errors: Iterable[Wrong] = (),
    headers: Mapping[str, str] | None = None,
    *,
    request_id: str,
) -> Response:
    content = problem_body(status, detail, errors, request_id=request_id)
    return Response(content, status, dict(headers or {}), MEDIA_TYPE)


def problem_body(status: int, detail: str, errors: Iterable[Wrong] = (), *, request_id: str) -> bytes:
    """A problem document, as JSON."""
    title = HTTPStatus(status).phrase
    told = Problem(title=title, status=status, detail=detail, errors=list(errors), request_id=request_id)
    return told.model_dump_json().encode()


def answered_with_problems(app: FastAPI) -> None:
    """Has the app answer whatever it refuses so, and say so in its OpenAPI document."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = [Wrong(field=_field(item), problem=in_words(item)) for item in error.errors()]
        told = "; ".join(f"{one.field}: {one.problem}" for one in wrong[:5])
        return problem(422, told, wrong, request_id=_id(request))

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        return problem(
            error.status, str(error), [Wrong(field=error.field, problem=error.problem)], request_id=_id(request)
        )

    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return problem(error.status, error.detail, error.errors, error.headers, request_id=_id(request))

    @app.exception_handler(LogUnavailableError)
    async def unavailable(request: Request, error: LogUnavailableError) -> Response:
        return problem(503, str(error), headers={"retry-after": str(error.retry_after)}, request_id=_id(request))

    @app.api_route("/{path:path}", methods=list(METHODS), include_in_schema=False)
    async def elsewhere(request: Request) -> Response:
        allowed = [of for of in METHODS if any(_takes(route, request, of) for route in app.routes[:-1])]
        if allowed:
            detail = f"{request.url.path} does not take {request.method}; see /openapi.json"
            return problem(405, detail, headers={"allow": ", ".join(allowed)}, request_id=_id(request))
        return problem(404, f"there is nothing at {request.url.path}; see /openapi.json", request_id=_id(request))

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:  # it is kept as it was completed the first time
            return app.openapi_schema
        told = describe()
        for path in told["paths"].values():
            for operation in path.values():
                operation.setdefault("parameters", []).append(REQUEST_ID)
                for status, response in operation["responses"].items():
                    response.setdefault("headers", {})[REQUEST_ID["name"]] = ECHOED
                    content = response.get("content", {})
                    if status >= "4" and "application/json" in content:
                        content[MEDIA_TYPE] = content.pop("application/json")
        return told

    app.openapi = openapi  # type: ignore[method-assign]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's description: its refusals, those of who may not ask, and that the log may be away."""
    wait = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
    told: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 401, 403, *statuses)}
    return told | {status: {"model": Problem, "headers": wait} for status in (429, 503)}


def _id(request: Request) -> str:
    told: str = request.state.request_id
    return told


def in_words(error: Mapping[str, Any]) -> str:
    """What pydantic says is wrong, without its own word before what our checks say."""
    return str(error["msg"]).removeprefix("Value error, ")


def _field(error: Mapping[str, Any]) -> str:
    return ".".join(map(str, error["loc"][:2])) or "body"  # deeper steps of a place are pydantic's own


def _takes(route: BaseRoute, request: Request, method: str) -> bool:
    return route.matches({**request.scope, "method": method})[0] is Match.FULL
