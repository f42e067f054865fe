"""Everything at once, on a simulated bank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sheaf._extras import needs_extra
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.bank import check, simulate
from sheaf.cli.learning import train
from sheaf.cli.offers import offers_table
from sheaf.cli.shared import console, steps


def demo(
    clients: Annotated[int, typer.Option(help="Size of the simulated bank.", min=500)] = 4_000,
    folder: Annotated[Path, typer.Option(help="Where the bank's tables go.")] = Path("demo-bank"),
) -> None:
    """Simulate a bank, check it, train, serve, and request offers for a client of each kind over HTTP."""
    with needs_extra("serve"):
        from sheaf.serving.runtime.demonstration import ask_each_kind

    started = time.monotonic()
    simulate(folder, clients, 24, 0, True)
    check(folder)
    train(folder, DEFAULT)
    from sheaf.serving.runtime.preparation import prepare

    with steps("Preparing the service") as step:
        prepare(folder, read_catalog(DEFAULT), None, step)
    with steps("Starting the service") as step:
        answers = ask_each_kind(step)
    for kind, answer in answers:
        console.print(offers_table(answer, f"{kind.capitalize()} client {answer['client_id']}"))
    console.print(f"The whole line in {time.monotonic() - started:.0f} seconds, and the service is stopped again.")
    console.print("Next:", _next(answers, folder), sep="\n")


def _next(answers: list[tuple[str, dict[str, Any]]], folder: Path) -> Table:
    """Commands to go on with, and what each is for; a quote of the demo's first offer among them."""
    quotes = [
        f"sheaf quote {answer['client_id']} {offer['bundle_id']} --data {folder}"
        for _, answer in answers
        for offer in answer["offers"]
    ]
    commands = Table.grid(padding=(0, 2))
    commands.add_column(overflow="fold")
    for command, purpose in (
        ("sheaf recommend C0000001", "offers for any client, before a call"),
        *((quote, "that offer's price, and what it brings") for quote in quotes[:1]),
        (f"sheaf serve --data {folder}", "the service, for channel apps"),
        ("mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db", "runs, plots, registry"),
        ("sheaf --help", "everything else"),
    ):
        commands.add_row(f"  .venv/bin/{command}", purpose)
    return commands
