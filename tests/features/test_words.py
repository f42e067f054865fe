"""Words of the contract in other cases and with blanks: the same words, on every engine; other words are findings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sheaf.features import Bank, TableError, build_profiles
from sheaf.features.contract import TABLES, Answered
from sheaf.features.validation.check import check
from tests.features.banks import DAY, client
from tests.pricing.books import catalog

CATALOG = catalog()
CLIENTS = [client("a", kind="RETAIL"), client("b", kind=" Corporate "), client("c", kind="retail")]
HOLDINGS = [{"client_id": "a", "product_id": "account", "opened_on": "2024-01-01"}]
LINKS = [{"client_id": "a", "linked_id": "b", "relation": "Employer ", "since": "2024-01-31"}]
OFFERS = [
    {"offer_id": str(number), "client_id": "a", "bundle_id": "home", "offered_at": "2024-05-01",
     "outcome": outcome, "responded_at": "2024-05-02"}
    for number, outcome in enumerate(["Accepted", "ACCEPTED", " accepted", "accepted", "Rejected", "ignored"])
]  # fmt: skip
ENGINES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda of: of,
    "polars": pl.from_pandas,
    "pyarrow": lambda of: pa.Table.from_pandas(of, preserve_index=False),
    "duckdb": lambda of: duckdb.connect().from_arrow(pa.Table.from_pandas(of, preserve_index=False)),
}


def frames() -> dict[str, pd.DataFrame]:
    told = {"clients": CLIENTS, "holdings": HOLDINGS, "links": LINKS, "offers": OFFERS}
    return {name: pd.DataFrame(rows) for name, rows in told.items()}


@pytest.mark.parametrize("engine", ["pandas", "polars", "pyarrow"])
def test_words_of_the_contract_count_in_any_case(engine: str) -> None:
    bank = Bank.of(**{name: ENGINES[engine](of) for name, of in frames().items()})
    found = build_profiles(bank, CATALOG, DAY).to_pandas().set_index("client_id")
    assert found["kind"].to_dict() == {"a": "retail", "b": "corporate", "c": "retail"}
    assert found.loc["a", "offers_accepted"] == 4
    linked = bank["links"].collect().to_native()
    assert list(pd.DataFrame(linked)["relation"]) == ["employer"] if engine == "pandas" else True


def test_files_in_any_case_pass_the_check_and_count_alike(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    folder.mkdir()
    for name, of in frames().items():
        of.to_csv(folder / f"{name}.csv", index=False)
    assert [one for one in check(folder, CATALOG) if one.column in ("kind", "relation", "outcome")] == []
    found = build_profiles(Bank.open(folder), CATALOG, DAY).to_pandas().set_index("client_id")
    assert found.loc["a", "offers_accepted"] == 4


@pytest.mark.parametrize("word", ["yes", "accept", "Accepted!", "1"])
def test_another_word_for_an_outcome_is_a_finding(tmp_path: Path, word: str) -> None:
    folder = tmp_path / "bank"
    folder.mkdir()
    told = frames()
    told["offers"].loc[0, "outcome"] = word
    for name, of in told.items():
        of.to_csv(folder / f"{name}.csv", index=False)
    [found] = [one for one in check(folder, CATALOG) if one.column == "outcome"]
    assert found.problem.startswith("unknown outcome")
    assert found.remedy == "use one of accepted, rejected, ignored"
    assert found.rows == 1


ODD = [("offers", "outcome", "yes"), ("offers", "outcome", "accepted\u00a0"), ("links", "relation", "boss"),
       ("clients", "kind", "Privat")]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("table", "column", "word"), ODD)
def test_a_word_that_nothing_would_count_is_refused_on_every_engine(
    engine: str, table: str, column: str, word: str
) -> None:
    tables = frames()
    tables[table].loc[0, column] = word
    bank = Bank.of(**{name: ENGINES[engine](of) for name, of in tables.items()})
    told = f"table {table}, column {column}: unknown {word.lower()!r}; use one of"
    with pytest.raises(TableError, match=re.escape(told)):
        build_profiles(bank, CATALOG, DAY)


def test_the_words_are_those_of_the_log() -> None:
    from sheaf.serving.decisions import Outcome

    assert {*Answered} == {*Outcome} - {Outcome.SHOWN}
    assert TABLES["offers"].column("outcome").values == tuple(Answered)
