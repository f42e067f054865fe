"""Service plans for a million clients: seconds and memory against limits, and against reading and writing alone.

The profiles are those of a small simulated bank, again and again under new ids, in one Parquet file with all its
columns; what repeats is smaller on disk than a real bank's, which makes reading cheaper. Plans are made by the default
policy, once without plans before them and once after those of a month before, from file to file. Beside it, in turns
and with the same writer: reading the columns that the policy asks for, and writing those that plans have. Memory is the
peak of a process that does nothing but make plans.
"""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from benchmarks.figures import Figure
from benchmarks.measure import KEPT, child, console, hand_back, in_turns, median_ratio, report, simulated
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank, profile_tables, write_parquet
from sheaf.features.bank import connect
from sheaf.strategy import DEFAULT as POLICY
from sheaf.strategy import Planner, Strategy, profile_columns, read_strategy
from sheaf.strategy.plans.planner import PART
from sheaf.strategy.policy.conditions import quoted

DAY = dt.date(2025, 12, 31)
EARLIER = dt.date(2025, 11, 30)
SECONDS, GIB = 60.0, 6.0


def main(
    clients: Annotated[int, typer.Option(help="How many clients.", min=1)] = 1_000_000,
    of: Annotated[
        int, typer.Option(help="Clients of the simulated bank whose profiles are repeated.", min=500)
    ] = 5_000,
    rounds: Annotated[int, typer.Option(help="How often each way runs.", min=1)] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where the files lie, or are made and kept.")] = None,
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Seconds of plans from file to file, their peak memory, and their ratio to reading and writing."""
    place = folder or KEPT / f"profiles-{clients}-{of}"
    profiles, before, out = (place / f"{name}.parquet" for name in ("profiles", "before", "plans"))
    policy = read_strategy(POLICY, read_catalog(DEFAULT))
    if inside:
        plan(policy, profiles, out, before)
        hand_back()
        return
    if not profiles.exists():
        with console.status(f"Making profiles of {clients:,} clients"):
            make(simulated(of, 14), profiles, clients)
    with console.status("Running in turns"):
        plan(policy, profiles, before, None, EARLIER)
        seconds = in_turns(
            rounds,
            first=lambda: plan(policy, profiles, out, None),
            again=lambda: plan(policy, profiles, out, before),
            bare=lambda: bare(policy, profiles, before, out),
        )
    with console.status("Measuring memory"):
        peak = child("benchmarks.strategy", "--inside", "--folder", place)["peak_gib"]
    first, again, alone = (float(np.median(seconds[way])) for way in ("first", "again", "bare"))
    figures = [
        Figure("first plans", f"{first:.1f} s", f"limit {SECONDS:g} s", first / SECONDS, 1.0),
        Figure("plans after those of a month before", f"{again:.1f} s", f"limit {SECONDS:g} s", again / SECONDS, 1.0),
        Figure("peak memory", f"{peak:.2f} GiB", f"limit {GIB:g} GiB", peak / GIB, 1.0),
        Figure("first plans", f"{first:.1f} s", f"reading and writing alone {alone:.1f} s",
               median_ratio(seconds["first"], seconds["bare"])),
    ]  # fmt: skip
    report(f"Service plans, medians of {rounds}", f"Simulated bank, {clients:,} clients", figures)


def plan(policy: Strategy, profiles: Path, out: Path, before: Path | None, day: dt.date = DAY) -> None:
    write_parquet(out, Planner(policy, day, before).plans(profiles))


def bare(policy: Strategy, profiles: Path, plans: Path, out: Path) -> None:
    """Reads the columns that plans look at, and writes as many plans as there are from a file of them."""
    connection, there = connect(), profile_columns(profiles)
    asked = sorted(policy.asks_of_clients & there.keys())
    for _ in connection.sql(f"select {', '.join(map(quoted, asked))} from '{profiles}'").to_arrow_reader(PART):
        pass
    batches = connection.sql(f"select * from '{plans}'").to_arrow_reader(PART)
    write_parquet(out, (pa.Table.from_batches([batch]) for batch in batches))


def make(bank: Path, out: Path, clients: int) -> None:
    """Writes the profiles of a bank's clients, again and again with new ids, up to so many."""
    once = out.with_name("once.parquet")
    write_parquet(once, profile_tables(Bank.open(bank), read_catalog(DEFAULT), DAY))
    connection = connect()
    [[many]] = connection.sql(f"select count(*) from '{once}'").fetchall()
    connection.execute(
        f"copy (select client_id || '-' || again as client_id, p.* exclude client_id "
        f"from range({math.ceil(clients / many)}) r(again), '{once}' p limit {clients}) "
        f"to '{out}' (format parquet, row_group_size {PART})"
    )


if __name__ == "__main__":
    typer.run(main)
