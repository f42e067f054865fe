"""What the check says of the clients' attributes, and of frames that a bank is made of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sheaf.catalog import Catalog, Line, Product, Range
from sheaf.features import Bank, TableError
from sheaf.features.validation.check import Finding, check, check_bank

AGE = Product(product_id="card", name="Card", line=Line.RETAIL, family="cards", where={"age": Range(min=18, max=64)})
CATALOG = Catalog(name="test", products=(AGE,))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")


def found(folder: Path, content: str | bytes) -> dict[str, Finding]:
    """Findings by column, of clients.csv with the columns that follow age."""
    (folder / "holdings.csv").write_text("client_id,product_id,opened_on\nc1,card,2020-01-01\n")
    head, *rows = (content.encode() if isinstance(content, str) else content).split(b"\n")
    lines = [b"client_id,kind,joined_on,age," + head]
    lines += [f"c{at},retail,2020-01-01,40,".encode() + row for at, row in enumerate(rows, start=1)]
    (folder / "clients.csv").write_bytes(b"\n".join(lines) + b"\n")
    return {one.column: one for one in check(folder, CATALOG)}


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["16", " NA"], "' NA'"), (["1.5", "n/a"], "'n/a'"), (['"1,5"', '"2,5"'], "'1,5', '2,5'"),
        (['"20,000"', '"1,000"'], "'1,000', '20,000'"), (["5%", "7 %"], "'5%', '7 %'"), (["20.000 EUR", "5"], "20.000"),
    ],
)  # fmt: skip
def test_texts_among_numbers_are_named(tmp_path: Path, texts: list[str], named: str) -> None:
    finding = found(tmp_path, "\n".join(["size", *texts]))["size"]
    assert finding.problem.startswith("nearly all numbers, but for the texts")
    assert named in finding.problem


@pytest.mark.parametrize("day", ["31/12/2020", "31.12.2020", "12-31-2020"])
def test_days_in_another_form_are_named(tmp_path: Path, day: str) -> None:
    assert found(tmp_path, f"renewed\n{day}")["renewed"].problem == f"days kept as texts: '{day}'"


def test_categories_flags_days_and_empty_columns_are_as_they_should_be(tmp_path: Path) -> None:
    assert found(tmp_path, "segment,digital,moved_on,nothing\nA1,true,2020-01-01,\nB2,false,2021-01-01,") == {}


@pytest.mark.parametrize("column", ["Sex", "sex_1", "marital status"])
def test_protected_attributes_in_another_spelling_are_named(tmp_path: Path, column: str) -> None:
    assert "which the catalog's policy protects" in found(tmp_path, f"{column}\nx")[column].problem


def test_bytes_that_are_no_text_are_found_in_attributes(tmp_path: Path) -> None:
    findings = found(tmp_path, b"town\nK\xf6ln")
    assert any("cannot be read" in one.problem for one in findings.values())


@pytest.mark.parametrize("column", ["tenure_months", "held__card"])
def test_attributes_named_like_profile_columns_are_found(tmp_path: Path, column: str) -> None:
    assert found(tmp_path, f"{column}\n1")[column].problem == "has the name of a profile column"


def test_a_time_of_day_is_no_attribute(tmp_path: Path) -> None:
    assert found(tmp_path, "calls_at\n10:30:00")["calls_at"].problem.startswith("holds TIME")
    with pytest.raises(TableError, match="column 'calls_at' holds Time, which no column of a profile can be; keep it"):
        Bank.open(tmp_path)


def test_conditions_that_do_not_fit_are_findings(tmp_path: Path) -> None:
    (tmp_path / "holdings.csv").write_text("client_id,product_id,opened_on\nc1,card,2020-01-01\n")
    (tmp_path / "clients.csv").write_text("client_id,kind,joined_on,Age\nc1,retail,2020-01-01,16\n")
    [finding] = check(tmp_path, CATALOG)
    assert (finding.column, finding.remedy) == ("age", "did you mean Age? Names count as written")


def test_an_attribute_without_any_value_fits_every_condition(tmp_path: Path) -> None:
    (tmp_path / "holdings.csv").write_text("client_id,product_id,opened_on\nc1,card,2020-01-01\n")
    (tmp_path / "clients.csv").write_text("client_id,kind,joined_on,age\nc1,retail,2020-01-01,\n")
    assert check(tmp_path, CATALOG) == []


def tables(**holdings: object) -> dict[str, dict[str, object]]:
    clients = {"client_id": ["c1"], "kind": ["retail"], "joined_on": ["2020-01-01"], "age": [40]}
    held = {"client_id": ["c1"], "product_id": ["card"], "opened_on": ["2020-01-01"]} | holdings
    return {"clients": clients, "holdings": held}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "Polars", "PyArrow"])
def test_frames_are_checked_as_files_are(frame) -> None:
    made = {name: frame(columns) for name, columns in tables(client_id=["zz"], product_id=["nope"]).items()}
    findings = check_bank(Bank.of(**made), CATALOG)
    assert [one.problem for one in findings] == ["unknown client: 'zz'", "unknown product: 'nope'"]
    assert check_bank(Bank.of(**{name: frame(columns) for name, columns in tables().items()}), CATALOG) == []


@pytest.mark.parametrize("day", [970101, 20240131, 970101.0])
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "Polars", "PyArrow"])
def test_numbers_in_place_of_days_are_refused(frame, day: float) -> None:
    with pytest.raises(TableError, match="table holdings: column 'opened_on' has numbers in place of days; keep dates"):
        Bank.of(**{name: frame(columns) for name, columns in tables(opened_on=[day]).items()})
