"""What the bank sells: products, bundles and policy, read from YAML that a product manager edits."""

from sheaf.catalog.catalog import Catalog
from sheaf.catalog.loading import DEFAULT, CatalogError, read_catalog, read_model
from sheaf.catalog.price_schema import AssetClass, Authority, Benefit, Curve, Grade, Pricing, Sheet
from sheaf.catalog.schema import (
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
