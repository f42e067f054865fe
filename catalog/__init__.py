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
from catalog.reading import DEFAULT, CatalogError, read_catalog
from catalog.whole import Catalog

__all__ = [
    "DEFAULT",
    "Bundle",
    "Catalog",
    "CatalogError",
    "Closeness",
    "Condition",
    "Kind",
    "Line",
    "Performance",
    "Policy",
    "Product",
    "Range",
    "Tier",
    "read_catalog",
]
