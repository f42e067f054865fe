"""A scorecard as a person reads it: one unit's measures, all units' scores, and either as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from sheaf._extras import needs_extra
from sheaf.catalog import Catalog
from sheaf.strategy.managers.scorecard import AS_EXPECTED, SCORE, Scorecard
from sheaf.strategy.policy.measures import MEASURES

_FORMATS = {"money": "{:,.0f}", "count": "{:,.1f}", "share": "{:.1%}", "rate": "{:+.2%}", "mean": "{:.2f}"}


def card_table(found: Scorecard, rows: pa.Table, catalog: Catalog) -> Group:
    """One unit's measures in the last month, and its score in all of them; `rows` are those of `Scorecard.of`."""
    last, every = _last(rows), rows.to_pylist()
    [unit] = set(last["unit"].to_pylist())
    measured, scores = _split(last.to_pylist())
    clients, month = scores[0]["clients"] if scores else 0, measured[0]["month"]
    title = f"{unit} {measured[0]['id']}, {month:%Y-%m}: {clients:,} clients"
    table = Table(title=escape(title[0].upper() + title[1:]), title_justify="left", caption_justify="left")
    table.add_column("", overflow="fold")
    for name in ("actual", "plan", "same clients", "by chance", "peers / plan", "points", "weight"):
        # Where a terminal is narrow, what is of words breaks, and no figure loses its end.
        table.add_column(name, justify="right", no_wrap=" " not in name)
    for row in measured:
        definition = MEASURES[row["measure"]]
        plan, chance = (
            _told(definition.unit, row["plan"]),
            [_told(definition.unit, row[end]) for end in ("low", "high")],
        )
        actual, expected = (_told(definition.unit, row[name]) for name in ("actual", "expected"))
        table.add_row(
            definition.label,
            actual,
            plan,
            expected,
            " to ".join(chance),
            _both(row),
            _points(row["points"]),
            f"{row['weight']:.2f}",
        )
    table.add_section()
    points = _points(scores[0]["points"] if scores else None)
    table.add_row("score", "", "", "", "", _both(scores[0]) if scores else "", f"[bold]{points}[/]", "")
    says = "points: 100 is as the same clients bring anybody, and as planned; none where nothing can be judged"
    table.caption = escape(f"{catalog.currency}; {says}")
    told = [f"{row['month']:%Y-%m} {row['points']:.0f}" for row in every if row["measure"] == SCORE]
    lines = [f"Score by month: {', '.join(told)}."] if len(told) > 1 else []
    return Group(table, *map(escape, [*lines, *_left_out(found)]))


def scores_table(found: Scorecard) -> Group:
    """The scores of all branches and managers, a column a month; the best of the last month first."""
    months = sorted(set(found.rows["month"].to_pylist()))
    table = Table(title="Scores; 100 is as the same clients bring anybody, and as planned", title_justify="left")
    for name in ("", "clients", *(f"{month:%Y-%m}" for month in months), "against peers"):
        table.add_column(name, justify="right" if name else "left", no_wrap=not name, overflow="fold")
    for unit in ("branch", "manager"):
        by: dict[str, dict[Any, Any]] = {}
        for row in found.rows.filter(pc.equal(found.rows["measure"], SCORE)).to_pylist():
            if row["unit"] == unit:
                by.setdefault(row["id"], {})[row["month"]] = row
        order = sorted(by, key=lambda one: (-_number(by[one].get(months[-1]), "points"), one))
        for name in order:
            of = [by[name].get(month) for month in months]
            known = next(row for row in reversed(of) if row)
            each = (_points(row["points"] if row else None) for row in of)
            table.add_row(escape(f"{unit} {name}"), f"{known['clients']:,}", *each, _points(known["points_peers"]))
        table.add_section()
    return Group(table, *map(escape, _left_out(found)))


def draw_card(rows: pa.Table, path: Path) -> None:
    """Points by measure of one unit in the last month, and its score by month where there are several; of the kind of
    picture that the file's name ends in."""
    measured, scores = _split(_last(rows).to_pylist())
    by_month = [row for row in rows.to_pylist() if row["measure"] == SCORE]
    figure, axes = _figure(2 if len(by_month) > 1 else 1, len(measured) + 1)
    head = f"{measured[0]['unit']} {measured[0]['id']}, {measured[0]['month']:%Y-%m}"
    names = [*(MEASURES[row["measure"]].label for row in measured), "score"]
    points = [row["points"] for row in (*measured, *scores[:1])]
    points += [None] * (not scores)
    _bars(axes[0], names, [AS_EXPECTED if one is None else one for one in points], head)
    if len(by_month) > 1:
        axes[1].plot([f"{row['month']:%Y-%m}" for row in by_month], [row["points"] for row in by_month], marker="o")
        axes[1].axhline(AS_EXPECTED, color="gray", linestyle=":")
        axes[1].tick_params(axis="x", rotation=45)
        axes[1].set_ylabel("score")
    _save(figure, path)


def draw_scores(found: Scorecard, path: Path) -> None:
    """The scores of the last month of all branches and managers, as a picture."""
    last = _last(found.rows)
    rows = [row for row in last.to_pylist() if row["measure"] == SCORE and row["unit"] != "bank"]
    rows = sorted(rows, key=lambda row: (row["unit"], -row["points"], row["id"]))
    figure, axes = _figure(1, len(rows))
    title = f"Scores, {rows[0]['month']:%Y-%m}" if rows else "Scores"
    _bars(axes[0], [f"{row['unit']} {row['id']}" for row in rows], [row["points"] for row in rows], title)
    _save(figure, path)


def _figure(panels: int, bars: int) -> tuple[Any, Sequence[Any]]:
    with needs_extra("train"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(7 + 4 * (panels - 1), max(2.5, 1 + 0.3 * bars)), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False, width_ratios=[2, 1][:panels])
    return figure, axes[0]


def _bars(axes: Any, names: Sequence[str], points: Sequence[float], title: str) -> None:
    """Bars that begin at 100, so that what is better goes to the right and what is worse to the left."""
    colours = ["tab:blue" if one >= AS_EXPECTED else "tab:orange" for one in points]
    axes.barh(range(len(points)), [one - AS_EXPECTED for one in points], left=AS_EXPECTED, color=colours)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(AS_EXPECTED, color="black", linewidth=1)
    axes.set_xlim(0, 2 * AS_EXPECTED)
    axes.set_xlabel("points; 100 is as expected")
    axes.set_title(title)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _last(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["month"], pc.max(rows["month"])))


def _split(rows: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The measures, and the score."""
    told = list(rows)
    return [row for row in told if row["measure"] != SCORE], [row for row in told if row["measure"] == SCORE]


def _told(unit: str, value: float | None) -> str:
    if value is None:
        return ""
    if unit == "money" and abs(value) >= 1e6:
        return f"{value / 1e6:,.1f}m"
    return _FORMATS[unit].format(value + 0.0)


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _both(row: dict[str, Any]) -> str:
    """The points of peers and of plan; a dash for the one that says nothing."""
    return " / ".join(_points(row[name]) or "-" for name in ("points_peers", "points_plan"))


def _number(row: Any, name: str) -> float:
    return float("-inf") if row is None else float(row[name])


def _left_out(found: Scorecard) -> list[str]:
    """What is not measured in the last month, by reason."""
    by: dict[str, list[str]] = {}
    for name, why in found.left_out[max(found.left_out)].items():
        by.setdefault(why, []).append(MEASURES[name].label.lower())
    return [f"Not measured: {', '.join(names)}: {why}." for why, names in by.items()]
