"""When two names are the same in another spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_COPY = re.compile(r"([._]\d{1,3}|_duplicated_\d+)$")  # a second column of a name, as DuckDB, pandas and Polars call it


def plain(name: str) -> str:
    """The name without what spellings differ in: case, blanks, punctuation, byte order marks, forms of one letter."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


def spelled_as(name: str, names: Iterable[str]) -> str | None:
    """Which of `names` the name is, in whatever spelling or as a second column of it; None where it is none of them."""
    known = {plain(one): one for one in names}
    return known.get(plain(name)) or known.get(plain(_COPY.sub("", name.strip())))
