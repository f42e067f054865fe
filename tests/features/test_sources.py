"""What of a bank's folder and frames is read, and what is refused because it would be left out or counted twice."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sheaf.features import Bank, TableError
from sheaf.features.validation.check import Finding, check
from tests.features.banks import CATALOG, profiles

D = dt.date
CLIENTS = {"client_id": ["a", "b"], "kind": ["retail"] * 2, "joined_on": [D(2020, 1, 1)] * 2}
HOLDINGS = {"client_id": ["a"], "product_id": ["loan"], "opened_on": [D(2020, 1, 1)], "closed_on": [D(2024, 1, 1)]}
BOOKINGS: dict[str, Any] = {"client_id": ["a"], "booked_at": [D(2024, 6, 30)], "amount": [5.0]}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")


def write(folder: Path, **tables: dict[str, Any]) -> Path:
    for name, columns in ({"clients": CLIENTS, "holdings": HOLDINGS} | tables).items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def renamed(columns: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if name == old else name: values for name, values in columns.items()}


def found(folder: Path) -> list[tuple[str, str, str]]:
    return [(one.table, one.column, one.problem) for one in check(folder, CATALOG)]


# --- names of columns ---

SPELLINGS = [
    "Closed_On", "CLOSED_ON", "closed on", "closed_on ", " closed_on", "closedOn", "ClosedOn", "closed-on", "closed.on",
    "closedon", "\ufeffclosed_on", "closed_on_1", "closed_on.1", "closed_on_duplicated_0", "closed\u00a0on",
]  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_column_of_the_contract_in_another_spelling_is_refused(name: str, tmp_path: Path) -> None:
    holdings = renamed(HOLDINGS, "closed_on", name)
    message = r"table holdings: column .* is not read, as names count as written; call it closed_on"
    for library in (pd.DataFrame, pl.DataFrame, pa.table):
        with pytest.raises(TableError, match=message):
            Bank.of(clients=library(CLIENTS), holdings=library(holdings))
    write(tmp_path, holdings=holdings)
    with pytest.raises(TableError, match=message):
        Bank.open(tmp_path)
    problem = f"column {name!r} is not read, as names count as written"
    assert check(tmp_path, CATALOG) == [Finding("holdings", "closed_on", problem, 0, (), "call it closed_on")]


@pytest.mark.parametrize("name", ["Client_ID", "left on", "Left_On", "Valid_From", "groupId"])
def test_attributes_are_no_hiding_place_for_columns_of_the_contract(name: str, tmp_path: Path) -> None:
    clients = CLIENTS | {"valid_from": [None] * 2, "left_on": [None] * 2, "group_id": ["g"] * 2}
    of = {"Client_ID": "client_id", "Valid_From": "valid_from", "groupId": "group_id"}.get(name, "left_on")
    write(tmp_path, clients=renamed(clients, of, name))
    with pytest.raises(TableError, match=rf"column '{name}' is not read.*call it {of}"):
        Bank.open(tmp_path)
    assert ("clients", of, f"column {name!r} is not read, as names count as written") in found(tmp_path)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    dates = [D(2024, 1, 1)]
    twice = pa.Table.from_arrays([*map(pa.array, HOLDINGS.values()), pa.array(dates)], names=[*HOLDINGS, "opened_on"])
    frame = pd.concat([pd.DataFrame(HOLDINGS), pd.DataFrame({"opened_on": dates})], axis=1)
    for clients, holdings in ((pa.table(CLIENTS), twice), (pd.DataFrame(CLIENTS), frame)):
        with pytest.raises(TableError, match=r"table holdings: .*opened_on"):
            Bank.of(clients=clients, holdings=holdings)
    write(tmp_path)
    pq.write_table(twice, tmp_path / "holdings.parquet")
    with pytest.raises(TableError, match="column 'opened_on_1' is opened_on once more; keep one of them"):
        Bank.open(tmp_path)
    assert found(tmp_path) == [("holdings", "opened_on", "column 'opened_on_1' is opened_on once more")]
    (tmp_path / "holdings.parquet").unlink()
    (tmp_path / "holdings.csv").write_text("client_id,product_id,opened_on,Opened_On\na,loan,2020-01-01,2021-01-01\n")
    with pytest.raises(TableError, match="is opened_on once more"):
        Bank.open(tmp_path)


def test_a_column_that_is_nearly_one_of_the_contract_is_found(tmp_path: Path) -> None:
    write(tmp_path, holdings=renamed(HOLDINGS, "closed_on", "closd_on") | {"remark": ["x"]})
    assert found(tmp_path) == [("holdings", "closed_on", "column 'closd_on' is not read, and there is no closed_on")]


def test_further_columns_are_left_in_peace(tmp_path: Path) -> None:
    write(tmp_path, clients=CLIENTS | {"age": [1, 2], "sector_2": ["x", "y"]}, holdings=HOLDINGS | {"note": ["x"]})
    assert found(tmp_path) == []
    assert set(Bank.open(tmp_path).attributes) == {"age", "sector_2"}


# --- names of tables ---


@pytest.mark.parametrize("name", ["Transactions.parquet", "transactions.PARQUET", "transactions .csv", "TRANSACTIONS",
                                  "transactions.csv.gz", "transactions.pq", "transactions.orc"])  # fmt: skip
def test_a_table_under_another_spelling_is_refused(name: str, tmp_path: Path) -> None:
    (write(tmp_path) / name).mkdir()
    with pytest.raises(TableError, match=r"table transactions: .* is not read"):
        Bank.open(tmp_path)
    assert [finding.table for finding in check(tmp_path, CATALOG)] == ["transactions"]


def test_hidden_files_and_others_are_no_tables(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("._holdings.parquet", ".holdings.parquet", "_holdings.csv", "holdings_old.parquet", "readme.txt"):
        (tmp_path / name).write_text("")
    assert found(tmp_path) == []
    assert set(Bank.open(tmp_path)) == {"clients", "holdings"}


# --- folders of files ---


def folder_of(tmp_path: Path) -> Path:
    folder = write(tmp_path) / "transactions"
    folder.mkdir()
    pq.write_table(pa.table(BOOKINGS), folder / "part-0.parquet")
    return folder


@pytest.mark.parametrize(
    "place", ["_temporary/0/task", "_temporary", ".spark-staging", ".hidden", "year=2024/_started"]
)
def test_hidden_paths_are_left_out(place: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / place).mkdir(parents=True)
    shutil.copy(folder / "part-0.parquet", folder / place / "part-0.parquet")
    for name in ("_copy.parquet", ".part-0.parquet"):
        shutil.copy(folder / "part-0.parquet", folder / name)
    assert Bank.open(tmp_path)["transactions"].collect().shape[0] == 1
    assert found(tmp_path) == []


@pytest.mark.parametrize("name", ["part-1.csv", "part-1.PQ", "year=2024/part-1.csv.gz", "part-1.parquet.gz"])
def test_rows_in_other_files_of_a_folder_are_no_secret(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    told = f"the folder transactions holds {name} beside its .parquet files, which is not read"
    with pytest.raises(TableError, match=re.escape(told)):
        Bank.open(tmp_path)
    assert [finding.problem for finding in check(tmp_path, CATALOG)] == [told]


def test_files_that_hold_no_rows_lie_in_peace_beside_others(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for name in ("_SUCCESS", ".part-0.parquet.crc", "README.md", "_backup.csv", "manifest.json"):
        (folder / name).write_text("")
    assert Bank.open(tmp_path)["transactions"].collect().shape[0] == 1
    assert found(tmp_path) == []


def test_columns_that_nothing_reads_are_known(tmp_path: Path) -> None:
    folder = write(tmp_path) / "transactions"
    folder.mkdir()
    pq.write_table(pa.table(BOOKINGS | {"close_date": ["2024-01-01"]}), folder / "part-0.parquet")
    assert Bank.open(tmp_path).unread == {"transactions": ["close_date"]}


def test_partitions_may_begin_with_an_underscore(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "_year=2024").mkdir()
    (folder / "part-0.parquet").rename(folder / "_year=2024" / "part-0.PARQUET")
    assert Bank.open(tmp_path)["transactions"].collect().shape[0] == 1


@pytest.mark.parametrize(
    ("place", "system"),
    [
        ("_delta_log/00000000000000000000.json", "Delta Lake"),
        ("sub/_delta_log/00000000000000000010.checkpoint.parquet", "Delta Lake"),
        (".hoodie/hoodie.properties", "Apache Hudi"),
        ("metadata/version-hint.text", "Apache Iceberg"),
        ("metadata/00001-5f.metadata.json", "Apache Iceberg"),
    ],
)
def test_tables_of_other_systems_are_refused_by_name(place: str, system: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / place).parent.mkdir(parents=True)
    (folder / place).write_text("")
    with pytest.raises(TableError, match=rf"the folder transactions is a table of {system}.*plain Parquet"):
        Bank.open(tmp_path)
    [(table, _, problem)] = found(tmp_path)
    assert table == "transactions"
    assert system in problem


# --- empty texts ---


def bookings(**column: str | None) -> dict[str, Any]:
    return {name: values * 2 for name, values in BOOKINGS.items()} | {k: [v, None] for k, v in column.items()}


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_text_is_null_in_frames_and_files(empty: str, tmp_path: Path) -> None:
    transactions = bookings(currency=empty, counterparty_id=empty, kind=empty)
    clients = CLIENTS | {"sector": [empty, None], "segment": [empty, None]}
    tables = {"clients": clients, "holdings": HOLDINGS, "transactions": transactions}
    banks = [Bank.open(write(tmp_path, clients=clients, transactions=transactions))]
    banks += [
        Bank.of(**{name: library(table) for name, table in tables.items()})
        for library in (pd.DataFrame, pl.DataFrame, pa.table)
    ]
    for bank in banks:
        told = profiles(bank).loc["a"]
        assert (told["inflow_1m"], told["foreign_in_3m"], told["counterparties_12m"]) == (10, 0, 0)
        assert told[["sector", "segment"]].isna().all()
    assert found(tmp_path) == []


def test_a_quoted_empty_text_of_a_csv_is_null(tmp_path: Path) -> None:
    (write(tmp_path) / "transactions.csv").write_text(
        'client_id,booked_at,amount,currency,counterparty_id\na,2024-06-30,5.0,"",""\n'
    )
    told = profiles(Bank.open(tmp_path)).loc["a"]
    assert (told["foreign_in_3m"], told["counterparties_12m"]) == (0, 0)
