"""Profiles as numbers: a float32 matrix for models; and what groups of features tell, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sheaf.features.contract import C
from sheaf.features.feature import Feature, FeatureType

LARGEST = float(np.finfo(np.float32).max)  # of a matrix; what is beyond, such as a sum that overflowed, counts as this
UNSEEN = "(unseen)"  # among categories: stands for every text that they lack, which is not the same as not known


@dataclass(frozen=True)
class ProfileMatrix:
    """Profiles encoded: `values` is float32, C-contiguous, (clients, columns); null is NaN.

    A category is the index of its text in `categories[column]`, whose texts are in sorted order.
    """

    client_ids: np.ndarray
    columns: list[str]
    categories: dict[str, list[str]]
    values: np.ndarray

    def __getitem__(self, clients: slice | np.ndarray) -> ProfileMatrix:
        """These clients only."""
        return ProfileMatrix(self.client_ids[clients], self.columns, self.categories, self.values[clients])

    @classmethod
    def join(cls, parts: Sequence[ProfileMatrix]) -> ProfileMatrix:
        """One matrix of at least one, with all their categories; they have the same columns."""
        first = parts[0]
        categories = {
            name: sorted({text for part in parts for text in part.categories[name]}) for name in first.categories
        }
        aligned = parts if len(parts) == 1 else [part.align(first.columns, categories) for part in parts]
        ids = np.concatenate([part.client_ids for part in parts])
        values = first.values if len(parts) == 1 else np.concatenate([part.values for part in aligned])
        return cls(ids, first.columns, categories, values)

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
        if len(self._lacking):
            aligned[:, self._lacking] = np.nan
        for index, codes in self._recoded:
            aligned[:, index] = _recoded(aligned[:, index], codes)
        return aligned


def assemble(
    client_ids: pa.StringArray, features: Sequence[Feature], wide: Sequence[pa.Table], long: Sequence[pa.Table]
) -> ProfileMatrix:
    """The profiles of these clients, in this order, from tables of one row a client, or one a client and product.

    Columns of `wide` are features by their names; those of `long` are called `{column}__{product_id}`.
    Rows of other clients are left out; a value that no row tells is the feature's `missing`.
    """
    values = np.tile(np.array(_missing(features), dtype=np.float32), (len(client_ids), 1))
    categories = _place(values, client_ids, features, wide, long)
    return ProfileMatrix(np.array(client_ids.to_pylist(), dtype=str), [f.name for f in features], categories, values)


def tabulate(
    client_ids: pa.StringArray, features: Sequence[Feature], wide: Sequence[pa.Table], long: Sequence[pa.Table]
) -> pa.Table:
    """What `assemble` gives, as a table of the ids and a column a feature: doubles and texts, null where not known."""
    values = np.empty((len(client_ids), len(features)), order="F")  # by columns, as a table lies
    values[:] = _missing(features)
    categories = _place(values, client_ids, features, wide, long)
    columns: dict[str, pa.Array] = {C.CLIENT: client_ids}
    for index, feature in enumerate(features):
        column = pa.array(values[:, index], from_pandas=True)
        if feature.type is FeatureType.CATEGORY:
            column = pa.array(categories[feature.name], pa.string()).take(column.cast(pa.int32()))
        columns[feature.name] = column
    return pa.table(columns)


def _missing(features: Sequence[Feature]) -> list[float]:
    return [np.nan if feature.missing is None else feature.missing for feature in features]


def _place(
    values: np.ndarray,
    client_ids: pa.StringArray,
    features: Sequence[Feature],
    wide: Sequence[pa.Table],
    long: Sequence[pa.Table],
) -> dict[str, list[str]]:
    """Puts what the tables tell where it belongs in (clients, features), and returns the categories' texts."""
    at = {feature.name: index for index, feature in enumerate(features)}
    categories: dict[str, list[str]] = {f.name: [] for f in features if f.type is FeatureType.CATEGORY}
    for table in wide:
        rows, table = _rows_of(table, client_ids)
        for name in table.column_names:
            if name in categories:
                codes, categories[name] = _coded(table[name])
                values[rows, at[name]] = codes
            elif name in at:
                _fill(values, rows, at[name], table[name])
    for table in long:
        rows, table = _rows_of(table, client_ids)
        products = table[C.PRODUCT].combine_chunks().dictionary_encode()
        texts, product = products.dictionary.to_pylist(), products.indices.to_numpy()
        for name in table.column_names:
            if name not in (C.CLIENT, C.PRODUCT):
                column = np.array([at[f"{name}__{text}"] for text in texts], dtype=int)
                _fill(values, rows, column[product], table[name])
    return categories


def _rows_of(table: pa.Table, client_ids: pa.StringArray) -> tuple[np.ndarray, pa.Table]:
    """Of each row of the table the position of its client, and the table without the rows of others."""
    rows = pc.index_in(table[C.CLIENT].cast(pa.string()), value_set=client_ids)
    if rows.null_count:
        table, rows = table.filter(rows.is_valid()), rows.drop_null()
    return rows.to_numpy(), table


def _fill(values: np.ndarray, rows: np.ndarray, columns: np.ndarray | int, told: pa.ChunkedArray) -> None:
    number = told.to_numpy()
    known = ~np.isnan(number)  # a null is NaN here, and pandas has no other
    if not known.all():
        rows, number = rows[known], number[known]
        columns = columns if isinstance(columns, int) else columns[known]
    values[rows, columns] = _settled(np.clip(number, -LARGEST, LARGEST)) if values.dtype == np.float32 else number


def _settled(number: np.ndarray) -> np.ndarray:
    """The numbers without the last twelve bits of a double.

    DuckDB's threads add up in the order in which they come to an end, so that a sum has another last bit in the next
    run. A sum of cents often lies just between two floats of 32 bits, where that bit decides which of them it becomes,
    and a tree splits elsewhere: the same seed trained another model.
    """
    bits = number.astype(np.float64).view(np.int64)
    settled: np.ndarray = ((bits + 0x800) & ~0xFFF).view(np.float64)
    return settled


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """The codes of texts, NaN for null, and the texts they stand for, sorted."""
    texts = column.cast(pa.string()).combine_chunks().dictionary_encode()
    found = texts.dictionary.to_pylist()
    codes = texts.indices.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return _recoded(codes, _codes(found, sorted(found))), sorted(found)


def _codes(old: Sequence[str], new: Sequence[str]) -> np.ndarray:
    """The new code of every old one, the last for null; a text that the new categories lack is `UNSEEN`, else NaN."""
    position = {text: float(index) for index, text in enumerate(new)}
    unseen = position.get(UNSEEN, np.nan)
    return np.array([*(position.get(text, unseen) for text in old), np.nan])


def _recoded(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    recoded: np.ndarray = table[np.where(np.isnan(codes), len(table) - 1, codes).astype(int)]
    return recoded
