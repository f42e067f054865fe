"""What `sheaf check` says of the clients' attributes, which profiles, models and the catalog's conditions read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import duckdb
import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.attribute_types import Told, numbers_as_texts, quoted
from sheaf.features.bank import Bank, reason
from sheaf.features.columns.demographics import protected_spellings
from sheaf.features.conditions import conditions, kinds_of_bank, unfit, unmet
from sheaf.features.contract import TABLES
from sheaf.features.dictionary import named_twice, stated_by

NO_ATTRIBUTE = r"(TIME(?!STAMP)|INTERVAL|STRUCT|MAP|UNION|BLOB|BIT)|.*\]$"  # types of DuckDB


def of_attributes(
    relations: Mapping[str, duckdb.DuckDBPyRelation], connection: duckdb.DuckDBPyConnection, catalog: Catalog
) -> Iterator[Told]:
    """Everything that is wrong with the attributes in table clients, each read to its end."""
    clients = relations["clients"]
    named = {column.name for column in TABLES["clients"].columns}
    wrong = {}
    for name, what in protected_spellings([name for name in clients.columns if name not in named], catalog).items():
        wrong[name] = what.split("; ")
    for name, kind in zip(clients.columns, map(str, clients.types), strict=True):
        if name not in named and re.match(NO_ATTRIBUTE, kind):
            wrong[name] = [f"holds {kind}, which no column of a profile can be", "keep numbers, dates or texts there"]
    for name, (problem, remedy) in wrong.items():
        yield name, problem, 0, remedy
    clients = clients.select(*(duckdb.ColumnExpression(name) for name in clients.columns if name not in wrong))
    tables = {**relations, "clients": clients}
    bank = Bank({name: nw.from_native(found) for name, found in tables.items()}, connection)
    texts: dict[str, set[str]] = {}
    extents: dict[str, tuple[float, float]] = {}
    known: dict[str, int] = {}
    asked = conditions(catalog)
    for name, kind in zip(clients.columns, map(str, clients.types), strict=True):
        if name in named and name not in asked:
            continue
        column = quoted(name)
        try:
            if name not in named and (kind == "VARCHAR" or kind.startswith("ENUM")):
                yield from numbers_as_texts(clients.project(f"{column}::varchar as {column}"), [name])
            else:  # bytes that cannot be read show when they are
                clients.aggregate(f"max({column}::varchar)").fetchall()
            if name in asked:
                [(known[name],)] = clients.aggregate(f"count({column})").fetchall()
            if name in asked and (kind == "VARCHAR" or kind.startswith("ENUM")):
                rows = clients.aggregate(f"{column}::varchar", column).fetchall()
                texts[name] = {text for (text,) in rows if text is not None and text.strip()}
            elif name in asked and any(word in kind for word in ("INT", "DOUBLE", "FLOAT", "DECIMAL")):
                [(low, high)] = clients.aggregate(f"min({column})::double, max({column})::double").fetchall()
                if low is not None:
                    extents[name] = low, high
        except duckdb.Error as error:
            yield name, f"cannot be read: {reason(error)}", 0, "write the column again, in UTF-8, or leave it out"
    for name, problem in named_twice(bank, catalog).items():
        yield name, problem, 0, "give the attribute another name"
    stated = (feature for features in stated_by(bank, catalog).values() for feature in features)
    kinds = kinds_of_bank(bank, catalog, stated)
    for one in [*unfit(catalog, kinds), *unmet(catalog, texts, extents, known)]:
        yield one.column, f"catalog: {one.problem}", 0, one.remedy
