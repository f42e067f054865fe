"""Tables of any length to a file, part by part: what is there already stays until the new one is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv


def write_parquet(out: Path, parts: Iterable[pa.Table]) -> None:
    """Writes at least one part, all with the same columns; where they end in an error, `out` is as it was."""
    _write(out, parts, pq.ParquetWriter)


def write_csv(out: Path, parts: Iterable[pa.Table]) -> None:
    """The same as CSV, with a line of names."""
    _write(out, parts, csv.CSVWriter)


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
