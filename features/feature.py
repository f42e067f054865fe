"""What a profile's column is: its statement, from which the dictionary, the encoding and the reasons follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FeatureType(StrEnum):
    """NUMBER: a double. FLAG: a double, 1 yes, 0 no. CATEGORY: a text."""

    NUMBER = "number"
    CATEGORY = "category"
    FLAG = "flag"


@dataclass(frozen=True)
class Feature:
    """The statement of one profile column.

    `reason` is the sentence that tells a person why it speaks for an offer, with `{value}` for the client's own
    value; it is true of values that are neither null nor 0. Empty where the column is never given as a reason.
    `missing` is the value of a client of whom the group's tables have no rows; None leaves it null.
    """

    name: str
    type: FeatureType
    unit: str
    meaning: str
    reason: str = ""
    missing: float | None = None


def number(name: str, unit: str, meaning: str, reason: str = "", missing: float | None = None) -> Feature:
    return Feature(name, FeatureType.NUMBER, unit, meaning, reason, missing)


def count(name: str, unit: str, meaning: str, reason: str = "") -> Feature:
    """A number that is 0 for a client without rows."""
    return number(name, unit, meaning, reason, 0.0)


def flag(name: str, meaning: str, reason: str = "", missing: float | None = 0.0) -> Feature:
    return Feature(name, FeatureType.FLAG, "", meaning, reason, missing)


def category(name: str, meaning: str, reason: str = "") -> Feature:
    return Feature(name, FeatureType.CATEGORY, "", meaning, reason)
