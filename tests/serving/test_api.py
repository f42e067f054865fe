"""Batches, quotes and profiles over HTTP, and refusals in one shape."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from sheaf.features import Bank
from sheaf.features.client_positions import client_on
from sheaf.pricing import price_bundle
from sheaf.serving import ANSWER
from sheaf.serving.schemas.requests import AskQuote
from sheaf.training.value_order import Aim
from tests.conftest import WholeLine
from tests.serving.test_service import is_as_described, post, unlogged


@pytest.fixture(scope="module")
def clients(line: WholeLine) -> list[str]:
    return [str(client) for client in line.recommender.snapshot.profiles.client_ids[:70]]


def test_a_batch_answers_as_each_client_alone_and_names_who_is_unknown(
    service: str, line: WholeLine, clients: list[str]
) -> None:
    asked = {"client_ids": [*clients[:40], "nobody", *clients[40:], "漢字"], "k": 2, "channel": "night"}
    reply = post(service, asked, "v1/recommend_batch")
    assert reply.status_code == 200
    is_as_described(service, reply, "/v1/recommend_batch")
    told = reply.json()
    assert told["unknown"] == ["nobody", "漢字"]
    assert [answer["client_id"] for answer in told["answers"]] == clients
    for answer in told["answers"]:
        alone = line.recommender.recommend(answer["client_id"], 2)
        assert ANSWER.validate_python(answer | {"decision_id": None}) == alone
    ids = [answer["decision_id"] for answer in told["answers"]]
    assert len(set(ids)) == len(ids)
    found = httpx.get(f"{service}/v1/decisions/{ids[-1]}").json()
    assert (found["client_id"], found["channel"], found["replay"]["same"]) == (clients[-1], "night", True)


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        ({"client_ids": []}, "client_ids", "at least 1"),
        ({"client_ids": ["a"] * 2}, "body", "names a client twice"),
        ({"client_ids": [f"c{n}" for n in range(1_001)]}, "client_ids", "at most 1000"),
        ({"client_ids": ["a"], "k": 0}, "k", "greater than or equal to 1"),
        ({"client_ids": [""]}, "client_ids.0", "at least 1"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(service: str, body: Any, field: str, problem: str) -> None:
    reply = post(service, body, "v1/recommend_batch")
    assert reply.status_code == 422
    is_as_described(service, reply, "/v1/recommend_batch")
    [told] = reply.json()["errors"]
    assert told["field"] == field
    assert problem in told["problem"]


def test_only_strangers_are_no_decision(service: str) -> None:
    assert post(service, {"client_ids": ["nobody"]}, "v1/recommend_batch").json() == {
        "answers": [], "unknown": ["nobody"]
    }  # fmt: skip


@pytest.fixture(scope="module")
def offered(line: WholeLine, clients: list[str]) -> tuple[str, str]:
    """A client, and a bundle for it."""
    return clients[3], line.recommender.recommend(clients[3]).offers[0].bundle_id


def test_a_quote_is_that_of_the_banks_own_tables(service: str, line: WholeLine, offered: tuple[str, str]) -> None:
    client, bundle = offered
    asked = {"client_id": client, "bundle_id": bundle, "authority": "branch", "channel": "desk"}
    reply = post(service, asked, "v1/quote")
    assert reply.status_code == 200, reply.text
    is_as_described(service, reply, "/v1/quote")
    told = reply.json()
    sold, day = line.recommender.candidates.catalog, line.recommender.snapshot.as_of
    chance = next(one.probability for one in line.recommender.recommend(client).offers if one.bundle_id == bundle)
    whom = client_on(Bank.open(line.bank), sold, day, client)
    ours = price_bundle(sold, whom, bundle, day, "branch", acceptance=chance)
    assert told["acceptance_at_list"] == pytest.approx(chance, abs=1e-6)  # what an order by value goes by
    assert told["concession"] == float(ours.concession)
    assert told["total"]["eva"] == float(ours.total.eva)
    assert [line["product_id"] for line in told["lines"]] == [line.product_id for line in ours.lines]
    assert [state["state"] for state in told["relationship"]] == ["today", "at risk", "with this bundle", "if lost"]
    assert told["relationship"][0]["eva"] == pytest.approx(ours.relationship[0].eva)
    assert len(told["curve"]["concession"]) == len(ours.curve.concession)
    assert told["authority"] == "branch"


def test_a_quote_is_logged_with_what_it_rests_on(service: str, offered: tuple[str, str]) -> None:
    client, bundle = offered
    asked: dict[str, Any] = {"client_id": client, "bundle_id": bundle, "concession": 1.0, "terms": {"hurdle": 0.12}}
    told = httpx.post(f"{service}/v1/quote", json=asked, headers={"x-request-id": "q-1"}).json()
    reply = httpx.get(f"{service}/v1/quotes/{told['quote_id']}")
    assert reply.status_code == 200
    is_as_described(service, reply, "/v1/quotes/{quote_id}")
    found = reply.json()
    assert found["answer"] == told
    assert AskQuote.model_validate(found["asked"]) == AskQuote(**asked)
    assert (found["request_id"], found["held"]["client_id"], told["hurdle"]) == ("q-1", client, 0.12)
    assert httpx.get(f"{service}/v1/quotes/{'0' * 36}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"client_id": "nobody"}, 404, "no client 'nobody'"),
        ({"bundle_id": "nothing"}, 422, "there is no bundle 'nothing'"),
        ({"authority": "nobody"}, 422, "authority 'nobody' is not known; use one of"),
        ({"concession": 1e14}, 422, "is not from 0 to the list price"),
        ({"concession": -1}, 422, "greater than or equal to 0"),
        ({"rating": "Z"}, 422, "rating 'Z' is not in the catalog's grades"),
        ({"terms": {"mortgage.colour": 1}}, 422, "is not known; write PRODUCT.NAME=VALUE"),
        ({"terms": {"hurdle": "high"}}, 422, "is not a number"),
        ({"terms": {"hurdle": [1]}}, 422, ""),
        ({"suitable_until": "soon"}, 422, "write it like 2026-06-02"),
        ({"more": 1}, 422, "not permitted"),
    ],
)
def test_a_quote_that_cannot_be_is_refused(
    service: str, offered: tuple[str, str], changes: dict[str, Any], status: int, problem: str
) -> None:
    client, bundle = offered
    reply = post(service, {"client_id": client, "bundle_id": bundle} | changes, "v1/quote")
    assert reply.status_code == status, reply.text
    is_as_described(service, reply, "/v1/quote")
    assert problem in reply.json()["detail"]


def test_a_clients_profile_is_told_in_words(service: str, line: WholeLine, clients: list[str]) -> None:
    for client in clients[:5]:
        reply = httpx.get(f"{service}/v1/clients/{client}")
        assert reply.status_code == 200
        is_as_described(service, reply, "/v1/clients/{client_id}")
        told = reply.json()
        assert (told["client_id"], told["profile_day"]) == (client, str(line.recommender.snapshot.as_of))
        recommender = line.recommender
        held = recommender.candidates.held(recommender.profile_of(client))[0]
        assert told["holds"] == [
            product.product_id
            for product, holds in zip(recommender.candidates.catalog.products, held, strict=True)
            if holds
        ]
        kind = next(fact for fact in told["profile"] if fact["name"] == "kind")
        assert kind["value"] in ("retail", "corporate", "institution")
        assert all(fact["meaning"] and fact["value"] is not None for fact in told["profile"])
        assert any(fact["says"] for fact in told["profile"])


def test_who_is_no_client_has_no_profile(service: str) -> None:
    for client in ("nobody", "%00", "漢字", "a%2Fb"):
        reply = httpx.get(f"{service}/v1/clients/{client}")
        assert reply.status_code == 404
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "status"), [("nothing", 404), ("v1/recommend", 405), ("v1/clients/", 404)])
def test_other_ways_in_are_refused_in_the_same_shape(service: str, path: str, status: int) -> None:
    reply = httpx.get(f"{service}/{path}")
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()
    assert told.keys() == {"type", "title", "status", "detail", "errors", "request_id"}
    assert told["status"] == status
    assert told["detail"].endswith("see /openapi.json")


def test_an_answer_unlogged_is_the_recommenders(service: str, line: WholeLine, clients: list[str]) -> None:
    reply = post(service, {"client_id": clients[0], "objective": "value"})
    assert unlogged(reply) == line.recommender.recommend(clients[0], objective=Aim.VALUE)


def test_the_example_of_a_quote_can_be_asked(service: str, line: WholeLine) -> None:
    document = httpx.get(f"{service}/openapi.json").json()
    [example] = document["components"]["schemas"]["AskQuote"]["examples"]
    of = line.recommender
    kind = of.snapshot.profiles.columns.index("kind")
    retail = of.snapshot.profiles.categories["kind"].index("retail")
    at = of.snapshot.profiles.values[:, kind] == retail
    replies = [
        httpx.post(f"{service}/v1/quote", json=example | {"client_id": str(client)})
        for client in of.snapshot.profiles.client_ids[at][:5]
    ]
    assert any(reply.status_code == 200 for reply in replies), replies[0].text


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"terms": {"no_such.rate": 0.1}}, "terms.no_such.rate"),
        ({"terms": {"hurdle": True}}, "terms.hurdle"),
        ({"terms": {"hurdle": "1_0"}}, "terms.hurdle"),
        ({"authority": "nobody"}, "authority"),
        ({"rating": "ZZ"}, "rating"),
        ({"bundle_id": "no_such"}, "bundle_id"),
        ({"concession": 1e12}, "concession"),
        ({"concession": True}, "concession"),
        ({"concession": "10"}, "concession"),
    ],
)
def test_a_quote_that_cannot_be_says_what_is_to_blame(
    service: str, offered: tuple[str, str], more: dict[str, Any], field: str
) -> None:
    client, bundle = offered
    reply = httpx.post(f"{service}/v1/quote", json={"client_id": client, "bundle_id": bundle, **more})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"].startswith(field), reply.text
