"""What a profile's column is: its statement, from which the dictionary, the encoding and the reasons follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FeatureType(StrEnum):
    """NUMBER: a double. FLAG: a double, 1 yes, 0 no. CATEGORY: a text."""

    NUMBER = "number"
    CATEGORY = "category"
    FLAG = "flag"


class Of(StrEnum):
    """Whose rows a column follows from beside the client's own, and so who is told of it.

    CLIENT: nobody's. BANK: everybody's together, as a place among all or a share of the whole; whoever sees the client
    is told. GROUP: those of the client's group; who sees all of it is told. LINKED: those of clients tied to it by
    links; who sees every client is told.
    """

    CLIENT = "client"
    BANK = "bank"
    GROUP = "group"
    LINKED = "linked"


@dataclass(frozen=True)
class Feature:
    """The statement of one profile column.

    `reason` is the sentence that tells a person why it speaks for an offer, with `{value}` for the client's own
    value; it is true of values that are neither null nor 0. Empty where the column is never given as a reason.
    `missing` is the value of a client of whom the group's tables have no rows; None leaves it null. `of` says whose
    rows it follows from.
    """

    name: str
    type: FeatureType
    unit: str
    meaning: str
    reason: str = ""
    missing: float | None = None
    of: Of = Of.CLIENT


OF_EARLIER = {
    "group_": Of.GROUP,
    **dict.fromkeys(("linked_held__", "linked_opened__", "employer_held__", "staff_held__"), Of.LINKED),
}
"""By how their names begin, whose rows columns follow from that were stated before `Feature.of` was."""


def of_earlier(name: str) -> Of:
    """Whose rows a column follows from that does not say so itself."""
    return next((of for begins, of in OF_EARLIER.items() if name.startswith(begins)), Of.CLIENT)


def number(name: str, unit: str, meaning: str, reason: str = "", missing: float | None = None) -> Feature:
    return Feature(name, FeatureType.NUMBER, unit, meaning, reason, missing)


def count(name: str, unit: str, meaning: str, reason: str = "") -> Feature:
    """A number that is 0 for a client without rows."""
    return number(name, unit, meaning, reason, 0.0)


def flag(name: str, meaning: str, reason: str = "", missing: float | None = 0.0) -> Feature:
    return Feature(name, FeatureType.FLAG, "", meaning, reason, missing)


def category(name: str, meaning: str, reason: str = "") -> Feature:
    return Feature(name, FeatureType.CATEGORY, "", meaning, reason)
