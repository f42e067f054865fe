"""Profiles: all that is known of a client as of a day, one row a client, columns as the dictionary states them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import narwhals as nw
from narwhals.typing import IntoFrame

from catalog import Catalog
from features.contract import C
from features.dictionary import GROUPS, WHOLE_BANK, by_group
from features.expressions import Frame, Tables
from features.tables import Bank

_OF_CLIENT = ("holdings", "positions", "transactions", "offers")


def profile(bank: Bank, catalog: Catalog, as_of: dt.date, cohort: IntoFrame | Sequence[str] | None = None) -> Frame:
    """A lazy frame, one row a client: `client_id`, then the columns of `dictionary(bank, catalog)`; rows in no order.

    The clients are those of `Bank.cohort(as_of, cohort)`.
    Raises TableError as `Bank.cohort` does, ValueError as `by_group` does.
    """
    stated = by_group(bank, catalog)
    known = bank.known_on(as_of)
    clients = bank.cohort(as_of, cohort)
    own: Tables = known
    if cohort is not None or "cohorts" in bank:  # what is said of others need not be read
        ids = clients.select(C.CLIENT)
        own = {name: known[name].join(ids, on=C.CLIENT, how="semi") for name in _OF_CLIENT if name in known}
    frame = clients.select(C.CLIENT)
    for name in sorted(
        stated, key=lambda name: len(stated[name])
    ):  # widest last: planning a join of n columns takes n²
        built = GROUPS[name].build(known if name in WHOLE_BANK else own, catalog, as_of, clients)
        frame = frame.join(built, on=C.CLIENT, how="left")
    columns = []
    for feature in (feature for features in stated.values() for feature in features):
        column = nw.col(feature.name)
        columns.append(column if feature.missing is None else column.fill_null(feature.missing))
    return frame.select(C.CLIENT, *columns)
