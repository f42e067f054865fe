"""The rules that a bundle at a price has to keep, each with its name, what was found, and in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sheaf.catalog import Bundle, Pricing, Product, Range
from sheaf.catalog.messages import wanted
from sheaf.catalog.price_schema import Sheet
from sheaf.pricing.client import Client

Status = Literal["kept", "broken", "open"]

ELIGIBLE = "catalog: conditions of the offer"
CROSS_SELLING = "MiFID II (2014/65/EU) art. 24(11), ESMA guidelines on cross-selling practices (2015)"
SUITABILITY = "MiFID II (2014/65/EU) art. 25(2)"
MORTGAGES = "Mortgage Credit Directive (2014/17/EU) art. 12"
TYING = "Bank Holding Company Act Amendments s. 106 (12 USC 1972), Regulation Y (12 CFR 225.7)"
CREDIT = "Equal Credit Opportunity Act, Regulation B (12 CFR 1002)"


@dataclass(frozen=True)
class RuleCheck:
    """A rule that applies: `kept`, `broken` (the bundle must not be sold so), or `open` (a person has to see to it)."""

    rule: str
    status: Status
    text: str


def checks(
    bundle: Bundle, products: Sequence[Product], pricing: Pricing, client: Client, conceded: bool, as_of: dt.date
) -> list[RuleCheck]:
    """Every rule of the catalog's jurisdiction that applies to the bundle's `products`; `conceded`: at a concession."""
    sheets = {key: sheet for key, sheet in pricing.products.items() if key in bundle.products}
    found = list(_eligible(bundle, client))
    if pricing.jurisdiction == "EU":
        found += _europe(products, sheets, client, as_of)
    if pricing.jurisdiction == "US":
        found += _united_states(products, sheets, client, conceded)
    return found


def traditional(product: Product, sheet: Sheet) -> bool:
    """Whether it is a loan, discount, deposit or trust service, by the sheet or by having a balance on its own side."""
    return product.side != "service" if sheet.traditional is None else sheet.traditional


def _eligible(bundle: Bundle, client: Client) -> Iterable[RuleCheck]:
    for name, condition in bundle.where.items():
        value = client.attributes.get(name)
        if value is None:
            continue
        if isinstance(condition, Range):
            low, high = condition.min, condition.max
            fits = isinstance(value, int | float) and (low is None or value >= low) and (high is None or value <= high)
        else:
            fits = str(value) in condition
        if not fits:
            yield RuleCheck(ELIGIBLE, "broken", f"{name} is {value}, and has to be {wanted(condition)}")


def _europe(
    products: Sequence[Product], sheets: dict[str, Sheet], client: Client, as_of: dt.date
) -> Iterable[RuleCheck]:
    invested = [product.name for product in products if sheets[product.product_id].investment]
    if invested and len(products) > 1:
        silent = [product.name for product in products if not sheets[product.product_id].cancellation]
        if silent:
            yield RuleCheck(CROSS_SELLING, "broken", f"no cancellation terms are stated of {', '.join(silent)}")
        else:
            told = "total, each part's own price, whether it can be had alone, and cancellation terms are shown"
            yield RuleCheck(CROSS_SELLING, "kept", told)
    if invested:
        until, names = client.suitable_until, ", ".join(invested)
        if until is None:
            yield RuleCheck(
                SUITABILITY, "open", f"{names}: no suitability profile is known; draw one up before the sale"
            )
        elif until < as_of:
            yield RuleCheck(SUITABILITY, "broken", f"{names}: the suitability profile ended on {until}; renew it")
        else:
            yield RuleCheck(SUITABILITY, "kept", f"{names}: the suitability profile holds until {until}")
    for product in products:
        credit = sheets[product.product_id].credit
        if credit and credit.asset_class == "residential_mortgage" and len(products) > 1:
            if product.alone:
                yield RuleCheck(MORTGAGES, "kept", f"bundled and not tied: {product.name} can be had alone")
            else:
                yield RuleCheck(MORTGAGES, "broken", f"{product.name} cannot be had alone, which ties it to the others")


def _united_states(
    products: Sequence[Product], sheets: dict[str, Sheet], client: Client, conceded: bool
) -> Iterable[RuleCheck]:
    if conceded and len(products) > 1:
        other = [product.name for product in products if not traditional(product, sheets[product.product_id])]
        condition = f"condition: taking {', '.join(product.name for product in products)} together"
        if not other:
            yield RuleCheck(TYING, "kept", f"{condition}; exception: all are traditional bank products")
        elif client.abroad:
            yield RuleCheck(TYING, "kept", f"{condition}; exception: a foreign client")
        else:
            no = f"the price depends on {', '.join(other)}, no traditional bank product"
            yield RuleCheck(TYING, "broken", f"{condition}; {no}: quote without a concession, or apart")
    if any(sheet.credit for sheet in sheets.values()):
        yield RuleCheck(
            CREDIT, "open", "a price is no credit decision; that is taken and told by the bank's credit process"
        )
