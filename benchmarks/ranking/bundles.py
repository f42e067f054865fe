"""The engine's best bundle of a size for each client, of all that the products not held make.

No catalog need hold these bundles: each becomes an offer for the question's sake.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from benchmarks.ranking.tasks import View
from sheaf.catalog import Bundle, Catalog, Kind
from sheaf.training import Model, Pairs, Slate, bundle_rows
from sheaf.training.ranker.bundle_order import slices

SIZES = (2, 3, 4)
LIKELIEST = 10  # products of a client whose bundles are compared: a bundle with a less likely one is not the best
CLIENTS = 200  # at a time: their rows against all bundles of a size are some 20 MB a column
ORDER, WHOLE = "the engine's order", "the engine's probability of the whole"
CHANCE = "chance"


def best(model: Model, view: View, threads: int) -> dict[str, np.ndarray]:
    """`ORDER n` and `WHOLE n` for each size n: (clients, n) positions of products, -1 where too few may be had; and
    `CHANCE n`, (clients,): the probability that the one of `WHOLE n` is opened whole, NaN without one."""
    found: dict[str, np.ndarray] = {}
    values = model.align(view.profiles).values
    for size in SIZES:
        offering, sets = _offering(model.catalog, size)
        candidates = model.candidates(offering)
        chosen = {by: np.full((len(values), size), -1) for by in (ORDER, WHOLE)}
        chance = np.full(len(values), np.nan)
        for block in slices(len(values), CLIENTS):
            part = values[block]
            slate, peers = candidates.slate(part), candidates.peer_groups(part)
            probability, share = model.adoption.estimates(candidates, part, slate, peers, threads)
            likely = _likely(slate, probability, sets)
            rows = bundle_rows(candidates, part, likely, probability, share)
            for by, score in ((ORDER, model.order.score(rows, threads)), (WHOLE, model.completion(rows))):
                client, place = _first(likely.pairs, score)
                chosen[by][block.start + client] = sets[likely.pairs.item[place]]
            chance[block.start + client] = score[place]
        found |= {f"{by} {size}": positions for by, positions in chosen.items()} | {f"{CHANCE} {size}": chance}
    return found


def _offering(catalog: Catalog, size: int) -> tuple[Catalog, np.ndarray]:
    """A catalog whose first offers are the bundles of this size that somebody may have; (offers, size) positions."""
    sets: list[tuple[int, ...]] = []
    bundles: list[Bundle] = []
    for positions in combinations(range(len(catalog.products)), size):
        products = [catalog.products[position] for position in positions]
        kinds = tuple(kind for kind in Kind if all(kind in product.kinds for product in products))
        if kinds:
            names, line = tuple(product.product_id for product in products), products[0].line
            bundles.append(Bundle(bundle_id=f"{size}-{len(sets)}", name="Set", products=names, line=line, kinds=kinds))
            sets.append(positions)
    offering = Catalog(name=catalog.name, products=catalog.products, bundles=tuple(bundles), policy=catalog.policy)
    return offering, np.array(sets, dtype=int).reshape(-1, size)


def _likely(slate: Slate, probability: np.ndarray, sets: np.ndarray) -> Slate:
    """The slate with the bundles only that are made of the client's `LIKELIEST` products, all of them candidates."""
    chance = np.where(slate.reached, probability, -1.0)
    likeliest = np.zeros(chance.shape, dtype=bool)
    np.put_along_axis(likeliest, np.argsort(-chance, axis=1, kind="stable")[:, :LIKELIEST], True, axis=1)
    allowed = (likeliest & slate.reached)[:, sets].all(axis=2)
    return Slate(slate.held, slate.reached, Pairs(*np.nonzero(allowed)), slate.products)


def _first(pairs: Pairs, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every client who has a pair, and the place of that with the highest score."""
    order = np.lexsort((pairs.item, -score, pairs.client))
    client, first = np.unique(pairs.client[order], return_index=True)
    return client, order[first]
