"""Bundles of one client's products: what goes together more than popularity explains and the catalog does not have."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from pydantic import ValidationError

from sheaf.catalog import Bundle, Catalog, Kind
from sheaf.training.discovery.association import Association, weakest
from sheaf.training.discovery.baskets import Baskets, Items, every, splits
from sheaf.training.discovery.book import HoldingsHistory
from sheaf.training.discovery.evidence import DiscoverySettings, Trial, judged
from sheaf.training.discovery.proposal import Proposal, stake, unnested

KINDS = tuple(Kind)
Candidates = dict[Items, tuple[Kind, ...]]  # sets of products, and the kinds of clients they are frequent with


def find_bundles(
    book: HoldingsHistory,
    catalog: Catalog,
    ways: Sequence[Baskets],
    settings: DiscoverySettings,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[list[Proposal], int]:
    """The proposals, the most valuable first, and how many trials it took.

    All frequent pairs are tried, and larger sets within which every pair seems to go together; a larger set is
    proposed where all its pairs stand. Of nested ones, the one with more at stake is.
    """
    progress("frequent sets of products")
    candidates, offered = frequent(book, catalog, ways, settings)
    pairs = _sold({items: kinds for items, kinds in candidates.items() if len(items) == 2}, catalog)
    trials = _trials(book, ways, settings, pairs, lambda done: progress(f"pairs: {done:,} of {len(pairs):,}"))
    seem = {trial.of for trial in trials if trial.seems(settings)}
    tied = [items for items in candidates if len(items) > 2 and items not in offered and _all_pairs(items, seem)]
    larger = _sold({items: candidates[items] for items in tied}, catalog)
    trials += _trials(book, ways, settings, larger, lambda done: progress(f"larger: {done:,} of {len(larger):,}"))
    stand = judged(trials, settings)
    held, worth = book.held(book.day), np.array([product.yearly_worth for product in catalog.products])
    found = []
    for items, evidence in stand.items():
        if items not in offered and _all_pairs(items, stand):
            kinds = candidates[items]
            could = _of(kinds, book.kind) & every(book.may, items)
            at_stake = stake(held[list(items)][:, could], worth[list(items)])
            found.append(Proposal(_bundle(items, kinds, catalog), evidence, at_stake))
    found.sort(key=lambda one: (-one.stake.value, -one.stake.takers, one.bundle.bundle_id, one.bundle.products))
    return _told_apart(unnested(found, lambda one: one.bundle.products)), len(trials)


def _told_apart(proposals: Sequence[Proposal]) -> list[Proposal]:
    """With an id of its own each: b_and_c beside a may be one product or two, and of equal keys YAML keeps one."""
    taken: set[str] = set()
    told = []
    for one in proposals:
        key = _free(one.bundle.bundle_id, taken)
        taken.add(key)
        told.append(replace(one, bundle=one.bundle.model_copy(update={"bundle_id": key})))
    return told


def _free(key: str, taken: Container[str]) -> str:
    while key in taken:
        key += "_new"
    return key


def frequent(
    book: HoldingsHistory, catalog: Catalog, ways: Sequence[Baskets], settings: DiscoverySettings
) -> tuple[Candidates, set[Items]]:
    """Sets of products that clients of a kind often enough hold or opened together, and which of them are offered.

    Kinds to which a bundle of the catalog offers all of a set, whatever its conditions, are left out. A set that all of
    its kinds are offered is not proposed, but keeps them, as it may be part of a larger one that is.
    """
    found: dict[Items, set[Kind]] = {}
    for code, kind in enumerate(KINDS):
        clients = int((book.kind == code).sum())
        for baskets in ways if clients else ():
            least = settings.least_clients(clients)
            for items in baskets.frequent(code, least, settings.most_products):
                found.setdefault(items, set()).add(kind)
    at = {product.product_id: position for position, product in enumerate(catalog.products)}
    bundles = [({at[product] for product in bundle.products}, bundle.kinds) for bundle in catalog.bundles]
    candidates, offered = {}, set()
    for items, kinds in sorted(found.items()):
        left = kinds - {kind for parts, to in bundles if parts.issuperset(items) for kind in to}
        candidates[items] = tuple(kind for kind in KINDS if kind in (left or kinds))
        if not left:
            offered.add(items)
    return candidates, offered


def _trials(
    book: HoldingsHistory,
    ways: Sequence[Baskets],
    settings: DiscoverySettings,
    candidates: Candidates,
    progress: Callable[[int], None],
) -> list[Trial]:
    """Of each set, in each way in which `LEAST_CLIENTS` have it, that no two parts of it meet just by popularity.

    A pair without lift enough in any way is not looked at closely.
    """
    trials: list[Trial] = []
    done = 0
    for kinds in sorted(set(candidates.values())):
        of_kinds = _of(kinds, book.kind)
        baskets_of_kinds = [baskets.where(_of(kinds, baskets.kind)) for baskets in ways]
        lifts = [baskets.lifts(slice(None), slice(None))[1] for baskets in baskets_of_kinds]
        for items in (items for items, to in candidates.items() if to == kinds):
            could = int((of_kinds & every(book.may, items)).sum())
            promising = len(items) > 2 or any(lift[items] > settings.least_lift for lift in lifts)
            for baskets, lift in zip(baskets_of_kinds, lifts, strict=True):
                clients = baskets.count(items)
                if clients >= settings.LEAST_CLIENTS:
                    parts = [baskets.association(*of) for of in splits(items)] if promising else []
                    found = weakest(parts, settings.least_lift) if parts else Association.unlikely(clients, lift[items])
                    trials.append(Trial(items, baskets.way, clients, could, found))
            done += 1
            progress(done)
    return trials


def _all_pairs(items: Items, among: Container[Any]) -> bool:
    return all(pair in among for pair in combinations(items, 2))


def _of(kinds: tuple[Kind, ...], kind: np.ndarray) -> np.ndarray:
    return np.isin(kind, [KINDS.index(one) for one in kinds])


def _sold(candidates: Candidates, catalog: Catalog) -> Candidates:
    """Those of which a part can be had alone, and with which a catalog is read: somebody can meet all conditions."""
    sold = {}
    for items, kinds in candidates.items():
        try:
            Catalog(products=catalog.products, bundles=(_bundle(items, kinds, catalog),), policy=catalog.policy)
        except ValidationError:
            continue
        if any(catalog.products[item].alone for item in items):
            sold[items] = kinds
    return sold


def _bundle(items: Items, kinds: tuple[Kind, ...], catalog: Catalog) -> Bundle:
    """The product that brings most leads: its line is the bundle's."""
    lead = max(items, key=lambda item: catalog.products[item].yearly_worth)
    products = [catalog.products[item] for item in (lead, *(item for item in items if item != lead))]
    ids = tuple(product.product_id for product in products)
    taken = {*(bundle.bundle_id for bundle in catalog.bundles), *(product.product_id for product in catalog.products)}
    return Bundle(
        bundle_id=_free(f"{ids[0]}_with_{'_and_'.join(ids[1:])}", taken),
        name=" + ".join(product.name for product in products),
        products=ids,
        line=products[0].line,
        kinds=kinds,
    )
