"""The HTTP service: a thin skin on the `Recommender`, under /v1.

    POST /v1/recommend        offers for a client of the bank, or for someone not a client yet
    POST /v1/recommend_batch  offers for up to 1,000 clients
    POST /v1/quote            a bundle priced for a client as one relationship
    POST /v1/feedback         what became of an offered bundle
    GET  /v1/clients/{id}     a client's profile in words
    GET  /v1/clients/{id}/plan  how a client is served and a bundle approved, and why
    GET  /v1/decisions/{id}   all that an answer rests on, replayed
    GET  /v1/quotes/{id}      all that a quote rests on, replayed
    GET  /metrics             figures for Prometheus
    GET  /livez /readyz /healthz   BentoML's own
    GET  /openapi.json        the same for code generators

Start it with `sheaf serve`, or with BentoML itself. It reads the model, profiles and catalog that
the settings name (`sheaf.serving.settings`), writes every answer to the decision log before it is sent, and calls
nobody else.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")  # before bentoml is imported: a bank's service calls nobody

import bentoml
import numpy as np
import sqlalchemy as sa
from bentoml.exceptions import BentoMLException
from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from sheaf.catalog.contact_policy import look_back
from sheaf.pricing import NoPriceSheetError
from sheaf.pricing.price_table import AskedError
from sheaf.pricing.quote import too_large
from sheaf.serving.audit.records import (
    AUDIT,
    HAPPENED,
    QUOTE_AUDIT,
    Audit,
    Difference,
    Happened,
    QuoteAudit,
    audit,
    entry,
    happened,
    quote_audit,
    quote_entry,
    untold,
)
from sheaf.serving.decisions import (
    Accepted,
    FeedbackEntry,
    Visible,
    Writer,
    add_decisions,
    add_feedback,
    add_quote,
    configured,
    read_accepted,
    read_decision,
    read_past,
    read_quote,
    unless_accepted,
    upgrade,
)
from sheaf.serving.decisions.writer import Work
from sheaf.serving.engine.contact import resting
from sheaf.serving.engine.micro_batching import MicroBatcher
from sheaf.serving.engine.recommender import NOTHING_HIDDEN, Hidden, Recommender, Sees, UnknownClientError
from sheaf.serving.engine.version_archive import who_decided
from sheaf.serving.http import logs
from sheaf.serving.http.access import Caller, Gatekeeper, Scope
from sheaf.serving.http.connections import limit_connections
from sheaf.serving.http.load_shedding import LoadShedder, LoadSheddingMiddleware
from sheaf.serving.http.problems import Refusal, answered_with_problems, refusals, status_of
from sheaf.serving.runtime import metrics, workers
from sheaf.serving.runtime.preparation import load, place, stamp
from sheaf.serving.schemas.answers import ANSWER, PORTRAIT, Answer, Decided, Portrait, Resting
from sheaf.serving.schemas.plans import WHOLE_PLAN, WholePlan
from sheaf.serving.schemas.quotes import Quoted
from sheaf.serving.schemas.requests import LONGEST_ID, Ask, AskMany, AskQuote, Feedback
from sheaf.serving.settings import pass_on, settings
from sheaf.training.value_order import Aim

_log = logging.getLogger("sheaf.serving")
AT_ONCE = 128  # clients of a batch in a step
LOOK_EVERY = 1.0  # seconds between two looks at what is laid out
Named = Annotated[
    str,
    BeforeValidator(unquote),  # see serving.paths
    PathParameter(min_length=1, max_length=LONGEST_ID, description="percent-encoded, a slash as %2F"),
]
LONGEST, SLOWEST = 500_000, 5.0  # bytes of a body, seconds for it
T = TypeVar("T")
BESIDE = ("recommend_batch",)  # what is worked on in threads of its own, and holds nobody up


@dataclass(slots=True)
class Answers:
    """The answers to a batch, in the order of its clients; of who is `unknown` there is none."""

    answers: tuple[Answer, ...]
    unknown: tuple[str, ...]


class Guarded(APIRoute):
    """A route that is entered with its `scope` only; one with a body reads that itself.

    The endpoint takes the request, and its body's model before that. FastAPI describes it. FastAPI's own way from a
    request to the endpoint and back, made for whatever an endpoint may declare, takes about as long as the models do.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        [scope] = [Scope(str(tag)) for tag in self.tags]
        inner, read = super().get_route_handler(), None
        if self.dependant.body_params:
            [body] = self.dependant.body_params
            model: Any = body.field_info.annotation
            read = TypeAdapter(model).validate_json

        async def answered(request: Request) -> Response:
            await app.state.gatekeeper.admit(request, scope)
            _own_id(request)
            content = b"" if read is None else await _body(request)
            admission: LoadShedder = app.state.admission
            with admission.batch() if self.name in BESIDE else admission.working():
                if read is None:
                    return await inner(request)
                try:
                    asked = read(content)
                except ValidationError as error:
                    raise RequestValidationError(error.errors()) from error
                # Endpoints are short and wait for the log only: in a thread they would cost more than the answer.
                response: Response = await self.endpoint(asked, request)
                return response

        async def handle(request: Request) -> Response:
            started, status = time.perf_counter(), 500
            try:
                response = await answered(request)
                status = response.status_code
                return response
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                metrics.request(self.path, status, time.perf_counter() - started)

        return handle


async def _body(request: Request) -> bytes:
    """The body, which is JSON by its type, no longer than `LONGEST`, and there within `SLOWEST` seconds."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body has to be JSON, with the content type application/json")
    parts, length = [], 0
    try:
        async with asyncio.timeout(SLOWEST):
            async for part in request.stream():
                parts.append(part)
                length += len(part)
                if length > LONGEST:
                    raise Refusal(413, f"the body is longer than {LONGEST:,} bytes; ask for fewer clients at once")
    except ClientDisconnect as error:
        raise Refusal(400, "the body broke off; send it again") from error
    except TimeoutError as error:
        raise Refusal(408, f"the body was not there within {SLOWEST:g} seconds; send it faster") from error
    return b"".join(parts)


app = FastAPI(
    title="Sheaf",
    version="1",
    summary="Which bundle to offer a client next, and at what price for the whole relationship",
    openapi_url="/openapi.json",
    docs_url=None,
    redoc_url=None,
    generate_unique_id_function=lambda route: route.name,  # what generated clients call it
)
app.router.route_class = Guarded
app.state.admission, app.state.together = LoadShedder(), MicroBatcher()


@app.post("/v1/recommend", response_model=Answer, tags=["recommend"], responses=refusals(408, 413, 404, 415, 422))
async def recommend(ask: Ask, request: Request) -> Response:
    """Offers for one client, best first, with at most four reasons each; logged before they are sent.

    The header X-Request-ID is logged with them.
    """
    recommender, request_id, caller = _recommender(), _request_id(request), _caller(request)
    with _refusing("new_client"):
        if ask.client_id is not None:
            profile = recommender.profile_of(_seen(caller, ask.client_id))
        else:
            profile = recommender.profile_of_new(ask.new_client or {})
        hidden = _hidden(caller, ask.client_id)
        with app.state.admission.of_log():
            resting = await _resting(recommender, [ask.client_id], ask.channel)

    async def made(accepted: Sequence[Accepted]) -> tuple[Work[None], tuple[Decided, bytes]]:
        rests = resting
        if ask.client_id is not None and accepted:
            told = recommender.awaited(ask.client_id, accepted)
            rests = {ask.client_id: (*resting.get(ask.client_id, ()), *told)}
        with _refusing("new_client"):
            decided = await app.state.together.decide(
                recommender, profile, ask.client_id, ask.k, ask.lines, ask.objective, ask.channel, rests, hidden
            )
        row, sent = entry(recommender, decided, ask.k, ask.lines, ask.new_client, ask.channel, request_id, caller.name)
        return add_decisions([row]), (decided, sent)

    decided, answer = await _recorded(recommender, ask.client_id, made)
    metrics.offers(offer.bundle_id for offer in decided.answer.offers)
    return _json(answer)


@app.post("/v1/recommend_batch", response_model=Answers, tags=["recommend"], responses=refusals(408, 413, 415, 422))
async def recommend_batch(ask: AskMany, request: Request) -> Response:
    """Offers for up to 1,000 clients, each a decision of its own; logged, all or none, before they are sent."""
    recommender, request_id, caller = _recommender(), _request_id(request), _caller(request)
    sees = _sees(caller)
    known = [client for client in ask.client_ids if sees(client) & recommender.knows(client)]  # both, for everybody
    resting, accepted = await _resting(recommender, known, ask.channel), dict[str, list[Accepted]]()
    if known:
        accepted = await app.state.log.done(read_accepted(known, recommender.since))
    for client_id, of_client in accepted.items():
        resting[client_id] = (*resting.get(client_id, ()), *recommender.awaited(client_id, of_client))

    def step(clients: list[str]) -> list[tuple[Decided, dict[str, Any], bytes]]:
        profiles = np.concatenate([recommender.profile_of(client) for client in clients])
        hidden = [_hidden(caller, client) for client in clients]
        decided = recommender.answers(profiles, clients, ask.k, ask.lines, ask.objective, resting, hidden)
        return [
            (one, *entry(recommender, one, ask.k, ask.lines, None, ask.channel, request_id, caller.name))
            for one in decided
        ]

    loop = asyncio.get_running_loop()
    steps = [known[start : start + AT_ONCE] for start in range(0, len(known), AT_ONCE)]
    with _refusing("client_ids"):
        done = await asyncio.gather(*(loop.run_in_executor(_BATCHES, step, clients) for clients in steps))
    entries = [one for of_step in done for one in of_step]
    if entries:
        await app.state.log.done(add_decisions([row for _, row, _ in entries]))
        metrics.offers(offer.bundle_id for one, _, _ in entries for offer in one.answer.offers)
    there = set(known)
    unknown = _TEXTS.dump_json([client for client in ask.client_ids if client not in there])
    return _json(b'{"answers":[%b],"unknown":%b}' % (b",".join(answer for *_, answer in entries), unknown))


@app.post("/v1/quote", response_model=Quoted, tags=["quote"], responses=refusals(408, 413, 404, 415, 422))
async def quote(ask: AskQuote, request: Request) -> Response:
    """The bundle priced for the client as one relationship: lines, RAROC, EVA, the best concession, the rules that
    apply; logged before it is sent. What is supposed beside what is known of the client is in the request."""
    recommender, request_id, caller = _recommender(), _request_id(request), _caller(request)

    async def made(accepted: Sequence[Accepted]) -> tuple[Work[None], bytes]:
        with _refusing("quote"):
            _seen(caller, ask.client_id)
            sees, authority = _sees(caller), _authority(caller)
            hidden = _hidden(caller, ask.client_id)
            row, answer = quote_entry(recommender, ask, request_id, caller.name, sees, authority, accepted, hidden)
        return add_quote(row), answer

    return _json(await _recorded(recommender, ask.client_id, made))


@app.post("/v1/feedback", response_model=Happened, tags=["feedback"], responses=refusals(408, 413, 404, 409, 415, 422))
async def feedback(told: Feedback, request: Request) -> Response:
    """Records what became of an offered bundle: shown as often as it was, and at most one of the others.

    The same again, with the same key, is answered alike and counts once.
    """
    caller, now = _caller(request), dt.datetime.now(dt.UTC)
    recorded = await _logged(add_feedback(FeedbackEntry(**dict(told)), now, caller.name, _mine(caller)))
    if recorded["recorded_at"] == now:  # else it was told before, and counted then
        metrics.feedback(told.bundle_id, told.outcome)
    return _json(HAPPENED.dump_json(happened(recorded)))


@app.get("/v1/clients/{client_id}", response_model=Portrait, tags=["recommend"], responses=refusals(404, 422))
async def client(client_id: Named, request: Request) -> Response:
    """What is known of a client as of the day of the profiles: each fact with its meaning, some in words."""
    with _refusing("client_id"):
        caller = _caller(request)
        seen = _seen(caller, client_id)
        return _json(PORTRAIT.dump_json(_recommender().portrait(seen, _hidden(caller, seen))))


@app.get("/v1/clients/{client_id}/plan", response_model=WholePlan, tags=["recommend"], responses=refusals(404, 422))
async def client_plan(
    client_id: Named,
    request: Request,
    bundle_id: Annotated[str | None, Query(max_length=200, description="how this bundle is approved, as well")] = None,
    concession: Annotated[
        float, Query(ge=0, allow_inf_nan=False, description="on the bundle: what the client saves a year")
    ] = 0.0,
) -> Response:
    """How the client is served, by the bank's policy: every outcome with its rule, what that looked at, and what would
    change it."""
    with _refusing("client_id"):
        recommender, caller, seen = _recommender(), _caller(request), _seen(_caller(request), client_id)
        told = recommender.whole_plan(seen, _hidden(caller, seen))
    if bundle_id is not None:
        with _refusing("bundle_id"):
            told.approval = recommender.approval(seen, bundle_id, concession, _hidden(caller, seen))
    elif concession:
        raise Refusal(422, "concession: of which bundle? name it in bundle_id", "concession")
    told.hide(_hidden(caller, seen))
    return _json(WHOLE_PLAN.dump_json(told))


@app.get("/v1/decisions/{decision_id}", response_model=Audit, tags=["audit"], responses=refusals(404, 422))
async def decision(decision_id: Named, request: Request) -> Response:
    """All that an answer rests on, what became of it, and whether the logged inputs give the same answer again."""
    caller = _caller(request)
    row, told = await _logged(read_decision(decision_id, _mine(caller)))
    recommender = _recommender()
    by = await asyncio.to_thread(who_decided, recommender, row, place("earlier"))
    found = audit(by[0], row, told, by[1])
    if not caller.everybody:
        hidden = _hidden(caller, found.client_id)
        if found.profile:
            found.profile = {name: value for name, value in found.profile.items() if not hidden(name)}
        if not hidden.of <= set(untold(row)):  # it was made with what the caller is not told
            found.candidates, found.forbidden = (), ()
            found.answer = _as_shown(by[0], row, found.answer, hidden)
        found.replay.differences = _untold(found.replay.differences)
    return _json(AUDIT.dump_json(found))


@app.get("/v1/quotes/{quote_id}", response_model=QuoteAudit, tags=["audit"], responses=refusals(404, 422))
async def logged_quote(quote_id: Named, request: Request) -> Response:
    """All that a quote rests on, and whether the logged inputs give the same quote again."""
    row = await _logged(read_quote(quote_id, _mine(_caller(request))))
    recommender = _recommender()
    of_then = row | {"model_version": recommender.model.version}  # what the model gave for it is logged
    by = await asyncio.to_thread(who_decided, recommender, of_then, place("earlier"))
    found = quote_audit(by[0], row, by[1])
    if not recommender.tells_group(found.client_id, _sees(_caller(request))):
        found.answer.group = None
        found.answer.notes = tuple(one for one in found.answer.notes if one not in _of_group(row))
        found.replay.differences = _untold(found.replay.differences)
    hidden = _hidden(_caller(request), found.client_id)
    if not hidden.of <= set(untold(row)):  # it was made with what the caller is not told
        found.answer.without_acceptance()
    found.answer.hide(hidden)
    return _json(QUOTE_AUDIT.dump_json(found))


app.router.route_class = APIRoute


@app.get(metrics.PATH, include_in_schema=False)
def figures(request: Request) -> Response:
    """In a thread: all workers' files are read."""
    app.state.gatekeeper.admit_reader(request)
    return Response(metrics.figures(), media_type=CONTENT_TYPE_LATEST)


answered_with_problems(app)
_TEXTS = TypeAdapter(list[str])
# Batches leave the event loop to single requests; two steps at once, since while one is in its trees another may run.
_BATCHES = ThreadPoolExecutor(2, thread_name_prefix="batch")


_answering: ContextVar[Recommender | None] = ContextVar("answering", default=None)


def _recommender() -> Recommender:
    """What answers now; the line on the log names its versions, whatever is taken up meanwhile."""
    recommender: Recommender = app.state.recommender
    _answering.set(recommender)
    return recommender


def _versions() -> dict[str, Any]:
    recommender = _answering.get() or _recommender()
    return {
        "model_version": recommender.model.version,
        "catalog_version": recommender.candidates.catalog.version,
    }


app.add_middleware(logs.RequestLogMiddleware, about=_versions)


async def _logged(work: Callable[[sa.Connection], T]) -> T:
    """What the work on the log returns, once it is committed."""
    with app.state.admission.of_log():
        done: T = await app.state.log.done(work)
        return done


async def _recorded(
    recommender: Recommender,
    client_id: str | None,
    made: Callable[[Sequence[Accepted]], Coroutine[Any, Any, tuple[Work[None], T]]],
) -> T:
    """What is `made` by what the client has accepted since the profiles, once its entry is in the log.

    It is made as if that were nothing, and made anew where the transaction that writes the entry finds more.
    """
    accepted: Sequence[Accepted] | None = ()
    while accepted is not None:
        write, done = await made(known := accepted)
        accepted = await _logged(
            write if client_id is None else unless_accepted(write, client_id, recommender.since, len(known))
        )
    return done


async def _resting(
    recommender: Recommender, clients: Sequence[str | None], channel: str | None
) -> dict[str, tuple[Resting, ...]]:
    """By client, what rests by the catalog's contact policy and what the log knows."""
    policy, ids = recommender.candidates.catalog.policy.contact, [client for client in clients if client is not None]
    if policy is None or not ids:
        return {}
    now = dt.datetime.now(dt.UTC)
    past = await app.state.log.done(read_past(ids, now - look_back(policy)))
    return {client: resting(policy, of_client, channel, now) for client, of_client in past.items()}


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _sees(caller: Caller) -> Sees:
    """Whether a client is of the caller's book."""
    recommender = _recommender()
    return lambda client_id: caller.everybody or caller.sees(recommender.book(client_id))


def _hidden(caller: Caller, client_id: str | None) -> Hidden:
    """Which columns of the client tell of others whom the caller may not see."""
    if client_id is None:  # of whom nobody's rows tell anything
        return NOTHING_HIDDEN
    return _recommender().hidden(client_id, _sees(caller), caller.everybody)


def _as_shown(recommender: Recommender, row: Mapping[str, Any], answer: Answer, hidden: Hidden) -> Answer:
    """What a client was shown, without what was worked out from hidden columns; reasons as if nothing stood there."""
    if row["model_version"] == recommender.model.version and row["catalog_version"] == (
        recommender.candidates.catalog.version
    ):
        answer = recommender.reasons_without(answer, np.frombuffer(row["profile"], "<f4"), hidden)
    else:  # the model that gave the reasons is gone, and with it which of them tell of others
        answer = replace(answer, offers=tuple(replace(one, reasons=()) for one in answer.offers))
    offers = (
        replace(
            one, probability=math.nan, score=math.nan, worth=None, route=None,
            products=tuple(replace(part, probability=None) for part in one.products),
        )
        for one in answer.offers
    )  # fmt: skip
    return replace(answer, offers=tuple(offers), plan=None)


def _of_group(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the notes of a logged quote say of the client's group."""
    left_out = json.loads(row["priced_by"] or "{}").get("group_left_out")
    return (too_large(left_out),) if left_out else ()


def _untold(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Where a replay differs, and not in what."""
    return tuple(replace(one, logged="not told", replayed="not told") for one in differences)


def _authority(caller: Caller) -> str | None:
    """Whose concessions the caller may grant; None for who asks from this machine where no access is configured."""
    if caller.name is None:
        return None
    known = _recommender().authorities
    if caller.authority not in (None, *known):
        raise Refusal(
            403,
            f"{caller.name} has the authority {caller.authority!r}, which is none of the catalog's: "
            f"{', '.join(known)}; correct it in the file of access, or in the token's claim",
        )
    return caller.authority or known[0]


def _seen(caller: Caller, client_id: str) -> str:
    """The client's id. Raises UnknownClientError for one who is not of the caller's book, as for one who is not there:
    nobody learns from a refusal who is a client."""
    if not _sees(caller)(client_id):
        raise _recommender().unknown(client_id)
    return client_id


def _mine(caller: Caller) -> Visible:
    """Whether an entry of the log is the caller's to see: of a client of the book, or of someone new, who asked."""

    def visible(client_id: str | None, asked_by: str | None) -> bool:
        if client_id is None:
            return caller.everybody or asked_by == caller.name
        return caller.sees(_recommender().book(client_id))

    return visible


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


def _own_id(request: Request) -> None:
    """Refuses a request whose own id cannot be passed on, so that it was given another."""
    if request.headers.get(logs.HEADER, _request_id(request)) != _request_id(request):
        raise Refusal(422, "x-request-id: give 1 to 200 printable characters", "x-request-id")


@contextmanager
def _refusing(field: str) -> Iterator[None]:
    """What the recommender cannot answer, refused in its own words; `field` is what is to blame for a ValueError."""
    try:
        yield
    except UnknownClientError as error:
        raise Refusal(404, str(error)) from error
    except NoPriceSheetError as error:
        raise Refusal(422, str(error), "quote" if field == "quote" else "objective") from error
    except ValueError as error:
        raise Refusal(422, str(error), error.field if isinstance(error, AskedError) else field) from error


def settle() -> None:
    """Keeps the garbage collector, and threads that wait for each other, from stopping requests.

    What start-up made is never looked at again. Cycles made by requests, some seven objects each, are freed a few
    hundred requests at a time, in a millisecond or two: everybody waits for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 50, 1_000)
    # The decision log's thread works for microseconds at a time and then waits for the disk; by default it would wait
    # five milliseconds for its turn, each time, while others are answered.
    sys.setswitchinterval(0.0002)


# Spans that nobody collects take a third of a request: a bank that collects them says so in BENTOML_CONFIG.
@bentoml.service(
    name="sheaf",
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
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
            logs.configure()
            load()
            Gatekeeper.configured()
            LoadShedder.configured()
            workers.supervise()
            log, seconds = configured()
            upgrade(log, seconds)
            # Workers of a built bento run in its own folder, which the next build replaces.
            if "decisions" not in settings().model_fields_set:
                pass_on(decisions=log.database)
        except ValueError as error:
            raise BentoMLException(str(error)) from error

    def __init__(self) -> None:
        logs.configure()
        seen = stamp()
        _answer_with(load())
        app.state.gatekeeper, app.state.log = Gatekeeper.configured(), Writer(*configured())
        app.state.admission = LoadShedder.configured(lambda: app.state.log.took)
        self._end_politely()
        threading.Thread(target=_refresh, args=(seen,), name="refresh", daemon=True).start()
        asyncio.get_running_loop().call_later(0.5, workers.ready)  # once uvicorn listens

    def __is_ready__(self) -> bool:
        return not app.state.admission.ending

    def _end_politely(self) -> None:
        """Has SIGTERM stop uvicorn only when what was accepted is done: uvicorn leaves connections that come meanwhile
        to nobody, until they are cut off."""
        loop, stop = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def end() -> None:
            if callable(stop) and not app.state.admission.ending:
                app.state.ending = loop.create_task(app.state.admission.end(lambda: stop(signal.SIGTERM, None)))

        loop.add_signal_handler(signal.SIGTERM, end)


SheafService.add_asgi_middleware(LoadSheddingMiddleware, admission=lambda: app.state.admission)  # type: ignore[attr-defined]


def _answer_with(recommender: Recommender) -> None:
    """Every request from now on; one that has begun goes on with what it began with."""
    ids = recommender.snapshot.profiles.client_ids
    aims = list(Aim) if recommender.prices else [Aim.RELEVANCE]
    for client_id in ids[:: max(1, len(ids) // 50)]:  # so that the first caller does not wait for first use
        for aim in aims:
            ANSWER.dump_json(recommender.recommend(str(client_id), objective=aim))
    app.state.recommender = recommender
    about = recommender.model.version, recommender.candidates.catalog.version
    metrics.serving(*about, recommender.snapshot.as_of)
    settle()


def _refresh(seen: tuple[object, ...]) -> None:
    """Takes up a model, profiles or a catalog that were laid out anew, once nothing changes any more; what cannot be
    answered with is told on the log, and the present ones go on."""
    while True:
        time.sleep(LOOK_EVERY)
        now = stamp()
        if now == seen:
            continue
        time.sleep(LOOK_EVERY)
        if stamp() != now:
            continue
        seen = now
        try:
            recommender, present = load(), app.state.recommender
            for what, remedy in (
                ("relationships", "sheaf serve --data DIR"),
                ("plans", "sheaf plan --data DIR --serve"),
            ):
                if getattr(recommender, what) is None and getattr(present, what) is not None:
                    raise ValueError(f"{place(what)} is gone; lay it out anew: {remedy}")
            _answer_with(recommender)
            metrics.refresh(taken=True)
            version, day = recommender.model.version, recommender.snapshot.as_of
            _log.warning("answers are from model %s and profiles of %s now", version, day)
        except Exception as error:  # whatever it is, callers go on being answered
            metrics.refresh(taken=False)
            told = isinstance(error, ValueError | OSError)  # whose words are ours; else it is a fault, and where it is
            _log.error(
                "what was laid out anew is refused, the present model and profiles go on: %s",
                error if told else type(error).__name__, exc_info=None if told else error,
            )  # fmt: skip


if bentoml.server_context.worker_index is not None:  # the process that BentoML starts to answer, and no other
    logs.configure()
    workers.fork(settings().workers)
    limit_connections()
