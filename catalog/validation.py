"""What must be true between products, bundles and policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from sheaf.catalog.price_schema import Pricing
from sheaf.catalog.price_validation import of_prices
from sheaf.catalog.schema import Bundle, Kind, Policy, Product, Range

Where = tuple[str | int, ...]


def key_path(at: Where) -> str:
    """`("bundles", "young_family", "products", 0)` as `bundles.young_family.products[0]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at).removeprefix(".")


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """The remedy for an unknown `word`: the nearest of `words`, or all of them where none is near."""
    known = list(words)
    near = get_close_matches(str(word), known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"use one of {', '.join(known)}" if len(known) <= 20 else "see the catalog for those there are"


def contradictions(
    products: Sequence[Product],
    bundles: Sequence[Bundle],
    policy: Policy,
    pricing: Pricing | None = None,
    currency: str = "EUR",
) -> list[tuple[Where, str]]:
    """Everything wrong between the parts, each as (keys that lead to the place, what is wrong and what to do)."""
    found: list[tuple[Where, str]] = []
    if not products:
        found.append((("products",), "there are none; add at least one product"))
    known = {product.product_id: product for product in products}
    for section, ids in (
        ("products", [product.product_id for product in products]),
        ("bundles", [bundle.bundle_id for bundle in bundles]),
    ):
        found += [
            ((section, key), f"there are {n} of that id; rename all but one")
            for key, n in Counter(ids).items()
            if n > 1
        ]
    for bundle in bundles:
        found += [(("bundles", bundle.bundle_id, *at), what) for at, what in _bundle(bundle, known)]
    if products and not bundles and not any(product.alone for product in products):
        found.append(
            (("products",), "nothing can be offered, as no product is had alone; add a bundle, or remove alone: false")
        )
    if pricing is not None:
        of_pricing = of_prices(products, bundles, policy, pricing, currency, did_you_mean)
        found += [(("pricing", *at), what) for at, what in of_pricing]
    return found + _conditions(products, bundles, policy)


def _bundle(bundle: Bundle, known: dict[str, Product]) -> Iterable[tuple[Where, str]]:
    held = [known[key] for key in bundle.products if key in known]
    for position, key in enumerate(bundle.products):
        if key not in known:
            yield ("products", position), f"there is no product {key}; {did_you_mean(key, known)}"
        elif key in bundle.products[:position]:
            yield ("products", position), f"{key} is in the bundle twice; name it once"
    if bundle.bundle_id in known and bundle.products != (bundle.bundle_id,):
        yield (), f"is also the id of a product; rename the bundle, or let it hold {bundle.bundle_id} alone"
    if len(bundle.products) == 1 and held and not held[0].alone:
        yield (
            ("products",),
            f"{held[0].product_id} is not sold alone; add another product, or remove its alone: false",
        )
    for product in held:
        apart = [kind for kind in bundle.kinds if kind not in product.kinds]
        if apart:
            yield (
                ("kinds",),
                f"{product.product_id} is not sold to {_and(apart)} clients (only to {_and(product.kinds)}); "
                "narrow the bundle's kinds, or widen the product's",
            )
    try:
        combined([bundle, *held])
    except ValueError as error:
        yield ("where",), str(error)


def combined(parts: Sequence[Bundle | Product]) -> dict[str, Range | tuple[str, ...]]:
    """The conditions that hold when those of every part do; ValueError where nobody can meet them."""
    together: dict[str, Range | tuple[str, ...]] = {}
    for part in parts:
        for name, condition in part.where.items():
            before = together.get(name, condition)
            if isinstance(before, Range) and isinstance(condition, Range):
                lows = [one.min for one in (before, condition) if one.min is not None]
                highs = [one.max for one in (before, condition) if one.max is not None]
                low, high = max(lows, default=None), min(highs, default=None)
                if low is not None and high is not None and low > high:
                    raise ValueError(_nobody(name, part))
                together[name] = Range(min=low, max=high)
            elif isinstance(before, tuple) and isinstance(condition, tuple):
                together[name] = tuple(text for text in before if text in condition)
                if not together[name]:
                    raise ValueError(_nobody(name, part))
            # One number, one text: reported once for the whole catalog by _conditions.
    return together


def _nobody(name: str, part: Bundle | Product) -> str:
    key = part.product_id if isinstance(part, Product) else part.bundle_id
    return f"nobody meets it and the conditions of {key} on {name} at once; change one of them, or take {key} out"


def _conditions(products: Sequence[Product], bundles: Sequence[Bundle], policy: Policy) -> list[tuple[Where, str]]:
    places: list[tuple[Where, str, bool]] = [
        ((section, key, "where", name), name, isinstance(condition, Range))
        for section, key, where in (
            *(("products", product.product_id, product.where) for product in products),
            *(("bundles", bundle.bundle_id, bundle.where) for bundle in bundles),
        )
        for name, condition in where.items()
    ]
    found: list[tuple[Where, str]] = []
    first: dict[str, tuple[Where, bool]] = {}
    for at, name, is_number in places:
        if policy.protects(name):
            found.append(
                (at, f"{name} is protected by policy and may not decide who is offered what; remove the condition")
            )
        place, was_number = first.setdefault(name, (at, is_number))
        if was_number != is_number:
            kinds = ("a number", "a text") if is_number else ("a text", "a number")
            found.append((at, f"{name} is {kinds[0]} here and {kinds[1]} in {key_path(place)}; make them agree"))
    return found


def _and(kinds: Iterable[Kind]) -> str:
    return " and ".join(kinds)
