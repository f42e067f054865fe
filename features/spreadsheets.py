"""Tables as CSV that people open with a spreadsheet."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sheaf.catalog.escaping import RANGES

_CONTROL = "[" + "".join(f"\\x{{{ord(first):x}}}-\\x{{{ord(last):x}}}" for first, last in RANGES) + "]"
# What spreadsheets take for a formula, in any width, also behind blanks and marks that do not show, which some trim:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = r"^([\t\n]|[\s\p{Z}\p{Cf}]*[=+\-@＝＋－＠﹦﹢﹣﹫])"


def for_spreadsheets(table: pa.Table) -> pa.Table:
    """The table with texts, names of columns among them, that no spreadsheet takes for a formula: those that begin like
    one get an apostrophe, and control characters are left out. Numbers stay numbers.

    >>> for_spreadsheets(pa.table({"id": ["=1+1", "C1"], "n": [-1, 2]})).to_pylist()
    [{'id': "'=1+1", 'n': -1}, {'id': 'C1', 'n': 2}]
    """
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = _harmless(column)
        columns.append(column)
    names = _harmless(pa.array(table.column_names, pa.string())).to_pylist()
    return pa.table(columns, names=names)


def _harmless(texts: pa.ChunkedArray | pa.StringArray) -> pa.ChunkedArray | pa.StringArray:
    plain = pc.replace_substring_regex(texts, pattern=_CONTROL, replacement="")
    return pc.replace_substring_regex(plain, pattern=_FORMULA, replacement=r"'\1")
