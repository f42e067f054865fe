"""How the simulated clients behave: the coefficients, read from the YAML files beside this module.

Every number that shapes needs, openings, money and bookings is in those files; the code only says how they act.
"""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ruamel.yaml import YAML

DRAIN = "drain"  # what a condition calls the money that moves away


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Booking(_Model):
    """Bookings of one kind. `a_month`: expected count; `share` of the client's monthly basis, all of them together.

    `once`: exactly one a month; `sized`: the count goes with the client's size, the amounts against it;
    `scale`: an attribute that multiplies the count; `spread`: standard deviation of the amount's logarithm.
    """

    kind: str
    way: Literal["in", "out"]
    a_month: float = Field(gt=0)
    share: float = Field(gt=0)
    channel: str
    spread: float = 0.5
    once: bool = False
    sized: bool = False
    scale: str | None = None
    among: str = ""
    foreign: bool = False
    counterparty: Literal["employer", "buyer", "supplier"] | None = None


class Need(_Model):
    """A latent want: how often it comes, among whom, how strong month by month, and what it leaves behind."""

    a_year: float = Field(gt=0)
    among: str = ""
    strength: tuple[float, ...] = Field(min_length=1)
    shows: int = 2
    times: dict[int, float] = {}
    liquid: float = 1.0
    adds: dict[str, float] = {}
    grows: dict[str, float] = {}
    bookings: tuple[Booking, ...] = ()


class Money(_Model):
    """A product's balance as a multiple of the client's yearly basis, its yearly rate and monthly fee."""

    times: float = 0.0
    pull: float = 0.0
    term: int | None = None
    spread: float = 0.8
    rate: float | None = None
    fee: float = 0.0
    limit: float | None = None
    liquid: bool = False


class Product(_Model):
    """When a product is opened (log-odds a month), held at the start and closed, and what money goes with it."""

    start: float = Field(gt=0, lt=1)
    closes: float = Field(ge=0, lt=1)
    money: Money
    opens: dict[str, float]


class Link(_Model):
    """True for a client tied to another that has opened one of these products in the last months, or holds one."""

    tie: Literal["employer", "firm", "group", "trade", "owner"]
    opened: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


class Attrition(_Model):
    """How clients leave, in a bank simulated with attrition: money moves away first (a drain), then some leave.

    `starts`, `leaves`: log-odds a month, `base` and coefficients as a product's `opens`; `drain` in an expression is
    its strength, month by month from the one after it started. Meanwhile `inflow` is a factor on the bookings that come
    in (what comes once a month stops), `liquid` one on the deposits aimed at, which move by `pull` at least.
    """

    starts: dict[str, float]
    strength: tuple[float, ...] = Field(min_length=1)
    inflow: float = Field(ge=0, le=1)
    liquid: float = Field(gt=0, le=1)
    pull: float = Field(gt=0, le=1)
    leaves: dict[str, float]
    bookings: tuple[Booking, ...]


class Condition(NamedTuple):
    """A named condition, or its negation."""

    name: str
    negated: bool


def conditions(expression: str) -> tuple[Condition, ...]:
    """The conditions of "a & !b", all of which have to hold; none for an empty expression."""
    words = [word.strip() for word in expression.split("&") if word.strip()]
    return tuple(Condition(word.removeprefix("!").strip(), word.startswith("!")) for word in words)


class Behaviour(_Model):
    """Everything about the clients of one segment; `basis` names the attribute that amounts are multiples of."""

    basis: str
    bands: dict[str, tuple[str, float | None, float | None]]
    needs: dict[str, Need]
    links: dict[str, Link]
    products: dict[str, Product]
    bookings: tuple[Booking, ...]
    attrition: Attrition

    @model_validator(mode="after")
    def _known_words(self) -> Self:
        traces = [booking for need in self.needs.values() for booking in need.bookings]
        of_attrition = [*self.attrition.starts, *self.attrition.leaves]
        expressions = [word for product in self.products.values() for word in product.opens if word != "base"]
        expressions += [need.among for need in self.needs.values()]
        expressions += [booking.among for booking in (*self.bookings, *traces, *self.attrition.bookings)]
        expressions += [word for word in of_attrition if word != "base"]
        known: dict[str, Container[str]] = {
            "need": self.needs, "link": self.links,
            "holds": self.products, "recent": self.products, "before": self.products,
            "month": [str(month) for month in range(1, 13)],
        }  # fmt: skip
        for expression in expressions:
            for name, _ in conditions(expression):
                prefix, dot, word = name.partition(".")
                if prefix in ("sector", "rating") or (
                    name == DRAIN and expression in of_attrition
                ):  # their words are the state's; an unknown one fails on first use
                    continue
                if word not in known.get(prefix, ()) if dot else name not in self.bands:
                    what = prefix if dot else "band"
                    raise ValueError(f"condition {name} in {expression!r}: there is no such {what}")
        return self


@cache
def read_behaviour(segment: str) -> Behaviour:
    """The behaviour of `segment` ("retail" or "firms"); pydantic's ValidationError where the file is wrong."""
    content: Any = YAML(typ="safe", pure=True).load(Path(__file__).with_name(f"{segment}.yaml"))
    return Behaviour.model_validate(content)
