"""Service plans: who each client is, how it is served, and the rule behind every outcome, a row a client.

The policy is compiled to one query, which DuckDB streams over any number of profiles. Between tiers every threshold is
a switch with a margin: who was above it last time stays so down to the threshold less the margin, who was below it has
to reach the threshold plus the margin. As margins do not overlap (`sheaf.strategy.policy.validation`), a client is in
one tier, and the same policy applied to its own result gives it again.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sheaf.features import C, FeatureType
from sheaf.features.bank import connect
from sheaf.strategy.policy.columns import of_file, parquet
from sheaf.strategy.policy.conditions import first, literal, quoted
from sheaf.strategy.policy.schema import INDUSTRIES, POTENTIAL, Scale, Stage, Strategy

PART = 100_000  # clients that are handed on at once

_PREVIOUS = (C.CLIENT, "scale", "tier", "next_visit")
LAST = {name: f"_last_{name}" for name in _PREVIOUS[1:]}
"""What plans go by of those made before, and the columns that hold it; `keep` may name these too."""


@dataclass(frozen=True)
class OneClient:
    """A plan as a table of one row and as values by column, and those of the plan before, if there is one."""

    table: pa.Table
    plan: dict[str, Any]
    last: dict[str, Any] | None


class Planner:
    """Applies a policy as of a day; `previous` is a file of plans made before, `offers` one of offers by value, which
    gives the column `potential`."""

    def __init__(
        self, policy: Strategy, as_of: dt.date, previous: Path | None = None, offers: Path | None = None
    ) -> None:
        """Raises ValueError where a file is not what it should be, or tells of a client twice."""
        self.policy, self.as_of = policy, as_of
        self.connection = connect()
        self.previous, self.offers = previous is not None, offers is not None
        self.told: set[str] = set()  # columns that profiles lack, of which a warning told
        if previous is not None:
            wanted = "plans, as `sheaf plan --out` writes them"
            self._open("previous", previous, _PREVIOUS, wanted, ", ".join(map(quoted, _PREVIOUS)))
            doubles = "select count(*) - count(distinct client_id) from previous"
            [[twice]] = self.connection.sql(doubles).fetchall()
            if twice:
                raise ValueError(f"{previous} has more than one plan of {twice:,} clients; keep the last of each")
        if offers is not None:
            wanted = "offers by value, as `sheaf rank --objective value` writes them"
            columns = (C.CLIENT, C.BUNDLE, "rank", "score", "concession", "eva")
            self._open("offers", offers, columns, wanted)
            self.connection.execute(
                f"create table best as select client_id, greatest(max({known('score')}), 0) as value "
                "from offers group by client_id"
            )

    def _open(self, name: str, path: Path, columns: Sequence[str], wanted: str, select: str = "*") -> None:
        source = parquet(self.connection, path)
        missing = [column for column in columns if column not in of_file(self.connection, source)]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; give {wanted}")
        self.connection.execute(f"create view {name} as select {select} from {source}")

    def plans(self, profiles: Path | Iterable[pa.Table], keep: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The plans, ids ascending, in parts; of a file of profiles, or of tables of them in turn.

        Columns: `client_id`, `as_of`, the outcomes of the policy, each followed by the name of the rule that decided
        (`..._rule`), and those of the profiles to `keep`.
        """
        if isinstance(profiles, Path):
            source = parquet(self.connection, profiles)
            query = self.query(source, keep)  # says what else is wrong with the file
            [[twice]] = self.connection.sql(f"select count(*) - count(distinct {C.CLIENT}) from {source}").fetchall()
            if twice:
                raise ValueError(f"{profiles} has {twice:,} rows of clients that it has already; profile them once")
            yield from self._each(query)
            return
        for part in profiles:
            self.connection.register("part", part)
            yield from self._each(self.query("part", keep))
            self.connection.unregister("part")

    def one(self, client: str, profiles: Path | Iterable[pa.Table], keep: Sequence[str] = ()) -> OneClient:
        """The plan of one client, with all that its rules looked at. Raises ValueError where nobody has that id."""
        keep = sorted({*keep, *(self.policy.asks_of_clients - self.policy.of_plans)})
        if isinstance(profiles, Path):
            source = parquet(self.connection, profiles)
            whom = f"(select * from {source} where {C.CLIENT}::varchar = {literal(client)})"
            table = self.connection.sql(self.query(whom, keep)).to_arrow_table()
        else:
            parts = list(self.plans(profiles, keep))
            table = pa.concat_tables(parts) if parts else None
        if table is None or len(table) != 1:
            raise ValueError(f"client {client} is not in the profiles; look up the id, or profile another day")
        last: dict[str, Any] | None = None
        if self.previous:
            rows = self.connection.sql(f"select * from previous where {C.CLIENT} = {literal(client)}").to_arrow_table()
            last = next(iter(rows.to_pylist()), None)
        return OneClient(table, table.to_pylist()[0], last)

    def _each(self, query: str) -> Iterator[pa.Table]:
        reader = self.connection.sql(query).to_arrow_reader(PART)
        yield from (pa.Table.from_batches([batch]) for batch in reader)

    def query(self, source: str, keep: Sequence[str] = ()) -> str:
        """The SQL that makes plans of the profiles that can be selected from `source`."""
        policy = self.policy
        found = self._base(source, keep)
        found = f"select *, {self._industry()} as industry from ({found})"
        for stage in policy.facts:
            found = _with(stage, found)
        found = self._with_tier(found)
        for stage in policy.following:
            found = _with(stage, found)
        columns = ["industry", *(name for stage in policy.facts for name in _columns(stage))]
        columns += ["scale", "figure", "tier", *(name for stage in policy.following for name in _columns(stage))]
        kept = "".join(f", {quoted(name)}" for name in keep)
        return (  # in the order of ids, as profiles are: threads hand on their parts as they please
            f"select {C.CLIENT}, {literal(str(self.as_of))}::date as as_of, {', '.join(map(quoted, columns))}, "
            f"{self._next_visit()} as next_visit{kept} from ({found}) order by {C.CLIENT}"
        )

    def _base(self, source: str, keep: Sequence[str]) -> str:
        """The columns that are looked at, NaN as not known, beside the previous plan."""
        there = of_file(self.connection, source)
        if C.CLIENT not in there:
            raise ValueError(f"the profiles lack {C.CLIENT}; give a file as `sheaf profile --out` writes it")
        wanted = self.policy.asks_of_clients | (set(keep) - set(LAST.values()))
        wanted -= {*self.policy.of_plans, POTENTIAL, C.CLIENT}
        columns = [C.CLIENT, *(name for name in there if name in wanted)]
        lacking = sorted(wanted.difference(columns))
        if told := [name for name in lacking if name not in self.told]:
            warnings.warn(f"the profiles lack {', '.join(told)}: no client meets a rule that asks for it", stacklevel=2)
            self.told.update(told)

        def cleaned(name: str) -> str:
            column = f"p.{quoted(name)}"
            if name == C.CLIENT or there[name] is FeatureType.CATEGORY:
                return f"{column}::varchar as {quoted(name)}"
            return f"{known(column)} as {quoted(name)}"

        select = [cleaned(name) for name in columns]
        select += [f"null as {quoted(name)}" for name in lacking]
        last = [f"{'l.' + name if self.previous else 'null'} as {held}" for name, held in LAST.items()]
        value = f"{'o.value' if self.offers else 'null::double'} as {POTENTIAL}"
        joins = f" left join previous l on l.{C.CLIENT} = p.{C.CLIENT}" if self.previous else ""
        joins += f" left join best o on o.{C.CLIENT} = p.{C.CLIENT}" if self.offers else ""
        return f"select {', '.join([*select, *last, value])} from {source} p{joins}"

    def _industry(self) -> str:
        lists = [(name, getattr(self.policy.industries, name)) for name in INDUSTRIES]
        each = [f"when sector in ({', '.join(map(literal, of))}) then {literal(name)}" for name, of in lists if of]
        return f"case {' '.join(each)} else 'neutral' end" if each else "'neutral'"

    def _with_tier(self, found: str) -> str:
        scales = self.policy.tiers.scales
        at = first([scale.rule.sql for scale in scales])
        found = f"select *, {at} as _scale from ({found})"
        figure = _case(
            "_scale", [" + ".join(f"{w!r} * coalesce({quoted(c)}, 0)" for c, w in s.figure.items()) for s in scales]
        )
        name = _case("_scale", [literal(scale.name) for scale in scales])
        found = f"select *, {name} as scale, round({figure}, 6) as figure from ({found})"
        return f"select *, {_case('_scale', [_tier(scale) for scale in scales])} as tier from ({found})"

    def _next_visit(self) -> str:
        """The day of the next visit: the one that the last plan set, if it is still to come, or sooner where visits
        have become more frequent; for a first plan, spread over the days between two visits by the client's id."""
        day = f"{literal(str(self.as_of))}::date"
        spread = f"1 + (md5_number_lower({C.CLIENT}) % visit_days::ubigint)::integer"
        last = "_last_next_visit::date"
        due, begin = (_workday(f"({day} + {days})") for days in ("visit_days", spread))
        return (
            f"case when visit_days is null then null when {last} > {day} then least({last}, {due}) "
            f"when {last} is null then {begin} else {due} end"
        )


def known(column: str) -> str:
    """SQL of a number, null where it is NaN. A comparison with NaN would not do: it is left out by the bounds that a
    Parquet file states of its columns, in which NaN does not count."""
    return f"case when isnan({column}::double) then null else {column}::double end"


def _columns(stage: Stage) -> list[str]:
    return [*stage.columns, f"{stage.name}_rule"]


def _with(stage: Stage, found: str) -> str:
    """The query `found` with the outcome of a stage and the name of its rule."""
    at = f"_{stage.name}_at"
    found = f"select *, {first([rule.sql for rule in stage.rules])} as {at} from ({found})"
    columns = [
        f"({_case(at, [literal(look(rule.then)) for rule in stage.rules])})::{kind} as {quoted(name)}"
        for name, (kind, look) in stage.columns.items()
    ]
    rule = f"{_case(at, [literal(rule.name) for rule in stage.rules])} as {quoted(stage.name + '_rule')}"
    return f"select *, {', '.join([*columns, rule])} from ({found})"


def _case(at: str, values: Sequence[str]) -> str:
    return f"case {at} {' '.join(f'when {number} then {value}' for number, value in enumerate(values))} end"


def thresholds(scale: Scale, last: str | None) -> list[float]:
    """From which figure on a client who was in the tier `last` on this scale is in each tier but the last of them."""
    tiers = [step.tier for step in scale.steps]
    place = tiers.index(last) if last in tiers else None
    return [
        float(step.at_least or 0.0) + (0.0 if place is None else -step.margin if place <= number else step.margin)
        for number, step in enumerate(scale.steps[:-1])
    ]


def _tier(scale: Scale) -> str:
    """The tier by figure and last tier, as SQL."""
    tiers = [step.tier for step in scale.steps]

    def place(last: str | None) -> str:
        steps = zip(thresholds(scale, last), tiers, strict=False)
        each = " ".join(f"when figure >= {literal(least)} then {literal(tier)}" for least, tier in steps)
        return f"case {each} else {literal(tiers[-1])} end" if each else literal(tiers[-1])

    same = f"_last_scale = {literal(scale.name)}"
    each = " ".join(f"when {same} and _last_tier = {literal(tier)} then {place(tier)}" for tier in tiers)
    return f"case {each} else {place(None)} end"


def _workday(day: str) -> str:
    """The day, or the Monday after it where it is a Saturday or Sunday."""
    return f"({day} + (case isodow({day}) when 6 then 2 when 7 then 1 else 0 end)::integer)"
