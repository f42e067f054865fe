"""Profiles: all that is known of a client as of a day, one row a client, columns as the dictionary states them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence

import narwhals as nw
from narwhals.typing import IntoFrame

from catalog import Catalog
from features.contract import C
from features.dictionary import GROUPS, WHOLE_BANK, by_group
from features.expressions import Frame, Tables
from features.tables import Bank, TableError

PART = 50_000  # clients: about a gigabyte while they are computed
_OF_CLIENT = ("holdings", "positions", "transactions", "offers")


def profile(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    cohort: IntoFrame | Sequence[str] | None = None,
    groups: Collection[str] = tuple(GROUPS),
) -> Frame:
    """A lazy frame, one row a client: `client_id`, then the columns of `dictionary(bank, catalog, groups)`, unordered.

    The clients are those of `Bank.cohort(as_of, cohort)`; groups of features not asked for are not computed.
    Raises TableError as `Bank.cohort` does, ValueError as `by_group` does.
    """
    known, clients = bank.known_on(as_of), bank.cohort(as_of, cohort)
    own: Tables = known
    if cohort is not None or "cohorts" in bank:  # what is said of others need not be read
        ids = clients.select(C.CLIENT)
        own = {name: known[name].join(ids, on=C.CLIENT, how="semi") for name in _OF_CLIENT if name in known}
    return _joined(bank, catalog, as_of, clients, own, {}, groups)


def profile_parts(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    cohort: IntoFrame | Sequence[str] | None = None,
    clients: int = PART,
) -> Iterator[Frame]:
    """The frame that `profile` returns in lazy frames of at most `clients` clients, ids ascending from part to part.

    To take them one by one needs the memory of one, however many clients there are. Raises as `profile` does.
    """
    known, members = bank.known_on(as_of), bank.cohort(as_of, cohort)
    ids = members.select(C.CLIENT).sort(C.CLIENT).collect()[C.CLIENT].to_list()
    # a client's place among all clients takes all of them: once is enough
    worth = _kept(bank, GROUPS["value"].build(known, catalog, as_of, members))
    for start in range(0, len(ids), clients):
        part = ids[start : start + clients]
        within = nw.col(C.CLIENT).is_between(nw.lit(part[0]), nw.lit(part[-1]))
        own = {name: known[name].filter(within) for name in _OF_CLIENT if name in known}
        yield _joined(bank, catalog, as_of, members.filter(within), own, {"value": worth})


def _joined(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    clients: Frame,
    own: Tables,
    built: dict[str, Frame],
    groups: Collection[str] = tuple(GROUPS),
) -> Frame:
    """The profiles of `clients`, from their `own` rows and the groups that are `built` already."""
    stated = {name: features for name, features in by_group(bank, catalog).items() if name in groups}
    known = bank.known_on(as_of)
    frame = clients.select(C.CLIENT)
    # the widest last: to plan a join that gives n columns takes time of the order of n²
    for name in sorted(stated, key=lambda name: len(stated[name])):
        tables = known if name in WHOLE_BANK else own
        group = built[name] if name in built else GROUPS[name].build(tables, catalog, as_of, clients)
        frame = frame.join(group, on=C.CLIENT, how="left")
    columns = []
    for feature in (feature for features in stated.values() for feature in features):
        column = nw.col(feature.name)
        columns.append(column if feature.missing is None else column.fill_null(feature.missing))
    return frame.select(C.CLIENT, *columns)


def _kept(bank: Bank, frame: Frame) -> Frame:
    """The frame, computed now; as it is where the tables are relations of a connection that only the caller has."""
    try:
        return bank._beside(frame.collect())
    except TableError:
        return frame
