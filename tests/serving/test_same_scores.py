"""Training, bulk ranking, the recommender and the service over HTTP give a client the same scores."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import asdict

import httpx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank, profile_matrices
from sheaf.training import registry
from sheaf.training.batch_ranking import rank
from sheaf.training.samples import last_day
from tests.conftest import WholeLine
from tests.made import LAST_DAY


@pytest.fixture(scope="module")
def bulk(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """What `sheaf rank` writes with the champion of the registry."""
    out = tmp_path_factory.mktemp("bulk") / "ranks.parquet"
    bank = Bank.open(line.bank)
    assert last_day(bank) == LAST_DAY
    with chdir(line.folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        rank(registry.need_champion().model, bank, read_catalog(DEFAULT), LAST_DAY, out)
    return pq.read_table(out).to_pandas().set_index(["client_id", "bundle_id"])


def test_bulk_gives_the_scores_of_the_trained_model(line: WholeLine, bulk: pd.DataFrame) -> None:
    bank, catalog, model = Bank.open(line.bank), read_catalog(DEFAULT), line.champion
    profiles = next(profile_matrices(bank, catalog, LAST_DAY))
    aligned, candidates = model.align(profiles), model.candidates()
    ranking = model.rank(candidates, aligned.values, candidates.peer_groups(aligned.values))
    ids = np.array([offer.bundle_id for offer in candidates.offers])
    told = pd.DataFrame(
        {"score": ranking.score, "probability": ranking.probability},
        index=pd.MultiIndex.from_arrays(
            [profiles.client_ids[ranking.client], ids[ranking.item]], names=bulk.index.names
        ),
    )
    assert len(told) == len(bulk)
    found = bulk.loc[told.index, ["score", "probability"]]
    assert np.abs(found.to_numpy() - told.to_numpy()).max() < 1e-9


def agrees(offers: list[dict[str, object]], of_client: pd.DataFrame) -> None:
    """The offers are the client's rows in the file, but for bundles that bring the same as a better one."""
    rows = of_client.loc[[offer["bundle_id"] for offer in offers]]
    for column in ("score", "probability"):
        assert np.abs(rows[column].to_numpy() - [offer[column] for offer in offers]).max() < 1e-9
    assert rows["rank"].is_monotonic_increasing
    assert rows["rank"].iloc[0] == 1


def test_the_recommender_gives_the_scores_of_bulk(line: WholeLine, bulk: pd.DataFrame) -> None:
    for client in line.recommender.snapshot.profiles.client_ids[::10]:
        answer = asdict(line.recommender.recommend(str(client), k=100))
        agrees(answer["offers"], bulk.loc[str(client)])


def test_the_service_gives_the_scores_of_bulk(line: WholeLine, bulk: pd.DataFrame, service: str) -> None:
    for client in line.recommender.snapshot.profiles.client_ids[5::60]:
        reply = httpx.post(f"{service}/v1/recommend", json={"client_id": str(client), "k": 100})
        assert reply.status_code == 200
        agrees(reply.json()["offers"], bulk.loc[str(client)])
        assert reply.json()["model_version"] == line.champion.version
