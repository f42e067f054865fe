"""What a rule asks of a column, and rules in their order: the first that a client meets decides.

A condition is compiled to SQL for any number of clients, and looked at value by value where one client's outcome is
explained. A value that is not known meets no condition.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from sheaf.catalog.schema import Id, Model, Name, Number

Value = float | str | None
T = TypeVar("T")
Sign = Literal[">=", "<=", ">", "<", "="]

_BOUND = re.compile(r"(>=|<=|>|<|=)\s*(-?(?:\d[\d_]*)(?:\.\d+)?)")
_COMPARED = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq
}  # fmt: skip
_HOW = (
    'write ">= 1000", or ">= 1000 and < 5000", for a number, true or false for a flag, and [a, b] for the texts allowed'
)


class Bound(Model):
    """A comparison with a number."""

    sign: Sign
    number: Number

    def holds(self, value: float) -> bool:
        return bool(_COMPARED[self.sign](value, self.number))

    def __str__(self) -> str:
        return f"{self.sign} {exact(self.number)}"


class Condition(Model):
    """Bounds that a number keeps all of, or the texts of which a category is one. True and false stand for 1 and 0."""

    bounds: tuple[Bound, ...] = ()
    texts: tuple[Name, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _read(cls, written: Any) -> Any:
        if isinstance(written, bool):
            return {"bounds": [{"sign": "=", "number": float(written)}]}
        if isinstance(written, str):
            found = [_BOUND.fullmatch(part.strip()) for part in written.split(" and ")]
            if not all(found):
                raise ValueError(f"the text '{written}' is not a condition; {_HOW}")
            return {"bounds": [{"sign": one[1], "number": float(one[2])} for one in found if one]}
        if isinstance(written, list) and written and all(isinstance(one, str) for one in written):
            return {"texts": written}
        if isinstance(written, dict) and written.keys() <= {"bounds", "texts"}:  # as it was dumped
            return written
        raise ValueError(f"is not a condition; {_HOW}")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.bounds) == bool(self.texts):
            raise ValueError(f"is not a condition; {_HOW}")
        lows = [(one.number, one.sign == ">") for one in self.bounds if one.sign in (">", ">=", "=")]
        highs = [(one.number, one.sign != "<") for one in self.bounds if one.sign in ("<", "<=", "=")]
        if lows and highs:
            (low, open_low), (high, closed_high) = max(lows), min(highs)
            if low > high or (low == high and (open_low or not closed_high)):
                raise ValueError(f"no number is {self}; correct one of the two")
        return self

    def holds(self, value: Value) -> bool:
        """Whether a value meets it."""
        if value is None or value != value:
            return False
        if self.texts:
            return value in self.texts
        return all(bound.holds(float(value)) for bound in self.bounds)

    def sql(self, column: str) -> str:
        """The condition on a column as SQL; it is null, which is not true, where the column is."""
        if self.texts:
            return f"{quoted(column)} in ({', '.join(map(literal, self.texts))})"
        number = f"cast({quoted(column)} as double)"
        return " and ".join(f"{number} {bound.sign} {literal(bound.number)}" for bound in self.bounds)

    def unmet(self, value: Value) -> str:
        """What of it a value lacks, in words."""
        if self.texts or value is None:
            return str(self)
        return " and ".join(str(bound) for bound in self.bounds if not bound.holds(float(value)))

    def gap(self, value: Value) -> float:
        """How far a number is from meeting it, as a share of what is needed; 1 for what is no number."""
        if self.texts or value is None:
            return 1.0
        missing = [bound.number for bound in self.bounds if not bound.holds(float(value))]
        now = float(value)
        return max((abs(number - now) / max(abs(number), abs(now), 1e-9) for number in missing), default=0.0)

    def __str__(self) -> str:
        if self.texts:
            return "one of " + ", ".join(self.texts) if len(self.texts) > 1 else self.texts[0]
        return " and ".join(map(str, self.bounds))


When = Annotated[dict[Id, Condition], Field(default_factory=dict)]
"""Conditions by column, all of which have to be met."""


class Rule(Model, Generic[T]):
    """The outcome `then` for clients who meet every condition of `when`; without conditions, for everybody."""

    name: Name
    when: When
    then: T

    def unmet(self, values: Mapping[str, Any]) -> dict[str, Condition]:
        """The conditions that a client of those values does not meet, by column."""
        return {column: one for column, one in self.when.items() if not one.holds(values.get(column))}

    @property
    def sql(self) -> str:
        return " and ".join(condition.sql(column) for column, condition in self.when.items()) or "true"


def first(rules: Sequence[str]) -> str:
    """The place of the first of these SQL conditions that is true; null where none is."""
    return f"case {' '.join(f'when {rule} then {at}' for at, rule in enumerate(rules))} end"


def quoted(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value as SQL."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value!r}::double"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(literal, value))}]"
    return "'" + str(value).replace("'", "''") + "'"


def exact(number: float) -> str:
    """A threshold as a person reads it, with all of its digits."""
    return f"{number:,.12g}"


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value != value:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value))
    return str(value).replace("_", " ")
