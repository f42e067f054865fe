"""Columns of a bank's tables whose names are those of the contract in another spelling."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from sheaf.catalog.spelling import plain
from sheaf.features.contract import TABLES, Table

DATA_FILE = re.compile(
    r"(\.(parquet|pq|parq|csv|tsv|orc|avro|feather|arrow|xlsx?))?(\.(gz|zip|zst|bz2))?$", re.IGNORECASE
)  # the end of a name of a file that holds rows
ALIKE = 0.9  # difflib's ratio from which a name is taken for a misspelt one of the contract


def misspelt(columns: Iterable[str], table: Table) -> dict[str, str]:
    """The columns that spell one of the contract's in another way, each with the contract's name.

    A second column of a name counts too, as `closed_on_1` (DuckDB), `closed_on.1` (pandas) or
    `closed_on_duplicated_0` (Polars).
    """
    names = {plain(column.name): column.name for column in table.columns}
    exact = set(names.values())
    found: dict[str, str] = {}
    for column in columns:
        copied = re.sub(r"([._]1|_duplicated_0)$", "", column.strip())
        name = names.get(plain(column)) or (names.get(plain(copied)) if copied != column.strip() else None)
        if name and column not in exact:
            found[column] = name
    return found


def propensity_of_what(columns: Iterable[str], table: Table) -> str | None:
    """The column `propensity` of table offers, however spelt: nobody knows whether of the list or of the price."""
    return next((name for name in columns if table.name == "offers" and plain(name) == "propensity"), None)


def wrong_spelling(column: str, name: str, twice: bool) -> str:
    """What is wrong with a column that spells the contract's `name` in another way, and what to do about it."""
    if twice:
        return f"column {column!r} is {name} once more; keep one of them"
    return f"column {column!r} is not read, as names count as written; call it {name}"


def alike(columns: Iterable[str], table: Table) -> dict[str, str]:
    """The columns that nothing reads, and whose names are nearly one that the contract has and the table lacks."""
    columns = list(columns)
    if table.open_ended:  # every column is read there
        return {}
    lacking = {plain(c.name): c.name for c in table.columns if c.name not in columns}
    known = {column.name for column in table.columns} | misspelt(columns, table).keys()
    found = {}
    for column in columns:
        near = difflib.get_close_matches(plain(column), lacking, 1, ALIKE) if column not in known else []
        if near:
            found[column] = lacking[near[0]]
    return found


def of_table(file: str) -> str | None:
    """The table that a file of another spelling seems to be meant for, as `Holdings.CSV`; None where there is none."""
    if file.startswith((".", "_")):
        return None
    stem = DATA_FILE.sub("", file.strip())
    return {plain(name): name for name in TABLES}.get(plain(stem))
