"""Planted ties are found, popularity is not taken for one, and what is proposed is what was counted."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sheaf.catalog import Bundle, Catalog, CatalogError, Kind, Line, Product, Range, read_catalog
from sheaf.features import Bank
from sheaf.training import SampleError
from sheaf.training.discovery import (
    Discovery,
    DiscoveryError,
    DiscoverySettings,
    discover,
    outside,
    tables,
    write_proposal,
)
from sheaf.training.discovery.across import read_ties
from sheaf.training.discovery.baskets import Baskets, held_baskets, opened_baskets, splits
from sheaf.training.discovery.book import HoldingsHistory, coded, segments
from sheaf.training.discovery.proposal import stake, unnested
from tests.features import banks
from tests.made import write_catalog

pytestmark = pytest.mark.filterwarnings("ignore:as-of .*the last opening known:UserWarning")  # most banks here are old

DAY = dt.date(2025, 6, 30)
LONG_AGO = pd.Timestamp(2020, 1, 1)
RETAIL, FIRMS = (Kind.RETAIL,), (Kind.CORPORATE, Kind.INSTITUTION)


def product(key: str, kinds: tuple[Kind, ...] = RETAIL, **more: object) -> Product:
    fields = {"line": Line.RETAIL, "family": "f", "annual_fee": 10.0, "name": key.capitalize()}
    return Product.model_validate({"product_id": key, "kinds": kinds, **fields, **more})


KEYS = ["anchor", "book", "card", "deposit", "exchange", "fund"]
CATALOG = Catalog(products=tuple(product(key) for key in KEYS))
PLACE = {key: position for position, key in enumerate(KEYS)}


def bank_of(
    held: np.ndarray, opened: pd.Timestamp | np.ndarray = LONG_AGO, kind: str = "retail", **more: object
) -> Bank:
    """A bank whose clients hold what `held` (clients, products) says; `more` are further columns of clients."""
    ids = np.array([f"c{number:05d}" for number in range(len(held))])
    client, position = np.nonzero(held)
    days = (
        np.full(held.shape, opened)[client, position] if isinstance(opened, pd.Timestamp) else opened[client, position]
    )
    clients = pd.DataFrame({"client_id": ids, "kind": kind, "joined_on": LONG_AGO, **more})
    rows = {"client_id": ids[client], "product_id": np.array(KEYS)[position], "opened_on": pd.to_datetime(days)}
    return Bank.of(clients=clients, holdings=pd.DataFrame(rows))


def independent(rng: np.random.Generator, clients: int, popularity: list[float]) -> np.ndarray:
    return rng.random((clients, len(KEYS))) < popularity


def products_of(found: Discovery) -> list[set[str]]:
    return [set(proposal.bundle.products) for proposal in found.bundles]


@settings(max_examples=8)
@given(
    st.integers(0, 10_000),
    st.lists(st.floats(0.1, 0.7), min_size=6, max_size=6),
    st.lists(st.floats(0.02, 0.25), min_size=6, max_size=6),
)
def test_a_planted_pair_is_found_and_popularity_is_not(seed: int, popularity: list[float], elsewhere: list[float]):
    """One region likes what the other hardly takes; besides, half of those with an anchor have taken a book with it."""
    rng = np.random.default_rng(seed)
    region = rng.random(3_000) < 0.5
    share = np.where(region[:, None], popularity, np.array(popularity) * elsewhere)
    share[:, PLACE["anchor"]] = share[:, PLACE["book"]] = 0.15
    held = rng.random(share.shape) < share
    regions = np.where(region, "north", "south")
    assert products_of(discover(bank_of(held, region=regions), CATALOG, DAY)) == []
    held[:, PLACE["book"]] |= held[:, PLACE["anchor"]] & (rng.random(3_000) < 0.5)
    assert products_of(discover(bank_of(held, region=regions), CATALOG, DAY)) == [{"anchor", "book"}]


def test_support_lift_and_stake_of_a_pair_by_hand():
    held = np.zeros((100, 6), bool)
    held[:40, 0] = held[10:50, 1] = True  # 40 and 40 of 100, 30 of them both
    catalog = Catalog(
        products=(
            product("anchor", annual_fee=100.0),
            product("book", margin=0.02, balance=1_000.0),
            *CATALOG.products[2:],
        )
    )
    found = discover(bank_of(held), catalog, DAY)
    [proposal] = found.bundles
    assert proposal.bundle == Bundle(bundle_id="anchor_with_book", name="Anchor + Book", products=("anchor", "book"),
                                     line=Line.RETAIL, kinds=RETAIL)  # fmt: skip
    [evidence] = proposal.evidence
    assert (evidence.way, evidence.clients, evidence.support) == ("held", 30, 0.3)
    assert evidence.lift == pytest.approx(30 / (40 * 40 / 100))
    # 10 hold only the anchor, 10 only the book (30 of 40 of those who hold one hold both), 50 neither (30 of 100 both).
    assert proposal.stake.reach == 70
    assert proposal.stake.takers == pytest.approx(10 * 3 / 4 + 10 * 3 / 4 + 50 * 3 / 10)
    assert proposal.stake.value == pytest.approx(7.5 * 30 + 7.5 * 100 + 15 * 130)
    assert (found.as_of, found.clients, found.trials) == (DAY, 100, 1)


def test_stake_of_three_parts_by_hand():
    held = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], bool)  # all; the first two; the first; nothing
    found = stake(held, np.array([1.0, 10.0, 100.0]))
    assert found.reach == 3
    assert found.takers == pytest.approx(1 / 2 + 1 / 3 + 1 / 4)
    assert found.value == pytest.approx(100 / 2 + 110 / 3 + 111 / 4)


def test_nobody_who_has_it_all_is_nothing_at_stake():
    assert stake(np.zeros((2, 5), bool), np.ones(2)).value == 0.0
    assert stake(np.zeros((2, 0), bool), np.ones(2)).reach == 0


def tied(rng: np.random.Generator, clients: int, groups: list[list[str]], share: float = 0.15) -> np.ndarray:
    """Independent products, but that a tenth of the clients has all of a group."""
    held = independent(rng, clients, [share] * 6)
    for group in groups:
        drawn = rng.random(clients) < 0.1
        for key in group:
            held[drawn, PLACE[key]] = True
    return held


def test_three_that_belong_together_are_one_proposal_and_two_pairs_that_do_are_two():
    rng = np.random.default_rng(1)
    whole = discover(bank_of(tied(rng, 4_000, [["anchor", "book", "card"]])), CATALOG, DAY)
    assert products_of(whole) == [{"anchor", "book", "card"}]
    apart = discover(bank_of(tied(rng, 4_000, [["anchor", "book"], ["card", "deposit"]])), CATALOG, DAY)
    assert sorted(map(sorted, products_of(apart))) == [["anchor", "book"], ["card", "deposit"]]


def test_a_popular_product_beside_a_tied_pair_makes_no_bundle_of_three():
    rng = np.random.default_rng(2)
    held = tied(rng, 4_000, [["anchor", "book"]])
    held[:, PLACE["card"]] = rng.random(4_000) < 0.6
    assert products_of(discover(bank_of(held), CATALOG, DAY)) == [{"anchor", "book"}]


def test_three_of_which_each_two_go_together_but_not_all_are_no_bundle():
    """With anchor and book as many have a card as without any; with one of the two alone, three times as many."""
    cells = {"": (8_000, 0.15), "a": (500, 0.6), "b": (500, 0.6), "ab": (1_000, 0.2)}
    held = np.zeros((10_000, 6), bool)
    start = 0
    for has, (clients, with_card) in cells.items():
        held[start : start + clients, :2] = ["a" in has, "b" in has]
        held[start : start + round(clients * with_card), PLACE["card"]] = True
        start += clients
    pairs = [("anchor", "book"), ("anchor", "card"), ("book", "card")]
    assert sorted(tuple(sorted(one)) for one in products_of(discover(bank_of(held), CATALOG, DAY))) == pairs
    bundles = tuple(
        Bundle(bundle_id=f"b{number}", name="B", products=pair, line=Line.RETAIL, kinds=RETAIL)
        for number, pair in enumerate(pairs)
    )
    assert products_of(discover(bank_of(held), CATALOG.model_copy(update={"bundles": bundles}), DAY)) == []


def test_opened_together_is_found_where_held_together_says_nothing():
    """Everybody takes both sooner or later; one in ten takes them within days of each other."""
    rng = np.random.default_rng(3)
    days = np.datetime64(DAY) - rng.integers(0, 720, (3_000, 6)).astype("timedelta64[D]")
    held = np.zeros((3_000, 6), bool)
    held[:, :4] = rng.random((3_000, 4)) < 0.9
    together = rng.random(3_000) < 0.1
    days[together, 1] = days[together, 0]
    [proposal] = discover(bank_of(held, days), CATALOG, DAY).bundles
    assert set(proposal.bundle.products) == {"anchor", "book"}
    ways = {one.way: one for one in proposal.evidence}
    assert ways["opened"].interval[0] > 1.2 > ways["held"].interval[1]


def test_a_day_on_which_all_was_loaded_is_no_tie():
    rng = np.random.default_rng(4)
    held = independent(rng, 3_000, [0.3] * 6)
    found = discover(bank_of(held, pd.Timestamp(DAY) - pd.Timedelta(30, "D")), CATALOG, DAY)
    assert products_of(found) == []
    assert found.trials > 0


def test_what_the_catalog_offers_is_not_proposed_again_nor_a_part_of_it():
    held = tied(np.random.default_rng(5), 4_000, [["anchor", "book"], ["card", "deposit"]])
    whole = Bundle(bundle_id="b", name="B", products=("anchor", "book", "fund"), line=Line.RETAIL, kinds=RETAIL)
    known = CATALOG.model_copy(update={"bundles": (whole,)})
    assert products_of(discover(bank_of(held), known, DAY)) == [{"card", "deposit"}]


def test_more_than_the_catalog_offers_is_proposed():
    held = tied(np.random.default_rng(11), 4_000, [["anchor", "book", "card"]])
    known = Bundle(bundle_id="b", name="B", products=("anchor", "book"), line=Line.RETAIL, kinds=RETAIL)
    found = discover(bank_of(held), CATALOG.model_copy(update={"bundles": (known,)}), DAY)
    assert products_of(found) == [{"anchor", "book", "card"}]


def test_a_kind_that_the_catalog_does_not_offer_it_to_is_proposed():
    everyone = tuple(Kind)
    products = tuple(product(key, everyone) for key in KEYS)
    only_firms = Bundle(bundle_id="b", name="B", products=("anchor", "book"), line=Line.RETAIL, kinds=FIRMS)
    held = tied(np.random.default_rng(6), 4_000, [["anchor", "book"]])
    kinds = np.where(np.arange(4_000) % 4 == 0, "corporate", "retail")
    bank = bank_of(held, kind=kinds)  # type: ignore[arg-type]
    [proposal] = discover(bank, Catalog(products=products, bundles=(only_firms,)), DAY).bundles
    assert proposal.bundle.kinds == RETAIL
    assert proposal.evidence[0].clients == (held[:, 0] & held[:, 1] & (kinds == "retail")).sum()
    [proposal] = discover(bank, Catalog(products=products), DAY).bundles
    assert proposal.bundle.kinds == (Kind.RETAIL, Kind.CORPORATE)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"alone": False}, {"alone": False}), ({"where": {"age": Range(max=30)}}, {"where": {"age": Range(min=40)}})],
)
def test_what_could_not_be_sold_is_not_proposed(one: dict[str, Any], other: dict[str, Any]):
    held = tied(np.random.default_rng(7), 2_000, [["anchor", "book"]])
    products = (product("anchor", **one), product("book", **other), *CATALOG.products[2:])
    bank = bank_of(held)  # nobody's age is known, so nobody is excluded
    assert products_of(discover(bank, Catalog(products=products), DAY)) == []
    assert products_of(discover(bank, CATALOG, DAY)) == [{"anchor", "book"}]


def test_only_those_who_may_have_all_of_it_count():
    held = np.zeros((200, 6), bool)
    held[:40, 0] = held[10:50, 1] = True
    held[100:] = held[:100]  # the same again, too young for books
    ages = np.repeat([40.0, 12.0], 100)
    products = (CATALOG.products[0], product("book", where={"age": Range(min=18)}), *CATALOG.products[2:])
    [proposal] = discover(bank_of(held, age=ages), Catalog(products=products), DAY).bundles
    assert (proposal.evidence[0].clients, proposal.evidence[0].support, proposal.stake.reach) == (30, 0.3, 70)


def test_protected_attributes_do_not_make_segments():
    catalog = CATALOG.model_copy(update={"policy": CATALOG.policy.model_copy(update={"protected": ("faith",)})})
    bank = bank_of(np.ones((5, 6), bool), faith=np.arange(5.0), income=np.arange(5.0))
    assert (
        HoldingsHistory.read(bank, catalog, DAY).attributes.shape[1]
        == HoldingsHistory.read(bank, CATALOG, DAY).attributes.shape[1] - 1
    )


def test_segments_tell_apart_what_attributes_tell_apart():
    attribute = np.repeat([1.0, 5.0, np.nan], 400)
    has = np.stack([attribute == 1.0, attribute == 5.0])
    assert len(set(zip(segments(attribute[:, None], has), np.repeat([0, 1, 2], 400), strict=True))) == 3
    assert set(segments(attribute[:399, None], has[:, :399])) == {0}  # too few to part


# Nothing after the day counts.


@settings(max_examples=10)
@given(st.data())
def test_what_comes_after_the_day_changes_nothing(data: st.DataObject):
    past = data.draw(banks.pasts())
    future = data.draw(banks.futures(past))
    known, told = (Bank.of(**banks.tables(rows)) for rows in (past, future))
    try:
        before = HoldingsHistory.read(known, banks.CATALOG, banks.DAY)
    except DiscoveryError as error:
        with pytest.raises(DiscoveryError, match=str(error)[:40]):
            HoldingsHistory.read(told, banks.CATALOG, banks.DAY)
        return
    after = HoldingsHistory.read(told, banks.CATALOG, banks.DAY)
    assert list(before.client_ids) == list(after.client_ids)
    for name in ("kind", "joined", "may", "attributes"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    segment = np.zeros(len(before.client_ids), int)
    for build in (lambda book: held_baskets(book, segment), lambda book: opened_baskets(book, segment, 61, 11)):
        one, other = build(before), build(after)
        np.testing.assert_array_equal(one.has, other.has)
        np.testing.assert_array_equal(one.may, other.may)
        np.testing.assert_array_equal(one.stratum, other.stratum)
    ties = [sorted(zip(tie.lead, tie.follow, tie.since, tie.until, strict=True)) for tie in read_ties(known, before)]
    assert ties == [
        sorted(zip(tie.lead, tie.follow, tie.since, tie.until, strict=True)) for tie in read_ties(told, after)
    ]


def test_windows_follow_each_other_up_to_the_day():
    held = np.zeros((3, 6), bool)
    held[:, :2] = True
    days = np.full((3, 6), np.datetime64("2025-06-30"))
    days[0, 1] = np.datetime64("2025-06-21")  # ten days back: the first day of the last window
    days[1, 1] = np.datetime64("2025-06-20")  # the day before that one
    days[2, 0] = np.datetime64("2020-01-01")  # held long before
    book = HoldingsHistory.read(bank_of(held, days), CATALOG, DAY)
    last, before = np.split(opened_baskets(book, np.zeros(3, int), 10, 2).has[:2], 2, axis=1)
    assert last.tolist() == [[True, True, False], [True, False, True]]
    assert before.tolist() == [[False, False, False], [False, True, False]]


@given(st.integers(0, 10_000))
def test_lifts_of_all_pairs_at_once_are_those_one_by_one(seed: int):
    rng = np.random.default_rng(seed)
    may = rng.random((5, 60)) < 0.8
    has = may & (rng.random((5, 60)) < 0.4)
    baskets = Baskets("held", has, may, rng.integers(0, 4, 60), np.arange(60), np.zeros(60, int))
    together, lifts = baskets.lifts(slice(2), slice(2, None))
    for one in range(2):
        for other in range(3):
            found = baskets.association((one,), (other + 2,))
            assert found.together == together[one, other]
            assert found.lift == pytest.approx(lifts[one, other], rel=1e-5)


def test_what_is_held_already_cannot_be_opened():
    held = np.zeros((1, 6), bool)
    held[0, 0] = True
    may = opened_baskets(HoldingsHistory.read(bank_of(held), CATALOG, DAY), np.zeros(1, int), 10, 1).may
    assert may[:, 0].tolist() == [False, True, True, True, True, True]


def test_every_way_to_part_a_set():
    assert list(splits((1, 2))) == [((1,), (2,))]
    assert sorted(splits((1, 2, 3))) == [((1,), (2, 3)), ((1, 2), (3,)), ((1, 3), (2,))]
    assert len(list(splits((1, 2, 3, 4)))) == 7
    assert coded(np.array([5, 5, 1]), np.array([0, 2, 0])).tolist() == [1, 2, 0]


def test_of_nested_proposals_the_first_stays():
    assert unnested(["abc", "ab", "cd", "abcd", "ef"], set) == ["abc", "cd", "ef"]


# Clients who are tied.


def firms_and_staff(rng: np.random.Generator, follow: float) -> Bank:
    """300 firms of five staff each; staff of firms with payroll take account and card at once with share `follow`.

    Firms with payroll have a till more often, which is nothing to their staff."""
    firms, staff = 300, 1_500
    employer = np.arange(staff) // 5
    payroll = rng.random(firms) < 0.4
    taken = (payroll[employer] & (rng.random(staff) < follow))[:, None] | (rng.random((staff, 3)) < 0.2)
    taken[:, 2] = rng.random(staff) < 0.3  # a fund, of which the firm says nothing
    names = [f"f{number:03d}" for number in range(firms)], [f"s{number:04d}" for number in range(staff)]
    clients = pd.DataFrame({"client_id": [*names[0], *names[1]], "kind": ["corporate"] * firms + ["retail"] * staff,
                            "joined_on": LONG_AGO})  # fmt: skip
    rows = [(names[0][firm], "payroll") for firm in np.flatnonzero(payroll)]
    rows += [(names[0][firm], "till") for firm in np.flatnonzero(rng.random(firms) < np.where(payroll, 0.8, 0.2))]
    rows += [(names[1][one], ["account", "card", "fund"][at]) for one, at in np.argwhere(taken)]
    holdings = pd.DataFrame(rows, columns=["client_id", "product_id"]).assign(opened_on=LONG_AGO)
    links = pd.DataFrame({"client_id": names[1], "linked_id": np.array(names[0])[employer], "relation": "employer"})
    return Bank.of(clients=clients, holdings=holdings, links=links)


LINKED = Catalog(
    products=(
        product("payroll", FIRMS), product("till", FIRMS), product("account"), product("card"), product("fund")
    ),
    bundles=(Bundle(bundle_id="b", name="B", products=("account", "card"), line=Line.RETAIL, kinds=RETAIL),),
)  # fmt: skip


def test_what_staff_take_where_the_firm_has_payroll():
    bank = firms_and_staff(np.random.default_rng(8), 0.6)
    found = discover(bank, LINKED, DAY)
    assert products_of(found) == [{"payroll", "till"}]
    [offer] = found.linked
    assert (offer.relation, offer.where_side, offer.where_product) == ("employer", "employer", "payroll")
    assert (offer.side, offer.products) == ("staff", ("account", "card"))
    holdings, links = (bank[table].collect().to_native() for table in ("holdings", "links"))
    has = {key: set(holdings.client_id[holdings.product_id == key]) for key in ("payroll", "account", "card")}
    among = set(links.client_id[links.linked_id.isin(has["payroll"])])
    assert offer.evidence[0].clients == len(among & has["account"] & has["card"])
    assert offer.evidence[0].support == len(among & has["account"] & has["card"]) / 1_500
    assert offer.stake.reach == len(among - (has["account"] & has["card"]))


def test_what_is_opened_first_leads():
    """Owners take custody within two months after their firm made a deposit, and hardly ever at another time."""
    rng = np.random.default_rng(10)
    pairs = 2_000
    deposit = np.datetime64(DAY) - rng.integers(1, 720, pairs).astype("timedelta64[D]")
    custody = deposit + rng.integers(20, 60, pairs).astype("timedelta64[D]")
    follows = (rng.random(pairs) < 0.3) & (custody <= np.datetime64(DAY))
    custody = np.where(follows, custody, np.datetime64(DAY) - rng.integers(1, 720, pairs).astype("timedelta64[D]"))
    ids = [[f"{side}{number:04d}" for number in range(pairs)] for side in "fo"]
    clients = pd.DataFrame({"client_id": np.concatenate(ids), "kind": np.repeat(["corporate", "retail"], pairs),
                            "joined_on": LONG_AGO})  # fmt: skip
    takes = np.stack([rng.random(pairs) < 0.3, rng.random(pairs) < 0.1])
    takes[1] |= takes[0] & follows
    rows = [
        pd.DataFrame({"client_id": np.array(of)[has], "product_id": key, "opened_on": days[has]})
        for of, has, key, days in zip(ids, takes, ("payroll", "fund"), (deposit, custody), strict=True)
    ]
    links = pd.DataFrame({"client_id": ids[0], "linked_id": ids[1], "relation": "owner"})
    [offer] = discover(Bank.of(clients=clients, holdings=pd.concat(rows), links=links), LINKED, DAY).linked
    assert (offer.where_side, offer.where_product, offer.side, offer.products) == (
        "owned firm", "payroll", "owner", ("fund",)
    )  # fmt: skip


def test_staff_who_do_not_follow_are_no_proposal():
    assert discover(firms_and_staff(np.random.default_rng(9), 0.0), LINKED, DAY).linked == ()


def test_ties_that_ended_or_are_not_known_yet_tell_nothing_of_what_is_held():
    bank = firms_and_staff(np.random.default_rng(8), 0.6)
    for name, day in (("until", "2025-06-30"), ("since", "2025-07-01")):
        links = bank["links"].collect().to_native().drop(columns=["since", "until"]).assign(**{name: day})
        frames = {table: bank[table].collect().to_native() for table in ("clients", "holdings")}
        assert discover(Bank.of(**frames, links=links), LINKED, DAY).linked == ()


def test_few_firms_are_no_evidence_however_many_staff_they_have():
    bank = firms_and_staff(np.random.default_rng(8), 0.6)
    links = bank["links"].collect().to_native()
    payroll = bank["holdings"].collect().to_native().query("product_id == 'payroll'").client_id
    links["linked_id"] = np.where(links.linked_id.isin(payroll), payroll.iloc[0], links.linked_id)
    frames = {table: bank[table].collect().to_native() for table in ("clients", "holdings")}
    assert discover(Bank.of(**frames, links=links), LINKED, DAY).linked == ()


# What a person gets.


@pytest.fixture(scope="module")
def found() -> Discovery:
    return discover(firms_and_staff(np.random.default_rng(8), 0.6), LINKED.model_copy(update={"bundles": ()}), DAY)


def test_an_entry_can_be_moved_into_the_catalog_as_it_stands(found: Discovery, tmp_path: Path):
    catalog = LINKED.model_copy(update={"bundles": ()})
    write_proposal(found, catalog, tmp_path / "out" / "proposal.yaml")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["proposal.yaml"]
    text = (tmp_path / "out" / "proposal.yaml").read_text()
    entries = YAML().load(text)["bundles"]
    folder = tmp_path / "catalog"
    folder.mkdir()
    write_catalog(folder / "products.yaml", catalog)
    YAML().dump({"bundles": entries}, folder / "bundles.yaml")
    assert read_catalog(folder).bundles == tuple(proposal.bundle for proposal in found.bundles)
    for proposal in found.bundles:
        assert f"# held together by {proposal.evidence[0].clients:,} clients" in text
        assert f"# reaches {proposal.stake.reach:,} clients who lack a part" in text
        assert f"would be worth {proposal.stake.value:,.0f} EUR a year" in text


def test_every_proposal_has_an_id_of_its_own(tmp_path: Path):
    """b_and_c beside a reads like b and c beside a, and what is called book_with_card may be a product."""
    keys = ["a", "b", "c", "b_and_c", "book", "card"]
    held = tied(np.random.default_rng(5), 6_000, [["anchor", "book", "card"], ["anchor", "deposit"]])
    held |= tied(np.random.default_rng(6), 6_000, [["exchange", "fund"]])
    renamed = dict(zip(KEYS, keys, strict=True))
    bank = bank_of(held)
    holdings = bank["holdings"].collect().to_pandas().replace({"product_id": renamed})
    sold = tuple(product(key, annual_fee=20.0 if key in ("a", "book") else 10.0) for key in (*keys, "book_with_card"))
    catalog = Catalog(products=sold)
    found = discover(Bank.of(clients=bank["clients"].collect().to_pandas(), holdings=holdings), catalog, DAY)
    write_proposal(found, catalog, tmp_path / "p.yaml")
    told = YAML(typ="safe").load(tmp_path / "p.yaml")["bundles"]
    assert {key: set(entry["products"]) for key, entry in told.items()} == {
        "a_with_b_and_c": {"a", "b", "c"},
        "a_with_b_and_c_new": {"a", "b_and_c"},
        "book_with_card_new": {"book", "card"},
    }


def test_linked_offers_are_no_part_of_a_catalog(found: Discovery, tmp_path: Path):
    catalog = LINKED.model_copy(update={"bundles": ()})
    write_proposal(found, catalog, tmp_path / "proposal.yaml")
    [offer] = YAML(typ="safe").load(tmp_path / "proposal.yaml")["linked"]
    assert offer["relation"] == "employer"
    assert {offer["where"]["side"], offer["offer"]["side"]} == {"employer", "staff"}
    assert [line.split()[0] for line in offer["evidence"]] == ["held", "reaches"]
    write_catalog(tmp_path / "products.yaml", catalog)
    with pytest.raises(CatalogError, match="linked: is not a part of a catalog"):
        read_catalog(tmp_path)


def test_a_proposal_of_nothing_is_written_too(tmp_path: Path):
    nothing = discover(bank_of(np.ones((30, 6), bool)), CATALOG, DAY)
    write_proposal(nothing, CATALOG, tmp_path / "p.yaml")
    assert YAML(typ="safe").load(tmp_path / "p.yaml") == {"bundles": {}}
    assert len(tables(nothing, CATALOG)) == 1


def test_the_best_come_first(found: Discovery):
    values = [proposal.stake.value for proposal in found.bundles]
    assert values == sorted(values, reverse=True)
    assert found.top(1).bundles == found.bundles[:1]
    assert found.top(1).trials == found.trials


@pytest.mark.parametrize("inside", ["catalog", "catalog/p.yaml", "catalog/new/p.yaml", "catalog/../catalog/p.yaml"])
def test_the_catalog_is_never_written_into(tmp_path: Path, inside: str):
    with pytest.raises(DiscoveryError, match="is part of the catalog, which only a person changes"):
        outside(tmp_path / inside, tmp_path / "catalog")
    assert outside(tmp_path / "p.yaml", tmp_path / "catalog") == tmp_path / "p.yaml"


# Bad input.


def test_no_holdings_a_day_too_early_or_a_single_product_are_told():
    bank = bank_of(np.ones((30, 6), bool))
    with pytest.raises(
        DiscoveryError, match="no client is active on 2019-01-01, so nothing is held together; give another day"
    ):
        discover(bank, CATALOG, dt.date(2019, 1, 1))
    with pytest.raises(DiscoveryError, match="the catalog sells one product only"):
        discover(bank, Catalog(products=CATALOG.products[:1]), DAY)
    empty = bank_of(np.zeros((30, 6), bool))
    with pytest.raises(DiscoveryError, match="of the catalog's products nothing was ever held by the 30 clients"):
        discover(empty, CATALOG, DAY)
    with pytest.raises(SampleError, match="holdings has no opening"):
        discover(empty, CATALOG)
    others = Catalog(products=(product("x"), product("y")))
    with pytest.raises(DiscoveryError, match="do the ids in product_id of table holdings stand in the catalog"):
        discover(bank, others, DAY)


def test_a_client_told_twice_is_named():
    clients = pd.DataFrame({"client_id": ["a", "a", "b"], "kind": "retail", "joined_on": LONG_AGO})
    holdings = pd.DataFrame({"client_id": ["a"], "product_id": ["book"], "opened_on": [LONG_AGO]})
    with pytest.raises(DiscoveryError, match="several rows of the same day for a; keep"):
        discover(Bank.of(clients=clients, holdings=holdings), CATALOG, DAY)


def test_a_day_long_after_the_last_opening_is_noted():
    bank = bank_of(np.ones((30, 6), bool), pd.Timestamp(DAY))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert discover(bank, CATALOG).as_of == DAY
    with pytest.warns(UserWarning, match="the last opening known is of 2025-06-30"):
        discover(bank, CATALOG, dt.date(2026, 6, 30))


@pytest.mark.parametrize("clients", [2, 9, 19])
def test_few_clients_are_no_evidence_and_no_error(clients: int):
    held = np.zeros((clients, 6), bool)
    held[: clients // 2, :2] = True
    assert discover(bank_of(held), CATALOG, DAY).bundles == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"least_support": 0.0}, "least_support is 0, which is no share"),
        ({"least_support": 20.0}, "least_support is 20, which is no share"),
        ({"mistakes": 1.0}, "mistakes is 1, which is no share"),
        ({"least_lift": 0.5}, "least_lift is 0.5; give 1 or more"),
        ({"least_lift": float("nan")}, "least_lift is nan; give 1 or more"),
        ({"window_days": 0}, "window_days is 0; give 1 or more"),
        ({"look_back_days": 30}, "look_back_days is 30; give 61 or more"),
        ({"most_products": 1}, "most_products is 1; give 2 or more"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        DiscoverySettings(**wrong)  # type: ignore[arg-type]
