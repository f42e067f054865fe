from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sheaf.catalog import Bundle, Catalog, Kind, Line, Pricing
from sheaf.features import Bank, ProfileMatrix
from sheaf.features.snapshot import Snapshot
from sheaf.pricing import Client, NoPriceSheetError, price_bundle
from sheaf.serving import Recommender
from sheaf.training import Model, TrainingSample
from sheaf.training.batch_ranking import VALUES, rank
from sheaf.training.price_response.inputs import cells
from sheaf.training.value_order import Aim, Valuer
from tests.made import CATALOG, DAYS, LAST_DAY, frames

SHEETS: dict[str, Any] = {
    "account": {"funding": [{"share": 1.0, "years": 5.0}], "opex": 5.0, "cancellation": "Any day."},
    "card": {"opex": 4.0, "benefits": ["waive", "percent"], "cancellation": "Any day."},
    "mortgage": {
        "funding": [{"share": 1.0, "years": 5.0}],
        "opex": 50.0,
        "credit": {"asset_class": "residential_mortgage", "lgd": 0.15, "term_years": 20.0},
        "cancellation": "By early repayment.",
    },
    "insurance": {"opex": 20.0, "benefits": ["percent"], "cancellation": "At the end of a year."},
    "till": {"opex": 40.0, "benefits": ["percent"], "cancellation": "Any day."},
    "firm_account": {"opex": 5.0, "cancellation": "Any day."},
    "exchange": {"opex": 8.0, "benefits": ["percent"], "cancellation": "Any day."},
    "overdraft": {"opex": 9.0, "cancellation": "Any day."},
}
PRICES: dict[str, Any] = {
    "curves": {"EUR": [{"years": 0.25, "rate": 0.02}, {"years": 5.0, "rate": 0.03}]},
    "grades": {"A": {"pd": 0.002}, "B": {"pd": 0.01, "margin": 0.002}},
    "unrated": "B",
    "tax": 0.25,
    "hurdle": 0.10,
    "response": {"acceptance": 0.2, "elasticity": 2.0},
    "retention": {"attrition": 0.1, "saved": 0.5},
    "authorities": [{"name": "manager", "share": 0.10}, {"name": "head_office", "share": 1.0}],
    "products": SHEETS,
}


def priced(bundles: tuple[Bundle, ...] = CATALOG.bundles, **more: Any) -> Catalog:
    pricing = Pricing.model_validate({**PRICES, **more})
    return Catalog(name="priced", products=CATALOG.products, bundles=bundles, pricing=pricing)


@pytest.fixture(scope="module")
def profiles(model: Model, sample: TrainingSample) -> ProfileMatrix:
    return model.align(sample.days[-1].profiles)


def by_value(model: Model, profiles: ProfileMatrix, sold: Catalog, authority: str | None = None) -> Any:
    candidates, values = model.candidates(sold), profiles.values
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    again, worth = Valuer(candidates, authority).rank(values, candidates.held(values), ranking)
    return candidates, ranking, again, worth


def test_the_order_is_by_acceptance_times_eva(model: Model, profiles: ProfileMatrix) -> None:
    _, ranking, again, worth = by_value(model, profiles, priced())
    assert again.score == pytest.approx(worth.acceptance * worth.eva)
    same = again.client[1:] == again.client[:-1]
    assert (np.diff(again.score)[same] <= 0).all()
    assert (again.rank[1:][same] == again.rank[:-1][same] + 1).all()
    assert again.rank[np.r_[True, ~same]].tolist() == [1] * len(np.unique(again.client))
    pairs = [set(zip(of.client.tolist(), of.item.tolist(), strict=True)) for of in (ranking, again)]
    assert pairs[0] == pairs[1]
    assert (again.item[again.rank == 1] != ranking.item[ranking.rank == 1]).any()  # it is another order


def test_who_concedes_is_accepted_more_often_and_never_beyond_the_authority(
    model: Model, profiles: ProfileMatrix
) -> None:
    small, large = (by_value(model, profiles, priced(), name)[3] for name in ("manager", "head_office"))
    assert small.concession.max() < large.concession.max()
    _, _, again, worth = by_value(model, profiles, priced())
    assert (worth.acceptance >= again.probability - 1e-12).all()
    assert (worth.acceptance[worth.concession > 0] > again.probability[worth.concession > 0]).all()


def test_what_a_client_who_holds_nothing_is_offered_is_what_a_quote_says(model: Model, profiles: ProfileMatrix) -> None:
    sold = priced()
    candidates, _, again, worth = by_value(model, profiles, sold, "head_office")
    nothing = np.flatnonzero(~candidates.held(profiles.values).any(axis=1))
    kinds, checked = profiles.categories["kind"], 0
    for at in np.flatnonzero(np.isin(again.client, nothing[:12])):
        bundle = candidates.offers[again.item[at]]
        kind = Kind(kinds[int(profiles.values[again.client[at], profiles.columns.index("kind")])])
        quoted = price_bundle(
            sold, Client("c", kind), bundle.bundle_id, LAST_DAY, "head_office", acceptance=float(again.probability[at])
        )
        assert float(quoted.concession) == pytest.approx(worth.concession[at], abs=0.011)
        assert quoted.expected_eva == pytest.approx(again.score[at], abs=0.01, rel=1e-3)
        checked += 1
    assert checked > 20


def test_a_bundle_that_a_rule_forbids_is_not_offered_and_its_parts_are(model: Model, profiles: ProfileMatrix) -> None:
    sheets = {**SHEETS, "insurance": {**SHEETS["insurance"], "investment": True, "cancellation": ""}}
    candidates, ranking, again, _ = by_value(model, profiles, priced(products=sheets, jurisdiction="EU"))
    names = np.array([offer.bundle_id for offer in candidates.offers])
    assert "home" in set(names[ranking.item])
    assert "home" not in set(names[again.item])
    assert {"mortgage", "insurance"} <= set(names[again.item])


def test_where_tying_is_forbidden_a_mixed_bundle_goes_at_list_price(model: Model, profiles: ProfileMatrix) -> None:
    candidates, _, again, worth = by_value(model, profiles, priced(jurisdiction="US"), "head_office")
    names = np.array([offer.bundle_id for offer in candidates.offers])[again.item]
    assert (worth.concession[names == "trader"] == 0).all()
    assert worth.acceptance[names == "trader"] == pytest.approx(again.probability[names == "trader"])
    assert (worth.concession[names == "till"] > 0).any()


def test_what_has_no_price_sheet_cannot_be_valued(model: Model, profiles: ProfileMatrix) -> None:
    with pytest.raises(NoPriceSheetError, match="made has no price sheet"):
        Valuer(model.candidates(CATALOG))
    without = priced(products={key: sheet for key, sheet in SHEETS.items() if key != "till"})
    candidates, _, again, worth = by_value(model, profiles, without)
    told = {candidates.offers[item].bundle_id for item in np.unique(again.item)}
    assert not told & {"till", "trader"}
    assert np.isfinite(worth.value).all()
    with pytest.raises(ValueError, match="authority 'nobody' is not known"):
        Valuer(candidates, "nobody")


def test_an_unknown_rating_counts_as_unrated_and_unknown_sales_as_a_large_firm(model: Model) -> None:
    sold = priced(firm_sizes=[5.0, 50.0], turnover="turnover")
    encoding = model.encoding.model_copy(
        update={
            "columns": (*model.encoding.columns, "turnover"),
            "categories": {**model.encoding.categories, "rating": ("A", "Z")},
        }
    )
    valuer = Valuer(type(model.candidates(sold))(encoding, sold, model.population, model.co_openings))
    values = np.full((5, len(encoding.columns)), np.nan, dtype=np.float32)
    values[:, encoding.columns.index("rating")] = [0, 1, np.nan, 0, 0]
    values[:, -1] = [np.nan, np.nan, np.nan, 4e6, 5e7]
    assert cells(valuer.book, valuer.candidates, values).tolist() == [2, 5, 5, 0, 1]


def test_the_file_by_value_tells_what_the_order_rests_on(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "value.parquet"
    rank(model, Bank.of(**frames(60, seed=4)), priced(), LAST_DAY, out, top=2, aim=Aim.VALUE)
    found = pq.read_table(out).to_pandas()
    assert list(found.columns) == ["client_id", "rank", "bundle_id", "score", "probability", *VALUES]
    assert found["rank"].max() == 2
    assert found["score"].to_numpy() == pytest.approx((found["acceptance"] * found["eva"]).to_numpy())


def test_an_answer_by_value_shows_each_factor(model: Model, sample: TrainingSample) -> None:
    recommender = Recommender(model, Snapshot(DAYS[-1], model.align(sample.days[-1].profiles)), priced())
    for client in ("c0001", "c0004", "c0008"):
        answer = recommender.recommend(client, 3, objective=Aim.VALUE)
        assert answer.objective == "value"
        for offer in answer.offers:
            assert offer.worth is not None
            assert offer.score == offer.worth.value == pytest.approx(offer.worth.acceptance * offer.worth.eva)
        assert [offer.score for offer in answer.offers] == sorted((o.score for o in answer.offers), reverse=True)
        for offer in recommender.recommend(client, 3).offers:
            assert offer.worth is not None
            assert offer.worth.value == pytest.approx(offer.worth.acceptance * offer.worth.eva)
            assert offer.score != offer.worth.value
    unpriced = Recommender(model, recommender.snapshot, CATALOG)
    assert all(offer.worth is None for offer in unpriced.recommend("c0001").offers)
    with pytest.raises(NoPriceSheetError, match="made has no price sheet"):
        unpriced.recommend("c0001", objective=Aim.VALUE)
    firm = recommender.recommend_new({"kind": "corporate"}, 5, [Line.INTERMEDIARY], Aim.VALUE)
    assert {offer.line for offer in firm.offers} == {Line.INTERMEDIARY}
    assert dt.date.fromisoformat(firm.profile_day) == DAYS[-1]


def test_what_a_rule_forbids_is_offered_in_no_order_and_what_is_open_is_said(
    model: Model, sample: TrainingSample
) -> None:
    sheets = {**SHEETS, "insurance": {**SHEETS["insurance"], "investment": True, "cancellation": ""}}
    snapshot = Snapshot(DAYS[-1], model.align(sample.days[-1].profiles))
    recommender = Recommender(model, snapshot, priced(products=sheets, jurisdiction="EU"))
    free = Recommender(model, snapshot, priced())
    seen = set()
    for client in map(str, snapshot.profiles.client_ids[:60]):
        for aim in Aim:
            offers = recommender.recommend(client, 100, objective=aim).offers
            assert "home" not in {offer.bundle_id for offer in offers}  # its parts' cancellation terms are not told
            for offer in offers:
                gates = {gate.gate: gate.status for gate in offer.gates}
                invests = offer.bundle_id == "insurance"
                assert gates == {
                    "eligible": "passed",
                    "applicable": "passed",
                    "suitable": "open" if invests else "passed",
                }
                seen.add(offer.bundle_id)
    assert "insurance" in seen
    assert any(offer.bundle_id == "home" for client in map(str, snapshot.profiles.client_ids[:60])
               for offer in free.recommend(client, 100).offers)  # fmt: skip


def valued_with(model: Model, profiles: ProfileMatrix, sold: Catalog, column: str, told: float) -> tuple[Any, Any, Any]:
    """By value, where profiles have one column more, with one value for everybody."""
    encoding = model.encoding.model_copy(update={"columns": (*model.encoding.columns, column)})
    candidates = type(model.candidates(sold))(encoding, sold, model.population, model.co_openings)
    own, values = profiles.values, np.column_stack([profiles.values, np.full(len(profiles.values), told)])
    before = model.candidates(sold)
    ranking = model.rank(before, own, before.peer_groups(own))
    again, worth = Valuer(candidates, "head_office").rank(values, before.held(own), ranking)
    return np.array([offer.bundle_id for offer in candidates.offers]), again, worth


@pytest.mark.parametrize(("months", "offered"), [(0.5, False), (0.0, True), (np.nan, True)])
def test_an_investment_is_not_offered_once_the_suitability_profile_has_ended(
    model: Model, profiles: ProfileMatrix, months: float, offered: bool
) -> None:
    sheets = {**SHEETS, "insurance": {**SHEETS["insurance"], "investment": True}}
    sold = priced(products=sheets, jurisdiction="EU", suitable_until="suitable_until")
    names, again, _ = valued_with(model, profiles, sold, "suitable_until_months", months)
    assert ({"home", "insurance"} <= set(names[again.item])) == offered
    assert bool({"home", "insurance"} & set(names[again.item])) == offered
    assert "mortgage" in set(names[again.item])


@pytest.mark.parametrize("abroad", [0.0, 1.0])
def test_a_foreign_client_is_conceded_on_a_mixed_bundle(model: Model, profiles: ProfileMatrix, abroad: float) -> None:
    names, again, worth = valued_with(model, profiles, priced(jurisdiction="US", abroad="foreign"), "foreign", abroad)
    assert (worth.concession[names[again.item] == "trader"] > 0).any() == bool(abroad)
