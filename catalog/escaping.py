"""Texts as people may see them, without what a terminal would obey."""

from __future__ import annotations

import re

# Control characters but tab and line feed, other separators of lines, and marks that turn the direction of writing.
RANGES = (
    ("\x00", "\x08"), ("\x0b", "\x1f"), ("\x7f", "\x9f"), ("\u061c", "\u061c"), ("\u200e", "\u200f"),
    ("\u2028", "\u202e"), ("\u2066", "\u2069"),
)  # fmt: skip
_CONTROL = re.compile(f"[{''.join(f'{first}-{last}' for first, last in RANGES)}]")


def without_control(text: str) -> str:
    """The text without control characters and marks of direction.

    >>> without_control("C1\\x1b[2J")
    'C1[2J'
    """
    return _CONTROL.sub("", text)
