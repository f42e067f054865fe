"""What the client holds, held and dropped, product by product, and how much it changes."""

from __future__ import annotations

import datetime as dt

import narwhals as nw

from sheaf.catalog import Catalog, Line
from sheaf.features.bank import Bank
from sheaf.features.contract import C
from sheaf.features.expressions import Frame, Tables, indicator, months_before, months_since, ratio
from sheaf.features.feature import Feature, count, flag, number

LAGS = (1, 2, 3, 4)  # calendar months
WINDOWS = (3, 6, 12)  # calendar months
_PER_PRODUCT = ("held", "opened_months", "closed_months", "openings", "closings", *(f"held_{lag}m" for lag in LAGS))


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    stated: list[Feature] = []
    for product in catalog.products:
        key, name = product.product_id, product.name
        stated += [
            flag(f"held__{key}", f"Holds {name}.", f"Holds {name}"),
            number(
                f"opened_months__{key}",
                "months",
                f"Time since {name} was last opened; null if never.",
                f"Took {name} {{value}} ago",
            ),
            number(
                f"closed_months__{key}",
                "months",
                f"Time since {name} was last closed; null if never.",
                f"Gave up {name} {{value}} ago",
            ),
            count(f"openings__{key}", "openings", f"How often {name} was opened."),
            count(f"closings__{key}", "closings", f"How often {name} was closed."),
        ]
        stated += [
            flag(f"held_{lag}m__{key}", f"Held {name} on the day {lag} calendar month(s) earlier.") for lag in LAGS
        ]
    stated += [
        count("products_held", "products", "Different products held.", "Products held: {value}"),
        count("products_ever", "products", "Different products ever held."),
        count("lines_held", "lines", "Business lines that the products held span."),
    ]
    for line in _lines(catalog):
        stated.append(count(f"products_held__{line}", "products", f"Products held of the line {line}."))
    for months in WINDOWS:
        stated.append(
            count(
                f"openings_{months}m",
                "openings",
                f"Openings in the last {months} calendar months.",
                f"Products opened in the last {months} months: {{value}}",
            )
        )
        stated.append(count(f"closings_{months}m", "closings", f"Closings in the last {months} calendar months."))
    return [
        *stated,
        number(
            "last_opened_months",
            "months",
            "Time since the last opening of anything.",
            "Last opened a product {value} ago",
        ),
        number("last_closed_months", "months", "Time since the last closing of anything; null if never."),
        number("recent_share", "share", "Share of the open holdings that were opened in the last 6 calendar months."),
        count("products_changed", "products", "Products held now and not one calendar month before, or the reverse."),
    ]


def build(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    lines = {
        line: [product.product_id for product in catalog.products if product.line == line] for line in _lines(catalog)
    }
    totals = _with_lines(_pairs(known, catalog, as_of), lines).group_by(C.CLIENT).agg(*_totals(lines))
    made = (C.CLIENT, "open", "recent", *(f"_any__{line}" for line in lines))
    return totals.select(
        C.CLIENT,
        *(name for name in totals.collect_schema().names() if name not in made),
        nw.sum_horizontal(*(f"_any__{line}" for line in lines)).alias("lines_held"),
        ratio(nw.col("recent"), nw.col("open")).alias("recent_share"),
    )


def build_by_product(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    return _pairs(known, catalog, as_of).select(C.CLIENT, C.PRODUCT, *_PER_PRODUCT)


def _lines(catalog: Catalog) -> list[Line]:
    sold = {product.line for product in catalog.products}
    return [line for line in Line if line in sold]


def _held_on(day: int) -> nw.Expr:
    closed_on = nw.col(C.CLOSED_ON)
    return (nw.col(C.OPENED_ON) <= day) & (closed_on.is_null() | (closed_on > day))


def _pairs(known: Tables, catalog: Catalog, as_of: dt.date) -> Frame:
    """One row a client and product of the catalog: its history with that product."""
    holdings = known["holdings"].filter(nw.col(C.PRODUCT).is_in([product.product_id for product in catalog.products]))
    still_open = nw.col(C.CLOSED_ON).is_null()
    ago = {months: months_before(as_of, months) for months in {*LAGS, *WINDOWS}}
    rows = holdings.select(
        C.CLIENT,
        C.PRODUCT,
        months_since(C.OPENED_ON, as_of).alias("opened_months"),
        months_since(C.CLOSED_ON, as_of).alias("closed_months"),
        indicator(still_open).alias("held"),
        indicator(still_open & (nw.col(C.OPENED_ON) > ago[6])).alias("recent"),
        nw.lit(1.0).alias("openings"),
        indicator(~still_open).alias("closings"),
        *(indicator(_held_on(ago[lag])).alias(f"held_{lag}m") for lag in LAGS),
        *(indicator(nw.col(C.OPENED_ON) > ago[months]).alias(f"openings_{months}m") for months in WINDOWS),
        *(indicator(nw.col(C.CLOSED_ON) > ago[months]).alias(f"closings_{months}m") for months in WINDOWS),
    )
    return (
        rows.with_columns(nw.col("held").alias("open"))
        .group_by(C.CLIENT, C.PRODUCT)
        .agg(
            *(nw.col(name).min() for name in ("opened_months", "closed_months")),
            *(nw.col(name).max() for name in ("held", *(f"held_{lag}m" for lag in LAGS))),
            *(nw.col(name).sum() for name in ("openings", "closings", "open", "recent")),
            *(nw.col(f"{what}_{months}m").sum() for what in ("openings", "closings") for months in WINDOWS),
        )
    )


def _with_lines(pairs: Frame, lines: dict[Line, list[str]]) -> Frame:
    held = {line: indicator(nw.col(C.PRODUCT).is_in(products)) * nw.col("held") for line, products in lines.items()}
    return pairs.with_columns(
        *(value.alias(f"_held__{line}") for line, value in held.items()),
        indicator(nw.col("held") != nw.col("held_1m")).alias("_changed"),
        nw.lit(1.0).alias("_pair"),
    )


def _totals(lines: dict[Line, list[str]]) -> list[nw.Expr]:
    return [
        nw.col("held").sum().alias("products_held"),
        nw.col("_pair").sum().alias("products_ever"),
        nw.col("_changed").sum().alias("products_changed"),
        *(nw.col(name).sum() for name in ("open", "recent")),
        *(nw.col(f"_held__{line}").sum().alias(f"products_held__{line}") for line in lines),
        *(nw.col(f"_held__{line}").max().alias(f"_any__{line}") for line in lines),
        *(nw.col(f"{what}_{months}m").sum() for what in ("openings", "closings") for months in WINDOWS),
        nw.col("opened_months").min().alias("last_opened_months"),
        nw.col("closed_months").min().alias("last_closed_months"),
    ]
