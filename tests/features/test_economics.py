"""A client's economics in the profile are those of `pricing`, on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features import Bank
from sheaf.features.dictionary import GROUPS
from sheaf.pricing.client_value import Held, of_clients, shares, worth
from sheaf.pricing.price_table import PriceTable
from tests.features.banks import DAY, bank, client, frame, profiles, written
from tests.pricing.books import PRODUCTS, catalog

CATALOG = catalog()
BOOK = PriceTable(CATALOG)
COLUMNS = ["contribution", "net_income", "expected_loss", "capital", "eva", "raroc", "return_on_net_assets"]
NAN = float("nan")
RATINGS, SALES = ["A", "C", None, "unheard of"], [1e6, 2e7, 9e8, NAN]


def tables(rows: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    clients = [
        client(str(n), kind="corporate", rating=r, turnover=s)
        for n, (r, s) in enumerate(zip(RATINGS, SALES, strict=True))
    ]
    made = {"clients": frame("clients", clients, turnover="float64"), "holdings": frame("holdings", [])}
    return made | {"positions": frame("positions", rows)}


def by_pricing(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The same by `sheaf.pricing.client_value`, from one row a client and product that stands for the whole year."""
    owner = np.array([int(row["client_id"]) for row in rows], dtype=int)
    cells = [
        BOOK.cell(r if r in BOOK.grades else None, None if s != s else s) for r, s in zip(RATINGS, SALES, strict=True)
    ]
    numbers = {name: np.array([row[name] for row in rows], dtype=float) for name in ("balance", "rate", "limit")}
    fees = np.array([NAN if row["fees"] is None else 12 * row["fees"] for row in rows], dtype=float)
    product = np.array([BOOK.positions[row["product_id"]] for row in rows], dtype=int)
    numbers["balance"] = np.nan_to_num(numbers["balance"])  # a position told without a balance has none
    of = of_clients(worth(BOOK, Held(product, np.array(cells)[owner], fees=fees, **numbers)), owner, len(RATINGS))
    return pd.DataFrame({name: getattr(of, name) for name in COLUMNS} | {"net_income_share": shares(of)}).set_axis(
        [str(n) for n in range(len(RATINGS))]
    )


def maybe(values: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    return st.none() | values


POSITIONS = st.dictionaries(
    st.tuples(st.integers(0, 3).map(str), st.sampled_from([product.product_id for product in PRODUCTS])),
    st.fixed_dictionaries(
        {
            "balance": maybe(st.integers(0, 10**7).map(lambda n: n / 100)),
            "rate": maybe(st.integers(0, 200).map(lambda n: n / 1000)),
            "fees": maybe(st.integers(0, 10**4).map(lambda n: n / 100)),
            "limit": maybe(st.integers(0, 10**6).map(float)),
        }
    ),
    max_size=8,
)
MONTHS = pd.date_range("2023-07-31", "2024-06-30", freq="ME")


def whole_year(positions: dict[tuple[str, str], dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = [{"client_id": c, "product_id": p, **numbers} for (c, p), numbers in positions.items()]
    return rows, [row | {"month": month} for row in rows for month in MONTHS]


@given(POSITIONS)
@settings(max_examples=15)
def test_a_year_of_the_same_positions_is_what_pricing_says(positions: dict[tuple[str, str], dict[str, Any]]) -> None:
    rows, months = whole_year(positions)
    made = Bank.of(**tables(months))
    known, clients = made.known_on(DAY), made.cohort(DAY)
    found = GROUPS["value"].build(known, CATALOG, DAY, clients).collect().to_pandas()
    found = found.sort_values("client_id").set_index("client_id")[[*COLUMNS, "net_income_share"]]
    pd.testing.assert_frame_equal(
        found.astype(float),
        by_pricing(rows),
        rtol=1e-9,
        atol=1e-6,
        check_names=False,
        check_index_type=False,
        check_column_type=False,
    )


@given(POSITIONS)
@settings(max_examples=2)
def test_duckdb_and_pandas_agree(
    tmp_path_factory: pytest.TempPathFactory, positions: dict[tuple[str, str], dict[str, Any]]
) -> None:
    made = tables(whole_year(positions)[1])
    of_files = profiles(written(made, tmp_path_factory.mktemp("bank") / "tables"), CATALOG)
    pd.testing.assert_frame_equal(of_files, profiles(Bank.of(**made), CATALOG), rtol=1e-9, atol=1e-6, check_dtype=False)


def test_a_month_counts_for_a_twelfth_of_the_year() -> None:
    """One month of an account of 12,000 at 1 %: (12,000 × 0.016 + 24) / 12 - 30 / 12, after tax a quarter less."""
    row = {
        "client_id": "a",
        "product_id": "account",
        "month": "2024-06-30",
        "balance": 12_000.0,
        "rate": 0.01,
        "fees": 2.0,
    }
    found = profiles(bank(clients=[client("a")], holdings=[], positions=[row]), CATALOG)
    assert found["contribution"].tolist() == pytest.approx([(192 + 24) / 12])
    assert found["net_income"].tolist() == pytest.approx([(192 + 24 - 30) / 12 * 0.75])


def test_without_positions_a_product_held_is_a_typical_one() -> None:
    holdings = [{"client_id": "a", "product_id": key, "opened_on": "2024-01-01"} for key in ("account", "line")]
    found = profiles(bank(clients=[client("a", rating="C")], holdings=holdings), CATALOG).iloc[0]
    typical = BOOK.economics.at((BOOK.cell("C"), [BOOK.positions[key] for key in ("account", "line")])).sum()
    for name in ("contribution", "net_income", "expected_loss", "capital", "eva", "raroc"):
        assert found[name] == pytest.approx(float(getattr(typical, name))), name


def test_without_a_price_sheet_there_are_no_such_columns() -> None:
    bare = CATALOG.model_copy(update={"pricing": None})
    assert not {"net_income", "raroc", "eva"} & set(profiles(bank(clients=[client("a")], holdings=[]), bare))
