"""Sheaf tells a bank which bundle of products to offer each client next, and at which price for the relationship.

    import sheaf

    bank, catalog = sheaf.Bank.open("bank"), sheaf.read_catalog("catalog")
    model = sheaf.train(bank, catalog)
    sheaf.rank(model, bank, catalog, as_of, top=5)

Names are imported when they are first used, so that `import sheaf` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sheaf._api import check, evaluate, profile, quote, rank, recommend, recommender, train
    from sheaf.catalog import DEFAULT, Bundle, Catalog, CatalogError, Product, read_catalog
    from sheaf.features import Bank, TableError, feature_dictionary
    from sheaf.serving import Answer, Offer, Recommender
    from sheaf.simulation import simulate
    from sheaf.training import Evaluation, Model, Parameters, SampleError

__all__ = [
    "DEFAULT",
    "Answer",
    "Bank",
    "Bundle",
    "Catalog",
    "CatalogError",
    "Evaluation",
    "Model",
    "Offer",
    "Parameters",
    "Product",
    "Recommender",
    "SampleError",
    "TableError",
    "check",
    "evaluate",
    "feature_dictionary",
    "profile",
    "quote",
    "rank",
    "read_catalog",
    "recommend",
    "recommender",
    "simulate",
    "train",
]

_PLACES = {
    "sheaf._api": ("check", "evaluate", "profile", "quote", "rank", "recommend", "recommender", "train"),
    "sheaf.catalog": ("DEFAULT", "Bundle", "Catalog", "CatalogError", "Product", "read_catalog"),
    "sheaf.features": ("Bank", "TableError", "feature_dictionary"),
    "sheaf.serving": ("Answer", "Offer", "Recommender"),
    "sheaf.simulation": ("simulate",),
    "sheaf.training": ("Evaluation", "Model", "Parameters", "SampleError"),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}

# In a checkout the rooms are links beside this file. A built bento keeps no links: there they lie one folder above.
if not (Path(__file__).parent / "catalog").exists():
    __path__.append(str(Path(__file__).parents[1]))


def __getattr__(name: str) -> Any:
    if name not in _PLACE:
        raise AttributeError(f"module 'sheaf' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(_PLACE[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
