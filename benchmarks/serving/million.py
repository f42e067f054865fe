"""A service over many clients: how long it takes until it answers, and what one more worker holds in memory.

The profiles, and what clients hold, are those of what is laid out already, over and over under new ids.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from sheaf.features.client_positions import Relationships
from sheaf.features.contract import C
from sheaf.features.matrix import ProfileMatrix
from sheaf.features.snapshot import Snapshot
from sheaf.serving.runtime.demonstration import end, family, start
from sheaf.serving.runtime.preparation import place
from sheaf.serving.settings import FOLDER

MIB = 2**20


def multiply(folder: Path, clients: int) -> None:
    """Lays out in `folder` what is laid out now, with so many clients."""
    shutil.copytree(FOLDER, folder)
    snapshot, held = Snapshot.read(place("profiles")), Relationships.read(place("relationships"))
    profiles, rows = snapshot.profiles, held.rows
    times = -(-clients // len(profiles.client_ids))

    def parts() -> Iterator[ProfileMatrix]:
        for number in range(times):
            yield ProfileMatrix(_named(profiles.client_ids, number), profiles.columns, profiles.categories,
                                np.asarray(profiles.values))  # fmt: skip

    Snapshot.write(folder / "profiles", parts(), snapshot.as_of)
    at = rows.column_names.index(C.CLIENT)
    ids = np.array(rows[C.CLIENT].to_pylist(), dtype=str)
    several = [rows.set_column(at, C.CLIENT, pa.array(_named(ids, number))) for number in range(times)]
    Relationships(pa.concat_tables(several).combine_chunks()).write(folder / "relationships.arrow")


def _named(ids: np.ndarray, number: int) -> np.ndarray:
    """Ids of the same order, and all after those of a lower number."""
    return np.char.add(f"{number:04d}", ids.astype(str))


def started(folder: Path, workers: int) -> tuple[float, float]:
    """Seconds until the service over `folder` is ready with one worker or more, and the MiB that its processes hold
    in memory together, what they share counted once."""
    names = {
        "SHEAF_MODEL": "model",
        "SHEAF_PROFILES": "profiles",
        "SHEAF_RELATIONSHIPS": "relationships.arrow",
        "SHEAF_CATALOG": "catalog.json",
    }
    before = dict(os.environ)
    os.environ.update({name: str(folder / kept) for name, kept in names.items()})
    try:
        begun = time.perf_counter()
        process, _ = start(workers=workers)
        seconds = time.perf_counter() - begun
        _all_there(process.pid, workers)
        memory = sum(_held(one) for one in family(process)) / MIB
        end(process)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return seconds, memory


def _all_there(pid: int, workers: int, quiet: float = 2.0) -> None:
    """Returns when the processes have done nothing for a while: `ready` is said by the first worker."""
    while True:
        before = _busy(pid)
        time.sleep(quiet)
        if _busy(pid) - before < 0.2 * quiet:
            return


def _busy(pid: int) -> float:
    first = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in [first, *first.children(recursive=True)])


def _held(process: psutil.Process) -> int:
    told = process.memory_full_info()
    return int(getattr(told, "pss", told.uss))
