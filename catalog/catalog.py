"""The catalog as a whole: what can be offered from it, and the version that stands for its content."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from sheaf.catalog.price_schema import Pricing
from sheaf.catalog.schema import Bundle, Model, Name, Policy, Product
from sheaf.catalog.validation import combined, contradictions, key_path


class Catalog(Model):
    """What a bank sells, and by which rules.

    The same however it comes about: by `read_catalog`, made in Python, or from the JSON of `model_dump_json`. The last
    two raise pydantic's ValidationError where a part is wrong or parts contradict each other.
    """

    name: Name = "catalog"
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    products: tuple[Product, ...]
    bundles: tuple[Bundle, ...] = ()
    policy: Policy = Policy()
    pricing: Pricing | None = None  # without it nothing can be quoted

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = contradictions(self.products, self.bundles, self.policy, self.pricing, self.currency)
        if found:
            raise ValueError("\n".join(f"{key_path(at)}: {what}" for at, what in found))
        return self

    @cached_property
    def _by_id(self) -> dict[str, Product]:
        return {product.product_id: product for product in self.products}

    def product(self, product_id: str) -> Product:
        """The product of that id; KeyError where there is none."""
        return self._by_id[product_id]

    @cached_property
    def offers(self) -> tuple[Bundle, ...]:
        """Everything that can be offered: declared bundles in order, then each product that is had alone.

        A product that a declared bundle already offers alone is not repeated. An offer's `where` holds its own
        conditions and those of its products, so who meets it may have every part.
        """
        declared = [
            bundle.model_copy(update={"where": combined([bundle, *map(self.product, bundle.products)])})
            for bundle in self.bundles
        ]
        declared_alone = {bundle.products[0] for bundle in self.bundles if len(bundle.products) == 1}
        alone = [
            Bundle(
                bundle_id=product.product_id,
                name=product.name,
                products=(product.product_id,),
                line=product.line,
                kinds=product.kinds,
                where=product.where,
                why=product.why,
            )
            for product in self.products
            if product.alone and product.product_id not in declared_alone
        ]
        return (*declared, *alone)

    @cached_property
    def version(self) -> str:
        """12 hexadecimal digits of the content's SHA-256: the same however the YAML is formatted or ordered."""
        content = self.model_dump(mode="json")
        content["products"] = {product["product_id"]: product for product in content["products"]}
        content["bundles"] = {bundle["bundle_id"]: bundle for bundle in content["bundles"]}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
