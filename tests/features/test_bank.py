"""Tables from files and frames of any kind read alike, and only what was known on a day is there on that day."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features.bank import Bank, TableError, connect, day_number, from_day_number
from sheaf.features.contract import TABLES, Type

CLIENTS = {
    "client_id": ["007", "c2", "c3"],
    "kind": ["retail", "corporate", "institution"],
    "joined_on": [dt.date(1969, 12, 31), dt.date(2020, 2, 29), dt.date(2024, 5, 1)],
    "left_on": [None, dt.date(2024, 3, 1), None],
    "age": [41, None, 7],
}
HOLDINGS = {
    "client_id": ["007", "c2", "c2"],
    "product_id": ["mortgage", "leasing", "guarantee"],
    "opened_on": [dt.date(1999, 1, 1), dt.date(2021, 1, 1), dt.date(2024, 6, 1)],
    "closed_on": [dt.date(2024, 3, 1), None, None],
}
TRANSACTIONS = {
    "client_id": ["007", "007", "c2"],
    "booked_at": [dt.datetime(2024, 2, 28, 23, 59, 59), dt.datetime(2024, 3, 1, 0, 0), dt.datetime(2024, 3, 2, 12, 0)],
    "amount": [1250.5, -80.0, 3e6],
}
TABLES_OF_A_BANK = {"clients": CLIENTS, "holdings": HOLDINGS, "transactions": TRANSACTIONS}


def rows(frame: nw.LazyFrame[Any]) -> list[dict[str, Any]]:
    """The rows in one order, columns of nulls and nan alike."""
    names = frame.collect_schema().names()  # pandas would add its index
    found = frame.collect("pyarrow").select(names).to_native().to_pylist()
    alike = [{name: None if value != value else value for name, value in row.items()} for row in found]
    return sorted(alike, key=repr)


def column(frame: nw.LazyFrame[Any], name: str) -> list[Any]:
    return [row[name] for row in rows(frame.select(name))]


def write(folder: Path, tables: Mapping[str, Any] = TABLES_OF_A_BANK) -> Path:
    folder.mkdir(exist_ok=True)
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def relations(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    connection = connect()
    return {name: connection.from_arrow(table) for name, table in tables.items()}


ENGINES: dict[str, Callable[[dict[str, pa.Table]], Mapping[str, Any]]] = {
    "pandas": lambda tables: {name: table.to_pandas() for name, table in tables.items()},
    "pandas on Arrow": lambda tables: {n: t.to_pandas(types_mapper=pd.ArrowDtype) for n, t in tables.items()},
    "Polars": lambda tables: {name: pl.from_arrow(table) for name, table in tables.items()},
    "Polars, lazy": lambda tables: {name: pl.DataFrame(table).lazy() for name, table in tables.items()},
    "PyArrow": lambda tables: tables,
    "DuckDB": relations,
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Callable[[Mapping[str, Any]], Bank]:
    return lambda tables: Bank.of(**ENGINES[request.param]({name: pa.table(table) for name, table in tables.items()}))


def test_the_contracts_page_has_every_table_and_column_as_the_code_has_it():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "contract.md").read_text()
    for table in TABLES.values():
        section = page.split(f"### {table.name}\n")[1].split("\n### ")[0].split("\n## ")[0]
        stated = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
        rows = [(name.strip(" `"), kind.strip(), required.strip() == "yes") for name, kind, required in stated]
        assert rows == [(column.name, str(column.type), column.required) for column in table.columns]


# --- the same numbers from every engine ---


def test_frames_of_every_library_give_what_the_files_give(engine, tmp_path):
    filed, framed = Bank.open(write(tmp_path)), engine(TABLES_OF_A_BANK)
    as_of = dt.date(2024, 3, 1)
    assert set(filed) == set(framed) == set(TABLES_OF_A_BANK)
    for name in TABLES_OF_A_BANK:
        assert rows(filed[name]) == rows(framed[name])
        assert rows(filed.known_on(as_of)[name]) == rows(framed.known_on(as_of)[name])
    assert rows(filed.cohort(as_of)) == rows(framed.cohort(as_of))


def test_every_column_of_the_contract_is_there_in_one_type(engine):
    bank = engine(TABLES_OF_A_BANK)
    for name, frame in bank.items():
        schema = frame.collect_schema()
        for stated in TABLES[name].columns:
            numeric = stated.type in (Type.DAY, Type.NUMBER)
            assert schema[stated.name] == (nw.Float64 if numeric else nw.String), (name, stated.name)
    assert column(bank["transactions"], "currency") == [None, None, None]
    assert set(bank.attributes) == {"age"}


def test_columns_beyond_the_contract_are_attributes_of_clients_and_nothing_elsewhere():
    bank = Bank.of(clients=pd.DataFrame(CLIENTS), holdings=pd.DataFrame(HOLDINGS).assign(kind="x"))
    assert "kind" not in bank["holdings"].collect_schema()
    assert "age" in bank["clients"].collect_schema()


# --- days ---

MOMENTS = [
    dt.datetime(1900, 2, 28, 23, 59, 59),
    dt.datetime(1969, 12, 31, 23, 30),
    dt.datetime(2024, 2, 29, 0, 0),
    None,
]
DAYS = [None if moment is None else moment.date() for moment in MOMENTS]
NUMBERS = [-25509.0, -1.0, 19782.0, None]  # 70 years and 17 leap days before, a day before, 54 years after 1970-01-01
UTC = [None if moment is None else moment.replace(tzinfo=dt.UTC) for moment in MOMENTS]
ISO = [None if day is None else day.isoformat() for day in DAYS]

WAYS_TO_WRITE_DAYS: dict[str, Any] = {
    "pandas, Python dates": pd.DataFrame({"day": pd.Series(DAYS, dtype=object)}),
    "pandas, seconds": pd.DataFrame({"day": pd.Series(MOMENTS, dtype="datetime64[s]")}),
    "pandas, milliseconds": pd.DataFrame({"day": pd.Series(MOMENTS, dtype="datetime64[ms]")}),
    "pandas, microseconds": pd.DataFrame({"day": pd.Series(MOMENTS, dtype="datetime64[us]")}),
    "pandas, nanoseconds": pd.DataFrame({"day": pd.Series(MOMENTS, dtype="datetime64[ns]")}),
    "pandas, with a zone": pd.DataFrame({"day": pd.Series(UTC).dt.tz_convert("Asia/Shanghai")}),
    "pandas, texts": pd.DataFrame({"day": ISO}),
    "pandas, texts as objects": pd.DataFrame({"day": pd.Series(ISO, dtype=object)}),
    "pandas, categories": pd.DataFrame({"day": pd.Series(ISO).astype("category")}),
    "pandas on Arrow, dates": pd.DataFrame({"day": pd.Series(DAYS, dtype=pd.ArrowDtype(pa.date32()))}),
    "pandas on Arrow, texts": pd.DataFrame({"day": pd.Series(ISO, dtype=pd.ArrowDtype(pa.string()))}),
    "Polars, dates": pl.DataFrame({"day": DAYS}),
    "Polars, nanoseconds": pl.DataFrame({"day": MOMENTS}, schema={"day": pl.Datetime("ns")}),
    "Polars, with a zone": pl.DataFrame({"day": UTC}).with_columns(pl.col("day").dt.convert_time_zone("Asia/Shanghai")),
    "Polars, moments as texts": pl.DataFrame({"day": [None if m is None else m.isoformat() for m in MOMENTS]}),
    "PyArrow, date32": pa.table({"day": pa.array(DAYS, pa.date32())}),
    "PyArrow, date64": pa.table({"day": pa.array(DAYS, pa.date64())}),
    "PyArrow, seconds": pa.table({"day": pa.array(MOMENTS, pa.timestamp("s"))}),
    "PyArrow, nanoseconds": pa.table({"day": pa.array(MOMENTS, pa.timestamp("ns"))}),
    "PyArrow, with a zone": pa.table({"day": pa.array(UTC, pa.timestamp("us", "Asia/Shanghai"))}),
    "PyArrow, texts": pa.table({"day": ISO}),
    "day numbers": pd.DataFrame({"day": NUMBERS}),
}


@pytest.fixture
def holdings() -> pd.DataFrame:
    return pd.DataFrame(HOLDINGS)


def clients_with_days(frame: Any) -> Any:
    named = nw.from_native(frame).rename({"day": "joined_on"}).with_row_index("client_id")
    return named.with_columns(kind=nw.lit("retail")).to_native()


def joined_on(bank: Bank) -> list[float | None]:
    return [row["joined_on"] for row in rows(bank["clients"].select("client_id", "joined_on"))]


@pytest.mark.parametrize("way", WAYS_TO_WRITE_DAYS)
def test_days_of_every_kind_become_the_same_numbers(way, holdings):
    assert joined_on(Bank.of(clients=clients_with_days(WAYS_TO_WRITE_DAYS[way]), holdings=holdings)) == NUMBERS


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamp_ms", "timestamp_ns", "varchar", "timestamptz"])
def test_days_of_every_kind_in_files_become_the_same_numbers(kind, tmp_path):
    write(tmp_path)
    connection = connect()
    connection.from_arrow(clients_with_days(pa.table({"day": MOMENTS}))).create_view("moments")
    connection.sql(f"select * replace (joined_on::{kind} as joined_on) from moments").to_parquet(
        str(tmp_path / "clients.parquet")
    )
    assert joined_on(Bank.open(tmp_path)) == NUMBERS


@given(st.dates())
def test_a_day_number_leads_back_to_its_day(day):
    assert from_day_number(day_number(day)) == day
    assert day_number(day) == (day - dt.date(1970, 1, 1)).days


@settings(max_examples=10)
@given(st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1)), min_size=1, max_size=9))
def test_a_moment_counts_by_its_date_on_every_engine(moments):
    clients = clients_with_days(pa.table({"day": pa.array(moments, pa.timestamp("us"))}))
    for name in ("pandas", "Polars", "PyArrow", "DuckDB"):
        bank = Bank.of(**ENGINES[name]({"clients": clients, "holdings": pa.table(HOLDINGS)}))
        assert joined_on(bank) == [day_number(moment) for moment in moments]


# --- texts ---

WAYS_TO_WRITE_IDS: dict[str, Any] = {
    "pandas, texts": pd.DataFrame({"id": ["1", None]}),
    "pandas, objects": pd.DataFrame({"id": pd.Series(["1", None], dtype=object)}),
    "pandas, mixed objects": pd.DataFrame({"id": pd.Series([1, None], dtype=object)}),
    "pandas, categories": pd.DataFrame({"id": pd.Series(["1", None]).astype("category")}),
    "pandas on Arrow": pd.DataFrame({"id": pd.Series(["1", None], dtype=pd.ArrowDtype(pa.string()))}),
    "pandas, integers with nulls": pd.DataFrame({"id": [1, None]}),
    "pandas, nullable integers": pd.DataFrame({"id": pd.Series([1, None], dtype="Int64")}),
    "Polars, categories": pl.DataFrame({"id": ["1", None]}, schema={"id": pl.Categorical}),
    "Polars, enumeration": pl.DataFrame({"id": ["1", None]}, schema={"id": pl.Enum(["1"])}),
    "Polars, integers": pl.DataFrame({"id": [1, None]}),
    "PyArrow, dictionary": pa.table({"id": pa.array(["1", None]).dictionary_encode()}),
    "PyArrow, large texts": pa.table({"id": pa.array(["1", None], pa.large_string())}),
    "PyArrow, integers": pa.table({"id": [1, None]}),
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE_IDS)
def test_ids_of_every_kind_become_the_same_texts(way, holdings):
    frame = nw.from_native(WAYS_TO_WRITE_IDS[way]).rename({"id": "client_id"})
    clients = frame.with_columns(kind=nw.lit("retail"), joined_on=nw.lit(dt.datetime(2020, 1, 1)))
    bank = Bank.of(clients=clients.to_native(), holdings=holdings)
    assert sorted(column(bank["clients"], "client_id"), key=repr) == ["1", None]


# --- files ---


def test_csv_keeps_ids_as_they_are_written_and_guesses_attributes(tmp_path):
    (tmp_path / "clients.csv").write_text(
        "client_id,kind,joined_on,left_on,age,name\n"
        '007,retail,2020-02-29,,41,"Bond, James"\n'
        "8,corporate,1969-12-31,2024-03-01,,\n"
    )
    (tmp_path / "holdings.csv").write_text("client_id;product_id;opened_on\n007;1.10;2020-03-01T10:00:00\n")
    bank = Bank.open(tmp_path)
    assert column(bank["clients"], "client_id") == ["007", "8"]
    assert column(bank["clients"], "joined_on") == [-1.0, float(day_number(dt.date(2020, 2, 29)))]
    assert column(bank["clients"], "left_on") == [float(day_number(dt.date(2024, 3, 1))), None]
    assert bank.attributes == {"age": nw.Int64(), "name": nw.String()}
    assert rows(bank["holdings"])[0]["product_id"] == "1.10"
    assert rows(bank["holdings"])[0]["opened_on"] == float(day_number(dt.date(2020, 3, 1)))


def test_a_csv_without_rows_has_its_columns(tmp_path):
    write(tmp_path)
    (tmp_path / "links.csv").write_text("client_id,linked_id,relation\n")
    assert rows(Bank.open(tmp_path)["links"]) == []


def test_a_table_may_be_a_folder_of_files_that_differ_in_their_columns(tmp_path):
    write(tmp_path)
    (tmp_path / "transactions.parquet").unlink()
    parts = tmp_path / "transactions"
    parts.mkdir()
    pq.write_table(pa.table(TRANSACTIONS), parts / "part-0.parquet")
    pq.write_table(pa.table(TRANSACTIONS | {"currency": ["EUR", "USD", None]}), parts / "part-1.parquet")
    assert sorted(column(Bank.open(tmp_path)["transactions"], "currency"), key=repr) == ["EUR", "USD", *[None] * 4]


def test_a_folder_may_be_named_like_a_file(tmp_path):
    write(tmp_path)
    (tmp_path / "clients.parquet").rename(tmp_path / "part-0.parquet")
    (tmp_path / "clients.parquet").mkdir()
    (tmp_path / "part-0.parquet").rename(tmp_path / "clients.parquet" / "part-0.parquet")
    assert len(rows(Bank.open(tmp_path)["clients"])) == 3


def test_what_a_partitioned_folders_names_say_is_read_as_it_is_written(tmp_path):
    write(tmp_path)
    (tmp_path / "clients.parquet").unlink()
    for branch, client in (("007", "c1"), ("12", "c2")):
        part = tmp_path / "clients" / f"branch_id={branch}"
        part.mkdir(parents=True)
        columns = {"client_id": [client], "kind": ["retail"], "joined_on": [dt.date(2020, 1, 1)]}
        pq.write_table(pa.table(columns), part / "data.parquet")
    assert column(Bank.open(tmp_path)["clients"], "branch_id") == ["007", "12"]


@pytest.mark.parametrize("name", ["O'Hara's bank", 'a "bank"', "bank [2024]", "ba?k", "b*nk", "year=2024"])
def test_a_folders_name_is_taken_as_it_is(name, tmp_path):
    write(tmp_path / "bank 2")  # what a wildcard in the name would find as well
    write(tmp_path / "bank")
    folder = write(tmp_path / name)
    (folder / "holdings").mkdir()
    (folder / "holdings.parquet").rename(folder / "holdings" / "part.parquet")
    bank = Bank.open(folder)
    assert len(rows(bank["clients"])) == 3
    assert len(rows(bank["holdings"])) == 3
    assert set(bank.attributes) == {"age"}


def test_opening_reads_no_rows(tmp_path):
    write(tmp_path)
    bank = Bank.open(tmp_path)
    shutil.rmtree(tmp_path)
    bank.known_on(dt.date(2024, 3, 1)).clients_on(dt.date(2024, 3, 1))  # stays a plan
    with pytest.raises(duckdb.IOException):
        rows(bank["transactions"])


# --- what cannot be opened ---


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TableError, match="nowhere is not a folder; give the folder that holds the bank's tables"):
        Bank.open(tmp_path / "nowhere")


def test_missing_tables_are_named_with_the_files_that_would_do(tmp_path):
    write(tmp_path, {"transactions": TRANSACTIONS})
    with pytest.raises(TableError, match=r"put clients\.parquet, .*, holdings/ or holdings\.csv there"):
        Bank.open(tmp_path)


def test_a_missing_required_column_is_named():
    with pytest.raises(TableError, match=r"table holdings: required columns are missing: \['opened_on'\]; it has"):
        Bank.of(clients=pd.DataFrame(CLIENTS), holdings=pd.DataFrame(HOLDINGS).drop(columns="opened_on"))


def test_a_table_that_the_contract_lacks_is_named():
    with pytest.raises(TableError, match=r"no such table in the contract: \['client'\]; it has \['clients',"):
        Bank.of(client=pd.DataFrame(CLIENTS), holdings=pd.DataFrame(HOLDINGS))


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "links.parquet").write_text("client_id,linked_id")
    with pytest.raises(TableError, match=r"table links cannot be read: .*links\.parquet.*; write the file again"):
        Bank.open(tmp_path)


def test_a_table_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "clients.csv").write_text("client_id,kind,joined_on\n")
    with pytest.raises(TableError, match=r"more than once; keep one of clients\.parquet, clients\.csv"):
        Bank.open(tmp_path)


def test_a_folder_without_parquet_files_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "links").mkdir()
    with pytest.raises(TableError, match=r"the folder links holds no \.parquet file"):
        Bank.open(tmp_path)


def test_values_that_cannot_be_read_name_their_table(holdings):
    with pytest.raises(TableError, match=r"table holdings: .*days are dates or ISO texts"):
        Bank.of(clients=pd.DataFrame(CLIENTS), holdings=holdings.assign(opened_on="31.12.2024"))


# --- what is known on a day ---

AS_OF = dt.date(2024, 3, 1)


def test_a_row_dated_after_the_day_is_not_there_yet(engine):
    known = engine(TABLES_OF_A_BANK).known_on(AS_OF)
    assert column(known["holdings"], "product_id") == ["leasing", "mortgage"]
    assert sorted(column(known["transactions"], "amount")) == [-80.0, 1250.5]  # of that day itself: known


def test_closing_after_the_day_is_not_known_yet(engine):
    bank = engine(TABLES_OF_A_BANK)
    closed = {day: column(bank.known_on(day)["holdings"], "closed_on") for day in (dt.date(2024, 2, 29), AS_OF)}
    assert closed[dt.date(2024, 2, 29)] == [None, None]
    assert sorted(closed[AS_OF], key=repr) == [float(day_number(AS_OF)), None]


def test_an_outcome_is_known_from_the_day_of_the_response(engine):
    offers = {
        "offer_id": ["o1", "o2"],
        "client_id": ["c2", "c2"],
        "bundle_id": ["b", "b"],
        "offered_at": [dt.datetime(2024, 1, 1)] * 2,
        "outcome": ["accepted", "rejected"],
        "responded_at": [dt.datetime(2024, 3, 1, 18, 0), dt.datetime(2024, 3, 2)],
    }
    known = engine(TABLES_OF_A_BANK | {"offers": offers}).known_on(AS_OF)["offers"]
    assert {row["offer_id"]: row["outcome"] for row in rows(known)} == {"o1": "accepted", "o2": None}
    assert {row["offer_id"]: row["responded_at"] for row in rows(known)} == {"o1": float(day_number(AS_OF)), "o2": None}


HISTORY = {
    "client_id": ["c1", "c1", "c1", "c2", "c3"],
    "kind": ["retail", "retail", "corporate", "retail", "retail"],
    "joined_on": [dt.date(2020, 1, 1)] * 5,
    "left_on": [None, None, None, dt.date(2024, 3, 2), dt.date(2024, 3, 1)],
    "valid_from": [None, dt.date(2023, 1, 1), dt.date(2024, 3, 2), None, dt.date(2023, 1, 1)],
    "sector": ["old", "middle", "new", "only", "only"],
}


@pytest.mark.parametrize(
    ("day", "sector"),
    [
        (dt.date(2022, 12, 31), "old"),
        (dt.date(2023, 1, 1), "middle"),
        (dt.date(2024, 3, 1), "middle"),
        (dt.date(2024, 3, 2), "new"),
    ],
)
def test_the_latest_row_of_a_client_counts(engine, day, sector):
    latest = engine({"clients": HISTORY, "holdings": HOLDINGS}).clients_on(day)
    assert [row["sector"] for row in rows(latest) if row["client_id"] == "c1"] == [sector]


def test_active_is_who_has_joined_and_has_not_left(engine):
    bank = engine({"clients": HISTORY, "holdings": HOLDINGS})
    assert column(bank.cohort(dt.date(2019, 12, 31)), "client_id") == []
    assert column(bank.cohort(dt.date(2024, 3, 1)), "client_id") == ["c1", "c2"]  # c3 left on that day
    assert column(bank.cohort(dt.date(2024, 3, 2)), "client_id") == ["c1"]


def test_the_banks_cohort_of_the_day_restricts_and_one_of_another_day_does_not(engine):
    cohorts = {"client_id": ["c2", "c3", "c1"], "as_of": [dt.date(2024, 3, 1)] * 2 + [dt.date(2024, 1, 1)]}
    bank = engine({"clients": HISTORY, "holdings": HOLDINGS, "cohorts": cohorts})
    assert column(bank.cohort(dt.date(2024, 3, 1)), "client_id") == ["c2"]
    assert column(bank.cohort(dt.date(2024, 2, 29)), "client_id") == ["c1", "c2", "c3"]
    assert column(bank.cohort(dt.date(2024, 2, 29), ["c3", "nobody"]), "client_id") == ["c3"]


@pytest.mark.parametrize("library", ["pandas", "Polars", "PyArrow"])
@pytest.mark.parametrize("held", ["files", "pandas", "Polars", "PyArrow"])
def test_a_cohort_of_any_library_restricts_a_bank_of_any_other(held, library, tmp_path):
    tables = {"clients": pa.table(HISTORY), "holdings": pa.table(HOLDINGS)}
    bank = Bank.open(write(tmp_path, tables)) if held == "files" else Bank.of(**ENGINES[held](tables))
    named = {"cohort": pa.table({"client_id": ["c1", "c2"], "as_of": [dt.date(2024, 1, 1), dt.date(2024, 3, 1)]})}
    cohort = ENGINES[library](named)["cohort"]
    assert column(bank.cohort(dt.date(2024, 3, 1), cohort), "client_id") == ["c2"]
    with pytest.raises(TableError, match="the cohort has no row with as_of 2024-03-02"):
        bank.cohort(dt.date(2024, 3, 2), cohort)


# --- nothing later can be seen earlier ---

DAY = st.dates(dt.date(2024, 1, 1), dt.date(2024, 1, 9))
MAYBE = st.none() | DAY


@st.composite
def pasts_and_futures(draw: st.DrawFn) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame], dt.date]:
    """A bank with rows in one table, the same bank with another future, and the day that divides the two."""
    as_of = draw(DAY)
    later = st.dates(as_of + dt.timedelta(1), dt.date(2024, 1, 11))
    table = draw(st.sampled_from([table for table in TABLES.values() if table.dated]))
    dated = str(table.dated)
    days: st.SearchStrategy[Any] = st.fixed_dictionaries(
        {c.name: st.none() | DAY for c in table.columns if c.type is Type.DAY}
    )
    once: list[Any] = []
    otherwise: list[Any] = []
    for place, row in enumerate(draw(st.lists(days, max_size=4))):
        row |= {"place": place} | dict.fromkeys(table.told_at_end, f"told {place}")
        once.append(row)
        if row[dated] is not None and row[dated] > as_of:  # is gone, or becomes another row later on
            otherwise += [kept | {dated: draw(later), "place": 8} for kept in [draw(st.none() | days)] if kept]
            continue
        open_ends = [end for end in table.ends if row[end] is None or row[end] > as_of]
        changed = {end: draw(st.none() | later) for end in open_ends}
        retold = {name: draw(st.none() | st.text("ab", max_size=2)) for name in table.told_at_end if open_ends}
        otherwise.append(row | changed | retold)
    otherwise += [row | {dated: draw(later), "place": 9} for row in draw(st.lists(days, max_size=2))]
    names = {"clients", "holdings", table.name}
    first, second = ({n: _frame(n, rows if n == table.name else []) for n in names} for rows in (once, otherwise))
    return first, second, as_of


def _frame(name: str, found: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of days as a table of the contract; their other columns say which row it is."""
    return pl.DataFrame({c.name: [row.get(c.name, str(row["place"])) for row in found] for c in TABLES[name].columns})


@settings(max_examples=50)
@given(pasts_and_futures())
def test_another_future_changes_nothing_of_what_was_known(drawn):
    once, otherwise, as_of = drawn
    known, still = Bank.of(**once).known_on(as_of), Bank.of(**otherwise).known_on(as_of)
    for name in known:
        assert rows(known[name]) == rows(still[name])
    assert rows(known.clients_on(as_of)) == rows(still.clients_on(as_of))
    assert rows(known.cohort(as_of)) == rows(still.cohort(as_of))
