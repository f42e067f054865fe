"""The scorecard: managers and branches by month, each measure against plan and against peers with the same clients."""

from __future__ import annotations

import csv
import datetime as dt
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sheaf.catalog import Catalog
from sheaf.catalog.validation import did_you_mean
from sheaf.features import Bank, from_day_number
from sheaf.features.table_age import last_opening, reach
from sheaf.strategy.managers.measures import UNITS, MeasuredMonth, month_of
from sheaf.strategy.managers.peers import NORMAL, standardised, standing
from sheaf.strategy.policy.managers import Card, Measure, nearest
from sheaf.strategy.policy.measures import MEASURES
from sheaf.strategy.policy.schema import Strategy

AS_EXPECTED = 100.0
RULE_OF_THREE = 3.0
"""Where a plan expects fewer, none at all may be chance: (1 - p)^n > 5 percent (Hanley and Lippman-Hand, If nothing
goes wrong, is everything all right?, JAMA 249, 1983)."""
SCORE = "score"
ROW = pa.schema(
    [("month", pa.date32()), ("unit", pa.string()), ("id", pa.string()), ("measure", pa.string()),
     ("clients", pa.int64()), ("actual", pa.float64()), ("plan", pa.float64()), ("expected", pa.float64()),
     ("low", pa.float64()), ("high", pa.float64()), ("points_peers", pa.float64()), ("points_plan", pa.float64()),
     ("points", pa.float64()), ("weight", pa.float64())]
)  # fmt: skip


@dataclass(frozen=True)
class Scorecard:
    """A row for a month, a unit (manager, branch or the bank) and a measure, by `ROW`, and one of the measure `score`.

    `expected` is what the same clients bring on the bank's average, and from `low` to `high` (95 percent) is chance, of
    shares within 0 to 1.
    `points_peers` and `points_plan`: 100 is as expected, and as planned, more is better; null where one says nothing.
    `points` is the weighted mean of the two, and `weight` that of the measure less the part that says nothing; the
    score is the weighted mean over measures.
    `left_out`: of each month the measures that are not, and why.
    """

    rows: pa.Table
    left_out: dict[dt.date, dict[str, str]]

    def of(self, unit: str, name: str) -> pa.Table:
        """One unit's rows. Raises ValueError where there is no such one."""
        mine = self.rows.filter(pc.equal(self.rows["unit"], unit))
        found = mine.filter(pc.equal(mine["id"], name))
        if not len(found):
            names = sorted(set(mine["id"].to_pylist()))
            told = nearest(name, names) if names else f"table clients tells no {unit}_id"
            raise ValueError(f"there is no {unit} {name} in these months; {told}")
        return found


Plans = Mapping[tuple[str, str, str], float]
"""Plans by (id, measure, month as 2025-12, or empty for every month)."""


def judge(
    policy: Strategy, catalog: Catalog, bank: Bank, ends: Sequence[dt.date], plans: Plans | None = None
) -> Scorecard:
    """The scorecard of the months that end on these days, each as known on that day.

    Raises ValueError where the policy has no `scorecard`, or nothing can be measured; TableError for positions in a
    currency without a rate.
    """
    card = need_card(policy)
    missing = [column for column in UNITS.values() if not bank.has("clients", column)]
    if len(missing) == len(UNITS):
        raise ValueError(f"table clients has neither {' nor '.join(missing)}, so there is nobody to judge; add one")
    if missing:
        warnings.warn(f"table clients has no {missing[0]}: no scorecards by that", stacklevel=2)
    for key, plan in (plans or {}).items():
        if not math.isfinite(plan):
            raise ValueError(f"the plan of {' '.join(key).strip()} is {plan} and no number; correct it or leave it out")
    months = [month_of(bank, catalog, card, end) for end in ends]
    tables = [_month(month, card, plans or {}) for month in months]
    rows = pa.concat_tables(tables)
    strangers = sorted({name for name, *_ in plans or {}} - set(rows["id"].to_pylist()))
    if strangers:
        told = nearest(strangers[0], sorted(set(rows["id"].to_pylist())))
        warnings.warn(f"plans are of {', '.join(strangers[:3])}, who had no clients; {told}", stacklevel=2)
    return Scorecard(rows, {month.end: month.left_out for month in months})


def need_card(policy: Strategy) -> Card:
    """The policy's section `scorecard`. Raises ValueError where it has none."""
    if policy.scorecard is None:
        raise ValueError(f"the policy {policy.name} has no section scorecard; add one, as in strategy/default.yaml")
    return policy.scorecard


def known_until(bank: Bank) -> dt.date:
    """The last day of an opening or a position, as `sheaf.features.table_age` finds them. Raises ValueError where the
    bank has neither."""
    positions, opened = reach(bank, "positions"), last_opening(bank)
    told = [day for day in (None if positions is None else from_day_number(positions), opened) if day is not None]
    if not told:
        raise ValueError("table holdings has no opening at all, so the bank's last month is not known")
    return max(told)


def month_ends(last: dt.date, months: int) -> list[dt.date]:
    """The last days of so many months, the one of `last` being the last."""
    ends = [(last.replace(day=28) + dt.timedelta(days=4)).replace(day=1) - dt.timedelta(days=1)]
    while len(ends) < months:
        ends.append(ends[-1].replace(day=1) - dt.timedelta(days=1))
    return ends[::-1]


def read_plans(path: Path, card: Card) -> dict[tuple[str, str, str], float]:
    """Plans in a CSV file with the columns `id` (of a manager or branch), `measure`, `plan` and, if wanted, `month`
    (2025-12). Raises ValueError with the line of the first that cannot be used."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    found: dict[tuple[str, str, str], float] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in ("id", "measure", "plan") if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}:1: lacks {', '.join(missing)}; give a CSV file with id, measure, plan and month")
        for row in reader:
            where, key = f"{path}:{reader.line_num}", (row["id"], row["measure"], row.get("month") or "")
            if row["measure"] not in card.measures:
                raise ValueError(
                    f"{where}: there is no measure {row['measure']}; {did_you_mean(row['measure'], card.measures)}"
                )
            try:
                plan = float(row["plan"])
                dt.date.fromisoformat(f"{key[2] or '2025-12'}-01")
            except (ValueError, TypeError):
                raise ValueError(
                    f"{where}: plan {row['plan']!r} or month {key[2]!r} is none; write 0.05 and 2025-12"
                ) from None
            if key in found or not math.isfinite(plan):
                raise ValueError(f"{where}: {' '.join(key).strip()} is there twice, or no number; correct it")
            found[key] = plan
    return found


def _month(month: MeasuredMonth, card: Card, plans: Plans) -> pa.Table:
    found = standardised(month.rows)
    parts = []
    for unit in ("bank", "branch", "manager"):
        of_unit = found.filter(pc.equal(found["unit"], unit))
        for name, measure in card.measures.items():
            those = of_unit.filter(pc.equal(of_unit["measure"], name))
            parts += _of_measure(those, name, measure, card, plans, month.end)
    scores = _scores(parts)
    return pa.Table.from_pylist([*parts, *scores], ROW)


def _of_measure(
    found: pa.Table, name: str, measure: Measure, card: Card, plans: Plans, end: dt.date
) -> list[dict[str, Any]]:
    """The rows of one measure of all managers, all branches or the bank."""
    sign, summed = (1 if measure.better == "higher" else -1), MEASURES[name].summed
    stands = standing(found)
    rows = []
    for at, row in enumerate(found.to_pylist()):
        if not row["whole"] > 0:
            continue
        size = 1.0 if summed else row["whole"]
        actual, expected, chance = row["part"] / size, row["expected"] / size, NORMAL * row["deviation"] / size
        of_policy = None if measure.plan is None else measure.plan * (row["whole"] if summed else 1.0)
        stated = plans.get((row["id"], name, f"{end:%Y-%m}"), plans.get((row["id"], name, "")))
        plan = of_policy if stated is None else stated
        few = MEASURES[name].counted and plan is not None and row["whole"] * plan < RULE_OF_THREE
        peers = None if math.isnan(stands[at]) else _bounded(sign * card.points * stands[at])
        planned = None if plan is None or few else _against(actual, plan, sign)
        low, high = expected - chance, expected + chance
        if MEASURES[name].unit == "share":
            low, high = max(low, 0.0), min(high, 1.0)
        asked = [(peers, card.against.peers if plan is not None else 1.0)]
        asked += [] if plan is None else [(planned, card.against.plan)]
        points, said = _mean(asked)
        rows.append(
            {"month": end, "unit": row["unit"], "id": row["id"], "measure": name, "clients": row["clients"],
             "actual": actual, "plan": plan, "expected": expected, "low": low, "high": high,
             "points_peers": peers, "points_plan": planned, "points": points, "weight": measure.weight * said}
        )  # fmt: skip
    return rows


def _against(actual: float, plan: float, sign: int) -> float:
    """100 where the plan is reached exactly, and a point more or less for every percent of it; of a plan of 0 there are
    no percent, it is reached or not."""
    if plan == 0:
        return _bounded(0.0 if sign * actual >= 0 else -AS_EXPECTED)
    return _bounded(AS_EXPECTED * sign * (actual - plan) / abs(plan))


def _mean(parts: Sequence[tuple[float | None, float]]) -> tuple[float | None, float]:
    """The weighted mean of the values that there are, and their weight; None and 0 where there is none."""
    known = [(value, weight) for value, weight in parts if value is not None and weight > 0]
    total = sum(weight for _, weight in known)
    return (sum(value * weight for value, weight in known) / total if known else None), total


def _bounded(beyond: float) -> float:
    return AS_EXPECTED + min(max(beyond, -AS_EXPECTED), AS_EXPECTED)


def _scores(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The weighted mean of each unit's points, over the weights of what was measured."""
    by: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        by.setdefault((row["month"], row["unit"], row["id"]), []).append(row)
    found = []
    for (month, unit, name), measured in by.items():
        points, weight = _mean([(row["points"], row["weight"]) for row in measured])
        if points is None:
            continue
        each = {of: _mean([(row[of], row["weight"]) for row in measured])[0] for of in ("points_peers", "points_plan")}
        clients = max(row["clients"] for row in measured)
        found.append({"month": month, "unit": unit, "id": name, "measure": SCORE, "clients": clients,
                      "weight": weight, "points": points} | each)  # fmt: skip
    return found
