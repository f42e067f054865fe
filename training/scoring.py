"""Ranking in bulk: profiles stream in by batches, rankings stream out to Parquet, memory stays flat."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa

from catalog import Catalog
from features import Bank, C, ProfileMatrix, profile_matrices, write_parquet
from training.model import Model
from training.ranking import slices

CLIENTS = 20_000  # ranked at a time: 50 MB of profiles
SCHEMA = pa.schema(
    [
        (C.CLIENT, pa.string()),
        ("rank", pa.int32()),
        (C.BUNDLE, pa.string()),
        ("score", pa.float64()),
        ("probability", pa.float64()),
    ]
)


def rank(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    out: Path,
    top: int | None = None,
    progress: Callable[[int], None] = lambda clients: None,
    threads: int = 2,
) -> tuple[int, int]:
    """Writes the candidates of every client of the day's cohort to `out`, by client, best first; returns how many
    clients and rows. The file appears when it is whole. Raises ValueError where nobody is active on that day."""
    candidates = model.candidates(catalog)
    names = pa.array([offer.bundle_id for offer in candidates.offers])
    clients = rows = 0

    def aligned(part: ProfileMatrix) -> Iterator[ProfileMatrix]:
        return (model.align(part[block]) for block in slices(len(part.client_ids), CLIENTS))

    def ranked() -> Iterator[pa.Table]:
        nonlocal clients, rows
        for profiles in chain.from_iterable(map(aligned, profile_matrices(bank, catalog, as_of))):
            ranking = model.rank(candidates, profiles.values, candidates.peer_groups(profiles.values), threads)
            if top is not None:
                ranking = ranking.top(top)
            columns = [
                pa.array(profiles.client_ids, pa.string()).take(pa.array(ranking.client)),
                pa.array(ranking.rank, pa.int32()),
                names.take(pa.array(ranking.item)),
                pa.array(ranking.score),
                pa.array(ranking.probability),
            ]
            yield pa.Table.from_arrays(columns, schema=SCHEMA)
            clients += len(profiles.client_ids)
            rows += len(ranking.client)
            progress(clients)
        if not clients:
            raise ValueError(f"no client is active on {as_of}, so there is nobody to rank; give another day")

    write_parquet(out, ranked())
    return clients, rows
