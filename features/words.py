"""Tables whose words are not those of the contract."""

from __future__ import annotations

import narwhals as nw

from sheaf.features.bank import Bank, TableError
from sheaf.features.contract import TABLES

SHOWN = 5


def need_words(bank: Bank) -> None:
    """Raises TableError where a column holds a word that the contract does not have there: nothing would count it."""
    for name, frame in bank.items():
        for column in TABLES[name].columns:
            if not column.values or not bank.has(name, column.name):
                continue
            word = nw.col(column.name)
            others = (
                frame.filter(~word.is_null(), ~word.is_in([*map(str, column.values), ""])).select(column.name).unique()
            )
            if words := sorted(map(str, others.collect("pyarrow")[column.name].to_list())):
                listed = ", ".join(map(repr, words[:SHOWN])) + (", …" if len(words) > SHOWN else "")
                raise TableError(
                    f"table {name}, column {column.name}: unknown {listed}; use one of {', '.join(column.values)}"
                )
