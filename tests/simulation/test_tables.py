"""The simulated tables keep the contract, and what happens in them could happen in a bank."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest

from sheaf.catalog import DEFAULT, read_catalog

END = dt.date(2025, 12, 31)


def test_as_many_clients_as_asked_for_of_all_kinds(ask):
    counts = dict(ask("select kind, count(*) from people group by kind"))
    assert counts == {"retail": 2200, "corporate": 250, "institution": 50}


def test_every_id_is_a_client(ask):
    for table, column in [
        ("holdings", "client_id"), ("positions", "client_id"), ("transactions", "client_id"),
        ("transactions", "counterparty_id"), ("links", "client_id"), ("links", "linked_id"), ("truth", "client_id"),
    ]:  # fmt: skip
        unknown = ask(f"select count(*) from {table} where {column} not in (select client_id from people)")
        assert unknown == [(0,)], (table, column)


def test_ids_tell_nothing_of_the_kind(ask):
    """Mean place of an id is the middle of the bank for every kind, but for chance."""
    for kind, mean, n in ask("select kind, avg(substr(client_id, 2)::int), count(*) from people group by kind"):
        assert abs(mean - 1250.5) < 4 * 2500 / (12 * n) ** 0.5, kind


def test_products_are_held_by_the_kinds_that_may(ask):
    allowed = {(p.product_id, str(kind)) for p in read_catalog(DEFAULT).products for kind in p.kinds}
    held = set(ask("select distinct product_id, kind from holdings join people using (client_id)"))
    assert held <= allowed
    assert {product for product, _ in held} == {product for product, _ in allowed}


def test_nothing_is_held_before_joining_or_after_leaving(ask):
    assert ask("""select count(*) from holdings join people using (client_id)
        where opened_on < joined_on or closed_on <= opened_on
           or left_on is not null and (closed_on is null or closed_on > left_on)""") == [(0,)]


def test_a_product_is_not_opened_while_it_is_held(ask):
    assert ask("""select count(*) from holdings a join holdings b using (client_id, product_id)
        where a.opened_on < b.opened_on and (a.closed_on is null or a.closed_on > b.opened_on)""") == [(0,)]


def test_some_products_are_opened_again_after_they_were_closed(ask):
    assert ask("""select count(*) > 0 from holdings a join holdings b using (client_id, product_id)
        where a.closed_on < b.opened_on""") == [(True,)]


def test_positions_are_those_of_the_products_held_at_the_month_end(ask):
    held = """select client_id, product_id, month from holdings, (select distinct month from positions)
        where opened_on <= month and (closed_on is null or closed_on > month)"""
    positions = "select client_id, product_id, month from positions"
    assert ask(f"({held} except {positions}) union all ({positions} except {held})") == []
    assert ask("select count(*) = count(distinct (client_id, product_id, month)) from positions") == [(True,)]
    assert ask("select count(distinct month), max(month), bool_and(month = last_day(month)) from positions") == [
        (24, END, True)
    ]


def test_bookings_fall_into_the_time_as_a_client(ask):
    assert ask("""select count(*) from transactions join people using (client_id)
        where booked_at < joined_on or booked_at > left_on or booked_at < date '2024-01-01'
           or booked_at > date '2025-12-31' or amount = 0""") == [(0,)]


def test_links_hold_between_clients_of_that_time(ask):
    assert ask("""select count(*) from links join people a using (client_id) join people b on linked_id = b.client_id
        where since < a.joined_on or since < b.joined_on or until < since or until > date '2025-12-31'
           or least(a.left_on, b.left_on) < coalesce(until, date '2999-01-01')""") == [(0,)]
    sides = ask("""select distinct relation, a.kind = 'retail', b.kind = 'retail' from links
        join people a using (client_id) join people b on linked_id = b.client_id""")
    assert set(sides) == {
        ("employer", True, False), ("owner", False, True), ("guarantor", False, True),
        ("supplier", False, False), ("group", False, False),
    }  # fmt: skip


def test_leaving_is_told_from_its_day_on(ask):
    assert ask("""select bool_and(valid_from = left_on) from clients where left_on is not null""") == [(True,)]
    assert ask("""select count(*) from clients join people using (client_id)
        where valid_from > people.left_on or valid_from < people.joined_on""") == [(0,)]
    assert ask("select count(*) between 20 and 400 from people where left_on is not null") == [(True,)]


def test_attributes_change_over_time(ask):
    for attribute in ("age", "income", "children", "employees", "turnover", "export_share", "rating", "marital_status"):
        changed = ask(f"""select count(*) > 0 from
            (select client_id from clients group by client_id having count(distinct {attribute}) > 1)""")
        assert changed == [(True,)], attribute


def test_attributes_belong_to_the_kind(ask):
    assert ask("""select count(*) from clients where (kind = 'retail') = (age is null or income is null)
        or (kind = 'retail') != (employees is null or turnover is null or sector is null)""") == [(0,)]


@pytest.mark.parametrize("attribute", ["age", "children"])
def test_nobody_gets_younger_or_loses_a_child(ask, attribute):
    rows = ask(f"""select client_id, {attribute} from clients where kind = 'retail' order by client_id, valid_from""")
    assert all(later[1] >= earlier[1] for earlier, later in pairwise(rows) if earlier[0] == later[0])


def test_six_to_ten_bookings_a_client_and_month(ask):
    [(count,)] = ask("select count(*) from transactions")
    assert 6 <= count / (2500 * 24) <= 10


def test_bookings_abroad_are_in_other_currencies(ask):
    rows = ask("select kind, currency = 'EUR', count(*) from transactions group by all")
    abroad = {kind for kind, domestic, _ in rows if not domestic}
    assert abroad == {"trade", "travel"}
