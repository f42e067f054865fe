"""The choice model on openings that a rule decides: what it learns, and what it says of products it does not know."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from sheaf.catalog import Catalog, Product
from sheaf.features import ProfileMatrix, feature_dictionary, profile_matrices
from sheaf.training import Candidates, TrainingSample
from sheaf.training.candidates.co_openings import CoOpenings
from sheaf.training.candidates.pairs import Encoding
from sheaf.training.candidates.population import Population
from sheaf.training.ranker.choice import ChoiceModel, Openings, fit
from sheaf.training.ranker.fitting import Prepared
from sheaf.training.samples import fold
from tests.made import CATALOG, LAST_DAY, QUICK, bank


def candidates(catalog: Catalog = CATALOG) -> tuple[Candidates, np.ndarray]:
    """Candidates of the made bank's clients over a catalog, and their profiles in the columns of the made one."""
    some = bank(200)
    profiles = ProfileMatrix.join(list(profile_matrices(some, CATALOG, LAST_DAY)))
    encoding = Encoding.of(feature_dictionary(some, CATALOG), profiles.categories, CATALOG)
    aligned = profiles.align(encoding.columns, encoding.categories)
    population = Population.of(aligned, encoding.products)
    names = [product.product_id for product in catalog.products]
    known = population.for_products(encoding.products, names)
    return Candidates(encoding, catalog, known, CoOpenings.independent(len(names))), aligned.values


def openings(values: np.ndarray, products: int, seed: int = 0) -> Openings:
    """Openings of which the tenure decides: short, the first product; long, the second."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(values), 1_000)
    product = np.where(values[rows, 0] > np.nanmedian(values[:, 0]), 1, 0)
    return Openings(values[rows], product, fold(rows.astype(str), QUICK.folds), np.ones(len(rows)))


@pytest.fixture(scope="module")
def fitted() -> tuple[dict[int | None, ChoiceModel], Candidates, np.ndarray]:
    made, values = candidates()
    code = made.encoding.columns.index("tenure_months")
    values = np.concatenate([values[:, code : code + 1], values[:, 1:]], axis=1)
    return fit(openings(values, len(CATALOG.products)), len(CATALOG.products), [], QUICK), made, values


def test_the_shares_of_a_clients_candidates_add_up_to_one(fitted) -> None:
    models, made, values = fitted
    reached = np.random.default_rng(1).random((len(values), len(CATALOG.products))) < 0.6
    odds = models[None].log_odds(made, values, reached, 1)
    assert (np.isnan(odds) == ~reached).all()
    sums = np.nansum(expit(odds), axis=1)
    assert sums[reached.any(axis=1)] == pytest.approx(1.0)


def test_it_learns_who_opens_what(fitted) -> None:
    models, made, values = fitted
    assert set(models) == {*range(QUICK.folds), None}
    everything = np.ones((len(values), len(CATALOG.products)), dtype=bool)
    long = values[:, 0] > np.nanmedian(values[:, 0])
    for model in models.values():
        best = np.nanargmax(model.log_odds(made, values, everything, 1), axis=1)
        assert (best == long).mean() > 0.95


def test_a_product_that_it_was_not_trained_with_has_no_share() -> None:
    new = Product(product_id="new", name="New", line=CATALOG.products[0].line, family="new")
    catalog = CATALOG.model_copy(update={"products": (new, *CATALOG.products)})
    made, values = candidates(Catalog.model_validate(catalog.model_dump()))
    model = fit(openings(values, len(CATALOG.products)), len(CATALOG.products), [], QUICK)[None]
    odds = model.log_odds(made, values, np.ones((len(values), len(made.catalog.products)), dtype=bool), 1)
    assert np.isnan(odds[:, 0]).all()
    assert expit(odds[:, 1:]).sum(axis=1) == pytest.approx(1.0)


def test_too_few_openings_make_no_choice_model() -> None:
    _, values = candidates()
    few = openings(values, len(CATALOG.products))
    few = Openings(few.x[:40], few.product[:40], few.part[:40], few.weight[:40])
    assert fit(few, len(CATALOG.products), [], QUICK) == {}
    assert fit(openings(values, 8), len(CATALOG.products), [], QUICK.model_copy(update={"choice_rounds": 0})) == {}


def test_every_client_counts_once_however_much_it_opened(sample: TrainingSample) -> None:
    day = sample.days[-1]
    encoding = Encoding.of(sample.features, day.profiles.categories, CATALOG)
    prepared = Prepared(day, encoding, CATALOG, QUICK)
    made = prepared.openings()
    opened = day.opened * prepared.candidates.products(prepared.profiles.values)
    assert made.weight.sum() == pytest.approx(opened.any(axis=1).sum())
    assert sorted(set(made.weight)) == sorted({1 / many for many in set(opened.sum(axis=1)) - {0}})


def test_an_only_candidate_is_all_but_sure(fitted) -> None:
    models, made, values = fitted
    only = np.zeros((len(values), len(CATALOG.products)), dtype=bool)
    only[:, 1] = True
    odds = models[None].log_odds(made, values, only, 1)
    assert expit(odds[:, 1]) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(odds[:, 1]).all()
