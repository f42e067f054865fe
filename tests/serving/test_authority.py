"""Whose concessions a quote may grant is the caller's key or token to say, not the request's."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from sheaf.serving.http.access import add_key
from tests.conftest import WholeLine
from tests.serving.test_access import AUDIENCE, ISSUER, SIGNER, issuer, public, served

ASKED = {"account_manager": 0.10, "branch": 0.25, "head_office": 1.0}  # shares of the list price
Desk = tuple[str, dict[str, dict[str, str]]]
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "scope": "quote audit all_clients"}


@pytest.fixture(scope="module")
def desk(line: WholeLine, service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A service, started after the one without access, and by name the headers of its callers."""
    path = tmp_path_factory.mktemp("authority") / "access.yaml"
    with issuer({"one": public(SIGNER, "one")}) as jwks, pytest.MonkeyPatch.context() as patch:
        path.write_text(f"rate: 1000/second\npeople: {{issuer: {ISSUER}, audience: {AUDIENCE}, jwks: '{jwks}'}}\n")
        scopes = ["quote", "audit", "feedback"]
        callers = {"no authority": {"x-api-key": add_key(path, "none", scopes)}}
        for name in ("branch", "head_office", "no_such"):
            callers[f"key of {name}"] = {"x-api-key": add_key(path, name, scopes, authority=name)}
        claims: dict[str, Any] = {"branch": "branch", "list": ["head_office"], "number": 3, "empty": "", "null": None}
        for name, claim in claims.items():
            told = jwt.encode(CLAIMS | {"exp": time.time() + 600, "authority": claim}, SIGNER, "RS256", {"kid": "one"})
            callers[f"token of {name}"] = {"authorization": f"Bearer {told}"}
        with served(line, path, patch) as url:
            yield url, callers


@pytest.fixture(scope="module")
def offer(line: WholeLine) -> dict[str, str]:
    """A client and a bundle with a list price."""
    for client in map(str, line.recommender.snapshot.profiles.client_ids):
        for one in line.recommender.recommend(client).offers:
            if one.worth is not None and one.worth.concession > 0:
                return {"client_id": client, "bundle_id": one.bundle_id}
    raise AssertionError("nobody is offered a concession")


def quoted(desk: Desk, caller: str, body: dict[str, Any]) -> dict[str, Any]:
    url, callers = desk
    reply = httpx.post(f"{url}/v1/quote", json=body, headers=callers[caller], timeout=30)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    logged = httpx.get(f"{url}/v1/quotes/{told['quote_id']}", headers=callers[caller], timeout=30).json()
    assert logged["answer"] == told
    assert logged["replay"]["same"], logged["replay"]
    return told


@pytest.mark.parametrize(
    ("caller", "own"),
    [
        ("no authority", "account_manager"),
        ("key of branch", "branch"),
        ("token of branch", "branch"),
        ("key of head_office", "head_office"),
    ],
)
def test_the_limit_is_that_of_the_callers_own_authority(
    desk: Desk, offer: dict[str, str], caller: str, own: str
) -> None:
    plain = quoted(desk, caller, dict(offer))
    assert (plain["authority"], plain["caller_authority"], plain["what_if"]) == (own, own, [])
    assert plain["limit"] == plain["caller_limit"]
    ranks = list(ASKED)
    for name in ranks:
        told = quoted(desk, caller, offer | {"authority": name})
        above = ranks.index(name) > ranks.index(own)
        assert bool(told["what_if"]) is above, told["what_if"]
        assert (told["caller_authority"], told["caller_limit"]) == (own, plain["caller_limit"])


@pytest.mark.parametrize(
    "caller", ["key of no_such", "token of list", "token of number", "token of empty", "token of null"]
)
def test_an_authority_that_the_catalog_does_not_have_quotes_nothing(
    desk: Desk, offer: dict[str, str], caller: str
) -> None:
    url, callers = desk
    reply = httpx.post(f"{url}/v1/quote", json=offer, headers=callers[caller])
    assert reply.status_code == 403, reply.text
    assert "account_manager, branch, head_office" in reply.json()["detail"]


SUPPOSED: dict[str, dict[str, Any]] = {
    "hurdle": {"terms": {"hurdle": 0.0}},
    "tax": {"terms": {"tax": 0.0}},
    "elasticity": {"terms": {"elasticity": 9.0}},
    "acceptance": {"terms": {"acceptance": 0.9}},
    "fee": {"terms": {"{product}.fee": 100_000}},
    "rating": {"rating": "A"},
    "authority and hurdle": {"authority": "head_office", "terms": {"hurdle": 0.0}},
}


@pytest.mark.parametrize("kind", SUPPOSED)
def test_what_moves_the_limit_is_a_what_if_and_leaves_the_callers_limit(
    desk: Desk, offer: dict[str, str], kind: str
) -> None:
    plain = quoted(desk, "no authority", dict(offer))
    supposed = dict(SUPPOSED[kind])
    if "terms" in supposed:
        product = plain["lines"][0]["product_id"]
        supposed["terms"] = {name.format(product=product): value for name, value in supposed["terms"].items()}
    told = quoted(desk, "no authority", offer | supposed)
    assert len(told["what_if"]) >= len(supposed)
    assert told["caller_limit"] == plain["caller_limit"]


def test_a_concession_above_the_callers_limit_is_a_what_if(desk: Desk, offer: dict[str, str]) -> None:
    limit = quoted(desk, "no authority", dict(offer))["caller_limit"]
    assert quoted(desk, "no authority", offer | {"concession": limit})["what_if"] == []
    above = quoted(desk, "key of head_office", offer | {"concession": 1.5 * limit})
    assert above["what_if"] == []
    if above["total"]["concession"] > limit:
        [why] = quoted(desk, "no authority", offer | {"concession": 1.5 * limit})["what_if"]
        assert why.startswith("concession: ")


def test_feedback_does_not_accept_a_quote(desk: Desk, offer: dict[str, str]) -> None:
    url, callers = desk
    told = quoted(desk, "no authority", offer | {"authority": "head_office"})
    feedback = {"idempotency_key": "a", "decision_id": told["quote_id"], "bundle_id": offer["bundle_id"],
                "outcome": "accepted", "at": dt.datetime.now(dt.UTC).isoformat()}  # fmt: skip
    reply = httpx.post(f"{url}/v1/feedback", json=feedback, headers=callers["no authority"])
    assert reply.status_code == 422
    assert "is the id of a quote" in reply.json()["detail"]


def test_on_this_machine_without_access_the_request_names_the_authority(service: str, offer: dict[str, str]) -> None:
    plain, head = (
        httpx.post(f"{service}/v1/quote", json=offer | more).json() for more in ({}, {"authority": "head_office"})
    )
    assert (plain["authority"], plain["what_if"]) == ("account_manager", [])
    assert (head["caller_authority"], head["what_if"]) == ("head_office", [])
    supposed = httpx.post(f"{service}/v1/quote", json=offer | {"terms": {"hurdle": 0.0}}).json()
    assert supposed["what_if"] == ["terms.hurdle: supposed, not the catalog's"]
