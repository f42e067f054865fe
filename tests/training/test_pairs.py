from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sheaf.catalog import Catalog, Line, Product, Range
from sheaf.features import Bank, ProfileMatrix, feature_dictionary, profile_matrices
from sheaf.training import Candidates, Encoding, Model, Pairs, Population, TrainingSample
from sheaf.training.candidates.co_openings import CoOpenings
from tests.made import CATALOG, DAYS, LAST_DAY, OFFERS, frames

DAY = dt.date(2025, 6, 30)
Held = dict[str, list[str]]


def profiled(bank: Bank, catalog: Catalog, as_of: dt.date) -> tuple[ProfileMatrix, Candidates]:
    """The profiles in order of the client, and the candidates over their own population."""
    features = feature_dictionary(bank, catalog)
    profiles = next(profile_matrices(bank, catalog, as_of))
    encoding = Encoding.of(features, profiles.categories, catalog)
    profiles = profiles.align(encoding.columns, encoding.categories)
    independent = CoOpenings.independent(len(encoding.products))
    return profiles, Candidates(encoding, catalog, Population.of(profiles, encoding.products), independent)


def hand_made(
    clients: list[dict[str, Any]], held: Held | None = None, catalog: Catalog = CATALOG, opened_on: str = "2020-01-01"
) -> tuple[ProfileMatrix, Candidates]:
    """Clients with numbered ids, and what they hold, by their id."""
    people = pd.DataFrame([{"client_id": str(number), "joined_on": "2019-01-01", **row} for number, row in
                           enumerate(clients)])  # fmt: skip
    rows = [(client, product, opened_on) for client, products in (held or {}).items() for product in products]
    holdings = pd.DataFrame(rows, columns=["client_id", "product_id", "opened_on"]).astype("str")
    return profiled(Bank.of(clients=people, holdings=holdings), catalog, DAY)


def offered(profiles: ProfileMatrix, candidates: Candidates) -> list[set[str]]:
    """Of every client the ids of the candidate offers."""
    pairs = candidates.slate(profiles.values).pairs
    ids = [offer.bundle_id for offer in candidates.offers]
    return [{ids[item] for item in pairs.item[pairs.client == client]} for client in range(len(profiles.values))]


def test_what_a_client_holds_in_full_is_no_candidate() -> None:
    someone = {"kind": "retail", "age": 40.0, "region": "north"}
    whole = {"home", "account", "card", "mortgage", "insurance"}
    held = {"1": ["card"], "2": ["mortgage"], "3": ["mortgage", "insurance"], "4": sorted(whole - {"home"})}
    assert offered(*hand_made([someone] * 5, held)) == [
        whole,
        whole - {"card"},
        whole - {"mortgage"},  # the package still brings the insurance
        whole - {"home", "mortgage", "insurance"},
        set(),
    ]


def test_a_product_not_sold_alone_comes_with_its_bundle_only() -> None:
    firm = {"kind": "corporate", "region": "south"}
    profiles, candidates = hand_made([firm, firm, firm], {"1": ["firm_account"], "2": ["firm_account", "overdraft"]})
    alone = {"till", "exchange"}
    assert offered(profiles, candidates) == [alone | {"start", "firm_account"}, alone | {"start"}, alone]
    reached = candidates.slate(profiles.values).reached
    assert reached[:, candidates.positions["overdraft"]].tolist() == [True, True, False]


def test_the_kind_of_client_decides_what_may_be_offered() -> None:
    firms = {"trader", "start", "till", "firm_account", "exchange"}
    kinds = [{"kind": kind, "age": 40.0, "region": "north"} for kind in ("retail", "corporate", "institution")]
    assert offered(*hand_made(kinds)) == [set(OFFERS) - firms, firms, firms]


@pytest.mark.parametrize(("age", "allowed"), [(17.0, False), (18.0, True), (70.0, True), (71.0, False), (None, True)])
def test_a_range_includes_its_ends_and_excludes_nobody_whose_value_is_unknown(age: float | None, allowed: bool) -> None:
    [mine, _] = offered(*hand_made([{"kind": "retail", "age": age}, {"kind": "retail", "age": 30.0}]))
    assert ("mortgage" in mine, "home" in mine, "card" in mine) == (allowed, allowed, True)


def test_a_range_ends_exactly_where_it_is_said_to_end() -> None:
    """Profiles are kept in 32 bits, in which 0.7 is a little less than 0.7."""
    terms = Product(product_id="terms", name="Better terms", line=Line.RETAIL, family="t",
                    where={"score": Range(min=0.7, max=0.9)})  # fmt: skip
    clients = [{"kind": "retail", "score": score} for score in (0.7, 0.9, 0.6999, 0.9001)]
    sold = Catalog(name="one", products=(terms,))
    assert offered(*hand_made(clients, catalog=sold)) == [{"terms"}, {"terms"}, set(), set()]


@pytest.mark.parametrize(("region", "allowed"), [("north", True), ("south", True), ("west", False), (None, True)])
def test_texts_are_those_listed_or_unknown(region: str | None, allowed: bool) -> None:
    [mine, _] = offered(*hand_made([{"kind": "retail", "region": region}, {"kind": "retail", "region": "north"}]))
    assert ("insurance" in mine, "home" in mine, "card" in mine) == (allowed, allowed, True)


def test_a_condition_on_what_no_profile_tells_excludes_nobody() -> None:
    shoes = Product(product_id="shoes", name="Shoes", line=Line.RETAIL, family="s",
                    where={"shoe_size": Range(min=40), "colour": ("red",)})  # fmt: skip
    assert offered(*hand_made([{"kind": "retail"}], catalog=Catalog(name="one", products=(shoes,)))) == [{"shoes"}]


def test_population_shares_by_hand() -> None:
    retail = [{"kind": "retail"}] * 4
    # Contributions of nobody, so all are of one tier: the peers are the retail clients and the two firms.
    held: Held = {"0": ["account", "card"], "1": ["account"], "2": ["account", "card"], "4": ["firm_account"]}
    bare = Catalog(products=[p.model_copy(update={"margin": 0.0, "annual_fee": 0.0}) for p in CATALOG.products])
    _, candidates = hand_made([*retail, *[{"kind": "corporate"}] * 2], held, bare, opened_on="2025-05-15")
    population, at = candidates.population, candidates.positions
    account, card, firm_account = at["account"], at["card"], at["firm_account"]
    assert population.holds[-1, [account, card, firm_account]] == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert population.opened[-1] == pytest.approx(population.holds[-1])  # all of it opened six weeks ago
    groups = {key[0]: index for key, index in population.groups.items()}
    assert len(groups) == 2
    assert population.holds[groups["retail"], account] == pytest.approx((3 + 50 * 3 / 6) / (4 + 50))
    assert population.holds[groups["corporate"], account] == pytest.approx((0 + 50 * 3 / 6) / (2 + 50))
    # Two hold account and card; by chance it would be 3 · 2 / 6 = 1.
    assert population.affinity[account, card] == pytest.approx(np.log((2 + 50) / (1 + 50)), rel=1e-5)
    assert population.affinity[card, account] == population.affinity[account, card]
    assert population.affinity[card, firm_account] == pytest.approx(np.log((0 + 50) / (2 * 1 / 6 + 50)), rel=1e-5)
    assert not np.diag(population.affinity).any()


def test_an_opening_of_half_a_year_ago_is_not_recent() -> None:
    _, candidates = hand_made([{"kind": "retail"}] * 2, {"0": ["card"]}, opened_on="2024-12-15")
    assert candidates.population.holds[-1, candidates.positions["card"]] == pytest.approx(1 / 2)
    assert not candidates.population.opened.any()


def test_a_product_row_says_what_is_known_of_this_product() -> None:
    someone = {"kind": "retail", "age": 40.0}
    profiles, candidates = hand_made([someone, someone], {"0": ["account"], "1": ["card"]})
    at, columns = candidates.positions, candidates.encoding.product_columns
    pairs = Pairs(np.array([0, 1]), np.array([at["card"], at["account"]]))
    rows = candidates.product_rows(profiles.values, pairs, candidates.peer_groups(profiles.values))
    found = [dict(zip(columns, row, strict=True)) for row in rows.tolist()]
    assert [row["age"] for row in found] == [40.0, 40.0]
    assert [row["held__this"] for row in found] == [0.0, 0.0]
    assert [row["held__account"] for row in found] == [1.0, 0.0]
    assert [row["bank_holds"] for row in found] == [0.5, 0.5]
    assert [row["product_balance"] for row in found] == [0.0, 2_000.0]
    assert [row["product_digital"] for row in found] == [pytest.approx(np.nan, nan_ok=True), 1.0]
    tie = candidates.population.affinity[at["account"], at["card"]]
    assert [row["affinity"] for row in found] == pytest.approx([tie, tie])


def test_each_client_stands_for_itself_whoever_else_is_in_the_batch(model: Model, sample: TrainingSample) -> None:
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values
    peers = candidates.peer_groups(values)
    together = model.rank(candidates, values, peers)
    for client in (0, 1, 250, len(values) - 1):
        alone = model.rank(candidates, values[client : client + 1], peers[client : client + 1])
        mine = together.client == client
        assert alone.item.tolist() == together.item[mine].tolist()
        assert alone.score.tolist() == together.score[mine].tolist()


def test_a_product_new_since_training_is_ranked_too(model: Model, sample: TrainingSample) -> None:
    new = Product(product_id="pension", name="Pension plan", line=Line.INTERMEDIARY, family="savings",
                  attributes={"digital": 1.0, "unheard_of": 2.0})  # fmt: skip
    wider = Catalog(products=(new, *CATALOG.products), bundles=CATALOG.bundles)
    candidates = model.candidates(wider)
    at = candidates.positions["pension"]
    assert np.isnan(candidates.population.holds[:, at]).all()
    assert not candidates.population.affinity[at].any()
    assert not candidates.population.affinity[:, at].any()
    values = model.align(sample.days[-1].profiles).values
    peers = candidates.peer_groups(values)
    ranking = model.rank(candidates, values, peers)
    offer = [offer.bundle_id for offer in candidates.offers].index("pension")
    chosen = ranking.item == offer
    assert np.unique(ranking.client[chosen]).tolist() == list(range(len(values)))
    assert np.isfinite(ranking.score).all()
    assert ((ranking.probability > 0) & (ranking.probability < 1)).all()
    # And nothing changes for what was there before.
    before = model.rank(model.candidates(), values, peers)
    assert ranking.score[~chosen].tolist() == before.score.tolist()


def test_a_product_no_longer_sold_is_no_candidate(model: Model, sample: TrainingSample) -> None:
    kept = tuple(product for product in CATALOG.products if product.product_id not in ("card", "mortgage"))
    smaller = model.candidates(Catalog(products=kept, bundles=CATALOG.bundles[1:]))
    values = model.align(sample.days[-1].profiles).values
    now, before = smaller.slate(values).pairs, model.candidates().slate(values).pairs
    ids = np.array([offer.bundle_id for offer in smaller.offers])
    still = ~np.isin(np.array(OFFERS)[before.item], ["home", "card", "mortgage"])
    assert ids[now.item].tolist() == np.array(OFFERS)[before.item][still].tolist()
    assert now.client.tolist() == before.client[still].tolist()
    ranking = model.rank(smaller, values, smaller.peer_groups(values))
    assert len(ranking.client) == len(now.client)
    assert np.isfinite(ranking.score).all()


def test_nothing_dated_after_the_day_moves_a_candidate_row() -> None:
    day = pd.Timestamp(DAYS[0])
    told = frames(200)
    people, holdings = told["clients"], told["holdings"]
    later = holdings["opened_on"] > day
    assert later.sum() > 20
    only_then = {"clients": people, "holdings": holdings[~later].assign(closed_on=holdings["closed_on"].where(
        holdings["closed_on"] <= day))}  # fmt: skip
    in_another_life = {
        "clients": people.assign(left_on=day + pd.Timedelta(1, "D")),
        "holdings": pd.concat(
            [
                holdings.assign(closed_on=holdings["closed_on"].where(holdings["closed_on"] <= day, LAST_DAY)),
                pd.DataFrame(
                    {"client_id": people["client_id"], "product_id": "card", "opened_on": day + pd.offsets.Day()}
                ),
            ]
        ).drop_duplicates(["client_id", "product_id", "opened_on"]),
    }
    made = [profiled(Bank.of(**tables), CATALOG, DAYS[0]) for tables in (told, only_then, in_another_life)]
    (first, candidates), *others = made
    slate = candidates.slate(first.values)
    rows = candidates.product_rows(first.values, slate.products, candidates.peer_groups(first.values))
    for profiles, theirs in others:
        assert profiles.client_ids.tolist() == first.client_ids.tolist()
        assert theirs.encoding == candidates.encoding
        assert theirs.population.to_json() == candidates.population.to_json()
        other = theirs.slate(profiles.values)
        np.testing.assert_array_equal(np.stack([*vars(other.pairs).values()]), np.stack([*vars(slate.pairs).values()]))
        np.testing.assert_array_equal(
            theirs.product_rows(profiles.values, other.products, theirs.peer_groups(profiles.values)), rows
        )


def test_days_of_a_sample_are_in_order_and_their_clients_sorted(sample: TrainingSample) -> None:
    assert [day.as_of for day in sample.days] == DAYS
    for day in sample.days:
        assert day.profiles.client_ids.tolist() == sorted(day.profiles.client_ids)
