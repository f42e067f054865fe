"""Where the decision log lies, how it is connected to, and how its schema is brought up to date.

SHEAF_DECISIONS names it: a file (SQLite) or the URL of a PostgreSQL database.
"""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from sheaf._extras import needs_extra
from sheaf.serving.decisions.tables import metadata
from sheaf.serving.settings import SettingError, Settings, settings

SECONDS: float = Settings.model_fields["decisions_seconds"].default
_UPGRADES = 0x5EAF  # PostgreSQL's advisory lock that keeps two from upgrading at once


def configured() -> tuple[sa.URL, float]:
    """URL and time limit in seconds, by the settings. Raises SettingError."""
    present = settings()
    return parsed(present.decisions), present.decisions_seconds


def parsed(place: str) -> sa.URL:
    """The URL of a file or of a PostgreSQL database. Raises SettingError for what is neither."""
    if "://" not in place:
        return sa.URL.create("sqlite", database=str(Path(place).absolute()))
    try:
        url = sa.make_url(place)
    except ArgumentError as error:
        raise SettingError("SHEAF_DECISIONS is no URL such as postgresql://user:password@host/name") from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return parsed(url.database)
    raise SettingError(
        f"SHEAF_DECISIONS names a database of the kind {url.get_backend_name()}; the decision log is kept in a file "
        "(SQLite) or in PostgreSQL: postgresql://user:password@host/name"
    )


def connect(url: sa.URL, seconds: float, create: bool = False) -> sa.Engine:
    """An engine that keeps no connections, each of which waits `seconds` at most for a lock or an answer.

    A SQLite file that is not there is made only if `create`: one that was taken away is no log to go on writing to.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(Path(str(url.database)), seconds, create)
    milliseconds = math.ceil(1000 * seconds)
    limits = {"statement_timeout": milliseconds, "lock_timeout": milliseconds,
              "idle_in_transaction_session_timeout": 10 * milliseconds, "synchronous_commit": "on"}  # fmt: skip
    options = {
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        "connect_timeout": math.ceil(seconds),
        "tcp_user_timeout": milliseconds,
        "application_name": "sheaf",
    }
    with needs_extra("postgres"):
        return sa.create_engine(url, poolclass=NullPool, connect_args=options)


def _sqlite(path: Path, seconds: float, create: bool) -> sa.Engine:
    place = f"file:{quote(str(path))}?mode={'rwc' if create else 'rw'}"

    def open_file() -> sqlite3.Connection:
        connection = sqlite3.connect(place, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before it is told of
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = sa.create_engine("sqlite://", creator=open_file, poolclass=NullPool)

    # A transaction that reads first and then wants to write could be refused at once, whatever the timeout.
    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def shown(url: sa.URL) -> str:
    """The log's place as people may read it: without the password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def upgrade(url: sa.URL, seconds: float = SECONDS) -> str:
    """Brings the schema up to date, in one transaction, and returns its revision; makes a SQLite file that is missing.

    Raises SettingError for a database that cannot be reached or is of a newer Sheaf.
    """
    # Alembic is needed here only: workers that answer do without.
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    [newest] = scripts.get_heads()
    known = {script.revision for script in scripts.walk_revisions()}
    try:
        if url.get_backend_name() == "sqlite":
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        with connect(url, seconds, create=True).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADES)))
            present = MigrationContext.configure(connection).get_current_heads()
            if not known.issuperset(present):
                raise SettingError(
                    f"the decision log {shown(url)} has schema {', '.join(present)}, which is newer than this version "
                    f"of Sheaf knows ({newest}); run the Sheaf that wrote it, or one that is newer"
                )
            config.attributes["connection"] = connection
            command.upgrade(config, newest)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise SettingError(
            f"the decision log {shown(url)} cannot be opened: {said(error)}; see that it is there and may be written "
            "to, or name another: SHEAF_DECISIONS"
        ) from error
    return newest


def said(error: BaseException) -> str:
    """The database's own words, on one line, without the statement."""
    origin = getattr(error, "orig", None) or error
    words = getattr(origin, "strerror", None) or str(origin)  # of a file without its path, which callers do not need
    return " ".join(words.split()) or type(origin).__name__


def differences(connection: sa.Connection) -> list[Any]:
    """What the schema lacks of `tables`, or has beyond them; for tests."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    return list(compare_metadata(MigrationContext.configure(connection), metadata))
