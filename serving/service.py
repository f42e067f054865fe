"""The HTTP service: a thin skin on the `Recommender`.

    POST /recommend   {"client_id": "C0000001", "k": 5, "lines": ["retail"]}     offers for a client of the bank
                      {"new_client": {"kind": "retail", "age": 31}}              offers for someone not a client yet
                      {"client_id": "C0000001", "objective": "value"}            ordered by what they are worth
    POST /feedback    {"idempotency_key": "…", "decision_id": "…",              what became of an offered bundle
                       "bundle_id": "…", "outcome": "accepted", "at": "…"}
    GET  /decisions/{decision_id}                                               all that an answer rests on, replayed
    GET  /livez /readyz /healthz /metrics                                       BentoML's own
    GET  /openapi.json                                                          the same for code generators

Start it with `sheaf serve`, or with BentoML itself. It reads the model, profiles and catalog that
SHEAF_MODEL, SHEAF_PROFILES and SHEAF_CATALOG name (default: under mlruns/serving), writes every answer to the decision
log that SHEAF_DECISIONS names (default: mlruns/decisions.db) before it is sent, and calls nobody else.
"""

from __future__ import annotations

import datetime as dt
import gc
import os
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")  # before bentoml is imported: a bank's service calls nobody

import bentoml
from bentoml.exceptions import BentoMLException
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from catalog import Line
from pricing import NoPriceSheetError
from serving.auditing import AUDIT, HAPPENED, Audit, Happened, audit, entry, happened
from serving.decisions import (
    LogUnavailableError,
    Outcome,
    RefusedError,
    Told,
    Writer,
    add_decision,
    add_feedback,
    configured,
    read_decision,
    upgrade,
)
from serving.preparing import load
from serving.recommender import ANSWER, Answer, Recommender, UnknownClientError
from training.by_value import Aim

PRINTABLE, NO_CONTROL = r"^[!-~]{1,200}$", r"^[^\x00-\x1f\x7f]*$"
Attribute = Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=200)] | None


class Ask(BaseModel):
    """A request: a client of the bank by id, or what is known of someone who is not one yet."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"client_id": "C0000001", "k": 5}, {"new_client": {"kind": "retail", "age": 31}}]
        },
    )

    client_id: str | None = Field(None, min_length=1, max_length=200)
    new_client: dict[str, Attribute] | None = Field(None, max_length=500)
    k: int = Field(5, strict=True, ge=1, le=100, description="how many offers at most")
    lines: list[Line] = Field([], max_length=len(Line), description="only bundles of these lines; empty: of all")
    objective: Aim = Field(Aim.RELEVANCE, description="order by what the client wants next, or by what it is worth")
    channel: str | None = Field(
        None, min_length=1, max_length=100, pattern=NO_CONTROL, description="where the offers will be shown; is logged"
    )

    @model_validator(mode="after")
    def _one_client(self) -> Ask:
        if (self.client_id is None) == (self.new_client is None):
            raise ValueError("give either client_id or new_client")
        if self.new_client is not None and not isinstance(self.new_client.get("kind"), str):
            raise ValueError("new_client needs its kind: retail, corporate or institution")
        return self


class Feedback(BaseModel):
    """What became of a bundle that an answer offered; told again with the same key, it counts once."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "idempotency_key": "app-7f3a-1", "decision_id": "01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4e",
                    "bundle_id": "secure_saver", "outcome": "accepted", "at": "2026-06-02T09:31:00+02:00",
                }
            ]
        },
    )  # fmt: skip

    idempotency_key: str = Field(pattern=PRINTABLE, description="the caller's own, a new one for each thing told")
    decision_id: str = Field(min_length=1, max_length=200, description="of the answer")
    bundle_id: str = Field(min_length=1, max_length=200)
    outcome: Outcome
    at: AwareDatetime = Field(strict=True, description="when it happened, with the time zone")


class Refused(BaseModel):
    """Why there is no answer."""

    detail: str


class Problem(BaseModel):
    """One thing that is wrong with a body, and where in it: `k`, `lines.1`, `new_client.age`, or `body`."""

    field: str
    problem: str


class Wrong(BaseModel):
    """Everything that is wrong with a body."""

    detail: list[Problem]


class Direct(APIRoute):
    """A route whose endpoint takes the request's body as a model, and the request, and returns the response.

    FastAPI describes it, and does everything for an endpoint without a body. Its own way from a request to the endpoint
    and back, made for whatever an endpoint may declare, takes about as long as the models do.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        if not self.dependant.body_params:
            return super().get_route_handler()
        [body] = self.dependant.body_params
        model: Any = body.field_info.annotation
        read = TypeAdapter(model).validate_json
        answer = self.endpoint

        # Endpoints are short and wait for the log only: in a thread they would cost more than the answer.
        async def handle(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise HTTPException(415, "the body has to be JSON, with the content type application/json")
            try:
                asked = read(await request.body())
            except ValidationError as error:
                raise RequestValidationError(error.errors()) from error
            response: Response = await answer(asked, request)
            return response

        return handle


app = FastAPI(
    title="Sheaf",
    summary="Which bundle to offer a client next",
    openapi_url="/openapi.json",
    docs_url=None,
    redoc_url=None,
)
app.router.route_class = Direct


@app.exception_handler(RequestValidationError)
async def _refuse(request: Request, error: RequestValidationError) -> JSONResponse:
    wrong = [{"field": _field(item), "problem": item["msg"]} for item in error.errors()]
    return JSONResponse({"detail": wrong}, status_code=422)


def _field(error: dict[str, Any]) -> str:
    return ".".join(map(str, error["loc"][:2])) or "body"  # deeper steps of a place are pydantic's own


@app.exception_handler(RefusedError)
async def _refuse_entry(request: Request, error: RefusedError) -> JSONResponse:
    wrong = error.problem if error.status == 404 else [{"field": error.field, "problem": error.problem}]
    return JSONResponse({"detail": wrong}, status_code=error.status)


@app.exception_handler(LogUnavailableError)
async def _wait(request: Request, error: LogUnavailableError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503, {"retry-after": str(error.retry_after)})


UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {
        "model": Refused,
        "headers": {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}},
    }
}


@app.post("/recommend", response_model=Answer,
          responses={404: {"model": Refused}, 415: {"model": Refused}, 422: {"model": Wrong},
                     **UNAVAILABLE})  # fmt: skip
async def recommend(ask: Ask, request: Request) -> Response:
    """Offers for one client, best first, with at most four reasons each; logged before they are sent.

    The header X-Request-Id, if there is one, is logged with them.
    """
    recommender: Recommender = app.state.recommender
    request_id = request.headers.get("x-request-id")
    if request_id is not None and not re.match(PRINTABLE, request_id):
        raise RequestValidationError([{"loc": ("x-request-id",), "msg": "give 1 to 200 printable characters"}])
    try:
        if ask.client_id is not None:
            profile = recommender.profile_of(ask.client_id)
        else:
            profile = recommender.profile_of_new(ask.new_client or {})
        decided = recommender.decide(profile, ask.client_id, ask.k, ask.lines, ask.objective)
    except UnknownClientError as error:
        raise HTTPException(404, str(error)) from error
    except NoPriceSheetError as error:
        raise RequestValidationError([{"loc": ("objective",), "msg": str(error)}]) from error
    except ValueError as error:
        raise RequestValidationError([{"loc": ("new_client",), "msg": str(error)}]) from error
    row, answer = entry(recommender, decided, ask.k, ask.lines, ask.new_client, ask.channel, request_id)
    await app.state.log.done(add_decision(row))
    return Response(answer, media_type="application/json")


@app.post("/feedback", response_model=Happened,
          responses={404: {"model": Refused}, 409: {"model": Wrong}, 415: {"model": Refused}, 422: {"model": Wrong},
                     **UNAVAILABLE})  # fmt: skip
async def feedback(told: Feedback, request: Request) -> Response:
    """Records what became of an offered bundle: shown as often as it was, and at most one of the others.

    The same again, with the same key, is answered alike and counts once.
    """
    work = add_feedback(Told(**dict(told)), dt.datetime.now(dt.UTC))
    recorded = await app.state.log.done(work)
    return Response(HAPPENED.dump_json(happened(recorded)), media_type="application/json")


@app.get("/decisions/{decision_id}", response_model=Audit,
         responses={404: {"model": Refused}, 422: {"model": Wrong}, **UNAVAILABLE})  # fmt: skip
async def decision(decision_id: str) -> Response:
    """All that an answer rests on, what became of it, and whether the logged inputs give the same answer again."""
    row, told = await app.state.log.done(read_decision(decision_id))
    return Response(AUDIT.dump_json(audit(app.state.recommender, row, told)), media_type="application/json")


def settle() -> None:
    """Keeps the garbage collector from stopping requests: what start-up made is never looked at again.

    Collections of the young generations go on, so that cycles made by requests are still freed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


# Spans that nobody collects take a third of a request: a bank that collects them says so in BENTOML_CONFIG.
@bentoml.service(
    name="sheaf",
    workers=int(os.environ.get("SHEAF_WORKERS") or 1),
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class SheafService:
    """One worker: its model, its memory-mapped profiles, and the routes."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Before any worker starts: one that cannot load what it serves would be started again for ever.

        The decision log's schema is brought up to date here, once.
        """
        try:
            load()
            place, seconds = configured()
            upgrade(place, seconds)
            # Workers of a built bento run in its own folder, which the next build replaces.
            os.environ.setdefault("SHEAF_DECISIONS", str(place.database))
        except ValueError as error:
            raise BentoMLException(str(error)) from error

    def __init__(self) -> None:
        recommender = app.state.recommender = load()
        app.state.log = Writer(*configured())
        ids = recommender.snapshot.profiles.client_ids
        aims = list(Aim) if recommender.candidates.catalog.pricing else [Aim.RELEVANCE]
        for client_id in ids[:: max(1, len(ids) // 50)]:  # so that the first caller does not wait for first use
            for aim in aims:
                ANSWER.dump_json(recommender.recommend(str(client_id), objective=aim))
        settle()
