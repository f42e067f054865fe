"""Writes the contract's tables: month by month into a folder beside the target, which takes its place at the end.

The bytes depend on nothing but the rows: no Arrow schema, no time of writing, one row group a call.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sheaf.simulation.state import NOBODY, Array

TABLES = ("clients", "holdings", "positions", "transactions", "links", "offers", "cohorts", "truth")
ID_DIGITS = 7
TEXT = pa.dictionary(pa.int32(), pa.string())
DAY, NUMBER = pa.date32(), pa.float64()


class SimulationError(ValueError):
    """A bank that cannot be simulated as asked; the message says why and what to do."""


@contextmanager
def replacing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write into that becomes `folder` when all went well and vanishes when it did not.

    SimulationError where `folder` holds tables already and `overwrite` is not set. Other files in it stay.
    """
    if folder.exists() and not folder.is_dir():
        raise SimulationError(f"{folder} is a file; give a folder for the tables")
    present = [path for name in TABLES for path in (folder / name, *folder.glob(f"{name}.*")) if path.exists()]
    if present and not overwrite:
        names = ", ".join(sorted(path.name for path in present))
        raise SimulationError(f"{folder} already holds {names}; give another folder, or set overwrite (--overwrite)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        draft.chmod(0o755)  # mkdtemp makes it for its owner alone
        yield draft
        for path in present:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not folder.exists() or not any(folder.iterdir()):
            draft.replace(folder)
        else:
            for path in sorted(draft.iterdir()):
                path.replace(folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class Table:
    """One Parquet file, written a row group at a time; `columns` maps names to types, texts as dictionaries."""

    def __init__(self, path: Path, columns: dict[str, pa.DataType]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = pa.schema(list(columns.items()))
        coded = [name for name, kind in columns.items() if kind == TEXT]
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", compression_level=1, use_dictionary=coded, store_schema=False
        )

    def write(self, *columns: pa.Array) -> None:
        """Appends a row group of these columns, in the table's order; nothing where they are empty."""
        if len(columns[0]):
            self._writer.write_table(pa.table(list(columns), schema=self._schema), row_group_size=len(columns[0]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()


def ids(number: Array, places: Array) -> pa.Array:
    """The client ids of places in the bank; null for NOBODY. `number` is what `Bank.number` holds."""
    unique, codes = np.unique(places, return_inverse=True)
    known = unique != NOBODY
    names = client_ids(number[unique[known]])
    return texts(codes - int(not known.all()), names)


def client_ids(numbers: Array) -> pa.Array:
    """`C0000042` for 42."""
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), ID_DIGITS, "0")
    return pc.binary_join_element_wise("C", digits, "")


def texts(codes: Array, vocabulary: Any) -> pa.Array:
    """Texts by their codes into the vocabulary; null for a negative code."""
    values = vocabulary if isinstance(vocabulary, pa.Array) else pa.array(list(vocabulary), pa.string())
    codes = codes.astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), values)


def days(numbers: Array, known: Array | None = None) -> pa.Array:
    """Dates of days since 1970-01-01; null where not `known`."""
    return pa.array(numbers.astype(np.int32), mask=None if known is None else ~known).cast(pa.date32())


def numbers(values: Array) -> pa.Array:
    """Doubles; null where NaN."""
    return pa.array(values.astype(np.float64), from_pandas=True)
