"""Aggregates of a row's group beside the row, alike on every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw


def with_group_values(frame: nw.LazyFrame[Any], keys: Sequence[str], **aggregates: nw.Expr) -> nw.LazyFrame[Any]:
    """`frame` with each of `aggregates`, taken over the rows with the same `keys`, as a column of its name.

    PyArrow gets a join instead of a window: Narwhals computes a window there by a join that loses the order of rows as
    soon as the table has several chunks or more than 32,768 rows, and so gives rows the values of others. A row with a
    null key has null there.
    """
    if frame.implementation is not nw.Implementation.PYARROW:
        return frame.with_columns(**{name: value.over(*keys) for name, value in aggregates.items()})
    return frame.join(frame.group_by(*keys).agg(**aggregates), on=list(keys), how="left")
