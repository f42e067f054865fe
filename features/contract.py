"""The tables a bank hands over: names, columns, types and keys, stated once.

Everything that reads a bank (opening its files, checking them, building profiles) goes by `TABLES`;
column names are spelled here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf, nextafter

from sheaf.catalog import Kind


class Columns:
    """The contract's column names."""

    CLIENT = "client_id"
    PRODUCT = "product_id"
    KIND = "kind"
    JOINED_ON = "joined_on"
    LEFT_ON = "left_on"
    VALID_FROM = "valid_from"
    MANAGER = "manager_id"
    BRANCH = "branch_id"
    GROUP = "group_id"
    SECTOR = "sector"
    RATING = "rating"
    OPENED_ON = "opened_on"
    CLOSED_ON = "closed_on"
    MONTH = "month"
    BALANCE = "balance"
    RATE = "rate"
    FEES = "fees"
    LIMIT = "limit"
    BOOKED_AT = "booked_at"
    AMOUNT = "amount"
    CURRENCY = "currency"
    CHANNEL = "channel"
    COUNTERPARTY = "counterparty_id"
    LINKED = "linked_id"
    RELATION = "relation"
    SINCE = "since"
    UNTIL = "until"
    OFFER = "offer_id"
    BUNDLE = "bundle_id"
    OFFERED_AT = "offered_at"
    LIST_PROPENSITY = "list_propensity"
    PRICE_PROPENSITY = "price_propensity"
    CONCESSION = "concession"
    OUTCOME = "outcome"
    RESPONDED_AT = "responded_at"
    AS_OF = "as_of"


C = Columns
BELOW_ONE = nextafter(1.0, 0.0)  # a rate of 1 is one percent, written as a percentage


class Relation(StrEnum):
    """What ties two clients together; the row reads "client's <relation> is linked"."""

    GROUP = "group"
    EMPLOYER = "employer"
    OWNER = "owner"
    GUARANTOR = "guarantor"
    SUPPLIER = "supplier"


class Answered(StrEnum):
    """What became of an offer that was answered, or that nobody will answer any more."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IGNORED = "ignored"


class Type(StrEnum):
    """What a column holds. Days may be dates, timestamps or ISO texts; ids and texts may be stored as integers."""

    ID = "id"
    TEXT = "text"
    DAY = "day"
    NUMBER = "number"


@dataclass(frozen=True)
class Column:
    """One column of a table; `values` are the only texts allowed, in any case and with blanks around them (empty: any
    text), `between` bounds its numbers."""

    name: str
    type: Type
    required: bool = False
    values: tuple[str, ...] = ()
    between: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    `dated` is the column whose day decides whether a row is known yet; `ends` are the columns of later
    events inside a row, which read as null until their day (`told_at_end`: what is only known once that event happened)
    and may not lie before `begins`. Those that are `planned` may lie ahead.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    required: bool = False
    dated: str | None = None
    begins: str | None = None
    ends: tuple[str, ...] = ()
    told_at_end: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    open_ended: bool = False  # further columns are allowed and mean something (attributes)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def _id(name: str, required: bool = True) -> Column:
    return Column(name, Type.ID, required)


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "clients",
            (
                _id(C.CLIENT),
                Column(C.KIND, Type.TEXT, True, tuple(Kind)),
                Column(C.JOINED_ON, Type.DAY, True),
                Column(C.LEFT_ON, Type.DAY),
                Column(C.VALID_FROM, Type.DAY),
                _id(C.MANAGER, False),
                _id(C.BRANCH, False),
                _id(C.GROUP, False),
                Column(C.SECTOR, Type.TEXT),
                Column(C.RATING, Type.TEXT),
            ),
            key=(C.CLIENT, C.VALID_FROM),
            required=True,
            dated=C.VALID_FROM,
            begins=C.JOINED_ON,
            ends=(C.LEFT_ON,),
            open_ended=True,
        ),
        Table(
            "holdings",
            (
                _id(C.CLIENT),
                _id(C.PRODUCT),
                Column(C.OPENED_ON, Type.DAY, True),
                Column(C.CLOSED_ON, Type.DAY),
            ),
            key=(C.CLIENT, C.PRODUCT, C.OPENED_ON),
            required=True,
            dated=C.OPENED_ON,
            begins=C.OPENED_ON,
            ends=(C.CLOSED_ON,),
            planned=(C.CLOSED_ON,),
        ),
        Table(
            "positions",
            (
                _id(C.CLIENT),
                _id(C.PRODUCT),
                Column(C.MONTH, Type.DAY, True),
                Column(C.BALANCE, Type.NUMBER, between=(0, inf)),
                Column(C.RATE, Type.NUMBER, between=(-0.5, BELOW_ONE)),
                Column(C.FEES, Type.NUMBER),
                Column(C.LIMIT, Type.NUMBER, between=(0, inf)),
                Column(C.CURRENCY, Type.TEXT),
            ),
            key=(C.CLIENT, C.PRODUCT, C.MONTH),
            dated=C.MONTH,
        ),
        Table(
            "transactions",
            (
                _id(C.CLIENT),
                Column(C.BOOKED_AT, Type.DAY, True),
                Column(C.AMOUNT, Type.NUMBER, True),
                Column(C.CURRENCY, Type.TEXT),
                Column(C.KIND, Type.TEXT),
                Column(C.CHANNEL, Type.TEXT),
                _id(C.COUNTERPARTY, False),
            ),
            key=(),
            dated=C.BOOKED_AT,
        ),
        Table(
            "links",
            (
                _id(C.CLIENT),
                _id(C.LINKED),
                Column(C.RELATION, Type.TEXT, True, tuple(Relation)),
                Column(C.SINCE, Type.DAY),
                Column(C.UNTIL, Type.DAY),
            ),
            key=(C.CLIENT, C.LINKED, C.RELATION, C.SINCE),
            dated=C.SINCE,
            begins=C.SINCE,
            ends=(C.UNTIL,),
            planned=(C.UNTIL,),
        ),
        Table(
            "offers",
            (
                _id(C.OFFER),
                _id(C.CLIENT),
                _id(C.BUNDLE),
                Column(C.OFFERED_AT, Type.DAY, True),
                Column(C.CHANNEL, Type.TEXT),
                Column(C.LIST_PROPENSITY, Type.NUMBER, between=(0, 1)),
                Column(C.PRICE_PROPENSITY, Type.NUMBER, between=(0, 1)),
                Column(C.CONCESSION, Type.NUMBER, between=(0, inf)),
                Column(C.OUTCOME, Type.TEXT, values=tuple(Answered)),
                Column(C.RESPONDED_AT, Type.DAY),
            ),
            key=(C.OFFER,),
            dated=C.OFFERED_AT,
            begins=C.OFFERED_AT,
            ends=(C.RESPONDED_AT,),
            told_at_end=(C.OUTCOME,),
        ),
        Table(
            "cohorts",
            (_id(C.CLIENT), Column(C.AS_OF, Type.DAY, True)),
            key=(C.CLIENT, C.AS_OF),
        ),
    )
}
