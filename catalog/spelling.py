"""When two names are the same in another spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_COPY = re.compile(r"([._]\d{1,3}|_duplicated_\d+)$")  # a second column of a name, as DuckDB, pandas and Polars call it

# letters of Cyrillic and Greek that look like Latin ones, small or as capitals
_LOOKALIKES = str.maketrans("авеһіјкмнорсѕтухԁԛԝαβεηικνορτυχ", "abehijkmhopcstyxdqwabehikvoptux")


def plain(name: str) -> str:
    """The name without what spellings differ in: case, blanks, punctuation, byte order marks, forms of one letter,
    letters of another script that look the same."""
    return re.sub(r"[\W_]+", "", _one_script(name)).casefold()


def words(name: str) -> list[str]:
    """The words of the name, in small letters: `client_sex`, `Client Sex` and `clientSex2` have client and sex."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", unicodedata.normalize("NFKC", name))
    return re.findall(r"[^\W\d_]+", _one_script(apart).casefold())


def holding(name: str, names: Iterable[str]) -> str | None:
    """Which of `names` stands word by word within the name; None where none does."""
    within = " ".join(["", *words(name), ""])
    return next((one for one in names if " ".join(["", *words(one), ""]) in within), None)


def _one_script(name: str) -> str:
    normal = unicodedata.normalize("NFKC", name)
    latin = normal.casefold().translate(_LOOKALIKES)
    return latin if latin.isascii() and not normal.isascii() else normal


def spelled_as(name: str, names: Iterable[str]) -> str | None:
    """Which of `names` the name is, in whatever spelling or as a second column of it; None where it is none of them."""
    known = {plain(one): one for one in names}
    return known.get(plain(name)) or known.get(plain(_COPY.sub("", name.strip())))
