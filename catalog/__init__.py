"""What the bank sells: products, bundles and policy, read from YAML that a product manager edits."""

from sheaf.catalog.models import (
    Bundle,
    Closeness,
    Condition,
    Contact,
    ContactLimit,
    Exploration,
    Kind,
    Line,
    Performance,
    Policy,
    Product,
    Range,
    Rest,
    Tier,
)
from sheaf.catalog.prices import AssetClass, Authority, Benefit, Curve, Grade, Pricing, Sheet
from sheaf.catalog.reading import DEFAULT, CatalogError, read_catalog, read_model
from sheaf.catalog.whole import Catalog

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
    "Contact",
    "ContactLimit",
    "Curve",
    "Exploration",
    "Grade",
    "Kind",
    "Line",
    "Performance",
    "Policy",
    "Pricing",
    "Product",
    "Range",
    "Rest",
    "Sheet",
    "Tier",
    "read_catalog",
    "read_model",
]
