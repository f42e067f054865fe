"""What of an answer goes into the decision log, and what an auditor is told of it later: inputs, outcomes, a replay."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import to_json

from sheaf.catalog import Line
from sheaf.pricing.client_value import Own
from sheaf.serving.decisions import Accepted, Outcome, new_id
from sheaf.serving.engine.recommender import NOTHING_HIDDEN, Hidden, Recommender, Sees
from sheaf.serving.schemas.answers import ANSWER, Answer, Decided, PricedBy
from sheaf.serving.schemas.plans import worked_out_again
from sheaf.serving.schemas.quotes import QUOTED, Quoted
from sheaf.serving.schemas.requests import AskQuote
from sheaf.training.value_order import Aim

TOLD = 20  # differences that a replay names
_FLOAT = np.dtype("<f4")


@dataclass(slots=True)
class Considered:
    """A candidate as the order had it: its score (money a year in an order by value) and adoption probability."""

    bundle_id: str
    score: float
    probability: float


@dataclass(slots=True)
class Happened:
    """What became of one bundle of a decision: when it happened, and when it was recorded."""

    decision_id: str
    bundle_id: str
    outcome: Outcome
    at: dt.datetime
    recorded_at: dt.datetime
    idempotency_key: str


@dataclass(slots=True)
class Difference:
    """Where an answer that was worked out again is not what was logged."""

    field: str
    logged: str
    replayed: str


@dataclass(slots=True)
class Replay:
    """The answer worked out again from the logged inputs. `same` is None where that cannot be; `why` says so."""

    same: bool | None
    why: str
    differences: tuple[Difference, ...]


@dataclass(slots=True)
class Audit:
    """A decision with all that it rests on.

    `candidates` are all, best first, whatever of them was shown; `list_propensity` is the probability with which just
    this list was, 1 where it was not drawn by chance; `profile` is the client's, by column of the model, None where the
    service now has another model.
    """

    decision_id: str
    request_id: str | None
    caller: str | None
    asked_at: dt.datetime
    client_id: str | None
    new_client: dict[str, float | str | None] | None
    channel: str | None
    objective: Aim
    k: int
    lines: tuple[Line, ...]
    authority: str | None
    list_propensity: float
    profile_day: str
    model_version: str
    catalog_version: str
    response_version: str | None
    policy_version: str | None
    candidates: tuple[Considered, ...]
    forbidden: tuple[str, ...]
    answer: Answer
    feedback: tuple[Happened, ...]
    profile: dict[str, float | str | None] | None
    replay: Replay


@dataclass(slots=True)
class QuoteAudit:
    """A quote with all that it rests on: what was asked and supposed, and what of the client it was priced by."""

    quote_id: str
    request_id: str | None
    caller: str | None
    asked_at: dt.datetime
    client_id: str
    channel: str | None
    asked: AskQuote
    held: dict[str, Any]
    answer: Quoted
    model_version: str
    catalog_version: str
    response_version: str | None
    policy_version: str | None
    replay: Replay


AUDIT, QUOTE_AUDIT, HAPPENED = TypeAdapter(Audit), TypeAdapter(QuoteAudit), TypeAdapter(Happened)
_PRICED_BY = TypeAdapter(PricedBy)


def entry(
    recommender: Recommender,
    decided: Decided,
    k: int,
    lines: Sequence[Line],
    new_client: Mapping[str, Any] | None = None,
    channel: str | None = None,
    request_id: str | None = None,
    caller: str | None = None,
) -> tuple[dict[str, Any], bytes]:
    """The row of a decision made now, and the answer as JSON, which has its id from here."""
    answer = decided.answer
    answer.decision_id = decision_id = new_id()
    sent = ANSWER.dump_json(answer)
    learned = recommender.learned if recommender.prices else None
    row = {
        "decision_id": decision_id,
        "request_id": request_id,
        "caller": caller,
        "asked_at": dt.datetime.now(dt.UTC),
        "client_id": answer.client_id,
        "new_client": None if new_client is None else json.dumps(new_client),
        "channel": channel,
        "objective": answer.objective.value,
        "k": k,
        "lines": json.dumps(lines),
        "authority": recommender.valuer.authority if recommender.prices else None,
        "candidates": _candidates(decided),
        "list_propensity": decided.list_propensity,
        "price_propensity": None,  # the service computes its prices
        "answer": sent.decode(),
        "own": _own_json(recommender, decided.own),
        "profile": decided.profile.astype(_FLOAT, copy=False).tobytes(),
        "profile_day": answer.profile_day,
        "model_version": answer.model_version,
        "catalog_version": answer.catalog_version,
        "response_version": learned.version if learned else None,
        **_plan(decided.plan, answer),
    }
    return row, sent


def quote_entry(
    recommender: Recommender,
    asked: AskQuote,
    request_id: str | None = None,
    caller: str | None = None,
    sees: Sees = lambda client_id: True,
    caller_authority: str | None = None,
    accepted: Sequence[Accepted] = (),
    hidden: Hidden = NOTHING_HIDDEN,
) -> tuple[dict[str, Any], bytes]:
    """The row of a quote made now, and the quote as JSON, which has its id from here. Raises as `Recommender.quote`."""
    quoted, by = recommender.quote(asked, sees, caller_authority, accepted, hidden)
    quoted.quote_id = quote_id = new_id()
    sent = QUOTED.dump_json(quoted)
    row = {
        "quote_id": quote_id,
        "request_id": request_id,
        "caller": caller,
        "asked_at": dt.datetime.now(dt.UTC),
        "client_id": asked.client_id,
        "channel": asked.channel,
        "asked": asked.model_dump_json(),
        "held": to_json(by.client, inf_nan_mode="null").decode(),
        "priced_by": to_json(
            {
                "group": by.group,
                "as_of": by.as_of,
                "authority": by.authority,
                "inputs": by.inputs,
                "acceptance": by.acceptance,
                "group_left_out": by.group_left_out,
                "caller_authority": by.caller_authority,
                "caller_limit": by.caller_limit,
                "notes": by.notes,
                "eligible": by.eligible,
                "untold": by.untold,
            },
            inf_nan_mode="null",
        ).decode(),
        "answer": sent.decode(),
        "model_version": recommender.model.version,
        "catalog_version": quoted.catalog_version,
        "response_version": quoted.response_version,
        **_plan(by.plan, quoted),
    }
    return row, sent


def _plan(plan: str | None, answer: Answer | Quoted) -> dict[str, str | None]:
    """What of an answer's plan is logged."""
    return {"plan": plan, "policy_version": None if answer.plan is None else answer.plan.policy_version}


def quote_audit(recommender: Recommender, row: Mapping[str, Any], missing: Sequence[str] = ()) -> QuoteAudit:
    """A logged quote as an auditor reads it, replayed by this recommender, unless something of it is `missing`."""
    read = {
        "asked": AskQuote.model_validate_json(row["asked"]),
        "held": json.loads(row["held"]),
        "answer": QUOTED.validate_json(row["answer"]),
        "replay": replay_quote(recommender, row, missing),
    }
    return QuoteAudit(**{name: row[name] for name in QuoteAudit.__dataclass_fields__ if name not in read}, **read)


def replay_quote(recommender: Recommender, row: Mapping[str, Any], missing: Sequence[str] = ()) -> Replay:
    """Works the quote out again from what it was priced by, with the same catalog and learned price response."""
    if row["priced_by"] is None:
        return Replay(None, "it was logged before all that a quote rests on was", ())
    now: dict[str, str | None] = {"catalog_version": recommender.candidates.catalog.version}
    if row["response_version"] is not None:  # else it went by the policy's assumption
        now["response_version"] = recommender.learned.version if recommender.learned else None
    now |= _policy(recommender, row)
    if others := _others(row, now, missing):
        return others
    told = {**json.loads(row["priced_by"]), "client": json.loads(row["held"]), "plan": _plan_again(recommender, row)}
    for client in (told["client"], *told["group"]):
        client["held"] = {product: _known(position) for product, position in client["held"].items()}
    quoted = recommender.priced(AskQuote.model_validate_json(row["asked"]), _PRICED_BY.validate_python(told))
    quoted.quote_id = row["quote_id"]
    return _compared({"answer": row["answer"]}, {"answer": QUOTED.dump_json(quoted).decode()})


def _known(position: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in position.items()}


def audit(
    recommender: Recommender,
    row: Mapping[str, Any],
    feedback: Sequence[Mapping[str, Any]],
    missing: Sequence[str] = (),
) -> Audit:
    """A logged decision as an auditor reads it, replayed by this recommender, unless something of it is `missing`."""
    of_model = row["model_version"] == recommender.model.version
    considered = json.loads(row["candidates"])
    told = zip(*(considered[name] for name in ("bundle_id", "score", "probability")), strict=True)
    as_they_are = ("decision_id", "request_id", "caller", "asked_at", "client_id", "channel", "k", "authority",
                   "list_propensity", "profile_day", "model_version", "catalog_version", "response_version",
                   "policy_version")  # fmt: skip
    return Audit(
        **{name: row[name] for name in as_they_are},
        new_client=row["new_client"] and json.loads(row["new_client"]),
        objective=Aim(row["objective"]),
        lines=tuple(map(Line, json.loads(row["lines"]))),
        candidates=tuple(Considered(*one) for one in told),
        forbidden=tuple(considered["forbidden"]),
        answer=ANSWER.validate_json(row["answer"]),
        feedback=tuple(happened(one) for one in feedback),
        profile=recommender.in_words(np.frombuffer(row["profile"], _FLOAT)) if of_model else None,
        replay=replay(recommender, row, missing),
    )


def happened(row: Mapping[str, Any]) -> Happened:
    """Feedback as a caller reads it."""
    return HAPPENED.validate_python({name: row[name] for name in Happened.__dataclass_fields__})


def replay(recommender: Recommender, row: Mapping[str, Any], missing: Sequence[str] = ()) -> Replay:
    """Works the answer out again from the logged profile and parameters, with the same model, catalog and prices."""
    objective = Aim(row["objective"])
    now: dict[str, str | None] = {
        "model_version": recommender.model.version,
        "catalog_version": recommender.candidates.catalog.version,
    }
    if recommender.prices and row["catalog_version"] == now["catalog_version"]:  # else it may have had none
        now["response_version"] = recommender.learned.version if recommender.learned else None
        now["authority"] = recommender.valuer.authority
    now |= _policy(recommender, row)
    if others := _others(row, now, missing):
        return others
    values = np.frombuffer(row["profile"], _FLOAT).reshape(1, -1).astype(np.float32)
    lines = tuple(map(Line, json.loads(row["lines"])))
    own = _own(recommender, row["own"])
    resting = {row["client_id"]: ANSWER.validate_json(row["answer"]).resting}
    drawn = json.loads(row["candidates"]).get("drawn")
    explored = recommender.candidates.catalog.policy.exploration is not None
    draw = (lambda best, shown: None if drawn is None else tuple(drawn)) if explored else None
    [decided] = recommender.decide(
        values, [row["client_id"]], row["k"], lines, objective, own, resting, draw, [_plan_again(recommender, row)]
    )
    decided.answer.decision_id, decided.answer.profile_day = row["decision_id"], row["profile_day"]
    decided = replace(decided, untold=untold(row))
    logged = {"answer": row["answer"], "candidates": row["candidates"]}
    again = {"answer": ANSWER.dump_json(decided.answer).decode(), "candidates": _candidates(decided)}
    return _compared(logged, again)


def _policy(recommender: Recommender, row: Mapping[str, Any]) -> dict[str, str | None]:
    """The version of the strategy, where what was logged has a plan."""
    if row["policy_version"] is None:
        return {}
    return {"policy_version": recommender.plans.policy.version if recommender.plans else None}


def _plan_again(recommender: Recommender, row: Mapping[str, Any]) -> str | None:
    """The logged plan, worked out again from what it went by."""
    if row["plan"] is None or recommender.plans is None:
        return None
    return worked_out_again(recommender.plans.policy, row["plan"])


def _others(row: Mapping[str, Any], now: Mapping[str, str | None], missing: Sequence[str]) -> Replay | None:
    """Why there is no replay: other versions than those of the row; None where they are the same."""
    others = [f"{name} was {row[name]} and is {has}" for name, has in now.items() if row[name] != has]
    if not others:
        return None
    lost = f"; {', '.join(missing)} is not kept here" if missing else ""
    remedy = "ask a service that has what it rests on, or see whether the registry still does: sheaf decisions keep"
    return Replay(None, f"{'; '.join(others)}{lost}: {remedy}", ())


def _compared(logged: Mapping[str, str], again: Mapping[str, str]) -> Replay:
    """Whether texts of JSON are the same, and where not."""
    if logged == again:
        return Replay(True, "the logged inputs give the same answer, to the last digit", ())
    found = tuple(_differences("", *({name: json.loads(text) for name, text in of.items()} for of in (logged, again))))
    if not found:  # logged by a Sheaf whose answers had fewer fields
        return Replay(True, "the logged inputs give the same answer, to the last digit", ())
    return Replay(False, f"{len(found)} fields differ, of which {min(len(found), TOLD)} are told", found[:TOLD])


def _own_json(recommender: Recommender, own: Own | None) -> str | None:
    """Of the products held: a year's EVA, that of the balance alone, the balance."""
    if own is None:
        return None
    numbers = np.concatenate([own.eva, own.of_balance, own.balance])
    sold = recommender.candidates.catalog.products
    held = np.flatnonzero(numbers.any(axis=0)).tolist()
    return json.dumps({sold[at].product_id: numbers[:, at].tolist() for at in held})


def _own(recommender: Recommender, told: str | None) -> Own | None:
    if told is None:
        return None
    sold, held = recommender.candidates.catalog.products, json.loads(told)
    numbers = np.zeros((3, len(sold)))
    for at, product in enumerate(sold):
        numbers[:, at] = held.get(product.product_id, 0.0)
    return Own(*numbers[:, None])


def _candidates(decided: Decided) -> str:
    considered = {"bundle_id": decided.bundle_ids, "score": decided.scores, "probability": decided.probabilities}
    made_without = {"untold": decided.untold} if decided.untold else {}
    return to_json({**considered, "forbidden": decided.forbidden, "drawn": decided.drawn, **made_without}).decode()


def untold(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What of others the caller of a logged decision or quote was not told, so that it was made without."""
    of_row = row["priced_by"] if "quote_id" in row else row["candidates"]
    return tuple(json.loads(of_row or "{}").get("untold", ()))


def _differences(field: str, logged: Any, replayed: Any) -> list[Difference]:
    if isinstance(logged, dict) and isinstance(replayed, dict):
        pairs = {name: (logged.get(name), replayed.get(name)) for name in {**logged, **replayed}}
    elif isinstance(logged, list) and isinstance(replayed, list) and len(logged) == len(replayed):
        pairs = {str(at): pair for at, pair in enumerate(zip(logged, replayed, strict=True))}
    else:
        return [] if logged == replayed else [Difference(field, json.dumps(logged), json.dumps(replayed))]
    return [one for name, pair in pairs.items() for one in _differences(f"{field}.{name}".removeprefix("."), *pair)]
