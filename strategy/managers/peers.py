"""A book against what its clients would bring anybody: indirect standardisation, and how much of the rest is noise.

Expected of a book is Σ whole · rate over the cells of its clients, with the rate of a cell over the whole bank:
indirect standardisation (Breslow and Day, Statistical Methods in Cancer Research, volume II, IARC 1987). The books'
expected add up to what the bank has. What a book has beyond it varies by chance with the variance of clients within
their cells; the variance between books is what is left of their spread (DerSimonian and Laird, Controlled Clinical
Trials 7, 1986), and a book's deviation is shrunk by the share of it (Morris, Parametric empirical Bayes inference,
JASA 78, 1983), so that a small book is not judged by noise.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from scipy.special import ndtri

NORMAL = 1.959964  # two-sided 95 percent

_STANDARDISED = """
    with cells as (
        select measure, cell, coalesce(sum(part) / nullif(sum(whole), 0), 0) as rate from rows group by all
    ), spread as (
        select measure, cell, any_value(rate) as rate, sum(whole) as of_cell,
            avg((part - rate * whole) ** 2) as variance
        from rows join cells using (measure, cell) group by all
    ), standing as (select * from rows join spread using (measure, cell)),
    units as (
        select 'bank' as unit, 'bank' as id, * from standing
        union all select 'branch', branch, * from standing where branch is not null
        union all select 'manager', manager, * from standing where manager is not null
    ), own as (
        select unit, id, measure, cell, any_value(of_cell) - sum(whole) > 1e-9 * any_value(of_cell) as others
        from units group by all
    ), compared as (select unit, id, measure, bool_or(others) as compared from own group by all),
    summed as (
        select unit, id, measure, count(distinct client_id) as clients, sum(part) as part, sum(whole) as whole,
            sum(rate * whole) as expected, sqrt(sum(variance)) as deviation
        from units group by all
    )
    select * from summed join compared using (unit, id, measure) order by unit, id, measure
"""


def standardised(rows: pa.Table) -> pa.Table:
    """A row for the bank, each branch and each manager (`unit`, `id`) and `measure`.

    `rows` are those of `Month`. `clients`, Σ `part`, Σ `whole`, the `expected` part, and the standard `deviation` that
    chance gives the part. `compared`: whether others have clients alike; without, a unit is its own expectation.
    """
    connection = duckdb.connect()
    connection.execute("set threads = 1")  # sums of floats in one order: the same figures every time
    connection.register("rows", rows)
    found: pa.Table = connection.sql(_STANDARDISED).to_arrow_table()
    return found


def between(deviation: np.ndarray, error: np.ndarray) -> float:
    """The variance between units beyond chance, by DerSimonian and Laird; 0 where there are fewer than two.

    `deviation` is what each is off from expected, `error` its standard error; those without error tell nothing.
    """
    told = error > 0
    if told.sum() < 2:
        return 0.0
    weights, values = 1 / error[told] ** 2, deviation[told]
    mean = np.average(values, weights=weights)
    q = float((weights * (values - mean) ** 2).sum())
    free = weights.sum() - (weights**2).sum() / weights.sum()
    return max(0.0, (q - (told.sum() - 1)) / float(free)) if free > 0 else 0.0


def shrunk(deviation: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Each one's deviation from expected, shrunk by chance, in deviations between units: d·τ / (τ² + s²)."""
    variance = between(deviation, error)
    if variance <= 0:
        return np.zeros(len(deviation))
    found: np.ndarray = np.where(error > 0, deviation * np.sqrt(variance) / (variance + error**2), 0.0)
    return found


def standing(found: pa.Table) -> np.ndarray:
    """Where each row of `standardised` stands, in deviations between units; NaN where nothing can be told.

    Nothing can be told of who has no whole or no peer with clients alike, where nothing was expected and nothing came,
    and where all units together differ no more than by chance. Then only who is beyond chance alone stands out, among
    so many (Bonferroni), by the variance that this leaves: d² - s².
    """
    off, error = deviations(found)
    part, expected = (_array(found, name) for name in ("part", "expected"))
    known = ~np.isnan(off)
    told = np.full(len(off), np.nan)
    if between(off[known], error[known]) > 0:
        told[known] = shrunk(off[known], error[known])
    else:
        z = np.divide(off, error, out=np.zeros(len(off)), where=known & (error > 0))
        beyond = np.abs(z) > -ndtri(0.025 / max(1, int((error[known] > 0).sum())))
        told[beyond] = np.sign(z[beyond]) * np.sqrt(1 - z[beyond] ** -2)
        told[known & (error == 0)] = 0.0
    nothing = (part == 0) & (expected == 0)
    told[nothing | ~np.asarray(found["compared"].to_numpy(zero_copy_only=False), dtype=bool)] = np.nan
    return told


def deviations(found: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Of rows of `standardised`: how far each is off from expected for one of its whole, and the error of that."""
    part, whole, expected, error = (_array(found, name) for name in ("part", "whole", "expected", "deviation"))
    known = whole > 0
    size = np.where(known, whole, 1.0)
    off = np.where(known, (part - expected) / size, np.nan)
    floor = 1e-9 * np.maximum(np.abs(part), np.abs(expected))  # below it a difference is one of rounding
    return off, np.where(error > floor, error / size, 0.0)


def _array(table: pa.Table, name: str) -> np.ndarray:
    values: Any = table[name].to_numpy()
    return np.asarray(values, dtype=float)
