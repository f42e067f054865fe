"""What pydantic found, in words a product manager can act on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sheaf.catalog.schema import Range
from sheaf.catalog.validation import Where, did_you_mean

WANTED = {
    "string_type": "a text; if it is one, write it in quotes",
    "string_unicode": "a text that can be printed; write it without escapes",
    "float_type": "a number; write it without quotes or units, with a point for decimals",
    "int_type": "a whole number; write it without quotes or units",
    "bool_type": "true or false",
    "tuple_type": "a list; write [a, b]",
    "dict_type": "a mapping; write its fields below it, indented",
    "model_type": "a mapping; write its fields below it, indented",
    "finite_number": "a finite number; give its value",
}

LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def wanted(condition: Range | tuple[str, ...]) -> str:
    """What an attribute has to be: `from 18 to 30`, `one of trade, crafts`."""
    if not isinstance(condition, Range):
        return f"one of {', '.join(condition)}"
    low, high = ("any" if end is None else f"{end:g}" for end in (condition.min, condition.max))
    return f"from {low} to {high}"


def in_words(model: type[BaseModel], error: ErrorDetails) -> tuple[Where, str]:
    """The keys that lead from the model to the mistake, and what is wrong and what to do."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    at = tuple(key for key in error["loc"] if key not in ("[key]", "product_id", "bundle_id"))
    if at[:1] == ("where",):
        at = at[:2] + at[3:]  # pydantic puts the branch of the union third
    if kind == "missing":
        return at, "is missing; add it"
    if kind == "extra_forbidden":
        owner = _owner(model, at[:-1])
        fields = [name for name in owner.model_fields if name not in ("product_id", "bundle_id")]
        return at, f"is not a field of a {owner.__name__.partition('[')[0].lower()}; {did_you_mean(at[-1], fields)}"
    if kind in ("enum", "literal_error"):
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return at, f"{_shown(value)} is not known; {did_you_mean(value, words)}"
    if kind in WANTED:
        wanted, _, remedy = WANTED[kind].partition("; ")
        return at, f"{_shown(value)} is not {wanted}; {remedy or f'write {wanted}'}"
    if kind in LIMITS:
        _, limit = LIMITS[kind]
        bounds = {limit: float(context[limit])} | _bounds(model, at)
        between = " and ".join(f"{word} {bounds[name]:g}" for word, name in LIMITS.values() if name in bounds)
        return at, f"{_shown(value)} is not {between}; correct it"
    if kind in ("string_too_short", "too_short"):
        return at, "is empty; fill it in, or remove it where it is not needed"
    if kind == "string_pattern_mismatch":
        return at, f"{_shown(value)} {_pattern(at)}"
    if kind == "value_error":
        return at, str(context["error"])
    return at, error["msg"]


def _owner(model: type[BaseModel], at: Where) -> type[BaseModel]:
    """The model whose field the key below `at` would be."""
    for key in at:
        if key in model.model_fields:
            model = next(iter(_models(model.model_fields[str(key)].annotation)), model)
    return model


def _bounds(model: type[BaseModel], at: Where) -> dict[str, float]:
    """The bounds of the number in that field, or of the numbers in the list or mapping that it is."""
    owner = _owner(model, at[:-1])
    name = next((key for key in reversed(at) if key in owner.model_fields), None)
    if name is None:
        return {}
    field = owner.model_fields[str(name)]
    told = [*field.metadata, *_metadata(field.annotation)]
    return {limit: float(getattr(one, limit)) for one in told for _, limit in LIMITS.values() if hasattr(one, limit)}


def _metadata(annotation: Any) -> Iterator[Any]:
    """What a field's type says beside types, however deep; of a field's own, what that says in turn."""
    for one in getattr(annotation, "__metadata__", ()):
        yield from getattr(one, "metadata", (one,))
    for inner in get_args(annotation):
        yield from _metadata(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models within a field's type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _pattern(at: Where) -> str:
    of_currency = at[-1:] == ("currency",) or at[-2:-1] in (("curves",), ("rates",))
    return "is not a currency; write its three capital letters" if of_currency else "has a space in it; use _"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = f"the text '{value}'" if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."
