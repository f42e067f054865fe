"""Two policies over the same clients: who moves between tiers, what it takes of managers, and which routes change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import duckdb
import pyarrow as pa

from sheaf.catalog import Catalog
from sheaf.features import C
from sheaf.features.bank import connect
from sheaf.strategy.plans.planner import Planner
from sheaf.strategy.plans.router import Router
from sheaf.strategy.policy.columns import of_file, parquet
from sheaf.strategy.policy.schema import POTENTIAL, Marketed, Strategy

_WORTH = ("eva", "capital")


_REROUTED = f"""
    select count(*) from route_a a join route_b b using ({C.CLIENT}, {C.BUNDLE})
    where (a.signs, a.signature, a.papers, a.days) is distinct from (b.signs, b.signature, b.papers, b.days)
"""


@dataclass(frozen=True)
class ByTier:
    """Clients of a tier, their EVA and capital a year, and what their best bundles are worth, under either policy."""

    tier: str
    clients: tuple[int, int]
    eva: tuple[float, float]
    capital: tuple[float, float]
    potential: tuple[float, float]


@dataclass(frozen=True)
class ByGrade:
    """Clients of a grade of managers, and the managers that they take, under either policy."""

    grade: str
    clients: tuple[int, int]
    managers: tuple[float, float]


@dataclass(frozen=True)
class ByLevel:
    """Clients whom head office, branch or both market to, under either policy."""

    level: str
    clients: tuple[int, int]


@dataclass(frozen=True)
class ByRoute:
    """Offers that go one way: who signs, alone or in committee, on which papers; and the mean of expected days."""

    signs: str | None
    signature: str
    papers: str
    offers: tuple[int, int]
    days: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """What changes from the first policy to the second.

    `moves`: clients by (tier under the first, under the second). `routes` are empty without offers.
    """

    clients: int
    moves: dict[tuple[str, str], int]
    tiers: tuple[ByTier, ...]
    grades: tuple[ByGrade, ...]
    levels: tuple[ByLevel, ...]
    routes: tuple[ByRoute, ...]
    rerouted: int

    @property
    def moved(self) -> int:
        return sum(clients for (one, other), clients in self.moves.items() if one != other)


def compare(
    policies: tuple[Strategy, Strategy],
    catalog: Catalog,
    profiles: Path,
    as_of: dt.date,
    previous: Path | None = None,
    offers: Path | None = None,
) -> Comparison:
    """Both policies applied to the profiles in a file as of a day; `previous` and `offers` as for `Planner`.

    Raises ValueError as `Planner` and `Router` do, and where the profiles lack EVA or capital.
    """
    connection = connect()
    there = of_file(connection, parquet(connection, profiles))
    missing = [name for name in _WORTH if name not in there]
    if missing:
        raise ValueError(f"{profiles} lacks {', '.join(missing)}; profile with a catalog that has a price sheet")
    for name, policy in zip("ab", policies, strict=True):
        planner = Planner(policy, as_of, previous, offers)
        columns = f"{C.CLIENT}, tier, manager, manager_load, level, eva, capital, {POTENTIAL}"
        _gather(connection, f"plan_{name}", columns, planner.plans(profiles, [*_WORTH, POTENTIAL]))
        if offers is not None:
            columns = f"{C.CLIENT}, {C.BUNDLE}, signs, signature, papers, days"
            _gather(connection, f"route_{name}", columns, Router(planner, catalog).of_offers(profiles))
    moves = connection.sql(
        f"select a.tier, b.tier, count(*) from plan_a a join plan_b b using ({C.CLIENT}) group by all"
    ).fetchall()
    order = list(dict.fromkeys([*policies[0].tiers.order, *policies[1].tiers.order]))
    grades = list(dict.fromkeys(grade for policy in policies for grade in policy.service.managers.grades))
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in (*_WORTH, POTENTIAL))
    tiers = _both(connection, "plan", "tier", f"count(*), {sums}")
    levels = _both(connection, "plan", "level", "count(*)")
    loads = _both(connection, "plan", "manager", "count(*), sum(manager_load)")
    routes = _both(connection, "route", "signs, signature, papers", "count(*), avg(days)") if offers else {}
    [[rerouted]] = connection.sql(_REROUTED).fetchall() if offers else [[0]]
    return Comparison(
        clients=sum(clients for *_, clients in moves),
        moves={(one, other): clients for one, other, clients in moves},
        tiers=tuple(ByTier(tier, *tiers[tier,]) for tier in order if (tier,) in tiers),
        grades=tuple(ByGrade(grade, *loads[grade,]) for grade in grades if (grade,) in loads),
        levels=tuple(ByLevel(level, *levels[level,]) for level in get_args(Marketed) if (level,) in levels),
        routes=tuple(ByRoute(*key, *of) for key, of in sorted(routes.items(), key=lambda one: -one[1][0][0])),
        rerouted=rerouted,
    )  # fmt: skip


def _gather(connection: duckdb.DuckDBPyConnection, name: str, columns: str, parts: Iterable[pa.Table]) -> None:
    """Puts some columns of tables into one of the connection's."""
    made = False
    for part in parts:
        connection.register("part", part)
        connection.execute(f"{f'insert into {name}' if made else f'create table {name} as'} select {columns} from part")
        connection.unregister("part")
        made = True
    if not made:
        raise ValueError("the profiles have no client, so there is nothing to compare; profile another day")


def _both(
    connection: duckdb.DuckDBPyConnection, table: str, keys: str, figures: str
) -> dict[tuple[Any, ...], tuple[tuple[Any, Any], ...]]:
    """Figures by keys, each under the first and the second policy; 0 where there are none."""
    width = keys.count(",") + 1
    found = [
        {row[:width]: row[width:] for row in connection.sql(
            f"select {keys}, {figures} from {table}_{name} group by {keys}").fetchall()}
        for name in "ab"
    ]  # fmt: skip
    return {
        key: tuple(zip(*(one.get(key, (0,) * len(row)) for one in found), strict=True))
        for key, row in (found[0] | found[1]).items()
    }
