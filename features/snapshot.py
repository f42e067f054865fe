"""Profiles of a day on disk, as a service reads them: memory-mapped, so that workers share them and start at once."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sheaf.features.atomic_replace import part as part_of
from sheaf.features.atomic_replace import replace, staging
from sheaf.features.checksums import SEAL, checksum, is_sealed, note_checked, seal, were_checked
from sheaf.features.matrix import ProfileMatrix

FORMAT = 2
_CHARACTER = np.dtype("U1").itemsize
_ABOUT, _IDS, _VALUES = "profiles.json", "clients.npy", "values.f32"
_AGAIN = 3  # times that a snapshot is read which is being replaced


class SnapshotError(ValueError):
    """A snapshot that cannot be read; the message names the folder and what to do."""


@dataclass(frozen=True)
class Snapshot:
    """Profiles as of a day: `profiles.values` lies on disk until it is read; ids are in ascending order."""

    as_of: dt.date
    profiles: ProfileMatrix

    def row(self, client_id: str) -> int | None:
        """The client's row, or None for a client who is not there."""
        ids = np.asarray(self.profiles.client_ids)  # the class that NumPy maps files with is slow
        if len(client_id) > ids.dtype.itemsize // _CHARACTER:  # NumPy would cast all ids to this one's width
            return None
        at = int(np.searchsorted(ids, client_id))
        return at if at < len(ids) and ids[at] == client_id else None

    @classmethod
    def write(
        cls,
        folder: Path,
        parts: Iterable[ProfileMatrix],
        as_of: dt.date,
        progress: Callable[[int], None] = lambda clients: None,
    ) -> int:
        """Writes what `profile_matrices` yields, replaces `folder` as a whole, and returns how many there are."""
        folder = Path(folder)
        new_folder = not folder.exists()
        try:
            with staging(folder) as place:
                clients = _write(place, parts, as_of, progress)
                there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
                replace(folder, place, gone=there - {_ABOUT, _IDS, _VALUES})
        except BaseException:
            if new_folder:
                folder.rmdir()
            raise
        return clients

    @classmethod
    def read(cls, folder: Path) -> Snapshot:
        """The snapshot in `folder`. Raises SnapshotError where it is not there, not whole or not what was written."""
        folder = Path(folder)
        for left in reversed(range(_AGAIN)):
            try:
                before = _stamp(folder)
                return cls._read(folder)
            except SnapshotError:
                if not left or _stamp(folder) == before:  # else it was replaced meanwhile
                    raise
        raise AssertionError

    @classmethod
    def _read(cls, folder: Path) -> Snapshot:
        try:
            about = json.loads(part_of(folder, _ABOUT).read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise SnapshotError(f"{folder}: format {about['format']}, this version reads {FORMAT}; profile anew")
            if not is_sealed(part_of(folder, _ABOUT)):
                raise SnapshotError(f"{folder / _ABOUT} {_DAMAGED}")
            ids_file, values_file = part_of(folder, _IDS), part_of(folder, _VALUES)
            columns, clients = about["columns"], about["clients"]
            if values_file.stat().st_size != 4 * clients * len(columns):
                raise SnapshotError(f"{folder / _VALUES} is not whole; run `sheaf profile` anew")
            files = [part_of(folder, _ABOUT), ids_file, values_file]
            for file in () if were_checked(files) else files[1:]:
                if checksum(file) != about["crc32"][file.name]:
                    raise SnapshotError(f"{folder / file.name} {_DAMAGED}")
            note_checked(files)
            ids = np.load(ids_file, mmap_mode="r", allow_pickle=False)
            shape = (clients, len(columns))
            values = np.memmap(values_file, np.float32, "r", shape=shape) if clients else np.empty(shape, np.float32)
            return cls(dt.date.fromisoformat(about["as_of"]), ProfileMatrix(ids, columns, about["categories"], values))
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, SnapshotError):
                raise
            raise SnapshotError(f"{folder} holds no profiles ({error}); run `sheaf profile` first") from error


_DAMAGED = "was damaged or altered since it was written; run `sheaf profile` anew"


def _stamp(folder: Path) -> list[tuple[int, int]]:
    found = []
    for name in (_ABOUT, _IDS, _VALUES):
        try:
            told = part_of(folder, name).stat()
        except OSError:
            continue
        found.append((told.st_ino, told.st_mtime_ns))
    return found


def _write(
    place: Path,
    parts: Iterable[ProfileMatrix],
    as_of: dt.date,
    progress: Callable[[int], None],
) -> int:
    columns: list[str] = []
    categories: dict[str, list[str]] = {}
    ids: list[np.ndarray] = []
    done = 0
    with (place / _VALUES).open("wb") as file:
        for part in parts:
            columns = part.columns
            for name, texts in part.categories.items():  # texts keep their codes: later ones come after
                known = categories.setdefault(name, [])
                known += [text for text in texts if text not in set(known)]
            _check(part)
            file.write(part.align(columns, categories).values.tobytes())
            ids.append(part.client_ids)
            done += len(part.client_ids)
            progress(done)
    every = np.concatenate(ids) if ids else np.empty(0, dtype="U1")
    if len(wrong := np.flatnonzero(every[1:] <= every[:-1])):
        raise SnapshotError(
            f"client {str(every[wrong[0] + 1])!r} comes twice or out of order among the profiles; give each client "
            "once, in ascending order of the ids"
        )
    np.save(place / _IDS, every, allow_pickle=False)
    about = {
        "sealed": SEAL,
        "format": FORMAT,
        "as_of": str(as_of),
        "clients": done,
        "columns": columns,
        "categories": categories,
        "crc32": {name: checksum(place / name) for name in (_IDS, _VALUES)},
        "end": SEAL,
    }
    (place / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
    seal(place / _ABOUT)
    return done


def _check(part: ProfileMatrix) -> None:
    """Raises SnapshotError for profiles that cannot be: one row a client, one column a name, a category's codes in its
    texts, nothing infinite."""
    if part.values.shape != (len(part.client_ids), len(part.columns)):
        raise SnapshotError(
            f"profiles have the shape {part.values.shape} for {len(part.client_ids)} clients and {len(part.columns)} "
            "columns; profile anew"
        )
    if len(set(part.columns)) < len(part.columns):
        twice = sorted({name for name in part.columns if part.columns.count(name) > 1})
        raise SnapshotError(f"profiles have a column more than once: {', '.join(twice)}; profile anew")
    for name, texts in part.categories.items():
        codes = part.values[:, part.columns.index(name)]
        if not (np.isnan(codes) | (codes >= 0) & (codes < len(texts)) & (codes == np.floor(codes))).all():
            raise SnapshotError(f"profiles: column {name} has codes beyond its {len(texts)} categories; profile anew")
    if np.isinf(part.values).any():
        infinite = part.columns[int(np.flatnonzero(np.isinf(part.values).any(axis=0))[0])]
        raise SnapshotError(f"profiles: column {infinite} has an infinite value; profile anew")
