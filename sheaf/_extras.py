"""Libraries that only some installations have: each comes with an extra, such as `pip install 'sheaf[train]'`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ImportError):
    """A library is not installed; the message names the extra that brings it."""


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Names the extra where an import inside finds a library missing.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "sheaf").partition(".")[0]
        if library == "sheaf":
            raise
        raise MissingExtraError(
            f"{library} is not installed. Install the extra that brings it: pip install 'sheaf[{name}]'",
            name=error.name,
        ) from error
