"""Parts of a folder replaced together: readers see all of the new ones or none, whenever who replaces them is killed.

New parts are made in a folder of their own (`staging`), which one rename makes the `NEXT` (`replace`). From then on
they are what `part` gives. That they are moved to their places afterwards changes nothing for a reader, and where it
was not finished, the next who replaces something does it. What is renamed is on the disk by then (`sync`): a machine
that loses power has all of the old parts or all of the new ones too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEXT = ".next"
_NEW, _GONE, _OLD, _HELD = ".new-", ".gone", ".old", ".held"


def part(folder: Path, name: str) -> Path:
    """Where the part of the folder is now, if it is there."""
    coming = folder / NEXT / name
    return coming if coming.exists() or (folder / NEXT / _GONE / name).exists() else folder / name


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """An empty folder beside the parts, to make new ones in; what others left there who were killed is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for left in folder.glob(f"{_NEW}*"):
            _remove_unless_held(left)
        new = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder))
        new.chmod(0o755)
        held = os.open(new / _HELD, os.O_RDONLY | os.O_CREAT)
        _lock(held, fcntl.LOCK_EX)
    try:
        yield new
    finally:
        os.close(held)
        shutil.rmtree(new, ignore_errors=True)


def replace(folder: Path, new: Path, gone: Iterable[str] = (), before: Callable[[], None] = lambda: None) -> None:
    """Makes what lies in `new` the folder's parts, and takes those that are `gone` away, at once. `before` is called
    when nobody else can replace anything any more; where it raises, nothing is replaced."""
    with _locked(folder):
        finish(folder)
        before()
        for name in gone:
            (new / _GONE / name).mkdir(parents=True)
        sync(new)
        new.rename(folder / NEXT)
        sync_names(folder)
        finish(folder)


def put(made: Path, path: Path) -> None:
    """Puts a file in the place of another, at once and on the disk."""
    sync(made)
    made.replace(path)
    sync_names(path.parent)


def sync(path: Path) -> None:
    """Returns once the disk has a file, or all of a folder."""
    for inner in path.iterdir() if path.is_dir() else ():
        sync(inner)
    sync_names(path)


def sync_names(path: Path) -> None:
    """Returns once the disk has a file, or the names in a folder."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that syncs no folders
            raise
    finally:
        os.close(opened)


def finish(folder: Path) -> None:
    """Moves the parts to their places where they are not yet."""
    coming = folder / NEXT
    if not coming.exists():
        return
    old = coming / _OLD
    old.mkdir(exist_ok=True)
    gone = [path.name for path in (coming / _GONE).glob("*")]
    names = [path.name for path in coming.iterdir() if not path.name.startswith(".")]
    for name in [*gone, *names]:
        if (folder / name).is_file() and (coming / name).is_file():
            (coming / name).replace(folder / name)
            continue
        with suppress(FileNotFoundError):
            (folder / name).rename(old / name)
        with suppress(FileNotFoundError):
            (coming / name).rename(folder / name)
    sync_names(coming)
    sync_names(folder)  # before what is left of `NEXT` goes, which readers look at first
    done = Path(tempfile.mkdtemp(prefix=_NEW, dir=folder))
    coming.rename(done)
    shutil.rmtree(done, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; a killed one holds no lock."""
    held = os.open(folder, os.O_RDONLY)
    try:
        _lock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _lock(held: int, how: int) -> bool:
    try:
        fcntl.flock(held, how)
    except BlockingIOError:
        return False
    except OSError:  # a file system that has no locks
        return not how & fcntl.LOCK_NB
    return True


def _remove_unless_held(left: Path) -> None:
    if not left.is_dir():  # of an earlier version
        with suppress(OSError):
            left.unlink()
        return
    with suppress(FileNotFoundError):
        held = os.open(left / _HELD, os.O_RDONLY | os.O_CREAT)
        try:
            if _lock(held, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(held)
