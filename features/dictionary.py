"""The feature dictionary: what every column of a profile is, gathered from what the groups state."""

from __future__ import annotations

import datetime as dt
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from sheaf.catalog import Catalog, Line
from sheaf.features.bank import Bank
from sheaf.features.columns import balances, demographics, flows, holdings, links, offers, value
from sheaf.features.contract import C
from sheaf.features.expressions import Frame, Tables
from sheaf.features.feature import Feature


class Group(Protocol):
    """A module of features: what it states, in order, and how it computes it."""

    def features(self, bank: Bank, catalog: Catalog) -> list[Feature]: ...

    def build(self, known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame: ...


GROUPS: dict[str, Group] = {
    module.__name__.rpartition(".")[2]: cast(Group, module)
    for module in (demographics, holdings, balances, flows, links, value, offers)
}

# What groups tell once a client and product: rows of both ids, and columns that make one feature a product each.
BY_PRODUCT: dict[str, Callable[[Tables, Catalog, dt.date, Frame], Frame]] = {
    "holdings": holdings.build_by_product,
    "links": links.build_by_product,
}

RESERVED = {C.CLIENT, C.AS_OF}  # what stands beside the columns of a profile
INSIDE = {"_since", "_latest"}  # what the steps of a lazy frame add for a while

WHOLE_BANK = ("links", "value")  # the groups that look at other clients than the ones profiled


def by_group(bank: Bank, catalog: Catalog) -> dict[str, list[Feature]]:
    """The features of every group that has any for this bank's tables and attributes.

    Raises ValueError where an attribute of the bank's clients has the name of another feature.
    """
    stated = stated_by(bank, catalog)
    if twice := _twice(stated):
        alike = _alike(stated, twice)
        if others := [name for name in twice if name not in alike]:
            raise ValueError(
                f"table clients: columns {others} have the names of profile columns; rename them in the bank's clients"
            )
        raise ValueError(f"table clients: {alike_in_words(alike)}; rename all but one in the bank's clients")
    return {name: features for name, features in stated.items() if features}


def named_twice(bank: Bank, catalog: Catalog) -> dict[str, str]:
    """The clients' attributes that have the names of profile columns, or of each other in a profile, each with what is
    wrong."""
    stated = stated_by(bank, catalog)
    twice = _twice(stated)
    alike = _alike(stated, twice)
    return {name: alike_in_words(alike) if name in alike else "has the name of a profile column" for name in twice}


def alike_in_words(alike: list[str]) -> str:
    return f"several attributes become {alike} in a profile, where case does not count and a day becomes its months"


def _alike(stated: Mapping[str, list[Feature]], twice: list[str]) -> list[str]:
    """Those of the attributes named `twice` whose names only other attributes have."""
    other = [*(feature for name, of in stated.items() if name != "demographics" for feature in of), *demographics.OWN]
    taken = {feature.name.casefold() for feature in other}
    times = Counter(feature.name.casefold() for feature in stated["demographics"])
    return [name for name in twice if times[name.casefold()] > 1 and name.casefold() not in taken]


def stated_by(bank: Bank, catalog: Catalog) -> dict[str, list[Feature]]:
    """The features of every group, whatever their names are."""
    return {name: group.features(bank, catalog) for name, group in GROUPS.items()}


def _twice(stated: Mapping[str, list[Feature]]) -> list[str]:
    """Names that two features have in any case, as DuckDB counts them, or that something else beside profiles has."""
    names = [feature.name for features in stated.values() for feature in features]
    own = {feature.name for name, features in stated.items() if name != "demographics" for feature in features}
    own |= {feature.name for feature in demographics.OWN}
    stems = {name.partition("__")[0] for name in own if "__" in name}
    times = Counter(name.casefold() for name in names)

    def taken(name: str) -> bool:
        stem, parted, _ = name.casefold().partition("__")
        beside = name.casefold() in RESERVED or name.removesuffix("_months") in INSIDE or (parted and stem in stems)
        return times[name.casefold()] > 1 or bool(beside)

    spelled = Counter(names)
    return sorted(name for name in spelled if (name not in own or spelled[name] > 1) and taken(name))


def feature_dictionary(bank: Bank, catalog: Catalog) -> list[Feature]:
    """Every feature of the bank's profiles, in the order of the profile's columns.

    Parameters
    ----------
    bank, catalog
        The bank's tables, and what it sells: some features are stated for every product, line or kind of booking.

    Returns
    -------
    list of Feature
        Each with name, type, unit, group, and a sentence about it.

    Raises
    ------
    ValueError
        Where an attribute of the clients has the name of a feature.

    Examples
    --------
    >>> names = [feature.name for feature in sheaf.feature_dictionary(bank, catalog)]
    >>> "tenure_months" in names
    True
    """
    return [feature for features in by_group(bank, catalog).values() for feature in features]


def to_markdown(bank: Bank, catalog: Catalog) -> str:
    """The dictionary as a Markdown page; what is stated for every product, line or kind of booking takes one row."""
    subjects = {product.product_id: ("{product_id}", product.name, "the product") for product in catalog.products}
    lines = {str(line): ("{line}", str(line), "`{line}`") for line in Line}
    kinds = {kind: ("{kind}", f"kind {kind}", "kind `{kind}`") for kind in catalog.policy.transaction_kinds}
    stated = by_group(bank, catalog)
    total = sum(map(len, stated.values()))
    page = [
        "# Features",
        "",
        f"The {total} columns of a client's profile with the catalog *{catalog.name}*, generated from what the",
        "modules of `features/` state. `{product_id}`, `{line}` and `{kind}` stand for one column each of the",
        "catalog's products, its business lines and the policy's kinds of bookings. A flag is 1 or 0. *Without rows*",
        "is the value of a client of whom the bank's tables have none; null is never filled in. Where bookings end",
        "more than a third of a window before the day (10, 30, 121 days), or offers the whole window, what is",
        "counted over it is null for everybody: not known. A time in months is in twelfths of 365.25 days.",
    ]
    for group, features in stated.items():
        module = inspect.getdoc(inspect.getmodule(GROUPS[group].features)) or ""
        page += ["", f"## {group.capitalize()}", "", module, "", "| name | type | unit | meaning | without rows |"]
        page.append("| --- | --- | --- | --- | --- |")
        named = kinds if group == "flows" else subjects | lines
        page += dict.fromkeys(_row(feature, named) for feature in features)
    return "\n".join(page) + "\n"


def _row(feature: Feature, subjects: Mapping[str, tuple[str, str, str]]) -> str:
    name, meaning = feature.name, feature.meaning
    column, parted, subject = name.partition("__")
    if parted and subject in subjects:
        placeholder, word, instead = subjects[subject]
        name, meaning = f"{column}__{placeholder}", meaning.replace(word, instead)
    without = "null" if feature.missing is None else f"{feature.missing:g}"
    return f"| `{name}` | {feature.type} | {feature.unit} | {meaning} | {without} |"
