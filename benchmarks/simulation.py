"""Seconds and memory of simulating a bank, against their limits: 180 s and 6 GiB for 100,000 clients over 24 months.

One run in a process of its own, whose peak of resident memory is taken.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.figures import Figure
from benchmarks.measure import child, hand_back, report

SECONDS, GIB = 180.0, 6.0


def main(
    clients: Annotated[int, typer.Option(help="How many clients.", min=1)] = 100_000,
    months: Annotated[int, typer.Option(help="How many months.", min=1)] = 24,
    inside: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Seconds and peak memory of `sheaf simulate`."""
    if inside:
        _measure(inside, clients, months)
        return
    with tempfile.TemporaryDirectory() as place:
        told = child("benchmarks.simulation", "--clients", clients, "--months", months, "--inside", place)
    seconds, gib = told["seconds"], told["peak_gib"]
    figures = [
        Figure("time", f"{seconds:.1f} s", f"{SECONDS:g} s", seconds / SECONDS, 1.0),
        Figure("memory", f"{gib:.2f} GiB", f"{GIB:g} GiB", gib / GIB, 1.0),
    ]
    report("Time and memory of the simulation", f"Simulated bank of {clients:,} clients, {months} months", figures)


def _measure(folder: Path, clients: int, months: int) -> None:
    from sheaf.simulation import simulate  # here, so that the process that measures stays small

    started = time.perf_counter()
    simulate(folder / "bank", clients, months)
    hand_back(seconds=time.perf_counter() - started)


if __name__ == "__main__":
    typer.run(main)
