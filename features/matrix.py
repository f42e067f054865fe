"""Profiles as numbers: a float32 matrix for models, and profile frames in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from features.contract import C
from features.feature import Feature, FeatureType

ROWS = 20_000  # profiles a batch: 40 MB at 500 columns


@dataclass(frozen=True)
class ProfileMatrix:
    """Profiles encoded: `values` is float32, C-contiguous, (clients, columns); null is NaN.

    A category is the index of its text in `categories[column]`, whose texts are in sorted order.
    """

    client_ids: np.ndarray
    columns: list[str]
    categories: dict[str, list[str]]
    values: np.ndarray

    def align(self, columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> ProfileMatrix:
        """The same clients in other columns and categories; NaN for a column or category not found on both sides."""
        at = {name: index for index, name in enumerate(self.columns)}
        values = np.full((len(self.client_ids), len(columns)), np.nan, dtype=np.float32)
        for index, name in enumerate(columns):
            if name not in at or (name in categories) != (name in self.categories):
                continue
            column = self.values[:, at[name]]
            if name in categories and list(categories[name]) != self.categories[name]:
                column = _recode(column, self.categories[name], categories[name])
            values[:, index] = column
        kept = {name: list(categories[name]) for name in columns if name in categories}
        return ProfileMatrix(self.client_ids, list(columns), kept, values)


def encode(frame: nw.LazyFrame[Any] | nw.DataFrame[Any], features: Sequence[Feature]) -> ProfileMatrix:
    """The profiles of a frame, in its order of rows, with the columns that `features` name."""
    parts = [_encode(batch, features) for batch in batches(frame)]
    columns = [feature.name for feature in features]
    categories = {
        feature.name: sorted({text for part in parts for text in part.categories[feature.name]})
        for feature in features
        if feature.type is FeatureType.CATEGORY
    }
    if not parts:
        return ProfileMatrix(np.array([], dtype=str), columns, categories, np.empty((0, len(columns)), np.float32))
    parts = [part.align(columns, categories) for part in parts]
    return ProfileMatrix(
        np.concatenate([part.client_ids for part in parts]),
        columns,
        categories,
        np.concatenate([part.values for part in parts]),
    )


def batches(frame: nw.LazyFrame[Any] | nw.DataFrame[Any], rows: int = ROWS) -> Iterator[nw.DataFrame[Any]]:
    """The frame's rows in eager frames of at most `rows` rows.

    DuckDB streams them, so that memory does not grow with the number of clients; its connection must not be used for
    anything else until the last batch is taken. A frame that lies in memory is sliced.
    """
    if frame.implementation is nw.Implementation.DUCKDB:
        for batch in nw.to_native(frame).to_arrow_reader(rows):
            if batch.num_rows:
                yield nw.from_native(pa.Table.from_batches([batch]), eager_only=True)
        return
    eager = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    for start in range(0, len(eager), rows):
        yield eager[start : start + rows]


def _encode(batch: nw.DataFrame[Any], features: Sequence[Feature]) -> ProfileMatrix:
    table = batch.to_arrow()
    values = np.empty((table.num_rows, len(features)), dtype=np.float32)
    categories = {}
    for index, feature in enumerate(features):
        column = table.column(feature.name)
        if feature.type is FeatureType.CATEGORY:
            texts = column.cast(pa.string()).combine_chunks().dictionary_encode()
            found = texts.dictionary.to_pylist()
            categories[feature.name] = sorted(found)
            codes = texts.indices.cast(pa.float64()).to_numpy(zero_copy_only=False)
            values[:, index] = _recode(codes, found, categories[feature.name])
        else:
            values[:, index] = column.to_numpy()
    ids = np.array(table.column(C.CLIENT).to_pylist(), dtype=str)
    return ProfileMatrix(ids, [feature.name for feature in features], categories, values)


def _recode(codes: np.ndarray, old: Sequence[str], new: Sequence[str]) -> np.ndarray:
    position = {text: float(index) for index, text in enumerate(new)}
    table = np.array([*(position.get(text, np.nan) for text in old), np.nan])  # the last for null
    return table[np.where(np.isnan(codes), len(old), codes).astype(int)]
