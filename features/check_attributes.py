"""What `sheaf check` says of the clients' attributes, which profiles, models and the catalog's conditions read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import duckdb
import narwhals as nw

from catalog import Catalog
from features.conditions import conditions, kinds_of, unfit, unmet
from features.contract import TABLES
from features.demographics import protected_spellings
from features.dictionary import named_twice, stated_by
from features.tables import Bank, reason

MOSTLY = 0.8  # of the texts of a column, from which those that are no numbers or days are taken for mistakes
SHOWN = 5
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
WRITTEN = r"[+-]?[€$£]?\s*\d{1,3}([ .,''’\x{00a0}\x{202f}]?\d{3})*([.,]\d+)?\s*(%|‰|[€$£]|[A-Z]{3})?"
DAY = r"(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?)"
NOTHING = "'na','n/a','#n/a','null','none','nan','nil','-','--','?','unknown','inf','-inf','.'"
NO_ATTRIBUTE = r"(TIME(?!STAMP)|INTERVAL|STRUCT|MAP|UNION|BLOB|BIT)|.*\]$"  # types of DuckDB
Told = tuple[str, str, int, str]  # column, problem, rows, remedy


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
        column = '"' + name.replace('"', '""') + '"'
        try:
            if name not in named and kind == "VARCHAR":
                yield from _of_texts(clients, name, column)
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
    for name in named_twice(bank, catalog):
        yield name, "has the name of a profile column", 0, "give the attribute another name"
    stated = (feature for features in stated_by(bank, catalog).values() for feature in features)
    kinds = kinds_of(stated)
    for one in [*unfit(catalog, kinds), *unmet(catalog, texts, extents, known)]:
        yield one.column, f"catalog: {one.problem}", 0, one.remedy


def _of_texts(clients: duckdb.DuckDBPyRelation, name: str, column: str) -> Iterator[Told]:
    """Texts most of which are numbers or days."""
    text = f"trim({column})"
    is_number, is_written, is_day = (f"regexp_full_match({text}, '{of}')" for of in (NUMBER, WRITTEN, DAY))
    kind = f"case when {is_day} then 'day' when {is_number} then 'number' when {is_written} then 'written' "
    kind += f"when lower({text}) in ({NOTHING}) then 'nothing' else 'text' end"
    found = clients.filter(f"{column} is not null and {text} <> ''").project(f"{column} as value, {kind} as kind")
    counted = found.aggregate("kind, count(*) as n, min(value, 6) as first", "kind")
    told = {kind: (rows, list(dict.fromkeys(first))[:SHOWN]) for kind, rows, first in counted.fetchall()}

    def rows(*kinds: str) -> int:
        return sum(told[one][0] for one in kinds if one in told)

    def first(*kinds: str) -> str:
        values = [repr(value) for one in kinds if one in told for value in told[one][1]]
        return ", ".join(values[:SHOWN]) + (", …" if len(values) > SHOWN else "")

    said = rows("day", "number", "written", "text")
    remedy = "until then the column is a category: every different text a value of its own"
    if said and rows("day") >= MOSTLY * said:
        yield name, f"days kept as texts: {first('day')}", rows("day"), f"keep dates in the column; {remedy}"
    elif said and rows("number", "written") >= MOSTLY * said and (others := rows("written", "text", "nothing")):
        problem = f"nearly all numbers, but for the texts {first('nothing', 'text', 'written')}"
        fix = "write numbers as 1234.5, without %, units or separators, and leave empty what is not known"
        yield name, problem, others, f"{fix}; {remedy}"
