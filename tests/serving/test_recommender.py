from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from sheaf.catalog import Catalog, Line, Product
from sheaf.features import Bank, profile_matrices
from sheaf.features.snapshot import Snapshot
from sheaf.serving import Answer, Recommender, UnknownClientError
from sheaf.training import Model, TrainingSample, fit, read_sample
from sheaf.training.value_order import Aim
from tests.conftest import WholeLine
from tests.made import CATALOG, DAYS, LAST_DAY, OFFERS, QUICK, frames

RETAIL = {"home", "account", "card", "mortgage", "insurance"}


def held_by(client: str) -> set[str]:
    holdings = frames()["holdings"]
    return set(holdings.loc[(holdings["client_id"] == client) & holdings["closed_on"].isna(), "product_id"])


def someone(holds: set[str], lacks: set[str], kind: str = "retail") -> str:
    """A client of the made bank who holds the one and not the other."""
    people = frames()["clients"]
    for client in people.loc[people["kind"] == kind, "client_id"]:
        held = held_by(client)
        if holds <= held and not lacks & held:
            return str(client)
    raise AssertionError(f"nobody holds {holds} and lacks {lacks}")


def test_an_answer_says_what_it_rests_on(recommender: Recommender, model: Model) -> None:
    answer = recommender.recommend("c0001")
    assert answer.client_id == "c0001"
    assert answer.profile_day == str(LAST_DAY)
    assert answer.model_version == model.version
    assert answer.catalog_version == CATALOG.version
    assert answer.horizon_days == 31
    assert 1 <= len(answer.offers) <= 5


def test_offers_are_ranked_from_one_by_score(recommender: Recommender) -> None:
    for client in ("c0000", "c0001", "c0002", "c0004"):
        offers = recommender.recommend(client, k=100).offers
        assert [offer.rank for offer in offers] == list(range(1, len(offers) + 1))
        assert all(one.score >= other.score for one, other in pairwise(offers))


def test_k_cuts_the_answer_and_changes_nothing_else(recommender: Recommender) -> None:
    client = someone({"firm_account"}, {"till", "exchange"}, kind="corporate")
    everything = recommender.recommend(client, k=100)
    assert len(everything.offers) > 2
    for k in (1, 2):
        assert recommender.recommend(client, k=k).offers == everything.offers[:k]


def test_lines_keep_the_order_of_what_they_leave(recommender: Recommender) -> None:
    everything = recommender.recommend("c0000", k=100).offers
    assert len({offer.line for offer in everything}) > 1
    for lines in ([Line.CORPORATE], [Line.INTERMEDIARY, Line.INTERNATIONAL], list(Line)):
        found = recommender.recommend("c0000", k=100, lines=lines).offers
        assert [(offer.bundle_id, offer.score, offer.reasons) for offer in found] == [
            (offer.bundle_id, offer.score, offer.reasons) for offer in everything if offer.line in lines
        ]
    assert recommender.recommend("c0000", lines=[Line.RETAIL]).offers == ()


def test_what_is_held_is_said_to_be_held(recommender: Recommender) -> None:
    parts = []
    for client in recommender.snapshot.profiles.client_ids[:50].tolist():
        held = held_by(client)
        for offer in recommender.recommend(client, k=100).offers:
            assert any(not part.held for part in offer.products)
            for part in offer.products:
                assert part.held == (part.product_id in held)
                assert (part.probability is None) == part.held
                product = CATALOG.product(part.product_id)
                assert (part.name, part.line) == (product.name, product.line)
                parts.append(part)
    assert any(part.held for part in parts), "no bundle completes what is held"


def test_bundles_that_would_bring_the_same_are_one_offer(recommender: Recommender) -> None:
    client = someone({"mortgage"}, {"insurance"})
    offers = recommender.recommend(client, k=100).offers
    brings = [tuple(part.product_id for part in offer.products if not part.held) for offer in offers]
    assert ("insurance",) in brings
    assert len(set(brings)) == len(brings)


def test_a_bundle_is_never_likelier_than_its_least_likely_part(recommender: Recommender) -> None:
    for client in frames()["clients"]["client_id"][:60]:
        for offer in recommender.recommend(client, k=100).offers:
            chances = [part.probability for part in offer.products if part.probability is not None]
            assert 0 < offer.probability <= min(chances) + 1e-6
            if len(chances) == 1:
                assert offer.probability == pytest.approx(chances[0], rel=1e-4)


@pytest.mark.parametrize("client", ["", "C0001", "c0001 ", "c9999", "'; drop table", "漢字", "\ud800"])
def test_an_unknown_client_is_named_with_the_day_of_the_profiles(recommender: Recommender, client: str) -> None:
    message = f"no client {client!r} in the profiles of {LAST_DAY}; check the id"
    with pytest.raises(UnknownClientError, match=f"^{re.escape(message)}"):
        recommender.recommend(client)


def check_reasons(answer: Answer) -> int:
    """How many reasons the answer gives; every one is a sentence for people."""
    for offer in answer.offers:
        assert len(offer.reasons) <= 4
        assert len(set(offer.reasons)) == len(offer.reasons)
        for reason in offer.reasons:
            assert reason[0].isupper() or reason[0].isdigit(), reason
            assert not re.search(r"[{}]|\bnan\b|None|__|_m\b", reason), reason
            assert len(reason.split()) >= 2, reason
    return sum(len(offer.reasons) for offer in answer.offers)


def test_reasons_are_at_most_four_sentences(recommender: Recommender, line: WholeLine) -> None:
    # a model of five trees, as the whole line's, mostly looks at the products themselves, which is nobody's reason
    for of, least in ((recommender, 0.5), (line.recommender, 0.01)):
        answers = [of.recommend(str(client)) for client in of.snapshot.profiles.client_ids[:100]]
        offers = sum(len(answer.offers) for answer in answers)
        assert sum(check_reasons(answer) for answer in answers) > least * offers, "hardly anything is given a reason"


def test_the_need_that_drives_the_made_bank_is_a_reason(recommender: Recommender) -> None:
    people = frames()["clients"]
    needy = people.loc[people["need"] == "of_card", "client_id"]
    told = [
        "Need: of_card" in offer.reasons
        for client in needy
        for offer in recommender.recommend(client, k=1).offers
        if offer.bundle_id == "card"
    ]
    assert len(told) > 20
    assert np.mean(told) > 0.8


def test_names_with_braces_are_only_names() -> None:
    odd = [product.model_copy(update={"name": f"{product.name} {{gold}} {{0}} {{"}) for product in CATALOG.products]
    catalog = Catalog(products=odd, bundles=CATALOG.bundles)
    tables = frames()
    tables["clients"] = tables["clients"].rename(columns={"need": "need {of} {"})
    bank = Bank.of(**tables)
    model, _ = fit(read_sample(bank, catalog, DAYS[-1:]), catalog, QUICK, {"horizon_days": 31})
    profiles = next(profile_matrices(bank, catalog, LAST_DAY))
    reasons = {
        reason
        for client in profiles.client_ids
        for offer in Recommender(model, Snapshot(LAST_DAY, profiles)).recommend(str(client)).offers
        for reason in offer.reasons
    }
    assert any(reason.startswith("Need {of} {: of_") for reason in reasons)
    assert any("{gold} {0} {" in reason for reason in reasons)


def test_someone_new_of_whom_only_the_kind_is_known_gets_offers(recommender: Recommender) -> None:
    for kind, offered in (
        ("retail", RETAIL),
        ("corporate", set(OFFERS) - RETAIL),
        ("institution", set(OFFERS) - RETAIL),
    ):
        answer = recommender.recommend_new({"kind": kind}, k=100)
        assert answer.client_id is None
        assert {offer.bundle_id for offer in answer.offers} == offered
        assert not any(part.held for offer in answer.offers for part in offer.products)
        check_reasons(answer)


def test_what_is_told_of_someone_new_counts(recommender: Recommender) -> None:
    young = recommender.recommend_new({"kind": "retail", "age": 15.0, "region": "north", "sector": None}, k=100)
    assert {offer.bundle_id for offer in young.offers} == RETAIL - {"mortgage", "home"}
    scores = {}
    for need in ("card", "insurance"):
        answer = recommender.recommend_new({"kind": "retail", "need": f"of_{need}"}, k=100)
        scores[need] = next(offer.score for offer in answer.offers if offer.bundle_id == "card")
    assert scores["card"] > scores["insurance"] + 0.3


def test_someone_new_is_answered_as_a_client_of_the_same_profile(
    recommender: Recommender, snapshot: Snapshot, model: Model
) -> None:
    profiles, row = snapshot.profiles, 1
    told = {
        name: profiles.categories[name][int(value)] if name in profiles.categories else float(value)
        for name, value in zip(profiles.columns, profiles.values[row].tolist(), strict=True)
        if not np.isnan(value)
    }
    client = str(profiles.client_ids[row])
    new, known = recommender.recommend_new(told, k=100), recommender.recommend(client, k=100)
    assert new.offers == known.offers


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"kind": "retail", "shoe_size": 43.0}, "shoe_size: no such column of a profile"),
        ({"kind": "retail", "age": "forty"}, "age: a number is wanted, not 'forty'"),
        ({"kind": "retail", "region": 3.0}, r"region: a text is wanted, not 3\.0"),
        ({"kind": "wizard"}, "kind: 'wizard' is none of retail, corporate, institution"),
        (
            {"kind": "retail", "region": " NORTH"},
            "region: ' NORTH' differs from 'north' in case or blanks",
        ),
        ({"kind": "retail", "age": 1e300}, "age: 1e[+]300 is not a number that profiles can hold"),
        ({"kind": "retail", "age": float("nan")}, "age: nan is not a number that profiles can hold"),
    ],
)
def test_what_a_profile_cannot_hold_is_refused_by_name(
    recommender: Recommender, attributes: dict[str, float | str | None], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        recommender.recommend_new(attributes)


def test_a_catalog_of_products_only(sample: TrainingSample, snapshot: Snapshot, model: Model) -> None:
    plain = Catalog(products=[product.model_copy(update={"alone": True}) for product in CATALOG.products])
    trained, _ = fit(sample, plain, QUICK, {"horizon_days": 31})
    for of in (Recommender(trained, snapshot), Recommender(model, snapshot, plain)):  # trained with it, or not
        offers = of.recommend("c0001", k=100).offers
        assert offers
        assert all(len(offer.products) == 1 and offer.products[0].product_id == offer.bundle_id for offer in offers)
        assert of.recommend("c0001").catalog_version == plain.version


def test_a_product_newer_than_the_model_is_offered_with_reasons_or_none(model: Model, snapshot: Snapshot) -> None:
    new = Product(product_id="pension", name="Pension plan", line=Line.INTERMEDIARY, family="savings")
    wider = Recommender(model, snapshot, Catalog(products=(*CATALOG.products, new), bundles=CATALOG.bundles))
    answer = wider.recommend("c0001", k=100)
    assert "pension" in {offer.bundle_id for offer in answer.offers}
    check_reasons(answer)


def test_who_holds_a_product_newer_than_the_model_is_not_offered_it(model: Model, snapshot: Snapshot) -> None:
    new = Product(product_id="pension", name="Pension plan", line=Line.INTERMEDIARY, family="savings")
    profiles = snapshot.profiles.align([*snapshot.profiles.columns, "held__pension"], snapshot.profiles.categories)
    profiles.values[:, -1] = profiles.client_ids == "c0001"
    catalog = Catalog(products=(*CATALOG.products, new), bundles=CATALOG.bundles)
    wider = Recommender(model, Snapshot(LAST_DAY, profiles), catalog)
    offered = {
        client: {offer.bundle_id for offer in wider.recommend(client, k=100).offers} for client in ("c0001", "c0002")
    }
    assert "pension" not in offered["c0001"]
    assert "pension" in offered["c0002"]
    assert "pension" in wider.portrait("c0001").holds
    assert wider.in_words(wider.profile_of("c0001"))["held__pension"] == 1.0
    # A decision that was logged before has the model's own columns only.
    logged = wider.profile_of("c0002")[:, : len(model.encoding.columns)]
    assert list(wider.in_words(logged)) == list(model.encoding.columns)
    assert wider.decide(logged, ["c0002"], 100)[0].answer.offers == wider.recommend("c0002", k=100).offers


def test_nothing_is_offered_to_who_holds_everything(model: Model, snapshot: Snapshot) -> None:
    client = someone({"account"}, set())
    only = Recommender(model, snapshot, Catalog(products=[CATALOG.product("account")]))
    assert only.recommend(client).offers == ()


def test_clients_answered_together_get_what_each_gets_alone(line: WholeLine) -> None:
    of = line.recommender
    clients = [str(client) for client in of.snapshot.profiles.client_ids[::7]]
    profiles = np.concatenate([of.profile_of(client) for client in clients])
    for objective in Aim:
        together = of.decide(profiles, clients, 4, [], objective)
        for client, decided in zip(clients, together, strict=True):
            [alone] = of.decide(of.profile_of(client), [client], 4, [], objective)
            assert decided.answer == alone.answer
            assert (decided.bundle_ids, decided.scores, decided.forbidden) == (
                alone.bundle_ids, alone.scores, alone.forbidden
            )  # fmt: skip
    assert of.decide(profiles[:0], []) == []


def test_an_offer_says_which_gates_it_passed(line: WholeLine) -> None:
    bundles = {offer.bundle_id: offer for offer in line.recommender.candidates.offers}
    for client in map(str, line.recommender.snapshot.profiles.client_ids[::40]):
        for offer in line.recommender.recommend(client, 100).offers:
            eligible, applicable, suitable = offer.gates
            bundle = bundles[offer.bundle_id]
            assert eligible.why.startswith(f"for {bundle.kinds[0]}")
            assert all(name in eligible.why for name in bundle.where)
            brings = sum(not part.held for part in offer.products)
            assert applicable.why.startswith(f"brings {brings} of its {len(offer.products)} products")
            assert (eligible.status, applicable.status) == ("passed", "passed")
            assert suitable.gate == "suitable"
