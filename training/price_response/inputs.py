"""What a price response takes of a client and a bundle, and the list price of what a bundle brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sheaf.features import C
from sheaf.pricing import Clients, Pricer, PriceTable
from sheaf.training.candidates.pairs import Candidates
from sheaf.training.candidates.population import KIND
from sheaf.training.price_response.models import KINDS, LINES
from sheaf.training.ranker.model import Model


def inputs(
    candidates: Candidates,
    values: np.ndarray,
    held: np.ndarray,
    client: np.ndarray,
    item: np.ndarray,
    log_odds: np.ndarray,
) -> np.ndarray:
    """(pairs, columns of `OF_PAIR`): what a learned response takes of the pairs (client, item).

    `values` are profiles in the encoding's columns, `held` (clients, products); `log_odds` are those of `Ranking`.
    """
    brings = ((~held).astype(float) @ candidates.parts.T)[client, item]
    texts = candidates.encoding.categories[KIND]
    kind = values[:, candidates.encoding.columns.index(KIND)][client]
    line = np.array([str(offer.line) for offer in candidates.offers])[item]
    of_kind = [kind == (texts.index(name) if name in texts else -1) for name in KINDS]
    columns = [*of_kind, *(line == name for name in LINES), log_odds, brings, held.sum(axis=1)[client]]
    return np.stack(columns, axis=1).astype(float)


@dataclass(frozen=True)
class Pair:
    """What the model tells of a bundle for a client: `inputs` (1, columns of `OF_PAIR`) of a learned response, and
    `probability` of the whole bundle, which stands for acceptance at list price where none was learned."""

    inputs: np.ndarray
    probability: float


def pair_of(model: Model, candidates: Candidates, values: np.ndarray, bundle_id: str) -> Pair | None:
    """What is told of a bundle offered to a client, whose profile `values` (1, columns of the encoding) are; None where
    the bundle is no candidate."""
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    names = [offer.bundle_id for offer in candidates.offers]
    place = np.flatnonzero(ranking.item == (names.index(bundle_id) if bundle_id in names else -1))
    if not len(place):
        return None
    client, item, log_odds = (of[place] for of in (ranking.client, ranking.item, ranking.log_odds))
    given = inputs(candidates, values, candidates.held(values), client, item, log_odds)
    return Pair(given, float(ranking.probability[place[0]]))


class Cells:
    """The places of clients in a book, by rating and yearly sales; one not known counts as unrated, and as large."""

    def __init__(self, book: PriceTable, candidates: Candidates):
        encoding = candidates.encoding
        self._book, self._places = book, book.places_of(encoding.categories.get(C.RATING, ()))
        at = {name: index for index, name in enumerate(encoding.columns)}
        self._rating, self._sales = at.get(C.RATING), at.get(book.pricing.turnover or "")

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(clients,): `values` are profiles in the encoding's columns."""
        rating, sales = (
            np.full(len(values), np.nan) if at is None else values[:, at].astype(float)
            for at in (self._rating, self._sales)
        )
        return self._book.cells_at(self._places, np.where(np.isnan(rating), -1, rating).astype(int), sales)


def cells(book: PriceTable, candidates: Candidates, values: np.ndarray) -> np.ndarray:
    """(clients,): `Cells` of these profiles."""
    return Cells(book, candidates)(values)


def list_prices(
    candidates: Candidates, values: np.ndarray, held: np.ndarray, client: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """(pairs,): money a year of what the bundle brings the client; 0 where it cannot be priced."""
    book = PriceTable(candidates.catalog)
    pricer = Pricer(book, tuple(candidates.offers))
    price = pricer.price(Clients(cells(book, candidates, values), held), client, item).list_price
    return np.nan_to_num(price)
