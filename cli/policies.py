"""The strategy policy: whether it is sound, what it would change, whom it singles out, and whether it is fair."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from sheaf._extras import needs_extra
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.shared import (
    CatalogPath,
    DataFolder,
    OffersFile,
    PolicyFile,
    PreviousFile,
    ProfilesFile,
    columns_of,
    console,
    keep_apart,
    of_one_day,
    open_bank,
    policy_of,
    steps,
    table_file,
    write_table,
)


def audit(
    data: DataFolder,
    plans: Annotated[Path, typer.Option(help="Plans, as `sheaf plan --out` writes them.")],
    profiles: ProfilesFile = None,
    offers: OffersFile = None,
    routes: Annotated[Path | None, typer.Option(help="Routes, as `sheaf plan --routes` writes them.")] = None,
    protected: Annotated[
        list[str] | None,
        typer.Option(help="Attribute of table clients, repeatable. Default: those that the catalog's policy protects."),
    ] = None,
    catalog: CatalogPath = DEFAULT,
    policy: PolicyFile = None,
    least: Annotated[int, typer.Option(help="Smallest number of clients of a group.", min=10)] = 30,
    out: Annotated[Path | None, typer.Option(help="CSV file for every comparison.")] = None,
) -> None:
    """Compare tiers, offers and prices between groups of protected attributes.

    Each group is compared with all other clients, overall and among clients of the same worth, with 95 % intervals, on
    the day of the plans. Without --profiles, the command builds the profiles of that day.
    """
    with needs_extra("audit"):  # before anything takes time
        import fairlearn  # noqa: F401

    from sheaf.features import profile_tables
    from sheaf.strategy.fairness.audit import audit as run
    from sheaf.strategy.fairness.audit import sentences
    from sheaf.strategy.fairness.dataset import day_of, gathered, protected_of
    from sheaf.strategy.views.plans import audit_table

    if out is not None and out.suffix.lower() != ".csv":
        raise typer.BadParameter(f"{out} would hold CSV; end its name in .csv")
    keep_apart({"--out": out}, {"--plans": plans, "--profiles": profiles, "--offers": offers, "--routes": routes}, data)
    sold, bank = read_catalog(catalog), open_bank(data)
    attributes, day = protected_of(bank, sold, protected or []), day_of(plans)
    of_one_day(day, f"--plans {plans}", {"--profiles": profiles, "--offers": offers, "--routes": routes})
    chosen = policy_of(policy, sold, profiles, None if profiles else columns_of(bank, sold))
    with steps(f"Auditing plans of {day}") as step:
        step("tables")
        source = profiles or profile_tables(bank, sold, day)
        clients, outcomes = gathered(bank, sold, chosen, attributes, plans, source, offers, routes)
        step(", ".join(attributes))
        found = run(clients, outcomes, attributes, sorted(chosen.asks_of_clients | chosen.asks_of_pairs), least)
    console.print(audit_table(found))
    for sentence in sentences(found, chosen):
        console.print(escape(sentence), highlight=False)
    if out is not None:
        import pandas as pd
        import pyarrow as pa

        write_table(out, pa.Table.from_pandas(pd.DataFrame(found.rows()), preserve_index=False))
        console.print(escape(f"Every comparison is in {out}."), highlight=False)


def clients(
    which: Annotated[
        Literal["win", "repair", "leaving"],
        typer.Argument(metavar="LIST", help="win, repair or leaving."),
    ],
    profiles: Annotated[Path, typer.Option(help="Parquet file, as `sheaf profile --out` writes it.")],
    as_of: Annotated[dt.datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day of the profiles.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="For win: folder with the bank's tables, for links and payments.")
    ] = None,
    catalog: CatalogPath = DEFAULT,
    policy: PolicyFile = None,
    previous: PreviousFile = None,
    offers: OffersFile = None,
    last: Annotated[
        Path | None, typer.Option(help="For repair: the previous list, with since when and what was due.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet or CSV file, one row for each client.", callback=table_file)
    ] = None,
    top: Annotated[int, typer.Option(help="Number of rows to show.", min=0)] = 10,
) -> None:
    """List clients to act on, by the policy: firms to win, clients to repair or let go, clients about to leave.

    Each with its rule, the values that the rule used, and what would change it.
    """
    from sheaf.strategy import Lister, Planner
    from sheaf.strategy.views.plans import list_rows, list_table
    from sheaf.training.registry import need_attrition

    if (which == "win") != (data is not None):
        raise ValueError("win wants --data, whose links and payments tell who is close to whom; the other lists do not")
    if last is not None and which != "repair":
        raise ValueError("--last is the repair list of last time; leave it out")
    read = {"--profiles": profiles, "--previous": previous, "--offers": offers, "--last": last}
    keep_apart({"--out": out}, read, data)
    sold, day = read_catalog(catalog), as_of.date()
    attrition = need_attrition(day).model if which == "leaving" else None  # told before the long work
    of_one_day(day, "--as-of", {"--profiles": profiles, "--offers": offers}, previous)
    lister = Lister(Planner(policy_of(policy, sold, profiles), day, previous, offers), profiles)
    with steps(f"List as of {day}"):
        if data is not None:
            found = lister.win(open_bank(data))
        elif attrition is not None:
            found = lister.leaving(attrition)
        else:
            found = lister.repair(last)
    console.print(list_table(which, found, lister.planner.policy, top))
    if out is None:
        return
    table = list_rows(which, found)
    write_table(out, table)
    console.print(f"{len(table):,} rows are in {out}.", highlight=False)


def check_policy(
    file: Annotated[Path, typer.Argument(help="YAML of the strategy policy.")],
    catalog: CatalogPath = DEFAULT,
    profiles: ProfilesFile = None,
) -> None:
    """Report everything that is wrong with a policy, by file and line; exit code 1 if there is anything.

    With --profiles, it also checks the bank's own columns and texts, such as sectors without a client or a list.
    """
    from sheaf.strategy import StrategyError, profile_columns, profile_texts, read_strategy

    sold = read_catalog(catalog)
    try:
        columns, texts = (profile_columns(profiles), profile_texts(profiles)) if profiles else (None, None)
        found = read_strategy(file, sold, columns, texts)
    except StrategyError as error:
        console.print(escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(escape(f"{file}: {found.name}, version {found.version}, is as it should be."), highlight=False)


def compare_policies(
    one: Annotated[Path, typer.Argument(help="YAML of the present strategy policy.")],
    other: Annotated[Path, typer.Argument(help="YAML of the new strategy policy.")],
    profiles: Annotated[Path, typer.Option(help="Parquet file, as `sheaf profile --out` writes it.")],
    as_of: Annotated[dt.datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day of the profiles.")],
    catalog: CatalogPath = DEFAULT,
    previous: PreviousFile = None,
    offers: OffersFile = None,
) -> None:
    """Compare two policies: tiers, EVA and capital, managers, and routes of offers."""
    from sheaf.strategy import compare
    from sheaf.strategy.views.plans import comparison_tables

    of_one_day(as_of.date(), "--as-of", {"--profiles": profiles, "--offers": offers}, previous)
    sold = read_catalog(catalog)
    both = (policy_of(one, sold, profiles), policy_of(other, sold, profiles))
    with steps("Comparing"):
        found = compare(both, sold, profiles, as_of.date(), previous, offers)
    for table in comparison_tables(found, (both[0].name, both[1].name)):
        console.print(table)
