"""Checksums of files that are mapped and not read: a flipped bit would be a wrong answer that nobody notices.

A sealed file holds its own CRC-32 in a mark, once or at its beginning and its end, so that file and checksum are
replaced together. CRC-32 is checked at some gigabytes a second: it finds damage, it is no protection against forgery.
"""

from __future__ import annotations

import mmap
import os
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_MARK, _NONE = b"sheaf-crc32:", b"00000000"
SEAL = (_MARK + _NONE).decode()  # what to write where the checksum shall be
_BLOCK = 1 << 24  # bytes with a checksum of their own, so that threads share the work
_CHECKED = "SHEAF_CHECKED"  # what a process before this one found whole: of many workers one has to look


def seal(path: Path) -> None:
    """Puts the checksum into the file's first and last `SEAL`."""
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            checksum, places = _checksum(content)
        for place in places:
            file.seek(place)
            file.write(checksum)


def is_sealed(path: Path) -> bool:
    """Whether the file is as it was sealed. Raises OSError for what is not there."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            checksum, places = _checksum(content)
            return bool(places) and all(content[place : place + 8] == checksum for place in places)


def checksum(path: Path) -> str:
    """Of a file that is not sealed: the CRC-32 of those of its blocks."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size

        def of_block(start: int) -> bytes:
            return zlib.crc32(os.pread(file.fileno(), _BLOCK, start)).to_bytes(4, "little")

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            return f"{zlib.crc32(b''.join(threads.map(of_block, range(0, size, _BLOCK)))):08x}"


def were_checked(paths: Sequence[Path]) -> bool:
    """Whether these very files were found whole by this process, or by one that started it."""
    return all(_identity(path) in os.environ.get(_CHECKED, "").split() for path in paths)


def note_checked(paths: Sequence[Path]) -> None:
    """Of these files only, from now on; not of such as were written a moment ago, and may be again unnoticed."""
    if time.time() - max(path.stat().st_mtime for path in paths) > 1:
        os.environ[_CHECKED] = " ".join(map(_identity, paths))


def _identity(path: Path) -> str:
    told = path.stat()
    return f"{told.st_dev}:{told.st_ino}:{told.st_size}:{told.st_mtime_ns}"


def _checksum(content: mmap.mmap) -> tuple[bytes, list[int]]:
    """As if the checksum were not there yet, and where it is."""
    marks = {content.find(_MARK), content.rfind(_MARK)} - {-1}
    places, found, done = sorted(mark + len(_MARK) for mark in marks), 0, 0
    with memoryview(content) as whole:
        for place in places:
            with whole[done:place] as part:
                found = zlib.crc32(part, found)
            found, done = zlib.crc32(_NONE, found), place + len(_NONE)
        with whole[done:] as part:
            found = zlib.crc32(part, found)
    return f"{found:08x}".encode(), places
