"""What the client is worth to the bank, its place among all clients, and the segments that follow.

Contribution is margin by funds-transfer pricing plus fees, before cost, risk and capital. Where the catalog has a price
sheet, net income, expected loss, capital, RAROC and EVA follow by the economics of `pricing`, over the same twelve
month-ends. Places and shares are among all clients active on the day, whichever of them are profiled. A group's figures
are sums over its active clients, each once (`sheaf.features.client_groups`), and its RAROC is the ratio of sums.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import narwhals as nw

from sheaf.catalog import Catalog, Kind
from sheaf.features.bank import Bank, day_number
from sheaf.features.client_groups import GROUP, members, told
from sheaf.features.contract import C
from sheaf.features.economics import cells, economics_of, of_holdings, of_positions
from sheaf.features.expressions import DAYS, Frame, Tables, amount_where, lookup, months_since, ratio
from sheaf.features.feature import Feature, Of, category, number
from sheaf.features.monthly_positions import at_month_ends, last_month, need_rates, positions_back, year_margin
from sheaf.features.windows import with_group_values

_AMONG_ALL = ("contribution_share", "contribution_rank", "contribution_cumulative", "tier", "net_income_share")
_TINY = 1e-9  # of the bank's total: engines add in different orders, and a place must not hang on that


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    money, policy = catalog.currency, catalog.policy
    earned = "positions" in bank
    of_year = "Margin and fees of the last 12 month-ends" if earned else "Assumed margin and fees of a year"
    tiers = ", ".join(f"{tier.name} to {tier.cumulative_share:.0%}" for tier in policy.tiers)
    near = policy.closeness
    stated = [
        number(
            "contribution",
            money,
            f"{of_year}, before cost, risk and capital.",
            f"Contributes {{value}} {money} a year",
            0.0,
        ),
        number(
            "contribution_share",
            "share",
            "The client's share of the sum of all clients' contributions; null where that is not positive.",
        ),
        number("contribution_rank", "place", "The client's place by contribution: 1 and those who bring more."),
        number(
            "contribution_cumulative",
            "share",
            "Share of all positive contributions that the clients up to this one bring, from the largest down.",
        ),
        category("tier", f"By the share of all positive contributions that larger clients bring: {tiers}."),
        category(
            "closeness",
            f"core from {near.tenure_months:g} months, {near.products} products and {near.lines} "
            "lines on, else ordinary.",
        ),
    ]
    if catalog.pricing is not None:
        stated += _of_price_sheet(money)
    stated = [replace(feature, of=Of.BANK) if feature.name in _AMONG_ALL else feature for feature in stated]
    if told(bank):
        stated += _of_group(money, catalog)
    if "transactions" in bank:
        stated.append(
            category(
                "performance",
                f"Of a firm, by (inflow - outflow) / inflow of the last {DAYS[12]} days: prosperous from "
                f"{policy.performance.prosperous:g}, loss_making below {policy.performance.loss_making:g}, "
                "general between; null without inflow.",
            )
        )
    return stated


def _of_price_sheet(money: str) -> list[Feature]:
    year = "of the last 12 month-ends"
    return [
        number("net_income", money, f"Contribution less cost, expected loss and tax, {year}.", missing=0.0),
        number(
            "net_income_share",
            "share",
            "Share of the sum of all clients' net incomes; null where that is not positive.",
        ),
        number("expected_loss", money, f"PD·LGD·EAD of what is held, {year}.", missing=0.0),
        number("capital", money, f"Economic capital that what is held takes, mean {year}.", missing=0.0),
        number(
            "raroc", "fraction a year", "Net income over capital, each summed over what is held; null without capital."
        ),
        number("eva", money, "Net income less what the capital has to earn.", missing=0.0),
        number(
            "return_on_net_assets",
            "fraction a year",
            "Risk-adjusted return on net assets, our own definition: net income over the mean of all balances, loans "
            "and deposits, less expected loss; null where that is not positive.",
        ),
    ]


def _of_group(money: str, catalog: Catalog) -> list[Feature]:
    whose = "of the client's group; null where the client is of none"
    stated = [
        number("group_clients", "clients", "Active clients of the client's group, itself too; null without."),
        number("group_contribution", money, f"Contribution {whose}."),
    ]
    if catalog.pricing is not None:
        stated += [
            number("group_net_income", money, f"Net income {whose}."),
            number("group_capital", money, f"Economic capital {whose}."),
            number("group_eva", money, f"EVA {whose}."),
            number(
                "group_raroc", "fraction a year", "Net income over capital, each summed over the group; null without."
            ),
        ]
    return [replace(feature, of=Of.GROUP) for feature in stated]


def of_groups(bank: Bank, catalog: Catalog, as_of: dt.date) -> Frame:
    """One row a group of linked clients as of a day: `group` (the least id of its clients), `clients`, and a year's
    `contribution`, with a price sheet also `net_income`, `expected_loss`, `capital`, `eva` and `raroc`.

    Money is in the catalog's currency, RAROC the ratio of sums, null without capital. Every active client counts once;
    who is of no group is not there.
    """
    known = at_month_ends(bank.known_on(as_of), as_of)
    need_rates(known, catalog)
    return _sums(_of_active(known, catalog, as_of), members(known, as_of), catalog)


def _sums(ranked: Frame, of: Frame, catalog: Catalog) -> Frame:
    amounts = ["contribution"]
    if catalog.pricing is not None:
        amounts += ["net_income", "expected_loss", "capital", "eva"]
    each = of.join(ranked, on=C.CLIENT, how="inner").with_columns(nw.lit(1.0).alias("clients"))
    found = each.group_by(GROUP).agg(*(nw.col(name).sum() for name in ("clients", *amounts)))
    if catalog.pricing is None:
        return found
    return found.with_columns(ratio(nw.col("net_income"), nw.col("capital")).alias("raroc"))


def build(known: Bank, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    ranked = _of_active(known, catalog, as_of)
    frame = clients.select(C.CLIENT, C.KIND, months_since(C.JOINED_ON, as_of).alias("_tenure"))
    frame = frame.join(ranked, on=C.CLIENT, how="left").join(_breadth(known, catalog), on=C.CLIENT, how="left")
    near = catalog.policy.closeness
    core = (
        (nw.col("_tenure") >= near.tenure_months)
        & (nw.col("_products").fill_null(0.0) >= near.products)
        & (nw.col("_lines").fill_null(0.0) >= near.lines)
    )
    columns: list[str | nw.Expr] = [
        "contribution",
        "contribution_share",
        "contribution_rank",
        "contribution_cumulative",
        "tier",
        nw.when(core).then(nw.lit("core")).otherwise(nw.lit("ordinary")).alias("closeness"),
    ]
    if catalog.pricing is not None:
        columns += [feature.name for feature in _of_price_sheet("")]
    if told(known):
        of, stated = members(known, as_of), [feature.name for feature in _of_group("", catalog)]
        whose = {name: nw.col(name.removeprefix("group_")).alias(name) for name in stated}
        theirs = _sums(ranked, of, catalog).select(GROUP, *whose.values())
        theirs = of.join(theirs, on=GROUP, how="inner").select(C.CLIENT, *stated)
        frame = frame.join(theirs, on=C.CLIENT, how="left")
        columns += stated
    if "transactions" in known:
        frame = frame.join(_flow_margin(known, as_of), on=C.CLIENT, how="left")
        columns.append(_performance(catalog).alias("performance"))
    return frame.select(C.CLIENT, *columns)


def _of_active(known: Bank, catalog: Catalog, as_of: dt.date) -> Frame:
    """What every client active on the day is worth, and its place."""
    active = _active(known, as_of)
    worth = _worth(known, catalog, as_of, active)
    return _ranked(active.select(C.CLIENT).join(worth, on=C.CLIENT, how="left"), catalog)


def _active(known: Bank, as_of: dt.date) -> Frame:
    return known.clients_on(as_of).filter(nw.col(C.JOINED_ON) <= day_number(as_of), nw.col(C.LEFT_ON).is_null())


def _worth(known: Bank, catalog: Catalog, as_of: dt.date, active: Frame) -> Frame:
    """One row a client: contribution and, where the catalog has a price sheet, `sheaf.features.economics.SUMS`."""
    earned = "positions" in known
    if catalog.pricing is None:
        return _earned(known, catalog, as_of) if earned else _assumed(known, catalog)
    if earned:
        rows = _year(known, catalog, as_of)
    held = of_positions(rows, catalog) if earned else of_holdings(_open_products(known), catalog)
    return economics_of(held, cells(active, catalog, known.attributes), catalog)


def _year(known: Tables, catalog: Catalog, as_of: dt.date) -> Frame:
    positions, day = known["positions"], day_number(as_of)
    return positions_back(positions, last_month(positions, day), catalog, day).filter(nw.col("back") < 12)


def _earned(known: Tables, catalog: Catalog, as_of: dt.date) -> Frame:
    """The contribution of the last twelve month-ends, a twelfth of a year each."""
    assumed = lookup(C.PRODUCT, {product.product_id: product.annual_fee / 12 for product in catalog.products})
    margin = (nw.col(C.BALANCE) * year_margin(catalog) / 12).fill_null(0.0)
    fees = nw.when(nw.col(C.FEES).is_null()).then(assumed).otherwise(nw.col(C.FEES))
    return (
        _year(known, catalog, as_of)
        .select(C.CLIENT, (margin + fees).alias("contribution"))
        .group_by(C.CLIENT)
        .agg(nw.col("contribution").sum())
    )


def _assumed(known: Tables, catalog: Catalog) -> Frame:
    """A year's contribution of the products held, each with its typical balance: what is left without positions."""
    worth = {product.product_id: product.yearly_worth for product in catalog.products}
    held = _open_products(known)
    return (
        held.select(C.CLIENT, lookup(C.PRODUCT, worth).alias("contribution"))
        .group_by(C.CLIENT)
        .agg(nw.col("contribution").sum())
    )


def _open_products(known: Tables) -> Frame:
    return known["holdings"].filter(nw.col(C.CLOSED_ON).is_null()).select(C.CLIENT, C.PRODUCT).unique()


def _breadth(known: Tables, catalog: Catalog) -> Frame:
    """Products held and the lines they span, a client."""
    lines = {product.line for product in catalog.products}
    of_line = {
        line: lookup(C.PRODUCT, {p.product_id: 1.0 for p in catalog.products if p.line == line}).alias(f"_line__{line}")
        for line in lines
    }
    held = _open_products(known).filter(nw.col(C.PRODUCT).is_in([p.product_id for p in catalog.products]))
    counts = (
        held.with_columns(nw.lit(1.0).alias("_products"), *of_line.values())
        .group_by(C.CLIENT)
        .agg(nw.col("_products").sum(), *(nw.col(f"_line__{line}").max() for line in lines))
    )
    spanned = nw.sum_horizontal(*(f"_line__{line}" for line in lines))
    return counts.select(C.CLIENT, "_products", spanned.alias("_lines"))


def _ranked(worth: Frame, catalog: Catalog) -> Frame:
    contribution = nw.col("contribution")
    # engines add in different orders: who is equal, and who is positive, is told from millionths
    worth = worth.with_columns(contribution.fill_null(0.0)).with_columns((-contribution.round(6)).alias("_descending"))
    brings = nw.col("_descending") < 0
    worth = worth.with_columns(amount_where(brings, contribution).alias("_positive"))
    order = ["_descending", C.CLIENT]
    placed = worth.with_columns(
        contribution.sum().alias("_total"),
        nw.col("_positive").sum().alias("_positive_total"),
        nw.col("_positive").cum_sum().over(order_by=order).alias("_reached"),
        contribution.cum_count().over(order_by=order).cast(nw.Float64).alias("contribution_rank"),
    )
    # equal clients stand at one place: the first of theirs, with all that they bring together
    placed = placed.with_columns((nw.col("_reached") - nw.col("_positive")).alias("_before"))
    placed = with_group_values(
        placed,
        ["_descending"],
        _better=nw.col("_before").min(),
        _together=nw.col("_reached").max(),
        _place=nw.col("contribution_rank").min(),
    )
    whole = nw.col("_positive_total")
    before = ratio(nw.col("_better"), whole)
    last, *better = reversed(catalog.policy.tiers)
    tier = nw.lit(last.name)
    for step in better:  # whoever it takes to reach the share
        within = brings & (before < step.cumulative_share - _TINY)
        tier = nw.when(within).then(nw.lit(step.name)).otherwise(tier)
    priced = []
    if catalog.pricing is not None:
        income, capital, loss = nw.col("net_income"), nw.col("capital"), nw.col("expected_loss")
        priced = [
            *(nw.col(name).fill_null(0.0) for name in ("net_income", "expected_loss", "capital", "eva")),
            ratio(income.fill_null(0.0), income.fill_null(0.0).sum()).alias("net_income_share"),
            ratio(income, capital).alias("raroc"),
            ratio(income, nw.col("_balance") - loss).alias("return_on_net_assets"),
        ]
    return placed.select(
        C.CLIENT,
        "contribution",
        *priced,
        ratio(contribution, nw.col("_total")).alias("contribution_share"),
        nw.col("_place").alias("contribution_rank"),
        ratio(nw.col("_together"), whole).alias("contribution_cumulative"),
        tier.alias("tier"),
    )


def _flow_margin(known: Tables, as_of: dt.date) -> Frame:
    amount = nw.col(C.AMOUNT)
    return (
        known["transactions"]
        .filter(nw.col(C.BOOKED_AT) > day_number(as_of) - DAYS[12])
        .select(C.CLIENT, amount.alias("_net"), amount_where(amount > 0, amount).alias("_inflow"))
        .group_by(C.CLIENT)
        .agg(nw.col("_net").sum(), nw.col("_inflow").sum())
    )


def _performance(catalog: Catalog) -> nw.Expr:
    bounds = catalog.policy.performance
    margin = ratio(nw.col("_net"), nw.col("_inflow"))
    segment = (
        nw.when(margin >= bounds.prosperous)
        .then(nw.lit("prosperous"))
        .otherwise(nw.when(margin < bounds.loss_making).then(nw.lit("loss_making")).otherwise(nw.lit("general")))
    )
    return nw.when((nw.col(C.KIND) == Kind.CORPORATE.value) & ~margin.is_null()).then(segment)
