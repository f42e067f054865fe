from __future__ import annotations

import datetime as dt
import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from sheaf.catalog import Kind
from sheaf.features import Bank
from sheaf.features.client_positions import client_on
from sheaf.features.snapshot import Snapshot
from sheaf.pricing import NoPriceSheetError, Offers, price_bundle
from sheaf.pricing.acceptance import best_concession, search
from sheaf.serving import Recommender
from sheaf.training import ArtifactError, Model, TrainingSample, registry
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.inputs import pair_of
from sheaf.training.price_response.learning import (
    LearnedPriceResponse,
    choose_price_response,
    fit_price_response,
    slope_errors,
)
from sheaf.training.price_response.models import COLUMNS, KINDS, LOG_ODDS, OF_PAIR, ShareLogit, Trees
from sheaf.training.price_response.offer_history import (
    LEAST,
    OfferHistory,
    ResponseError,
    could_be_drawn,
    read_offer_history,
)
from sheaf.training.registration import register_price_response
from sheaf.training.value_order import Aim, Valuer
from tests.made import MONTHS, QUICK, frames
from tests.training.test_value_order import priced

SLOPES = np.array([6.0, 3.0, 2.0])
LEVELS = np.array([0.0, 0.1, 0.2, 0.3])
CATALOG = priced()
LAST = dt.date(2025, 12, 31)


def made(number: int, seed: int = 0, judged: float = 0.0, least: float = -np.inf) -> OfferHistory:
    """Offers answered by a known logit; a part `judged` of them at prices that lean to who wants the bundle more. Below
    `least`, the log-odds say nothing of the answer."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(len(KINDS), number, p=[0.6, 0.3, 0.1])
    wanted, price = rng.normal(-4.0, 1.0, number), rng.uniform(50, 2_000, number)
    x = np.zeros((number, len(COLUMNS)))
    x[np.arange(number), kind] = 1.0
    x[:, len(KINDS)] = 1.0
    x[:, LOG_ODDS], x[:, COLUMNS.index("brings")] = wanted, 1.0
    x[:, COLUMNS.index("log_list_price")] = np.log(price)
    hidden = rng.normal(0, 1.0, number)
    by_hand = rng.random(number) < judged
    chances = np.where((wanted > -4.0)[:, None], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    level = (rng.random(number)[:, None] > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
    share = np.where(by_hand, np.clip(0.15 + 0.1 * hidden, 0.0, 0.3), LEVELS[level])
    propensity = np.where(by_hand, np.nan, chances[np.arange(number), level])
    q = expit(-1.0 + 0.5 * (np.maximum(wanted, least) + 4.0) + hidden * (judged > 0) + SLOPES[kind] * share)
    months = np.array([dt.date(2025, month, 1) for month in range(1, 9)], dtype=object)
    return OfferHistory(
        np.array([f"c{at}" for at in rng.integers(0, number // 2, number)], dtype=object),
        months[rng.integers(0, len(months), number)], x, price, share, propensity,
        (rng.random(number) < q).astype(float),
    )  # fmt: skip


def test_a_catalog_without_prices_is_refused_before_any_table_is_read() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the bank was asked for {name}")

    bare: Any = CATALOG.model_copy(update={"pricing": None})
    bank: Any = Untouched()
    with pytest.raises(NoPriceSheetError):
        fit_price_response(bank, bare, LAST)


def test_the_logit_finds_the_slopes_that_answers_were_drawn_with() -> None:
    of = made(60_000)
    found = ShareLogit.fit(of.x, of.share, of.accepted, of.weight)
    assert (abs(found.slopes - SLOPES) < [0.5, 0.7, 1.2]).all()  # three standard errors: 36,000, 18,000, 6,000 offers
    low, middle, high = at_list(found, of, [-5.5, -4.0, -2.5])
    assert [middle - low, high - middle] == pytest.approx([0.75, 0.75], abs=0.12)


def at_list(found: ShareLogit, of: OfferHistory, log_odds: list[float]) -> list[float]:
    """Utility at list price of the first offer, if it had these log-odds."""
    x = np.repeat(of.x[:1], len(log_odds), axis=0)
    x[:, LOG_ODDS] = log_odds
    return found.as_logit(Offers(np.repeat(of.list_price[:1], len(x)), x[:, : len(OF_PAIR)]))[0].tolist()


def test_a_column_that_is_the_same_for_all_teaches_nothing() -> None:
    of = made(1_000)
    of.x[:, -1] = 0.1  # ten times that is 1.0 less a last bit: a spread of rounding
    found = ShareLogit.fit(of.x, of.share, of.accepted, of.weight)
    assert found.coefficients[len(COLUMNS) - 1] == 0.0


def test_the_logit_bends_where_log_odds_say_less() -> None:
    of = made(60_000, least=-4.0)
    found = ShareLogit.fit(of.x, of.share, of.accepted, of.weight)
    lowest, low, high = at_list(found, of, [-5.5, -4.5, -2.5])
    assert low - lowest == pytest.approx(0.0, abs=0.15)
    assert high - low == pytest.approx(0.75, abs=0.15)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.floats(-0.8, 0.8), min_size=3, max_size=3))
def test_who_opens_bundles_more_readily_is_never_less_likely_to_accept(seed: int, bends: list[float]) -> None:
    """Whatever was answered: here it rises and falls with log-odds, beyond the last knot as well."""
    of = made(600, seed)
    wanted = of.x[:, LOG_ODDS]
    truly = sum((bend * np.maximum(wanted - at, 0) for bend, at in zip(bends, (-5.0, -4.0, -3.0), strict=True)), -1.0)
    of.accepted[:] = np.random.default_rng(seed).random(600) < expit(truly)
    found = ShareLogit.fit(of.x, of.share, of.accepted, of.weight)
    utility = at_list(found, of, np.linspace(-15, 10, 101).tolist())
    assert np.diff(utility).min() >= -1e-9


def test_a_price_that_moves_nobody_is_told() -> None:
    """Who wanted it less was given more: the slope would be below 0, and is held at 0."""
    of = made(6_000)
    firms = of.x[:, KINDS.index("corporate")] > 0
    rng = np.random.default_rng(2)
    of.accepted[firms] = rng.random(firms.sum()) < expit(-1.0 - 3.0 * of.share[firms])
    with pytest.warns(UserWarning, match=r"the fewer corporate clients accepted.*propensity"):
        found = choose_price_response(of, CATALOG, True, {})
    assert found.logit.slopes[KINDS.index("corporate")] == 0.0
    assert "; corporate clients were found not to answer to a price" in found.response.told
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "found not to answer" not in choose_price_response(made(6_000), CATALOG, True, {}).response.told


def test_prices_given_to_who_wants_the_bundle_look_steeper_than_they_are_and_chance_mends_it() -> None:
    of = made(30_000, judged=0.6)
    weighed, ignored = (choose_price_response(of, CATALOG, propensities, {}) for propensities in (True, False))
    true = float(SLOPES @ [0.6, 0.3, 0.1])
    assert ignored.slope > true * 1.3
    assert abs(weighed.slope - true) < 0.2 * true  # a little flatter: what is hidden spreads who accepts
    assert weighed.slope_between[0] < weighed.slope < weighed.slope_between[1]
    assert weighed.by_chance
    assert "logged chance" in weighed.response.told
    assert not ignored.by_chance
    assert "nobody drew by chance" in ignored.response.told


def test_the_slopes_errors_are_those_of_banks_drawn_anew() -> None:
    drawn = [made(3_000, seed) for seed in range(25)]
    fitted = [ShareLogit.fit(of.x, of.share, of.accepted, of.weight) for of in drawn]
    told = np.mean([np.sqrt(slope_errors(of, one)[0, 0]) for of, one in zip(drawn, fitted, strict=True)])
    assert told == pytest.approx(np.std([one.slopes[0] for one in fitted]), rel=0.4)


def test_weights_are_inverse_propensities_of_mean_one_and_none_is_beyond_ten() -> None:
    of = made(2_000)
    of.price_propensity[:3] = [1e-9, np.nan, 0.5]
    weight = of.weight
    assert weight.max() <= 10.0
    assert weight[1] == 1.0
    assert weight[2] * 0.5 == pytest.approx(weight[10] * of.price_propensity[10])


@pytest.fixture(scope="module")
def both() -> tuple[ShareLogit, Trees]:
    of = made(4_000)
    part = np.arange(len(of.share)) % 3
    args = of.x, of.share, of.accepted, of.weight
    return ShareLogit.fit(*args), Trees.fit(*args, part)


@settings(max_examples=40)
@given(st.integers(0, 3_999), st.floats(0, 1), st.floats(0, 1))
def test_who_saves_more_is_never_less_likely_to_accept(
    both: tuple[ShareLogit, Trees], row: int, one: float, other: float
) -> None:
    of = made(4_000)[np.array([row, row])]
    low, high = sorted([one, other])
    for response in both:
        less, more = response.accepts(of.offers, np.array([low, high]) * of.list_price)
        assert 0 <= less <= more <= 1


def test_the_best_concession_of_a_learned_logit_is_the_one_that_a_search_finds(both: tuple[ShareLogit, Trees]) -> None:
    of = made(200)
    value, keep = 0.6 * of.list_price, 0.75
    bound = 0.5 * of.list_price

    def brings(s: np.ndarray, response: Any = both[0]) -> np.ndarray:
        return np.asarray(response.accepts(of.offers, s) * (value - keep * s))

    closed = best_concession(both[0], of.offers, value, keep, bound)
    assert brings(closed) == pytest.approx(brings(search(brings, bound)), rel=1e-6)


def test_trees_are_asked_about_concessions_that_were_made_within_the_bound(both: tuple[ShareLogit, Trees]) -> None:
    of, trees = made(200), both[1]
    assert trees.levels[0] == 0
    assert np.isin(trees.levels[1:], made(4_000).share.round(3)).all()
    value, bound = 0.6 * of.list_price, 0.25 * of.list_price
    best = best_concession(trees, of.offers, value, 0.75, bound)
    tried = np.unique(np.minimum(trees.levels, 0.25)) * of.list_price[:, None]
    brings = [trees.accepts(of.offers, s) * (value - 0.75 * s) for s in tried.T]
    assert best == pytest.approx(tried[np.arange(200), np.argmax(brings, axis=0)])
    assert len(np.unique((best / of.list_price).round(6))) > 2


def test_trees_answer_only_where_they_are_better_by_more_than_chance() -> None:
    of = made(6_000)
    assert isinstance(choose_price_response(of, CATALOG, True, {}).response, ShareLogit)
    sharp = expit(np.where(of.share > 0.15, 3.0, -3.0))  # a step, which no logit can follow
    of.accepted[:] = np.random.default_rng(1).random(len(sharp)) < sharp
    found = choose_price_response(of, CATALOG, True, {})
    assert isinstance(found.response, Trees)
    assert found.losses["trees"] < found.losses["logit"] < found.losses["one share"]


def test_too_few_offers_and_one_price_for_all_are_told() -> None:
    with pytest.raises(ResponseError, match=f"takes {LEAST} accepted and {LEAST} not.*policy's assumption"):
        choose_price_response(made(60), CATALOG, True, {})
    same = made(4_000)
    same.share[:] = 0.1
    with pytest.raises(ResponseError, match="at 1 prices"):
        choose_price_response(same, CATALOG, True, {})


def test_an_input_is_missed_in_words(both: tuple[ShareLogit, Trees]) -> None:
    with pytest.raises(ValueError, match="needs the inputs of every offer"):
        both[0].accepts(Offers(np.array([10.0])), np.zeros(1))


def tables(until: dt.date = LAST, answered: bool = True, slow: int = 2) -> dict[str, pd.DataFrame]:
    """The made bank with offers of all months, one a client and month, at prices drawn by chance.

    They are answered on the 10th, every `slow`-th on the 20th. Of those answered after `until`, all accept, or have no
    answer.
    """
    made_tables = frames()
    rng = np.random.default_rng(3)
    prices = {"till": 300.0, "exchange": 120.0, "card": 40.0, "insurance": 200.0, "mortgage": 2_900.0}
    rows: list[tuple[object, ...]] = []
    for month in pd.date_range(end=LAST, periods=MONTHS, freq="MS"):
        for at, (client, kind) in enumerate(
            zip(*made_tables["clients"][["client_id", "kind"]].to_numpy().T, strict=True)
        ):
            bundle = rng.choice(["card", "insurance", "mortgage"] if kind == "retail" else ["till", "exchange"])
            share = rng.choice([0.0, 0.3])
            outcome = "accepted" if rng.random() < expit(-1.0 + 6.0 * share) else "rejected"
            on = month + pd.Timedelta(19 if at % slow == 0 else 9, "D")
            rows.append((f"o{len(rows)}", client, bundle, month, "call", 0.5, share * prices[bundle], outcome, on))
    columns = ["offer_id", "client_id", "bundle_id", "offered_at", "channel", "price_propensity", "concession",
               "outcome", "responded_at"]  # fmt: skip
    offers = pd.DataFrame(rows, columns=columns)
    late = offers["responded_at"] > pd.Timestamp(until)
    offers.loc[late, "outcome"] = "accepted"
    if not answered:
        offers.loc[late, ["outcome", "responded_at"]] = None
    return {**made_tables, "offers": offers}


def bank(until: dt.date = LAST, answered: bool = True, slow: int = 2) -> Bank:
    return Bank.of(**tables(until, answered, slow))


@pytest.fixture(scope="module")
def found() -> LearnedPriceResponse:
    return fit_price_response(bank(), CATALOG, LAST, QUICK)


def test_it_is_learned_from_a_bank_and_answers_better_than_the_assumption(found: LearnedPriceResponse) -> None:
    assert found.answers
    assert found.losses["logit"] < found.losses["one share"]
    assert found.slope_between[0] < 6.0 < found.slope_between[1] * 1.3
    first = pd.Timestamp(LAST) - pd.offsets.MonthEnd(MONTHS // 2 + 1)
    assert found.offers.as_of.min() >= first.date()  # the earlier months teach what is opened anyway


def test_answers_after_the_day_change_nothing() -> None:
    day = dt.date(2025, 12, 15)  # a few of December's offers are answered on the 20th
    told, untold = (
        fit_price_response(bank(day, answered, slow=150), CATALOG, day, QUICK) for answered in (True, False)
    )
    assert told.logit.to_json() == untold.logit.to_json()
    assert told.losses == untold.losses


def test_offers_too_young_to_be_answered_by_all_are_left_out() -> None:
    """Half are answered after 9 days, half after 19: on the 15th of December those of December are 14 days old, and
    only the quick answers are there, so that three months are left."""
    with pytest.raises(ResponseError, match="answered offers of 3 months up to 2025-12-15"):
        fit_price_response(bank(), CATALOG, dt.date(2025, 12, 15), QUICK)
    assert fit_price_response(bank(), CATALOG, dt.date(2025, 12, 25), QUICK).offers.as_of.max() == dt.date(2025, 11, 30)


def learned_from(offers: pd.DataFrame, found: LearnedPriceResponse) -> pd.DataFrame:
    """The offers of the last month that were learned from."""
    clients = found.offers.client_id[found.offers.as_of == max(found.offers.as_of)]
    return offers[(offers["offered_at"] == offers["offered_at"].max()) & offers["client_id"].isin(clients)]


def altered(change: Any) -> tuple[OfferHistory, list[str]]:
    """The offers learned from once the table was changed, and the warnings about that table."""
    changed = tables()
    change(changed["offers"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        of = read_offer_history(Bank.of(**changed), CATALOG, LAST, QUICK, lambda step: None)
    return of, [str(one.message) for one in told if "table offers" in str(one.message)]


def test_an_offer_that_nobody_answered_in_time_was_not_accepted(found: LearnedPriceResponse) -> None:
    """Who only writes down what is accepted, or gives no day to the others, would else see everybody accept."""

    def only_accepted(offers: pd.DataFrame) -> None:
        offers.loc[offers["outcome"] == "rejected", ["outcome", "responded_at"]] = None

    def undated(offers: pd.DataFrame) -> None:
        offers.loc[offers["outcome"] == "rejected", "responded_at"] = None

    for change in (only_accepted, undated):
        of, told = altered(change)
        assert of.accepted.mean() == found.offers.accepted.mean()
        assert len(of.share) == len(found.offers.share)
        [warning] = told
        rejected = int((tables()["offers"]["outcome"] == "rejected").sum())
        assert warning.startswith(f"table offers: {rejected:,} of 2,000 offers have no dated answer by 2025-12-31")
        assert "older than the 19 days within which 99% of answers come: they count as not accepted" in warning


def test_an_offer_accepted_on_no_known_day_is_left_out(found: LearnedPriceResponse) -> None:
    def some(offers: pd.DataFrame) -> None:
        rows = learned_from(offers, found)
        offers.loc[rows.index[rows["outcome"] == "accepted"][:30], "responded_at"] = None

    of, told = altered(some)
    assert len(of.share) == len(found.offers.share) - 30
    assert of.accepted.sum() == found.offers.accepted.sum() - 30
    [warning] = told
    assert "30 offers were accepted without responded_at" in warning


def test_offers_that_cannot_have_been_are_left_out_and_told(found: LearnedPriceResponse) -> None:
    def some(offers: pd.DataFrame) -> None:
        sold = learned_from(offers, found).index
        offers.loc[sold[:3], "concession"] = [-1.0, np.inf, 1e9]
        offers.loc[sold[3:6], "price_propensity"] = [1.5, -0.2, 0.0]
        offers.loc[sold[6], "price_propensity"] = np.nan  # not known: that may be

    of, told = altered(some)
    assert len(of.share) == len(found.offers.share) - 6
    assert (of.share.min(), of.share.max()) == (0.0, pytest.approx(0.3))
    [cannot, above] = told
    assert "2 concessions are below 0 or not finite, and 3 price propensities are not above 0 and at most 1" in cannot
    assert "1 concessions are above the list price" in above


@pytest.mark.parametrize("chance", [1.0, 0.999, 0.715])
def test_chances_of_lists_are_not_taken_for_chances_of_prices(chance: float) -> None:
    """A list shown with this chance by the service, whose prices a manager set by who wants the bundle."""
    of = replace(made(20_000, judged=1.0), price_propensity=np.full(20_000, chance))
    with pytest.warns(UserWarning, match="price_propensity of 20,000 offers is too near 1 for prices that were drawn"):
        found = choose_price_response(of, CATALOG, True, {})
    assert not found.by_chance
    assert "whose prices nobody drew by chance" in found.response.told


@pytest.mark.parametrize("prices", [2, 3, 7])
def test_prices_drawn_evenly_are_taken_as_drawn(prices: int) -> None:
    chance = round(1 / prices, 2)
    assert could_be_drawn(np.full(500, chance))


@given(st.floats(0.02, 0.5), st.integers(0, 100))
def test_a_rare_second_price_is_a_drawn_price(rare: float, seed: int) -> None:
    second = np.random.default_rng(seed).random(5_000) < rare
    assert could_be_drawn(np.where(second, rare, 1 - rare))


def test_a_certain_price_counts_as_computed(found: LearnedPriceResponse) -> None:
    def some(offers: pd.DataFrame) -> None:
        offers.loc[learned_from(offers, found).index[:5], "price_propensity"] = 1.0

    of, told = altered(some)
    assert len(of.share) == len(found.offers.share)
    assert np.isnan(of.price_propensity).sum() == 5
    assert "5 offers have a price_propensity of 1" in told[0]


@pytest.mark.parametrize("column", ["propensity", "Propensity"])
def test_a_propensity_that_may_be_the_lists_is_not_used(column: str) -> None:
    def renamed(offers: pd.DataFrame) -> None:
        offers[column] = offers.pop("price_propensity")

    of, told = altered(renamed)
    assert np.isnan(of.price_propensity).all()
    assert f"column '{column}' is not read, as it may be the chance of the list or that of the price" in told[0]


def test_what_tells_no_better_than_one_share_does_not_answer(found: LearnedPriceResponse) -> None:
    equal = {**found.losses, "one share": found.losses["logit"] - 0.001}
    assert found.answers
    assert not replace(found, losses=equal).answers


def test_the_present_champion_is_compared_on_offers_that_it_did_not_see(found: LearnedPriceResponse) -> None:
    offers = found.offers
    first, last = min(offers.as_of), max(offers.as_of)
    for told, answers in ((found.response, False), (replace(found.logit, intercept=found.logit.intercept + 3), True)):
        again = choose_price_response(offers, CATALOG, True, {}, PriceResponse(told, {"as_of": str(first)}))
        assert (again.losses["present champion"] > again.losses["logit"]) == answers == again.answers
    seen_all = PriceResponse(found.response, {"as_of": str(last + dt.timedelta(days=40))})
    assert "present champion" not in choose_price_response(offers, CATALOG, True, {}, seen_all).losses


def test_a_champion_of_another_horizon_is_told(model: Model, found: LearnedPriceResponse) -> None:
    theirs = replace(model, about={"horizon_days": 90, "catalog": CATALOG.name})
    artifact = PriceResponse(found.response, found.about)
    assert artifact.differs(theirs) == "a horizon of 31 days, the champion with a horizon of 90 days"
    assert artifact.differs(replace(theirs, about={"horizon_days": 31, "catalog": CATALOG.name})) == ""


def test_a_bank_without_offers_or_outcomes_is_told_so() -> None:
    with pytest.raises(ResponseError, match="table offers is missing"):
        fit_price_response(Bank.of(**frames()), CATALOG, LAST, QUICK)
    without = frames()
    nothing = pd.DataFrame({
        "offer_id": ["o1"], "client_id": ["c0001"], "bundle_id": ["card"], "offered_at": [pd.Timestamp(2025, 6, 1)],
        "concession": [np.nan], "outcome": ["accepted"], "responded_at": [pd.Timestamp(2025, 6, 2)],
    })  # fmt: skip
    with pytest.raises(ResponseError, match="both a concession and an outcome"):
        fit_price_response(Bank.of(**without, offers=nothing), CATALOG, LAST, QUICK)
    nothing["concession"] = 3.0
    with pytest.raises(ResponseError, match="of 1 months"):
        fit_price_response(Bank.of(**without, offers=nothing), CATALOG, LAST, QUICK)


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_saved_answers_alike_and_what_was_altered_is_refused(
    both: tuple[ShareLogit, Trees], which: int, tmp_path: Path
) -> None:
    fingerprint = PriceResponse(both[which], {"as_of": "2025-12-31"}).save(tmp_path)
    again = PriceResponse.load(tmp_path, fingerprint)
    of = made(50)
    s = 0.1 * of.list_price
    assert again.response.accepts(of.offers, s).tolist() == both[which].accepts(of.offers, s).tolist()
    best = [
        best_concession(one, of.offers, of.list_price, 0.75, of.list_price) for one in (again.response, both[which])
    ]
    assert best[0].tolist() == best[1].tolist()
    assert again.about == {"as_of": "2025-12-31"}
    file = tmp_path / "response.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "told": "better"}))
    with pytest.raises(ArtifactError, match="altered"):
        PriceResponse.load(tmp_path, fingerprint)
    with pytest.raises(ArtifactError, match="altered since it was saved"):
        PriceResponse.load(tmp_path)  # as the service does, which has no registry
    text = json.dumps({**content, "columns": ["age"]}).replace('"sha256"', '"sha356"')  # one bit of it flipped
    file.write_text(text)
    with pytest.raises(ArtifactError, match="does not say what it was"):
        PriceResponse.load(tmp_path)
    with pytest.raises(ArtifactError, match="another version"):  # the registry knows what it was
        PriceResponse.load(tmp_path, hashlib.sha256(text.encode()).hexdigest())
    file.write_text("{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        PriceResponse.load(tmp_path)


def test_it_is_registered_and_found_again(
    found: LearnedPriceResponse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert registry.price_response() is None
    assert not (tmp_path / "mlruns").exists()  # looking makes nothing
    assert register_price_response(found) == ("1", "champion")
    kept = registry.price_response()
    assert kept is not None
    assert isinstance(kept.model.response, ShareLogit)
    assert kept.model.response.slopes.tolist() == found.logit.slopes.tolist()
    assert registry.champion() is None  # the ranking model's place is another


def test_values_and_quotes_go_by_what_was_learned(
    model: Model, sample: TrainingSample, found: LearnedPriceResponse
) -> None:
    learned = PriceResponse(found.response, {})
    candidates = model.candidates(CATALOG)
    profiles = model.align(sample.days[-1].profiles)
    ranking = model.rank(candidates, profiles.values, candidates.peer_groups(profiles.values))
    held = candidates.held(profiles.values)
    worth = Valuer(candidates, learned=learned).rank(profiles.values, held, ranking)
    assumed = Valuer(candidates).rank(profiles.values, held, ranking)
    assert not np.allclose(np.sort(worth[1].acceptance), np.sort(assumed[1].acceptance))
    answer = Recommender(model, Snapshot(LAST, sample.days[-1].profiles), CATALOG, learned)
    client = str(sample.days[-1].profiles.client_ids[worth[0].client[0]])
    offered = answer.recommend(client, 1, objective=Aim.VALUE).offers[0]
    assert offered.worth is not None
    assert offered.worth.value == pytest.approx(worth[1].value[0])
    bundle = candidates.offers[worth[0].item[0]].bundle_id
    as_of = sample.days[-1].as_of
    [values] = [profiles.values[profiles.client_ids == client]]
    pair = pair_of(model, candidates, values, bundle)
    assert pair is not None
    given = pair.inputs
    assert given.shape == (1, len(OF_PAIR))
    assert pair.probability == pytest.approx(offered.probability)
    assert pair_of(model, candidates, values, "no such bundle") is None
    told = price_bundle(
        CATALOG, client_on(bank(), CATALOG, as_of, client), bundle, as_of, None, None, learned.response, given
    )
    assert not told.assumption
    assert any("learned (" in note for note in told.notes)
    assert told.acceptance >= told.acceptance_at_list


def test_kinds_are_those_of_the_catalog() -> None:
    assert tuple(map(str, Kind)) == KINDS
