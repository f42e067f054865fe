"""CSV files and terminals: what a bank's texts may make them do."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.catalog.escaping import without_control
from sheaf.cli.shared import PlainConsole
from sheaf.features.export import write_csv
from sheaf.features.spreadsheets import for_spreadsheets

FORMULAS = [
    "=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\x1b=1", "＝1+1", '=HYPERLINK("x";"y")', " =1",
    "\u00a0=1", "\u3000=1", "\u200b=1", "\ufeff=1", "\u2028=1", "\u200f=1", "\u061c+1", "﹦1", "﹢1",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_work_out_begins_with_an_apostrophe(text: str) -> None:
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        [told] = for_spreadsheets(pa.table({"id": pa.array([text], kind)}))["id"].to_pylist()
        assert told.startswith("'")
        assert told[1:] == without_control(text)


def test_numbers_and_other_texts_stay_as_they_are() -> None:
    table = pa.table({"n": [-1.5, None], "id": ["C1", None], "name": ["a-b = c", "Ödön é"], "flag": [True, False]})
    assert for_spreadsheets(table).to_pydict() == table.to_pydict()


def test_names_of_columns_are_texts_as_well() -> None:
    assert for_spreadsheets(pa.table({"=a": [1], "b\x1b": [2]})).column_names == ["'=a", "b"]


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_no_cell_of_a_csv_file_is_a_formula_or_has_control_characters(tmp_path_factory, texts: list[str]) -> None:
    out = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(out, [pa.table({"id": pa.array([text.encode("utf-8", "replace").decode() for text in texts])})])
    cells = [row[0] for row in csv.reader(io.StringIO(out.read_text(encoding="utf-8")))]
    assert not [
        cell
        for cell in cells
        if cell[:1] in ("\t", "\n") or cell.strip()[:1] in ("=", "+", "-", "@") or without_control(cell) != cell
    ]


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "\x9b31mred", "a\x07\x08b", "over\rwritten", "\u202eright to left", "a\u2028\u200fb"]
)
def test_a_terminal_is_not_told_to_do_what_a_text_says(text: str) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = io.StringIO()
    console = PlainConsole(file=shown, width=60, force_terminal=False)
    table = Table("id", title=Text(text))
    table.add_row(Text(text))
    console.print(table)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    assert without_control(shown.getvalue()) == shown.getvalue()
    assert without_control(text)[:3] in shown.getvalue()
