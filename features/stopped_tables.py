"""Features of windows in which a table that stopped has no rows: they are not known, and not 0."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sheaf.features.bank import Bank, day_number
from sheaf.features.expressions import DAYS
from sheaf.features.feature import Feature
from sheaf.features.table_age import REACH, by_day, supported

PART = 3  # bookings that end more than this part of a window before the day leave the window's sums unknown
_MONTHS = {"regular_inflow": 1, "last_transaction_days": 1, "inflow_trend": 3, "outflow_trend": 3, "performance": 12}
_TABLES = {"flows": "transactions", "value": "transactions", "offers": "offers"}


def unknown(known: Bank, as_of: dt.date, stated: Mapping[str, Iterable[Feature]]) -> frozenset[str]:
    """The names of the features that are not known of anybody on the day, as their table ends too early.

    Bookings come every day: what is summed over 30, 91 and 365 days is not known where they end more than a third of
    that before the day (10, 30, 121 days), nor where there are none. Offers may well pause: theirs is not known where
    the last lies before the whole window.
    """
    day = day_number(as_of)
    found = set()
    for group, table in _TABLES.items():
        if table not in known or group not in stated:
            continue
        of = {feature.name: months for feature in stated[group] if (months := _months(feature.name))}
        if not of:
            continue
        last = supported(*by_day(known[table], REACH[table]))
        if table == "transactions":
            found |= {name for name, months in of.items() if last is None or day - last > DAYS[months] // PART}
        elif last is not None:
            found |= {name for name, months in of.items() if day - last >= DAYS[months]}
    return frozenset(found)


def without(features: Iterable[Feature], names: frozenset[str]) -> list[Feature]:
    """The features, those of the names with null where no row tells them."""
    return [replace(feature, missing=None) if feature.name in names else feature for feature in features]


def _months(name: str) -> int | None:
    """The months of the window that the feature is of; None where it has none."""
    found = re.search(r"_(\d+)m(__|$)", name)
    return int(found[1]) if found else _MONTHS.get(name)
