"""Tables of any length to a Parquet file, part by part: what is there already stays until the new one is whole."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(out: Path, parts: Iterable[pa.Table]) -> None:
    """Writes at least one part, all with the same columns; where they end in an error, `out` is as it was."""
    out.parent.mkdir(parents=True, exist_ok=True)
    place = out.with_name(f".{out.name}.part")
    remaining = iter(parts)
    try:
        first = next(remaining)
        with pq.ParquetWriter(place, first.schema) as writer:
            for part in chain([first], remaining):
                writer.write_table(part)
        place.replace(out)
    finally:
        place.unlink(missing_ok=True)
