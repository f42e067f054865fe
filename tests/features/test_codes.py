"""Codes that stand for none, groups that are none, and kinds that the catalog lacks, are found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features.validation.check import Finding, check

D = dt.date
DAYS = [day.date() for day in pd.date_range(D(2025, 1, 1), periods=300)]
IDS = [f"c{number:03}" for number in range(300)]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")


def found(folder: Path, group: Sequence[str | None], kind: str = "salary", counterparty: str = "x") -> list[Finding]:
    tables = {
        "clients": pd.DataFrame({"client_id": IDS, "kind": "retail", "joined_on": D(2020, 1, 1), "group_id": group}),
        "holdings": pd.DataFrame({"client_id": IDS, "product_id": "current_account", "opened_on": DAYS}),
        "transactions": pd.DataFrame({"client_id": IDS, "booked_at": DAYS, "amount": 1.0, "kind": kind,
                                      "counterparty_id": counterparty}),
    }  # fmt: skip
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    told = check(folder, read_catalog(DEFAULT))
    return [one for one in told if one.column in ("group_id", "kind", "counterparty_id")]


PAIRS = [f"g{number // 2}" for number in range(300)]


def test_codes_of_a_healthy_bank_are_no_findings(tmp_path: Path) -> None:
    assert found(tmp_path, [*[None] * 100, *PAIRS[100:]]) == []


@pytest.mark.parametrize("none", ["-", "NULL", "n/a", " None "])
def test_a_word_for_none_is_found_among_ids(none: str, tmp_path: Path) -> None:
    told = found(tmp_path, [none, *PAIRS[1:]], counterparty=none)
    assert {(one.column, one.rows) for one in told if one.problem.startswith("stands for none")} == {
        ("group_id", 1), ("counterparty_id", 300),
    }  # fmt: skip


def test_a_group_of_everybody_who_has_none_is_found(tmp_path: Path) -> None:
    [one] = found(tmp_path, ["0"] * 120 + PAIRS[120:])
    assert (one.column, one.rows) == ("group_id", 120)
    assert one.problem == "one group of so many clients, a fifth or more of those that have one: '0'"


def test_kinds_of_which_the_catalog_has_none_are_found(tmp_path: Path) -> None:
    [one] = found(tmp_path, PAIRS, kind="Gehalt")
    assert (one.column, one.rows) == ("kind", 300)
    assert one.problem.startswith("no kind is one of the catalog's transaction_kinds")
