"""What is decided for one client is what the query over all of them gives."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features import C
from sheaf.strategy import Planner, Router
from sheaf.strategy.plans.single_client import Approver, planned
from tests.strategy.banks import CATALOG, DAY, POLICY, profiles, some_clients

ASKED = sorted(POLICY.asks_of_clients - POLICY.of_plans)


@given(some_clients(), st.dates(dt.date(2025, 12, 20), dt.date(2026, 3, 1)))
@settings(max_examples=10, deadline=None)
def test_a_plan_is_the_same_client_by_client(clients: pa.Table, day: dt.date) -> None:
    found = pa.concat_tables(Planner(POLICY, day).plans([clients], ASKED)).to_pylist()
    for row in found:
        told = planned(POLICY, {name: row[name] for name in (C.CLIENT, *ASKED)}, None, day)
        assert told == {name: tuple(row[name]) if name == "channels" else row[name] for name in told}
        assert {"tier", "priority", "manager", "next_visit"} <= told.keys()


@given(some_clients(), some_clients(), st.integers(1, 400))
@settings(max_examples=6, deadline=None)
def test_after_a_plan_too(tmp_path_factory: Any, before: pa.Table, after: pa.Table, later: int) -> None:
    path, day = tmp_path_factory.mktemp("plans") / "previous.parquet", DAY + dt.timedelta(later)
    previous = pa.concat_tables(Planner(POLICY, DAY).plans([before]))
    pq.write_table(previous, path)
    last = {row[C.CLIENT]: row for row in previous.to_pylist()}
    for row in pa.concat_tables(Planner(POLICY, day, path).plans([after], ASKED)).to_pylist():
        told = planned(POLICY, row, last.get(row[C.CLIENT]), day)
        assert told == {name: tuple(row[name]) if name == "channels" else row[name] for name in told}


@pytest.mark.parametrize("share", [0.0, 0.06, 0.15, 0.4, 1.0])
def test_routes_are_the_same_pair_by_pair(share: float) -> None:
    held = {f"held__{product.product_id}": 0.0 for product in CATALOG.products}
    sold = [offer for offer in CATALOG.offers if "corporate" in offer.kinds]
    kept = {"kind": "corporate", "turnover": 4e6} | held
    some = [
        {**kept, "rating": rating, "eva": eva, "contribution": eva, "sector": sector, "held__leasing": leasing}
        for rating in "ABCE" for eva in (0.0, 12_000.0, 80_000.0)
        for sector in ("health", "tourism") for leasing in (0.0, 1.0)
    ]  # fmt: skip
    planner, approver = Planner(POLICY, DAY), Approver(POLICY, CATALOG)
    router = Router(planner, CATALOG)
    keep = sorted({*router.keep, *ASKED})
    plans = pa.concat_tables(planner.plans([profiles(*some)], keep))
    pairs = [
        (row, offer.bundle_id) for row in plans.to_pylist() for offer in sold
        if any(not row[f"held__{product}"] for product in offer.products)
    ]  # fmt: skip
    offers = pa.table({C.CLIENT: [row[C.CLIENT] for row, _ in pairs], C.BUNDLE: [bundle for _, bundle in pairs],
                       C.CONCESSION: [0.0] * len(pairs)})  # fmt: skip
    prices = router.routes(plans, offers)["list_price"].to_pylist()
    conceded = pa.array([share * price for price in prices])
    expected = router.routes(plans, offers.set_column(2, C.CONCESSION, conceded)).to_pylist()
    seen = set()
    for (row, bundle), wanted in zip(pairs, expected, strict=True):
        has = {name.removeprefix("held__") for name in held if row[name]}
        [pair] = approver.pairs([bundle], has, [wanted["list_price"]], [wanted[C.CONCESSION]])
        [found] = approver.approve(row, [pair], has)
        assert pair["credit"] == wanted["credit"]
        columns = ("route_priority", "papers", "signs", "signature", "days", "route_rule", "sub_authority")
        assert dataclasses.astuple(found) == tuple(wanted[name] for name in columns)
        seen.add((found.signs, found.rule, found.sub_authority))
    assert len(seen) > 8
