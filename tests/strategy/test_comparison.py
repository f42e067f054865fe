"""What a change of policy would do, before anyone switches."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sheaf.strategy import compare, read_strategy
from sheaf.strategy.views.plans import comparison_tables
from tests.strategy.banks import CATALOG, DAY, POLICY, changed, profiles

SCALE = ("tiers", "scales", 1, "steps")


def firm(eva: float, **more: float) -> dict[str, object]:
    held = {f"held__{product.product_id}": 0.0 for product in CATALOG.products}
    return (
        {"kind": "corporate", "rating": "C", "eva": eva, "contribution": eva, "capital": 2 * eva, "turnover": None}
        | held
        | more
    )


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Four firms: two key, one core, one standard."""
    rows = [firm(90_000.0), firm(52_000.0), firm(20_000.0), firm(2_000.0)]
    pq.write_table(profiles(*rows), tmp_path / "profiles.parquet")
    return tmp_path


def test_who_moves_and_what_it_takes(book: Path) -> None:
    steps = [{"tier": "key", "at_least": 80_000}, {"tier": "core", "at_least": 10_000, "below": 80_000},
             {"tier": "basic", "below": 10_000}]  # fmt: skip
    stricter = read_strategy(changed(book / "stricter.yaml", *SCALE, to=steps), CATALOG)
    found = compare((POLICY, stricter), CATALOG, book / "profiles.parquet", DAY)
    assert found.moves == {("key", "key"): 1, ("key", "core"): 1, ("core", "core"): 1, ("standard", "basic"): 1}
    assert (found.clients, found.moved, found.routes) == (4, 2, ())
    tiers = {one.tier: one for one in found.tiers}
    assert list(tiers) == ["key", "core", "standard", "basic"]
    assert tiers["key"].eva == (142_000.0, 90_000.0)
    assert tiers["key"].capital == (284_000.0, 180_000.0)
    assert tiers["standard"].clients == (1, 0)
    grades = {one.grade: one for one in found.grades}
    assert grades["dedicated"].managers == pytest.approx((2 / 30, 1 / 30))
    assert grades["senior"].clients == (1, 2)
    assert {one.level: one.clients for one in found.levels} == {"branch": (2, 3), "both": (2, 1)}
    for side in (0, 1):
        assert sum(one.eva[side] for one in found.tiers) == 164_000
        assert sum(one.clients[side] for one in found.grades) == 4


def test_routes_of_offers_change_with_the_policy(book: Path) -> None:
    offers = {"client_id": ["c0", "c1", "c3"], "rank": [1, 1, 1], "bundle_id": ["leasing"] * 3,
              "score": [7.0, 8.0, -1.0], "concession": [0.0] * 3, "eva": [1.0] * 3}  # fmt: skip
    pq.write_table(pa.table(offers), book / "offers.parquet")
    at = ("routes", "rules", 4, "then")
    slower = {"priority": 1, "papers": "full", "signs": "head_office", "signature": "single", "days": 9}
    other = read_strategy(changed(book / "other.yaml", *at, to=slower), CATALOG)
    found = compare((POLICY, other), CATALOG, book / "profiles.parquet", DAY, offers=book / "offers.parquet")
    assert found.rerouted == 2  # the key clients, whom the green channel is for
    routes = {(one.signs, one.signature): (one.offers, one.days) for one in found.routes}
    assert routes == {
        ("head_office", "committee"): ((2, 0), (5.0, 0)),
        ("head_office", "single"): ((0, 2), (0, 9.0)),
        ("branch", "committee"): ((1, 1), (8.0, 8.0)),
    }
    assert next(one for one in found.tiers if one.tier == "key").potential == (15.0, 15.0)


def test_a_policy_beside_itself_changes_nothing(book: Path) -> None:
    found = compare((POLICY, POLICY), CATALOG, book / "profiles.parquet", DAY)
    assert found.moved == 0
    assert all(one.clients[0] == one.clients[1] for one in found.tiers)
    assert all(one.managers[0] == one.managers[1] for one in found.grades)


def test_a_comparison_is_shown_whole(book: Path) -> None:
    found = compare((POLICY, POLICY), CATALOG, book / "profiles.parquet", DAY)
    console = Console(record=True, width=120)
    for table in comparison_tables(found, ("one", "other")):
        console.print(table)
    said = " ".join(console.export_text().split())
    assert "0 of 4 clients change tier: from one (down) to other" in said
    assert "│ key │ 2 │ 2 │ 142,000 │ 142,000 │ 284,000 │ 284,000 │" in said
    narrow = Console(record=True, width=80)
    for table in comparison_tables(found, ("one", "other")):
        narrow.print(table)
    assert "…" not in narrow.export_text()


def test_nobody_to_compare_is_told(book: Path) -> None:
    path = book / "profiles.parquet"
    pq.write_table(pq.read_table(path)[:0], path)
    with pytest.raises(ValueError, match="the profiles have no client, so there is nothing to compare"):
        compare((POLICY, POLICY), CATALOG, path, DAY)


def test_profiles_without_worth_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"client_id": ["a"], "kind": ["retail"]}), tmp_path / "p.parquet")
    with pytest.raises(
        ValueError, match=r"p.parquet lacks eva, capital; profile with a catalog that has a price sheet"
    ):
        compare((POLICY, POLICY), CATALOG, tmp_path / "p.parquet", DAY)
