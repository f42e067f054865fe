"""A small bank's price sheets for the tests: each sort of product once, with numbers that can be reckoned by hand."""

from __future__ import annotations

from typing import Any

from sheaf.catalog import Bundle, Catalog, Kind, Line, Pricing, Product

CURVES = {
    "EUR": [{"years": 0.25, "rate": 0.02}, {"years": 5.0, "rate": 0.03}],
    "USD": [{"years": 0.25, "rate": 0.04}, {"years": 5.0, "rate": 0.05}],
}
SHEETS: dict[str, Any] = {
    "account": {
        "funding": [{"share": 0.6, "years": 5.0}, {"share": 0.4, "years": 0.25}],  # 0.026
        "opex": 30.0, "cancellation": "Any day.",
    },
    "loan": {
        "funding": [{"share": 1.0, "years": 5.0}],
        "credit": {"asset_class": "corporate", "lgd": 0.45, "term_years": 2.5},
        "margin_floor": 0.015, "opex": 200.0, "cancellation": "By early repayment.",
    },
    "line": {
        "funding": [{"share": 1.0, "years": 0.25}],
        "credit": {"asset_class": "other_retail", "lgd": 0.45, "ccf": 0.4, "limit": 10_000.0},
        "opex": 20.0, "benefits": ["spread_amount"], "cancellation": "Any day.",
    },
    "mortgage": {
        "funding": [{"share": 1.0, "years": 5.0}],
        "credit": {"asset_class": "residential_mortgage", "lgd": 0.15, "term_years": 20.0, "amortisation": "annuity"},
        "opex": 300.0, "cancellation": "By early repayment.",
    },
    "payroll": {
        "unit": "payment", "unit_price": 0.5, "unit_cost": 0.2, "unit_floor": 0.3, "fixed_fee": 100.0, "opex": 50.0,
        "fee_floor": 40.0, "cancellation": "At the end of a year.",
    },
    "exchange": {"unit": "euro", "unit_price": 0.004, "unit_cost": 0.001, "opex": 80.0, "cancellation": "Any day."},
    "dollars": {
        "currency": "USD", "funding": [{"share": 1.0, "years": 0.25}], "opex": 10.0,
        "draws_from": {"account": 0.5}, "cancellation": "Any day.",
    },
    "fund": {"investment": True, "opex": 5.0, "cancellation": "Any day of trading."},
    "card": {"opex": 2.0, "benefits": ["waive", "percent"], "cancellation": "Any day."},
}  # fmt: skip

PRICES: dict[str, Any] = {
    "curves": CURVES,
    "rates": {"USD": 0.8},
    "grades": {"A": {"pd": 0.002}, "B": {"pd": 0.01, "margin": 0.002}, "C": {"pd": 0.08, "margin": 0.004}},
    "unrated": "B",
    "turnover": "turnover",
    "firm_sizes": [5.0, 50.0],
    "tax": 0.25,
    "hurdle": 0.10,
    "response": {"acceptance": 0.2, "elasticity": 2.0},
    "retention": {"attrition": 0.1, "saved": 0.5},
    "authorities": [
        {"name": "account_manager", "share": 0.10},
        {"name": "branch", "share": 0.2},
        {"name": "head_office", "share": 1.0},
    ],
    "products": SHEETS,
}
FIRMS, PEOPLE = (Kind.CORPORATE, Kind.INSTITUTION), (Kind.RETAIL,)


def product(key: str, side: str = "service", **more: Any) -> Product:
    return Product(product_id=key, name=key.capitalize(), line=Line.RETAIL, family="f", side=side, **more)


PRODUCTS = (
    product("account", "deposit", margin=0.02, annual_fee=60.0, balance=10_000.0),
    product("loan", "asset", margin=0.03, balance=100_000.0, kinds=FIRMS),
    product("line", "asset", margin=0.05, balance=4_000.0, alone=False),
    product("mortgage", "asset", margin=0.015, balance=200_000.0, kinds=PEOPLE),
    product("payroll", annual_fee=600.0),
    product("exchange", annual_fee=1_200.0),
    product("dollars", "deposit", margin=0.01, balance=8_000.0),
    product("fund", margin=0.008, balance=20_000.0),
    product("card", annual_fee=24.0),
)
BUNDLES = (
    Bundle(bundle_id="start", name="Start", products=("account", "card"), line=Line.RETAIL, kinds=tuple(Kind)),
    Bundle(bundle_id="firm", name="Firm", products=("loan", "payroll", "exchange"), line=Line.RETAIL, kinds=FIRMS),
    Bundle(bundle_id="saver", name="Saver", products=("dollars", "fund"), line=Line.RETAIL, kinds=tuple(Kind)),
    Bundle(bundle_id="home", name="Home", products=("mortgage", "line"), line=Line.RETAIL, kinds=PEOPLE),
)


def catalog(listed: dict[str, Any] | None = None, **prices: Any) -> Catalog:
    """The small bank's catalog with some fields of its pricing, or of products in `listed`, replaced."""
    changed = [one.model_copy(update=(listed or {}).get(one.product_id, {})) for one in PRODUCTS]
    pricing = Pricing.model_validate(PRICES | prices)
    return Catalog(name="small", products=tuple(changed), bundles=BUNDLES, pricing=pricing)


def with_sheet(key: str, **fields: Any) -> dict[str, Any]:
    """The sheets with some fields of one replaced."""
    return SHEETS | {key: SHEETS[key] | fields}
