"""`import sheaf`: every name is there, every example runs, and the import itself loads no library."""

import ast
import datetime as dt
import doctest
import inspect
import subprocess
import sys

import pandas as pd
import polars as pl
import pytest

import sheaf

DAY = dt.date(2025, 11, 30)
FUNCTIONS = sorted(name for name in sheaf.__all__ if inspect.isfunction(getattr(sheaf, name)))
SECTIONS = ("Parameters\n", "Returns\n", "Raises\n", "Examples\n")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank") / "bank"
    sheaf.simulate(folder, clients=600, months=12, seed=1)
    bank, catalog = sheaf.Bank.open(folder), sheaf.read_catalog(sheaf.DEFAULT)
    quick = sheaf.Parameters(rounds=20, choice_rounds=0, ranking_rounds=0)
    model = sheaf.train(bank, catalog, [dt.date(2025, 9, 30), dt.date(2025, 10, 31)], parameters=quick)
    best = sheaf.rank(model, bank, catalog, DAY, top=1).iloc[0]
    ids = {"client_id": best.client_id, "bundle_id": best.bundle_id}
    return {"sheaf": sheaf, "dt": dt, "bank": bank, "catalog": catalog, "model": model, **ids}


def test_importing_sheaf_loads_no_library() -> None:
    loaded = "import sys, sheaf; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    modules = ast.literal_eval(subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout)
    assert "sheaf" in modules
    assert not {"numpy", "pandas", "lightgbm", "mlflow", "duckdb", "narwhals", "pydantic"} & set(modules)


@pytest.mark.parametrize("name", sheaf.__all__)
def test_every_public_name_is_there_and_documented(name) -> None:
    assert name == "DEFAULT" or getattr(sheaf, name).__doc__


def test_an_unknown_name_is_told_with_those_that_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'; it has DEFAULT, Answer, Bank"):
        sheaf.nope  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_every_public_function_runs(name, names) -> None:
    test = doctest.DocTestFinder(recurse=False).find(getattr(sheaf, name), name, globs=dict(names))[0]
    assert test.examples, f"{name} has no example"
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_states_parameters_returns_and_errors(name) -> None:
    documented = inspect.getdoc(getattr(sheaf, name)) or ""
    assert [section for section in SECTIONS if section not in documented] == []
    for parameter in inspect.signature(getattr(sheaf, name)).parameters:
        assert parameter in documented


def test_frames_come_back_in_the_library_of_the_bank(names) -> None:
    bank, catalog, model = (names[name] for name in ("bank", "catalog", "model"))
    tables = {name: bank[name].collect("pyarrow").to_native() for name in ("clients", "holdings")}
    of_polars = sheaf.Bank.of(**{name: pl.DataFrame(table) for name, table in tables.items()})
    of_pandas = sheaf.Bank.of(**{name: table.to_pandas() for name, table in tables.items()})
    with pytest.warns(UserWarning, match="lack"):
        assert isinstance(sheaf.rank(model, of_polars, catalog, DAY, top=1), pl.DataFrame)
    assert isinstance(sheaf.profile(of_pandas, catalog, DAY), pd.DataFrame)


def test_by_value_the_price_stands_beside_the_rank(names) -> None:
    ranking = sheaf.rank(names["model"], names["bank"], names["catalog"], DAY, top=2, objective="value")
    assert {"concession", "acceptance", "eva"} <= set(ranking.columns)
    assert (ranking.groupby("client_id")["score"].diff().dropna() <= 0).all()


def test_validation_clients_are_in_no_training(names) -> None:
    evaluation = sheaf.evaluate(names["model"], names["bank"], names["catalog"], DAY)
    active = len(sheaf.profile(names["bank"], names["catalog"], DAY))
    assert 0 < evaluation.clients < 0.2 * active
