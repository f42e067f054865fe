"""Profiles as somebody would write them by hand for one bank: a single DuckDB query over its Parquet files.

It gives the columns of `sheaf.features.profile` for a bank that hands over clients, holdings, positions and
transactions, for an as-of day that ends a month, by a catalog without a price sheet (the economics of `pricing` are
checked by the tests), and shares no line with `features`: equal results check both. Where it says `case when`
inside an aggregate, `filter (where …)` reads better and takes DuckDB twice as long.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from sheaf.catalog import Catalog, Line

SINCE = {1: 30, 3: 91, 12: 365}  # days
LAGS = (1, 2, 3, 4)  # months
NOT_KNOWN = (
    "client_id|kind|sector|rating|tenure_months|age|income|(opened|closed)_months__.*|last_(opened|closed)_months|"
    "recent_share|deposit_spread|loan_spread|limit_use|.*flow_trend|foreign_.*_share_.*|last_transaction_days|"
    "contribution_(share|rank|cumulative)|tier|closeness|performance"
)  # columns that stay null where there is nothing to tell; all others become 0


def query(folder: Path, catalog: Catalog, as_of: dt.date) -> str:
    """The query; its columns have the profile's names, in an order and in types of their own."""
    day = f"date '{as_of}'"
    near, bounds = catalog.policy.closeness, catalog.policy.performance
    return f"""
with active as (
    select * from read_parquet('{folder}/clients.parquet')
    where joined_on <= {day} and (left_on is null or left_on > {day})
), {_holdings(folder, catalog, day)}, {_balances(folder, catalog, day)}, {_flows(folder, catalog, day)},
{_value(catalog)},
profiles as (
    select client_id, kind, sector, rating, age, income, ({day} - joined_on) / 30.4375 as tenure_months,
           month({day}) as season_month, h.* exclude (client_id), b.* exclude (client_id), f.* exclude (client_id),
           v.* exclude (client_id),
           case when tenure_months >= {near.tenure_months} and products_held >= {near.products}
                     and lines_held >= {near.lines} then 'core' else 'ordinary' end as closeness,
           case when kind <> 'corporate' or not inflow_12m > 0 then null
                when net_12m / inflow_12m >= {bounds.prosperous} then 'prosperous'
                when net_12m / inflow_12m < {bounds.loss_making} then 'loss_making' else 'general' end as performance
    from active left join holding h using (client_id) left join balance b using (client_id)
    left join flow f using (client_id) left join valued v using (client_id)
)
select columns('^({NOT_KNOWN})$'), coalesce(columns(lambda name: not regexp_full_match(name, '{NOT_KNOWN}')), 0)
from profiles"""


def _holdings(folder: Path, catalog: Catalog, day: str) -> str:
    """Per client and product first: what is held, counted or changed is a matter of the pair."""
    products = [product.product_id for product in catalog.products]
    lines = {line: _texts(p.product_id for p in catalog.products if p.line == line) for line in Line}
    ago = {months: f"last_day({day} - interval {months} month)" for months in (*LAGS, 6, 12)}
    pair = [
        *(f"bool_or(opened_on <= {ago[n]} and (closed_on is null or closed_on > {ago[n]})) as held_{n}m" for n in LAGS),
        *(f"count(*) filter (opened_on > {ago[n]}) as openings_{n}m" for n in (3, 6, 12)),
        *(f"count(*) filter (closed_on > {ago[n]}) as closings_{n}m" for n in (3, 6, 12)),
    ]
    client = [
        *(
            f"max(case when product_id = '{p}' then {name}::int end) as {name}__{p}"
            for p in products
            for name in ("held", *(f"held_{n}m" for n in LAGS))
        ),
        *(
            f"max(case when product_id = '{p}' then {name} end) as {name}__{p}"
            for p in products
            for name in ("opened_months", "closed_months", "openings", "closings")
        ),
        *(
            f"count(*) filter (held and product_id in {of_line}) as products_held__{name}"
            for name, of_line in lines.items()
        ),
        " + ".join(f"bool_or(held and product_id in {of_line})::int" for of_line in lines.values()) + " as lines_held",
        *(f"sum({what}_{n}m)::double as {what}_{n}m" for what in ("openings", "closings") for n in (3, 6, 12)),
    ]
    return f"""
known as (
    select client_id, product_id, opened_on, case when closed_on <= {day} then closed_on end as closed_on
    from read_parquet('{folder}/holdings.parquet') where opened_on <= {day} and product_id in {_texts(products)}
), pair as (
    select client_id, product_id, bool_or(closed_on is null) as held, count(*) filter (closed_on is null) as open,
           count(*) filter (closed_on is null and opened_on > {ago[6]}) as recent,
           count(*) as openings, count(closed_on) as closings,
           ({day} - max(opened_on)) / 30.4375 as opened_months, ({day} - max(closed_on)) / 30.4375 as closed_months,
           {_columns(pair)}
    from known group by all
), holding as (
    select client_id, count(*) filter (held) as products_held, count(*) as products_ever,
           count(*) filter (held <> held_1m) as products_changed, min(opened_months) as last_opened_months,
           min(closed_months) as last_closed_months, sum(recent) / nullif(sum(open), 0) as recent_share,
           {_columns(client)}
    from pair group by client_id
)"""


def _balances(folder: Path, catalog: Catalog, day: str) -> str:
    """Months are counted back from the last month-end told; `worth` is a month's margin and fees."""
    products, transfer = {product.product_id: product for product in catalog.products}, catalog.policy.transfer_rate
    side = {
        of: _texts(p.product_id for p in catalog.products if p.side == of) for of in ("deposit", "asset", "service")
    }
    margin = " ".join(f"when '{name}' then {product.margin!r}" for name, product in products.items())
    fee = " ".join(f"when '{name}' then {product.annual_fee / 12!r}" for name, product in products.items())
    sums = []
    for name, of in (("deposits", "deposit"), ("loans", "asset")):
        mine = f"sum(balance) filter (product_id in {side[of]} and"
        sums += [
            f"coalesce({mine} back = 0), 0) as {name}",
            *(f"coalesce({mine} back < {n}), 0) / {n} as {name}_mean_{n}m" for n in (3, 12)),
            *(f"{name} - coalesce({mine} back = {n}), 0) as {name}_change_{n}m" for n in (3, 12)),
        ]
    rate = {of: f"filter (back = 0 and rate is not null and product_id in {side[of]})" for of in ("deposit", "asset")}
    paid = {of: f"sum(balance * rate) {where} / nullif(sum(balance) {where}, 0)" for of, where in rate.items()}
    sums += [
        f"sum(case when back = 0 and product_id = '{name}' then balance end) as balance__{name}" for name in products
    ]
    return f"""
month_end as (
    select *, round((max(month) over () - month) / 30.4375) as back
    from read_parquet('{folder}/positions.parquet')
    where month <= {day} and month > {day} - 488 and product_id in {_texts(products)}
), position as (
    select *, coalesce(balance * case when rate is null or product_id in {side["service"]}
                                      then case product_id {margin} end
                                      when product_id in {side["deposit"]} then {transfer} - rate
                                      else rate - {transfer} end / 12, 0)
              + coalesce(fees, case product_id {fee} end) as worth
    from month_end where back <= 12
), balance as (
    select client_id, {transfer} - {paid["deposit"]} as deposit_spread, {paid["asset"]} - {transfer} as loan_spread,
           sum("limit") filter (back = 0 and "limit" > 0) as "limit",
           sum(balance) filter (back = 0 and "limit" > 0)
           / nullif(sum("limit") filter (back = 0 and "limit" > 0), 0) as limit_use,
           sum(fees) filter (back < 12) as fees_12m, sum(worth) filter (back < 12) as contribution,
           {_columns(sums)}
    from position group by client_id
)"""


def _flows(folder: Path, catalog: Catalog, day: str) -> str:
    """One pass over the bookings, by client and kind; the distinct counts take passes of their own."""
    ways = {"in": "amount > 0", "out": "amount < 0"}
    within = {months: f"booked_at > {day} - {days}" for months, days in SINCE.items()}
    by_kind = [
        *(
            f"sum(case when {sign} and {within[n]} then abs(amount) else 0 end) as {way}_{n}m"
            for way, sign in ways.items()
            for n in SINCE
        ),
        *(
            f"sum(case when {sign} and abroad and {within[n]} then abs(amount) else 0 end) as abroad_{way}_{n}m"
            for way, sign in ways.items()
            for n in (3, 12)
        ),
        *(f"sum(case when {within[n]} then 1.0::double else 0 end) as transactions_{n}m" for n in SINCE),
        *(
            f"sum(case when amount > 0 and booked_at > {day} - {30 * n} and booked_at <= {day} - {30 * n - 30}"
            f" then amount else 0 end) as month_{n}"
            for n in (1, 2, 3)
        ),
    ]
    totals = [
        *(f"coalesce(sum({way}_{n}m), 0) as {way}flow_{n}m" for way in ways for n in SINCE),
        *(f"inflow_{n}m - outflow_{n}m as net_{n}m" for n in SINCE),
        *(f"sum(transactions_{n}m)::double as transactions_{n}m" for n in SINCE),
        *(f"coalesce(sum(abroad_{way}_{n}m), 0) as foreign_{way}_{n}m" for way in ways for n in (3, 12)),
        *(
            f"foreign_{way}_{n}m / nullif({way}flow_{n}m, 0) as foreign_{way}_share_{n}m"
            for way in ways
            for n in (3, 12)
        ),
        *(
            f"""({way}flow_3m / 91 - ({way}flow_12m - {way}flow_3m) / 274)
                / nullif({way}flow_3m / 91 + ({way}flow_12m - {way}flow_3m) / 274, 0) as {way}flow_trend"""
            for way in ways
        ),
        *(
            f"max(case when kind = '{kind}' then {name}_{n}m end) as {name}_{n}m__{kind}"
            for kind in catalog.policy.transaction_kinds
            for n in (1, 3)
            for name in (*ways, "transactions")
        ),
    ]
    return f"""
booking as (
    select client_id, booked_at, amount, kind, counterparty_id, currency <> '{catalog.currency}' as abroad
    from read_parquet('{folder}/transactions.parquet') where booked_at <= {day} and booked_at > {day} - 365
), by_kind as (
    select client_id, kind, max(booked_at) as last_booked, {_columns(by_kind)} from booking group by all
), moved as (
    select client_id, {day} - max(last_booked) as last_transaction_days,
           least(coalesce(sum(month_1), 0), coalesce(sum(month_2), 0), coalesce(sum(month_3), 0)) as regular_inflow,
           {_columns(totals)}
    from by_kind group by client_id
), counterparty as (
    select client_id, count(*) as counterparties_12m
    from (select distinct client_id, counterparty_id from booking where counterparty_id is not null) group by client_id
), busy as (
    select client_id, count(*) as active_days_3m
    from (select distinct client_id, booked_at from booking where {within[3]}) group by client_id
), flow as (
    select * from moved left join counterparty using (client_id) left join busy using (client_id)
)"""


def _value(catalog: Catalog) -> str:
    *tiers, last = catalog.policy.tiers
    reached = " ".join(
        f"when worth > 0 and before < {tier.cumulative_share - 1e-9!r} then '{tier.name}'" for tier in tiers
    )
    return f"""
worth as (
    select client_id, coalesce(contribution, 0) as worth, round(worth, 6) as rounded,
           case when rounded > 0 then worth else 0 end as positive
    from active left join balance using (client_id)
), placed as (
    select *, sum(worth) over () as total, sum(positive) over () as whole,
           sum(positive) over (order by rounded desc) as reached,
           rank() over (order by rounded desc) as contribution_rank,
           (reached - sum(positive) over (partition by rounded)) / nullif(whole, 0) as before
    from worth
), valued as (
    select client_id, contribution_rank, worth / nullif(total, 0) as contribution_share,
           reached / nullif(whole, 0) as contribution_cumulative,
           case {reached} else '{last.name}' end as tier
    from placed
)"""


def _columns(columns: Iterable[str]) -> str:
    return ",\n           ".join(columns)


def _texts(texts: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{text}'" for text in texts) + ")"
