"""Profiles of a day on disk, as a service reads them: memory-mapped, so that workers share them and start at once."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.matrix import ProfileMatrix

FORMAT = 1
_CHARACTER = np.dtype("U1").itemsize
_ABOUT, _IDS, _VALUES = "profiles.json", "clients.npy", "values.f32"


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
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            clients = _write(place, parts, as_of, progress)
            place.chmod(0o755)
            before = place.with_name(f"{place.name}-before")
            if folder.exists():  # in the way for no longer than a rename takes
                folder.rename(before)
            place.rename(folder)
            shutil.rmtree(before, ignore_errors=True)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return clients

    @classmethod
    def read(cls, folder: Path) -> Snapshot:
        """The snapshot in `folder`. Raises SnapshotError where it is not there or not whole."""
        folder = Path(folder)
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise SnapshotError(f"{folder}: format {about['format']}, this version reads {FORMAT}; profile anew")
            ids = np.load(folder / _IDS, mmap_mode="r", allow_pickle=False)
            shape = (len(ids), len(about["columns"]))
            if (folder / _VALUES).stat().st_size != 4 * shape[0] * shape[1]:
                raise SnapshotError(f"{folder / _VALUES} is not whole; run `sheaf profile` anew")
            values = (
                np.memmap(folder / _VALUES, np.float32, "r", shape=shape) if shape[0] else np.empty(shape, np.float32)
            )
            profiles = ProfileMatrix(ids, about["columns"], about["categories"], values)
            return cls(dt.date.fromisoformat(about["as_of"]), profiles)
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, SnapshotError):
                raise
            raise SnapshotError(f"{folder} holds no profiles ({error}); run `sheaf profile` first") from error


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
            file.write(part.align(columns, categories).values.tobytes())
            ids.append(part.client_ids)
            done += len(part.client_ids)
            progress(done)
    np.save(place / _IDS, np.concatenate(ids) if ids else np.empty(0, dtype="U1"), allow_pickle=False)
    about = {"format": FORMAT, "as_of": str(as_of), "columns": columns, "categories": categories}
    (place / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
    return done
