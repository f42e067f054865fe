"""What the bank hands over: a bank made up, its tables checked, its clients profiled."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.shared import (
    CatalogPath,
    DataFolder,
    Day,
    bar,
    console,
    date_of,
    keep_apart,
    open_bank,
    parquet_file,
    steps,
)

if TYPE_CHECKING:
    from sheaf.features import Bank


def simulate(
    folder: Annotated[Path, typer.Argument(help="New folder for the bank's tables.")],
    clients: Annotated[int, typer.Option(help="Number of clients.", min=1)] = 5_000,
    months: Annotated[int, typer.Option(help="Number of months, up to December 2025.", min=3)] = 24,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bank, byte for byte.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bank.")] = False,
    offers: Annotated[bool, typer.Option("--offers", help="Also simulate offers at prices.")] = False,
    attrition: Annotated[
        bool, typer.Option("--attrition", help="More clients leave, for reasons that are visible in the tables.")
    ] = False,
) -> None:
    """Simulate a bank with known truth: clients, holdings, positions, transactions, links and, if requested, offers."""
    from sheaf.simulation import simulate as make

    with bar("Simulating") as done:
        make(folder, clients, months, seed, offers=offers, attrition=attrition, overwrite=overwrite, progress=done)
    console.print(f"A bank of {clients:,} clients over {months} months lies in {folder}. Next: sheaf check {folder}")


def check(
    folder: Annotated[Path, typer.Argument(help="Folder with the bank's tables.")],
    catalog: CatalogPath = DEFAULT,
) -> None:
    """Report everything that is wrong with a bank's tables at once; exit code 1 if there is anything."""
    from sheaf.features.table_age import last_opening
    from sheaf.features.validation.check import check as find
    from sheaf.features.validation.check import render

    findings = find(folder, read_catalog(catalog), dt.date.today())
    if findings:
        console.print(render(findings))
        raise typer.Exit(1)
    console.print(f"{folder}: all tables are as the contract says.")
    bank = open_bank(folder)
    _tell_ages(bank, last_opening(bank))
    read, others = _tables(folder)
    console.print(f"Tables: {', '.join(read)}.", markup=False, highlight=False)
    for name, columns in bank.unread.items():
        told = f"Not read, as table {name} has no such columns: {', '.join(columns)}."
        console.print(told, markup=False, highlight=False)
    if others:
        told = f"Not read, as no table has that name: {', '.join(others)}."
        console.print(told, markup=False, highlight=False)


def _tell_ages(bank: Bank, day: dt.date | None) -> None:
    """Up to when each table tells of clients, and how old that is on the day."""
    from sheaf.features.table_age import ages, begun_within_a_year

    if day is not None:
        each = [
            f"{age.table} {age.last}" + (f" ({age.days:,} days before)" if age.days > 0 else "")
            for age in ages(bank, day)
        ]
        console.print(f"Last rows, as of {day}: {', '.join(each)}.", markup=False, highlight=False)
        for name, first in begun_within_a_year(bank, day).items():
            told = f"First rows of {name}: {first}. Sums and means of a year before {day} are of what came since."
            console.print(told, markup=False, highlight=False)


def _tables(folder: Path) -> tuple[list[str], list[str]]:
    """The tables that lie in the folder, and what else there is: perhaps an optional table under a wrong name."""
    from sheaf.features import TABLES

    lying = {path.name.removesuffix(".parquet").removesuffix(".csv"): path.name for path in sorted(folder.iterdir())}
    read = [name for name in TABLES if name in lying]
    return read, [file for name, file in lying.items() if name not in TABLES and not file.startswith((".", "_"))]


def profile(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file, for people and notebooks.", callback=parquet_file)
    ] = None,
    snapshot: Annotated[Path | None, typer.Option(help="Folder, memory-mapped by the service.")] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Publish them to the running service, with its catalog and its model."),
    ] = False,
) -> None:
    """Build client profiles as of a day; by default the bank's last day."""
    if serve:
        _refresh(data, catalog, date_of(as_of), out, snapshot)
        return
    from sheaf.features import profile_matrices, profile_tables, write_parquet
    from sheaf.features.snapshot import Snapshot
    from sheaf.training.samples import last_day

    if out is None and snapshot is None:
        raise ValueError("say where the profiles shall go: --out FILE.parquet, --snapshot FOLDER, or both; or --serve")
    keep_apart({"--out": out}, data=data)
    bank, sold = open_bank(data), read_catalog(catalog)
    day = date_of(as_of) or last_day(bank)
    with steps(f"Profiles as of {day}") as step:
        if out is not None:
            step(str(out))
            write_parquet(out, profile_tables(bank, sold, day), day)
        if snapshot is not None:
            Snapshot.write(
                snapshot,
                profile_matrices(bank, sold, day),
                day,
                lambda done: step(f"{done:,} clients"),
            )
    console.print(f"Profiles as of {day} are in {' and '.join(str(place) for place in (out, snapshot) if place)}.")
    _tell_ages(bank, day)


def _refresh(data: Path, catalog: Path, day: dt.date | None, *elsewhere: Path | None) -> None:
    from sheaf.serving.runtime.preparation import load, refresh

    if catalog != DEFAULT or any(elsewhere):
        raise ValueError(
            "--serve goes with --data and --as-of only: the service has its catalog and its places; for a new catalog "
            "or champion: sheaf serve --data DIR --catalog CATALOG --prepare-only"
        )
    with steps("Profiles for the service") as step:
        found = refresh(data, day, step)
    load()  # what cannot be served is told here, not only on the service's log
    console.print(f"Profiles as of {found} are laid out; a service that runs takes them up within three seconds.")
