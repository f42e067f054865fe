"""What the bank sells: products, bundles and policy, read from YAML that a product manager edits."""

from catalog.models import (
    Bundle,
    Closeness,
    Condition,
    Kind,
    Line,
    Performance,
    Policy,
    Product,
    Range,
    Tier,
)
from catalog.prices import AssetClass, Authority, Benefit, Curve, Grade, Pricing, Sheet
from catalog.reading import DEFAULT, CatalogError, read_catalog
from catalog.whole import Catalog

__all__ = [
    "DEFAULT",
    "AssetClass",
    "Authority",
    "Benefit",
    "Bundle",
    "Catalog",
    "CatalogError",
    "Closeness",
    "Condition",
    "Curve",
    "Grade",
    "Kind",
    "Line",
    "Performance",
    "Policy",
    "Pricing",
    "Product",
    "Range",
    "Sheet",
    "Tier",
    "read_catalog",
]
