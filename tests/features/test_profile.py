from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features import (
    Bank,
    ProfileMatrix,
    TableError,
    build_profiles,
    day_number,
    feature_dictionary,
    profile_matrices,
)
from sheaf.features.expressions import months_before
from sheaf.features.feature import number
from sheaf.features.matrix import assemble
from tests.features.banks import CATALOG, DAY, IDS, Rows, bank, client, frame, futures, pasts, profiles, tables, written

MINIMAL = {
    "clients": [client("a"), client("b")],
    "holdings": [{"client_id": "a", "product_id": "card", "opened_on": "2024-01-31"}],
}


@given(st.data())
@settings(max_examples=25)
def test_nothing_dated_after_the_day_moves_any_column(data: Any) -> None:
    past = data.draw(pasts())
    one, other = (Bank.of(**tables(data.draw(futures(past)))) for _ in range(2))
    pd.testing.assert_frame_equal(profiles(one), profiles(other), check_exact=True)


@given(pasts().flatmap(futures))
@settings(max_examples=6)
def test_pandas_and_duckdb_give_the_same_profiles(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    frames = tables(rows)
    of_files = written(frames, tmp_path_factory.mktemp("bank") / "tables")
    pd.testing.assert_frame_equal(
        profiles(Bank.of(**frames)), profiles(of_files), rtol=1e-9, atol=1e-9, check_dtype=False
    )


@given(pasts().flatmap(futures))
@settings(max_examples=8)
def test_the_columns_are_those_of_the_dictionary_with_their_types(rows: Rows) -> None:
    some = Bank.of(**tables(rows))
    found = profiles(some)
    assert list(found.columns) == [feature.name for feature in feature_dictionary(some, CATALOG)]
    for feature in feature_dictionary(some, CATALOG):
        column = found[feature.name]
        if feature.type == "category":
            assert column.dropna().map(lambda value: isinstance(value, str)).all()
        else:
            assert column.dtype == np.float64
        if feature.type == "flag":
            assert column.dropna().isin([0.0, 1.0]).all()
        if feature.missing is not None:  # known of everybody, or of nobody, as where bookings have stopped
            assert column.notna().all() or column.isna().all()


def test_clients_and_holdings_are_enough() -> None:
    found = profiles(bank(**MINIMAL))
    assert found.index.tolist() == ["a", "b"]
    assert found["held__card"].tolist() == [1.0, 0.0]
    assert "inflow_3m" not in found
    assert "deposits" not in found
    assert "performance" not in found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([client("a"), client("a")], "1 clients have several rows .* 2024-06-30: a; keep the one that holds"),
        (
            [{**client("a"), "client_id": None}],
            "table clients: client_id is empty on 1 rows known on 2024-06-30; fill it",
        ),
    ],
)
def test_a_client_told_twice_or_of_no_id_is_refused(tmp_path: Path, more: list[dict[str, Any]], message: str) -> None:
    """A second row would be a client of whom nothing is known, and who may therefore have everything."""
    told = tables(MINIMAL)
    told["clients"] = pd.concat([told["clients"], frame("clients", more)], ignore_index=True)
    for one in (Bank.of(**told), written(told, tmp_path / "tables")):
        with pytest.raises(TableError, match=message):
            build_profiles(one, CATALOG, dt.date(2024, 6, 30))


@pytest.mark.parametrize("amount", [8_388_609.5, -8_388_610.5, 16_777_217.0, 123_456_792.0, 0.1])
def test_the_last_bit_of_a_sum_moves_no_number(amount: float) -> None:
    """Threads add up in whatever order; the sums lie between two floats of 32 bits."""
    ids, told = pa.array(["a"]), number("sum", "EUR", "A sum.")
    for sum_of in (amount, np.nextafter(amount, np.inf), np.nextafter(amount, -np.inf)):
        table = pa.table({"client_id": ids, "sum": [float(sum_of)]})
        assert assemble(ids, [told], [table], []).values[0, 0] == np.float32(amount)


def test_a_bank_of_no_clients_has_no_profiles() -> None:
    assert profiles(bank(clients=[], holdings=[])).empty


def test_only_those_who_have_joined_and_not_left_are_profiled() -> None:
    some = bank(
        clients=[
            client("active"),
            client("leaves_later", left_on="2024-07-01"),
            client("left", left_on="2024-06-30"),
            client("joins_later", joined_on="2024-07-01"),
        ],
        holdings=[],
    )
    assert profiles(some).index.tolist() == ["active", "leaves_later"]


def test_the_latest_row_known_of_a_client_counts() -> None:
    rows = [
        client("a", valid_from=day, rating=grade)
        for day, grade in ((None, "C"), ("2024-01-01", "B"), ("2024-06-30", "A"), ("2024-07-01", "D"))
    ]
    assert profiles(bank(clients=rows, holdings=[]))["rating"].tolist() == ["A"]


def test_a_cohort_is_profiled_as_within_the_whole_bank() -> None:
    some = bank(
        clients=[client(name) for name in "abc"],
        holdings=[{"client_id": name, "product_id": "loan", "opened_on": "2024-01-31"} for name in "abbc"],
        links=[{"client_id": "a", "linked_id": "b", "relation": "employer"}],
    )
    whole = profiles(some)
    listed = pd.DataFrame({"client_id": ["c", "a"], "as_of": pd.Timestamp(DAY)})
    pd.testing.assert_frame_equal(profiles(some, cohort=listed), whole.loc[["a", "c"]])
    pd.testing.assert_frame_equal(profiles(some, cohort=["b"]), whole.loc[["b"]])


def test_the_last_month_end_is_that_of_all_clients_not_of_the_cohort() -> None:
    months = {"a": "2023-12-31", "b": "2024-06-30"}  # of the two, only the latter is fresh
    positions = [{"client_id": of, "product_id": "loan", "month": day, "balance": 5.0} for of, day in months.items()]
    some = bank(clients=[client("a"), client("b")], holdings=MINIMAL["holdings"], positions=positions)
    for found in (profiles(some, cohort=["a"]), profiles(some).loc[["a"]]):
        assert found["loans"].tolist() == [0.0]
        assert found["loans_mean_12m"].tolist() == [5.0 / 12]


def test_the_banks_own_cohort_of_the_day_is_taken() -> None:
    some = bank(**MINIMAL, cohorts=[{"client_id": "b", "as_of": DAY}, {"client_id": "a", "as_of": "2024-05-31"}])
    assert profiles(some).index.tolist() == ["b"]


def test_an_attribute_named_like_a_profile_column_is_refused() -> None:
    clients = pd.DataFrame([client("a", products_held=3)]).astype({"joined_on": "datetime64[s]"})
    holdings = pd.DataFrame({"client_id": ["a"], "product_id": ["card"], "opened_on": [pd.Timestamp("2024-01-31")]})
    with pytest.raises(
        ValueError, match=r"clients: columns \['products_held'\] have the names of profile columns; ren"
    ):
        build_profiles(Bank.of(clients=clients, holdings=holdings), CATALOG, DAY)


@pytest.mark.parametrize(
    ("as_of", "months", "earlier"),
    [
        ("2024-06-30", 1, "2024-05-31"),  # the ends of months meet
        ("2024-06-30", 4, "2024-02-29"),
        ("2023-02-28", 2, "2022-12-31"),
        ("2024-03-30", 1, "2024-02-29"),  # a day that February lacks
        ("2015-06-27", 1, "2015-05-27"),
        ("2024-01-15", 13, "2022-12-15"),
    ],
)
def test_a_month_before_is_a_calendar_month(as_of: str, months: int, earlier: str) -> None:
    assert months_before(dt.date.fromisoformat(as_of), months) == day_number(dt.date.fromisoformat(earlier))


def test_parts_are_the_profiles_in_the_order_of_the_clients(tmp_path: Path) -> None:
    ids = ["C10", "C9", "c1", "C100", "Ä", "a b", "É'"]
    rows: Any = {
        "clients": [client(name) for name in ids] + [client("left", left_on="2024-06-01")],
        "holdings": [{"client_id": name, "product_id": "loan", "opened_on": "2024-01-31"} for name in [*ids, "left"]],
        "links": [{"client_id": ids[0], "linked_id": name, "relation": "owner"} for name in ids[1:]],
        "transactions": [{"client_id": name, "booked_at": "2024-06-01", "amount": len(name)} for name in ids],
        "positions": [
            {"client_id": name, "product_id": "card", "month": "2024-06-30", "balance": 0.0, "fees": fee}
            for fee, name in enumerate(ids)
        ],
    }
    for some in (bank(**rows), written(tables(rows), tmp_path / "tables")):
        [whole] = profile_matrices(some, CATALOG, DAY)
        parts = list(profile_matrices(some, CATALOG, DAY, clients=3))
        assert [len(part.client_ids) for part in parts] == [3, 3, 1]
        same(ProfileMatrix.join(parts), whole)
        [named] = profile_matrices(some, CATALOG, DAY, ["Ä", "left", "c1"])
        same(named.align(whole.columns, whole.categories), whole[np.isin(whole.client_ids, ["c1", "Ä"])])


def same(one: ProfileMatrix, other: ProfileMatrix) -> None:
    assert one.client_ids.tolist() == other.client_ids.tolist()
    assert (one.columns, one.categories) == (other.columns, other.categories)
    for index, name in enumerate(one.columns):
        np.testing.assert_allclose(one.values[:, index], other.values[:, index], rtol=1e-6, err_msg=name)


@given(pasts().flatmap(futures), st.integers(1, 5))
@settings(max_examples=10)
def test_matrices_hold_what_the_frame_holds(rows: Rows, clients: int) -> None:
    some = Bank.of(**tables(rows))
    frame, parts = profiles(some), list(profile_matrices(some, CATALOG, DAY, clients=clients))
    matrix = ProfileMatrix.join(parts)
    assert matrix.client_ids.tolist() == frame.index.tolist()
    assert matrix.columns == list(frame)
    for values, name in zip(matrix.values.T, frame, strict=True):
        told = frame[name]
        if name in matrix.categories:
            texts = matrix.categories[name]
            assert [None if np.isnan(code) else texts[int(code)] for code in values] == [
                None if pd.isna(text) else text for text in told
            ]
        else:
            np.testing.assert_allclose(values, told.to_numpy(float), rtol=1e-6, err_msg=name)


@given(pasts().flatmap(futures), st.sets(st.sampled_from(IDS)))
@settings(max_examples=10)
def test_a_profile_is_the_same_whoever_else_is_profiled(rows: Rows, some: set[str]) -> None:
    bank = Bank.of(**tables(rows))
    alone, all_of_them = profiles(bank, cohort=sorted(some)), profiles(bank)
    there = alone.index[alone.index.isin(all_of_them.index)]
    pd.testing.assert_frame_equal(alone.loc[there], all_of_them.loc[there], check_dtype=False)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_frame_comes_back_in_the_library_of_the_tables(library: Any) -> None:
    given = {name: library(frame(name, rows)) for name, rows in MINIMAL.items()}
    told = build_profiles(Bank.of(**given), CATALOG, DAY).to_native()
    assert type(told) is type(given["clients"])
    again = nw.from_native(told, eager_only=True).to_pandas().set_index("client_id")
    pd.testing.assert_frame_equal(again, profiles(bank(**MINIMAL)), check_dtype=False)


def test_parts_of_relations_that_the_caller_handed_over() -> None:
    connection = duckdb.connect()
    relations = {name: connection.from_arrow(pa.Table.from_pandas(frame(name, rows))) for name, rows in MINIMAL.items()}
    parts = [part.client_ids.tolist() for part in profile_matrices(Bank.of(**relations), CATALOG, DAY, clients=1)]
    assert parts == [["a"], ["b"]]


ENCODED = bank(
    clients=[client("a", rating="B"), client("b", kind="corporate", rating=None), client("c", rating="A")],
    holdings=MINIMAL["holdings"],
)


def test_encoding_codes_categories_in_sorted_order_and_null_as_nan() -> None:
    [matrix] = profile_matrices(ENCODED, CATALOG, DAY)
    assert matrix.client_ids.tolist() == ["a", "b", "c"]
    assert matrix.columns == [feature.name for feature in feature_dictionary(ENCODED, CATALOG)]
    assert matrix.values.dtype == np.float32
    assert matrix.values.flags.c_contiguous
    assert matrix.categories["rating"] == ["A", "B"]
    assert matrix.categories["sector"] == []
    column = {name: matrix.values[:, index] for index, name in enumerate(matrix.columns)}
    np.testing.assert_array_equal(column["rating"], [1, np.nan, 0])
    np.testing.assert_array_equal(column["kind"], [1, 0, 1])
    np.testing.assert_array_equal(column["sector"], [np.nan] * 3)
    np.testing.assert_array_equal(column["held__card"], [1, 0, 0])


def test_aligning_reorders_and_leaves_out_what_is_not_known() -> None:
    [matrix] = profile_matrices(ENCODED, CATALOG, DAY)
    columns = ["held__card", "held__later_product", "rating", "kind"]
    aligned = matrix.align(columns, {"rating": ["AAA", "B"], "kind": ["corporate", "retail"]})
    assert aligned.columns == columns
    assert aligned.categories == {"rating": ["AAA", "B"], "kind": ["corporate", "retail"]}
    assert aligned.values.flags.c_contiguous
    np.testing.assert_array_equal(
        aligned.values, np.array([[1, np.nan, 1, 1], [0, np.nan, np.nan, 0], [0, np.nan, np.nan, 1]], np.float32)
    )


def test_a_column_that_was_a_number_and_is_a_category_now_is_not_known() -> None:
    [matrix] = profile_matrices(ENCODED, CATALOG, DAY)
    assert np.isnan(matrix.align(["rating"], {}).values).all()


def test_nobodys_profiles_have_the_columns() -> None:
    nobody = bank(clients=[], holdings=[])
    [matrix] = profile_matrices(nobody, CATALOG, DAY)
    assert matrix.values.shape == (0, len(feature_dictionary(nobody, CATALOG)))
    assert list(profiles(nobody)) == matrix.columns
