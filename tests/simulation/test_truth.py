"""The truth is what the openings were drawn from, and the tables show before the day why."""

from __future__ import annotations

import numpy as np

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.simulation.behaviour import read_behaviour

OPENED = """select client_id, product_id, day as as_of from holdings, (select distinct as_of as day from truth)
    where opened_on > day and opened_on <= day + 31"""
SUMS = f"""sum(probability), sum(probability * (1 - probability)), count(opened.client_id)
    from truth left join ({OPENED}) opened using (client_id, product_id, as_of)"""


def test_truth_covers_exactly_the_eligible_pairs_not_held(ask_large):
    catalog = read_catalog(DEFAULT)
    may = " union all ".join(
        f"select '{product.product_id}' as product_id, '{kind}' as kind, {_where(product)} as fits"
        for product in catalog.products
        for kind in product.kinds
    )
    for as_of in ("2025-10-31", "2025-11-30"):
        pairs = f"""with known as (
                select * from clients where valid_from <= date '{as_of}'
                qualify row_number() over (partition by client_id order by valid_from desc) = 1),
            active as (select * from known where left_on is null),
            may as (select client_id, product_id from active
                join lateral ({may}) may on active.kind = may.kind and fits),
            held as (select client_id, product_id from holdings where opened_on <= date '{as_of}'
                and (closed_on is null or closed_on > date '{as_of}'))
            select client_id, product_id from may except select * from held"""
        told = f"select client_id, product_id from truth where as_of = date '{as_of}'"
        assert ask_large(f"(({pairs}) except ({told})) union all (({told}) except ({pairs}))") == []
    assert ask_large("select count(*) = count(distinct (as_of, client_id, product_id)) from truth") == [(True,)]


def _where(product):
    tests = [
        f"coalesce({name} between {-1e18 if condition.min is None else condition.min} "
        f"and {1e18 if condition.max is None else condition.max}, true)"
        for name, condition in product.where.items()
    ]
    return " and ".join(tests) or "true"


def test_as_much_is_opened_as_the_truth_says(ask_large):
    """The sum of independent draws differs from its expectation by at most four standard deviations."""
    rows = ask_large(f"select as_of, product_id, {SUMS} group by all")
    assert len({product for _, product, *_ in rows}) == len(read_catalog(DEFAULT).products)
    for as_of, product, expected, variance, opened in rows:
        assert abs(opened - expected) <= 4 * variance**0.5 + 1, (as_of, product)
    expected, variance, opened = np.array([row[2:] for row in rows]).astype(float).sum(axis=0)
    assert abs(opened - expected) <= 3 * variance**0.5


def test_the_truth_is_calibrated_at_every_height(ask_large):
    rows = ask_large(f"select floor(2 * ln(probability)) as height, {SUMS} group by all")
    assert len(rows) > 10
    for height, expected, variance, opened in rows:
        assert abs(opened - expected) <= 4 * variance**0.5 + 1, height


def test_nobody_opens_what_the_truth_leaves_out(ask_large):
    assert ask_large(f"""select count(*) from ({OPENED}) anti join truth using (client_id, product_id, as_of)
        join people using (client_id) where joined_on <= as_of""") == [(0,)]


def test_four_to_eight_in_a_hundred_open_something_in_a_month(ask_large):
    months = ask_large("""select date_trunc('month', opened_on) as month, count(distinct client_id) / 20000
        from holdings join people using (client_id) where opened_on > joined_on and opened_on >= date '2025-07-01'
        group by month""")
    assert len(months) == 6
    assert all(0.04 <= share <= 0.08 for _, share in months)


def test_several_products_are_opened_together(ask_large):
    [(share,)] = ask_large("""select avg((n > 1)::int) from (select count(*) as n
        from holdings join people using (client_id) where opened_on > joined_on and opened_on >= date '2025-07-01'
        group by client_id, opened_on)""")
    assert share > 0.08


def test_staff_follow_the_employer_that_takes_the_payroll_service(ask_large):
    follow, others = ask_large("""with signed as (select client_id as firm from holdings
                where product_id = 'payroll_agency' and opened_on between date '2025-09-01' and date '2025-11-30'),
            staff as (select client_id from links join signed on linked_id = firm
                where relation = 'employer' and since <= date '2025-11-30' and until is null)
        select avg(probability) from truth where as_of = date '2025-11-30' and product_id = 'payroll_account'
        group by client_id in (from staff) order by client_id in (from staff) desc""")
    assert follow[0] > 0.2
    assert follow[0] > 20 * others[0]


def test_needs_show_in_the_bookings_before_anything_is_opened(ask_large):
    """Of those likely to open a travel card, nearly all have paid abroad in the three months before; of others few."""
    likely, others = ask_large("""with travelled as (select distinct client_id from transactions
            where kind = 'travel' and booked_at between date '2025-09-01' and date '2025-11-30'
            group by client_id having count(*) >= 2)
        select avg((client_id in (from travelled))::int) from truth
        where as_of = date '2025-11-30' and product_id = 'travel_card'
        group by probability > 0.1 order by probability > 0.1 desc""")
    assert likely[0] > 0.85
    assert others[0] < 0.1


def test_every_product_has_a_behaviour_and_every_behaviour_a_product():
    sold = {(product.product_id, str(kind)) for product in read_catalog(DEFAULT).products for kind in product.kinds}
    for segment, kinds in (("retail", {"retail"}), ("firms", {"corporate", "institution"})):
        assert set(read_behaviour(segment).products) == {product for product, kind in sold if kind in kinds}
