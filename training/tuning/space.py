"""Where `sheaf tune` looks: the entries of a search space, read from YAML and checked before any trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sheaf.training.parameters import LIGHTGBM, ParameterError, Parameters, refused

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEFAULT = Path(__file__).with_name("space.yaml")
FIXED = {
    "seed": "another seed is luck, not a better model",
    "threads": "it changes the time, not the model",
    "holdout_share": "these clients decide between champion and challenger, and no trial may see them",
}
Value = str | int | float | bool | None


class Number(BaseModel):
    """A number from `low` to `high`, both included; with `log`, drawn evenly on a logarithmic scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["int", "float"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Number:
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, and {self.low:g} is not less than {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic scale starts above 0, and low is {self.low:g}")
        if self.type == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low and high of an int are whole numbers; {self.low:g} to {self.high:g} is type: float")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        return (int(self.low), int(self.high)) if self.type == "int" else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether the entry could propose the value."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (self.type == "float" or float(value).is_integer())

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.type == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


class CategoricalEntry(BaseModel):
    """One of `choices`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["categorical"]
    choices: tuple[Any, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _plain_and_once_each(self) -> CategoricalEntry:
        if not all(choice is None or isinstance(choice, str | int | float) for choice in self.choices):
            raise ValueError("a choice is a text, a number, true, false or null")
        if len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError("a choice is there twice")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.choices

    def holds(self, value: Any) -> bool:
        """Whether the entry could propose the value."""
        return value in self.choices

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)


Entry = Number | CategoricalEntry
TYPES: dict[str, type[Number] | type[CategoricalEntry]] = {
    "int": Number,
    "float": Number,
    "categorical": CategoricalEntry,
}


@dataclass(frozen=True)
class Space:
    """Entries by key: a field of `Parameters`, or one of LightGBM's own, such as `adoption.num_leaves`."""

    entries: Mapping[str, Entry]

    @classmethod
    def read(cls, path: Path = DEFAULT) -> Space:
        """The space in the YAML file at `path`. Raises ParameterError with everything that is wrong, by file and key.

        The ends of every entry are tried: on `Parameters`, and those of LightGBM on LightGBM itself.
        """
        try:
            content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ParameterError(f"{path}: there is no such file; give a YAML file") from error
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise ParameterError(f"{path}: cannot be read as YAML: {error}") from error
        if not isinstance(content, dict) or not content:
            raise ParameterError(f"{path}: the file: wanted are keys with entries, such as {_EXAMPLE}")
        entries: dict[str, Entry] = {}
        wrong: list[str] = []
        for key, told in content.items():
            try:
                entries[str(key)] = _entry(str(key), told)
            except ValueError as error:
                wrong += [f"{path}: {key}: {line}" for line in str(error).splitlines()]
        if wrong:
            raise ParameterError("\n".join(wrong))
        return cls(entries)

    def values(self, parameters: Parameters) -> dict[str, Any] | None:
        """What these parameters have for every key; None where the space does not hold one of them."""
        found = {key: present(parameters, key) for key in self.entries}
        return found if all(entry.holds(found[key]) for key, entry in self.entries.items()) else None

    def distributions(self) -> dict[str, BaseDistribution]:
        return {key: entry.distribution() for key, entry in self.entries.items()}


def present(parameters: Parameters, key: str) -> Any:
    """What the parameters have for a key of a space; None where it is LightGBM's and not given."""
    group, _, name = key.rpartition(".")
    return getattr(parameters, group).get(name) if group else getattr(parameters, name)


def replaced(parameters: Parameters, values: Mapping[str, Any]) -> Parameters:
    """The parameters with these values in place of their own; null leaves a parameter of LightGBM's out."""
    content = parameters.model_dump(exclude_unset=True)
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        if not group:
            content[name] = value
            continue
        content.setdefault(group, dict(getattr(parameters, group)))
        content[group].pop(name, None)
        if value is not None:
            content[group][name] = value
    return Parameters.model_validate(content)


_EXAMPLE = "`adoption.learning_rate: {type: float, low: 0.03, high: 0.3, log: true}`"


def _entry(key: str, told: Any) -> Entry:
    """Raises ValueError, a line for everything that is wrong."""
    group, _, name = key.rpartition(".")
    if not group and name in FIXED:
        raise ValueError(f"cannot be tuned: {FIXED[name]}")
    if group not in LIGHTGBM if group else name in LIGHTGBM or name not in Parameters.model_fields:
        fields = ", ".join(field for field in Parameters.model_fields if field not in {*FIXED, *LIGHTGBM})
        own = ", ".join(f"{field}.…" for field in LIGHTGBM)
        raise ValueError(f"no such parameter; wanted is one of {fields}, or one of LightGBM's own: {own}")
    kind = told.get("type") if isinstance(told, dict) else None
    if kind not in TYPES:
        raise ValueError(f"an entry says its type, one of {', '.join(TYPES)}, such as {_EXAMPLE}")
    try:
        entry: Entry = TYPES[str(kind)].model_validate(told)
    except ValidationError as error:
        raise ValueError("\n".join(_in_words(one) for one in error.errors())) from error
    if not group and Parameters.model_fields[name].annotation is int and entry.type == "float":
        raise ValueError("is a whole number; give type: int")
    for end in entry.ends:
        if message := _refused(group, name, end):
            raise ValueError(f"{end}: {message}")
    return entry


def _refused(group: str, name: str, value: Value) -> str | None:
    if group:
        return None if value is None else refused(group, name, value)
    try:
        Parameters.model_validate({name: value})
    except ValidationError as error:
        return "; ".join(of["msg"] for of in error.errors())
    return None


def _in_words(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
