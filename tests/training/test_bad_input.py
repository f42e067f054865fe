"""Too little to learn from: an error that says what to do, or a sensible model and a word on what it lacks."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sheaf.catalog import Catalog, Kind
from sheaf.features import Bank, ProfileMatrix
from sheaf.training import Model, Parameters, TrainingSample, evaluate, fit, read_sample, registry
from sheaf.training.pipeline import Trained, train
from sheaf.training.samples import held_out
from tests.made import CATALOG, DAYS, LAST_DAY, QUICK, frames, write, write_catalog
from tests.test_cli import Sheaf, sheaf  # noqa: F401  a fixture

Tables = dict[str, pd.DataFrame]
IDS = frames(200)["clients"]["client_id"].to_numpy()
FEW_ROUNDS = QUICK.model_copy(update={"rounds": 5, "ranking_rounds": 3, "threads": 1})
VALIDATION = held_out(IDS, QUICK.holdout_share)
LAST = DAYS[-1:]


def of_clients(kept: Sequence[str]) -> Tables:
    return {name: table[table["client_id"].isin(kept)] for name, table in frames(200).items()}


def openers() -> list[str]:
    """Clients who opened something after the last day, those that are trained on first."""
    holdings = frames(200)["holdings"]
    ids = holdings.loc[holdings["opened_on"] > pd.Timestamp(LAST[0]), "client_id"].unique()
    return sorted(ids, key=lambda client: (held_out(np.array([client]), QUICK.holdout_share)[0], client))


def no_openings() -> Tables:
    tables = frames(200)
    opened = tables["holdings"]["opened_on"]
    within = (opened > pd.Timestamp(DAYS[0])) & (opened < pd.Timestamp(LAST_DAY))
    return {**tables, "holdings": tables["holdings"][~within]}


def everything_opened() -> Tables:
    """Retail clients of whom each opens all that is sold to them, every month anew."""
    people = frames(200)["clients"].assign(kind="retail", age=30.0, region="north")
    months = [(pd.Timestamp(day) + pd.Timedelta(3, "D"), pd.Timestamp(day) + pd.Timedelta(20, "D")) for day in DAYS]
    rows = [
        (client, product.product_id, opened, closed)
        for client in people["client_id"] for product in CATALOG.products[:4] for opened, closed in months
    ]  # fmt: skip
    rows.append((people["client_id"][0], "account", pd.Timestamp(LAST_DAY), pd.NaT))
    return {
        "clients": people,
        "holdings": pd.DataFrame(rows, columns=["client_id", "product_id", "opened_on", "closed_on"]),
    }


def without_product(product: str) -> Tables:
    tables = frames(200)
    return {**tables, "holdings": tables["holdings"].query("product_id != @product")}


def null_attributes() -> Tables:
    tables = frames(200)
    return {**tables, "clients": tables["clients"].assign(age=None, region=np.nan, need=None)}


def of_one_kind(kind: Kind) -> Tables:
    people = frames(200)["clients"]
    return of_clients(people.loc[people["kind"] == kind, "client_id"].tolist())


def cohort(first: Sequence[str], last: Sequence[str]) -> pd.DataFrame:
    rows = [(client, str(day)) for day, clients in zip(DAYS, (first, last), strict=True) for client in clients]
    return pd.DataFrame(rows, columns=["client_id", "as_of"])


def only(*products: str) -> Catalog:
    kept = tuple(product for product in CATALOG.products if product.product_id in products)
    return Catalog(name="only", products=kept, bundles=())


def for_institutions_only() -> Catalog:
    products = tuple(product.model_copy(update={"kinds": (Kind.INSTITUTION,)}) for product in CATALOG.products)
    return Catalog(name="institutions", products=products, bundles=())


def trained(
    tables: Tables, days=DAYS, catalog: Catalog = CATALOG, parameters: Parameters = FEW_ROUNDS, cohorts=None
) -> Trained:
    return train(Bank.of(**tables), catalog, days, 30, cohorts, parameters)


FOLDS_12 = FEW_ROUNDS.model_copy(update={"folds": 12})
NOTHING: dict[str, tuple[Callable[[], Any], str]] = {
    "no openings": (lambda: trained(no_openings()), "none of the .* candidate pairs was opened"),
    "a cohort that opened nothing": (
        lambda: trained(frames(200), cohorts=cohort(*[sorted(set(IDS) - opened_after(DAYS[0]))] * 2)),
        "none of the .* candidate pairs was opened",
    ),
    "all opened": (lambda: trained(everything_opened()), "all 608 candidate pairs were opened"),
    "one client": (
        lambda: trained(of_clients(openers()[:1])),
        "clients to train on: 1, fewer than the 2 folds of the cross-fit; give more clients: one is not enough for any",
    ),
    "one client, one day": (lambda: trained(of_clients(openers()[:1]), LAST), "clients to train on: 1, fewer than"),
    "fewer clients than folds": (
        lambda: trained(of_clients(openers()[:3]), LAST, parameters=FOLDS_12),
        "clients to train on: 3, fewer than the 12 folds of the cross-fit; give more clients, or fewer folds",
    ),
    "hardly more clients than folds": (
        lambda: trained(of_clients(openers()[:16]), LAST, parameters=FOLDS_12),
        r"fold \d+ of 12 .*; train on more clients or days, or on fewer folds",
    ),
    "every client for validation": (
        lambda: trained(frames(200), parameters=FEW_ROUNDS.model_copy(update={"holdout_share": 0.9999})),
        "as-of 2025-10-30: all 200 clients are validation clients, .*holdout_share",
    ),
    "the last day's clients all for validation": (
        lambda: trained(frames(200), cohorts=cohort(IDS, IDS[VALIDATION])),
        "as-of 2025-11-30: all 48 clients are validation clients",
    ),
    "nothing for these clients": (
        lambda: trained(of_one_kind(Kind.RETAIL), catalog=for_institutions_only()),
        "no client may have any product of the catalog that it does not hold",
    ),
    "no holdings": (
        lambda: trained({**frames(200), "holdings": frames(200)["holdings"].iloc[:0]}),
        "table holdings has no opening at all, so there is nothing to learn from; fill in opened_on of what is held",
    ),
    "no clients": (lambda: trained(of_clients([])), "table holdings has no opening at all"),
}  # fmt: skip


def opened_after(day) -> set[str]:
    holdings = frames(200)["holdings"]
    return set(holdings.loc[holdings["opened_on"] > pd.Timestamp(day), "client_id"])


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("case", NOTHING)
def test_where_nothing_can_be_learned_the_error_says_so_and_nothing_is_registered(case: str) -> None:
    run, message = NOTHING[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message):
            run()
    assert registry.client().search_registered_models() == []


SENSIBLE: dict[str, tuple[Callable[[], Trained], list[str]]] = {
    "a product that was never opened": (
        lambda: trained(without_product("mortgage")),
        [r"never opened within 30 days after 2025-10-30, 2025-11-30: mortgage; "],
    ),
    "one product": (
        lambda: trained(frames(200), catalog=only("card")),
        ["the validation clients opened nothing of: what corporate clients are offered, what institution"],
    ),
    "attributes that are all null": (
        lambda: trained(null_attributes()),
        ["table clients: columns age, need, region have no value on any as-of day, so nothing is learned from them"],
    ),
    "no attributes at all": (
        lambda: trained({**frames(200), "clients": frames(200)["clients"][["client_id", "kind", "joined_on"]]}), []
    ),
    "clients of one kind": (lambda: trained(of_one_kind(Kind.RETAIL)), ["never opened .*: till, firm_acc"]),
    "no validation client": (
        lambda: trained(frames(200), parameters=FEW_ROUNDS.model_copy(update={"holdout_share": 1e-9})),
        ["none of the 0 validation clients opened anything after 2025-11-30: the model cannot be measured"],
    ),
    "validation clients who opened nothing": (
        lambda: trained(of_clients([*IDS[~VALIDATION], *sorted(set(IDS[VALIDATION]) - opened_after(DAYS[1]))])),
        ["none of the .* validation clients opened anything after 2025-11-30: the model cannot be measured"],
    ),
    "validation clients on earlier days only": (
        lambda: trained(frames(200), cohorts=cohort(IDS, IDS[~VALIDATION])),
        ["none of the 0 validation clients opened anything after 2025-11-30: the model cannot be measured"],
    ),
    "few clients": (lambda: trained(of_clients(openers()[:16])), []),
}  # fmt: skip


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("case", SENSIBLE)
def test_where_something_is_lacking_the_model_is_sensible_and_a_warning_names_it(case: str, model: Model) -> None:
    run, messages = SENSIBLE[case]
    champion = registry.record(replace(model, about=model.about | {"horizon_days": 30}), {}, {}, {}, {})
    registry.crown(champion, registry.CHAMPION)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = run()
    told = [str(warning.message) for warning in caught if warning.category is UserWarning]
    for message in messages:
        assert any(re.search(message, one) for one in told), told
    assert len(told) == len(set(told))
    assert sensible(ended.model)
    if "cannot be measured" in " ".join(told):
        assert (ended.release_deciding, ended.champion_deciding, ended.better_by) == (None, None, None)
        assert registry.need_champion().version == champion.version
    else:
        lacking = {name for name, value in ended.backtest.figures.items() if np.isnan(value)}
        assert all(in_words(name) in " ".join(told) for name in lacking), lacking
        assert ended.better_by is not None
        assert np.isfinite(np.array([ended.release_deciding, ended.champion_deciding, *ended.better_by], float)).all()
    for run_in_mlflow in registry.client().search_runs([registry.experiment_id(registry.client())]):
        assert all(np.isfinite(value) for value in run_in_mlflow.data.metrics.values())


def in_words(figure: str) -> str:
    """The segment of a figure as a warning names it."""
    segment = figure.partition(".")[2]
    return f"{segment.removeprefix('kind_')} clients" if "kind_" in segment else f"line {segment}"


def sensible(model: Model, tables: Tables | None = None) -> bool:
    """Scores and probabilities for every candidate of a day, each a number, and none certain."""
    sample = read_sample(Bank.of(**(tables or frames(200))), model.catalog, LAST, 30)
    profiles, candidates = model.align(sample.days[0].profiles), model.candidates()
    ranking = model.rank(candidates, profiles.values, candidates.peer_groups(profiles.values))
    assert len(ranking.score) > 100
    assert np.isfinite(ranking.score).all()
    return bool(((ranking.probability > 0) & (ranking.probability < 1)).all())


@pytest.fixture(scope="module")
def small() -> TrainingSample:
    return read_sample(Bank.of(**frames(200)), CATALOG, DAYS, 30)


def test_profiles_that_are_all_null_leave_what_is_common_and_a_warning(small: TrainingSample) -> None:
    nothing_known = tuple(replace(day, profiles=without_values(day.profiles)) for day in small.days)
    with pytest.warns(UserWarning, match=r"all \d+ columns of the profiles are null"):
        model, told = fit(replace(small, days=nothing_known), CATALOG, QUICK, {})
    assert all(np.isfinite(value) for value in told.values())
    assert sensible(model)
    figures = evaluate(model, nothing_known[-1], CATALOG).figures
    assert figures["product_recall_at_5"] > 0.5  # of eight products those opened most are known
    assert figures["product_calibration_error"] < 0.05


def without_values(profiles: ProfileMatrix) -> ProfileMatrix:
    return replace(profiles, values=np.full_like(profiles.values, np.nan))


@pytest.mark.parametrize("products", [("card",), ("card", "mortgage")])
def test_a_choice_of_one_product_or_for_clients_who_hold_all_of_them_is_none_to_stumble_over(
    products: tuple[str, ...],
) -> None:
    sample = read_sample(Bank.of(**frames(600)), only(*products), DAYS, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _ = fit(sample, only(*products), FEW_ROUNDS, {})
        assert (model.adoption.choice is not None) == (len(products) > 1)
        profiles = model.align(sample.days[-1].profiles)
        holding = [profiles.columns.index(f"held__{product}") for product in products]
        profiles.values[:100, holding] = 1
        candidates = model.candidates()
        ranking = model.rank(candidates, profiles.values, candidates.peer_groups(profiles.values))
    assert ranking.client.min() >= 100
    assert np.isfinite([ranking.score, ranking.probability]).all()


def test_an_evaluation_of_nobody_has_no_figures(model: Model, small: TrainingSample) -> None:
    day = small.days[-1]
    found = evaluate(model, day.where(np.zeros(len(day.opened), dtype=bool)), CATALOG)
    assert (found.clients, len(found.deciding)) == (0, 0)
    assert np.isnan(found.figures["ndcg_at_5"])


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (no_openings, "none of the 837 candidate pairs was opened"),
        (lambda: of_clients(openers()[:1]), "clients to train on: 1, fewer than the 2 folds"),
        (everything_opened, "all 608 candidate pairs were opened"),
    ],
    ids=["no openings", "one client", "all opened"],
)
def test_the_command_line_tells_it_in_a_sentence(
    sheaf: Sheaf,  # noqa: F811
    tables: Callable[[], Tables],
    message: str,
) -> None:
    ended = sheaf("train", *laid_out(tables()))
    assert (ended.code, f"Error: {message}" in ended.err) == (1, True), ended.err


@pytest.mark.parametrize(
    ("tables", "note"),
    [
        (null_attributes, "Note: table clients: columns age, need, region have no value on any as-of day"),
        (
            lambda: without_product("mortgage"),
            "Note: never opened within 30 days after 2025-10-30, 2025-11-30: mortgage",
        ),
        (
            lambda: of_clients([*IDS[~VALIDATION], *sorted(set(IDS[VALIDATION]) - opened_after(DAYS[1]))]),
            "validation clients opened anything after 2025-11-30: the model cannot be measured",
        ),
    ],
    ids=["null attributes", "a product never opened", "no figures"],
)
def test_the_command_line_trains_and_notes_what_is_lacking(
    sheaf: Sheaf,  # noqa: F811
    model: Model,
    tables: Callable[[], Tables],
    note: str,
) -> None:
    registry.crown(registry.record(model, {}, {}, {}, {}), registry.CHAMPION)
    ended = sheaf("train", *laid_out(tables()))
    assert ended.code == 0, ended.err
    assert ended.err.count(note) == 1, ended.err
    assert "Registered as version 2, alias ch" in ended.out
    assert not re.search(r"\bnan\b", ended.out + ended.err, re.IGNORECASE)


def laid_out(tables: Tables) -> list[str | Path]:
    from ruamel.yaml import YAML

    YAML().dump(FEW_ROUNDS.model_dump(exclude_unset=True), Path("quick.yaml"))
    days = [argument for day in DAYS for argument in ("--as-of", str(day))]
    return ["--data", write(Path("bank"), tables), "--catalog", write_catalog(Path("catalog.yaml")), *days,
            "--horizon-days", "30", "--parameters", "quick.yaml"]  # fmt: skip
