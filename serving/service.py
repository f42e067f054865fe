"""The HTTP service: a thin skin on the `Recommender`.

    POST /recommend   {"client_id": "C0000001", "k": 5, "lines": ["retail"]}     offers for a client of the bank
                      {"new_client": {"kind": "retail", "age": 31}}              offers for someone not a client yet
                      {"client_id": "C0000001", "objective": "value"}            ordered by what they are worth
    GET  /livez /readyz /healthz /metrics                                       BentoML's own
    GET  /openapi.json                                                          the same for code generators

Start it with `sheaf serve`, or with BentoML itself. It reads the model, profiles and catalog that
SHEAF_MODEL, SHEAF_PROFILES and SHEAF_CATALOG name (default: under mlruns/serving) and calls nobody.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")  # before bentoml is imported: a bank's service calls nobody

import bentoml
from bentoml.exceptions import BentoMLException
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from catalog import Line
from pricing import NoPriceSheetError
from serving.preparing import load
from serving.recommender import ANSWER, Answer, Recommender, UnknownClientError
from training.by_value import Aim

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

    @model_validator(mode="after")
    def _one_client(self) -> Ask:
        if (self.client_id is None) == (self.new_client is None):
            raise ValueError("give either client_id or new_client")
        if self.new_client is not None and not isinstance(self.new_client.get("kind"), str):
            raise ValueError("new_client needs its kind: retail, corporate or institution")
        return self


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
    """A route whose endpoint takes the request's body as a model and returns the response.

    FastAPI describes it. Its own way from a request to the endpoint and back, made for whatever an endpoint may
    declare, takes about as long as the models do.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        [body] = self.dependant.body_params
        model: Any = body.field_info.annotation
        read = TypeAdapter(model).validate_json
        answer = self.endpoint

        # Endpoints are short and wait for nothing: run on the event loop, a thread would cost more than the answer.
        async def handle(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise HTTPException(415, "the body has to be JSON, with the content type application/json")
            try:
                asked = read(await request.body())
            except ValidationError as error:
                raise RequestValidationError(error.errors()) from error
            response: Response = answer(asked)
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


@app.post("/recommend", response_model=Answer,
          responses={404: {"model": Refused}, 415: {"model": Refused}, 422: {"model": Wrong}})  # fmt: skip
def recommend(ask: Ask) -> Response:
    """Offers for one client, best first, with at most four reasons each."""
    recommender: Recommender = app.state.recommender
    try:
        if ask.client_id is not None:
            answer = recommender.recommend(ask.client_id, ask.k, ask.lines, ask.objective)
        else:
            answer = recommender.recommend_new(ask.new_client or {}, ask.k, ask.lines, ask.objective)
    except UnknownClientError as error:
        raise HTTPException(404, str(error)) from error
    except NoPriceSheetError as error:
        raise RequestValidationError([{"loc": ("objective",), "msg": str(error)}]) from error
    except ValueError as error:
        raise RequestValidationError([{"loc": ("new_client",), "msg": str(error)}]) from error
    return Response(ANSWER.dump_json(answer), media_type="application/json")


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
        """Before any worker starts: one that cannot load what it serves would be started again for ever."""
        try:
            load()
        except ValueError as error:
            raise BentoMLException(str(error)) from error

    def __init__(self) -> None:
        recommender = app.state.recommender = load()
        ids = recommender.snapshot.profiles.client_ids
        aims = list(Aim) if recommender.candidates.catalog.pricing else [Aim.RELEVANCE]
        for client_id in ids[:: max(1, len(ids) // 50)]:  # so that the first caller does not wait for first use
            for aim in aims:
                ANSWER.dump_json(recommender.recommend(str(client_id), objective=aim))
        settle()
