"""Who could have what, has it and opened it when: the clients of a day as arrays, and the segments they fall into."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pandas as pd

from sheaf.catalog import Catalog, Kind
from sheaf.features import Bank, C, ProfileMatrix, day_number, profile_matrices
from sheaf.features.conditions import Occurring, kinds_of_bank, need_fitting
from sheaf.features.dictionary import by_group
from sheaf.training.candidates.pairs import Gates

LEAST_SEGMENT, MOST_SEGMENTS = 200, 256  # clients a segment at least; segments at most
_SEASON = "season_month"  # the same for everybody on a day


class DiscoveryError(ValueError):
    """Nothing can be discovered from what was handed over; the message says what is missing and what to do."""


@dataclass(frozen=True)
class HoldingsHistory:
    """Clients of a day, in order of their ids, and all their holdings known on that day, open or not.

    `kind` is a position in `Kind`; `joined`, `opened`, `closed` are day numbers (closed: infinite while open);
    `may` is (products, clients): True where the catalog's conditions allow it; `attributes` is (clients, columns) of
    what the bank knows besides products, without what the policy protects; `client` and `product` are positions.
    """

    day: int
    client_ids: np.ndarray
    kind: np.ndarray
    joined: np.ndarray
    may: np.ndarray
    attributes: np.ndarray
    client: np.ndarray
    product: np.ndarray
    opened: np.ndarray
    closed: np.ndarray

    @classmethod
    def read(cls, bank: Bank, catalog: Catalog, as_of: dt.date) -> HoldingsHistory:
        """Raises DiscoveryError where the day has no client, or where these hold nothing of the catalog."""
        day = day_number(as_of)
        clients = bank.cohort(as_of).select(C.CLIENT, C.KIND, C.JOINED_ON).sort(C.CLIENT).collect().to_pandas()
        if clients.empty:
            raise DiscoveryError(f"no client is active on {as_of}, so nothing is held together; give another day")
        ids = pd.Index(clients[C.CLIENT])
        if not ids.is_unique:
            twice = ", ".join(ids[ids.duplicated()].unique()[:3])
            raise DiscoveryError(f"table clients has several rows of the same day for {twice}; keep the one that holds")
        positions = pd.Index([product.product_id for product in catalog.products])
        sold = nw.col(C.PRODUCT).is_in(list(positions))
        rows = bank.known_on(as_of)["holdings"].filter(sold).select(C.CLIENT, C.PRODUCT, C.OPENED_ON, C.CLOSED_ON)
        holdings = rows.collect().to_pandas()
        client = ids.get_indexer(holdings[C.CLIENT])
        ours = client >= 0
        if not ours.any():
            raise DiscoveryError(
                f"of the catalog's products nothing was ever held by the {len(ids):,} clients of {as_of}; "
                f"do the ids in {C.PRODUCT} of table holdings stand in the catalog?"
            )
        may, attributes = _known_of(bank, catalog, as_of, ids)
        return cls(
            day,
            ids.to_numpy(),
            pd.Index(list(map(str, Kind))).get_indexer(clients[C.KIND]),
            clients[C.JOINED_ON].fillna(day).to_numpy(float),
            may,
            attributes,
            client[ours],
            positions.get_indexer(holdings[C.PRODUCT])[ours],
            holdings[C.OPENED_ON].to_numpy(float)[ours],
            holdings[C.CLOSED_ON].fillna(np.inf).to_numpy(float)[ours],
        )

    def held(self, day: int) -> np.ndarray:
        """(products, clients): True where held at the end of `day`."""
        return self._marked((self.opened <= day) & (self.closed > day))

    def opened_in(self, after: int, until: int) -> np.ndarray:
        """(products, clients): True where opened after `after` and up to `until`."""
        return self._marked((self.opened > after) & (self.opened <= until))

    def _marked(self, rows: np.ndarray) -> np.ndarray:
        marks = np.zeros(self.may.shape, dtype=bool)
        marks[self.product[rows], self.client[rows]] = True
        return marks


def _known_of(bank: Bank, catalog: Catalog, as_of: dt.date, ids: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Of the clients in the order of `ids`: which products they may have, and their attributes, unknown ones as NaN."""
    names = [feature.name for feature in by_group(bank, catalog)["demographics"] if feature.name != _SEASON]
    need_fitting(catalog, kinds_of_bank(bank, catalog))
    may, parts, occurring = [], [], Occurring(catalog)
    for profiles in occurring.watch(profile_matrices(bank, catalog, as_of)):
        may.append(Gates(catalog.products, profiles).open(profiles.values))
        categories = {name: texts for name, texts in profiles.categories.items() if name in names}
        parts.append(profiles.align([name for name in names if name in profiles.columns], categories))
    occurring.tell()
    known = ProfileMatrix.join(parts)
    order = pd.Index(known.client_ids).get_indexer(ids)
    return np.ascontiguousarray(np.concatenate(may)[order].T), known.values[order]


def segments(attributes: np.ndarray, has: np.ndarray) -> np.ndarray:
    """The segment of each row: leaf of the tree over `attributes` (rows, columns) that tells best what each `has`.

    `has` is (items, rows). Within a segment every item is about equally popular among all, as far as attributes tell,
    so that what is held together there is not held together because the same people want both.
    """
    from sklearn.tree import DecisionTreeRegressor

    if not attributes.shape[1]:
        return np.zeros(len(attributes), dtype=np.int64)
    tree = DecisionTreeRegressor(min_samples_leaf=LEAST_SEGMENT, max_leaf_nodes=MOST_SEGMENTS, random_state=0)
    if len(attributes) < 2 * LEAST_SEGMENT:
        return np.zeros(len(attributes), dtype=np.int64)
    leaves = tree.fit(attributes, has.T.astype(np.float32)).apply(attributes)
    return coded(leaves)


def coded(*columns: np.ndarray) -> np.ndarray:
    """One number from 0 on for every combination of the columns' values that occurs."""
    code = np.unique(columns[0], return_inverse=True)[1].astype(np.int64)
    for column in columns[1:]:
        values = np.unique(column, return_inverse=True)[1]
        code = np.unique(code * (values.max(initial=0) + 1) + values, return_inverse=True)[1]
    return code
