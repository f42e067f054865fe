"""What the `Recommender` gives back: answers and profiles as callers read them, and what an answer was chosen from."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import TypeAdapter

from sheaf.catalog import Line
from sheaf.pricing import Client
from sheaf.pricing.client_value import Own
from sheaf.serving.schemas.plans import ALWAYS_SENT, Gate, Plan, UntoldFloat
from sheaf.strategy.plans.single_client import Approval
from sheaf.training.value_order import Aim


@dataclass(slots=True)
class Resting:
    """What is not offered until a moment, and why: a bundle, or anything at all where `bundle_id` is None. `until` is
    None for what was accepted, which rests until the tables are younger than that."""

    bundle_id: str | None
    until: dt.datetime | None
    why: str


@dataclass(slots=True)
class Part:
    """One product of an offered bundle; `probability` is of opening it within the horizon, None where it is held."""

    product_id: str
    name: str
    line: Line
    held: bool
    probability: float | None


@dataclass(slots=True)
class Priced:
    """A bundle's price, and what it is worth to the bank, money a year in `currency`.

    `concession` is what the client would save against list price, `acceptance` the probability with it, and `eva` what
    the bundle then brings, with what changes in products held. `value` is acceptance times EVA.
    """

    currency: str
    concession: float
    acceptance: float
    eva: float
    value: float


@dataclass(slots=True)
class Offer:
    """One bundle for the client. `probability` is that all products it brings are opened within the horizon.

    `worth` is None where the catalog has no price of it; in an order by value it has the score. `route` is how it is
    approved for the client at that concession, None where no plan of the client is laid out. An audit by a caller who
    is told less of other clients than who asked has no probability, score, worth and route.
    """

    rank: int
    bundle_id: str
    name: str
    line: Line
    probability: UntoldFloat
    score: UntoldFloat
    products: tuple[Part, ...]
    reasons: tuple[str, ...]
    why: str
    gates: tuple[Gate, ...]
    worth: Priced | None
    __pydantic_config__: ClassVar = ALWAYS_SENT
    route: Approval | None = None


@dataclass(slots=True)
class Answer:
    """The offers for a client, best first, and what they rest on; `decision_id` is None until it is logged.

    `resting` is what is left out by the contact policy, or accepted and not in the tables yet; `explored`: the order
    was drawn from the best, as policy has it.
    `plan` is how the client is served, None where no plan of it is laid out.
    """

    client_id: str | None
    offers: tuple[Offer, ...]
    horizon_days: int
    profile_day: str
    model_version: str
    catalog_version: str
    objective: Aim
    resting: tuple[Resting, ...]
    explored: bool
    decision_id: str | None
    __pydantic_config__: ClassVar = ALWAYS_SENT
    plan: Plan | None = None


ANSWER = TypeAdapter(Answer)
"""Writes an answer as JSON, and reads one."""


@dataclass(slots=True)
class Fact:
    """One column of a profile: what it means, and what it says in words; empty where it says nothing for an offer."""

    name: str
    meaning: str
    unit: str
    value: float | str | None
    says: str


@dataclass(slots=True)
class Portrait:
    """A client's profile as of a day: products held, and all that is known; `known_until` is the last day that each of
    the bank's tables tells of."""

    client_id: str
    profile_day: str
    known_until: dict[str, str]
    holds: tuple[str, ...]
    profile: tuple[Fact, ...]
    model_version: str


PORTRAIT = TypeAdapter(Portrait)
"""Writes a profile as JSON, and reads one."""


Pick = tuple[int, int, list[int]]
"""Of what is shown: its place among the pairs, the offer, and the products it brings."""


@dataclass(frozen=True, slots=True)
class Decided:
    """An answer with all that it was chosen from.

    `profile` is the client's row, float32 in the columns of the candidates. Every candidate is in `bundle_ids`,
    best first, with its score and probability, whatever `k` and the lines left of them; `forbidden` are those that may
    not be sold, or in an order by value have no price. `own` is what prices went by of the client's holdings,
    `drawn` the places of the best that an explored list shows, and `list_propensity` the chance with which it was
    shown.
    `plan` is the client's, as `sheaf.strategy.plans.snapshot.Plans` has it.
    """

    answer: Answer
    profile: np.ndarray
    bundle_ids: list[str]
    scores: list[float]
    probabilities: list[float]
    forbidden: list[str]
    own: Own | None
    drawn: tuple[int, ...] | None
    list_propensity: float
    plan: str | None = None
    untold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PricedBy:
    """What a quote goes by beside the catalog and what was asked: the client as it stands, those of its group, the day,
    the authority that is priced by, what the learned price response takes of it (without one, None, and the model's
    probability of the whole bundle is the `acceptance` at list price; None: the policy's share), its plan, the size of
    a group that is too large for a quote (`sheaf.features.client_positions.LARGEST_GROUP`; else 0), the caller's own
    authority (None: logged before it was), what that may grant at the catalog's terms (None: the quote's `limit`), what
    the quote's notes tell beside its prices, the gate of the bundle's kinds and conditions (None: logged before it
    was), and what of others (`features.Of`) the caller is not told, without which it was made."""

    client: Client
    group: tuple[Client, ...]
    as_of: dt.date
    authority: str | None
    inputs: list[float] | None
    acceptance: float | None = None
    plan: str | None = None
    group_left_out: int = 0
    caller_authority: str | None = None
    caller_limit: float | None = None
    notes: tuple[str, ...] = ()
    eligible: Gate | None = None
    untold: tuple[str, ...] = ()
