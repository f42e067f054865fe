"""What `sheaf check` says of codes: those that differ from another one in nothing but case and blanks."""

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
