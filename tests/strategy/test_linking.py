"""Who sells a bundle together, and what each desk gains of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sheaf.strategy import Linker, Planner, Room, Router, explained_room, read_strategy
from sheaf.strategy.plans.linking import gains, gathered, quoted
from tests.strategy.banks import CATALOG, DAY, POLICY, changed, profiles

FIRM = {"kind": "corporate", "rating": "C", "eva": 2_000.0, "contribution": 2_000.0, "links_employer_of": 16.0}
HELD = {f"held__{product.product_id}": 0.0 for product in CATALOG.products}
NONE = Decimal("0.00")


def values(client: dict[str, Any], bundle: str, concession: float = 0.0, policy: Any = POLICY) -> dict[str, Any]:
    """What is known of the client, its plan and the pair."""
    planner = Planner(policy, DAY)
    router, linker = Router(planner, CATALOG), Linker(policy, CATALOG)
    asked = dict.fromkeys([*router.keep, *linker.keep])
    one = planner.one("c0", [profiles(asked | HELD | {"kind": "retail"} | client)], [*router.keep, *linker.keep])
    return one.plan | router.one(one.table, bundle, concession)


def priced(known: dict[str, Any], policy: Any = POLICY) -> tuple[Room, Any]:
    quote = quoted(Router(Planner(policy, DAY), CATALOG).book, known, DAY)
    return Linker(policy, CATALOG).room(known).shared(quote.lines), quote


def told(room: Room) -> dict[str, tuple[str, str]]:
    return {seat.desk: (str(seat.contribution), str(seat.eva)) for seat in room.seats}


def test_line_lead_and_the_desk_of_the_staff_share_a_payroll() -> None:
    """900.00 - 50.00: a fifth to the lead, three fifths to the line's desk, a fifth to the staff's."""
    room, quote = priced(
        values(FIRM | {"held__business_account": 1.0, "held__business_card": 1.0}, "payroll_package", 50)
    )
    assert str(quote.total.price) == "850.00"
    assert {seat.desk: str(seat.contribution) for seat in room.seats} == {
        "corporate_desk": "170.00", "transaction_desk": "510.00", "personal_desk": "170.00"
    }  # fmt: skip
    assert [seat.reasons for seat in room.seats] == [
        ("leads: firm or institution",),
        ("Payroll agency is of line intermediary",),
        ("16 linked by staff: staff is paid through us",),
    ]


def test_where_nobody_is_linked_the_others_share_it_all() -> None:
    alone = FIRM | {"links_employer_of": 0.0, "held__business_account": 1.0, "held__business_card": 1.0}
    room, _ = priced(values(alone, "payroll_package"))
    # 0.2 and 0.6 of 0.8
    assert {seat.desk: str(seat.contribution) for seat in room.seats} == {
        "corporate_desk": "225.00", "transaction_desk": "675.00"
    }  # fmt: skip
    [_, linked] = explained_room(POLICY, values(alone, "payroll_package"), room)
    assert (linked.outcome, linked.rule) == ((), "none")
    [change] = linked.changes
    assert (change.outcome, [need.column for need in change.needs]) == ("personal_desk", ["links_employer_of"])


def test_a_desk_with_two_parts_is_in_the_room_once() -> None:
    room, quote = priced(values({"kind": "retail", "rating": "B", "links_employer": 1.0}, "payroll_account"))
    assert [seat.desk for seat in room.seats] == ["personal_desk", "corporate_desk"]  # leads, and is the line's
    assert sum((seat.contribution or NONE for seat in room.seats), NONE) == quote.total.price
    assert room.parts["payroll_account"] == pytest.approx({"personal_desk": 0.8, "corporate_desk": 0.2})


def test_a_group_of_one_is_no_group() -> None:
    for clients, there in ((1.0, False), (2.0, True)):
        room = Linker(POLICY, CATALOG).room(values(FIRM | {"group_clients": clients}, "cash_management"))
        assert ("key_accounts" in [seat.desk for seat in room.seats]) == there


@pytest.mark.parametrize(
    "bundle", [o.bundle_id for o in CATALOG.offers if "corporate" in o.kinds and len(o.products) > 2]
)
@pytest.mark.parametrize("concession", [0.0, 33.33])
def test_the_desks_have_the_quotes_total(bundle: str, concession: float) -> None:
    ties = {"links_owner": 1.0, "links_supplier": 2.0, "links_supplier_of": 3.0, "group_clients": 4.0}
    room, quote = priced(values(FIRM | ties | {"turnover": 9e6}, bundle, concession))
    assert sum((seat.contribution or NONE for seat in room.seats), NONE) == quote.total.price
    assert sum((seat.eva or NONE for seat in room.seats), NONE) == quote.total.eva


WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.0, 1.0), min_size=1).filter(
    lambda w: sum(w.values()) > 0
)
MONEY = st.integers(-(10**13), 10**13).map(lambda cents: Decimal(cents) / 100)


@given(st.lists(st.tuples(WEIGHTS, MONEY), max_size=8))
def test_every_split_adds_up_to_the_cent(amounts: list[tuple[dict[str, float], Decimal]]) -> None:
    found = gains(amounts)
    assert sum(found.values(), NONE) == sum((amount for _, amount in amounts), NONE)


@example({"a": 5e-324}, Decimal("0.02"))
@given(WEIGHTS, MONEY)
def test_each_part_is_within_a_cent_of_its_weight(weights: dict[str, float], amount: Decimal) -> None:
    for desk, part in gains([(weights, amount)]).items():
        exact = float(amount) * (weights[desk] / sum(weights.values()))  # in this order: weights may be tiny
        assert abs(float(part) - exact) <= 0.01 + 1e-9 * abs(float(amount))


@given(st.lists(st.tuples(WEIGHTS, MONEY), max_size=8), st.randoms())
def test_the_order_of_products_desks_and_clients_does_not_matter(amounts: list[Any], random: Any) -> None:
    other = [(dict(random.sample(list(weights.items()), len(weights))), amount) for weights, amount in amounts]
    random.shuffle(other)
    assert gains(other) == gains(amounts)


def test_the_other_way_round_it_is_split_as_well_whatever_the_policy(tmp_path: Path) -> None:
    policy = read_strategy(
        changed(tmp_path / "p.yaml", "linkage", "split", to={"lead": 0.0, "line": 0.333, "linked": 0.667}), CATALOG
    )
    room, quote = priced(values(FIRM, "payroll_package", policy=policy), policy)
    assert sum((seat.eva or NONE for seat in room.seats), NONE) == quote.total.eva


def test_offers_in_bulk_have_the_rooms_of_one_by_one(tmp_path: Path) -> None:
    pairs = [("c0", 1, "payroll_package", 50.0), ("c0", 2, "growth", 0.0), ("c1", 1, "salary_package", 1.0)]
    columns = dict(
        zip(("client_id", "rank", "bundle_id", "concession"), map(list, zip(*pairs, strict=True)), strict=True)
    )
    pq.write_table(pa.table(columns | {"score": [1.0] * 3, "eva": [1.0] * 3}), tmp_path / "offers.parquet")
    planner = Planner(POLICY, DAY, offers=tmp_path / "offers.parquet")
    router, linker = Router(planner, CATALOG), Linker(POLICY, CATALOG)
    asked = dict.fromkeys([*router.keep, *linker.keep]) | HELD
    table = profiles(asked | FIRM, asked | {"kind": "retail", "rating": "B"})
    found = pa.concat_tables(linker.of_offers(router, [table])).to_pylist()
    alone, quote = priced(values(FIRM, "payroll_package", 50.0))
    rows = [row for row in found if row["bundle_id"] == "payroll_package"]
    assert [(row["desk"], row["leads"], row["contribution"], row["eva"]) for row in rows] == [
        (seat.desk, seat.leads, seat.contribution, seat.eva) for seat in alone.seats
    ]
    assert sum((row["eva"] for row in rows), NONE) == quote.total.eva
    assert {row["client_id"] for row in found} == {"c0", "c1"}


def test_rooms_in_blocks_are_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"c{at}", 1, "salary_package", 1.0) for at in range(5)]
    columns = dict(
        zip(("client_id", "rank", "bundle_id", "concession"), map(list, zip(*pairs, strict=True)), strict=True)
    )
    pq.write_table(pa.table(columns | {"score": [1.0] * 5, "eva": [1.0] * 5}), tmp_path / "offers.parquet")
    router = Router(Planner(POLICY, DAY, offers=tmp_path / "offers.parquet"), CATALOG)
    linker = Linker(POLICY, CATALOG)
    person = dict.fromkeys([*router.keep, *linker.keep]) | HELD | {"kind": "retail", "rating": "B"}
    table = profiles(*[person] * 6)  # the last has no offer
    [whole] = linker.of_offers(router, [table])
    monkeypatch.setattr("sheaf.strategy.plans.linking.BLOCK", 2)
    blocks = list(linker.of_offers(router, [table]))
    assert [len(set(block["client_id"].to_pylist())) for block in blocks] == [2, 2, 1]
    assert pa.concat_tables(blocks) == whole


def test_a_package_counts_every_bundle_once_and_no_client_twice() -> None:
    firm, quote = priced(values(FIRM, "payroll_package"))
    person, other = priced(values({"kind": "retail", "rating": "B", "links_employer": 1.0}, "salary_package"))
    whole = gathered([firm, person, person])
    assert sum((seat.eva or NONE for seat in whole.seats), NONE) == quote.total.eva + 2 * other.total.eva
    assert [seat.desk for seat in whole.seats if seat.leads] == ["corporate_desk"]
    router = Router(Planner(POLICY, DAY), CATALOG)
    twice = pa.table({"client_id": ["a", "a"], "bundle_id": ["leasing"] * 2, "concession": [0.0] * 2})
    with pytest.raises(ValueError, match="a client is in the package twice"):
        Linker(POLICY, CATALOG).package(router, profiles({}), twice)
