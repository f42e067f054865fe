"""Attributes are what they hold, on every engine; what is nearly all numbers, or cannot be one column, is named."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sheaf.catalog import Catalog, Line, Product
from sheaf.features import Bank, TableError, build_profiles
from sheaf.features.validation.check import check

CARD = Product(product_id="card", name="Card", line=Line.RETAIL, family="cards")
CATALOG = Catalog(name="test", products=(CARD,))
DAY = dt.date(2024, 12, 31)
JOINED = dt.datetime(2020, 1, 1)


def tables(**attributes: list) -> dict[str, dict[str, list]]:
    rows = len(next(iter(attributes.values())))
    clients: dict[str, list] = {
        "client_id": [f"c{at}" for at in range(rows)],
        "kind": ["retail"] * rows,
        "joined_on": [JOINED] * rows,
    }
    holdings: dict[str, list] = {"client_id": ["c0"], "product_id": ["card"], "opened_on": [JOINED]}
    return {"clients": {**clients, **attributes}, "holdings": holdings}


def relation(columns: dict[str, list]) -> duckdb.DuckDBPyRelation:
    return CONNECTION.from_arrow(pa.table(columns))


CONNECTION = duckdb.connect()
ENGINES = {"pandas": lambda columns: pd.DataFrame({name: pd.Series(of, dtype=object) for name, of in columns.items()}),
           "Polars": pl.DataFrame, "PyArrow": pa.table, "DuckDB": relation}  # fmt: skip
engines = pytest.mark.parametrize("frame", ENGINES.values(), ids=ENGINES)


def bank(frame, **attributes: list) -> Bank:
    return Bank.of(**{name: frame(columns) for name, columns in tables(**attributes).items()})


@engines
@pytest.mark.parametrize(
    ("held", "numbers"),
    [
        ([True, None, False], [1.0, None, 0.0]), ([1, None, 3], [1.0, None, 3.0]), ([1.5, None, 2.0], [1.5, None, 2.0]),
        ([Decimal("1.5"), None, Decimal("2.0")], [1.5, None, 2.0]),
    ],
)  # fmt: skip
def test_objects_are_the_numbers_that_they_hold(frame, held: list, numbers: list) -> None:
    found = build_profiles(bank(frame, size=held), CATALOG, DAY)["size"].to_arrow().to_pylist()
    assert [None if value != value else value for value in found] == numbers


@engines
def test_objects_are_the_days_that_they_hold(frame) -> None:
    found = build_profiles(bank(frame, moved=[dt.date(2023, 12, 31), None]), CATALOG, DAY)["moved_months"].to_list()
    assert found[0] == pytest.approx(366 / 365.25 * 12)


@pytest.mark.parametrize(
    "held", [["25", 30, None], [True, 1, None], ["x", 1.5], ["2020-01-01", dt.date(2020, 1, 1)], [[1], None], [{}, {}]]
)
def test_objects_of_several_types_are_refused(held: list) -> None:
    with pytest.raises(TableError, match=r"table clients, column size: holds values of several types .*; keep values"):
        bank(ENGINES["pandas"], size=held)


def test_ids_that_are_integers_with_nulls_keep_their_digits() -> None:
    found = bank(ENGINES["pandas"], manager_id=[7, None, 2**53 + 1])["clients"].collect("pyarrow")["manager_id"]
    assert found.to_list() == ["7", None, str(2**53 + 1)]


@engines
@pytest.mark.parametrize(
    ("texts", "named"),
    [
        ([" NA", "3", "4"], "nearly all numbers, but for the texts ' NA' (1 rows)"),
        (["1,5", "3", "4"], "nearly all numbers, but for the texts '1,5' (1 rows)"),
        (["20,000", "5%", "4"], "nearly all numbers, but for the texts '20,000', '5%' (2 rows)"),
        (["31/12/2020"], "days kept as texts: '31/12/2020' (1 rows)"),
    ],
)
def test_profiles_tell_of_texts_among_numbers(frame, texts: list[str], named: str) -> None:
    with pytest.warns(UserWarning, match=re.escape(f"table clients, column 'size': {named}")):
        build_profiles(bank(frame, size=texts), CATALOG, DAY)


@engines
def test_profiles_say_nothing_of_numbers_and_categories(frame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = bank(frame, size=[1.5, None], segment=["A1", "2"], code=["1", "2"], empty=["", None])
        build_profiles(made, CATALOG, DAY)


def test_a_bank_tells_of_its_texts_once() -> None:
    made = bank(pa.table, size=[" NA", "3", "4"])
    with pytest.warns(UserWarning, match="nearly all numbers"):
        build_profiles(made, CATALOG, DAY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_profiles(made, CATALOG, DAY)


def lay_out(folder: Path, clients: bytes) -> Path:
    (folder / "clients.csv").write_bytes(clients)
    (folder / "holdings.csv").write_text("client_id,product_id,opened_on\nc0,card,2020-01-01\n")
    return folder


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    lay_out(tmp_path, "client_id,kind,joined_on,town\nc0,retail,2020-01-01,Köln\n".encode("latin-1"))
    with pytest.raises(TableError) as refused:
        build_profiles(Bank.open(tmp_path), CATALOG, DAY)
    told = str(refused.value)
    assert told.startswith("table clients, line 2, cannot be read: Invalid unicode")
    assert told.endswith("write the file again, as Parquet or as CSV in UTF-8")
    assert "\n" not in told


NAMES = ["as_of", "AS_OF", "tenure_months", "Tenure_Months", "held__card", "held__x", "_since"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")
def test_names_of_profile_columns_are_found_and_refused(tmp_path: Path, name: str) -> None:
    folder = lay_out(tmp_path, f"client_id,kind,joined_on,{name}\nc0,retail,2020-01-01,1\n".encode())
    assert [(one.column, one.problem) for one in check(folder, CATALOG)] == [(name, "has the name of a profile column")]
    with pytest.raises(ValueError, match=f"table clients: columns .'{name}'. have the names of profile columns"):
        build_profiles(Bank.open(folder), CATALOG, DAY)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "Polars", "PyArrow"])
@pytest.mark.parametrize("names", [("Size", "size"), ("born_months", "born"), ("Born", "born")])
def test_attributes_of_one_name_in_a_profile_are_named_together(frame, names: tuple[str, str]) -> None:
    day = dt.date(2000, 1, 1)
    held = {name: [day if name.casefold() == "born" else 1.0] for name in names}
    with pytest.raises(ValueError, match=r"table clients: several attributes become \['.*'\] in a profile, .* rename"):
        build_profiles(bank(frame, **held), CATALOG, DAY)


def test_an_attribute_with_two_underscores_is_free() -> None:
    assert "region__code" in build_profiles(bank(pa.table, region__code=[1.0]), CATALOG, DAY).columns


DAYS = [("clients", "joined_on"), ("clients", "left_on"), ("clients", "valid_from"),
        ("holdings", "opened_on"), ("holdings", "closed_on")]  # fmt: skip


@engines
@pytest.mark.parametrize("day", [970101.0, 20240131, Decimal(20240131), 51231.0, 45657.0, 2024.0, 2401.0])
@pytest.mark.parametrize(("table", "column"), DAYS)
def test_numbers_in_place_of_days_are_refused(frame, table: str, column: str, day) -> None:
    made = tables(size=[1])
    made[table][column] = [day]
    with pytest.raises(TableError, match=f"table {table}: column '{column}' has numbers in place of days; keep dates"):
        Bank.of(**{name: frame(columns) for name, columns in made.items()})


@engines
def test_day_numbers_that_a_bank_handed_out_are_taken(frame) -> None:
    made = bank(frame, size=[1.0])
    again = Bank.of(**{name: made[name].collect().to_native() for name in made})
    assert again["clients"].collect()["joined_on"].to_list() == [18262.0]
