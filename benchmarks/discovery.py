"""Whether `discover` finds what clients of the simulated bank are known to want together, and what else it proposes.

All bundles are taken out of the catalog, so that all have to be found again. The truth is in the tables that the
simulation draws from: two products are tied where one is opened more readily by those who hold or just opened the
other, or where the same need or the same link moves both under conditions that one client can meet. Products of two
linked clients are tied where such a link runs from the one to the other.

- found: of the pairs of products within the declared bundles that are tied, those that some proposal holds;
- tied: of the first proposals, by what is at stake, those all of whose pairs are tied;
- profiles: those of the same clients, built once in the same run;
- plain lift: as many pairs as are proposed, the first by lift among the clients of a kind who hold them, of those that
  the same least share of them holds.

Intervals are Wilson's of a share, and bootstrapped over pairs for a ratio of two.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from itertools import product as product_of
from pathlib import Path
from typing import Annotated

import narwhals as nw
import numpy as np
import pandas as pd
import typer
from scipy.stats import binomtest

from benchmarks.figures import Figure
from benchmarks.measure import bootstrap, console, peak_gib, report, simulated
from sheaf.catalog import DEFAULT, Catalog, Kind, read_catalog
from sheaf.features import Bank, C, profile_matrices
from sheaf.simulation.behaviour import Behaviour, conditions, read_behaviour
from sheaf.training.discovery import DiscoverySettings, LinkedProposal, discover

DAY = dt.date(2025, 11, 30)
SEGMENTS = {Kind.RETAIL: "retail", Kind.CORPORATE: "firms", Kind.INSTITUTION: "firms"}
# Of a tie in the behaviour tables: the relation of the contract, and whether who acts first is the linked client.
TIES = {
    "employer": (("employer", (True,)),),
    "firm": (("owner", (False,)), ("guarantor", (False,))),
    "owner": (("owner", (True,)), ("guarantor", (True,))),
    "group": (("group", (True, False)),),
    "trade": (("supplier", (True, False)),),
}
LINKED_SIDES = {"employer", "owner", "guarantor", "group head", "supplier"}
TARGET_RECALL, TARGET_PRECISION = 0.75, 0.9
GIB = 2

Pair = tuple[str, ...]  # two products in order; of linked clients: the relation, the linked one's, the client's


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=2_000)] = 20_000,
    data: Annotated[Path | None, typer.Option(help="Where the bank lies, or is made and kept.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 1,
    first: Annotated[int, typer.Option(help="Proposals whose precision counts.", min=1)] = 20,
) -> None:
    """Recall and precision of what is discovered, against the simulation's own ties and against plain lift."""
    folder, declared = simulated(clients, 24, seed, data), read_catalog(DEFAULT)
    bare = declared.model_copy(update={"bundles": ()})
    bank = Bank.open(folder).known_on(DAY)
    started = time.monotonic()
    with console.status("Discovering") as status:
        found = discover(bank, bare, DAY, progress=lambda step: status.update(f"Discovering: {step}"))
    seconds, gib = time.monotonic() - started, peak_gib()
    started = time.monotonic()
    with console.status("Profiling the same clients"):
        for _ in profile_matrices(bank, bare, DAY):
            pass
    profiling = time.monotonic() - started
    ties = {pair for kind in Kind for pair in tied(read_behaviour(SEGMENTS[kind]), _sold_to(bare, kind))}
    wanted = sorted({pair for bundle in declared.bundles for pair in _pairs(bundle.products)} & ties)
    proposed = [_pairs(proposal.bundle.products) for proposal in found.bundles]
    pairs = list(dict.fromkeys(pair for of_one in proposed for pair in of_one))
    plain = _by_plain_lift(bank, bare, len(pairs))
    linked, between = [_linked(offer) for offer in found.linked], linked_ties()
    figures = [
        _share("declared pairs with a tie that are found", _found(wanted, pairs), "all", TARGET_RECALL),
        _against("the same", _found(wanted, pairs), "plain lift", _found(wanted, plain)),
        _share(f"of the first {first} bundles, tied", _all_in(proposed[:first], ties), "all", TARGET_PRECISION),
        _share("of all bundles, tied", _all_in(proposed, ties), "all"),
        _against("of the pairs in them, tied", _found(pairs, ties), "plain lift", _found(plain, ties)),
        _share(
            "linked pairs with a tie that are found",
            _found(sorted(between), [pair for of_one in linked for pair in of_one]),
            "all",
        ),
        _share(f"of the first {first} linked offers, tied", _all_in(linked[:first], between), "all", TARGET_PRECISION),
        _share("of all linked offers, tied", _all_in(linked, between), "all"),
        Figure("seconds", f"{seconds:.1f} s", f"profiles, {profiling:.1f} s", seconds / profiling, 1.0),
        Figure("peak memory", f"{gib:.2f} GiB", f"{GIB} GiB", gib / GIB, 1.0),
    ]
    data_set = f"Simulated bank of {found.clients:,} clients without bundles, seed {seed}"
    report(f"Discovery as of {DAY}, {found.trials:,} sets tried", data_set, figures)


def _pairs(products: Iterable[str]) -> list[Pair]:
    return list(combinations(sorted(products), 2))


def _found(pairs: Sequence[Pair], among: Collection[Pair]) -> np.ndarray:
    known = set(among)
    return np.array([pair in known for pair in pairs], dtype=float)


def _all_in(proposals: Sequence[Sequence[Pair]], among: Collection[Pair]) -> np.ndarray:
    return np.array([all(pair in among for pair in pairs) for pairs in proposals], dtype=float)


def _share(name: str, hits: np.ndarray, of: str, target: float | None = None) -> Figure:
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    measured, against = f"{hits.sum():.0f}", f"{of}, {len(hits)}"
    return Figure(name, measured, against, float(hits.mean()), target, at_most=False, interval=tuple(interval))


def _against(name: str, ours: np.ndarray, what: str, theirs: np.ndarray) -> Figure:
    """Both lists are as long; each is drawn from at the same positions."""
    interval = bootstrap(lambda drawn: ours[drawn].mean() / max(theirs[drawn].mean(), 1 / len(theirs)), len(ours))
    against = f"{what}, {theirs.sum():.0f} of {len(theirs)}"
    return Figure(name, f"{ours.sum():.0f}", against, float(ours.mean() / theirs.mean()), 1.0, False, interval)


def _by_plain_lift(bank: Bank, catalog: Catalog, count: int) -> list[Pair]:
    """The pairs of the highest lift with any kind of client, best first."""
    from mlxtend.frequent_patterns import association_rules, fpgrowth

    kinds = bank.clients_on(DAY).select(C.CLIENT, C.KIND)
    rows = bank["holdings"].filter(nw.col(C.CLOSED_ON).is_null()).join(kinds, on=C.CLIENT)
    held = rows.select(C.CLIENT, C.KIND, C.PRODUCT).collect().to_pandas()
    best: dict[Pair, float] = {}
    for kind in Kind:
        of_kind = held[(held[C.KIND] == str(kind)) & held[C.PRODUCT].isin(_sold_to(catalog, kind))]
        baskets = pd.crosstab(of_kind[C.CLIENT], of_kind[C.PRODUCT]).astype(bool)
        least = DiscoverySettings().least_clients(len(baskets)) / len(baskets)
        frequent = fpgrowth(baskets, least, use_colnames=True, max_len=2)
        rules = association_rules(frequent, metric="lift", min_threshold=0.0)
        for one, other, lift in rules[["antecedents", "consequents", "lift"]].itertuples(index=False):
            pair = tuple(sorted(one | other))
            best[pair] = max(lift, best.get(pair, 0.0))
    return sorted(best, key=lambda pair: -best[pair])[:count]


def _sold_to(catalog: Catalog, kind: Kind) -> list[str]:
    return [product.product_id for product in catalog.products if kind in product.kinds]


def tied(behaviour: Behaviour, products: Sequence[str]) -> set[Pair]:
    """Pairs of products of which one moves the other, or which a need or a link moves both."""
    found: set[Pair] = set()
    for one, other in combinations(sorted(products), 2):
        opens = [_raising(behaviour, product) for product in (one, other)]
        moved = any(
            f"{how}.{by}" in _named(expression)
            for expressions, by in zip(opens, (other, one), strict=True)
            for expression in expressions
            for how in ("recent", "holds")
        )
        shared = any(
            any(name.startswith(("need.", "link.")) for name in _named(a) & _named(b)) and can_both(behaviour, a, b)
            for a, b in product_of(*opens)
        )
        if moved or shared:
            found.add((one, other))
    return found


def _raising(behaviour: Behaviour, product: str) -> list[str]:
    opens = behaviour.products[product].opens
    return [expression for expression, by in opens.items() if expression != "base" and by > 0]


def _named(expression: str) -> set[str]:
    """The conditions of an expression that are not negated."""
    return {condition.name for condition in conditions(expression) if not condition.negated}


def can_both(behaviour: Behaviour, one: str, other: str) -> bool:
    """Whether one client can meet both expressions: no condition and its negation, no two bands or texts apart."""
    both = {*conditions(one), *conditions(other)}
    names = {condition.name for condition in both}
    if len(names) < len(both):
        return False
    meant = _named(one) | _named(other)
    for a, b in combinations(sorted(meant), 2):
        if a in behaviour.bands and b in behaviour.bands and behaviour.bands[a][0] == behaviour.bands[b][0]:
            (_, *low), (_, *high) = behaviour.bands[a], behaviour.bands[b]
            lows = [bound for bound in (low[0], high[0]) if bound is not None]
            highs = [bound for bound in (low[1], high[1]) if bound is not None]
            if lows and highs and max(lows) >= min(highs):
                return False
        if a.partition(".")[0] == b.partition(".")[0] and a.startswith(("sector.", "rating.")):
            return False
    return True


def _linked(offer: LinkedProposal) -> list[Pair]:
    first = offer.where_side in LINKED_SIDES
    pairs = [(offer.where_product, product) for product in offer.products]
    return [(offer.relation, *(pair if first else pair[::-1])) for pair in pairs]


def linked_ties() -> set[Pair]:
    """Of each relation, the products of the linked client and of the client where what one opens or holds moves the
    other. Who guarantees in the simulation is an owner, so what moves owners moves guarantors."""
    found: set[Pair] = set()
    for segment in set(SEGMENTS.values()):
        behaviour = read_behaviour(segment)
        for moved, expressions in ((name, _raising(behaviour, name)) for name in behaviour.products):
            for name in {name for expression in expressions for name in _named(expression)}:
                if name.startswith("link."):
                    link = behaviour.links[name.removeprefix("link.")]
                    for moving in (*link.opened, *link.holds):
                        for relation, from_linked in TIES[link.tie]:
                            found |= {
                                (relation, moving, moved) if way else (relation, moved, moving) for way in from_linked
                            }
    return found


if __name__ == "__main__":
    typer.run(main)
