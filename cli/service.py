"""The service: what it runs on, its log of decisions, and the keys of its callers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from sheaf._extras import needs_extra
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.shared import AccessFile, CatalogPath, Day, console, date_of, parquet_file, steps


def serve(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder with the bank's tables, to prepare first. Default: what was prepared before."
        ),
    ] = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 3000,
    workers: Annotated[int, typer.Option(help="Number of worker processes.", min=1)] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on; any other needs SHEAF_ACCESS.")] = "127.0.0.1",
    prepare_only: Annotated[
        bool, typer.Option(help="Prepare champion and profiles for `bentoml build`, and stop.")
    ] = False,
) -> None:
    """Answer over HTTP: POST /v1/recommend, /v1/quote, /v1/feedback and more, as /openapi.json describes."""
    from sheaf.features.conditions import Occurring
    from sheaf.serving.decisions import configured, upgrade
    from sheaf.serving.runtime.preparation import command, load, prepare

    with needs_extra("serve"):
        import bentoml  # noqa: F401

        from sheaf.serving.http.access import Gatekeeper
    starts = [] if prepare_only else command(port, workers, host)  # first: a port that is taken is soon told
    place = configured()
    if data is not None:
        with steps("Preparing") as step:
            prepare(data, read_catalog(catalog), date_of(as_of), step)
    loaded = load()  # what cannot be served is told before anything starts
    if data is None:
        occurring = Occurring(loaded.candidates.catalog)
        occurring.add(loaded.snapshot.profiles)
        occurring.tell()
    if prepare_only:
        console.print("Champion and profiles are laid out under mlruns/serving. Next: bentoml build")
        return
    upgrade(*place)
    who = "callers need a key or a token" if Gatekeeper.configured().guarded else "this machine only, nobody else"
    console.print(f"Starting on http://{host}:{port} ({who}). The API: /openapi.json")
    sys.stdout.flush()
    os.execv(starts[0], starts)  # in this very process, so that who stops it stops the service


def outcomes(
    out: Annotated[Path, typer.Option(help="Parquet file for table offers.", callback=parquet_file)],
    shown: Annotated[
        Literal["answered", "reported"],
        typer.Option(help="Which offers count: all in answers, or those that the channel reported on."),
    ] = "answered",
) -> None:
    """Turn the decision log into table offers: what was offered, at which price, and the outcome."""
    from sheaf.serving.decisions import configured
    from sheaf.serving.decisions.outcomes import Shown, write_outcomes

    written = write_outcomes(configured()[0], out, Shown(shown))
    console.print(f"{written:,} offers are in {out}. In the bank's folder, as offers.parquet, training reads them.")


def upgrade() -> None:
    """Create the decision log, or upgrade its schema; `sheaf serve` does so by itself."""
    from sheaf.serving.decisions import configured
    from sheaf.serving.decisions import upgrade as bring
    from sheaf.serving.decisions.database import shown as place

    url, seconds = configured()
    console.print(f"The decision log {place(url)} has schema {bring(url, seconds)}.", highlight=False)


def keep() -> None:
    """Fetch former models of logged decisions from the registry, so that the service can replay them."""
    from sheaf.serving.decisions import Writer, configured
    from sheaf.serving.engine.version_archive import keep_registered
    from sheaf.serving.runtime.preparation import place

    log = Writer(configured()[0], seconds=60.0)  # it may be long, and nobody waits for an answer
    kept, lost = keep_registered(log, place("earlier"))
    log.close()
    console.print(f"{len(kept)} versions that decisions rest on are in {place('earlier')}.", highlight=False)
    if lost:
        console.print(f"The registry does not have: {', '.join(sorted(lost))}.", highlight=False)


def _access_file(path: Path | None) -> Path:
    from sheaf.serving.settings import settings

    named = path or settings().access
    if named is None:
        raise ValueError("there is no file of keys: name one with --file, or in SHEAF_ACCESS")
    return named


def add_key(
    name: Annotated[str, typer.Argument(help="Name of the channel, such as mobile-app.")],
    scope: Annotated[
        list[str], typer.Option(help="A scope of the key: recommend, quote, feedback, audit. Repeatable.")
    ],
    rate: Annotated[str | None, typer.Option(help="Rate limit, such as 50/second;1000/minute.")] = None,
    authority: Annotated[
        str | None, typer.Option(help="Authority to grant concessions. Default: the smallest.")
    ] = None,
    file: AccessFile = None,
) -> None:
    """Create a key for a channel and show it once; the file keeps only its hash."""
    with needs_extra("serve"):
        from sheaf.serving.http.access import add_key as add

    secret = add(_access_file(file), name, scope, rate, authority)
    console.print(f"The key of {name}, to be sent in the header X-Api-Key; it is not shown again:")
    console.print(secret, highlight=False, soft_wrap=True)


def remove_key(
    number: Annotated[str, typer.Argument(metavar="ID", help="The key's id: its second part.")],
    file: AccessFile = None,
) -> None:
    """Remove a key. A running service refuses it within two seconds."""
    with needs_extra("serve"):
        from sheaf.serving.http.access import remove_key as remove

    console.print(f"The key {number} of {remove(_access_file(file), number)} is taken back.", highlight=False)


def list_keys(file: AccessFile = None) -> None:
    """List keys, with channel and scopes."""
    with needs_extra("serve"):
        from sheaf.serving.http.access import RATE, Access

    access = Access.read(_access_file(file))
    table = Table("id", "name", "scopes", "rate")
    for key in access.keys:
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), key.rate or access.rate or RATE)
    console.print(table)
