"""Conditions of the catalog are compared with the clients' columns as they are, and never with a category's code."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sheaf.catalog import Catalog, Line, Product, Range
from sheaf.features import Bank, TableError, feature_dictionary
from sheaf.features.conditions import ConditionError, kinds_of, kinds_of_bank, need_fitting, unfit, unmet
from sheaf.training.candidates.pairs import Encoding, Gates

AGE = Product(product_id="card", name="Card", line=Line.RETAIL, family="cards", where={"age": Range(min=18, max=64)})
SEGMENT = Product(product_id="fund", name="Fund", line=Line.RETAIL, family="funds", where={"segment": ("2",)})


def catalog(*products: Product) -> Catalog:
    return Catalog(name="test", products=products)


def bank(**attributes) -> Bank:
    rows = len(next(iter(attributes.values())))
    people = {"client_id": [f"c{at}" for at in range(rows)], "kind": ["retail"] * rows,
              "joined_on": pd.to_datetime(["2020-01-01"] * rows)}  # fmt: skip
    holdings = {"client_id": ["c0"], "product_id": ["card"], "opened_on": pd.to_datetime(["2020-01-01"])}
    return Bank.of(clients=pd.DataFrame(people | attributes), holdings=pd.DataFrame(holdings))


def fit(sold: Catalog, **attributes) -> None:
    need_fitting(sold, kinds_of(feature_dictionary(bank(**attributes), sold)))


def test_a_range_on_texts_is_refused() -> None:
    with pytest.raises(ConditionError, match=r"age: products.card want numbers of it, and the bank's are texts; keep"):
        fit(catalog(AGE), age=["16", " NA"])


@pytest.mark.parametrize(("sold", "column"), [(AGE, "age"), (SEGMENT, "segment")])
@pytest.mark.parametrize("empty", [None, float("nan")])
def test_a_column_without_any_value_fits_every_condition(sold: Product, column: str, empty: float | None) -> None:
    of = catalog(sold)
    need_fitting(of, kinds_of_bank(bank(**{column: [empty, empty]}), of))


def test_texts_on_numbers_are_refused() -> None:
    with pytest.raises(ConditionError, match=r"segment: products.fund want texts of it, and the bank has numbers"):
        fit(catalog(SEGMENT), segment=[1, 2])


def test_texts_on_a_flag_are_refused() -> None:
    with pytest.raises(ConditionError, match="the bank has 0 and 1"):
        fit(catalog(SEGMENT), segment=[True, False])


@pytest.mark.parametrize("column", ["Age", "AGE", "age ", "a_g_e"])
def test_a_column_in_another_spelling_is_refused_with_the_one_there_is(column: str) -> None:
    with pytest.raises(ConditionError, match=f"age: .* did you mean {column}"):
        fit(catalog(AGE), **{column: [16]})


def test_a_condition_on_a_day_names_the_column_that_profiles_have() -> None:
    with pytest.raises(ConditionError, match="ask for age_months"):
        fit(catalog(AGE), age=pd.to_datetime(["1990-01-01"]))


def test_a_missing_column_is_told() -> None:
    with pytest.warns(UserWarning, match=r"age: products.card ask for it, and profiles have no such column"):
        fit(catalog(AGE), income=[1.0])


def test_conditions_that_fit_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(catalog(AGE, SEGMENT), age=[16, 40], segment=["1", "2"])


def test_texts_that_no_client_has_are_named_with_the_nearest() -> None:
    trade = SEGMENT.model_copy(update={"where": {"sector": ("agriculture", "trade")}})
    [found] = unmet(catalog(trade), {"sector": {"retail_trade", "agriculture"}}, {})
    assert str(found) == "sector: products.fund wants trade, which no client has; did you mean retail_trade?"


def test_few_clients_say_nothing_of_what_nobody_meets() -> None:
    assert not list(unmet(catalog(SEGMENT), {"segment": {"alpha"}}, {}, {"segment": 99}))
    assert list(unmet(catalog(SEGMENT), {"segment": {"alpha"}}, {}, {"segment": 100}))


def test_numbers_of_another_scale_are_named() -> None:
    [found] = unmet(catalog(AGE), {}, {"age": (0.16, 0.8)})
    assert found.problem.startswith("nobody meets products.card")
    assert found.problem.endswith("the bank has 0.16 to 0.8")


@pytest.mark.parametrize(
    ("product", "categories", "value"),
    [(AGE, {"age": ("40", "41")}, 1.0), (AGE, {"age": ("40",)}, np.nan), (SEGMENT, {}, 2.0), (SEGMENT, {}, -1.0)],
)
def test_what_cannot_be_compared_is_open_to_nobody(product: Product, categories, value: float) -> None:
    """The code of a category lay between 18 and 64, and the gate was passed."""
    column = next(iter(product.where))
    encoding = Encoding(columns=(column,), categories=categories, client_columns=(column,), per_product=(),
                        products=(product.product_id,), attributes=(), families=())  # fmt: skip
    assert not Gates([product], encoding).open(np.array([[value], [30.0]], dtype=np.float32)).any()


PROTECTED = ["Sex", " sex", "sex_1", "SEX", "sex.1", "marital status", "Marital-Status", "maritalStatus", "sex_2"]


@pytest.mark.parametrize("column", PROTECTED)
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "Polars", "PyArrow"])
def test_a_protected_attribute_in_another_spelling_is_refused(column: str, frame) -> None:
    people = frame({"client_id": ["a"], "kind": ["retail"], "joined_on": ["2020-01-01"], column: ["x"]})
    holdings = frame({"client_id": ["a"], "product_id": ["card"], "opened_on": ["2020-01-01"]})
    with pytest.raises(TableError, match=f"column '{re.escape(column)}' spells (sex|marital_status) in another way"):
        feature_dictionary(Bank.of(clients=people, holdings=holdings), catalog(AGE))


def test_a_protected_attribute_in_another_spelling_decides_nothing(tmp_path) -> None:
    from sheaf.catalog.validation import contradictions

    sold = AGE.model_copy(update={"where": {"Sex": ("f",)}})
    told = [what for _, what in contradictions([sold], [], catalog(AGE).policy)]
    assert any("Sex is protected by policy" in what for what in told)


NAMED = ["client_sex", "sex code", "SexCode", "custSex2", "code of sex", "\u0455\u0435\u0445", "\u043carital_status"]


@pytest.mark.parametrize("column", [*NAMED, "\uff53\uff45\uff58_cd", "marital_status_code"])
def test_a_name_that_has_a_protected_word_in_any_script_is_refused(column: str) -> None:
    with pytest.raises(TableError, match=r"(has|spells) (sex|marital_status) in"):
        feature_dictionary(bank(**{column: ["x"]}), catalog(AGE))


def test_a_range_beyond_0_and_1_on_a_flag_is_refused() -> None:
    [one] = unfit(catalog(AGE), kinds_of_bank(bank(age=[True]), catalog(AGE)))
    assert one.refused
    assert "the bank has 0 and 1 (true and false)" in one.problem
    flagged = AGE.model_copy(update={"where": {"age": Range(min=1)}})
    assert unfit(catalog(flagged), kinds_of_bank(bank(age=[True]), catalog(flagged))) == []


def test_attributes_whose_names_hold_letters_of_a_protected_word_are_free() -> None:
    assert "sextile" in {one.name for one in feature_dictionary(bank(sextile=[1]), catalog(AGE))}


HOLDS = {"retail_trade": 100, "agriculture": 100}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "Polars", "PyArrow"])
def test_a_bank_tells_of_texts_that_no_client_has(frame) -> None:
    from sheaf.features.conditions import need_met

    sectors = [text for text, clients in HOLDS.items() for _ in range(clients)]
    people = frame({"client_id": [f"c{at}" for at in range(200)], "kind": ["retail"] * 200,
                    "joined_on": ["2020-01-01"] * 200, "sector": sectors, "age": [0.4] * 200})  # fmt: skip
    holdings = frame({"client_id": ["c0"], "product_id": ["card"], "opened_on": ["2020-01-01"]})
    made = Bank.of(clients=people, holdings=holdings)
    trade = SEGMENT.model_copy(update={"where": {"sector": ("trade",)}})
    with pytest.warns(UserWarning, match=r"products.fund wants trade, which no client has; did you mean retail_trade"):
        need_met(made, catalog(trade))
    with pytest.warns(UserWarning, match=r"nobody meets products.card .*: the bank has 0.4 to 0.4"):
        need_met(made, catalog(AGE))


def attrition(made: Bank) -> None:
    from sheaf.training.attrition import fit_attrition

    fit_attrition(made, catalog(AGE), [pd.Timestamp("2020-01-02").date()])


def price_response(made: Bank) -> None:
    from sheaf.training.price_response.learning import fit_price_response
    from tests.pricing.books import catalog as priced

    sold = priced()
    product = sold.products[0].model_copy(update={"where": {"age": Range(min=18)}})
    fit_price_response(made, sold.model_copy(update={"products": (product, *sold.products[1:])}))


@pytest.mark.parametrize("learn", [attrition, price_response])
def test_models_are_not_learned_with_conditions_that_cannot_be_compared(learn) -> None:
    people = {"client_id": ["c0"], "kind": ["retail"], "joined_on": ["2020-01-01"], "age": ["old"]}
    holdings = {"client_id": ["c0", "c0"], "product_id": ["card", "fund"], "opened_on": ["2020-01-01", "2021-01-01"]}
    with pytest.raises(ConditionError, match="want numbers of it, and the bank's are texts"):
        learn(Bank.of(clients=pa.table(people), holdings=pa.table(holdings)))


@pytest.mark.parametrize("command", [["plan", "c0"], ["quote", "c0", "card"]])
def test_plans_and_quotes_name_conditions_that_cannot_be_compared(tmp_path, command: list[str]) -> None:
    from typer.testing import CliRunner

    from sheaf.cli import app

    (tmp_path / "clients.csv").write_text("client_id,kind,joined_on,age\nc0,retail,2020-01-01,old\n")
    (tmp_path / "holdings.csv").write_text("client_id,product_id,opened_on\nc0,mortgage,2020-01-01\n")
    answer = CliRunner().invoke(app, [*command, "--data", str(tmp_path)])
    assert isinstance(answer.exception, ConditionError)
    assert "the bank's are texts" in str(answer.exception)
