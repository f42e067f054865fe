"""Everything that is wrong with a bank's tables is found at once: where, how often, on which keys, what to do."""

from __future__ import annotations

import datetime as dt
import io
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sheaf.catalog import Bundle, Catalog, Kind, Line, Product
from sheaf.features.bank import AGAIN, connect
from sheaf.features.validation.check import Finding, check, render
from tests.pricing.books import catalog

CATALOG = Catalog(
    name="Test bank",
    currency="EUR",
    products=(
        Product(product_id="mortgage", name="Mortgage", line=Line.RETAIL, family="loans"),
        Product(product_id="leasing", name="Leasing", line=Line.CORPORATE, family="loans"),
    ),
    bundles=(
        Bundle(
            bundle_id="home",
            name="Home",
            products=("mortgage", "leasing"),
            line=Line.RETAIL,
            kinds=(Kind.RETAIL, Kind.CORPORATE, Kind.INSTITUTION),
        ),
    ),
)

D = dt.date
GOOD: dict[str, dict[str, Any]] = {
    "clients": {
        "client_id": ["c1", "c2", "c3"],
        "kind": ["retail", "corporate", "institution"],
        "joined_on": [D(2020, 1, 1), D(2020, 1, 1), D(2021, 1, 1)],
        "left_on": [None, D(2020, 1, 1), None],
        "age": [41, None, None],
    },
    "holdings": {
        "client_id": ["c1", "c2", "c2"],
        "product_id": ["mortgage", "leasing", "leasing"],
        "opened_on": [D(2020, 1, 1), D(2021, 1, 1), D(2022, 1, 1)],
        "closed_on": [None, D(2021, 6, 1), None],
    },
    "positions": {
        "client_id": ["c1", "c1", "c2"],
        "product_id": ["mortgage", "mortgage", "leasing"],
        "month": [D(2024, 1, 31), D(2024, 2, 29), D(2024, 1, 31)],
        "balance": [100.0, 99.0, None],
    },
    "transactions": {
        "client_id": ["c1", "c1", "c2"],
        "booked_at": [dt.datetime(2024, 1, 1, 8), dt.datetime(2024, 1, 1, 8), dt.datetime(2024, 1, 2)],
        "amount": [10.0, 10.0, -3.5],
    },
    "links": {
        "client_id": ["c1"],
        "linked_id": ["c2"],
        "relation": ["employer"],
        "since": [D(2020, 1, 1)],
        "until": [None],
    },
    "offers": {
        "offer_id": ["o1", "o2"],
        "client_id": ["c1", "c2"],
        "bundle_id": ["home", "mortgage"],
        "offered_at": [dt.datetime(2024, 1, 1, 8), dt.datetime(2024, 1, 2)],
        "list_propensity": [0.5, 1.0],
        "price_propensity": [0.5, None],
        "outcome": ["accepted", None],
        "responded_at": [dt.datetime(2024, 1, 1, 7), None],  # on the day of the offer: days are compared, not hours
    },
    "cohorts": {"client_id": ["c1"], "as_of": [D(2024, 1, 1)]},
}
REQUIRED = {name: GOOD[name] for name in ("clients", "holdings")}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis")


def write(folder: Path, tables: dict[str, dict[str, Any]]) -> Path:
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def findings(folder: Path, **changed: Any) -> list[Finding]:
    """What is found in the required tables and those where `table__column` has other values (None: is left out)."""
    named = {"clients", "holdings", *(place.partition("__")[0] for place in changed)}
    tables = {name: dict(columns) for name, columns in GOOD.items() if name in named}
    for place, values in changed.items():
        table, _, column = place.partition("__")
        if values is None:
            del tables[table][column]
        else:
            tables[table][column] = values
    return check(write(folder, tables), CATALOG)


def test_good_tables_are_found_good(tmp_path):
    assert check(write(tmp_path, GOOD), CATALOG) == []


def test_the_required_tables_alone_are_enough(tmp_path):
    assert findings(tmp_path) == []


# --- tables and columns ---


def test_a_folder_that_is_not_there(tmp_path):
    nowhere = tmp_path / "nowhere"
    problem = f"{nowhere} is not a folder"
    assert check(nowhere, CATALOG) == [Finding("", "", problem, 0, (), "give the folder that holds the bank's tables")]


def test_a_missing_required_table(tmp_path):
    remedy = "put holdings.parquet, holdings/ with Parquet files or holdings.csv there"
    write(tmp_path, {"clients": GOOD["clients"]})
    assert check(tmp_path, CATALOG) == [Finding("holdings", "", "the table is missing", 0, (), remedy)]


def test_a_missing_required_column(tmp_path):
    remedy = "add it; the table has client_id, product_id, closed_on"
    expected = Finding("holdings", "opened_on", "the required column is missing", 0, (), remedy)
    assert findings(tmp_path, holdings__opened_on=None) == [expected]


def test_without_the_clients_ids_nobody_is_called_unknown(tmp_path):
    assert [(f.table, f.column) for f in findings(tmp_path, clients__client_id=None)] == [("clients", "client_id")]
    (tmp_path / "clients.parquet").unlink()
    assert [(f.table, f.problem) for f in check(tmp_path, CATALOG)] == [("clients", "the table is missing")]


def test_a_table_of_something_else(tmp_path):
    write(tmp_path, REQUIRED | {"links": {"a": [1], "b": [2]}})
    remedy = "add it; the table has a, b"
    columns = ("client_id", "linked_id", "relation")
    expected = [Finding("links", column, "the required column is missing", 0, (), remedy) for column in columns]
    assert check(tmp_path, CATALOG) == expected


def test_an_empty_table(tmp_path):
    write(tmp_path, REQUIRED)
    for name in ("clients", "transactions"):
        pq.write_table(pa.table(GOOD[name]).slice(0, 0), tmp_path / f"{name}.parquet")
    assert check(tmp_path, CATALOG) == [
        Finding("clients", "", "the table has no rows", 0, (), "fill it"),
        Finding("transactions", "", "the table has no rows", 0, (), "fill it or leave the table out"),
    ]


def test_a_file_that_is_not_parquet(tmp_path):
    write(tmp_path, REQUIRED)
    (tmp_path / "links.parquet").write_text("client_id,linked_id,relation\nc1,c2,employer\n")
    [finding] = check(tmp_path, CATALOG)
    assert (finding.table, finding.column, finding.rows, finding.keys) == ("links", "", 0, ())
    assert finding.problem.startswith("table links cannot be read: ")
    assert "links.parquet" in finding.problem
    assert finding.remedy == AGAIN


def test_a_file_that_is_damaged_further_down(tmp_path):
    write(tmp_path, REQUIRED)
    many = {"client_id": [f"c{i}" for i in range(9999)], "booked_at": [D(2024, 1, 1)] * 9999, "amount": [1.0] * 9999}
    damaged = tmp_path / "transactions.parquet"
    pq.write_table(pa.table(many), damaged)
    content = bytearray(damaged.read_bytes())
    content[20:2000] = b"\xff" * 1980  # in the values; the end of the file, which says what it holds, stays whole
    damaged.write_bytes(content)
    [finding] = check(tmp_path, CATALOG)
    assert (finding.table, finding.column, finding.remedy) == ("transactions", "", AGAIN)
    assert finding.problem.startswith("table transactions cannot be read: ")


def test_a_csv_with_a_row_too_long(tmp_path):
    write(tmp_path, REQUIRED)
    (tmp_path / "links.csv").write_text("client_id,linked_id,relation\nc1,c2,employer\nc2,c1,owner,more\n")
    [finding] = check(tmp_path, CATALOG)
    assert (finding.table, finding.column, finding.remedy) == ("links", "", AGAIN)
    assert "Line: 3" in finding.problem


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        (b"", "links.csv is empty, without even a header", AGAIN),
        (
            "client_id,linked_id,relation,größe\nc1,c2,employer,1\n".encode("latin-1"),
            "the header of links.csv is not UTF-8",
            AGAIN,
        ),
        (
            b'client_id,linked_id,relation\nc1,c2,employer\nc2,"c1,owner\n',
            "no separator tells the columns of 'client_id,linked_id,relation' apart in every row",
            f"look for a quote that is not closed, and {AGAIN}",
        ),
    ],
)
def test_a_csv_whose_header_cannot_be_told(tmp_path, content, problem, remedy):
    write(tmp_path, REQUIRED)
    (tmp_path / "links.csv").write_bytes(content)
    assert check(tmp_path, CATALOG) == [Finding("links", "", f"table links cannot be read: {problem}", 0, (), remedy)]


def test_a_table_that_is_there_twice(tmp_path):
    write(tmp_path, REQUIRED | {"links": GOOD["links"]})
    (tmp_path / "links.csv").write_text("client_id,linked_id,relation\n")
    remedy = "keep one of links.parquet, links.csv"
    assert check(tmp_path, CATALOG) == [Finding("links", "", "table links is there more than once", 0, (), remedy)]


# --- values ---


def test_texts_that_are_no_numbers(tmp_path):
    expected = Finding(
        "transactions",
        "amount",
        "not a number: '1,5', 'n/a'",
        2,
        ("c1 / 2024-01-01", "c2 / 2024-01-02"),
        "write every number like 1234.5, or as a number of the file's own",
    )
    assert findings(tmp_path, transactions__amount=["1,5", "10.0", "n/a"]) == [expected]


def test_texts_that_are_no_days(tmp_path):
    expected = Finding(
        "holdings",
        "closed_on",
        "not a day: '05/06/2024', '2024-02-30'",
        2,
        ("c1 / mortgage / 2020-01-01", "c2 / leasing / 2021-01-01"),
        "write every day like 2024-12-31, or as a day of the file's own",
    )
    assert findings(tmp_path, holdings__closed_on=["2024-02-30", "05/06/2024", "2024-03-01T10:00:00Z"]) == [expected]


def test_numbers_where_days_are_wanted(tmp_path):
    [finding] = findings(tmp_path, cohorts__as_of=[20240101])
    assert (finding.column, finding.problem, finding.rows) == ("as_of", "not a day: '20240101'", 1)


def test_duplicate_keys(tmp_path):
    expected = Finding(
        "holdings",
        "client_id",
        "more than one row with the same client_id, product_id, opened_on",
        2,
        ("c2 / leasing / 2021-01-01",),
        "keep one of them",
    )
    opened_on = [D(2020, 1, 1), D(2021, 1, 1), D(2021, 1, 1)]
    assert findings(tmp_path, holdings__opened_on=opened_on) == [expected]


def test_a_client_twice_without_a_valid_from(tmp_path):
    [finding] = findings(tmp_path, clients__client_id=["c1", "c2", "c1"])
    assert (finding.table, finding.rows, finding.keys) == ("clients", 2, ("c1",))
    assert finding.problem == "more than one row with the same client_id"


def test_a_client_twice_with_the_same_valid_from(tmp_path):
    changed = {"clients__client_id": ["c1", "c2", "c2"], "clients__valid_from": [D(2020, 1, 1), None, None]}
    [finding] = findings(tmp_path, **changed)
    assert (finding.rows, finding.keys) == (2, ("c2",))


def test_a_client_may_have_a_row_for_every_change(tmp_path):
    changed = {"clients__client_id": ["c1", "c2", "c2"], "clients__valid_from": [None, None, D(2020, 1, 1)]}
    assert findings(tmp_path, **changed) == []


def test_two_bookings_alike_are_two_bookings(tmp_path):
    assert findings(tmp_path, transactions__client_id=["c1", "c1", "c1"]) == []


def test_null_and_empty_ids(tmp_path):
    expected = Finding(
        "holdings",
        "client_id",
        "empty",
        2,
        (" / leasing / 2021-01-01", "null / mortgage / 2020-01-01"),
        "fill it, or leave these rows out",
    )
    assert findings(tmp_path, holdings__client_id=[None, "", "c2"]) == [expected]


def test_a_null_in_a_required_column(tmp_path):
    [finding] = findings(tmp_path, transactions__amount=[10.0, None, -3.5])
    assert (finding.table, finding.column, finding.problem, finding.rows) == ("transactions", "amount", "empty", 1)
    assert finding.keys == ("c1 / 2024-01-01",)


@pytest.mark.parametrize(
    ("table", "end", "begin", "days", "keys"),
    [
        ("clients", "left_on", "joined_on", [D(2019, 12, 31), None, None], ("c1",)),
        ("holdings", "closed_on", "opened_on", [None, D(2020, 12, 31), None], ("c2 / leasing / 2021-01-01",)),
        ("links", "until", "since", [D(2019, 1, 1)], ("c1 / c2 / employer / 2020-01-01",)),
        ("offers", "responded_at", "offered_at", [dt.datetime(2023, 12, 31, 23), None], ("o1",)),
    ],
)
def test_an_end_before_its_beginning(table, end, begin, days, keys, tmp_path):
    expected = Finding(table, end, f"before {begin}", 1, keys, "correct whichever of the two days is wrong")
    assert findings(tmp_path, **{f"{table}__{end}": days}) == [expected]


@pytest.mark.parametrize("table", ["holdings", "positions"])
def test_a_product_that_is_not_in_the_catalog(table, tmp_path):
    [finding] = findings(tmp_path, **{f"{table}__product_id": ["mortgage", "mortgage", "leasehold"]})
    assert (finding.table, finding.column, finding.rows) == (table, "product_id", 1)
    assert finding.problem == "unknown product: 'leasehold'"
    assert finding.remedy == "add the product to the catalog, or leave its rows out"


def test_a_bundle_that_the_catalog_does_not_offer(tmp_path):
    [finding] = findings(tmp_path, offers__bundle_id=["home", "young_family"])
    assert (finding.table, finding.column, finding.problem) == ("offers", "bundle_id", "unknown bundle: 'young_family'")
    assert finding.keys == ("o2",)


def test_an_unknown_kind(tmp_path):
    remedy = "use one of retail, corporate, institution"
    expected = Finding("clients", "kind", "unknown kind: 'firm'", 1, ("c2",), remedy)
    assert findings(tmp_path, clients__kind=["Retail ", "firm", "institution"]) == [expected]


def test_an_unknown_relation(tmp_path):
    [finding] = findings(tmp_path, links__relation=["cousin"])
    assert finding.problem == "unknown relation: 'cousin'"
    assert finding.remedy == "use one of group, employer, owner, guarantor, supplier"


def test_a_link_to_an_unknown_client(tmp_path):
    remedy = "add the client to clients, or leave these rows out"
    keys = ("c1 / c9 / employer / 2020-01-01",)
    expected = Finding("links", "linked_id", "unknown client: 'c9'", 1, keys, remedy)
    assert findings(tmp_path, links__linked_id=["c9"]) == [expected]


def test_rows_of_unknown_clients(tmp_path):
    tables = ["holdings", "positions", "transactions", "links", "offers", "cohorts"]
    found = findings(tmp_path, **{f"{name}__client_id": ["c9", *GOOD[name]["client_id"][1:]] for name in tables})
    expected = [(name, "client_id", "unknown client: 'c9'", 1) for name in tables]
    assert [(f.table, f.column, f.problem, f.rows) for f in found] == expected


def test_ids_that_are_numbers_in_one_table_and_texts_in_another_are_the_same(tmp_path):
    changed = {"clients__client_id": [1, 2, 3], "positions__client_id": [1.0, 2.0, 3.0], "links__linked_id": ["2"]}
    others = {
        f"{table}__client_id": ["1"] * len(GOOD[table]["client_id"]) for table in ("transactions", "links", "offers")
    }
    assert findings(tmp_path, **changed, **others, holdings__client_id=["1", "2", "3"], cohorts__client_id=["3"]) == []


def test_amounts_that_are_not_finite(tmp_path):
    remedy = "replace infinities and not-a-number by the true value or by null"
    keys = ("c1 / 2024-01-01", "c2 / 2024-01-02")
    expected = Finding("transactions", "amount", "not a finite number", 3, keys, remedy)
    amounts = [float("nan"), float("inf"), float("-inf")]
    assert findings(tmp_path, transactions__amount=amounts) == [expected]


def test_one_not_a_number_among_numbers(tmp_path):  # which a Parquet file's bounds do not show
    [finding] = findings(tmp_path, transactions__amount=[1.0, float("nan"), 2.0])
    assert (finding.problem, finding.rows) == ("not a finite number", 1)


@pytest.mark.parametrize(
    ("table", "column", "values", "problem", "remedy"),
    [
        ("positions", "balance", [-500.0, 1.0, None], "below 0: -500.0", "correct it to 0 or more"),
        ("positions", "limit", [None, -10.0, 0.0], "below 0: -10.0", "correct it to 0 or more"),
        ("positions", "rate", [2.5, 0.02, -0.01], "outside of -0.5 to 1: 2.5",
         "give it as a fraction between -0.5 and 1"),
        ("positions", "rate", [1.0, 0.02, -0.01], "outside of -0.5 to 1: 1.0",
         "give it as a fraction between -0.5 and 1"),
        ("offers", "concession", [0.0, -50.0], "below 0: -50.0", "correct it to 0 or more"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be(tmp_path, table, column, values, problem, remedy):
    [finding] = findings(tmp_path, **{f"{table}__{column}": values})
    assert (finding.table, finding.column, finding.problem, finding.rows) == (table, column, problem, 1)
    assert finding.remedy == remedy


@pytest.mark.parametrize("column", ["propensity", "Propensity", " PROPENSITY "])
def test_a_propensity_of_nobody_knows_what_is_named_and_not_read(tmp_path, column):
    offers = {**GOOD["offers"], column: [1.0, 0.715]}
    del offers["price_propensity"]
    found = check(write(tmp_path, {**GOOD, "offers": offers}), catalog())
    [finding] = [one for one in found if one.table == "offers"]
    assert (finding.table, finding.column) == ("offers", column)
    assert "may be the chance of the list or that of the price" in finding.problem
    assert "call it price_propensity if the concession was drawn with that chance, else list_prop" in finding.remedy


def test_a_price_that_was_certain_was_not_drawn(tmp_path):
    [finding] = findings(tmp_path, offers__price_propensity=[1.0, None])
    assert (finding.column, finding.problem, finding.keys) == (
        "price_propensity", "1, so the price was not drawn by chance", ("o1",)
    )  # fmt: skip


def test_a_propensity_that_is_no_probability(tmp_path):
    remedy = "give it as a fraction between 0 and 1"
    expected = Finding("offers", "price_propensity", "outside of 0 to 1: -0.1, 85.0", 2, ("o1", "o2"), remedy)
    assert findings(tmp_path, offers__price_propensity=[85.0, -0.1]) == [expected]


# --- all of it ---


def test_everything_wrong_is_told_at_once_in_the_contracts_order(tmp_path):
    found = findings(
        tmp_path,
        clients__kind=["firm", "corporate", None],
        holdings__product_id=["mortgage", None, "leasehold"],
        holdings__closed_on=[D(2019, 1, 1), None, None],
        transactions__amount=None,
        transactions__client_id=["c9", "c1", "c2"],
        cohorts__as_of=["soon"],
    )
    assert [(f.table, f.column, f.problem) for f in found] == [
        ("clients", "kind", "empty"),
        ("clients", "kind", "unknown kind: 'firm'"),
        ("holdings", "product_id", "empty"),
        ("holdings", "product_id", "unknown product: 'leasehold'"),
        ("holdings", "closed_on", "before opened_on"),
        ("transactions", "amount", "the required column is missing"),
        ("transactions", "client_id", "unknown client: 'c9'"),
        ("cohorts", "as_of", "not a day: 'soon'"),
    ]


def test_csv_tables_are_checked_like_the_others(tmp_path):
    (tmp_path / "clients.csv").write_text("client_id,kind,joined_on\n007,retail,2020-01-01\n7,firm,01.02.2020\n")
    (tmp_path / "holdings.csv").write_text("client_id;product_id;opened_on\n007;mortgage;2020-01-01\n07;leasing;\n")
    assert [(f.table, f.column, f.problem, f.keys) for f in check(tmp_path, CATALOG)] == [
        ("clients", "kind", "unknown kind: 'firm'", ("7",)),
        ("clients", "joined_on", "not a day: '01.02.2020'", ("7",)),
        ("holdings", "client_id", "unknown client: '07'", ("07 / leasing / null",)),
        ("holdings", "opened_on", "empty", ("07 / leasing / null",)),
    ]


def test_a_csvs_days_are_not_guessed(tmp_path):
    (tmp_path / "clients.csv").write_text("client_id,kind,joined_on\nc1,retail,05/06/2024\n")
    (tmp_path / "holdings.csv").write_text("client_id,product_id,opened_on\nc1,mortgage,2024-06-05\n")
    [finding] = check(tmp_path, CATALOG)
    assert (finding.column, finding.problem) == ("joined_on", "not a day: '05/06/2024'")


def test_only_the_first_keys_and_values_are_named(tmp_path):
    write(tmp_path, REQUIRED)
    count = 1000
    holdings = {
        "client_id": ["c1"] * count,
        "product_id": [f"p{place:03}" for place in reversed(range(count))],
        "opened_on": [D(2020, 1, 1)] * count,
    }
    pq.write_table(pa.table(holdings), tmp_path / "holdings.parquet")
    [finding] = check(tmp_path, CATALOG)
    assert finding.rows == count
    assert finding.problem == "unknown product: 'p000', 'p001', 'p002', 'p003', 'p004', …"
    assert finding.keys == tuple(f"c1 / p00{place} / 2020-01-01" for place in range(5))


def test_two_million_bookings_are_checked_in_seconds(tmp_path):
    write(tmp_path, REQUIRED)
    wrong = "case when i % 1000 = 0 then 'inf' else '1' end::double"
    booked = f"'c' || (1 + i % 3) client_id, timestamp '2024-01-01' booked_at, {wrong} amount"
    bookings = connect().sql(f"select {booked} from range(2000000) t(i)")
    bookings.to_parquet(str(tmp_path / "transactions.parquet"))
    start = time.process_time()
    [finding] = check(tmp_path, CATALOG)
    assert (finding.problem, finding.rows) == ("not a finite number", 2000)
    assert time.process_time() - start < 10  # seconds of all cores; about 1 on two of 2026


def test_findings_are_shown_as_they_are(tmp_path):
    found = findings(tmp_path, clients__kind=["[red]firm", "corporate", "institution"])
    shown = io.StringIO()
    Console(file=shown, width=160).print(render(found))
    for part in ("clients", "kind", "unknown kind: '[red]firm'", "1", "c1", "use one of retail"):
        assert part in shown.getvalue()


def test_attributes_that_the_rules_go_by_are_checked(tmp_path):
    sold = catalog(suitable_until="suitable", abroad="foreign")
    clients = {"client_id": ["a", "b", "c"], "kind": ["retail"] * 3, "joined_on": [D(2020, 1, 1)] * 3,
               "suitable": ["soon", "2024-12-31", None], "foreign": [0.0, 2.0, None]}  # fmt: skip
    holdings = {"client_id": ["a"], "product_id": ["account"], "opened_on": [D(2021, 1, 1)]}
    found = check(write(tmp_path, {"clients": clients, "holdings": holdings}), sold)
    assert [(one.column, one.problem, one.rows, one.keys) for one in found] == [
        ("suitable", "not a day: 'soon'", 1, ("a",)),
        ("foreign", "outside of 0 to 1: 2.0", 1, ("b",)),
    ]
    good = {**clients, "suitable": [D(2024, 1, 1)] * 3, "foreign": [True, False, None]}
    (tmp_path / "good").mkdir()
    assert check(write(tmp_path / "good", {"clients": good, "holdings": holdings}), sold) == []


def test_what_prices_go_by_is_checked(tmp_path):
    """A rating that no grade has and sales that cannot be would be priced as unrated, and as of a large firm."""
    clients = {"client_id": ["a", "b", "c"], "kind": ["corporate"] * 3, "joined_on": [D(2020, 1, 1)] * 3,
               "rating": ["A", "ZZ", None], "turnover": [-5e6, 2e7, None]}  # fmt: skip
    holdings = {"client_id": ["a"], "product_id": ["account"], "opened_on": [D(2021, 1, 1)]}
    found = check(write(tmp_path, {"clients": clients, "holdings": holdings}), catalog())
    assert [(one.table, one.column, one.problem, one.rows, one.keys, one.remedy) for one in found] == [
        ("clients", "rating", "unknown rating: 'ZZ'", 1, ("b",),
         "add it to pricing.grades, or correct it: until then it is priced as B"),
        ("clients", "turnover", "below 0: -5000000.0", 1, ("a",), "correct it to 0 or more"),
    ]  # fmt: skip
    (tmp_path / "text").mkdir()
    texts = {**clients, "rating": ["A", "B", None], "turnover": ["2e7", "much", None]}
    found = check(write(tmp_path / "text", {"clients": texts, "holdings": holdings}), catalog())
    assert [(one.column, one.problem, one.rows, one.keys) for one in found] == [
        ("turnover", "not a number: 'much'", 1, ("b",)),
        ("turnover", "a number kept as a text, which prices take for not known: '2e7'", 1, ("a",)),
    ]
    unpriced = catalog().model_copy(update={"pricing": None})
    assert check(write(tmp_path, {"clients": clients, "holdings": holdings}), unpriced) == []


def test_offers_that_cannot_have_been_are_found(tmp_path):
    """Start is an account of 10,000 at 0.02, with fees of 60 and 24: nobody saves more than 284."""
    offers = {
        "offer_id": list("abcdefgh"), "client_id": ["c1"] * 8, "bundle_id": ["start"] * 8,
        "offered_at": [D(2024, 1, 1)] * 8,
        "concession": [284.0, 284.5, -1.0, 0.0, None, 0.0, 0.0, float("nan")],
        "price_propensity": [0.5, 0.5, 0.5, 0.0, 1.5, None, 0.5, 0.5],
        "outcome": ["accepted", "ignored", "accepted", "rejected", "accepted", "ignored", None, None],
        "responded_at": [D(2024, 1, 2)] * 5 + [None, D(2024, 1, 2), None],
    }  # fmt: skip
    holdings = {"client_id": ["c1"], "product_id": ["account"], "opened_on": [D(2021, 1, 1)]}
    tables = {"clients": GOOD["clients"], "holdings": holdings, "offers": offers}
    found = check(write(tmp_path, tables), catalog())
    assert [(one.column, one.problem, one.rows, one.keys) for one in found] == [
        ("price_propensity", "outside of 0 to 1: 1.5", 1, ("e",)),
        ("concession", "not a finite number", 1, ("h",)),
        ("concession", "below 0: -1.0", 1, ("c",)),
        ("outcome", "no responded_at, so it is never used: 'ignored'", 1, ("f",)),
        ("responded_at", "the day of an answer without an outcome", 1, ("g",)),
        ("price_propensity", "0, and what was offered had a chance", 1, ("d",)),
        ("concession", "above the list price of the bundle, whoever pays it: 284.5", 1, ("b",)),
    ]
    (tmp_path / "undated").mkdir()
    del offers["responded_at"]
    found = check(write(tmp_path / "undated", tables), catalog())
    assert ("outcome", 6) in [(one.column, one.rows) for one in found]


def test_positions_that_cannot_be_are_found(tmp_path):
    positions = {
        "client_id": ["c1"] * 3, "product_id": ["account", "card", "loan"], "month": [D(2024, 1, 31)] * 3,
        "balance": [-5.0, float("inf"), 1.0], "rate": [0.01, None, 5.0],
    }  # fmt: skip
    holdings = {"client_id": ["c1"], "product_id": ["account"], "opened_on": [D(2021, 1, 1)]}
    tables = {"clients": GOOD["clients"], "holdings": holdings, "positions": positions}
    found = check(write(tmp_path, tables), catalog())
    assert [(one.column, one.problem, one.rows) for one in found] == [
        ("balance", "not a finite number", 1),
        ("balance", "below 0: -5.0", 1),
        ("rate", "outside of -0.5 to 1: 5.0", 1),
    ]
