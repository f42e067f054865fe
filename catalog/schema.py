"""What a catalog is: products, the bundles that join them, and the bank's policy, as frozen typed models.

A model checks what can be said of it alone; `sheaf.catalog.validation` says what must be true between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
    model_validator,
)

from sheaf.catalog.spelling import spelled_as


class Line(StrEnum):
    """Business line of a product; `intermediary` is fee business: payments, custody, guarantees, insurance."""

    CORPORATE = "corporate"
    RETAIL = "retail"
    INTERMEDIARY = "intermediary"
    INTERNATIONAL = "international"


class Kind(StrEnum):
    """Kind of client."""

    RETAIL = "retail"
    CORPORATE = "corporate"
    INSTITUTION = "institution"


def _kinds(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    return tuple(kind for kind in Kind if kind in kinds)


def _texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


def _shape(value: Any) -> str | None:
    if isinstance(value, Mapping | Range):
        return "range"
    return "texts" if isinstance(value, list | tuple) else None


def within(low: float, high: float, remedy: str, open_low: bool = False) -> Callable[[float], float]:
    """A check that low <= value < high (low < value where `open_low`); its message names value and bounds."""

    def check(value: float) -> float:
        if not (low < value if open_low else low <= value) or value >= high:
            said = "above" if open_low else "from"
            raise ValueError(f"{value:g} is not {said} {low:g} and below {high:g}; {remedy}")
        return value

    return check


PERCENT = "write a fraction, 0.05 for five percent"

# Strict, so that the text "0.02" or the word yes in a number's place is an error and not a guess.
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Rate = Annotated[Number, AfterValidator(within(-0.5, 1.0, PERCENT))]
NotNegative = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0)]
Share = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, le=1)]
Count = Annotated[int, Strict(), Field(ge=0)]
AtLeastOne = Annotated[int, Strict(), Field(ge=1, le=100_000)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Id = Annotated[str, StringConstraints(pattern=r"^\S+$")]
Kinds = Annotated[tuple[Kind, ...], Field(min_length=1), AfterValidator(_kinds)]  # a set: order does not matter
Names = Annotated[tuple[Name, ...], AfterValidator(_texts)]  # likewise


class Model(BaseModel):
    """Frozen, and without room for a field that is only a slip of the pen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(Model):
    """The numbers from `min` to `max`, both included; None leaves that side open."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("has neither min nor max; give at least one, or remove the condition")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}, so nobody fits; swap them")
        return self


Condition = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Names, Field(min_length=1), Tag("texts")],
    Discriminator(
        _shape,
        custom_error_type="condition",
        custom_error_message="is not a condition; write {min: .., max: ..} for a number or [a, b] for texts",
    ),
]


class Product(Model):
    """One thing that a client can hold.

    - `where`: conditions on the client's attributes or profile columns: a `Range` for numbers, otherwise the texts that
      are allowed. A value that is not known excludes nobody.
    - `alone`: is sold, and offered, without any other product.
    - `margin`: margin a year, a fraction of the balance; used where a position has no rate.
    - `annual_fee`: fees a year, in the reporting currency; used where positions have none.
    - `balance`: typical balance, in the reporting currency; used where the bank provides no positions.
    - `attributes`: properties as numbers, so that a product without holders is ranked by products like it.
    - `why`: one sentence, the need that it serves.
    """

    product_id: Id
    name: Name
    line: Line
    family: Name
    kinds: Kinds = tuple(Kind)
    where: dict[Id, Condition] = {}
    alone: Flag = True
    side: Literal["asset", "deposit", "service"] = "service"
    margin: Rate = 0.0
    annual_fee: Number = 0.0
    balance: NotNegative = 0.0
    attributes: dict[Id, Number] = {}
    why: Text = ""

    @property
    def yearly_worth(self) -> float:
        """What one brings a year where nothing of its own is known, before cost, risk and capital."""
        return self.margin * self.balance + self.annual_fee


class Bundle(Model):
    """One or more products offered together, the lead product first; `where` as for a product."""

    bundle_id: Id
    name: Name
    products: Annotated[tuple[Id, ...], Field(min_length=1)]
    line: Line
    kinds: Kinds
    where: dict[Id, Condition] = {}
    why: Text = ""


class Tier(Model):
    """Clients up to `cumulative_share` of the bank's contribution, counted from the client with the highest."""

    name: Name
    cumulative_share: Share


def _reaching_everyone(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    shares = [tier.cumulative_share for tier in tiers]
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise ValueError(
            f"the cumulative shares {', '.join(f'{share:g}' for share in shares)} do not increase; "
            "list the tiers from the best to the broadest"
        )
    if not shares or shares[-1] != 1:
        raise ValueError("the last cumulative share is not 1.0; end with the tier that takes everyone else")
    if len({tier.name for tier in tiers}) < len(tiers):
        raise ValueError("two tiers have the same name; rename one")
    return tiers


class Performance(Model):
    """Segments of firms by (inflow - outflow) / inflow over twelve months.

    `prosperous` at or above the first number, `loss_making` below the second, `general` between.
    """

    prosperous: Number = 0.10
    loss_making: Number = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.loss_making > self.prosperous:
            raise ValueError(
                f"loss_making {self.loss_making:g} is above prosperous {self.prosperous:g}; "
                "a firm is loss-making below the one and prosperous from the other on: swap them"
            )
        return self


class Closeness(Model):
    """A client is `core` with at least this many months, products held and lines they span; else `ordinary`."""

    tenure_months: NotNegative = 24
    products: Count = 3
    lines: Count = 2


class Exploration(Model):
    """How far answers over channels depart from the best order, so that other orders can be evaluated later.

    A `share` of the answers shows offers drawn from the `depth` best, every list with the same probability.
    """

    share: Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, le=0.5)]
    depth: Annotated[int, Strict(), Field(ge=2, le=20)] = 8


Days = Annotated[int, Strict(), Field(ge=1, le=366)]


class ContactLimit(Model):
    """At most `most` contacts with a client in `days` days, over a `channel`, or over all if none is named."""

    channel: Name | None = None
    days: Days
    most: AtLeastOne


class Rest(Model):
    """A bundle that was shown to a client `times` times within `days` days rests for `days` days after the last."""

    times: AtLeastOne
    days: Days


class Contact(Model):
    """The contact policy. `rest_after_rejection`: days for which a rejected bundle is not offered again."""

    limits: tuple[ContactLimit, ...] = ()
    rest_after_rejection: Annotated[int, Strict(), Field(ge=0, le=366)] = 0
    rest_after_shown: Rest | None = None


class Policy(Model):
    """The bank's own choices.

    - `protected`: attributes that reach no model and no condition.
    - `transfer_rate`: funds-transfer rate of products without a price sheet, a fraction a year.
    - `transaction_kinds`: the kinds of bookings, in the bank's own words, that profiles count one by one.
    """

    # Age is not among these: whether a client is of age decides what may be sold. A bank that must keep it out adds it.
    protected: Names = (
        "birth_country", "disability", "ethnicity", "gender", "marital_status", "nationality", "race", "religion",
        "sex",
    )  # fmt: skip
    transfer_rate: Rate = 0.025
    transaction_kinds: Names = ()
    tiers: Annotated[tuple[Tier, ...], AfterValidator(_reaching_everyone)] = (
        Tier(name="key", cumulative_share=0.5),
        Tier(name="core", cumulative_share=0.8),
        Tier(name="standard", cumulative_share=0.95),
        Tier(name="basic", cumulative_share=1.0),
    )
    performance: Performance = Performance()
    closeness: Closeness = Closeness()
    exploration: Exploration | None = None
    contact: Contact | None = None

    def protects(self, name: str) -> bool:
        """Whether the attribute is protected, in whatever spelling."""
        return spelled_as(name, self.protected) is not None
