"""Everything at once, on a simulated bank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog import DEFAULT, read_catalog
from cli.bank import check, simulate
from cli.learning import train
from cli.offers import offers_table
from cli.shared import console, steps


def demo(
    clients: Annotated[int, typer.Option(help="Size of the simulated bank.", min=500)] = 4_000,
    folder: Annotated[Path, typer.Option(help="Where the bank's tables go.")] = Path("demo-bank"),
) -> None:
    """Simulate a bank, check it, train, serve, and ask for one client of each kind over HTTP."""
    from serving.demonstration import ask_each_kind

    started = time.monotonic()
    simulate(folder, clients, 24, 0, True)
    check(folder)
    train(folder, DEFAULT)
    from serving.preparing import prepare

    with steps("Preparing the service") as step:
        prepare(folder, read_catalog(DEFAULT), None, step)
    with steps("Starting the service") as step:
        answers = ask_each_kind(step)
    for kind, answer in answers:
        console.print(offers_table(answer, f"{kind.capitalize()} client {answer['client_id']}"))
    console.print(f"The whole line in {time.monotonic() - started:.0f} seconds, and the service is stopped again.")
    console.print(
        f"Next:\n  .venv/bin/sheaf recommend C0000001                    offers for any client, before a call\n"
        f"{_to_quote(answers, folder)}"
        f"  .venv/bin/sheaf serve --data {folder}                  the service, for channel apps\n"
        "  .venv/bin/mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db     runs, plots, registry\n"
        "  .venv/bin/sheaf --help                              everything else",
        highlight=False,
    )


def _to_quote(answers: list[tuple[str, dict[str, Any]]], folder: Path) -> str:
    """The command that prices the first offer of the demo."""
    for _, answer in answers:
        for offer in answer["offers"]:
            command = f".venv/bin/sheaf quote {answer['client_id']} {offer['bundle_id']} --data {folder}"
            return f"  {command}\n{'':52}  that offer's price, and what it brings\n"
    return ""
