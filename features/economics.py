"""The economics of what clients hold, by `pricing`, as Narwhals expressions: a year of the last twelve month-ends.

The formulas are `pricing`'s own functions; here is only what turns positions into volumes, and the book's numbers into
lookups by product and by the client's grade and size. A rating that the catalog's grades lack counts as `unrated` here,
since a profile is built for everyone; a quote refuses it.
"""

from __future__ import annotations

import narwhals as nw
import numpy as np

from sheaf.catalog import AssetClass, Catalog
from sheaf.features.contract import C
from sheaf.features.expressions import Frame, amount_where, indicator, lookup
from sheaf.pricing.basel import maturity_factor, unit_capital
from sheaf.pricing.economics import Coefficients, Rates, Volumes, cost_risk_capital, economic_value_added, net_income
from sheaf.pricing.price_table import PriceTable

_GRADE, _SIZE = "_grade", "_size"
SUMS = ("contribution", "opex", "expected_loss", "capital", "net_income", "eva", "_balance")
"""What `economics_of` gives of every client."""


def cells(clients: Frame, catalog: Catalog, attributes: dict[str, nw.dtypes.DType]) -> Frame:
    """One row a client: its grade, and the number of its size as a text; null sales count as a large firm's."""
    book = PriceTable(catalog)
    known = nw.col(C.RATING).is_in(book.grades)
    grade = nw.when(known).then(nw.col(C.RATING)).otherwise(nw.lit(book.pricing.unrated))
    size: nw.Expr = nw.lit(str(len(book.sizes) - 1))
    turnover = book.pricing.turnover
    if turnover in attributes and attributes[turnover].is_numeric():
        sales = nw.col(turnover).cast(nw.Float64)
        for number, upper in reversed(list(enumerate(book.pricing.sales_bounds(catalog.currency)))):
            size = nw.when(sales <= upper).then(nw.lit(str(number))).otherwise(size)
    return clients.select(C.CLIENT, grade.alias(_GRADE), size.alias(_SIZE))


def of_positions(rows: Frame, catalog: Catalog) -> Frame:
    """One row a client and product, a year's average of its month-ends (a twelfth each) for `economics_of`."""
    book = PriceTable(catalog)
    balance, rate, fees = nw.col(C.BALANCE).fill_null(0.0), nw.col(C.RATE), nw.col(C.FEES)
    columns = {
        "_balance": balance,
        "_priced": amount_where(~rate.is_null(), balance),
        "_interest": amount_where(~rate.is_null(), balance * rate),
        "_told": fees.fill_null(0.0),
        "_untold": indicator(fees.is_null()),
        "_undrawn": amount_where(nw.col(C.LIMIT) > balance, nw.col(C.LIMIT) - balance),
        "_years": nw.lit(1.0),
    }
    # nothing is looked up of a product before its months are one row: that is what takes time
    summed = (
        rows.select(C.CLIENT, C.PRODUCT, *(value.alias(name) for name, value in columns.items()))
        .group_by(C.CLIENT, C.PRODUCT)
        .agg(*(nw.col(name).sum() for name in columns))
    )
    side, funds = of_product(book, book.side), of_product(book, book.funds)
    priced = amount_where(side != 0, nw.col("_priced"))
    return summed.select(
        C.CLIENT,
        C.PRODUCT,
        (nw.col("_balance") / 12).alias("_balance"),
        ((nw.col("_balance") - priced) / 12).alias("_unpriced"),
        (side * (nw.col("_interest") - funds * nw.col("_priced")) / 12).alias("_margin"),
        (nw.col("_told") + nw.col("_untold") * of_product(book, book.fees / 12)).alias("_fees"),
        (nw.col("_undrawn") / 12).alias("_undrawn"),
        (nw.col("_years") / 12).alias("_years"),
    )


def of_holdings(held: Frame, catalog: Catalog) -> Frame:
    """The same of products held, each with its typical balance: what is left without positions."""
    book = PriceTable(catalog)
    balance = of_product(book, book.balance)
    return held.select(
        C.CLIENT,
        C.PRODUCT,
        balance.alias("_balance"),
        balance.alias("_unpriced"),
        nw.lit(0.0).alias("_margin"),
        of_product(book, book.fees).alias("_fees"),
        of_product(book, np.maximum(book.limit - book.balance, 0.0)).alias("_undrawn"),
        nw.lit(1.0).alias("_years"),
    )


def economics_of(held: Frame, cells: Frame, catalog: Catalog) -> Frame:
    """One row a client with `SUMS`: what `sheaf.pricing.client_value` gives, summed over the client's products."""
    book = PriceTable(catalog)
    rates = Rates.of(book.pricing)
    grades = book.pricing.grades
    graded = of_product(book, np.array([float(s is not None and s.credit is not None) for s in book.sheets]))
    graded = graded * (of_product(book, book.side) != 0).cast(nw.Float64)
    list_margin = of_product(book, np.array([product.margin for product in book.products]))
    added = graded * lookup(_GRADE, {name: grade.margin for name, grade in grades.items()})
    years = nw.col("_years")
    held = held.join(cells, on=C.CLIENT, how="inner").with_columns(
        (nw.col("_margin") + nw.col("_unpriced") * (list_margin + added)).alias("_margin"),
        (nw.col("_fees") - years * of_product(book, book.fixed)).alias("_charged"),
    )
    margin, fees, charged = nw.col("_margin"), nw.col("_fees"), nw.col("_charged")
    contribution = margin + fees
    volumes = Volumes(
        nw.col("_balance"),
        nw.col("_undrawn"),
        amount_where(charged > 0, charged),
        amount_where(contribution > 0, contribution),
        years,
    )
    opex, expected_loss, capital = cost_risk_capital(_coefficients(book), volumes)
    amounts = held.select(
        C.CLIENT, "_balance", margin.alias("_margin"), fees.alias("_fees"), contribution.alias("contribution"),
        opex.alias("opex"), expected_loss.alias("expected_loss"), capital.alias("capital"),
    )  # fmt: skip
    summed = ("contribution", "_margin", "_fees", "opex", "expected_loss", "capital", "_balance")
    sums = amounts.group_by(C.CLIENT).agg(*(nw.col(name).sum() for name in summed))
    of = {name: nw.col(name) for name in summed}
    income = net_income(of["_margin"], of["_fees"], of["opex"], of["expected_loss"], of["capital"], rates)
    with_income = sums.with_columns(income.alias("net_income"))
    eva = economic_value_added(nw.col("net_income"), nw.col("capital"), rates)
    return with_income.with_columns(eva.alias("eva")).select(C.CLIENT, *SUMS)


def of_product(book: PriceTable, values: np.ndarray) -> nw.Expr:
    """The number of the row's product; 0 where the catalog has none for it."""
    numbers = np.nan_to_num(np.asarray(values, dtype=float)).tolist()
    return lookup(C.PRODUCT, {key: numbers[at] for key, at in book.positions.items()})


def _coefficients(book: PriceTable) -> Coefficients:
    """The book's coefficients of the row's product, grade and size."""
    of, grades = book.coefficients, book.pricing.grades
    by_product = {
        name: of_product(book, getattr(of, name))
        for name in ("opex", "cost_rate", "unit_cost", "lgd", "ccf", "of_balance", "of_revenue")
    }
    pd = lookup(_GRADE, {name: grade.pd for name, grade in grades.items()})
    # K = LGD·unit(class, grade, size)·(1 + (M - 1)·slope(grade)): the maturity factor is 1 at a year, and linear in M
    slope = lookup(_GRADE, {name: float(maturity_factor(grade.pd, 2.0)) - 1 for name, grade in grades.items()})
    longer = of_product(book, book.maturity - 1)
    k = by_product["lgd"] * _unit_capital(book) * (1 + longer * slope)
    return Coefficients(**by_product, pd=pd, k=k)


def _unit_capital(book: PriceTable) -> nw.Expr:
    found: nw.Expr = nw.lit(0.0)
    classes = {sheet.credit.asset_class for sheet in book.sheets if sheet and sheet.credit}
    for asset_class in sorted(classes):
        of_class = [p.product_id for p, s in zip(book.products, book.sheets, strict=True)
                    if s and s.credit and s.credit.asset_class == asset_class]  # fmt: skip
        found = nw.when(nw.col(C.PRODUCT).is_in(of_class)).then(_of_class(book, asset_class)).otherwise(found)
    return found


def _of_class(book: PriceTable, asset_class: AssetClass) -> nw.Expr:
    """Capital for a loss given default of 1 by grade, and for firms by size as well."""
    grades = book.pricing.grades

    def by_grade(sales: float) -> nw.Expr:
        return lookup(_GRADE, {name: float(unit_capital(asset_class, g.pd, sales)) for name, g in grades.items()})

    found = by_grade(np.inf)
    if asset_class == "corporate":
        for number, upper in enumerate(book.sizes[:-1]):
            found = nw.when(nw.col(_SIZE) == str(number)).then(by_grade(upper)).otherwise(found)
    return found
