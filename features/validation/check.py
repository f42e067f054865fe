"""What is wrong with a bank's tables, all of it at once, before any work starts.

The rules follow from `sheaf.features.contract` and the catalog. pandera runs them as expressions over Ibis tables, so
that DuckDB works them out where the files lie: of ten million bookings only counts and a few keys ever reach Python.
That takes pandera's Narwhals backend: its own Ibis backend fetches every row of a table as soon as one fails.
pointblank was the other candidate; it takes no DuckDB relation but through Ibis, and then, to find the first failing
rows among ten million, fifteen times as long and over a gigabyte. By hand is what neither has: the keys of the rows
that fail, texts that cannot be read as a number or a day, duplicates counted without fetching them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pandera.ibis as pa
from ibis.common.exceptions import IbisError
from pandera.config import ValidationDepth, config_context, set_config
from pandera.errors import SchemaErrors
from rich.table import Table as Grid
from rich.text import Text

from sheaf.catalog import Catalog
from sheaf.features.bank import AGAIN, Bank, TableError, connect, reason, relation
from sheaf.features.contract import TABLES, C, Column, Table, Type
from sheaf.features.monthly_positions import rates_of
from sheaf.features.spelling import alike, misspelt, propensity_of_what, wrong_spelling
from sheaf.features.timestamps import in_utc
from sheaf.features.validation.attributes import of_attributes
from sheaf.features.validation.codes import (
    CODES,
    IDS,
    NO_CODE,
    NO_KIND,
    ONE_GROUP,
    PROBLEM,
    foreign_kinds,
    known_codes,
    other_spellings,
    placeholders,
    too_large,
)
from sheaf.features.validation.completeness import incomplete
from sheaf.features.validation.days import ahead, months_told_twice, no_month_end, reached, stopped
from sheaf.pricing.money import ROUNDED
from sheaf.pricing.price_table import PriceTable

SHOWN = 5  # keys and values that a finding names
RAW = "as written: "  # prefix of the column that keeps a text beside what was read from it

set_config(use_narwhals_backend=True)  # has no context of its own: pandera looks up its backends by the global setting


@dataclass(frozen=True)
class Finding:
    """One thing wrong: where, on how many rows, the keys of the first of them, and what to do about it.

    `table` and `column` are empty where the whole folder or the whole table is meant, `keys` where no row is to blame.
    """

    table: str
    column: str
    problem: str
    rows: int
    keys: tuple[str, ...]
    remedy: str


@dataclass(frozen=True)
class RowRule:
    """A row breaks the rule where `broken` is true; `shown` is the column whose values the finding names."""

    column: str
    problem: str
    remedy: str
    broken: Callable[[ir.Table], ir.BooleanValue]
    shown: str | None = None


@ibis.udf.scalar.builtin
def isfinite(number: float) -> bool:  # type: ignore[empty-body]
    """DuckDB's own. Its isnan is of no use here: over Parquet it believes the file's bounds, which leave NaN out."""


def check(folder: Path | str, catalog: Catalog, today: dt.date | None = None) -> list[Finding]:
    """All that is wrong with the tables in `folder`, in the contract's order; empty where they can be worked with.

    Days after `today`, where it is given, are findings. Reads nothing into memory but what it reports, and never raises
    for bad input.
    """
    if not Path(folder).is_dir():
        return [Finding("", "", f"{folder} is not a folder", 0, (), "give the folder that holds the bank's tables")]
    return _check(lambda name, connection: relation(Path(folder), name, connection), catalog, today)


def check_bank(bank: Bank, catalog: Catalog) -> list[Finding]:
    """The same of the frames that a bank was made of, of any library."""
    frames = bank.handed_over

    def read(name: str, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation | None:
        if name not in frames:
            return None
        try:
            table = in_utc(frames[name]).collect("pyarrow").to_native()
        except (ValueError, TypeError) as error:
            problem = f"table {name} cannot be read: {' '.join(str(error).split())[:200]}"
            raise TableError(f"{problem}; keep values of one type in a column") from error
        return connection.from_arrow(table)

    return _check(read, catalog, bank.today)


def _check(
    read: Callable[[str, duckdb.DuckDBPyConnection], duckdb.DuckDBPyRelation | None],
    catalog: Catalog,
    today: dt.date | None,
) -> list[Finding]:
    connection = connect()
    backend = ibis.duckdb.from_connection(connection)
    findings: list[Finding] = []
    clients: ir.Value | None = None  # the ids that other tables may speak of, once they are read
    dated: dict[str, ir.Table] = {}
    relations: dict[str, duckdb.DuckDBPyRelation] = {}
    for name, of_contract in TABLES.items():
        table = _with_attributes(of_contract, catalog)
        try:
            found = read(name, connection)
            if found is None:
                if table.required:
                    wanted = f"put {name}.parquet, {name}/ with Parquet files or {name}.csv there"
                    findings.append(Finding(name, "", "the table is missing", 0, (), wanted))
                continue
            findings += _missing(table, found.columns)
            present = [duckdb.ColumnExpression(c.name) for c in table.columns if c.name in found.columns]
            if not present:
                continue
            relations[name] = found
            found.select(*present).create_view(name)
            typed = backend.create_view(f"typed {name}", _typed(backend.table(name), table))
            filled = bool(typed.limit(1).count().execute())
            if filled:
                findings += _broken(typed, table, catalog, clients)
                dated[name] = typed
            else:
                remedy = "fill it" if table.required else "fill it or leave the table out"
                findings.append(Finding(name, "", "the table has no rows", 0, (), remedy))
            if name == "clients" and filled and C.CLIENT in typed.columns:
                clients = typed[C.CLIENT]
        except TableError as error:
            problem, _, remedy = str(error).rpartition("; ")
            findings.append(Finding(name, "", problem, 0, (), remedy))
        except (duckdb.Error, IbisError) as error:  # what is wrong further down in a file shows when its rows are read
            problem = f"table {name} cannot be read: {reason(error)}"
            findings.append(Finding(name, "", problem, 0, (), AGAIN))
            dated.pop(name, None)
    findings += _of_days(dated, today)
    if "clients" in dated:
        findings += _of_attributes(relations, connection, catalog)
    return sorted(findings, key=lambda finding: ["", *TABLES].index(finding.table))


def _of_attributes(
    relations: Mapping[str, duckdb.DuckDBPyRelation], connection: duckdb.DuckDBPyConnection, catalog: Catalog
) -> Iterable[Finding]:
    try:
        for column, problem, rows, remedy in of_attributes(relations, connection, catalog):
            yield Finding("clients", column, problem, rows, (), remedy)
    except TableError as error:
        problem, _, remedy = str(error).rpartition("; ")
        if problem.startswith("table clients: column "):  # of other tables' columns their own findings tell
            yield Finding("clients", "", problem.removeprefix("table clients: "), 0, (), remedy)


def _of_days(typed: dict[str, ir.Table], today: dt.date | None) -> Iterable[Finding]:
    """Days ahead of the bank, and tables that stopped or lack months, which one table alone does not show."""
    last, alone = reached(typed, today)
    for name, rows in typed.items():
        rules = [RowRule(*one, one[0]) for one in ahead(name, rows, last, today, alone.get("holdings"))]
        key = _key_of(TABLES[name], rows)
        yield from (_finding(TABLES[name], rule, bad, key, bad.count()) for rule, bad in _failing(rows, rules))
    for name, column, problem, remedy in stopped(last, alone):
        yield Finding(name, column, problem, 0, (), remedy)
    for name, column, problem, count, remedy in incomplete(typed, last):
        yield Finding(name, column, problem, count, (), remedy)


def _key_of(table: Table, typed: ir.Table) -> list[str]:
    wanted = table.key or (C.CLIENT, table.dated)
    return [column.name for column in table.columns if column.name in wanted and column.name in typed.columns]


def render(findings: Sequence[Finding]) -> Grid:
    """The findings as a table for a terminal, one row each."""
    grid = Grid("table", "column", "what is wrong", "rows", "first keys", "what to do", title="What the check found")
    for finding in findings:
        rows = f"{finding.rows:,}" if finding.rows else ""
        keys = "\n".join(finding.keys)
        cells = (finding.table, finding.column, finding.problem, rows, keys, finding.remedy)
        grid.add_row(*map(Text, cells))  # Text: what comes from the data is no markup
    return grid


def _with_attributes(table: Table, catalog: Catalog) -> Table:
    """The table with those of the clients' attributes that the catalog's rules go by."""
    pricing = catalog.pricing
    if pricing is None or not table.open_ended:
        return table
    until, abroad, turnover = pricing.suitable_until, pricing.abroad, pricing.turnover
    further = [Column(until, Type.DAY)] if until else []
    further += [Column(abroad, Type.NUMBER, between=(0, 1))] if abroad else []
    further += [Column(turnover, Type.NUMBER, between=(0, inf))] if turnover else []
    return replace(table, columns=(*table.columns, *further))


def _missing(table: Table, columns: Sequence[str]) -> list[Finding]:
    remedy = f"add it; the table has {', '.join(columns)}"
    wrong = misspelt(columns, table)
    findings = []
    for column, name in wrong.items():
        problem, _, wanted = wrong_spelling(column, name, name in columns).partition("; ")
        findings.append(Finding(table.name, name, problem, 0, (), wanted))
    for column, name in alike(columns, table).items():
        problem = f"column {column!r} is not read, and there is no {name}"
        findings.append(Finding(table.name, name, problem, 0, (), f"call it {name} if that is meant, or leave it out"))
    if (propensity := propensity_of_what(columns, table)) is not None:
        problem = f"column {propensity!r} is not read: it may be the chance of the list or that of the price"
        wanted = f"call it {C.PRICE_PROPENSITY} if the concession was drawn with that chance, else {C.LIST_PROPENSITY}"
        findings.append(Finding(table.name, propensity, problem, 0, (), wanted))
    named = {finding.column for finding in findings}
    missing = [c.name for c in table.columns if c.required and c.name not in columns and c.name not in named]
    return findings + [Finding(table.name, name, "the required column is missing", 0, (), remedy) for name in missing]


def _broken(typed: ir.Table, table: Table, catalog: Catalog, clients: ir.Value | None) -> list[Finding]:
    present = [column for column in table.columns if column.name in typed.columns]
    rules = [rule for column in present for rule in _rules(table.name, column, typed, catalog, clients)]
    rules += [_order(table.begins, end) for end in table.ends if {table.begins, end} <= {*typed.columns}]
    rules += _of_offers(typed, catalog) if table.name == "offers" else []
    rules += _of_codes(typed, table, catalog)
    if table.name == "positions" and C.MONTH in typed.columns:
        rules.append(RowRule(*no_month_end(), C.MONTH))
    names = _key_of(table, typed)
    findings = [_finding(table, rule, rows, names, rows.count()) for rule, rows in _failing(typed, rules)]
    needed = {column.name for column in table.columns if column.required and column.name in table.key}
    if needed and needed <= {*names}:
        whole = [typed[name].notnull() for name in names if name in needed]
        groups = typed.filter(whole).group_by(names).aggregate(rows=ibis._.count())
        twice = RowRule(
            names[0], f"more than one row with the same {', '.join(names)}", "keep one of them", lambda t: t.rows > 1
        )
        findings += [_finding(table, rule, rows, names, rows.rows.sum()) for rule, rows in _failing(groups, [twice])]
    if table.name == "positions" and (months := months_told_twice(typed)) is not None:
        problem = "several days of one month for the same client and product"
        rule = RowRule(C.MONTH, problem, "keep the last day of the month, the one that counts", lambda t: t.rows > 0)
        findings += [_finding(table, rule, rows, names, rows.rows.sum()) for _, rows in _failing(months, [rule])]
    return findings


def _of_codes(typed: ir.Table, table: Table, catalog: Catalog) -> Iterable[RowRule]:
    for name in CODES.get(table.name, ()):
        if name not in typed.columns or not typed[name].type().is_string():
            continue
        broken = other_spellings(typed, name, known_codes(table.name, name, catalog))
        if broken is not None:
            yield RowRule(name, PROBLEM, "write every code in one way", broken, name)
        if name in IDS:
            yield RowRule(name, NO_CODE, "leave it empty where there is none", placeholders(name), name)
    if table.name == "clients" and {C.CLIENT, C.GROUP} <= {*typed.columns} and (large := too_large(typed)) is not None:
        yield RowRule(C.GROUP, ONE_GROUP, "leave it empty where a client is in no group", large, C.GROUP)
    kinds = known_codes(table.name, C.KIND, catalog)
    if kinds and C.KIND in typed.columns and foreign_kinds(typed, kinds):
        remedy = "name the bank's kinds in policy.transaction_kinds, or write the catalog's"
        yield RowRule(C.KIND, NO_KIND, remedy, lambda t: t[C.KIND].notnull(), C.KIND)


def _typed(frame: ir.Table, table: Table) -> ir.Table:
    """The contract's columns as `Bank` would hand them out, null where it could not; beside those, what was written."""
    columns: dict[str, ir.Value] = {}
    for column in table.columns:
        if column.name not in frame.columns:
            continue
        value, kind = frame[column.name], frame[column.name].type()
        written = value.cast("string")
        if column.type in (Type.ID, Type.TEXT):
            text = written.re_replace(r"\.0$", "") if kind.is_floating() else written
            columns[column.name] = text.strip().lower() if column.values else text
        elif column.type is Type.NUMBER and (kind.is_numeric() or kind.is_boolean()):
            columns[column.name] = value.cast("float64")
        elif column.type is Type.DAY and (kind.is_date() or kind.is_timestamp()):
            columns[column.name] = value.cast("date")
        else:
            day = written.left(10)
            number, is_day = written.try_cast("float64"), day.re_search(r"^\d{4}-\d{2}-\d{2}$")
            read = number if column.type is Type.NUMBER else ibis.ifelse(is_day, day.try_cast("date"), None)
            columns |= {column.name: read, RAW + column.name: written}
    return frame.select(**columns)


def _rules(
    table: str, column: Column, typed: ir.Table, catalog: Catalog, clients: ir.Value | None
) -> Iterable[RowRule]:
    name, written = column.name, RAW + column.name
    if written in typed.columns:
        what, how = ("day", "2024-12-31") if column.type is Type.DAY else ("number", "1234.5")
        yield RowRule(
            name,
            f"not a {what}",
            f"write every {what} like {how}, or as a {what} of the file's own",
            lambda t: t[written].notnull() & t[name].isnull(),
            written,
        )
        if column.type is Type.NUMBER and column not in TABLES[table].columns:
            yield RowRule(
                name,
                "a number kept as a text, which prices take for not known",
                "keep the column as numbers in the file",
                lambda t: t[name].notnull(),
                written,
            )
    if column.required:
        yield RowRule(name, "empty", "fill it, or leave these rows out", lambda t: _empty(t, written, name))
    if column.type is Type.NUMBER:
        yield RowRule(
            name,
            "not a finite number",
            "replace infinities and not-a-number by the true value or by null",
            lambda t: ~isfinite(t[name]),
        )
    if column.between:
        low, high = column.between
        bounded = high < inf
        yield RowRule(
            name,
            f"outside of {low:g} to {high:g}" if bounded else f"below {low:g}",
            f"give it as a fraction between {low:g} and {high:g}" if bounded else f"correct it to {low:g} or more",
            lambda t: (t[name] < low) | ((t[name] > high) & isfinite(t[name])),
            name,
        )
    if column.values:
        yield _unknown(name, column.values, f"use one of {', '.join(column.values)}")
    if name == C.PRODUCT:
        products = [product.product_id for product in catalog.products]
        yield _unknown(name, products, "add the product to the catalog, or leave its rows out")
    if name == C.RATING and catalog.pricing is not None:
        remedy = f"add it to pricing.grades, or correct it: until then it is priced as {catalog.pricing.unrated}"
        yield _unknown(name, list(catalog.pricing.grades), remedy)
    if name == C.CURRENCY and table == "positions":
        yield _unknown(name, list(rates_of(catalog)), "add its rate to pricing.rates, or correct the rows")
    if name == C.BUNDLE:
        bundles = [bundle.bundle_id for bundle in catalog.offers]
        yield _unknown(name, bundles, "add the bundle to the catalog, or leave its rows out")
    if name in (C.CLIENT, C.LINKED) and clients is not None:
        yield _unknown(name, clients, "add the client to clients, or leave these rows out")


def _of_offers(typed: ir.Table, catalog: Catalog) -> Iterable[RowRule]:
    """What has to be true of an offer as a whole: an outcome has its day, and the price was one that can be."""
    of, day = {*typed.columns}, (RAW + C.RESPONDED_AT, C.RESPONDED_AT)
    if C.OUTCOME in of:
        yield RowRule(
            C.OUTCOME,
            "no responded_at, so it is never used",
            "fill in the day of the answer; of what nobody answered leave both empty",
            lambda t: ~_empty(t, C.OUTCOME) & (_empty(t, *day) if {*day} & of else True),
            C.OUTCOME,
        )
        if {*day} & of:
            yield RowRule(
                C.RESPONDED_AT,
                "the day of an answer without an outcome",
                "fill in the outcome, or leave the day empty",
                lambda t: _empty(t, C.OUTCOME) & ~_empty(t, *day),
            )
    for name in sorted({C.LIST_PROPENSITY, C.PRICE_PROPENSITY} & of):
        yield _equal(name, 0, "0, and what was offered had a chance", "give the chance that it had, or leave it empty")
    if C.PRICE_PROPENSITY in of:
        remedy = "leave it empty where the price was computed or a manager's"
        yield _equal(C.PRICE_PROPENSITY, 1, "1, so the price was not drawn by chance", remedy)
    if {C.BUNDLE, C.CONCESSION} <= of and (highest := _highest_prices(catalog)):
        yield RowRule(
            C.CONCESSION,
            "above the list price of the bundle, whoever pays it",
            "give what the client would have saved a year, in the catalog's currency",
            lambda t: (
                isfinite(t[C.CONCESSION]) & (t[C.CONCESSION] > t[C.BUNDLE].cases(*highest.items(), else_=inf) + ROUNDED)
            ),
            C.CONCESSION,
        )


def _equal(column: str, value: float, problem: str, remedy: str) -> RowRule:
    return RowRule(column, problem, remedy, lambda t: t[column] == value)


def _highest_prices(catalog: Catalog) -> dict[str, float]:
    """By bundle that has a price, money a year at list price of the client who pays most for it."""
    if catalog.pricing is None:
        return {}
    book = PriceTable(catalog)
    prices = {
        offer.bundle_id: float(sum(book.highest_price[book.positions[key]] for key in offer.products))
        for offer in catalog.offers
    }
    return {name: price for name, price in prices.items() if price == price}


def _empty(typed: ir.Table, *columns: str) -> ir.BooleanValue:
    value = next(typed[name] for name in columns if name in typed.columns)
    return value.isnull() | (value == "") if value.type().is_string() else value.isnull()


def _unknown(name: str, values: Sequence[str] | ir.Value, remedy: str) -> RowRule:
    what = name.removesuffix("_id").removeprefix("linked") or "client"
    return RowRule(name, f"unknown {what}", remedy, lambda t: (t[name] != "") & t[name].notin(values), name)


def _order(begin: str | None, end: str) -> RowRule:
    return RowRule(end, f"before {begin}", "correct whichever of the two days is wrong", lambda t: t[end] < t[begin])


def _failing(frame: ir.Table, rules: Sequence[RowRule]) -> list[tuple[RowRule, ir.Table]]:
    """The rules that rows of `frame` break, each with those rows, which stay in DuckDB.

    pandera asks of every outcome whether it is null. Of a negation Ibis writes that as NOT x IS NULL, which is true of
    every x; hence the choice between False and True, which is never null.
    """
    checks = [
        pa.Check(lambda data, broken=rule.broken: ibis.ifelse(broken(data.table), False, True), name=str(place))
        for place, rule in enumerate(rules)
    ]
    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            pa.DataFrameSchema(checks=checks).validate(frame, lazy=True)
    except SchemaErrors as errors:
        failing = [(rules[int(error.check.name)], error.failure_cases) for error in errors.schema_errors]
        for _, rows in failing:
            if not isinstance(rows, ir.Table):  # pandera catches what a rule raises and hands over its words
                raise duckdb.Error(rows) from errors
        return failing
    return []


def _finding(table: Table, rule: RowRule, failing: ir.Table, key: Sequence[str], count: ir.Value) -> Finding:
    problem = rule.problem
    if rule.shown:
        values = failing.select(rule.shown).distinct().order_by(rule.shown).limit(SHOWN + 1).to_pyarrow()
        listed = values[rule.shown].to_pylist()
        texts = [str(value) if isinstance(value, dt.date) else repr(value) for value in listed]
        problem += ": " + ", ".join(texts[:SHOWN]) + (", …" if len(texts) > SHOWN else "")
    first = failing.select(key).distinct().order_by(key).limit(SHOWN).to_pyarrow().to_pylist()
    keys = tuple(_key(row, table) for row in first)
    return Finding(table.name, rule.column, problem, int(count.execute()), keys, rule.remedy)


def _key(row: dict[str, object], table: Table) -> str:
    parts = {name: value for name, value in row.items() if value is not None or table.column(name).required}
    return " / ".join("null" if value is None else str(value) for value in parts.values())
