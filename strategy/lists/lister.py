"""Lists of clients to act on: firms to win, clients to repair or let go, clients about to leave.

Each is a list of rules over a client's plan, its profile and a few figures of the list itself, compiled to one query as
plans are. Every row names its rule, the values that it looked at, and what would change it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sheaf.features import Bank, C
from sheaf.strategy.lists.prospects import BOOKS, close, likeness, network
from sheaf.strategy.plans.explanation import Explanation, of_rules
from sheaf.strategy.plans.planner import PART, Planner, known
from sheaf.strategy.policy.columns import OF_LIST, of_file, parquet
from sheaf.strategy.policy.conditions import Rule, first, literal, quoted
from sheaf.strategy.policy.schema import NONE, POTENTIAL, Entry, Lists
from sheaf.training.attrition import Attrition

LISTS = tuple(OF_LIST)
FIRMS = ("corporate", "institution")
_STATE = ("below_since", "repair_due")  # what a repair list remembers for the next one
_ORDER = {
    "win": "likeness desc, linked_best desc",
    "repair": "array_position(['exit', 'repair', 'watch'], action), eva",
    "leaving": "at_risk desc, leaving desc",
}


_PLAN = ("tier", "manager")
FIGURES = {
    "win": ("outsider", *_PLAN, "ties", "linked_best", "received", "paid", "likeness"),
    "repair": (*_PLAN, "raroc", "eva", "below_since", "below_months", "lift", "lifted", "loss_share", "repair_due"),
    "leaving": (*_PLAN, "leaving", "stake", "at_risk"),
}
"""The columns of a list beside those that every list has."""
_DATES, _FLAGS = ("below_since", "repair_due", "as_of", "due"), ("outsider", "lifted")
_TEXTS = (*_PLAN, C.CLIENT, "action", "lever", "purpose", "rule", "because", "change")


@dataclass(frozen=True)
class Listed:
    """A list: `rows` in its order, with the columns of `schema` but the last two, and the `why` of each."""

    rows: list[dict[str, Any]]
    why: list[Explanation]


class Lister:
    """The lists of a planner's policy and day, of the profiles in a file. Raises ValueError where there are none."""

    def __init__(self, planner: Planner, profiles: Path) -> None:
        if planner.policy.lists is None:
            raise ValueError(
                f"the policy {planner.policy.name} has no lists; take the section of strategy/default.yaml into it"
            )
        self.planner, self.profiles = planner, profiles
        self.lists: Lists = planner.policy.lists
        self.connection = planner.connection
        self.columns = of_file(self.connection, parquet(self.connection, profiles))

    def win(self, bank: Bank) -> Listed:
        """Firms worth winning; the bank's links and payments tell who is close to whom, as known on the day."""
        chosen, keep = self.lists.win, self._keep("win", self.lists.win.columns)
        network(self.connection, bank, self.planner.as_of)
        self._plan(keep)
        self.connection.execute(f"create or replace table near as {close(chosen.like)}")
        self._like(chosen.like, [name for name in chosen.columns if name in self.columns])
        figures = ", ".join(f"coalesce(n.{name}, 0)::double as {name}" for name in (*BOOKS, "linked_best"))
        found = (
            f"select p.*, false as outsider, {figures}, a.likeness from planned p left join near n "
            f"on n.other = p.{C.CLIENT} left join alike a on a.id = p.{C.CLIENT}"
        )
        outside = (
            f"select n.other as {C.CLIENT}, {self._day} as as_of, true as outsider, ties, linked_best, received, "
            f"paid, a.likeness from near n join alike a on a.id = n.other "
            f"anti join active on active.{C.CLIENT} = n.other"
        )
        return self._listed("win", f"{found} union all by name {outside}")

    def repair(self, last: Path | None = None) -> Listed:
        """Clients whose EVA is below 0, with what is to be done; `last` is the file of the list before, which tells
        since when, and until when a repair was due. Raises ValueError without offers, or where `last` is none.
        """
        if not self.planner.offers:
            raise ValueError("whether a bundle lifts a client is told by offers by value: name them with --offers")
        self._plan(self._keep("repair", ("eva", "raroc", "contribution", "expected_loss")))
        state = ", ".join(f"null::date as {name}" for name in _STATE)
        before = f"(select null::varchar as {C.CLIENT}, {state})"
        if last is not None:
            before = parquet(self.connection, last)
            missing = [name for name in (C.CLIENT, *_STATE) if name not in of_file(self.connection, before)]
            if missing:
                raise ValueError(f"{last} lacks {', '.join(missing)}; give a file as `sheaf clients repair` writes it")
            late = self.connection.sql(f"select max(below_since) from {before}").fetchall()[0][0]
            if late is not None and late > self.planner.as_of:
                raise ValueError(f"{last} tells of {late}, which is after {self.planner.as_of}; give an earlier list")
        lift = f"select {C.CLIENT}, max({known('eva')}) as lift from offers group by {C.CLIENT}"
        found = (
            f"select p.*, coalesce(l.lift, 0) as lift, case when eva < 0 then coalesce(b.below_since, {self._day}) end "
            f"as below_since, case when eva < 0 then b.repair_due end as repair_due from planned p "
            f"left join ({lift}) l using ({C.CLIENT}) "
            f"left join (select {C.CLIENT}, {', '.join(_STATE)} from {before}) b using ({C.CLIENT})"
        )
        found = (
            f"select *, date_diff('month', below_since, {self._day})::double as below_months, "
            f"eva + lift >= 0 as lifted, "
            f"case when contribution > 0 then expected_loss / contribution end as loss_share, "
            f"coalesce(repair_due < {self._day}, false) as overdue from ({found})"
        )
        return self._listed("repair", found)

    def leaving(self, model: Attrition, threads: int = 2) -> Listed:
        """Clients about to leave by the model, with what is at stake."""
        chosen = self.lists.leaving
        self._plan(self._keep("leaving", chosen.stake))
        self.connection.register("scored", pa.concat_tables(self._scores(model, threads)))
        stake = " + ".join(f"{weight!r} * coalesce({quoted(column)}, 0)" for column, weight in chosen.stake.items())
        # in SQL what is no number is more than any, and a rule would take it for much
        told = f"greatest(coalesce({known(f'({stake})')}, 0), 0) as stake"
        found = f"select *, {told} from planned join scored using ({C.CLIENT})"
        return self._listed("leaving", f"select *, {known('(leaving * stake)')} as at_risk from ({found})")

    @property
    def _day(self) -> str:
        return f"{literal(str(self.planner.as_of))}::date"

    def _keep(self, name: str, further: Iterable[str]) -> list[str]:
        """The profile columns that a list looks at."""
        rules: Sequence[Rule[Entry]] = getattr(self.lists, name).rules
        asked = {column for rule in rules for column in rule.when} | set(further)
        return sorted(asked - self.planner.policy.of_plans - OF_LIST[name].keys() - {POTENTIAL, "below_since"})

    def _plan(self, keep: Sequence[str]) -> None:
        query = self.planner.query(parquet(self.connection, self.profiles), keep)
        self.connection.execute(f"create or replace temp table planned as {query}")

    def _scores(self, model: Attrition, threads: int) -> Iterator[pa.Table]:
        wanted = [name for name in self.columns if name in {C.CLIENT, *model.columns}]
        for batch in pq.ParquetFile(self.profiles).iter_batches(PART, columns=wanted):
            part = pa.Table.from_batches([batch])
            yield pa.table({C.CLIENT: part[C.CLIENT].cast(pa.string()), "leaving": model.of_table(part, threads)})

    def _like(self, best: tuple[str, ...], columns: Sequence[str]) -> None:
        """Makes the table `alike`: how like the best each firm is, and each outsider by what books tell of it."""
        books = ", ".join(f"coalesce(n.{name}, 0) as {name}" for name in BOOKS)
        kept = ", ".join(["1 as _one", *(f"p.{quoted(name)} as {quoted('own ' + name)}" for name in columns)])
        firms = self.connection.sql(
            f"select p.{C.CLIENT}, coalesce(tier in ({', '.join(map(literal, best))}), false) as best, {books}, {kept} "
            f"from planned p left join near n on n.other = p.{C.CLIENT} "
            f"where type in ({', '.join(map(literal, FIRMS))}) order by p.{C.CLIENT}"
        ).to_arrow_table()
        outside = self.connection.sql(
            f"select n.* from near n anti join active on active.{C.CLIENT} = n.other order by other"
        ).to_arrow_table()
        is_best, neighbours = firms["best"].to_numpy(), self.lists.win.neighbours
        own = _numbers(firms, [f"own {name}" for name in columns])
        of_firms = likeness(own, is_best, neighbours) if columns else np.zeros(len(firms))
        of_outside = likeness(_numbers(firms, BOOKS), is_best, neighbours, _numbers(outside, BOOKS))
        ids = pa.concat_arrays([firms[C.CLIENT].combine_chunks(), outside["other"].combine_chunks()])
        found = pa.table({"id": ids, "likeness": np.concatenate([of_firms, of_outside])})
        self.connection.register("alike", found)

    def _listed(self, name: str, found: str) -> Listed:
        """Who meets a rule of the list whose action is not none, in the list's order."""
        rules: Sequence[Rule[Entry]] = getattr(self.lists, name).rules
        at = first([rule.sql for rule in rules])
        actions = " ".join(f"when {n} then {literal(rule.then.action)}" for n, rule in enumerate(rules))
        found = f"select *, {at} as _at from ({found})"
        found = f"select *, case _at {actions} end as action from ({found})"
        query = f"select * from ({found}) where action <> {literal(NONE)} order by {_ORDER[name]}, {C.CLIENT}"
        values = self.connection.sql(query).to_arrow_table().to_pylist()
        why = [of_rules(name, rules, one) for one in values]
        return Listed([self._row(name, one, rules[one["_at"]]) for one in values], why)

    def _row(self, name: str, values: dict[str, Any], rule: Rule[Entry]) -> dict[str, Any]:
        then, as_of = rule.then, self.planner.as_of
        due = None if then.days is None else as_of + dt.timedelta(days=then.days)
        row = {C.CLIENT: values[C.CLIENT], "as_of": as_of, "action": then.action, "lever": then.lever,
               "due": due, "purpose": then.purpose, "rule": rule.name}  # fmt: skip
        row |= {column: values[column] for column in FIGURES[name]}
        if name == "repair" and then.action == "repair":
            row["repair_due"] = row["due"] = values["repair_due"] or due
        return row


def _numbers(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    found = [table[name].cast(pa.float64()).to_numpy() for name in columns]
    return np.stack(found, axis=1) if found else np.zeros((len(table), 0))


def schema(name: str) -> pa.Schema:
    """The columns of a list as a file: what to do and by when, the rule, the figures, why, and what would change it."""
    columns = (C.CLIENT, "as_of", "action", "lever", "due", "purpose", "rule", *FIGURES[name], "because", "change")
    types = {
        **dict.fromkeys(_DATES, pa.date32()),
        **dict.fromkeys(_FLAGS, pa.bool_()),
        **dict.fromkeys(_TEXTS, pa.string()),
    }
    return pa.schema([(column, types.get(column, pa.float64())) for column in columns])
