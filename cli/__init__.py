"""The `sheaf` command: one function a verb, each thin."""

from __future__ import annotations

import os
import sys
import warnings

import typer
from rich.markup import escape

from sheaf._extras import MissingExtraError
from sheaf.cli.bank import check, profile, simulate
from sheaf.cli.demo import demo
from sheaf.cli.learning import attrition, price_response, train, tune
from sheaf.cli.managers import book, scorecard
from sheaf.cli.offers import discover, quote, rank, recommend
from sheaf.cli.plans import plan
from sheaf.cli.policies import audit, check_policy, clients, compare_policies
from sheaf.cli.service import add_key, keep, list_keys, outcomes, remove_key, serve, upgrade
from sheaf.cli.shared import errors

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Ranks product bundles for every client of a bank, from the bank's own tables.

    From tables to offers:  check → train → rank, or recommend and serve.
    No bank at hand?  `sheaf simulate bank --clients 5000`  makes one;  `sheaf demo`  shows everything.
    """,
)
VERBS = (
    simulate, check, profile, train, tune, price_response, attrition, rank, discover, recommend, quote, plan, book,
    scorecard, audit, clients, serve, outcomes, demo,
)  # fmt: skip
for verb in VERBS:
    app.command(verb.__name__.replace("_", "-"))(verb)
decisions = typer.Typer(no_args_is_help=True, help="The decision log of the service.")
app.add_typer(decisions, name="decisions")
decisions.command()(upgrade)
decisions.command()(keep)
policies = typer.Typer(no_args_is_help=True, help="The strategy policy: how clients are served.")
app.add_typer(policies, name="policy")
policies.command("check")(check_policy)
policies.command("compare")(compare_policies)
keys = typer.Typer(no_args_is_help=True, help="Keys of channels.")
app.add_typer(keys, name="keys")
keys.command("add")(add_key)
keys.command("remove")(remove_key)
keys.command("list")(list_keys)


def main() -> None:
    """Runs the command; what a user can put right is told in a sentence, not in a traceback."""
    warnings.showwarning = lambda message, *_, **__: errors.print(
        f"[yellow]Note:[/] {escape(str(message))}", highlight=False, soft_wrap=True
    )
    try:
        app()
    except KeyboardInterrupt:
        errors.print("Stopped.")
        sys.exit(130)
    except Exception as error:
        if not _is_told(error) or os.environ.get("SHEAF_TRACEBACK"):  # read here: the settings may be what is wrong
            raise
        errors.print(f"[red]Error:[/] {escape(_in_words(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


def _is_told(error: Exception) -> bool:
    """Errors of ours, whose messages say what to do; anything else is a fault of Sheaf and shows where."""
    import duckdb

    of_tables = duckdb.IOException | duckdb.ConversionException | duckdb.InvalidInputException
    others = {"RegistryError", "LightGBMError", "MlflowException"}  # by name: their libraries take seconds to import
    return isinstance(error, ValueError | OSError | MissingExtraError | of_tables) or type(error).__name__ in others


def _in_words(error: Exception) -> str:
    import duckdb

    from sheaf.features.bank import one_line

    hint = "; sheaf check DIR says everything that is wrong with the tables"
    return f"{one_line(error)}{hint}" if isinstance(error, duckdb.Error) else str(error)
