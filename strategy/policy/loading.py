"""A policy's YAML into a `Strategy`, with every mistake named by file, line and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sheaf.catalog import Catalog, read_model
from sheaf.strategy.policy.columns import Columns, of_catalog
from sheaf.strategy.policy.schema import Strategy
from sheaf.strategy.policy.validation import contradictions


class StrategyError(ValueError):
    """A policy that cannot be used; one line of the message for each mistake: `file:line: key.path: what; remedy`."""


def read_strategy(
    path: Path | str,
    catalog: Catalog,
    columns: Columns | None = None,
    occurring: Mapping[str, Sequence[str]] | None = None,
) -> Strategy:
    """The policy in a YAML file, checked against the catalog and the profiles' columns.

    `columns` are those of the profiles at hand, beside those of a bank that hands over every table; `occurring` are the
    texts of some of them. Raises StrategyError with everything that is wrong, in the order of lines.
    """
    known = of_catalog(catalog) | dict(columns or {})
    return read_model(
        path, Strategy, lambda policy: contradictions(policy, catalog, known, occurring or {}), StrategyError
    )
