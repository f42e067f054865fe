"""The page's commands bring a decision log back as it was, whatever has been written or lost since."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from sheaf.serving.decisions import Writer, add_decisions, upgrade
from sheaf.serving.decisions.database import connect, differences, parsed
from sheaf.serving.decisions.tables import decisions
from tests.conftest import ROOT
from tests.serving import postgres
from tests.serving.logged import decision

PAGE = (ROOT / "docs" / "guides" / "running.md").read_text(encoding="utf-8")
FILE = "mlruns/decisions.db"


def commands(how: str) -> list[str]:
    """The commands of the page that do it so, `rm` before them included."""
    blocks = re.findall(r"(?:^    .+\n)+", PAGE.split("## Backup and restore")[1].split("\n## ")[0], re.MULTILINE)
    [block] = [block for block in blocks if how in block]
    return [line.strip() for line in block.splitlines()]


def run(lines: list[str], folder: Path, place: str) -> None:
    programs = postgres.binaries()
    path = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
    for line in lines:
        environment = {**os.environ, "SHEAF_DECISIONS": place, "PATH": path}
        done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, line + done.stderr


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_backed_up_is_there_again(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    if kind == "sqlite" and shutil.which("sqlite3") is None:
        pytest.skip("the command sqlite3 is not installed: apt-get install sqlite3")
    if kind == "sqlite":
        place, programs = str(tmp_path / FILE), ('".backup', '".restore')
    else:
        server: postgres.Postgres = request.getfixturevalue("server")
        place, programs = server.create(f"backed_up_{os.getpid()}"), ("pg_dump ", "pg_restore ")
    newest, before, after = upgrade(parsed(place)), decision(), decision()
    log = Writer(parsed(place), 5.0)
    log.do(add_decisions([before]))
    run(commands(programs[0]), tmp_path, place)  # while the log is written to
    log.do(add_decisions([after]))
    log.close()
    if kind == "sqlite":
        (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:5_000])  # as a broken disk leaves it
    run(commands(programs[1]), tmp_path, place)
    assert upgrade(parsed(place)) == newest
    log = Writer(parsed(place), 5.0)
    log.do(add_decisions([after]))  # entries are taken again
    log.close()
    with connect(parsed(place), 5.0).connect() as connection:
        there = {row["decision_id"]: dict(row) for row in connection.execute(sa.select(decisions)).mappings()}
        assert there == {row["decision_id"]: row for row in (before, after)}
        assert differences(connection) == []
