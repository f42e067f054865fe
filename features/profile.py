"""Profiles: all that is known of a client as of a day, one row a client, columns as the dictionary states them.

`profile` gives them as a lazy frame; `profile_matrices` as numbers for models, which saves the engine its widest work:
what is told by client and product goes from long rows straight to its place.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import narwhals as nw
import pyarrow as pa
from narwhals.typing import IntoFrame

from catalog import Catalog
from features.contract import C
from features.dictionary import BY_PRODUCT, GROUPS, WHOLE_BANK, by_group
from features.expressions import Frame, Tables, spread
from features.matrix import ProfileMatrix, assemble
from features.positions import LAST_MONTH, last_month
from features.tables import Bank, day_number

PART = 100_000  # clients: about a gigabyte while they are computed
_OF_CLIENT = ("holdings", "positions", "transactions", "offers")


def profile(bank: Bank, catalog: Catalog, as_of: dt.date, cohort: IntoFrame | Sequence[str] | None = None) -> Frame:
    """A lazy frame, one row a client: `client_id`, then the columns of `dictionary(bank, catalog)`; rows in no order.

    The clients are those of `Bank.cohort(as_of, cohort)`.
    Raises TableError as `Bank.cohort` does, ValueError as `by_group` does.
    """
    stated, known, clients = by_group(bank, catalog), bank.known_on(as_of), bank.cohort(as_of, cohort)
    own: dict[str, Frame] = dict(known)
    if cohort is not None or "cohorts" in bank:  # what is said of others need not be read
        ids = clients.select(C.CLIENT)
        own |= {name: known[name].join(ids, on=C.CLIENT, how="semi") for name in _OF_CLIENT if name in known}
    own |= _of_all(known, as_of)
    products = [product.product_id for product in catalog.products]
    frames = []
    for name in stated:
        tables: Tables = known if name in WHOLE_BANK else own
        frames.append((len(stated[name]), GROUPS[name].build(tables, catalog, as_of, clients)))
        if name in BY_PRODUCT:
            long = BY_PRODUCT[name](tables, catalog, as_of, clients)
            frames.append((len(stated[name]), spread(long, C.PRODUCT, products, _columns(long))))
    frame = clients.select(C.CLIENT)
    # the widest last: to plan a join that gives n columns takes time of the order of n²
    for _, group in sorted(frames, key=lambda sized: sized[0]):
        frame = frame.join(group, on=C.CLIENT, how="left")
    columns = []
    for feature in (feature for features in stated.values() for feature in features):
        column = nw.col(feature.name)
        columns.append(column if feature.missing is None else column.fill_null(feature.missing))
    return frame.select(C.CLIENT, *columns)


def profile_matrices(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    cohort: IntoFrame | Sequence[str] | None = None,
    clients: int = PART,
) -> Iterator[ProfileMatrix]:
    """What `encode` makes of the frame that `profile` returns, in parts of at most `clients` clients, ids ascending.

    To take them one by one needs the memory of one, however many clients there are; categories are those of the part.
    Where there is nobody, one part is nobody's. Raises as `profile` does.
    """
    stated, known, members = by_group(bank, catalog), bank.known_on(as_of), bank.cohort(as_of, cohort)
    ids = members.select(C.CLIENT).sort(C.CLIENT).collect("pyarrow")[C.CLIENT].to_arrow().cast(pa.string())
    features = [feature for of_group in stated.values() for feature in of_group]
    # a client's place among all clients takes all of them: once is enough
    worth = GROUPS["value"].build(known, catalog, as_of, members).collect("pyarrow").to_native()
    whole = cohort is None and "cohorts" not in bank and len(ids) <= clients
    if not len(ids):
        yield assemble(ids, features, [], [])
    for start in range(0, len(ids), clients):
        part = ids.slice(start, clients)
        within = nw.col(C.CLIENT).is_between(nw.lit(part[0].as_py()), nw.lit(part[-1].as_py()))
        those = members if whole else members.filter(within)
        own: dict[str, Frame] = dict(known)
        if not whole:
            own |= {name: known[name].filter(within) for name in _OF_CLIENT if name in known}
        own |= _of_all(known, as_of)
        tables, long = [worth], []
        for name in stated:
            read: Tables = known if name in WHOLE_BANK else own
            if name != "value":
                tables.append(GROUPS[name].build(read, catalog, as_of, those).collect("pyarrow").to_native())
            if name in BY_PRODUCT:
                long.append(BY_PRODUCT[name](read, catalog, as_of, those).collect("pyarrow").to_native())
        yield assemble(part, features, tables, long)


def _of_all(known: Bank, as_of: dt.date) -> dict[str, Frame]:
    """What groups of some clients must know of everybody's rows."""
    return {LAST_MONTH: last_month(known["positions"], day_number(as_of))} if "positions" in known else {}


def _columns(long: Frame) -> list[str]:
    return [name for name in long.collect_schema().names() if name not in (C.CLIENT, C.PRODUCT)]
