"""The feature dictionary: what every column of a profile is, gathered from what the groups state."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Protocol, cast

from catalog import Catalog
from features import balances, demographics, flows, holdings, links, offers, value
from features.expressions import Frame, Tables
from features.feature import Feature
from features.tables import Bank


class Group(Protocol):
    """A module of features: what it states, in order, and how it computes it."""

    def features(self, bank: Bank, catalog: Catalog) -> list[Feature]: ...

    def build(self, known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame: ...


GROUPS: dict[str, Group] = {
    module.__name__.rpartition(".")[2]: cast(Group, module)
    for module in (demographics, holdings, balances, flows, links, value, offers)
}

WHOLE_BANK = ("links", "value")  # the groups that look at other clients than the ones profiled


def by_group(bank: Bank, catalog: Catalog) -> dict[str, list[Feature]]:
    """The features of every group that has any for this bank's tables and attributes.

    Raises ValueError where an attribute of the bank's clients has the name of another feature.
    """
    stated = {name: group.features(bank, catalog) for name, group in GROUPS.items()}
    names = Counter(feature.name for features in stated.values() for feature in features)
    twice = sorted(name for name, times in names.items() if times > 1)
    if twice:
        raise ValueError(
            f"table clients: columns {twice} have the names of profile columns; rename them in the bank's clients"
        )
    return {name: features for name, features in stated.items() if features}


def dictionary(bank: Bank, catalog: Catalog) -> list[Feature]:
    """Every feature of the bank's profiles, in the order of the profile's columns."""
    return [feature for features in by_group(bank, catalog).values() for feature in features]
