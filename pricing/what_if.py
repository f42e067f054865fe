"""What-if terms: a catalog with other balances, rates or fees, to quote from as if they were its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sheaf.catalog import Catalog
from sheaf.catalog.messages import in_words
from sheaf.catalog.price_schema import Slice
from sheaf.catalog.validation import key_path
from sheaf.pricing.price_table import AskedError, funds_rate, need_pricing

OF_PRODUCT = ("balance", "limit", "rate", "margin", "fee", "unit_price", "volume", "term", "lgd", "currency")
OF_POLICY = {
    "hurdle": ("hurdle",), "tax": ("tax",), "jurisdiction": ("jurisdiction",),
    "acceptance": ("response", "acceptance"), "elasticity": ("response", "elasticity"),
}  # fmt: skip
RATES = ("rate", "margin")
OF_RESPONSE = frozenset({"acceptance", "elasticity"})  # who supposes one of these asks for no learned response


def apply_terms(catalog: Catalog, terms: Mapping[str, str], rating: str | None = None) -> Catalog:
    """The catalog with `terms`, such as {"mortgage.balance": "250000", "mortgage.rate": "0.035", "hurdle": "0.12"}.

    Of a product: balance and limit (in its currency), the client's rate or the margin, the fixed fee, the price of a
    unit and the volume a year, a credit's term in years (as long as which a loan of one slice is then funded) and its
    loss given default, the currency. A client of that `rating` gets that rate. Of policy: the keys of `OF_POLICY`.
    Raises AskedError that names the term, its value and what it may be.
    """
    content: dict[str, Any] = catalog.model_dump()
    need_pricing(catalog)
    order = {"currency": 0, "term": 1, "unit_price": 1}  # what the other terms of a product go by
    for term, value in sorted(terms.items(), key=lambda one: order.get(one[0].rpartition(".")[2], 2)):
        try:
            _of_term(content, catalog, term, value, rating)
        except ValueError as error:
            raise AskedError(f"terms.{term}", str(error)) from error
    for product_id in {term.rpartition(".")[0] for term in terms}:
        if all(f"{product_id}.{name}" in terms for name in RATES):
            raise AskedError(
                f"terms.{product_id}.rate",
                f"{product_id} has rate and margin, of which each gives the other; leave one out",
            )
    try:
        return Catalog.model_validate(content)
    except ValidationError as error:
        of = ", ".join(f"{term} {value}" for term, value in terms.items())
        what = "; ".join(_said(content, one) for one in error.errors())
        raise AskedError("terms", f"with {of}: {what}") from error


def _of_term(content: dict[str, Any], catalog: Catalog, term: str, value: str, rating: str | None) -> None:
    product_id, _, name = term.rpartition(".")
    if product_id or name not in OF_POLICY:
        return _of_product(content, catalog, term, value, rating)
    *path, last = OF_POLICY[name]
    at = content["pricing"]
    for key in path:
        at = at[key]
    at[last] = value if name == "jurisdiction" else _number(term, value)


def _said(content: dict[str, Any], error: ErrorDetails) -> str:
    """Which field of the catalog, what it would be, and its bounds."""
    at, what = in_words(Catalog, error)
    if at[:1] == ("products",) and isinstance(at[1], int):
        at = ("products", content["products"][at[1]]["product_id"], *at[2:])
    return f"{key_path(at)}: {what}" if at else what


def _of_product(content: dict[str, Any], catalog: Catalog, term: str, value: str, rating: str | None) -> None:
    product_id, _, name = term.rpartition(".")
    sheets = content["pricing"]["products"]
    if name not in OF_PRODUCT or product_id not in sheets:
        raise ValueError(
            f"term {term!r} is not known; write PRODUCT.NAME=VALUE with NAME one of {', '.join(OF_PRODUCT)} and a "
            f"product that has a price sheet, or one of {', '.join(OF_POLICY)}"
        )
    product = next(one for one in content["products"] if one["product_id"] == product_id)
    sheet = sheets[product_id]
    if name == "currency":
        known = [catalog.currency, *catalog.pricing.rates] if catalog.pricing else []
        if value not in known:
            raise ValueError(f"{term} {value!r} is not a currency with a rate; use one of {', '.join(known)}")
        sheet["currency"] = value
        return
    number = _number(term, value)
    if name in RATES and not -0.5 <= number < 1:
        raise ValueError(f"{term} {number:g} is not from -0.5 and below 1; write a fraction, 0.05 for five percent")
    if name not in RATES and number < 0:
        raise ValueError(f"{term} {number:g} is below 0; it has to be 0 or more")
    money = number * _worth(catalog, sheet)
    if name == "balance":
        product["balance"] = money
    elif name == "limit":
        if sheet["credit"] is None:
            raise ValueError(f"{term}: {product_id} has no limit, as it is no credit")
        sheet["credit"]["limit"] = money
    elif name in ("term", "lgd"):
        if sheet["credit"] is None:
            raise ValueError(f"{term}: {product_id} is no credit, so it has none")
        sheet["credit"]["term_years" if name == "term" else "lgd"] = number
        if name == "term" and len(sheet["funding"]) == 1:
            sheet["funding"][0]["years"] = number
    elif name == "unit_price":
        if sheet["unit_price"] is None or number == 0:
            raise ValueError(f"{term}: {product_id} is not charged by the unit, or would not be any more; give its fee")
        fixed = sheet["fixed_fee"] or 0.0
        product["annual_fee"] = fixed + (product["annual_fee"] - fixed) / sheet["unit_price"] * number
        sheet["unit_price"] = number
    elif name == "volume":
        if sheet["unit_price"] is None:
            raise ValueError(f"{term}: {product_id} is not charged by the unit; give its fee")
        product["annual_fee"] = (sheet["fixed_fee"] or 0.0) + number * sheet["unit_price"]
    elif name == "fee":
        if sheet["unit_price"] is not None:
            product["annual_fee"] += number - (sheet["fixed_fee"] or 0.0)
            sheet["fixed_fee"] = number
        else:
            product["annual_fee"] = number
    else:
        margin = number if name == "margin" else _margin(catalog, product_id, sheet, number, rating, term)
        if sheet["margin_floor"] is not None and margin < sheet["margin_floor"]:
            raise ValueError(
                f"{term} {number:g} leaves a margin of {margin:.4f}, below the floor of {sheet['margin_floor']:g}"
            )
        product["margin"] = margin


def _margin(
    catalog: Catalog, product_id: str, sheet: dict[str, Any], rate: float, rating: str | None, term: str
) -> float:
    """The list margin at which a client of that rating has that rate."""
    product = catalog.product(product_id)
    if product.side == "service":
        raise ValueError(f"{term}: {product_id} is a service and has no rate; give its margin or its fee")
    pricing = need_pricing(catalog)
    funding = tuple(Slice.model_construct(**part) for part in sheet["funding"])
    changed = pricing.products[product_id].model_copy(update={"currency": sheet["currency"], "funding": funding})
    sheets = {"products": pricing.products | {product_id: changed}}
    funds = funds_rate(catalog.model_copy(update={"pricing": pricing.model_copy(update=sheets)}), product)
    if product.side == "deposit":
        return funds - rate
    grade = pricing.grades.get(pricing.unrated if rating is None else rating)
    return rate - funds - (grade.margin if grade else 0.0)


def _worth(catalog: Catalog, sheet: dict[str, Any]) -> float:
    """Reporting currency for one unit of the sheet's."""
    currency = sheet["currency"] or catalog.currency
    return 1.0 if currency == catalog.currency else float(need_pricing(catalog).rates[currency])


def _number(term: str, value: str) -> float:
    try:
        number = float(value if value.isascii() and "_" not in value else "none")
    except ValueError:
        raise ValueError(f"{term} {value!r} is not a number; write it with a point for decimals") from None
    if not abs(number) < 1e15:
        raise ValueError(f"{term} {value} is no amount that a contract has; write a finite number")
    return number
