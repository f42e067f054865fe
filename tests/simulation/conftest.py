from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sheaf.simulation import simulate

Ask = Callable[[str], list[tuple[Any, ...]]]
TABLES = {
    "clients": "clients.parquet",
    "holdings": "holdings.parquet",
    "links": "links.parquet",
    "positions": "positions/*.parquet",
    "transactions": "transactions/*.parquet",
    "truth": "truth/opening_probability.parquet",
}


def asking(folder: Path) -> Ask:
    """Answers SQL over the tables in `folder`; `people` is one row a client, as last known."""
    connection = duckdb.connect()
    for table, files in TABLES.items():
        connection.execute(f"create view {table} as select * from read_parquet('{folder / files}')")
    connection.execute(
        "create table people as select client_id, any_value(kind) as kind, any_value(joined_on) as joined_on, "
        "max(left_on) as left_on from clients group by client_id"
    )
    return lambda query: connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A small bank over two years."""
    folder = tmp_path_factory.mktemp("simulated") / "bank"
    simulate(folder, 2500, months=24, seed=3)
    return folder


@pytest.fixture(scope="session")
def ask(folder) -> Ask:
    return asking(folder)


@pytest.fixture(scope="session")
def ask_large(tmp_path_factory) -> Ask:
    """A larger bank over a few months, for what needs numbers."""
    folder = tmp_path_factory.mktemp("simulated") / "large"
    simulate(folder, 20_000, months=6, seed=11)
    return asking(folder)
