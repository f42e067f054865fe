"""What `sheaf check` says of codes: those that differ from another one in nothing but case and blanks, those that stand
for none, and kinds of bookings of which the catalog has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ibis
import ibis.expr.types as ir

from sheaf.catalog import Catalog
from sheaf.features.contract import C
from sheaf.features.monthly_positions import rates_of

MOST = 1_000  # spellings that one rule names
CODES = {
    "clients": (C.MANAGER, C.BRANCH, C.GROUP, C.SECTOR, C.RATING),
    "positions": (C.CURRENCY,),
    "transactions": (C.CURRENCY, C.KIND, C.CHANNEL, C.COUNTERPARTY),
    "offers": (C.CHANNEL,),
}
IDS = (C.MANAGER, C.BRANCH, C.GROUP, C.COUNTERPARTY)
PLACEHOLDERS = ("-", "--", ".", "?", "n/a", "na", "#n/a", "null", "none", "nan", "nil", "unknown")  # in any case
NO_CODE = "stands for none, and counts as a code of its own"
MANY, LARGE = 100, 0.2  # clients, and their share of all with a group: more in one group is no group
ONE_GROUP = "one group of so many clients, a fifth or more of those that have one"
NO_KIND = "no kind is one of the catalog's transaction_kinds, so profiles count none apart"
PROBLEM = "differs from another code in case or blanks alone, and counts as one of its own"


def known_codes(table: str, column: str, catalog: Catalog) -> Sequence[str]:
    """The codes that the catalog has for the column, none where it has no say in it."""
    if column == C.CURRENCY:
        return list(rates_of(catalog))
    if (table, column) == ("transactions", C.KIND):
        return catalog.policy.transaction_kinds
    if column == C.RATING and catalog.pricing is not None:
        return list(catalog.pricing.grades)
    return ()


def placeholders(column: str) -> Callable[[ir.Table], ir.BooleanValue]:
    """Where an id is a word for none."""
    return lambda t: t[column].strip().lower().isin(PLACEHOLDERS)


def too_large(typed: ir.Table) -> Callable[[ir.Table], ir.BooleanValue] | None:
    """Where a client is in a group that can be none; None where no group is so large."""
    there = typed.filter(typed[C.GROUP].notnull(), typed[C.GROUP].strip() != "")
    sizes = there.group_by(C.GROUP).aggregate(clients=ibis._[C.CLIENT].nunique()).order_by(ibis.desc("clients"))
    found = sizes.limit(2).to_pyarrow().to_pylist()
    if not found or found[0]["clients"] < MANY:
        return None
    clients = there.aggregate(clients=there[C.CLIENT].nunique()).to_pyarrow()["clients"][0].as_py()
    large = [row[C.GROUP] for row in found if row["clients"] >= max(MANY, LARGE * clients)]
    return (lambda t: t[C.GROUP].isin(large)) if large else None


def foreign_kinds(typed: ir.Table, known: Sequence[str]) -> bool:
    """Whether many bookings have a kind, and none has one of the `known`, in any case."""
    plain = [kind.strip().lower() for kind in known]
    kinds = typed.filter(typed[C.KIND].notnull())[C.KIND].strip().lower()
    counted = kinds.as_table().aggregate(
        rows=ibis._.count(), known=ibis._[kinds.get_name()].isin(plain or [""]).cast("int64").sum()
    )
    [row] = counted.to_pyarrow().to_pylist()
    return bool(known) and row["rows"] >= MANY and not row["known"]


def other_spellings(typed: ir.Table, column: str, known: Sequence[str]) -> Callable[[ir.Table], ir.BooleanValue] | None:
    """Where a code is padded with blanks, or is another spelling of one of `known`, or of the one that most rows have;
    None where there is no such code."""
    values = typed.filter(typed[column].notnull(), typed[column].strip() != "")
    counted = values.group_by(code=values[column]).aggregate(rows=ibis._.count())
    alike = counted.mutate(plain=counted.code.strip().lower())
    groups = alike.group_by("plain").aggregate(spellings=ibis._.count(), most=ibis._.code.argmax(ibis._.rows))
    plain = {code.strip().lower(): code for code in known}
    odd = groups.spellings > 1
    if plain:
        odd |= groups.plain.isin(list(plain))
    found = groups.filter(odd).limit(MOST).to_pyarrow().to_pylist()
    kept = {row["plain"]: plain.get(row["plain"], row["most"].strip()) for row in found}
    wrong = [code for code in _spelt(alike, list(kept)) if code != kept[code.strip().lower()]]
    padded = bool(counted.filter(counted.code != counted.code.strip()).limit(1).count().execute())
    if not wrong and not padded:
        return None
    return lambda t: (t[column].strip() != "") & ((t[column] != t[column].strip()) | t[column].isin(wrong or [""]))


def _spelt(alike: ir.Table, plain: list[str]) -> list[str]:
    if not plain:
        return []
    return list(alike.filter(alike.plain.isin(plain)).code.to_pyarrow().to_pylist())
