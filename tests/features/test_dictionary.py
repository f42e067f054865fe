from __future__ import annotations

import os
import string
from pathlib import Path

import pytest

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank, feature_dictionary, to_markdown
from sheaf.simulation import simulate
from tests.features.banks import CATALOG, bank, client, frame

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "features.md"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """The simulated bank with a table of offers, which only its use fills."""
    folder = tmp_path_factory.mktemp("bank") / "tables"
    simulate(folder, clients=200, months=1)
    frame("offers", []).to_parquet(folder / "offers.parquet")
    return Bank.open(folder)


def test_the_page_in_the_docs_is_the_one_generated(simulated: Bank) -> None:
    page = to_markdown(simulated, read_catalog(DEFAULT))
    if os.environ.get("SHEAF_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, (
        "docs/reference/features.md is not what features state; set SHEAF_WRITE_DOCS=1 to rewrite it"
    )


def test_every_feature_is_on_the_page_once(simulated: Bank) -> None:
    catalog = read_catalog(DEFAULT)
    page = to_markdown(simulated, catalog)
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(set(rows))
    words = {
        "{product_id}": [product.product_id for product in catalog.products],
        "{line}": {product.line.value for product in catalog.products},
        "{kind}": catalog.policy.transaction_kinds,
    }
    listed = []
    for row in rows:
        placeholder = next((word for word in words if row.endswith(word)), None)
        listed += [row.replace(placeholder, word) for word in words[placeholder]] if placeholder else [row]
    assert sorted(listed) == sorted(feature.name for feature in feature_dictionary(simulated, catalog))


def test_every_feature_says_what_it_means_and_its_reason_takes_at_most_a_value(simulated: Bank) -> None:
    for feature in feature_dictionary(simulated, read_catalog(DEFAULT)):
        assert feature.meaning.endswith("."), feature.name
        assert "  " not in feature.meaning
        fields = [field for _, field, _, _ in string.Formatter().parse(feature.reason) if field is not None]
        assert fields in ([], ["value"]), feature.name


def test_the_columns_follow_from_the_tables_there_are() -> None:
    few = {"clients": [client("a")], "holdings": []}
    offers = [{"offer_id": "1", "client_id": "a", "bundle_id": "b", "offered_at": "2024-01-31"}]
    names = {feature.name for feature in feature_dictionary(bank(**few, offers=offers), CATALOG)}
    assert "offers_3m" in names
    assert "inflow_3m" not in names
    assert "offers_3m" not in {feature.name for feature in feature_dictionary(bank(**few), CATALOG)}
