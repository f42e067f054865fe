from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Postgres]:
    """A PostgreSQL server for all tests; one that stops it starts it again."""
    programs = postgres.binaries()
    if programs is None:
        pytest.skip(postgres.MISSING)
    with postgres.running(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a decision log may be, as SHEAF_DECISIONS names it: a new file, a new database."""
    if request.param == "sqlite":
        return str(tmp_path / "decisions.db")
    server: postgres.Postgres = request.getfixturevalue("server")
    return server.create(f"log_{uuid.uuid4().hex}")
