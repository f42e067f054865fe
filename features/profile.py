"""Profiles: all that is known of a client as of a day, one row a client, columns as the dictionary states them.

`build_profiles` gives them as a frame for people; `profile_matrices` as numbers for models, in parts of bounded memory.
The engine behind the bank's tables computes every group of features; what it tells is put together here, as no
engine joins hundreds of columns as fast as they are copied to their places.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoFrame

from sheaf.catalog import Catalog
from sheaf.features.attribute_types import tell_numbers_as_texts
from sheaf.features.bank import Bank, TableError, day_number
from sheaf.features.contract import C
from sheaf.features.dictionary import BY_PRODUCT, GROUPS, WHOLE_BANK, by_group
from sheaf.features.expressions import Frame, Tables
from sheaf.features.feature import Feature
from sheaf.features.matrix import ProfileMatrix, assemble, tabulate
from sheaf.features.monthly_positions import LAST_MONTH, at_month_ends, last_month, need_rates
from sheaf.features.stopped_tables import unknown, without
from sheaf.features.words import need_words

PART = 100_000  # clients: about a gigabyte while they are computed
_OF_CLIENT = {"holdings", "positions", "transactions", "offers"}
_IN_MEMORY = (nw.Implementation.PANDAS, nw.Implementation.POLARS, nw.Implementation.PYARROW)
_Told = tuple[pa.StringArray, list[Feature], list[pa.Table], list[pa.Table]]  # as `assemble` takes it


def build_profiles(
    bank: Bank, catalog: Catalog, as_of: dt.date, cohort: IntoFrame | Sequence[str] | None = None
) -> nw.DataFrame[Any]:
    """One row a client, ids ascending: `client_id`, then the columns of `dictionary(bank, catalog)`.

    The clients are those of `Bank.cohort(as_of, cohort)`. The frame lies in memory, in the library of the bank's
    tables where that is pandas or Polars, else as a PyArrow table; `to_native()` hands it over.
    Raises TableError as `Bank.cohort` does and where one of them has no id or several rows of its latest day,
    ValueError as `by_group` does.
    """
    engine = bank["clients"].implementation
    [told] = _told(bank, catalog, as_of, cohort, clients=None)
    return nw.from_arrow(tabulate(*told), backend=engine if engine in _IN_MEMORY else nw.Implementation.PYARROW)


def profile_tables(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    cohort: IntoFrame | Sequence[str] | None = None,
    clients: int = PART,
) -> Iterator[pa.Table]:
    """What `build_profiles` returns, in parts of at most `clients` clients, as `profile_matrices` gives its numbers."""
    for told in _told(bank, catalog, as_of, cohort, clients):
        yield tabulate(*told)


def profile_matrices(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    cohort: IntoFrame | Sequence[str] | None = None,
    clients: int = PART,
) -> Iterator[ProfileMatrix]:
    """The numbers of what `build_profiles` returns, in parts of at most `clients` clients, ids ascending.

    To take them one by one needs the memory of one, however many clients there are; categories are those of the part.
    Where there is nobody, one part is nobody's. Raises as `build_profiles` does.
    """
    for told in _told(bank, catalog, as_of, cohort, clients):
        yield assemble(*told)


def _told(
    bank: Bank, catalog: Catalog, as_of: dt.date, cohort: IntoFrame | Sequence[str] | None, clients: int | None
) -> Iterator[_Told]:
    """What every group tells of the clients, in parts of so many, or of all at once."""
    stated, members = by_group(bank, catalog), bank.cohort(as_of, cohort)
    tell_numbers_as_texts(bank, catalog)
    need_words(bank)
    known = at_month_ends(bank.known_on(as_of), as_of)
    need_rates(known, catalog)
    null = unknown(known, as_of, stated)
    ids = members.select(C.CLIENT).sort(C.CLIENT).collect("pyarrow")[C.CLIENT].to_arrow().cast(pa.string())
    _need_one_row_each(ids, as_of)
    features = without((feature for of_group in stated.values() for feature in of_group), null)
    if not len(ids):
        yield ids, features, [], []
        return
    # a client's place among all clients takes all of them: once is enough
    worth = _built("value", known, catalog, as_of, members, null)
    clients = clients or len(ids)
    named = cohort is not None or "cohorts" in bank
    whole = not named and len(ids) <= clients
    for start in range(0, len(ids), clients):
        part = ids.slice(start, clients)
        within = nw.col(C.CLIENT).is_between(nw.lit(part[0].as_py()), nw.lit(part[-1].as_py()))
        those = members if whole else members.filter(within)
        own: dict[str, Frame] = dict(known)
        if not whole:  # what is said of others need not be read
            own |= {name: known[name].filter(within) for name in _OF_CLIENT if name in known}
        if named:  # they may be few of those between the first and the last
            theirs = those.select(C.CLIENT)
            own |= {name: own[name].join(theirs, on=C.CLIENT, how="semi") for name in own.keys() & _OF_CLIENT}
        own |= _of_all(known, as_of)
        wide, long = [worth], []
        for name in stated:
            read: Tables = known if name in WHOLE_BANK else own
            if name != "value":
                wide.append(_built(name, read, catalog, as_of, those, null))
            if name in BY_PRODUCT:
                long.append(BY_PRODUCT[name](read, catalog, as_of, those).collect("pyarrow").to_native())
        yield part, features, wide, long


def _built(group: str, read: Any, catalog: Catalog, as_of: dt.date, clients: Frame, null: frozenset[str]) -> pa.Table:
    """What the group tells of the clients, without the columns that nobody's is known of."""
    table: pa.Table = GROUPS[group].build(read, catalog, as_of, clients).collect("pyarrow").to_native()
    return table.drop_columns([name for name in table.column_names if name in null])


def _need_one_row_each(ids: pa.StringArray, as_of: dt.date) -> None:
    """TableError where table clients tells two things of a client on the day, or names nobody; `ids` are ascending.

    A second row would be a second client of the same id, of whom nothing is known: what the tables tell goes to one.
    """
    if ids.null_count:
        raise TableError(
            f"table clients: {C.CLIENT} is empty on {ids.null_count:,} rows known on {as_of}; fill it, or leave these "
            "rows out"
        )
    rows = ids.slice(1)
    again = rows.filter(pc.equal(rows, ids.slice(0, len(rows))))
    if len(again):
        twice = pc.unique(again).to_pylist()
        raise TableError(
            f"table clients: {len(twice):,} clients have several rows of the same {C.VALID_FROM}, the latest known on "
            f"{as_of}: {', '.join(twice[:3])}{' …' if len(twice) > 3 else ''}; keep the one that holds"
        )


def _of_all(known: Bank, as_of: dt.date) -> dict[str, Frame]:
    """What groups of some clients must know of everybody's rows."""
    return {LAST_MONTH: last_month(known["positions"], day_number(as_of))} if "positions" in known else {}
