"""Ranking in bulk: profiles stream in by batches, rankings stream out to Parquet, memory stays flat."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from sheaf.catalog import Catalog, Line
from sheaf.features import Bank, C, FeatureType, ProfileMatrix, feature_dictionary, profile_matrices, write_parquet
from sheaf.features.acceptances import awaited
from sheaf.features.client_positions import Relationships
from sheaf.features.conditions import Occurring, kinds_in, kinds_of_bank, need_comparable, need_fitting
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.ranker.bundle_order import slices
from sheaf.training.ranker.model import Model
from sheaf.training.value_order import Aim, Valuer

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
VALUES = ("concession", "acceptance", "eva")
"""What stands beside a ranking by value, whose score is the value: `sheaf.training.value_order.Worth`."""


def rank(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    out: Path,
    top: int | None = None,
    progress: Callable[[int], None] = lambda clients: None,
    threads: int = 2,
    aim: Aim = Aim.RELEVANCE,
    authority: str | None = None,
    learned: PriceResponse | None = None,
) -> tuple[int, int]:
    """Writes what `ranked_tables` gives to `out`; returns how many clients and rows. The file appears when it is whole.

    `progress` is called with the number of clients ranked so far.
    """
    clients, rows = 0, 0

    def counted() -> Iterator[pa.Table]:
        nonlocal clients, rows
        for table, of_block in blocks:
            yield table
            clients, rows = clients + of_block, rows + len(table)
            progress(clients)

    blocks = ranked_tables(model, bank, catalog, as_of, top, threads, aim, authority, learned)
    write_parquet(out, counted(), as_of)
    return clients, rows


def ranked_tables(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    top: int | None = None,
    threads: int = 2,
    aim: Aim = Aim.RELEVANCE,
    authority: str | None = None,
    learned: PriceResponse | None = None,
) -> Iterator[tuple[pa.Table, int]]:
    """The candidates of every client of the day's cohort, by client, best first: a table for each block of clients, and
    how many clients it is of.

    What brings a client a product that was accepted, and that holdings do not show yet, is left out
    (`sheaf.features.acceptances`). By value there are the columns of `VALUES` too, priced by the response `learned`
    from offers, if given.

    Raises ValueError where nobody is active on that day, and by value where the catalog has no prices or no such
    `authority`; warns where the model was trained with columns that the bank's profiles lack, and where it learned from
    what came after the day.
    """
    need_fitting(catalog, kinds_of_bank(bank, catalog))
    _warn_of_lacking_columns(model, bank, catalog)
    _warn_of_what_came_after(model, as_of)
    candidates = model.candidates(catalog)
    need_comparable(catalog, kinds_in(model.encoding.columns, model.encoding.categories))
    valuer = Valuer(candidates, authority, learned) if aim is Aim.VALUE else None
    relationships = Relationships.of(bank, catalog, as_of) if valuer else None
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.float64()) for name in VALUES)]) if valuer else SCHEMA
    names = pa.array([offer.bundle_id for offer in candidates.offers])
    occurring, accepted = Occurring(catalog), awaited(bank, catalog, as_of)

    def ranked(profiles: ProfileMatrix) -> pa.Table:
        ranking = model.rank(candidates, profiles.values, candidates.peer_groups(profiles.values), threads)
        values: list[np.ndarray] = []
        if any(str(client) in accepted for client in profiles.client_ids):
            awaiting = [accepted.get(str(client), {}) for client in profiles.client_ids]
            ranking = ranking.without(candidates.bringing(profiles.values, awaiting))
        if valuer and relationships:
            held = candidates.held(profiles.values)
            ids, cell = [str(client) for client in profiles.client_ids], valuer.cells(profiles.values)
            ranking, worth = valuer.rank(profiles.values, held, ranking, relationships.own(valuer.book, ids, cell))
            values = [getattr(worth, name) for name in VALUES]
        if top is not None:
            values = [column[ranking.rank <= top] for column in values]
            ranking = ranking.top(top)
        columns = [
            pa.array(profiles.client_ids, pa.string()).take(pa.array(ranking.client)),
            pa.array(ranking.rank, pa.int32()),
            names.take(pa.array(ranking.item)),
            pa.array(ranking.score),
            pa.array(ranking.probability),
            *map(pa.array, values),
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    def blocks() -> Iterator[tuple[pa.Table, int]]:
        clients = 0
        for part in occurring.watch(profile_matrices(bank, catalog, as_of)):
            for block in slices(len(part.client_ids), CLIENTS):
                profiles = model.align(part[block], candidates)
                clients += len(profiles.client_ids)
                yield ranked(profiles), len(profiles.client_ids)
        if not clients:
            raise ValueError(f"no client is active on {as_of}, so there is nobody to rank; give another day")
        occurring.tell()

    return blocks()


def _warn_of_lacking_columns(model: Model, bank: Bank, catalog: Catalog) -> None:
    """What was told of products and lines that are not sold any more is no loss."""
    encoding, sold = model.encoding, catalog.products
    gone = {*encoding.products, *map(str, Line)} - {one.product_id for one in sold} - {str(one.line) for one in sold}
    there = {feature.name: feature.type is FeatureType.CATEGORY for feature in feature_dictionary(bank, catalog)}
    lacking = [
        name
        for name in encoding.columns
        if there.get(name) is not (name in encoding.categories) and name.rpartition("__")[2] not in gone
    ]
    if lacking:
        shown = f"{', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}"
        warnings.warn(
            f"the profiles of this bank lack {len(lacking)} of the {len(encoding.columns)} columns that the model was "
            f"trained with, or have them in another type ({shown}): they count as not known; hand over the tables and "
            "columns that it was trained on, or train anew",
            stacklevel=4,
        )


def _warn_of_what_came_after(model: Model, as_of: dt.date) -> None:
    days = [dt.date.fromisoformat(day) for day in model.about.get("as_of", ())]
    until = max(days, default=dt.date.min) + dt.timedelta(days=model.about.get("horizon_days", 0))
    if until > as_of:
        warnings.warn(
            f"the model learned from what was opened up to {until}, which nobody knew on {as_of}: only of clients whom "
            "it did not learn from does this ranking say how good the model is; else train on earlier days",
            stacklevel=4,
        )
