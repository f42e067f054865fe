from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sheaf.catalog import Catalog, Line, Product
from sheaf.features import Bank, profile_matrices, written_as_of
from sheaf.training import Model, TrainingSample, evaluate, fit, read_sample
from sheaf.training.batch_ranking import rank
from tests.made import CATALOG, DAYS, LAST_DAY, OFFERS, QUICK, frames


@pytest.fixture(scope="module")
def ranked(model: Model, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Rankings of another made bank, 120 clients of whom training saw none."""
    out = tmp_path_factory.mktemp("ranked") / "deep" / "ranks.parquet"
    assert rank(model, strangers(), CATALOG, LAST_DAY, out)[0] == 120
    return pq.read_table(out).to_pandas()


def strangers() -> Bank:
    tables = frames(120, seed=9)
    for table in tables.values():
        table["client_id"] = "new-" + table["client_id"]
    return Bank.of(**tables)


def test_the_file_holds_these_columns_and_no_other(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "ranks.parquet"
    clients, rows = rank(model, strangers(), CATALOG, LAST_DAY, out)
    found = pq.read_table(out)
    assert {field.name: field.type for field in found.schema} == {
        "client_id": pa.string(),
        "rank": pa.int32(),
        "bundle_id": pa.string(),
        "score": pa.float64(),
        "probability": pa.float64(),
    }
    assert (clients, rows) == (120, found.num_rows)
    assert written_as_of(out) == LAST_DAY
    assert [path.name for path in tmp_path.iterdir()] == ["ranks.parquet"]


def test_clients_that_training_never_saw_are_ranked(ranked: pd.DataFrame) -> None:
    assert ranked["client_id"].nunique() > 110  # whoever holds everything has no candidate
    assert ranked["client_id"].str.startswith("new-").all()
    for _, mine in ranked.groupby("client_id"):
        assert mine["rank"].tolist() == list(range(1, len(mine) + 1))
        assert mine["score"].is_monotonic_decreasing
        assert mine["bundle_id"].is_unique
    assert ranked["probability"].between(0, 1, inclusive="neither").all()


def test_the_order_follows_the_needs_of_clients_never_seen(ranked: pd.DataFrame) -> None:
    tables = frames(120, seed=9)
    need = tables["clients"]["need"].str.removeprefix("of_")
    open_now = tables["holdings"][tables["holdings"]["closed_on"].isna()]
    has = set(zip(open_now["client_id"], open_now["product_id"], strict=True))
    parts = {offer.bundle_id: offer.products for offer in CATALOG.offers}
    met = []
    for client, product in zip(tables["clients"]["client_id"], need, strict=True):
        mine = ranked[ranked["client_id"] == f"new-{client}"]
        brings = [product in parts[bundle] for bundle in mine["bundle_id"]]
        if (client, product) not in has and any(brings):
            met.append(any(brings[:2]))
    assert len(met) > 40
    assert np.mean(met) > 0.8


def test_only_candidates_are_ranked_and_all_of_them(ranked: pd.DataFrame) -> None:
    tables = frames(120, seed=9)
    people = tables["clients"].set_index("client_id")
    open_now = tables["holdings"][tables["holdings"]["closed_on"].isna()]
    held = open_now.groupby("client_id")["product_id"].agg(set)
    for client, person in people.iterrows():
        expected = {
            offer.bundle_id
            for offer in CATALOG.offers
            if person["kind"] in offer.kinds
            and not set(offer.products) <= held.get(client, set())
            and ("region" not in offer.where or person["region"] in offer.where["region"])
        }
        assert set(ranked.loc[ranked["client_id"] == f"new-{client}", "bundle_id"]) == expected


def test_what_brings_an_accepted_product_is_not_ranked_and_the_rest_is_as_it_was(
    model: Model, ranked: pd.DataFrame, tmp_path: Path
) -> None:
    tables, day = frames(120, seed=9), str(LAST_DAY)
    for table in tables.values():
        table["client_id"] = "new-" + table["client_id"]
    client = next(one for one, mine in ranked.groupby("client_id") if {"home", "mortgage"} <= {*mine["bundle_id"]})
    other = next(one for one in ranked["client_id"] if one != client)
    told = [(client, "home", day, "accepted"), (other, "home", "2025-10-01", "accepted"),
            (other, "card", day, "rejected")]  # fmt: skip
    offers = pd.DataFrame(told, columns=["client_id", "bundle_id", "responded_at", "outcome"])
    tables["offers"] = offers.assign(offer_id=["1", "2", "3"], offered_at="2025-10-01")
    rank(model, Bank.of(**tables), CATALOG, LAST_DAY, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pandas()
    left_out = (ranked["client_id"] == client) & ranked["bundle_id"].isin(["home", "mortgage", "insurance"])
    expected = ranked[~left_out].assign(rank=lambda rows: rows.groupby("client_id").cumcount() + 1)
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_dtype=False)
    rank(model, Bank.of(**tables), CATALOG, LAST_DAY, tmp_path / "top.parquet", top=1)
    best = pq.read_table(tmp_path / "top.parquet").to_pandas()
    assert best["client_id"].nunique() == found["client_id"].nunique()


def test_top_keeps_the_best(model: Model, ranked: pd.DataFrame, tmp_path: Path) -> None:
    rank(model, strangers(), CATALOG, LAST_DAY, tmp_path / "top.parquet", top=2)
    best = pq.read_table(tmp_path / "top.parquet").to_pandas()
    pd.testing.assert_frame_equal(best, ranked[ranked["rank"] <= 2].reset_index(drop=True))


def test_a_day_without_clients_is_no_ranking(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no client is active on 1999-12-31, so there is nobody to rank"):
        rank(model, strangers(), CATALOG, dt.date(1999, 12, 31), tmp_path / "ranks.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_catalog_offers_less(model: Model, tmp_path: Path) -> None:
    products = tuple(product for product in CATALOG.products if product.product_id in ("card", "till"))
    smaller = Catalog(products=products)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is amiss where a product is no longer sold
        rank(model, strangers(), smaller, LAST_DAY, tmp_path / "ranks.parquet")
    assert set(pq.read_table(tmp_path / "ranks.parquet").column("bundle_id").to_pylist()) == {"card", "till"}


def test_who_holds_what_came_after_training_is_not_offered_it(model: Model, tmp_path: Path) -> None:
    tables, held = frames(120, seed=9), pd.Timestamp(LAST_DAY)
    tables["holdings"].loc[len(tables["holdings"]) + 1_000] = ["c0001", "pension", held, pd.NaT]
    new = Product(product_id="pension", name="Pension plan", line=Line.INTERMEDIARY, family="savings")
    wider, out = Catalog(products=(new, *CATALOG.products), bundles=CATALOG.bundles), tmp_path / "ranks.parquet"
    rank(model, Bank.of(**tables), wider, LAST_DAY, out)
    told = pq.read_table(out).to_pandas().query("bundle_id == 'pension'")
    assert set(tables["clients"]["client_id"]) - set(told["client_id"]) == {"c0001"}
    assert np.isfinite(told["score"]).all()
    # The others are ranked as before it came.
    rank(model, Bank.of(**tables), CATALOG, LAST_DAY, tmp_path / "before.parquet")
    both = [pq.read_table(path).to_pandas() for path in (out, tmp_path / "before.parquet")]
    now, before = (of.query("bundle_id != 'pension' and client_id != 'c0001'") for of in both)
    assert now["score"].tolist() == before["score"].tolist()


def test_columns_that_the_profiles_lack_are_told(model: Model, tmp_path: Path) -> None:
    tables = frames(120, seed=9)
    people = tables["clients"].drop(columns="region").assign(need=1.0)
    with pytest.warns(UserWarning, match=r"lack 2 of the \d+ columns .*\(region, need\): they count as not known"):
        rank(model, Bank.of(**{**tables, "clients": people}), CATALOG, LAST_DAY, tmp_path / "ranks.parquet")


def test_nothing_half_written_is_left_where_ranking_fails(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "ranks.parquet"

    def stop(clients: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rank(model, strangers(), CATALOG, LAST_DAY, out, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_ranking_that_is_there_is_only_replaced_by_a_whole_one(
    model: Model, ranked: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "ranks.parquet"
    out.write_text("the one before")

    def stop(clients: int) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        rank(model, strangers(), CATALOG, LAST_DAY, out, progress=stop)
    assert out.read_text() == "the one before"
    rank(model, strangers(), CATALOG, LAST_DAY, out, top=1)
    assert pq.read_table(out).num_rows == ranked["client_id"].nunique()


def test_bulk_and_training_score_a_client_alike(model: Model, ranked: pd.DataFrame) -> None:
    profiles = next(profile_matrices(strangers(), CATALOG, LAST_DAY))
    candidates, aligned = model.candidates(), model.align(profiles)
    ranking = model.rank(candidates, aligned.values, candidates.peer_groups(aligned.values))
    told = pd.DataFrame(
        {
            "client_id": profiles.client_ids[ranking.client],
            "rank": ranking.rank.astype(np.int32),
            "bundle_id": np.array(OFFERS)[ranking.item],
            "score": ranking.score,
            "probability": ranking.probability,
        }
    ).sort_values(["client_id", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(told, ranked, check_exact=True, check_dtype=False)


def test_a_catalog_without_bundles_trains_and_ranks(tmp_path: Path) -> None:
    alone = tuple(product.model_copy(update={"alone": True}) for product in CATALOG.products)
    plain = Catalog(products=alone)
    sample = read_sample(Bank.of(**frames(300)), plain, DAYS[-1:])
    model, _ = fit(sample, plain, QUICK, {})
    rank(model, strangers(), plain, LAST_DAY, tmp_path / "ranks.parquet")
    found = set(pq.read_table(tmp_path / "ranks.parquet").column("bundle_id").to_pylist())
    assert found == {product.product_id for product in alone}


@pytest.mark.parametrize(
    ("what", "by"), [("products", "line"), ("products", "kind"), *(("bundles", by) for by in ("line", "kind", "size"))]
)
def test_segments_hold_every_pair_once(model: Model, sample: TrainingSample, what: str, by: str) -> None:
    tables = evaluate(model, sample.days[-1], CATALOG).calibration
    lines = [f"{what}.{line}" for line in Line]
    segments = [name for name in tables if (name in lines if by == "line" else name.startswith(f"{what}.{by}_"))]
    assert len(segments) > 1
    for column in (0, 1):  # probability given, and share that happened: sums over pairs
        parts, whole = (
            sum((tables[name][:, column] * tables[name][:, 2]).sum() for name in names) for names in (segments, [what])
        )
        assert parts == pytest.approx(whole)


def test_evaluation_leaves_out_nobody_and_knows_its_limits(model: Model, sample: TrainingSample) -> None:
    day = sample.days[-1]
    told = evaluate(model, day, CATALOG)
    assert told.clients == len(day.opened)
    assert len(told.deciding) > 30
    assert told.figures["ndcg_at_5"] == pytest.approx(told.deciding.mean())
    low, high = told.intervals["ndcg_at_5"]
    assert low < told.figures["ndcg_at_5"] < high
    assert told.figures["product_map_at_7"] > 0.7  # of clients it was trained on
    nothing = evaluate(model, replace(day, opened=np.zeros_like(day.opened)), CATALOG)
    assert len(nothing.deciding) == 0
    assert np.isnan(nothing.figures["ndcg_at_5"])
    assert nothing.figures["calibration_error"] > 0


def test_a_model_that_knows_what_came_after_the_day_says_so(model: Model, tmp_path: Path) -> None:
    days = [str(day) for day in DAYS]
    told = replace(model, about={**model.about, "as_of": days, "horizon_days": 30})
    known = max(DAYS) + dt.timedelta(days=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank(told, strangers(), CATALOG, known, tmp_path / "later.parquet")
    with pytest.warns(UserWarning, match=rf"up to {known}, which nobody knew on {known - dt.timedelta(days=1)}: "):
        rank(told, strangers(), CATALOG, known - dt.timedelta(days=1), tmp_path / "earlier.parquet")
