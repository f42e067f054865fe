"""An account manager's calls, and what managers and branches achieve."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.shared import (
    CatalogPath,
    DataFolder,
    Day,
    PolicyFile,
    columns_of,
    console,
    date_of,
    keep_apart,
    open_bank,
    policy_of,
    steps,
    table_file,
    write_table,
)


def book(
    manager: Annotated[str, typer.Argument(help="The manager's id, as in table clients.")],
    data: DataFolder,
    offers: Annotated[Path, typer.Option(help="Offers, as `sheaf rank --objective value` writes them.")],
    plans: Annotated[
        Path | None, typer.Option(help="Plans, as `sheaf plan --out` writes them. Default: made for the day.")
    ] = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    policy: PolicyFile = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file for the call list.", callback=table_file)
    ] = None,
) -> None:
    """List whom an account manager calls, why, and with which offer: the best calls that fit a day.

    Ranked by probability × value at stake × urgency, within the contact policy. Plans of an earlier day say which
    visits are due.
    """
    from sheaf.features import profile_tables, written_as_of
    from sheaf.strategy import Planner, book_of
    from sheaf.strategy.managers.call_list import OFFER, PLAN, clients_of, need_day, rows_of
    from sheaf.strategy.views.plans import book_table
    from sheaf.training.samples import last_day

    keep_apart({"--out": out}, {"--offers": offers, "--plans": plans}, data)
    bank, sold = open_bank(data), read_catalog(catalog)
    day = date_of(as_of) or last_day(bank)
    chosen = policy_of(policy, sold, None, columns_of(bank, sold))
    asked, clients = need_day(chosen).asks, clients_of(bank, day, manager)
    if (ranked_on := written_as_of(offers)) and ranked_on > day:
        raise ValueError(f"{offers} has offers as of {ranked_on}, which is after {day}; give those of an earlier day")
    offered = rows_of(offers, OFFER, clients, "offers by value, as `sheaf rank --objective value` writes them")
    with steps(f"The book of {manager}"):
        if plans is None:
            made = Planner(chosen, day, offers=offers).plans(profile_tables(bank, sold, day, clients))
            planned = [row for part in made for row in part.to_pylist()]
        else:
            columns = [*sorted({*PLAN, *(asked & chosen.of_plans)}), "as_of"]
            planned = rows_of(plans, columns, clients, "plans, as `sheaf plan --out` writes them")
            if (made_on := max((row["as_of"] for row in planned), default=day)) > day:
                raise ValueError(f"{plans} has plans of {made_on}, which is after {day}; give those of an earlier day")
        found = book_of(chosen, sold, bank, day, manager, planned, offered, ranked_on)
    console.print(book_table(found, sold))
    if out is not None:
        write_table(out, found.calls)
        console.print(escape(f"The calls are in {out}."), highlight=False)


def scorecard(
    data: DataFolder,
    month: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m"], help="The last month, such as 2025-12. Default: the bank's last complete month."
        ),
    ] = None,
    manager: Annotated[str | None, typer.Option(help="Show this manager. Default: the scores of all.")] = None,
    branch: Annotated[str | None, typer.Option(help="Show this branch.")] = None,
    months: Annotated[int, typer.Option(help="Number of months.", min=1, max=60)] = 1,
    catalog: CatalogPath = DEFAULT,
    policy: PolicyFile = None,
    plan: Annotated[
        Path | None, typer.Option(help="CSV of targets: id (of a manager or branch), measure, plan, and month.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file for the scorecard.", callback=table_file)
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Plot of the scorecard, such as card.png.")] = None,
) -> None:
    """Score managers and branches against plan and against the expected result for the same client mix.

    Deposits, share of wallet, clients won, non-performing loans, rates against list, foreign exchange, settlement,
    fees and offers, weighted by the policy; each month as it was known at its end.
    """
    from sheaf.strategy import judge
    from sheaf.strategy.managers.scorecard import month_ends, need_card, read_plans
    from sheaf.strategy.views.scorecard import card_table, draw_card, draw_scores, scores_table

    if manager is not None and branch is not None:
        raise ValueError("a manager is shown, or a branch: leave out --manager or --branch")
    keep_apart({"--out": out, "--picture": picture}, {"--plan": plan}, data)
    bank, sold = open_bank(data), read_catalog(catalog)
    chosen = policy_of(policy, sold, None)
    plans = read_plans(plan, need_card(chosen)) if plan else None
    ends = month_ends(_last_month(bank, month), months)
    with steps("Judging"):
        found = judge(chosen, sold, bank, ends, plans)
    unit = ("manager", manager) if manager else ("branch", branch) if branch else None
    rows = found.of(*unit) if unit else found.rows
    console.print(card_table(found, rows, sold) if unit else scores_table(found))
    if out is not None:
        write_table(out, rows)
    if picture is not None:
        draw_card(rows, picture) if unit else draw_scores(found, picture)
    if places := " and ".join(str(place) for place in (out, picture) if place):
        console.print(escape(f"By policy {chosen.name} {chosen.version}: {places}."), highlight=False)


def _last_month(bank: Any, month: dt.datetime | None) -> dt.date:
    """A day of the month asked for, or of the last that the bank knows as a whole."""
    from sheaf.strategy.managers.scorecard import known_until, month_ends

    last = known_until(bank)
    if month is None:
        return last if month_ends(last, 1) == [last] else last.replace(day=1) - dt.timedelta(days=1)
    if month.date() > last:
        raise ValueError(f"the bank is known until {last}; give a month up to then")
    return month.date()
