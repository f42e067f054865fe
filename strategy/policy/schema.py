"""The strategy policy: who a client is, how it is served and who approves what, as frozen typed models.

A model checks what can be said of it alone; `sheaf.strategy.policy.validation` says what must be true between its
parts, the catalog and the columns of profiles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from sheaf.catalog import Line
from sheaf.catalog.schema import Count, Days, Id, Model, Name, NotNegative, Number, Share, Text
from sheaf.strategy.policy.conditions import Rule, When
from sheaf.strategy.policy.managers import CallDay, Card

DEFAULT = Path(__file__).parents[1] / "default.yaml"
"""The policy that comes with the project."""

POTENTIAL = "potential"
"""The column that offers by value add to profiles: what the best of a client is worth a year, acceptance times EVA."""

INDUSTRIES = ("favoured", "neutral", "restricted")
PAPERS = ("full", "simplified")

Level = Annotated[int, Strict(), Field(ge=1, le=9)]
Many = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]
Type = Literal["corporate", "institution", "individual"]
Business = Literal["loan_client", "settlement_only"]
Membership = Literal["member", "single"]
Agency = Literal["payer", "payee", "none"]
Marketed = Literal["head_office", "branch", "both"]
Tie = Literal["staff", "employer", "owner", "owned", "group", "supplier", "buyer", "guarantor", "guaranteed"]
"""What another client is to this one: those that `links` states, each from either side."""


class Industries(Model):
    """The bank's sectors by preference; a client without a sector counts as neutral."""

    favoured: tuple[Name, ...] = ()
    neutral: tuple[Name, ...] = ()
    restricted: tuple[Name, ...] = ()

    @property
    def sectors(self) -> list[str]:
        return [*self.favoured, *self.neutral, *self.restricted]


class Facts(Model):
    """Who the client is: four lists of rules; in each, the first rule that a client meets decides.

    `agency`: pays others, or is paid, through an agency service such as payroll or collection.
    """

    type: tuple[Rule[Type], ...]
    business: tuple[Rule[Business], ...]
    membership: tuple[Rule[Membership], ...]
    agency: tuple[Rule[Agency], ...]


class Step(Model):
    """A tier of a scale: from `at_least` to `below`, in units of the figure.

    A client that was in a neighbouring tier must pass `at_least` by the `margin`.
    """

    tier: Name
    at_least: Number | None = None
    below: Number | None = None
    margin: NotNegative = 0.0


class Scale(Model):
    """Steps from the best tier down, for clients who meet `when`.

    The `figure` is a weighted sum of columns; a column that is not known counts as 0.
    """

    name: Name
    when: When
    figure: Annotated[dict[Id, Share], Field(min_length=1)]
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @property
    def rule(self) -> Rule[str]:
        return Rule[str](name=self.name, when=self.when, then=self.name)


class Tiers(Model):
    """The tiers from the best down, and the scales that assign them; the first scale whose `when` is met applies."""

    order: Annotated[tuple[Name, ...], Field(min_length=1)]
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)]


class Channels(Model):
    """The known channels, and the order in which a client is contacted over them."""

    known: Annotated[tuple[Name, ...], Field(min_length=1)]
    rules: tuple[Rule[Annotated[tuple[Name, ...], Field(min_length=1)]], ...]


class ManagerGrade(Model):
    """A grade of managers: the number of `clients` of one manager, or of a `team` of that size together."""

    clients: Many
    team: Many = 1


class Managers(Model):
    """Grades of managers, and rules for the grade that a client gets."""

    grades: Annotated[dict[Name, ManagerGrade], Field(min_length=1)]
    rules: tuple[Rule[Name], ...]


class Visit(Model):
    """A visit every `days` days (none if left out), and its purpose."""

    days: Days | None = None
    purpose: Text


class Service(Model):
    """How a client is served."""

    channels: Channels
    key_client_centre: tuple[Rule[Flag], ...]
    green_channel: tuple[Rule[Flag], ...]
    managers: Managers
    visits: tuple[Rule[Visit], ...]


class Route(Model):
    """How a bundle is approved.

    `priority` 1 is processed first; `signs` is one of the catalog's authorities, alone or in committee; `days` is how
    long it takes.
    """

    priority: Level
    papers: Literal["full", "simplified"]
    signs: Name
    signature: Literal["single", "committee"]
    days: Count


class SubAuthority(Model):
    """Lets the lower authority `signs` approve alone, if the bundle brings no credit except of `products`."""

    name: Name
    products: Annotated[tuple[Id, ...], Field(min_length=1)]
    when: When
    signs: Name

    @property
    def rule(self) -> Rule[str]:
        return Rule[str](name=self.name, when=self.when, then=self.signs)


class Routes(Model):
    """Approval routes of a client and bundle; `committees` are the authorities that can sign as a committee."""

    committees: tuple[Name, ...] = ()
    rules: tuple[Rule[Route], ...]
    sub_authorities: tuple[SubAuthority, ...] = ()


class Linked(Model):
    """Adds `desk` if the client has linked clients of `relation`, meets `when`, and receives one of `products`.

    If `products` is left out, any product counts.
    """

    name: Name
    relation: Tie
    products: tuple[Id, ...] = ()
    when: When
    desk: Name

    @property
    def rule(self) -> Rule[str]:
        return Rule[str](name=self.name, when=self.when, then=self.desk)


class Split(Model):
    """The shares of a product's value: of the leading desk, of the desk of its line, and of the linked desks together.

    A share without a desk goes to the others in proportion.
    """

    lead: NotNegative
    line: NotNegative
    linked: NotNegative


class Linkage(Model):
    """Which desks sell a bundle together, which one leads, and what each gains."""

    desks: Annotated[tuple[Name, ...], Field(min_length=1)]
    lines: dict[Line, Name]
    linked: tuple[Linked, ...] = ()
    leads: tuple[Rule[Name], ...]
    split: Split


class Entry(Model):
    """What follows for a client: the `action`, within how many `days`, for which `purpose`; for a repair, the `lever`.

    The action `none` keeps the client off the list.
    """

    action: Name
    lever: Literal["price", "product", "security"] | None = None
    days: Days | None = None
    purpose: Text = ""


class Win(Model):
    """Firms to win: similar, by `columns` of the nearest `neighbours`, to clients of the tiers `like`."""

    like: Annotated[tuple[Name, ...], Field(min_length=1)]
    columns: Annotated[tuple[Id, ...], Field(min_length=1)]
    neighbours: Many = 15
    rules: tuple[Rule[Entry], ...]


class Repair(Model):
    """Clients below the hurdle: repaired first; the relationship may end only after a repair was due."""

    rules: tuple[Rule[Entry], ...]


class Leaving(Model):
    """Clients about to leave; the `stake` is a weighted sum of columns, as the figure of a scale."""

    stake: Annotated[dict[Id, Share], Field(min_length=1)]
    rules: tuple[Rule[Entry], ...]


class Lists(Model):
    """Lists of clients to win, to repair, and to keep."""

    win: Win
    repair: Repair
    leaving: Leaving


@dataclass(frozen=True)
class Stage:
    """A list of rules with the keys that lead to it, the columns that its outcome makes, and what each looks like."""

    name: str
    at: tuple[str, ...]
    rules: Sequence[Rule[Any]]
    columns: Mapping[str, tuple[str, Callable[[Any], Any]]]


class Strategy(Model):
    """The whole policy. Later parts may use the outcomes of earlier parts, as columns of the same names."""

    name: Name
    industries: Industries
    client: Facts
    tiers: Tiers
    priority: tuple[Rule[Level], ...]
    service: Service
    level: tuple[Rule[Marketed], ...]
    routes: Routes
    linkage: Linkage
    lists: Lists | None = None
    book: CallDay | None = None
    scorecard: Card | None = None

    @cached_property
    def facts(self) -> list[Stage]:
        """What is known before the tier, in order."""
        return [_one(name, ("client", name), getattr(self.client, name)) for name in Facts.model_fields]

    @cached_property
    def following(self) -> list[Stage]:
        """What follows from the tier, in order."""
        service, grades = self.service, self.service.managers.grades

        def load(grade: str) -> float | None:
            return grades[grade].team / grades[grade].clients if grade in grades else None

        return [
            _one("priority", ("priority",), self.priority, "integer"),
            _one("channels", ("service", "channels", "rules"), service.channels.rules, "varchar[]"),
            _one("key_client_centre", ("service", "key_client_centre"), service.key_client_centre, "boolean"),
            _one("green_channel", ("service", "green_channel"), service.green_channel, "boolean"),
            Stage("manager", ("service", "managers", "rules"), service.managers.rules,
                  {"manager": ("varchar", _same), "manager_load": ("double", load)}),
            Stage("visit", ("service", "visits"), service.visits,
                  {"visit_days": ("integer", lambda visit: visit.days),
                   "visit_purpose": ("varchar", lambda visit: visit.purpose)}),
            _one("level", ("level",), self.level),
        ]  # fmt: skip

    @property
    def of_plans(self) -> set[str]:
        """The columns that a plan has of its own: outcomes, and the names of the rules behind them."""
        return {*OUTCOMES, *(f"{stage.name}_rule" for stage in (*self.facts, *self.following))}

    @cached_property
    def version(self) -> str:
        """12 hexadecimal digits of the content's SHA-256: the same however the YAML is formatted."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @cached_property
    def asks_of_clients(self) -> set[str]:
        """The columns that plans look at, outcomes of the policy's own parts too."""
        rules = [rule for stage in (*self.facts, *self.following) for rule in stage.rules]
        scales = self.tiers.scales
        asked = {column for rule in rules for column in rule.when} | {column for one in scales for column in one.when}
        return asked | {column for scale in scales for column in scale.figure} | {"sector"}

    @cached_property
    def asks_of_pairs(self) -> set[str]:
        """The columns that routes look at."""
        rules: list[Rule[Any]] = [*self.routes.rules, *(one.rule for one in self.routes.sub_authorities)]
        return {column for rule in rules for column in rule.when}

    @cached_property
    def asks_of_rooms(self) -> set[str]:
        """The columns that linkage looks at, besides those that count linked clients."""
        rules: list[Rule[Any]] = [*self.linkage.leads, *(one.rule for one in self.linkage.linked)]
        return {column for rule in rules for column in rule.when}


def _same(then: Any) -> Any:
    return then


def _one(name: str, at: tuple[str, ...], rules: Sequence[Rule[Any]], kind: str = "varchar") -> Stage:
    return Stage(name, at, rules, {name: (kind, _same)})


NONE = "none"  # the action of who is on no list
OF_TIER = ("scale", "figure", "tier")
OUTCOMES = ("industry", *Facts.model_fields, *OF_TIER, "priority", "channels", "key_client_centre", "green_channel",
            "manager", "manager_load", "visit_days", "visit_purpose", "level", "next_visit")  # fmt: skip
"""The columns that a plan adds to a profile. One of the same name in profiles (`tier`, by the catalog's shares of
contribution) cannot be asked for by rules."""
