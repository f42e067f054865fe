"""A real PostgreSQL server of the tests' own: on a free port, in a temporary folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

MISSING = "PostgreSQL is not installed, and `make test` could not install it: apt-get install postgresql"


def binaries() -> Path | None:
    """The folder that has initdb and pg_ctl; None where there is none. Debian leaves it out of the PATH."""
    found = [Path(at).resolve().parent for at in [shutil.which("pg_ctl")] if at]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


RECOVERS = 90.0  # seconds at most, on a busy machine


class Postgres:
    """A server in `folder` that can be stopped and started."""

    def __init__(self, programs: Path, folder: Path, port: int):
        self._programs, self._folder, self.port = programs, folder, port

    def url(self, name: str) -> str:
        return f"postgresql://sheaf@127.0.0.1:{self.port}/{name}"

    def create(self, name: str) -> str:
        """The URL of a new database."""
        engine = sa.create_engine(
            self.url("postgres").replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        until = time.monotonic() + RECOVERS
        while True:
            try:
                with engine.connect() as connection:
                    connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
                return self.url(name)
            except sa.exc.OperationalError:  # it still recovers from what an earlier test did to it
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def lay_out(self) -> None:
        self._run("initdb", "-D", "data", "-U", "sheaf", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "said.log", "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is what a crash is like; does nothing where it is stopped."""
        if self.runs():
            self._run("pg_ctl", "stop", "-w", "-D", "data", "-m", mode)

    def kill_a_backend(self, url: str) -> None:
        """Kills (SIGKILL) a process that serves the database of this URL."""
        engine = sa.create_engine(url.replace("://", "+psycopg://"), poolclass=sa.NullPool)
        of_database = "datname = current_database() AND pid <> pg_backend_pid()"
        with suppress(sa.exc.OperationalError), engine.connect() as connection:  # ends with all others
            found = connection.scalar(sa.text(f"SELECT pid FROM pg_stat_activity WHERE {of_database} LIMIT 1"))
            os.kill(int(found), signal.SIGKILL)

    def runs(self) -> bool:
        return (self._folder / "data" / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str) -> None:
        """PostgreSQL refuses to be run by root: then it is the user that its package made, or nobody."""
        who: dict[str, Any] = {"user": _owner(), "group": _owner(), "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(self._programs / program), *arguments]
        with (self._folder / "ran.log").open("a") as said:  # no pipe: the server would keep it open
            done = subprocess.run(command, cwd=self._folder, stdout=said, stderr=said, stdin=subprocess.DEVNULL, **who)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{(self._folder / 'ran.log').read_text()[-2_000:]}")


@contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """A new server, stopped and removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="sheaf-postgres-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = Postgres(programs, folder, int(probe.getsockname()[1]))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _owner(), _owner())
        server.lay_out()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _owner() -> int:
    import pwd

    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return 65534
