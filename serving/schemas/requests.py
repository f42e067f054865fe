"""What callers may ask of the service, field by field."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sheaf.catalog import Line
from sheaf.serving.decisions import Outcome
from sheaf.training.value_order import Aim

PRINTABLE, NO_CONTROL = r"^[!-~]{1,200}$", r"^[^\x00-\x1f\x7f]*$"
MOST_CLIENTS = 1_000  # of one batch
_DAY = r"\d{4}-\d{2}-\d{2}"


def _written(pattern: str, kind: str, example: str) -> BeforeValidator:
    """Refuses what pydantic would take for a date as well: numbers, and texts of digits, as seconds since 1970."""

    def as_it_is(value: object) -> object:
        if isinstance(value, dt.date) or (isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII)):
            return value
        raise ValueError(f"is no valid {kind}; write it like {example}, as a text")

    return BeforeValidator(as_it_is)


Moment = Annotated[AwareDatetime, _written(rf"{_DAY}[Tt ]\d{{2}}:\d{{2}}.*", "datetime", "2026-06-02T09:31:00+02:00")]
Day = Annotated[dt.date, _written(_DAY, "date", "2026-06-02")]
LONGEST_ID = 200  # characters, of ids and of names of columns and terms
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Attribute = Number | Annotated[str, Field(max_length=200)] | None
Channel = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_CONTROL)] | None


def _shown(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": list(examples)})


class Wanted(BaseModel):
    """Which offers, for whomever they are."""

    k: int = Field(5, strict=True, ge=1, le=100, description="how many offers at most")
    lines: list[Line] = Field([], max_length=len(Line), description="only bundles of these lines; empty: of all")
    objective: Aim = Field(Aim.RELEVANCE, description="order by what the client wants next, or by what it is worth")
    channel: Channel = Field(None, description="where the offers will be shown; is logged")


class Ask(Wanted):
    """A client of the bank by id, or what is known of someone who is not one yet."""

    model_config = _shown({"client_id": "C0000001", "k": 5}, {"new_client": {"kind": "retail", "age": 31}})

    client_id: Id | None = None
    new_client: dict[Id, Attribute] | None = Field(None, max_length=500)

    @model_validator(mode="after")
    def _one_client(self) -> Ask:
        if (self.client_id is None) == (self.new_client is None):
            raise ValueError("give either client_id or new_client")
        if self.new_client is not None and not isinstance(self.new_client.get("kind"), str):
            raise ValueError("new_client needs its kind: retail, corporate or institution")
        return self


class AskMany(Wanted):
    """Clients of the bank by id, each once."""

    model_config = _shown({"client_ids": ["C0000001", "C0000002"], "k": 3})

    client_ids: list[Id] = Field(min_length=1, max_length=MOST_CLIENTS)

    @model_validator(mode="after")
    def _once(self) -> AskMany:
        if len(set(self.client_ids)) < len(self.client_ids):
            raise ValueError("client_ids names a client twice; name each once")
        return self


class AskQuote(BaseModel):
    """A bundle for a client of the bank, and what is to be supposed beside what is known."""

    model_config = _shown(
        {"client_id": "C0000001", "bundle_id": "home_improvement", "authority": "branch",
         "terms": {"personal_loan.rate": 0.065}},
    )  # fmt: skip

    client_id: Id
    bundle_id: Id
    authority: Id | None = Field(
        None, description="of the catalog's authorities; the caller's own if none, and a what-if above it"
    )
    concession: float | None = Field(
        None, strict=True, ge=0, allow_inf_nan=False, description="what the client saves a year; what is best if none"
    )
    terms: dict[Id, Number | Annotated[str, Field(max_length=200)]] = Field(
        {}, max_length=50, description="other terms than the catalog's: {product}.rate, {product}.balance, hurdle, …"
    )
    rating: Id | None = Field(None, description="as if the client had this one")
    suitable_until: Day | None = Field(None, description="last day of a suitability profile, for the bank's own")
    channel: Channel = None


class Feedback(BaseModel):
    """What became of a bundle that an answer offered; told again with the same key, it counts once."""

    model_config = _shown(
        {"idempotency_key": "app-7f3a-1", "decision_id": "01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4e",
         "bundle_id": "secure_saver", "outcome": "accepted", "at": "2026-06-02T09:31:00+02:00"},
    )  # fmt: skip

    idempotency_key: str = Field(pattern=PRINTABLE, description="the caller's own, a new one for each thing told")
    decision_id: Id = Field(description="of the answer")
    bundle_id: Id
    outcome: Outcome
    at: Moment = Field(description="when it happened, with the time zone")
