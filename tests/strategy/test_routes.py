"""Who approves a bundle for a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sheaf.catalog import Kind
from sheaf.pricing import Client, Position, price_bundle
from sheaf.strategy import Planner, Router, read_strategy
from tests.strategy.banks import CATALOG, DAY, POLICY, changed, profiles

GOOD = {"kind": "corporate", "rating": "A", "eva": 60_000.0, "contribution": 60_000.0, "sector": "health"}
PLAIN = {"kind": "corporate", "rating": "C", "eva": 2_000.0, "contribution": 2_000.0, "sector": "services"}


def route(client: dict[str, Any], bundle: str, concession: float = 0.0, policy: Any = POLICY) -> dict[str, Any]:
    planner = Planner(policy, DAY)
    router = Router(planner, CATALOG)
    held = {f"held__{product.product_id}": 0.0 for product in CATALOG.products}
    found = planner.one("c0", [profiles({**held, "turnover": None} | client)], router.keep)
    return router.one(found.table, bundle, concession)


def told(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(found[name] for name in ("signs", "signature", "papers", "days", "route_rule"))


def test_what_brings_no_credit_is_approved_at_once() -> None:
    found = route(PLAIN, "payroll_agency")
    assert told(found) == ("account_manager", "single", "simplified", 1, "no credit")
    assert found["credit"] == 0


def test_a_good_client_overtakes_on_fewer_papers() -> None:
    assert told(route(GOOD, "leasing")) == ("branch", "single", "simplified", 2, "green channel at low risk")
    assert told(route(PLAIN, "leasing")) == ("branch", "committee", "full", 8, "medium")
    assert told(route(PLAIN | {"rating": "E"}, "leasing"))[:2] == ("head_office", "committee")


def test_the_amount_is_that_of_what_the_client_does_not_hold() -> None:
    growth = next(offer for offer in CATALOG.offers if offer.bundle_id == "growth")
    assert "investment_loan" in growth.products
    whole, part = route(PLAIN, "growth"), route(PLAIN | {"held__investment_loan": 1.0}, "growth")
    assert whole["credit"] - part["credit"] == 420_000
    assert whole["list_price"] > part["list_price"]


def test_key_products_are_approved_below() -> None:
    found = route(PLAIN, "business_card")
    assert told(found)[:2] == ("account_manager", "single")
    assert found["sub_authority"] == "cards and overdrafts"
    beyond = route(PLAIN | {"rating": "D"}, "business_card")
    assert (beyond["signs"], beyond["sub_authority"]) == ("branch", None)


def test_a_sub_authority_does_not_cover_other_credit(tmp_path: Path) -> None:
    assert route(PLAIN, "leasing")["sub_authority"] is None
    sold = next(o for o in CATALOG.offers if {"business_card", "leasing"} & set(o.products) and len(o.products) > 1)
    lent = [key for key in sold.products if key in ("leasing", "business_card", "working_capital_loan")]
    policy = read_strategy(
        changed(tmp_path / "p.yaml", "routes", "sub_authorities", 0, "products", to=lent[:1]), CATALOG
    )
    assert route(PLAIN, lent[0], policy=policy)["sub_authority"] == "cards and overdrafts"


def test_a_sub_authority_above_the_rule_is_of_no_account(tmp_path: Path) -> None:
    policy = read_strategy(
        changed(tmp_path / "p.yaml", "routes", "sub_authorities", 0, "signs", to="head_office"), CATALOG
    )
    found = route(PLAIN, "business_card", policy=policy)
    assert (found["signs"], found["sub_authority"]) == ("branch", None)


@pytest.mark.parametrize("bundle", ["payroll_agency", "leasing", "growth", "business_card"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.12, 0.3])
def test_a_concession_goes_to_whom_a_quote_sends_it(bundle: str, share: float) -> None:
    assert CATALOG.pricing is not None
    whom = Client("c0", Kind.CORPORATE, "C", held={"business_account": Position()})
    quoted = {
        one.name: price_bundle(CATALOG, whom, bundle, DAY, authority=one.name) for one in CATALOG.pricing.authorities
    }
    concession = round(share * float(quoted["branch"].total.list_price), 2)
    least = next(name for name, one in quoted.items() if one.limit >= concession)
    found = route(PLAIN | {"held__business_account": 1.0}, bundle, concession)
    assert found["concession_signs"] == least
    assert found["list_price"] == pytest.approx(float(quoted["branch"].total.list_price), abs=0.02)
    names = list(quoted)
    assert names.index(found["signs"]) >= names.index(least)


def test_a_concession_that_goes_as_far_up_as_the_rule_takes_the_rules_own_way(tmp_path: Path) -> None:
    price = route(PLAIN, "business_card")["list_price"]
    found = route(PLAIN, "business_card", price * 0.2)
    assert (found["signs"], found["concession_signs"], found["sub_authority"]) == ("branch", "branch", None)
    lends = read_strategy(
        changed(tmp_path / "p.yaml", "routes", "sub_authorities", 0, "products", to=["leasing"]), CATALOG
    )
    alone, conceded = (route(PLAIN, "leasing", share * 2_000, lends) for share in (0.0, 0.2))
    assert told(alone)[:2] == ("account_manager", "single")
    assert told(conceded)[:2] == ("branch", "committee")  # as without the sub-authority


def test_offers_in_bulk_have_the_routes_of_one_by_one(tmp_path: Path) -> None:
    clients = [{**PLAIN, "client_id": "a"}, {**GOOD, "client_id": "b"}]
    pairs = [("a", 1, "leasing", 900.0), ("a", 2, "growth", 0.0), ("b", 1, "leasing", 10.0)]
    columns = dict(
        zip(("client_id", "rank", "bundle_id", "concession"), map(list, zip(*pairs, strict=True)), strict=True)
    )
    offers = pa.table(columns | {"score": [1.0] * 3, "eva": [1.0] * 3})
    pq.write_table(offers, tmp_path / "offers.parquet")
    held = {f"held__{product.product_id}": 0.0 for product in CATALOG.products}
    table = profiles(*({**held, "turnover": None} | one for one in clients))
    planner = Planner(POLICY, DAY, offers=tmp_path / "offers.parquet")
    found = pa.concat_tables(Router(planner, CATALOG).of_offers([table[:1], table[1:]])).to_pylist()
    assert [(row["client_id"], row["bundle_id"], row["concession"]) for row in found] == [
        (client, bundle, concession) for client, _, bundle, concession in pairs
    ]
    for row, (client, _, bundle, concession) in zip(found, pairs, strict=True):
        alone = route(PLAIN if client == "a" else GOOD, bundle, concession)
        assert told(row) == told(alone)
    planner = Planner(POLICY, DAY, offers=tmp_path / "offers.parquet")
    with pytest.raises(ValueError, match="1 offers are of clients without a profile"):
        list(Router(planner, CATALOG).of_offers([table[:1]]))


def test_what_cannot_be_routed_is_told() -> None:
    with pytest.raises(ValueError, match="there is no bundle 'growt' in the catalog; did you mean growth"):
        route(PLAIN, "growt")
    with pytest.raises(ValueError, match="1 offers have a concession below 0, or none; it has to be 0 or more"):
        route(PLAIN, "growth", -1.0)
    with pytest.raises(ValueError, match="client c0 holds all of leasing already; route another bundle"):
        route(PLAIN | {"held__leasing": 1.0}, "leasing")
    with pytest.raises(ValueError, match="client c0 is of a kind that mortgage is not for"):
        route(PLAIN, "mortgage")


def test_of_sub_authorities_that_fit_the_lowest_counts(tmp_path: Path) -> None:
    both = [
        {"name": name.replace("_", " "), "products": ["leasing"], "when": {"rating": ["E"]}, "signs": name}
        for name in ("branch", "account_manager")
    ]
    policy = read_strategy(changed(tmp_path / "p.yaml", "routes", "sub_authorities", to=both), CATALOG)
    found = route(PLAIN | {"rating": "E"}, "leasing", policy=policy)
    assert (found["signs"], found["sub_authority"]) == ("account_manager", "account manager")
