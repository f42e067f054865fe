"""What must be true between the price sheets, the curves they are funded by, and the products they price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sheaf.catalog.price_schema import EURO, Curve, Pricing, Sheet
from sheaf.catalog.schema import Bundle, Policy, Product

Found = Iterable[tuple[tuple[str | int, ...], str]]


def of_prices(
    products: Sequence[Product],
    bundles: Sequence[Bundle],
    policy: Policy,
    pricing: Pricing,
    currency: str,
    did_you_mean: Callable[[object, Iterable[str]], str],
) -> Found:
    """Everything wrong, each as (keys below `pricing` that lead to the place, what is wrong and what to do)."""
    known = {product.product_id: product for product in products}
    for name in ("turnover", "suitable_until", "abroad"):
        attribute = getattr(pricing, name)
        if attribute is not None and policy.protects(attribute):
            yield (name,), f"{attribute} is protected by policy and may not move a price; name another"
        if attribute is not None and [pricing.turnover, pricing.suitable_until, pricing.abroad].count(attribute) > 1:
            yield (name,), f"{attribute} is named for more than one of turnover, suitable_until, abroad; name another"
    if currency not in pricing.curves:
        yield ("curves",), f"there is no curve for {currency}, the catalog's currency; add its points"
    for other in pricing.curves:
        if other != currency and other not in pricing.rates:
            yield ("rates",), f"there is no rate for {other}, which has a curve; say what one {other} is in {currency}"
    if currency in pricing.rates:
        yield ("rates", currency), f"{currency} is the catalog's currency, which is worth 1; remove the line"
    if pricing.firm_sizes and EURO not in (currency, *pricing.rates):
        yield (
            ("firm_sizes",),
            f"are millions of euros, and there is no rate for {EURO}; say in pricing.rates what one {EURO} is in "
            f"{currency}, or remove firm_sizes: then every firm counts as large, which takes the most capital",
        )
    for key, sheet in pricing.products.items():
        if key not in known:
            yield ("products", key), f"there is no product {key}; {did_you_mean(key, known)}"
            continue
        for at, what in (*_funds(sheet, known[key], pricing, currency), *_prices(sheet, known[key], pricing)):
            yield ("products", key, *at), what
        for other in sheet.draws_from:
            if other not in known or other == key:
                yield ("products", key, "draws_from", other), f"there is no other product {other}; remove the line"
    for bundle in bundles:
        yield from _drawn(bundle, pricing)


def _drawn(bundle: Bundle, pricing: Pricing) -> Found:
    """Products of one bundle that together would draw more than all of what is held of another."""
    shares: dict[str, list[tuple[str, float]]] = {}
    for key in dict.fromkeys(bundle.products):
        sheet = pricing.products.get(key)
        for other, share in sheet.draws_from.items() if sheet else ():
            shares.setdefault(other, []).append((key, share))
    for other, drawn in shares.items():
        total = sum(share for _, share in drawn)
        if total > 1 + 1e-9:
            each = " and ".join(f"{share:g} by {key}" for key, share in drawn)
            yield (
                ("products", drawn[-1][0], "draws_from", other),
                f"bundle {bundle.bundle_id} draws {each}, {total:g} of {other}, and no more than 1 is there; lower one",
            )


def _funds(sheet: Sheet, product: Product, pricing: Pricing, reporting: str) -> Found:
    currency = sheet.currency or reporting
    curve: Curve | None = pricing.curves.get(currency)
    if currency != reporting and currency not in pricing.rates:
        yield ("currency",), f"there is no rate for {currency}; add it to pricing.rates"
    if product.side != "service" and not sheet.funding:
        yield (), "has no funding, which a product with a balance needs; add funding: [{share: 1, years: ..}]"
    if product.side == "service" and sheet.funding:
        yield ("funding",), "a service is not funded; remove it, or set the product's side"
    if product.side == "asset" and sheet.credit is None:
        yield (), "lends and has no credit; add asset_class, lgd and term_years below credit"
    if product.side == "deposit" and sheet.credit is not None:
        yield ("credit",), "a deposit has no credit risk of the client; remove it"
    if curve is None:
        if sheet.funding:
            yield ("currency",), f"there is no curve for {currency}; add it to pricing.curves"
        return
    for at, part in enumerate(sheet.funding):
        if not curve[0].years <= part.years <= curve[-1].years:
            yield (
                ("funding", at, "years"),
                f"{part.years:g} years are beyond the {currency} curve, which goes from {curve[0].years:g} to "
                f"{curve[-1].years:g}; stay within it, or lengthen the curve",
            )


def _prices(sheet: Sheet, product: Product, pricing: Pricing) -> Found:
    """The floors against the list prices, which stand with the product, and with the grade for a credit."""
    if sheet.margin_floor is not None and sheet.margin_floor > product.margin:
        yield (
            ("margin_floor",),
            f"{sheet.margin_floor:g} is above the list price, the product's margin {product.margin:g}; "
            f"set it to at most {product.margin:g}",
        )
    elif sheet.margin_floor is not None and sheet.credit and product.side == "asset":
        for name, grade in pricing.grades.items():
            if sheet.margin_floor > product.margin + grade.margin:
                yield (
                    ("margin_floor",),
                    f"{sheet.margin_floor:g} is above the list price of grade {name}, a margin of "
                    f"{product.margin + grade.margin:g}; set it to at most that",
                )
    if sheet.credit and 0 < sheet.credit.limit < product.balance:
        yield (
            ("credit", "limit"),
            f"{sheet.credit.limit:g} is below the product's balance {product.balance:g}, which is drawn of it; "
            "set it to at least that, or leave it out",
        )
    if product.annual_fee < 0:
        yield (), f"the product's annual_fee {product.annual_fee:g} is below 0, which no client pays; correct it"
    fixed = product.annual_fee if sheet.unit_price is None else sheet.fixed_fee or 0.0
    if fixed > product.annual_fee:
        yield (
            ("fixed_fee",),
            f"{fixed:g} is above the product's annual_fee {product.annual_fee:g}, of which it is a part; "
            f"set it between 0 and {product.annual_fee:g}",
        )
    if sheet.fee_floor is not None and sheet.fee_floor > fixed:
        yield (
            ("fee_floor",),
            f"{sheet.fee_floor:g} is above the list price, a fixed fee of {fixed:g}; set it between 0 and {fixed:g}",
        )
