"""What managers are measured by: for every client of a month a part and a whole, so that any book is a ratio of sums.

A measure of a book is Σ part / Σ whole where it is a share or a rate, and Σ part where it is an amount (the whole is
then 1 a client). Everything is as known at the month's end; a client counts for whoever has it then. All definitions
are our own where no source is named.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import pyarrow as pa

from sheaf.catalog import Catalog
from sheaf.features import Bank, C, day_number
from sheaf.features.bank import connect
from sheaf.features.monthly_positions import at_month_ends, need_rates, rates_of
from sheaf.pricing.price_table import PriceTable
from sheaf.strategy.plans.planner import known as cleaned
from sheaf.strategy.policy.conditions import literal
from sheaf.strategy.policy.managers import Card
from sheaf.strategy.policy.measures import MEASURES, NON_PERFORMING, SATISFACTION

UNITS = {"manager": C.MANAGER, "branch": C.BRANCH}
_POSITIONS = """
    with told as (
        select p.client_id, p.now, o.side, o.graded, o.funds, o.margin, p.rate,
            coalesce(g.margin, u.margin, 0) as added,
            coalesce(p.balance, 0) * coalesce(r.rate, 1) as balance, coalesce(p.fees, 0) * coalesce(r.rate, 1) as fees,
            coalesce(nullif(p.currency, ''), o.currency) <> own.currency as abroad
        from positions p join products o using (product_id) cross join own
        left join rates r on r.currency = p.currency left join grades g on g.rating = p.rating
        left join grades u on u.rating = own.unrated
    ), signed as (
        select *, if(now, balance, -balance) as change,
            if(side = 1, rate - funds - margin - if(graded, added, 0), funds - margin - rate) as gain,
            now and side <> 0 and rate is not null and margin is not null as counts
        from told
    )
    select client_id,
        sum(if(side = -1 and not abroad, change, 0)) as deposits_local,
        sum(if(side = -1 and abroad, change, 0)) as deposits_foreign,
        sum(if(side = 1 and now, balance, 0)) as loans,
        sum(if(side = 1 and not now, balance, 0)) as loans_before,
        sum(if(side <> 0 and now, balance, 0)) as volume,
        sum(if(side <> 0 and not now, balance, 0)) as volume_before,
        sum(if(now, fees, 0)) as fees,
        sum(if(counts, gain * balance, 0)) as gain,
        sum(if(counts, balance, 0)) as priced
    from signed group by client_id
"""
_OFFERS = """
    select client_id, sum((offered_at > $before)::integer) as made,
        sum((outcome is not null and responded_at > $before)::integer) as answered,
        sum((coalesce(outcome = 'accepted', false) and responded_at > $before)::integer) as accepted
    from offers group by client_id
"""
_AMOUNTS = ("deposits_local", "deposits_foreign", "loans", "loans_before", "volume", "volume_before", "fees", "gain",
            "priced", "turnover_local", "turnover_foreign", "made", "answered", "accepted")  # fmt: skip


@dataclass(frozen=True)
class MeasuredMonth:
    """A month of a bank: rows of client and measure in `rows` (`manager`, `branch`, `measure`, `cell`, `part`,
    `whole`), and why what is not measured is left out."""

    end: dt.date
    rows: pa.Table
    left_out: dict[str, str]


def month_of(bank: Bank, catalog: Catalog, card: Card, end: dt.date) -> MeasuredMonth:
    """The measures of the card in the month that ends on `end`.

    Raises TableError for positions in a currency without a rate, ValueError where nothing can be measured.
    """
    before = end.replace(day=1) - dt.timedelta(days=1)
    known = at_month_ends(bank.known_on(end), end)
    need_rates(known, catalog)
    connection = connect()
    there = _clients(connection, known, catalog, card, end, before)
    there |= _positions(connection, known, catalog, end, before)
    there |= _flows(connection, known, catalog, before)
    there |= _offers(connection, known, before)
    left_out = {name: why for name in card.measures if (why := there[MEASURES[name].needs])}
    measured = [name for name in card.measures if name not in left_out]
    twice = connection.sql("select client_id from clients group by 1 having count(*) > 1 order by 1 limit 1").fetchall()
    if twice:
        raise ValueError(f"table clients: client {twice[0][0]} is there more than once; sheaf check tells all of them")
    if not connection.sql("select 1 from clients limit 1").fetchall():
        raise ValueError(f"the bank has no client in {end:%Y-%m}; give a month in which it has")
    if not measured:
        raise ValueError(f"nothing of the scorecard can be measured in {end:%Y-%m}: {'; '.join(left_out.values())}")
    connection.execute(_joined(card))
    each = " union all ".join(_rows(name, card) for name in measured)
    rows = connection.sql(f"select * from ({each}) where part <> 0 or whole <> 0").to_arrow_table()
    return MeasuredMonth(end, rows, left_out)


def _clients(
    connection: Any, known: Bank, catalog: Catalog, card: Card, end: dt.date, before: dt.date
) -> dict[str, str]:
    """The table `clients`: everybody who was there in the month, and how they stand."""
    there = known.clients_on(end).filter(
        nw.col(C.JOINED_ON) <= day_number(end), nw.col(C.LEFT_ON).is_null() | (nw.col(C.LEFT_ON) > day_number(before))
    )
    sales = catalog.pricing.turnover if catalog.pricing else None
    types = known.attributes
    own = {
        "sales": sales if sales in types and types[sales].is_numeric() else None,
        "satisfaction": SATISFACTION if SATISFACTION in types and types[SATISFACTION].is_numeric() else None,
        "told_bad": NON_PERFORMING if NON_PERFORMING in types and types[NON_PERFORMING].is_numeric() else None,
    }
    columns = [nw.col(name) for name in (C.CLIENT, C.KIND, C.SECTOR, C.RATING, C.MANAGER, C.BRANCH, C.JOINED_ON)]
    columns += [(nw.col(of) if of else nw.lit(None)).cast(nw.Float64).alias(name) for name, of in own.items()]
    connection.register("known", there.select(*columns).collect("pyarrow").to_native())
    earlier = known.clients_on(before).select(C.CLIENT, C.RATING).collect("pyarrow").to_native()
    connection.register("earlier", earlier)
    bounds = list(catalog.pricing.sales_bounds(catalog.currency)) if catalog.pricing else []
    bad, watched = (f"coalesce({{}} in ({', '.join(map(literal, of)) or 'null'}), false)"
                    for of in (card.non_performing, card.watched))  # fmt: skip
    numbers = ", ".join(f"{cleaned(name)} as {name}" for name in own)  # NaN is greater than any number
    connection.execute(f"""
        create table clients as select k.* replace ({numbers}), joined_on > {day_number(before)} as won,
            if({cleaned("told_bad")} is null, {bad.format("k.rating")}, told_bad > 0) as bad,
            {watched.format("e.rating")} as watched, e.rating as rating_before,
            len(list_filter({literal(bounds)}::double[], lambda x: coalesce(sales, 'inf'::double) > x)) as firm
        from known k left join earlier e using (client_id)
    """)
    [[told]] = connection.sql("select count(satisfaction) from clients").fetchall()
    what = f"table clients has no attribute {SATISFACTION} with numbers"
    if own["satisfaction"]:
        what = "" if told else f"table clients has no number in {SATISFACTION} for any client in {end:%Y-%m}"
    return {"": "", "satisfaction": what}


def _positions(connection: Any, known: Bank, catalog: Catalog, end: dt.date, before: dt.date) -> dict[str, str]:
    """The table `stood`: what clients had with the bank at the end of the month and of the one before."""
    missing = "there is no table positions"
    if "positions" in known:
        earliest = day_number(before.replace(day=1))
        rows = known["positions"].filter(nw.col(C.MONTH) >= earliest)
        now = (nw.col(C.MONTH) > day_number(before)).alias("now")
        wanted = (C.CLIENT, C.PRODUCT, C.BALANCE, C.RATE, C.FEES, C.CURRENCY)
        connection.register("moved", rows.select(*wanted, now).collect("pyarrow").to_native())
        connection.execute(
            "create table positions as select m.*, k.rating from moved m left join known k using (client_id)"
        )
        months = {row[0] for row in connection.sql("select distinct now from positions").fetchall()}
        _prices(connection, catalog)
        connection.execute(f"create table stood as {_POSITIONS}")
        missing = "" if True in months else f"table positions has no row of {end:%Y-%m}"
        earlier = missing or ("" if False in months else f"table positions has no row of {before:%Y-%m}")
        prices = missing or ("" if catalog.pricing else "the catalog has no price sheet")
        return {"positions": missing, "before": earlier, "prices": prices}
    columns = ", ".join(f"0.0 as {name}" for name in _AMOUNTS[:9])
    connection.execute(f"create table stood as select ''::varchar as client_id, {columns} where false")
    return dict.fromkeys(("positions", "before", "prices"), missing)


def _prices(connection: Any, catalog: Catalog) -> None:
    """The tables `products`, `grades`, `rates` and `own`, of the catalog."""
    sides, pricing = {"asset": 1, "deposit": -1, "service": 0}, catalog.pricing
    sheets = pricing.products if pricing else {}
    funds = dict(zip((p.product_id for p in catalog.products), PriceTable(catalog).funds, strict=True))
    products = [
        {"product_id": product.product_id, "side": sides[product.side],
         "graded": bool(sheet and sheet.credit), "funds": float(funds[product.product_id]),
         "margin": product.margin if sheet else None,
         "currency": (sheet.currency if sheet else None) or catalog.currency}
        for product in catalog.products for sheet in [sheets.get(product.product_id)]
    ]  # fmt: skip
    grades = [(name, grade.margin) for name, grade in (pricing.grades if pricing else {}).items()]
    own = {"currency": [catalog.currency], "unrated": [pricing.unrated if pricing else ""]}
    connection.register("products", pa.Table.from_pylist(products))
    connection.register("rates", _pairs("currency", "rate", list(rates_of(catalog).items())))
    connection.register("grades", _pairs("rating", "margin", grades))
    connection.register("own", pa.table(own))


def _pairs(key: str, value: str, pairs: list[tuple[str, float]]) -> pa.Table:
    columns = pa.array([one for one, _ in pairs], pa.string()), pa.array([one for _, one in pairs], pa.float64())
    return pa.table(dict(zip((key, value), columns, strict=True)))


def _flows(connection: Any, known: Bank, catalog: Catalog, before: dt.date) -> dict[str, str]:
    """The table `flowed`: turnover of the month, in and out together, in the bank's own currency and in others."""
    flowed, missing = pa.table({"client_id": pa.array([], pa.string())}), "there is no table transactions"
    names = ("turnover_local", "turnover_foreign")
    if "transactions" in known:
        rows = known["transactions"].filter(nw.col(C.BOOKED_AT) > day_number(before))
        abroad = nw.col(C.CURRENCY).fill_null(catalog.currency) != catalog.currency
        amount = nw.col(C.AMOUNT).abs()
        both = (nw.when(~abroad).then(amount).otherwise(0.0), nw.when(abroad).then(amount).otherwise(0.0))
        split = rows.select(C.CLIENT, *(one.alias(name) for one, name in zip(both, names, strict=True)))
        flowed = split.group_by(C.CLIENT).agg(*(nw.col(name).sum() for name in names)).collect("pyarrow").to_native()
        missing = "" if len(flowed) else "table transactions has no booking of the month"
    else:
        flowed = flowed.append_column(names[0], pa.array([], pa.float64()))
        flowed = flowed.append_column(names[1], pa.array([], pa.float64()))
    connection.register("flowed", flowed)
    return {"transactions": missing}


def _offers(connection: Any, known: Bank, before: dt.date) -> dict[str, str]:
    """The table `offered`: offers made in the month, and those answered in it, whenever they were made."""
    if "offers" not in known:
        none = "select ''::varchar as client_id, 0 as made, 0 as answered, 0 as accepted where false"
        connection.execute(f"create table offered as {none}")
        return {"offers": "there is no table offers"}
    day = nw.col(C.RESPONDED_AT) > day_number(before)
    rows = known["offers"].filter((nw.col(C.OFFERED_AT) > day_number(before)) | day)
    columns = (C.CLIENT, C.OFFERED_AT, C.OUTCOME, C.RESPONDED_AT)
    connection.register("offers", rows.select(*columns).collect("pyarrow").to_native())
    connection.execute(f"create table offered as {_OFFERS}", {"before": day_number(before)})
    return {"offers": ""}


def _joined(card: Card) -> str:
    """The table `_clients`, a row a client: all amounts, its cell, and its wallet.

    A wallet is the volume that clients alike reach at a high quantile, or the client's own where that is more: the
    *realistic* wallet of Perlich, Rosset, Lawrence and Zadrozny, High-quantile modeling for customer wallet estimation
    (KDD 2007). Alike are here clients of a kind, sector and size by sales.
    """
    amounts = ", ".join(f"coalesce({name}, 0)::double as {name}" for name in _AMOUNTS)
    bands = [number / card.bands for number in range(1, card.bands)]
    size = "case when volume_before <= 0 then 0 else 1 + len(list_filter(edges, lambda x: volume_before > x)) end"
    columns = {"kind": "kind", "sector": "sector", "rating": "rating_before", "size": size}
    cell = " || '|' || ".join(f"coalesce(({columns[name]})::varchar, '')" for name in card.alike)
    edges = f"quantile_cont(volume_before, {literal(bands)}::double[]) filter (volume_before > 0)" if bands else "[]"
    return f"""
        create table _clients as
        with amounts as (
            select c.*, {amounts} from clients c left join stood using (client_id) left join flowed using (client_id)
            left join offered using (client_id)
        ), edges as (select kind, {edges}::double[] as edges from amounts group by kind),
        wallets as (select kind, sector, firm, quantile_cont(volume, {card.wallet!r}) as wallet
                    from amounts group by all)
        select a.*, w.wallet, {cell} as cell from amounts a join edges using (kind)
        join wallets w on w.kind = a.kind and w.firm = a.firm and w.sector is not distinct from a.sector
    """


def _rows(name: str, card: Card) -> str:
    of = MEASURES[name]
    cell = "kind" if of.by_kind else "cell"
    return (
        f"select client_id, {C.MANAGER} as manager, {C.BRANCH} as branch, {literal(name)} as measure, {cell} as cell, "
        f"({of.part})::double as part, ({of.whole})::double as whole from _clients"
    )
