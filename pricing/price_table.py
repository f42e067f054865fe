"""The catalog's prices as arrays: what every product brings at list price, for every grade and size of client.

A client's grade and size are all that moves the economics of a typical contract, so they are worked out once for each
pair of the two (a *cell*) and looked up ever after. Nothing else of a client is read, no protected attribute either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sheaf.catalog import Catalog, Grade, Pricing, Product, Sheet
from sheaf.catalog.price_schema import Benefit
from sheaf.pricing.basel import maturity_factor, unit_capital
from sheaf.pricing.economics import Coefficients, Economics, Rates, Volumes, cost_risk_capital
from sheaf.pricing.transfer_pricing import average_balance, blended, effective_maturity

ELEMENTS = ("margin", "fee", "unit")
"""What a client can pay: a margin on the balance, a fixed fee, a price a unit."""
SPREADS: frozenset[Benefit] = frozenset({"spread_percent", "spread_amount"})
FEES: frozenset[Benefit] = frozenset({"waive", "percent", "amount"})
LARGE = "large"  # a firm beyond the last size


class AskedError(ValueError):
    """What was asked of a quote and cannot be had; `field` is where it was asked."""

    def __init__(self, field: str, problem: str):
        self.field = field
        super().__init__(problem)


class NoPriceSheetError(ValueError):
    """Something has to be priced that the catalog holds no prices for."""


def need_pricing(catalog: Catalog) -> Pricing:
    """The catalog's section `pricing`. Raises NoPriceSheetError where it has none."""
    if catalog.pricing is None:
        raise NoPriceSheetError(
            f"the catalog {catalog.name} has no price sheet, so nothing can be quoted; add a section pricing: "
            "(docs/reference/price-sheet.md says what belongs there)"
        )
    return catalog.pricing


def funds_rate(catalog: Catalog, product: Product) -> float:
    """The product's funds-transfer rate: by curve and funding, or the policy's flat one without a price sheet."""
    pricing = catalog.pricing
    sheet = pricing.products.get(product.product_id) if pricing else None
    if pricing is None or sheet is None or not sheet.funding:
        return catalog.policy.transfer_rate
    return blended(pricing.curves[sheet.currency or catalog.currency], sheet.funding)


@dataclass(frozen=True)
class PriceTable:
    """The priced products of a catalog; arrays are (cells, products) or (cells, products, elements).

    A cell is grade · sizes + size, in the order of `grades` and `sizes`.
    """

    catalog: Catalog

    @cached_property
    def pricing(self) -> Pricing:
        return need_pricing(self.catalog)

    @cached_property
    def rates(self) -> Rates:
        return Rates.of(self.pricing)

    @cached_property
    def products(self) -> list[Product]:
        """The catalog's products in its order; those without a price sheet have economics of NaN."""
        return list(self.catalog.products)

    @cached_property
    def positions(self) -> dict[str, int]:
        return {product.product_id: index for index, product in enumerate(self.products)}

    @cached_property
    def grades(self) -> list[str]:
        return list(self.pricing.grades)

    @cached_property
    def sizes(self) -> list[float]:
        """Sales in millions of euros that a firm counts as having; the last is a large one's."""
        return [*self.pricing.firm_sizes, np.inf]

    def cell(self, rating: str | None, sales: float | None = None) -> int:
        """The cell of a client of that rating and yearly sales (money); None where not known.

        Raises ValueError for a rating that the catalog's grades lack, and for negative sales.
        """
        grade = self.pricing.unrated if rating is None else rating
        if grade not in self.pricing.grades:
            raise AskedError(
                "rating",
                f"rating {grade!r} is not in the catalog's grades, which are {', '.join(self.grades)}; "
                "add it to pricing.grades, or correct the client's rating",
            )
        if sales is not None and not sales >= 0:
            raise ValueError(f"{self.pricing.turnover} {sales:g} is below 0; sales are 0 or more")
        return int(self.cells_of([grade], np.zeros(1, dtype=int), np.array([np.nan if sales is None else sales]))[0])

    def cells_of(self, ratings: Sequence[str], code: np.ndarray, sales: np.ndarray) -> np.ndarray:
        """(clients,): cells of clients whose rating is `ratings[code]` and who have these yearly sales (money).

        A rating that the grades lack and a code that is negative or beyond the last count as unrated, NaN as large.
        """
        return self.cells_at(self.places_of(ratings), code, sales)

    def places_of(self, ratings: Sequence[str]) -> np.ndarray:
        """The place in `grades` of each rating, and at the end that of who is unrated."""
        unrated = self.grades.index(self.pricing.unrated)
        return np.array([*(self.grades.index(name) if name in self.grades else unrated for name in ratings), unrated])

    def cells_at(self, places: np.ndarray, code: np.ndarray, sales: np.ndarray) -> np.ndarray:
        """`cells_of`, by what `places_of` gives for the ratings."""
        known = (code >= 0) & (code < len(places) - 1)
        size = np.searchsorted(self._bounds, np.where(np.isnan(sales), np.inf, sales))
        return np.asarray(places[np.where(known, code, -1)] * len(self._bounds) + size)

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Upper ends of the bands of sales, money in the catalog's currency."""
        return np.array([*self.pricing.sales_bounds(self.catalog.currency), np.inf])

    @cached_property
    def cells(self) -> list[tuple[Grade, float]]:
        return [(self.pricing.grades[grade], size) for grade in self.grades for size in self.sizes]

    @cached_property
    def sheets(self) -> list[Sheet | None]:
        return [self.pricing.products.get(product.product_id) for product in self.products]

    @cached_property
    def side(self) -> np.ndarray:
        """(products,): 1 for what lends, -1 for deposits, 0 for services."""
        return np.array([{"asset": 1, "deposit": -1, "service": 0}[product.side] for product in self.products])

    @cached_property
    def balance(self) -> np.ndarray:
        """(products,): typical balance of what is held."""
        return np.array([product.balance for product in self.products])

    @cached_property
    def fees(self) -> np.ndarray:
        """(products,): fees of a year at list price."""
        return np.array([product.annual_fee for product in self.products])

    @cached_property
    def fixed(self) -> np.ndarray:
        """(products,): the part of them that is not charged by the unit."""
        pairs = zip(self.products, self.sheets, strict=True)
        return np.array([(s.fixed_fee or 0.0) if s and s.unit_price is not None else p.annual_fee for p, s in pairs])

    @cached_property
    def limit(self) -> np.ndarray:
        """(products,): typical limits."""
        return np.array([sheet.credit.limit if sheet and sheet.credit else 0.0 for sheet in self.sheets])

    @cached_property
    def funds(self) -> np.ndarray:
        """(products,): funds-transfer rates."""
        return np.array([funds_rate(self.catalog, product) for product in self.products])

    @cached_property
    def margin(self) -> np.ndarray:
        """(cells, products): list margins; a credit's grows with the grade."""
        return np.array(
            [
                [product.margin + (grade.margin if sheet and sheet.credit and product.side == "asset" else 0.0)
                 for product, sheet in zip(self.products, self.sheets, strict=True)]
                for grade, _ in self.cells
            ]
        )  # fmt: skip

    @cached_property
    def average_balance(self) -> np.ndarray:
        """(cells, products): average balance of the typical contract's first year; of an annuity at the client's own
        rate, the margin of the grade included. NaN without a price sheet."""
        found = np.empty(self.margin.shape)
        for at, (product, sheet, funds) in enumerate(zip(self.products, self.sheets, self.funds, strict=True)):
            credit = sheet.credit if sheet else None
            found[:, at] = np.nan if sheet is None else product.balance
            if credit:
                rates, of_cell = np.unique(funds + self.margin[:, at], return_inverse=True)
                found[:, at] *= np.array([average_balance(credit, float(rate)) for rate in rates])[of_cell]
        return found

    @cached_property
    def coefficients(self) -> Coefficients:
        """(cells, products), or (products,) where the client does not matter."""
        fee_capital = self.pricing.fee_capital

        def each(of: Any) -> np.ndarray:
            return np.array([np.nan if sheet is None else of(sheet) for sheet in self.sheets], dtype=float)

        return Coefficients(
            opex=each(lambda sheet: sheet.opex),
            cost_rate=each(lambda sheet: sheet.cost_rate),
            unit_cost=each(lambda sheet: sheet.unit_cost / sheet.unit_price if sheet.unit_price else 0.0),
            pd=np.array([[grade.pd] for grade, _ in self.cells]),
            lgd=each(lambda sheet: sheet.credit.lgd if sheet.credit else 0.0),
            ccf=each(lambda sheet: sheet.credit.ccf if sheet.credit else 0.0),
            k=self._capital(),
            of_balance=each(lambda sheet: 0.0 if sheet.credit else fee_capital.balance),
            of_revenue=each(lambda sheet: 0.0 if sheet.credit else fee_capital.revenue),
        )

    @cached_property
    def known_coefficients(self) -> Coefficients:
        """The same, 0 for what has no price sheet."""
        return Coefficients(**{name: np.nan_to_num(values) for name, values in vars(self.coefficients).items()})

    @cached_property
    def maturity(self) -> np.ndarray:
        """(products,): effective maturity of the typical contract at the product's own margin, whatever the grade adds,
        years; NaN for what is no credit to a firm."""
        return np.array(
            [
                effective_maturity(sheet.credit, funds + product.margin)
                if sheet and sheet.credit and sheet.credit.asset_class == "corporate" else np.nan
                for product, sheet, funds in zip(self.products, self.sheets, self.funds, strict=True)
            ]
        )  # fmt: skip

    def _capital(self) -> np.ndarray:
        """(cells, products): K, capital for one unit of exposure; 0 for what is no credit."""
        found = np.zeros((len(self.cells), len(self.products)))
        pd = np.array([grade.pd for grade, _ in self.cells])
        sales = np.array([size for _, size in self.cells])
        for at, sheet in enumerate(self.sheets):
            if sheet is not None and sheet.credit:
                k = sheet.credit.lgd * unit_capital(sheet.credit.asset_class, pd, sales)
                if sheet.credit.asset_class == "corporate":
                    k = k * maturity_factor(pd, self.maturity[at])
                found[:, at] = k
        return found

    @cached_property
    def list_price(self) -> np.ndarray:
        """(cells, products, elements): money a year at list price."""
        priced = np.array([np.nan if sheet is None else 1.0 for sheet in self.sheets])
        fees = np.stack([self.fixed, self.fees - self.fixed], axis=-1) * priced[:, None]
        fees = np.broadcast_to(fees, (*self.margin.shape, 2))
        return np.concatenate([(self.average_balance * self.margin)[..., None], fees], axis=-1)

    @cached_property
    def highest_price(self) -> np.ndarray:
        """(products,): money a year at list price of whoever pays most for it; NaN without a price sheet."""
        most: np.ndarray = np.maximum(self.list_price, 0.0).sum(axis=-1).max(axis=0)
        return most

    @cached_property
    def undrawn(self) -> np.ndarray:
        """(products,): undrawn limit of the typical contract, the first year's average; NaN without a price sheet."""
        runs = [np.nan if s is None else s.credit.share_of_year if s.credit else 1.0 for s in self.sheets]
        found: np.ndarray = np.where(self.limit > 0, np.maximum(self.limit - self.balance, 0.0), 0.0) * runs
        return found

    @cached_property
    def economics(self) -> Economics:
        """(cells, products): a year of the typical contract at list price."""
        balance, elements = self.average_balance, self.list_price
        service = self.side == 0
        margin = np.where(service, 0.0, elements[..., 0])
        fees = elements[..., 1] + elements[..., 2] + np.where(service, elements[..., 0], 0.0)
        volumes = Volumes(balance, self.undrawn, elements[..., 2], np.maximum(margin + fees, 0.0))
        opex, expected_loss, capital = (
            np.broadcast_to(amount, margin.shape) for amount in cost_risk_capital(self.coefficients, volumes)
        )
        return Economics(margin, fees, opex, expected_loss, capital, balance, self.rates)

    @cached_property
    def room(self) -> np.ndarray:
        """(cells, products, elements): how much of the list price, money a year, may be conceded.

        Down to the element's floor and at most `max_concession` of it, but for a fixed fee that may be waived; nothing
        where no benefit fits the element.
        """
        price = self.list_price
        floor = np.zeros_like(price)
        for at, sheet in enumerate(self.sheets):
            if sheet is None:
                continue
            kinds = set(sheet.benefits)
            allowed = np.array([bool(kinds & SPREADS), bool(kinds & FEES), bool(kinds)])
            floor[:, at] = np.where(allowed, (1 - self.pricing.max_concession) * price[:, at], price[:, at])
            if "waive" in kinds:  # a fixed fee that may be waived may go, whatever the cap
                floor[:, at, 1] = 0.0
            if sheet.margin_floor is not None:
                floor[:, at, 0] = np.maximum(floor[:, at, 0], sheet.margin_floor * self.average_balance[:, at])
            if sheet.fee_floor is not None:
                floor[:, at, 1] = np.maximum(floor[:, at, 1], sheet.fee_floor)
            if sheet.unit_floor is not None and sheet.unit_price:
                at_floor = sheet.unit_floor / sheet.unit_price * price[:, at, 2]
                floor[:, at, 2] = np.maximum(floor[:, at, 2], at_floor)
        return np.maximum(price - floor, 0.0)

    def drawn(self, cell: np.ndarray, new: int, balance: np.ndarray) -> np.ndarray:
        """(clients, products): the share of each `balance` held (clients, products) that goes into product `new`.

        All of it together is at most what the new one comes to; where it would be more, each gives less in proportion.
        """
        wanted = balance * self.draws[new]
        total, room = wanted.sum(axis=1), self.economics.balance[cell, new]
        scale = np.minimum(np.divide(room, total, out=np.ones(len(cell)), where=total > 0), 1.0)
        share: np.ndarray = self.draws[new] * scale[:, None]
        return share

    @cached_property
    def draws(self) -> np.ndarray:
        """(products, products): share of what is held of the second that goes into the first when it is opened."""
        found = np.zeros((len(self.products),) * 2)
        for at, sheet in enumerate(self.sheets):
            for other, share in sheet.draws_from.items() if sheet else ():
                found[at, self.positions[other]] = share
        return found
