"""Attributes of clients that are nearly all numbers or days, and still texts: told before profiles rest on them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import duckdb
import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, TableError, connect, one_line
from sheaf.features.columns.demographics import open_attributes

MOSTLY = 0.8  # of the texts of a column, from which those that are no numbers or days are taken for mistakes
SHOWN = 5
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
WRITTEN = r"[+-]?[€$£]?\s*\d{1,3}([ .,''’\x{00a0}\x{202f}]?\d{3})*([.,]\d+)?\s*(%|‰|[€$£]|[A-Z]{3})?"
DAY = r"(\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?)"
NOTHING = "'na','n/a','#n/a','null','none','nan','nil','-','--','?','unknown','inf','-inf','.'"
UNTIL_THEN = "until then the column is a category: every different text a value of its own"
Told = tuple[str, str, int, str]  # column, problem, rows, remedy


def tell_numbers_as_texts(bank: Bank, catalog: Catalog) -> None:
    """Warns, once, of attributes that are nearly all numbers, or days, and are categories because of the rest.

    Raises TableError where their bytes are no text. One query asks of all columns of texts; others are not read.
    """
    types = bank.attributes
    if bank.attributes_told:
        return
    bank.attributes_told = True
    texts = [name for name in open_attributes(types, catalog) if isinstance(types[name], nw.String | nw.Categorical)]
    if not texts:
        return
    clients = bank["clients"].select(nw.col(*texts).cast(nw.String()))
    if clients.implementation is nw.Implementation.DUCKDB:
        relation = nw.to_native(clients)
    else:
        relation = connect().from_arrow(clients.collect("pyarrow").to_native())
    try:
        for name, problem, rows, remedy in numbers_as_texts(relation, texts):
            warnings.warn(f"table clients, column {name!r}: {problem} ({rows:,} rows); {remedy}", stacklevel=2)
    except duckdb.Error as error:
        raise TableError(one_line(error, "clients")) from error


def numbers_as_texts(relation: duckdb.DuckDBPyRelation, names: Iterable[str]) -> Iterator[Told]:
    """Of the columns of texts those that are nearly all numbers or days, with the texts that are not."""
    names = list(names)
    columns = [quoted(name) for name in names]
    counts = [f"count({_filled(one)}), count(*) filter (where {_nothing(one)}), "
              f"count(*) filter (where regexp_matches({one}, '^\\W*[0-9]'))" for one in columns]  # fmt: skip
    [found] = relation.aggregate(", ".join(counts)).fetchall() if names else [()]
    for at, (name, column) in enumerate(zip(names, columns, strict=True)):
        filled, nothing, begun = found[3 * at : 3 * at + 3]
        if begun and begun >= MOSTLY * (filled - nothing):
            yield from _of_texts(relation, name, column)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _filled(column: str) -> str:
    return f"nullif(trim({column}), '')"


def _nothing(column: str) -> str:
    return f"lower(trim({column})) in ({NOTHING})"


def _of_texts(relation: duckdb.DuckDBPyRelation, name: str, column: str) -> Iterator[Told]:
    text = f"trim({column})"
    is_number, is_written, is_day = (f"regexp_full_match({text}, '{of}')" for of in (NUMBER, WRITTEN, DAY))
    kind = f"case when {is_day} then 'day' when {is_number} then 'number' when {is_written} then 'written' "
    kind += f"when {_nothing(column)} then 'nothing' else 'text' end"
    found = relation.filter(f"{_filled(column)} is not null").project(f"{column} as value, {kind} as kind")
    counted = found.aggregate("kind, count(*) as n, min(value, 6) as first", "kind")
    told = {kind: (rows, list(dict.fromkeys(first))[:SHOWN]) for kind, rows, first in counted.fetchall()}

    def rows(*kinds: str) -> int:
        return sum(told[one][0] for one in kinds if one in told)

    def first(*kinds: str) -> str:
        values = [repr(value) for one in kinds if one in told for value in told[one][1]]
        return ", ".join(values[:SHOWN]) + (", …" if len(values) > SHOWN else "")

    said = rows("day", "number", "written", "text")
    if said and rows("day") >= MOSTLY * said:
        yield name, f"days kept as texts: {first('day')}", rows("day"), f"keep dates in the column; {UNTIL_THEN}"
    elif said and rows("number", "written") >= MOSTLY * said and (others := rows("written", "text", "nothing")):
        problem = f"nearly all numbers, but for the texts {first('nothing', 'text', 'written')}"
        fix = "write numbers as 1234.5, without %, units or separators, and leave empty what is not known"
        yield name, problem, others, f"{fix}; {UNTIL_THEN}"
