"""The HTTP service: a thin skin on the `Recommender`.

    POST /recommend   {"client_id": "C0000001", "k": 5, "lines": ["retail"]}     offers for a client of the bank
                      {"new_client": {"kind": "retail", "age": 31}}              offers for someone not a client yet
    GET  /livez /readyz /healthz /metrics                                       BentoML's own
    GET  /openapi.json                                                          the same for code generators

Start it with `sheaf serve`, or with BentoML itself. It reads the model, profiles and catalog that
SHEAF_MODEL, SHEAF_PROFILES and SHEAF_CATALOG name (default: under mlruns/serving) and calls nobody.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")  # before bentoml is imported: a bank's service calls nobody

import bentoml
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog import Catalog, Line
from features.snapshot import Snapshot
from serving.recommender import Answer, Recommender, UnknownClientError
from training import Model

MODEL = Path("mlruns/serving/model")
PROFILES = Path("mlruns/serving/profiles")
CATALOG = Path("mlruns/serving/catalog.json")

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
    k: int = Field(5, ge=1, le=100, description="how many offers at most")
    lines: list[Line] = Field([], max_length=len(Line), description="only bundles of these lines; empty: of all")

    @model_validator(mode="after")
    def _one_client(self) -> Ask:
        if (self.client_id is None) == (self.new_client is None):
            raise ValueError("give either client_id or new_client")
        if self.new_client is not None and not isinstance(self.new_client.get("kind"), str):
            raise ValueError("new_client needs its kind: retail, corporate or institution")
        return self


def application(recommender: Recommender) -> FastAPI:
    """The routes over one recommender."""
    app = FastAPI(
        title="Sheaf",
        summary="Which bundle to offer a client next",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [{"field": _field(item), "problem": item["msg"]} for item in error.errors()]
        return JSONResponse({"detail": wrong}, status_code=422)

    # Not `async`-waiting on anything, and short: run on the event loop, a thread would cost more than the answer.
    @app.post("/recommend", response_model=Answer)
    async def recommend(ask: Ask) -> Response:
        """Offers for one client, best first, with at most four reasons each."""
        try:
            if ask.client_id is not None:
                answer = recommender.recommend(ask.client_id, ask.k, ask.lines)
            else:
                answer = recommender.recommend_new(ask.new_client or {}, ask.k, ask.lines)
        except UnknownClientError as error:
            raise HTTPException(404, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, [{"field": "new_client", "problem": str(error)}]) from error
        return Response(answer.model_dump_json(), media_type="application/json")

    return app


def _field(error: dict[str, Any]) -> str:
    """Where in the body: `k`, `lines.1`, `new_client.age`; deeper steps of a place are pydantic's own."""
    steps = () if error["type"] == "json_invalid" else error["loc"][1:3]
    return ".".join(map(str, steps)) or "body"


def settle() -> None:
    """Keeps the garbage collector from stopping requests: what start-up made is never looked at again.

    Collections of the young generations go on, so that cycles made by requests are still freed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


def load() -> Recommender:
    """The recommender over what the environment names; without a catalog, over the one the model was trained with."""
    model = Model.load(Path(os.environ.get("SHEAF_MODEL", MODEL)))
    sold = Path(os.environ.get("SHEAF_CATALOG", CATALOG))
    snapshot = Snapshot.read(Path(os.environ.get("SHEAF_PROFILES", PROFILES)))
    return Recommender(model, snapshot, Catalog.model_validate_json(sold.read_bytes()) if sold.exists() else None)


# Filled when a worker starts, so that importing this file needs no model; it then has the pages of its own.
app = FastAPI(openapi_url=None)


@bentoml.service(name="sheaf", traffic={"timeout": 10}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(app, path="/")
class SheafService:
    """One worker: its model, its memory-mapped profiles, and the routes."""

    def __init__(self) -> None:
        recommender = load()
        ids = recommender.snapshot.profiles.client_ids
        for client_id in ids[:: max(1, len(ids) // 50)]:  # so that the first caller does not wait for first use
            recommender.recommend(str(client_id)).model_dump_json()
        app.mount("/", application(recommender))
        settle()
