"""A bank's tables, opened from files or taken from the caller's own frames, and what of them is known on a day.

`Bank` hands every table out as a Narwhals lazy frame of one shape, whatever it came from: all columns of the
contract (absent ones null), ids and texts as strings, numbers as doubles, days as whole days since 1970-01-01.
Day numbers keep the feature groups free of the calendars, resolutions and time zones of the engines behind them.
"""

from __future__ import annotations

import datetime as dt
import re
import string
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
from narwhals.typing import IntoFrame

from sheaf.features.contract import TABLES, C, Table, Type
from sheaf.features.spelling import DATA_FILE, misspelt, of_table, propensity_of_what, wrong_spelling
from sheaf.features.timestamps import in_utc, zoneless
from sheaf.features.windows import with_group_values

EPOCH = dt.datetime(1970, 1, 1)
MINUTES_A_DAY = 1440
MS_A_DAY = MINUTES_A_DAY * 60_000
ISO_DAY = "%Y-%m-%d"
AGAIN = "write the file again, as Parquet or as CSV in UTF-8"
BLANKS = string.whitespace  # engines differ in what else they take for a blank, such as a no-break space
ALWAYS = -1e9  # as a day number: before any date that an engine can hold


class TableError(ValueError):
    """A table that cannot be read as the contract says; the message names it and says what to do."""


def day_number(day: dt.date) -> int:
    """Whole days from 1970-01-01 to `day`; a moment counts by its date."""
    return day.toordinal() - EPOCH.toordinal()


def from_day_number(number: float) -> dt.date:
    """The date that `day_number` was taken of."""
    return EPOCH.date() + dt.timedelta(days=int(number))


class Bank(Mapping[str, nw.LazyFrame[Any]]):
    """The tables of one bank by the contract's names; a table that the bank does not have is absent.

    Take it from files with `Bank.open(folder)` (DuckDB reads them out of core) or from frames of one library
    with `Bank.of(clients=…, holdings=…)`: pandas, Polars, PyArrow, DuckDB relations, anything Narwhals takes.
    A column of days may hold dates, timestamps (one with a time zone counts by its day in UTC), ISO texts
    (by their first ten characters), or the day numbers of a table that a `Bank` handed out.
    Columns beyond the contract are kept for the clients, as attributes, and dropped elsewhere.
    """

    attributes_told = False  # whether `sheaf.features.attribute_types` has said what it has to say

    def __init__(
        self,
        tables: Mapping[str, nw.LazyFrame[Any]],
        connection: duckdb.DuckDBPyConnection | None = None,
        today: dt.date | None = None,
    ) -> None:
        unknown = set(tables) - set(TABLES)
        if unknown:
            raise TableError(f"no such table in the contract: {sorted(unknown)}; it has {sorted(TABLES)}")
        missing = [t.name for t in TABLES.values() if t.required and t.name not in tables]
        if missing:
            raise TableError(f"required tables are missing: {missing}; hand them over with the others")
        tables = {name: _in_utc(frame, name) for name, frame in tables.items()}
        self._given = {name: frozenset(frame.collect_schema()) for name, frame in tables.items()}
        self._tables = {name: _normalised(frame, TABLES[name]) for name, frame in tables.items()}
        self._connection = connection
        self.today = today
        self.handed_over = tables  # as they came, for `sheaf.features.validation.check.check_bank`

    @classmethod
    def of(cls, **frames: IntoFrame) -> Bank:
        """The bank made of the caller's own frames, one keyword a table."""
        return cls({name: _lazy(frame, name) for name, frame in frames.items()})

    @classmethod
    def open(
        cls, folder: Path | str, connection: duckdb.DuckDBPyConnection | None = None, today: dt.date | None = None
    ) -> Bank:
        """The bank whose tables lie in `folder`, a Parquet file, a folder of them, or a CSV file a table.

        The bank's last day is not after `today`, where that is given.

        Nothing is read but the files' heads; what is asked of the tables later reads what it needs.
        `sheaf.features.validation.check.check` tells beforehand whether the values are what the contract wants.
        """
        connection = connection or connect()
        found = {name: relation(Path(folder), name, connection) for name in TABLES}
        missing = [name for name, table in TABLES.items() if table.required and found[name] is None]
        if missing:
            names = ", ".join(f"{name}.parquet, {name}/ or {name}.csv" for name in missing)
            raise TableError(f"{folder} lacks required tables: put {names} there")
        return cls({name: nw.from_native(r) for name, r in found.items() if r is not None}, connection, today)

    def __getitem__(self, name: str) -> nw.LazyFrame[Any]:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def has(self, table: str, column: str) -> bool:
        """Whether the bank handed the table over with that column; one of the contract's that it left out is null."""
        return column in self._given.get(table, ())

    @property
    def unread(self) -> dict[str, list[str]]:
        """By table the columns that the bank handed over and that nothing reads; of clients all are attributes."""
        tables = [TABLES[name] for name in self._given if not TABLES[name].open_ended]
        of = {table.name: sorted(self._given[table.name] - {one.name for one in table.columns}) for table in tables}
        return {name: columns for name, columns in of.items() if columns}

    @property
    def undetermined_propensity(self) -> str | None:
        """The name of a column of table offers that is the chance of the list or of the price, nobody knows which."""
        return propensity_of_what(self._given.get("offers", ()), TABLES["offers"])

    @cached_property
    def attributes(self) -> dict[str, nw.dtypes.DType]:
        """The clients' columns beyond the contract's, with their types."""
        named = {column.name for column in TABLES["clients"].columns}
        return {name: dtype for name, dtype in self["clients"].collect_schema().items() if name not in named}

    def known_on(self, as_of: dt.date) -> Bank:
        """What was known of the bank at the end of `as_of`: the one place where the as-of rule is kept.

        Rows dated later are gone, and a later date inside an earlier row reads as null, with what it tells.
        """
        return self._holding({name: _known_on(frame, TABLES[name], day_number(as_of)) for name, frame in self.items()})

    def replaced(self, name: str, frame: nw.LazyFrame[Any]) -> Bank:
        """The bank with another frame for one of its tables, in the shape that the bank hands them out."""
        return self._holding({**self._tables, name: frame})

    def _holding(self, tables: dict[str, nw.LazyFrame[Any]]) -> Bank:
        """This bank with other frames, in the shape that it hands them out."""
        other = Bank.__new__(Bank)
        other._tables, other.handed_over = tables, self.handed_over
        other._given, other._connection, other.today = self._given, self._connection, self.today
        return other

    def clients_on(self, as_of: dt.date) -> nw.LazyFrame[Any]:
        """One row a client: the latest known on `as_of`, by `valid_from`; one without that day is older than any."""
        known = _known_on(self["clients"], TABLES["clients"], day_number(as_of))
        dated = known.with_columns(_since=nw.col(C.VALID_FROM).fill_null(ALWAYS))
        latest = with_group_values(dated, [C.CLIENT], _latest=nw.col("_since").max())
        return latest.filter(nw.col("_since") == nw.col("_latest")).drop("_since", "_latest")

    def cohort(self, as_of: dt.date, cohort: IntoFrame | Sequence[str] | None = None) -> nw.LazyFrame[Any]:
        """The clients to train on or to rank as of a day, one row each, as last known on that day.

        They are those that `cohort` names and that have not left: ids, or a frame of any library (client_id, as_of)
        with rows of that day. Without it, those that the bank's `cohorts` lists for that day; where it lists none,
        those active on `as_of` (joined by then, not left by then). A client named before its day of joining counts;
        that day reads as null, as every later date does.

        Raises TableError where the frame has no row for `as_of`.
        """
        joined = nw.col(C.JOINED_ON) <= day_number(as_of)
        there = self.clients_on(as_of).filter(nw.col(C.LEFT_ON).is_null())
        named = there.with_columns(nw.when(joined).then(nw.col(C.JOINED_ON)).alias(C.JOINED_ON))
        if isinstance(cohort, list | tuple):
            return named.filter(nw.col(C.CLIENT).is_in([str(client) for client in cohort]))
        if cohort is None and "cohorts" not in self:
            return there.filter(joined)
        listed = self.listed(cohort).filter(nw.col(C.AS_OF) == day_number(as_of)).select(C.CLIENT)
        if not listed.head(1).collect().is_empty():
            return named.join(listed, on=C.CLIENT, how="semi")
        if cohort is None:
            return there.filter(joined)
        raise TableError(f"the cohort has no row with {C.AS_OF} {as_of:{ISO_DAY}}; add rows or choose another day")

    def listed(self, cohort: Any = None) -> nw.LazyFrame[Any]:
        """The rows (client_id, as_of) of the frame `cohort`, or of the bank's table `cohorts` where none is given."""
        return self["cohorts"] if cohort is None else _normalised(self.beside(cohort), TABLES["cohorts"])

    def beside(self, frame: Any) -> nw.LazyFrame[Any]:
        """The caller's frame, in the library that holds the bank's tables: frames of two libraries do not join."""
        mine, theirs = self["clients"].implementation, nw.from_native(frame).lazy()
        if mine == nw.Implementation.DUCKDB and self._connection is not None:  # nor do relations of two connections
            return nw.from_native(self._connection.from_arrow(theirs.collect("pyarrow").to_native()))
        if mine == theirs.implementation:
            return theirs
        if mine == nw.Implementation.DUCKDB:
            handed_over = theirs.collect("pyarrow").to_native()
            found = nw.to_native(self["clients"]).query("clients", "select * from handed_over")  # found by its name
            del handed_over
            return nw.from_native(found)
        return theirs.collect(mine).lazy()


def connect(memory_limit: str = "4GB") -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that spills to disk beyond `memory_limit` and keeps no order it need not keep."""
    connection = duckdb.connect(config={"memory_limit": memory_limit, "preserve_insertion_order": False})
    connection.execute(f"set temp_directory = {_literal(tempfile.gettempdir())}")  # not the folder one happens to be in
    with suppress(duckdb.InvalidInputException):  # a notebook without widgets has no bar, and refuses to speak of it
        connection.execute("set enable_progress_bar = false")
    connection.execute("set TimeZone = 'UTC'")  # a timestamp's day must not depend on the machine's zone
    connection.execute("set parquet_metadata_cache = true")  # every step of a lazy frame looks at the files' heads
    return connection


def relation(folder: Path, table: str, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation | None:
    """The table as it lies in `folder`, or None where it is not there.

    Raises TableError where it is there twice, or is not what its name says.
    """
    if not folder.is_dir():
        raise TableError(f"{folder} is not a folder; give the folder that holds the bank's tables")
    paths = [path for path in (folder / f"{table}.parquet", folder / table, folder / f"{table}.csv") if path.exists()]
    if len(paths) > 1:
        raise TableError(f"table {table} is there more than once; keep one of {', '.join(p.name for p in paths)}")
    others = sorted(path.name for path in folder.iterdir() if path not in paths and of_table(path.name) == table)
    if others:
        problem = f"{others[0]} is not read, as a table's name counts as written"
        raise TableError(f"table {table}: {problem}; name it {table}.parquet, {table}/ or {table}.csv, or take it away")
    try:
        return zoneless(connection.sql(f"select * from {_reader(paths[0], connection)}")) if paths else None
    except duckdb.Error as error:
        raise TableError(f"table {table} cannot be read: {reason(error)}; {AGAIN}") from error


def reason(error: Exception) -> str:
    """An engine's own words on one line, without the hints that follow them."""
    return " ".join(str(error).split("\n\n")[0].split("\n")[:3]).rstrip(". ")


def one_line(error: Exception, table: str = "") -> str:
    """What DuckDB says of a file that it could not read to its end, on one line: table, line or column, remedy."""
    text = str(error)
    file = re.search(r"file ?= ?(\S.*)", text)
    table = table or next((part for part in Path(file[1]).parts if Path(part).stem in TABLES), "") if file else table
    where = f"table {Path(table).stem}" if table else "the bank's tables"
    line = re.search(r"on Line: (\d+)", text)
    said = (
        next((one for one in text.split("\n")[1:] if one and not one.startswith("Original Line")), "") if line else ""
    )
    at = f", line {line[1]}," if line else ""
    return f"{where}{at} cannot be read: {(said or reason(error)).rstrip('. ')}; {AGAIN}"


def _reader(path: Path, connection: duckdb.DuckDBPyConnection) -> str:
    if path.suffix == ".csv":
        return _csv_reader(path, connection)
    if not path.is_dir():
        return f"read_parquet({_quoted(path)}, hive_partitioning = false)"
    inside = [(file, file.relative_to(path).parts) for file in sorted(path.rglob("*"))]
    for file, names in inside:
        if system := next((system for end, system in _FORMATS.items() if names[-1].endswith(end)), None):
            problem = f"the folder {path.name} is a table of {system} ({file.relative_to(path)}), whose files hold "
            problem += "more than the rows that count"
            raise TableError(f"{problem}; write those rows out as plain Parquet files")
    parts = [file for file, names in inside if file.suffix.lower() == ".parquet" and not any(map(_hidden, names))]
    others = [file for file, names in inside if file.is_file() and file.suffix.lower() != ".parquet"
              and DATA_FILE.search(file.name)[0] and not any(map(_hidden, names))]  # type: ignore[index]  # fmt: skip
    if parts and others:
        problem = (
            f"the folder {path.name} holds {others[0].relative_to(path)} beside its .parquet files, which is not read"
        )
        raise TableError(f"{problem}; write it as Parquet, or take it away")
    if not parts:
        raise TableError(f"the folder {path.name} holds no .parquet file; put the table's files there or remove it")
    hive = any("=" in part for file in parts for part in file.relative_to(path).parts[:-1])
    files = ", ".join(map(_quoted, parts))
    return f"read_parquet([{files}], union_by_name = true, hive_partitioning = {hive})"


_FORMATS = {"_delta_log": "Delta Lake", ".hoodie": "Apache Hudi", "version-hint.text": "Apache Iceberg",
            ".metadata.json": "Apache Iceberg"}  # fmt: skip


def _hidden(name: str) -> bool:
    """Whether Spark and Hive leave out a path with this in it: what is under way, logs, checksums."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _csv_reader(path: Path, connection: duckdb.DuckDBPyConnection) -> str:
    """DuckDB's call that reads `path`: the contract's columns as they are written, the others as DuckDB guesses them.

    A guess would make a number of the id "1.10", and of "05/06/2024" a day in May or in June. The types are found once
    and spelled out, since DuckDB would otherwise guess again at every step of a lazy frame.
    """
    dialect = "header = true, skip = 0, quote = '\"', escape = '\"'"
    guess = f"{dialect}, sample_size = -1, ignore_errors = true"  # what is wrong with a row is told when it is read
    _readable(path)
    sniffed = f"select Delimiter, Columns, coalesce(DateFormat, '') from sniff_csv({_quoted(path)}, {guess})"
    [(delimiter, columns, days)] = connection.execute(sniffed).fetchall()
    if len(columns) == 1 and re.search(r"[,;|\t]", header := columns[0]["name"]):
        problem = f"table {path.stem} cannot be read: no separator tells the columns of {header!r} apart in every row"
        raise TableError(f"{problem}; look for a quote that is not closed, and {AGAIN}")
    named = {column.name for column in TABLES[path.stem].columns}
    other = days not in ("", ISO_DAY)  # 31/12/2020 is read as a day by a guess, which may be of another country
    as_text = {c["name"] for c in columns if c["name"] in named or (other and c["type"] == "DATE")}
    types = {c["name"]: "VARCHAR" if c["name"] in as_text else c["type"] for c in columns}
    spelled = ", ".join(f"{_literal(name)}: {_literal(kind)}" for name, kind in types.items())
    how = f"auto_detect = false, {dialect}, delim = {_literal(delimiter)}, columns = {{{spelled}}}"
    return f"read_csv({_quoted(path)}, {how})"


def _readable(path: Path) -> None:
    """TableError where the file is empty, or its header is not UTF-8: DuckDB says neither, and would take the first
    row, a client's own, for the header."""
    with path.open("rb") as file:
        header = file.readline(1_000_000)
    if not header:
        raise TableError(f"table {path.stem} cannot be read: {path.name} is empty, without even a header; {AGAIN}")
    try:
        header.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"table {path.stem} cannot be read: the header of {path.name} is not UTF-8"
        raise TableError(f"{problem}; {AGAIN}") from error


def _quoted(path: Path) -> str:
    return _literal(re.sub(r"([*?\[])", r"[\1]", str(path)))  # DuckDB takes these for wildcards


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _lazy(frame: Any, name: str) -> nw.LazyFrame[Any]:
    try:
        lazy = nw.from_native(frame).lazy()
        names = lazy.collect_schema().names()
    except ValueError as error:  # Narwhals takes no two columns of one name
        raise TableError(f"table {name}: {' '.join(str(error).split())}; keep one column of each name") from error
    if twice := [column for column, times in Counter(names).items() if times > 1]:
        raise TableError(f"table {name}: more than one column is called {twice[0]}; keep one of them")
    return lazy


def _in_utc(frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
    try:
        return in_utc(frame)
    except ValueError as error:
        raise TableError(f"table {name}, {error}") from error


def _normalised(frame: nw.LazyFrame[Any], table: Table) -> nw.LazyFrame[Any]:
    present = frame.collect_schema()
    for wrong, name in misspelt(present, table).items():
        raise TableError(f"table {table.name}: {wrong_spelling(wrong, name, name in present)}")
    missing = [column.name for column in table.columns if column.required and column.name not in present]
    if missing:
        raise TableError(f"table {table.name}: required columns are missing: {missing}; it has {list(present)}")
    columns = []
    for column in table.columns:
        value: nw.Expr = nw.lit(None)
        if column.name in present:
            value = nw.col(column.name)
            if column.type is Type.DAY:
                _need_day_numbers(frame, column.name, present[column.name], table)
                value = _day(value, present[column.name], frame.implementation)
        if column.type in (Type.DAY, Type.NUMBER):
            value = value.cast(nw.Float64())
        else:
            value = value.cast(nw.String())
            if column.name in present and present[column.name].is_float():  # integers with nulls, as pandas has them
                value = value.str.replace_all(r"\.0$", "")
            if column.name in present and column.values:
                value = value.str.strip_chars(BLANKS).str.to_lowercase()
            if column.name in present and not column.required:
                value = _filled(value)
        columns.append(value.alias(column.name))
    named = {column.name for column in table.columns}
    further: list[str | nw.Expr] = []
    for name, dtype in present.items() if table.open_ended else ():
        if name not in named:
            if isinstance(dtype, _NO_ATTRIBUTES):
                problem = f"table {table.name}: column {name!r} holds {dtype}, which no column of a profile can be"
                raise TableError(f"{problem}; keep it as numbers, dates or texts, or leave it out")
            further.append(_filled(nw.col(name)) if isinstance(dtype, nw.String) else name)
    try:
        return frame.select(*columns, *further)
    except (ValueError, TypeError) as error:  # the eager engines cast here and now
        raise TableError(
            f"table {table.name}: {str(error).splitlines()[0]}; days are dates or ISO texts (2024-12-31), "
            "numbers have a decimal point"
        ) from error


_NO_ATTRIBUTES = (nw.Time, nw.Duration, nw.List, nw.Array, nw.Struct, nw.Binary, nw.Object)


def _need_day_numbers(frame: nw.LazyFrame[Any], name: str, dtype: nw.dtypes.DType, table: Table) -> None:
    """TableError for numbers such as 970101, 20240131, 2024 or Excel's 45657 in place of days.

    What a `Bank` hands out are doubles in every column of days, from 1870 to 2050; not all of them are of 1974 to 1977,
    as which years and YYMM would read.
    """
    if not dtype.is_numeric():
        return
    present = frame.collect_schema()
    days = [present[one.name] for one in table.columns if one.type is Type.DAY and one.name in present]
    wrong = not all(of.is_float() for of in days)
    if not wrong:
        found = frame.select(nw.col(name).cast(nw.Float64()).alias("day")).filter(~nw.col("day").is_null())
        low, high = found.select(low=nw.col("day").min(), high=nw.col("day").max()).collect("pyarrow").row(0)
        wrong = low is not None and (low < -36_525 or high > 29_219 or (low >= 1_800 and high < 2_600))
    if wrong:
        problem = f"table {table.name}: column {name!r} has numbers in place of days"
        raise TableError(f"{problem}; keep dates, or ISO texts such as 2024-12-31")


def _filled(text: nw.Expr) -> nw.Expr:
    """The text, null where it is empty or blank."""
    return nw.when(text.str.strip_chars(BLANKS) != "").then(text)


def _day(value: nw.Expr, dtype: nw.dtypes.DType, engine: nw.Implementation) -> nw.Expr:
    if dtype.is_numeric():
        return value
    if isinstance(dtype, nw.String | nw.Categorical | nw.Enum):
        value = value.cast(nw.String()).str.slice(0, 10).str.to_datetime(format=ISO_DAY)
    if engine is nw.Implementation.DUCKDB:  # subtracts dates into whole days, which is its fastest way by far
        return value.cast(nw.Date()) - nw.lit(EPOCH.date())
    return value.cast(nw.Datetime("us")).dt.timestamp("ms") // MS_A_DAY


def _known_on(frame: nw.LazyFrame[Any], table: Table, day: int) -> nw.LazyFrame[Any]:
    if table.dated:
        dated = nw.col(table.dated)
        frame = frame.filter(dated.is_null() | (dated <= day))
    for end in table.ends:
        told = [*table.told_at_end, end]  # the date last: the others are read by it
        for name in told:
            frame = frame.with_columns(nw.when(nw.col(end) <= day).then(nw.col(name)).alias(name))
    return frame
