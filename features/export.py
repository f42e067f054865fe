"""Tables of any length to a file, part by part: what is there already stays until the new one is whole."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from sheaf.features.spreadsheets import for_spreadsheets

_AS_OF = b"sheaf.as_of"  # in the metadata of a Parquet file: the day that its rows are of


def write_parquet(out: Path, parts: Iterable[pa.Table], as_of: dt.date | None = None) -> None:
    """Writes at least one part, all with the same columns; where they end in an error, `out` is as it was.

    The file says in its metadata as of which day it is, where that is given: `written_as_of` tells it.
    """

    def writing(place: Path, schema: pa.Schema) -> pq.ParquetWriter:
        about = {} if as_of is None else {_AS_OF: as_of.isoformat().encode()}
        return pq.ParquetWriter(place, schema.with_metadata((schema.metadata or {}) | about))

    _write(out, parts, writing)


def written_as_of(path: Path) -> dt.date | None:
    """The day that a Parquet file says it is of, or None. Raises ValueError where there is no such file."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        told = (pq.read_schema(path).metadata or {}).get(_AS_OF)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file; {str(error).splitlines()[0]}") from error
    return None if told is None else dt.date.fromisoformat(told.decode())


def write_csv(out: Path, parts: Iterable[pa.Table]) -> None:
    """The same as CSV, with a line of names; texts are such that no spreadsheet takes them for a formula."""
    _write(out, map(for_spreadsheets, parts), csv.CSVWriter)


def _write(out: Path, parts: Iterable[pa.Table], writing: Callable[[Path, pa.Schema], Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    place = out.with_name(f".{out.name}.part")
    remaining = iter(parts)
    try:
        first = next(remaining)
        with writing(place, first.schema) as writer:
            for part in chain([first], remaining):
                writer.write_table(part)
        place.replace(out)
    finally:
        place.unlink(missing_ok=True)
