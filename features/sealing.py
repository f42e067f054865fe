"""Checksums of files that are mapped and not read: a flipped bit would be a wrong answer that nobody notices.

A sealed file holds its own CRC-32 in a mark, once or at its beginning and its end, so that file and checksum are
replaced together. CRC-32 is checked at some 4 GB a second: it finds damage, it is no protection against forgery.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

_MARK, _NONE = b"sheaf-crc32:", b"00000000"
SEAL = (_MARK + _NONE).decode()  # what to write where the checksum shall be
_STEP = 1 << 20


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
    """Of a file that is not sealed."""
    found, buffer = 0, memoryview(bytearray(_STEP))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer):
            found = zlib.crc32(buffer[:read], found)
    return f"{found:08x}"


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
