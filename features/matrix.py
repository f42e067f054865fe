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

UNSEEN = "(unseen)"  # among categories: stands for every text that they lack, which is not the same as not known
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
        """The same clients in other columns and categories; NaN for a column or category that one side lacks."""
        aligned = Alignment(self.columns, self.categories, columns, categories)(self.values)
        kept = {name: list(categories[name]) for name in columns if name in categories}
        return ProfileMatrix(self.client_ids, list(columns), kept, aligned)


class Alignment:
    """The way from one list of columns and categories to another, worked out once and applied to any rows."""

    def __init__(
        self,
        columns: Sequence[str],
        categories: Mapping[str, Sequence[str]],
        to_columns: Sequence[str],
        to_categories: Mapping[str, Sequence[str]],
    ):
        at = {name: index for index, name in enumerate(columns)}
        shared = [name in at and (name in to_categories) == (name in categories) for name in to_columns]
        self._lacking = np.flatnonzero(~np.array(shared, dtype=bool))
        self._from = np.array([at.get(name, 0) for name in to_columns], dtype=int)
        self._recoded = [
            (index, _codes(categories[name], to_categories[name]))
            for index, (name, is_shared) in enumerate(zip(to_columns, shared, strict=True))
            if is_shared and name in to_categories and list(to_categories[name]) != list(categories[name])
        ]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """float32 (rows, to_columns) of rows in the columns come from."""
        if not values.shape[1]:
            return np.full((len(values), len(self._from)), np.nan, dtype=np.float32)
        aligned: np.ndarray = np.take(values, self._from, axis=1).astype(np.float32, copy=False)
        aligned[:, self._lacking] = np.nan
        for index, codes in self._recoded:
            aligned[:, index] = _recoded(aligned[:, index], codes)
        return aligned


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
            values[:, index] = _recoded(codes, _codes(found, categories[feature.name]))
        else:
            values[:, index] = column.to_numpy()
    ids = np.array(table.column(C.CLIENT).to_pylist(), dtype=str)
    return ProfileMatrix(ids, [feature.name for feature in features], categories, values)


def _codes(old: Sequence[str], new: Sequence[str]) -> np.ndarray:
    """The new code of every old one, the last for null; a text that the new categories lack is `UNSEEN`, else NaN."""
    position = {text: float(index) for index, text in enumerate(new)}
    unseen = position.get(UNSEEN, np.nan)
    return np.array([*(position.get(text, unseen) for text in old), np.nan])


def _recoded(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    recoded: np.ndarray = table[np.where(np.isnan(codes), len(table) - 1, codes).astype(int)]
    return recoded
