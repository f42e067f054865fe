"""A quote as a channel reads it: `pricing.Quote` with plain numbers, None where there is none."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import TypeAdapter

from sheaf.pricing import Quote
from sheaf.serving.schemas.plans import ALWAYS_SENT, Gate, Plan, UntoldFloat
from sheaf.strategy.plans.single_client import Approval


@dataclass(slots=True)
class Price:
    """One thing that a client pays for a product: what the contract says at list price and as offered, and that in
    money a year, to the cent. `benefit` is how the concession is put."""

    kind: str
    list_price: float
    price: float
    list_amount: float
    concession: float
    amount: float
    benefit: str | None


@dataclass(slots=True)
class Money:
    """A year, to the cent: price = list_price - concession = margin + fees; net_income = price - opex - expected_loss +
    return_on_capital - tax; eva = net_income - capital_charge."""

    list_price: float
    concession: float
    price: float
    margin: float
    fees: float
    opex: float
    expected_loss: float
    return_on_capital: float
    tax: float
    net_income: float
    capital: float
    capital_charge: float
    eva: float


@dataclass(slots=True)
class Component:
    """One product of the bundle that the client does not hold. Products had alone too are `alone`."""

    product_id: str
    name: str
    balance: float
    undrawn: float
    elements: tuple[Price, ...]
    amounts: Money
    raroc: float | None
    break_even_margin: float | None
    alone: bool
    cancellation: str


@dataclass(slots=True)
class Standing:
    """The relationship in one state of it, a year."""

    state: str
    contribution: float
    net_income: float
    capital: float
    eva: float
    raroc: float | None


@dataclass(slots=True)
class Curve:
    """Acceptance and expected EVA over the concession, money a year."""

    concession: tuple[float, ...]
    acceptance: tuple[float, ...]
    expected_eva: tuple[float, ...]


@dataclass(slots=True)
class Check:
    """A rule that applies, by its name: `kept`, `broken`, or `open` for a person to see to."""

    rule: str
    status: Literal["kept", "broken", "open"]
    text: str


AcceptanceBy = Literal["response", "model", "policy", "request"]
"""Whose the acceptance at list price is: the learned price response's, the model's, the policy's, or supposed."""


@dataclass(slots=True)
class Quoted:
    """A bundle priced for a client as one relationship; money a year in `currency`.

    `ideal` is the best concession whoever asks, `limit` what the one who asks may grant; what is `above` that `goes_to`
    another authority, None where nobody's reaches. `assumption`: acceptance goes by policy, not by the bank's offers.
    `what_if` says why the quote is not the caller's to offer: it supposes another authority than `caller_authority`,
    more than `caller_limit`, other terms than the catalog's, another rating or suitability profile, or the bundle fails
    one of the `gates` or breaks a rule; empty where it does not, None where it was logged before this was told. The
    gates are those that offers pass. `plan` is how the client is served and `route` how the bundle is approved; None
    where no plan of it is laid out. An audit by a caller who is told less of other clients than who asked has nothing
    of acceptance, nor what follows from it, plan and route.
    """

    quote_id: str | None
    client_id: str
    bundle_id: str
    name: str
    as_of: str
    currency: str
    lines: tuple[Component, ...]
    total: Money
    raroc: float | None
    hurdle: float
    meets_hurdle: bool
    remedy: str
    concession: float
    ideal: UntoldFloat
    authority: str
    limit: float
    above: UntoldFloat
    goes_to: str | None
    break_even: float
    acceptance_at_list: UntoldFloat
    acceptance: UntoldFloat
    expected_eva: UntoldFloat
    kept: float
    moved: float
    relationship: tuple[Standing, ...]
    group: Standing | None
    curve: Curve | None
    checks: tuple[Check, ...]
    assumption: bool
    notes: tuple[str, ...]
    catalog_version: str
    response_version: str | None
    __pydantic_config__: ClassVar = ALWAYS_SENT
    plan: Plan | None = None
    route: Approval | None = None
    what_if: tuple[str, ...] | None = None
    caller_authority: str | None = None
    caller_limit: float | None = None
    gates: tuple[Gate, ...] | None = None
    acceptance_by: AcceptanceBy | None = None

    def without_acceptance(self) -> None:
        """Leaves out what was worked out from columns that are not told to who reads it."""
        self.ideal = self.above = self.acceptance_at_list = self.acceptance = self.expected_eva = math.nan
        self.goes_to = self.curve = self.plan = self.route = None

    def hide(self, hidden: Callable[[str], bool]) -> None:
        """Leaves out what gates, notes and `what_if` say of hidden columns, which tell of others."""

        def names(text: str) -> bool:
            return any(map(hidden, re.findall(r"\w+", text)))

        if any(names(gate.why) for gate in self.gates or ()):
            self.gates = None
            self.notes = tuple(one for one in self.notes if not names(one))
            self.what_if = tuple(one for one in self.what_if or () if not names(one))


QUOTED = TypeAdapter(Quoted)
"""Writes a quote as JSON, and reads one."""


def plain(quote: Quote, catalog_version: str, response_version: str | None) -> Quoted:
    """The quote in plain numbers."""
    told = _plain(quote)
    bundle = told.pop("bundle")
    told |= {"quote_id": None, "bundle_id": bundle["bundle_id"], "name": bundle["name"]}
    told |= {"catalog_version": catalog_version, "response_version": response_version}
    return QUOTED.validate_python(told)


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    if isinstance(value, tuple | list):
        return tuple(_plain(one) for one in value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return str(value) if isinstance(value, dt.date) else value
