"""The `sheaf` command: one function a verb, each thin."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from catalog import DEFAULT, Line, read_catalog

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Ranks product bundles for every client of a bank, from the bank's own tables.

    The way from tables to offers:  check → train → rank, or recommend and serve.
    No bank at hand?  `sheaf simulate bank --clients 5000`  makes one;  `sheaf demo`  shows everything at once.
    """,
)
decisions = typer.Typer(no_args_is_help=True, help="The log of what the service answered, and why.")
app.add_typer(decisions, name="decisions")
policies = typer.Typer(no_args_is_help=True, help="The strategy policy: how clients are served.")
app.add_typer(policies, name="policy")
keys = typer.Typer(no_args_is_help=True, help="Keys of the channels that may ask the service.")
app.add_typer(keys, name="keys")
# Without emoji: ":100:" between a file and a message is a line's number, and no picture.
console = Console(width=None if sys.stdout.isatty() else 120, emoji=False)
errors = Console(stderr=True, emoji=False)

DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder with the bank's tables (Parquet, folders of it, or CSV).")
]
CatalogPath = Annotated[
    Path,
    typer.Option("--catalog", help="YAML file or folder: products, bundles, policy. Default: the catalog of Sheaf."),
]
AccessFile = Annotated[Path | None, typer.Option(help="Who may ask, as YAML. Default: the file SHEAF_ACCESS names.")]
AuthorityOption = Annotated[
    str | None,
    typer.Option(help="By value: who prices, of the catalog's authorities. Default: who may grant least."),
]
ObjectiveOption = Annotated[
    Literal["relevance", "value"],
    typer.Option(help="Order by what the client wants next, or by what that is worth to the bank."),
]
Days = Annotated[
    list[dt.datetime] | None,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="As-of day, repeatable. Default: the last days possible."),
]
Day = Annotated[dt.datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day, such as 2025-11-30.")]


PolicyFile = Annotated[Path | None, typer.Option("--policy", help="YAML of the strategy. Default: the one of Sheaf.")]
ProfilesFile = Annotated[
    Path | None, typer.Option("--profiles", help="Parquet file, as `sheaf profile --out` writes it.")
]
PreviousFile = Annotated[
    Path | None, typer.Option("--previous", help="Plans made before: clients near a threshold keep their tier.")
]
OffersFile = Annotated[
    Path | None, typer.Option("--offers", help="Offers, as `sheaf rank --objective value` writes them.")
]


def _parquet(out: Path | None) -> Path | None:
    if out is not None and out.suffix.lower() != ".parquet":
        raise typer.BadParameter(f"{out} would hold Parquet; end its name in .parquet")
    return out


def _table(out: Path | None) -> Path | None:
    if out is not None and out.suffix.lower() not in (".parquet", ".csv"):
        raise typer.BadParameter(f"{out} would hold Parquet or CSV; end its name in .parquet or .csv")
    return out


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
        if not _is_told(error) or os.environ.get("SHEAF_TRACEBACK"):
            raise
        errors.print(f"[red]Error:[/] {escape(_in_words(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


def _is_told(error: Exception) -> bool:
    """Errors of ours, whose messages say what to do; anything else is a fault of Sheaf and shows where."""
    import duckdb

    of_tables = duckdb.IOException | duckdb.ConversionException | duckdb.InvalidInputException
    others = {"RegistryError", "LightGBMError", "MlflowException"}  # by name: their libraries take seconds to import
    return isinstance(error, ValueError | OSError | of_tables) or type(error).__name__ in others


def _in_words(error: Exception) -> str:
    import duckdb

    hint = "; sheaf check DIR says everything that is wrong with the tables"
    return f"{error}{hint if isinstance(error, duckdb.Error) else ''}"


@contextmanager
def _steps(title: str) -> Iterator[Callable[[str], None]]:
    """A line that says which step is under way and for how long."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=errors) as progress:
        task = progress.add_task(title)
        yield lambda step: progress.update(task, description=f"{title}: {step}")


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; what is yielded is called with how much is done, and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _day(day: dt.datetime | None) -> dt.date | None:
    return None if day is None else day.date()


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="New folder for the bank's tables.")],
    clients: Annotated[int, typer.Option(help="How many clients.", min=1)] = 5_000,
    months: Annotated[int, typer.Option(help="How many months, up to December 2025.", min=3)] = 24,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bank, byte for byte.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace a bank that is already there.")] = False,
    offers: Annotated[bool, typer.Option("--offers", help="The bank also makes offers at prices.")] = False,
    attrition: Annotated[
        bool, typer.Option("--attrition", help="More clients leave, for reasons that the tables tell before.")
    ] = False,
) -> None:
    """Make a bank with a known truth: clients, holdings, positions, transactions, links; and offers if asked for."""
    from simulation import simulate as make

    with _bar("Simulating") as done:
        make(folder, clients, months, seed, offers=offers, attrition=attrition, overwrite=overwrite, progress=done)
    console.print(f"A bank of {clients:,} clients over {months} months lies in {folder}. Next: sheaf check {folder}")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with the bank's tables.")],
    catalog: CatalogPath = DEFAULT,
) -> None:
    """Say everything that is wrong with a bank's tables at once; exit code 1 if anything is."""
    from features.check import check as find
    from features.check import render

    findings = find(folder, read_catalog(catalog))
    if findings:
        console.print(render(findings))
        raise typer.Exit(1)
    console.print(f"{folder}: all tables are as the contract says.")


@app.command()
def profile(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    out: Annotated[
        Path | None, typer.Option(help="A Parquet file, for people and notebooks.", callback=_parquet)
    ] = None,
    snapshot: Annotated[Path | None, typer.Option(help="A folder, memory-mapped by the service.")] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="For the service, which takes them up while it runs; its catalog, its model."),
    ] = False,
) -> None:
    """Build client profiles as of a day; by default the bank's last day."""
    if serve:
        _refresh(data, catalog, _day(as_of), out, snapshot)
        return
    from features import Bank, profile_matrices, profile_tables, write_parquet
    from features.snapshot import Snapshot
    from training.sample import last_day

    if out is None and snapshot is None:
        raise ValueError("say where the profiles shall go: --out FILE.parquet, --snapshot FOLDER, or both; or --serve")
    _keep_apart({"--out": out}, data=data)
    bank, sold = Bank.open(data), read_catalog(catalog)
    day = _day(as_of) or last_day(bank)
    with _steps(f"Profiles as of {day}") as step:
        if out is not None:
            step(str(out))
            write_parquet(out, profile_tables(bank, sold, day))
        if snapshot is not None:
            Snapshot.write(
                snapshot,
                profile_matrices(bank, sold, day),
                day,
                lambda done: step(f"{done:,} clients"),
            )
    console.print(f"Profiles as of {day} are in {' and '.join(str(place) for place in (out, snapshot) if place)}.")


def _refresh(data: Path, catalog: Path, day: dt.date | None, *elsewhere: Path | None) -> None:
    from serving.preparing import load, refresh

    if catalog != DEFAULT or any(elsewhere):
        raise ValueError(
            "--serve goes with --data and --as-of only: the service has its catalog and its places; for a new catalog "
            "or champion: sheaf serve --data DIR --catalog CATALOG --prepare-only"
        )
    with _steps("Profiles for the service") as step:
        found = refresh(data, day, step)
    load()  # what cannot be served is told here, not only on the service's log
    console.print(f"Profiles as of {found} are laid out; a service that runs takes them up within three seconds.")


@app.command()
def train(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Days = None,
    horizon_days: Annotated[int, typer.Option(help="A label is what was opened within so many days.", min=1)] = 31,
    cohorts: Annotated[
        Path | None, typer.Option(help="Parquet or CSV of client_id, as_of: who to train on, and when.")
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML with training parameters (see docs/training.md).")
    ] = None,
) -> None:
    """Train, evaluate in order of time, log to MLflow and register: champion if it beats the present one."""
    from features import Bank
    from training.parameters import Parameters
    from training.train import train as run

    bank = Bank.open(data)
    days = [day.date() for day in as_of or []]
    chosen = Parameters.read(parameters) if parameters else Parameters()
    with _steps("Training") as step:
        trained = run(bank, read_catalog(catalog), days, horizon_days, _cohorts(cohorts), chosen, step)
    console.print(_figures(trained))
    how = "earlier days only, in order of time" if trained.in_order_of_time else "other clients of the same day"
    console.print(f"Clients never seen, on the last day, by a model of {how}.", highlight=False)
    if trained.better_by is not None:
        console.print(
            f"NDCG@5 of this model {trained.release_deciding:.4f}, of the champion {trained.champion_deciding:.4f}; "
            f"difference between {trained.better_by[0]:+.4f} and {trained.better_by[1]:+.4f}.",
            highlight=False,
        )
    console.print(f"Registered as version {trained.version}, alias [bold]{trained.alias}[/].", highlight=False)


@app.command()
def tune(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Annotated[
        list[dt.datetime] | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="As-of day, repeatable. Default: as for `sheaf train`."),
    ] = None,
    horizon_days: Annotated[int, typer.Option(help="A label is what was opened within so many days.", min=1)] = 31,
    cohorts: Annotated[Path | None, typer.Option(help="Parquet or CSV of client_id, as_of, as for training.")] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML to start from: what the space does not name stays as it is there.")
    ] = None,
    space: Annotated[Path | None, typer.Option(help="YAML of where to look. Default: training/space.yaml.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the study in all. Default: 50.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="No trial starts after so many minutes.", min=0.0)] = None,
    folds: Annotated[int, typer.Option(help="Of five parts of the clients, on how many to measure.", min=1, max=4)] = 2,
    figure: Annotated[str, typer.Option(help="What shall be best, such as map_at_7.")] = "ndcg_at_5",
    all_days: Annotated[bool, typer.Option(help="Learn from other clients of the last day as well.")] = False,
    study: Annotated[str | None, typer.Option(help="Name of the study. Default: it stands for the input.")] = None,
    out: Annotated[Path, typer.Option(help="Where the best parameters go, for `sheaf train`.")] = Path("tuned.yaml"),
) -> None:
    """Search for better training parameters; stopped or killed, the same command goes on where it was."""
    from features import Bank
    from training.parameters import Parameters
    from training.space import DEFAULT as EVERYTHING
    from training.space import Space
    from training.tune import tune as run

    start = Parameters.read(parameters) if parameters else Parameters()
    entries = Space.read(space or EVERYTHING)
    days = [day.date() for day in as_of or []]
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("Tuning", total=1.0)
        tuned = run(
            Bank.open(data), read_catalog(catalog), entries, out, days, horizon_days, _cohorts(cohorts), start,
            trials, minutes, folds, figure, all_days, study,
            lambda step, share: bar.update(task, description=f"Tuning: {step}", completed=share),
            lambda line: bar.console.print(escape(line), highlight=False, soft_wrap=True),
        )  # fmt: skip
        bar.update(task, description="Tuning", completed=1.0)
    _tell_tuned(tuned, figure, start, out)


def _tell_tuned(tuned: Any, figure: str, start: Any, out: Path) -> None:
    found = tuned.found
    counts = ", ".join(f"{count} {how}" for how, count in found.counts.items() if count)
    console.print(f"Study {tuned.study}: {counts or 'no trial yet'}.", highlight=False)
    if not found.values:
        told = f"({figure} {found.present:.4f}); {out} has them."
        console.print(f"No trial was better than the present parameters {told}", highlight=False)
        return
    from training.space import present

    table = Table(title=f"{figure} {found.best:.4f}, with the present parameters {found.present:.4f}")
    table.add_column("")
    table.add_column("present", justify="right")
    table.add_column("best", justify="right")
    for key, value in found.values.items():
        table.add_row(key, *("–" if of is None else f"{of:.4g}" if isinstance(of, float) else str(of)
                             for of in (present(start, key), value)))  # fmt: skip
    console.print(table)
    how = "earlier days only, in order of time" if tuned.in_order_of_time else "other clients, of the same day as well"
    console.print(f"Clients never seen, on the last day, by models of {how}.", highlight=False)
    check = found.check
    low, high = check.better_by
    verdict = "better" if low > 0 else "worse: keep the present ones" if high < 0 else "that may be luck"
    console.print(
        f"On {check.clients:,} clients who opened something and on whom no trial was measured: {check.present:.4f} at "
        f"present, {check.best:.4f} with the best; difference between {low:+.4f} and {high:+.4f}, {verdict}.",
        highlight=False,
    )
    console.print(f"Next: sheaf train … --parameters {out}", highlight=False)


def _cohorts(path: Path | None) -> Any:
    if path is None:
        return None
    import pyarrow.parquet as pq
    from pyarrow import csv

    if not path.is_file():
        raise ValueError(f"--cohorts {path}: no such file; it is Parquet or CSV with the columns client_id, as_of")
    if path.suffix == ".csv":
        as_text = csv.ConvertOptions(column_types={"client_id": "string"})
        return csv.read_csv(path, convert_options=as_text)
    return pq.read_table(path)


def _figures(trained: Any) -> Table:
    table = Table(title="Backtest")
    for name, side in (("", "left"), ("bundles NDCG@5", "right"), ("products MAP@7", "right"),
                       ("products NDCG@5", "right"), ("recall@5", "right"), ("calibration", "right")):  # fmt: skip
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    found = trained.backtest.figures
    segments = [
        "",
        *(f".{line}" for line in Line),
        *(f".kind_{kind}" for kind in ("retail", "corporate", "institution")),
    ]
    for segment in segments:
        if f"product_map_at_7{segment}" not in found:
            continue
        stems = (
            "ndcg_at_5",
            "product_map_at_7",
            "product_ndcg_at_5",
            "product_recall_at_5",
            "product_calibration_error",
        )
        told = [found.get(stem + segment, float("nan")) for stem in stems]
        label = segment.lstrip(".").replace("kind_", "clients: ") or "all"
        label = f"line: {label}" if segment and "kind" not in segment else label
        table.add_row(label, *("–" if value != value else f"{value:.4f}" for value in told))
    return table


@app.command("price-response")
def price_response(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Annotated[
        dt.datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="Offers answered by then count. Default: the last day."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML with training parameters (see docs/training.md).")
    ] = None,
) -> None:
    """Learn from the bank's own offers how clients answer to a price; quotes and rankings by value then go by it.

    Table offers says at which concession each was made and what became of it. What is learned is registered in MLflow,
    and is used from then on if it tells later offers better than the policy's assumption, one share for all, and the
    response that is used now.
    """
    from features import Bank
    from training import registry
    from training.parameters import Parameters
    from training.price_response import learn, register

    present = registry.price_response()
    chosen = Parameters.read(parameters) if parameters else Parameters()
    with _steps("Learning") as step:
        found = learn(
            Bank.open(data), read_catalog(catalog), _day(as_of), chosen, True, step, present.model if present else None
        )
        step("registry")
        version, alias = register(found)
    table = Table(title="Log loss on later offers to other clients")
    table.add_column("response")
    table.add_column("log loss", justify="right")
    for name, loss in sorted(found.losses.items(), key=lambda of: of[1]):
        table.add_row(name, f"{loss:.4f}")
    console.print(table)
    low, high = found.slope_between
    console.print(f"The response is {found.response.told}.", highlight=False)
    console.print(
        f"A concession of a tenth of the list price adds {found.slope / 10:.2f} ({low / 10:.2f} to {high / 10:.2f}) to "
        "the log-odds of acceptance.",
        highlight=False,
    )
    console.print(f"Registered as version {version}, alias [bold]{alias}[/].", highlight=False)


@app.command()
def attrition(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Days = None,
    horizon_days: Annotated[int, typer.Option(help="Who left within so many days counts.", min=1)] = 31,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML with training parameters: seed, threads, least_rows and negatives count.")
    ] = None,
) -> None:
    """Learn who is about to leave, calibrated, for `sheaf clients leaving`.

    Told by left_on of table clients, and by closed_on of all that a client held. The last day is for the figures of a
    model of the earlier ones. What is registered in MLflow learns from all, and answers if it is better than what did.
    """
    from features import Bank
    from strategy.showing import attrition_lines
    from training import registry
    from training.attrition import learn, register
    from training.parameters import Parameters

    present = registry.attrition()
    chosen = Parameters.read(parameters) if parameters else Parameters()
    with _steps("Learning") as step:
        found = learn(
            Bank.open(data), read_catalog(catalog), [day.date() for day in as_of or []], horizon_days, chosen, step,
            present.model if present else None,
        )  # fmt: skip
        step("registry")
        version, alias = register(found)
    for line in attrition_lines(found):
        console.print(line, highlight=False)
    console.print(f"Registered as version {version}, alias [bold]{alias}[/].", highlight=False)


@app.command()
def rank(
    data: DataFolder,
    as_of: Annotated[dt.datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day, such as 2025-11-30.")],
    out: Annotated[
        Path, typer.Option(help="Parquet file: client_id, rank, bundle_id, score, probability.", callback=_parquet)
    ],
    catalog: CatalogPath = DEFAULT,
    top: Annotated[int | None, typer.Option(help="The best so many a client. Default: every candidate.", min=1)] = None,
    objective: ObjectiveOption = "relevance",
    authority: AuthorityOption = None,
) -> None:
    """Rank every candidate bundle for every client of a day with the champion.

    By value the file holds the concession, the acceptance with it and the EVA of each bundle as well, and the score is
    acceptance times EVA: docs/pricing.md.
    """
    from features import Bank
    from training.by_value import Aim
    from training.registry import need_champion, price_response
    from training.scoring import rank as run

    _keep_apart({"--out": out}, data=data)
    champion = need_champion()
    learned = price_response(as_of.date(), champion.model) if objective == "value" else None
    with _steps(f"Ranking with version {champion.version}") as step:
        clients, rows = run(
            champion.model, Bank.open(data), read_catalog(catalog), as_of.date(), out, top,
            lambda done: step(f"{done:,} clients"), aim=Aim(objective), authority=authority,
            learned=learned.model if learned else None,
        )  # fmt: skip
    console.print(f"{rows:,} rows for {clients:,} clients as of {as_of.date()} are in {out}.")


@app.command()
def discover(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="YAML file for the proposals, outside the catalog.")],
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    top: Annotated[int, typer.Option(help="The best so many bundles, and as many linked offers.", min=1)] = 20,
    least_support: Annotated[
        float, typer.Option(help="Share of the clients of a kind who must have a set of products.")
    ] = 0.001,
    least_lift: Annotated[
        float, typer.Option(help="What the lower end of the lift's interval must pass; 1 is mere popularity.")
    ] = 1.2,
    window_days: Annotated[int, typer.Option(help="Opened within so many days is opened together.")] = 61,
    look_back_days: Annotated[int, typer.Option(help="How far back openings count.")] = 730,
    most_products: Annotated[int, typer.Option(help="Products of a proposal, at most.")] = 4,
) -> None:
    """Propose new bundles from what clients hold and open together; a person decides on them.

    Looks at products of one client, and of clients tied by links (staff and employer, firm and owner). What the
    popularity of the parts within segments of clients explains is dropped, and so is what the catalog has. For each
    proposal: how many have it, the lift and its interval, whom it would reach, and what that is worth at most.

    The catalog is not touched. To approve a bundle, move its entry from FILE into the catalog: docs/discovery.md.
    """
    from features import Bank
    from training.discovery import Settings, outside, tables, write_proposal
    from training.discovery import discover as search

    settings = Settings(least_support, least_lift, window_days, look_back_days, most_products)
    sold, place = read_catalog(catalog), outside(out, catalog)
    with _steps("Discovering") as step:
        found = search(Bank.open(data), sold, _day(as_of), settings, step)
    shown = found.top(top)
    write_proposal(shown, sold, place)
    for table in tables(shown, sold):
        console.print(table)
    console.print(
        f"{len(shown.bundles)} of {len(found.bundles)} bundles and {len(shown.linked)} of {len(found.linked)} linked "
        f"offers, of {found.trials:,} sets tried among {found.clients:,} clients on {found.as_of}, are in {out}. "
        "The catalog is as it was.",
        highlight=False,
    )


@app.command()
def recommend(
    client: Annotated[str, typer.Argument(help="The client's id.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Bank to profile the client from. Default: the profiles the service has."),
    ] = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    top: Annotated[int, typer.Option(help="How many offers.", min=1)] = 5,
    objective: ObjectiveOption = "relevance",
    authority: AuthorityOption = None,
) -> None:
    """Show the best bundles for one client, with the reasons, before you call."""
    from serving import UnknownClientError
    from serving.preparing import load, profile_one
    from training.by_value import Aim

    try:
        if data is None:
            answer = load(authority).recommend(client, top, objective=Aim(objective))
        else:
            with _steps("Recommending") as step:
                found = profile_one(client, data, read_catalog(catalog), _day(as_of), step, authority)
                answer = found.recommend(client, top, objective=Aim(objective))
    except UnknownClientError as error:
        raise ValueError(str(error)) from error
    console.print(offers_table(asdict(answer), f"Client {client}"))


def offers_table(answer: dict[str, Any], title: str) -> Table:
    """An answer of the service as a table a banker can read."""
    span = f"within {answer['horizon_days']} days of {answer['profile_day']}"
    table = Table(title=f"{escape(title)}: what to offer next, {span}",
                  title_justify="left", caption_justify="left", show_lines=True)  # fmt: skip
    table.add_column("", justify="right")
    table.add_column("bundle", max_width=26)
    table.add_column("brings: will open within the horizon", max_width=34)
    table.add_column("whole", justify="right")
    table.add_column("because")
    for offer in answer["offers"]:
        brings = [f"{escape(part['name'])} {part['probability']:.1%}" for part in offer["products"] if not part["held"]]
        has = [escape(part["name"]) for part in offer["products"] if part["held"]]
        beside = [f"[dim]beside {', '.join(has)}[/]"] if has else []
        worth = offer.get("worth")
        if worth:
            has_price = (
                f"concession {worth['concession']:,.2f}, then {worth['acceptance']:.1%} accept; EVA {worth['eva']:,.0f}"
            )
            beside.append(f"[bold]worth {worth['value']:,.2f} {worth['currency']} a year[/]\n[dim]{has_price}[/]")
        if route := offer.get("route"):
            who = str(route["signs"] or "nobody").replace("_", " ")
            beside.append(f"[dim]{escape(who)} signs, {route['signature']}, {route['days']} d[/]")
        because = escape("\n".join(f"· {reason}" for reason in offer["reasons"]) or offer["why"])
        table.add_row(
            str(offer["rank"]), f"{escape(offer['name'])}\n[dim]{offer['line']}[/]", "\n".join(brings + beside),
            f"{offer['probability']:.1%}", because,
        )  # fmt: skip
    if not answer["offers"]:
        table.add_row("", "nothing: all that may be sold is held", "", "", "")
    table.caption = f"model {answer['model_version']} · catalog {answer['catalog_version']}"
    if plan := answer.get("plan"):
        visit = f", visit on {plan['next_visit']}" if plan["next_visit"] else ""
        served = f"{plan['tier']} client, priority {plan['priority']}, {plan['manager']} manager, by {plan['channel']}"
        table.caption += f"\n{escape(served + visit)}"
    return table


@app.command()
def quote(
    client: Annotated[str, typer.Argument(help="The client's id.")],
    bundle: Annotated[str, typer.Argument(help="The id of a bundle, or of a product that is had alone.")],
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    authority: Annotated[
        str | None, typer.Option(help="Who asks, of the catalog's authorities. Default: who may grant least.")
    ] = None,
    concession: Annotated[
        float | None, typer.Option(help="What the client saves a year. Default: what is best.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--with", help="A term other than the catalog's: mortgage.rate=0.035, hurdle=0.12. Repeatable."),
    ] = None,
    rating: Annotated[str | None, typer.Option(help="As if the client had this rating.")] = None,
    suitable_until: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day of a suitability profile, for the table's."),
    ] = None,
    curve: Annotated[Path | None, typer.Option(help="A picture of acceptance and expected EVA, such as q.png.")] = None,
) -> None:
    """Price a bundle for a client as one relationship: lines, RAROC, EVA, the best concession."""
    from dataclasses import replace

    from features import Bank, ProfileMatrix, profile_matrices
    from features.relationship import Relationships
    from pricing import quote as price
    from pricing import what_if as changed
    from pricing.showing import draw, shown
    from training import registry
    from training.price_response import pair_of
    from training.sample import last_day

    bank, sold = Bank.open(data), read_catalog(catalog)
    day = _day(as_of) or last_day(bank)
    relationships = Relationships.of(bank, sold, day, client)
    whom = relationships.client(client, sold)
    whom = replace(whom, rating=rating or whom.rating, suitable_until=_day(suitable_until) or whom.suitable_until)
    if what_if:
        sold = changed(sold, _terms(what_if), whom.rating)
    response, inputs, at_list = None, None, None
    champion = registry.champion()
    learned = registry.price_response(day, champion.model if champion else None)
    if champion is not None:
        profiles = champion.model.align(ProfileMatrix.join(list(profile_matrices(bank, sold, day, [client]))))
        pair = pair_of(champion.model, champion.model.candidates(sold), profiles.values, bundle)
        if pair is not None and learned is not None:
            response, inputs = learned.model.response, pair.inputs
        elif pair is not None and "acceptance" not in _terms(what_if or []):  # what is supposed goes before the model's
            at_list = pair.probability
    group = relationships.group(client, sold)
    quoted = price(sold, whom, bundle, day, authority, concession, response, inputs, at_list, group=group)
    console.print(shown(quoted), highlight=False)
    if curve is not None:
        draw(quoted, curve)
        console.print(f"The curve is in {curve}.", highlight=False)


def _terms(terms: list[str], option: str = "--with", such_as: str = "mortgage.rate=0.035") -> dict[str, str]:
    without = [term for term in terms if "=" not in term]
    if without:
        raise ValueError(f"{option} {without[0]}: has no value; write it as {such_as}")
    return {name.strip(): value.strip() for name, _, value in (term.partition("=") for term in terms)}


@app.command()
def plan(
    client: Annotated[str | None, typer.Argument(help="The client's id. Default: all, into --out.")] = None,
    bundle: Annotated[str | None, typer.Argument(help="Show how this bundle is approved for the client.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Bank to profile, in place of --profiles.")] = None,
    profiles: ProfilesFile = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    policy: PolicyFile = None,
    previous: PreviousFile = None,
    offers: OffersFile = None,
    concession: Annotated[float, typer.Option(help="Of the bundle: what the client saves a year.", min=0.0)] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Parquet file, a row a client.", callback=_parquet)] = None,
    routes: Annotated[
        Path | None, typer.Option(help="Parquet file of the offers' approval routes.", callback=_parquet)
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="For the service, which takes them up while it runs.")] = False,
    linked: Annotated[
        list[str] | None,
        typer.Option(help="Offer linked clients a bundle with it, such as staff=salary_package. Repeatable."),
    ] = None,
    desks: Annotated[
        Path | None, typer.Option(help="Parquet file of who sells the offers, and gains what.", callback=_parquet)
    ] = None,
) -> None:
    """Say how clients are served: tier, priority, channels, manager, visits; how bundles are approved, and who sells.

    For one client with the rule behind every outcome, and what would change it; for all, into a file that is the
    --previous of the next time.
    """
    from features import Bank, dictionary, profile_tables, write_parquet
    from strategy import Linker, Planner, Router
    from training.sample import last_day

    if (data is None) == (profiles is None):
        raise ValueError("say whose plans to make: --data FOLDER, or --profiles FILE with --as-of")
    if profiles is not None and as_of is None:
        raise ValueError("--profiles does not say as of which day it is; give it with --as-of")
    files = [place for place in (out, routes, desks) if place]
    if client is None and not files and not serve:
        raise ValueError("say whom to show: CLIENT, or where all plans shall go: --out FILE.parquet, or --serve")
    if client is not None and (files or serve):
        raise ValueError(
            "one client is shown, and all go into files: leave CLIENT out, or --out, --routes, --desks and --serve"
        )
    if concession and bundle is None:
        raise ValueError("--concession is one on a bundle: name it, CLIENT BUNDLE")
    if linked and (bundle is None or data is None):
        raise ValueError(
            "--linked goes with a client's bundle and the bank that its links are in: CLIENT BUNDLE --data"
        )
    if routes is not None and offers is None:
        raise ValueError("--routes wants the offers to approve: --offers FILE.parquet")
    if desks is not None and offers is None:
        raise ValueError("--desks wants the offers to sell: --offers FILE.parquet")
    _keep_apart(
        {"--out": out, "--routes": routes, "--desks": desks}, {"--profiles": profiles, "--offers": offers}, data
    )
    sold, bank = read_catalog(catalog), None if data is None else Bank.open(data)
    day = _day(as_of) or last_day(bank)  # type: ignore[arg-type]  # without a bank there is a day
    columns = {one.name: one.type for one in dictionary(bank, sold)} if bank else None
    chosen = _policy(policy, sold, profiles, columns)
    planner = Planner(chosen, day, previous, offers)

    def source(cohort: list[str] | None = None) -> Any:
        return profiles if bank is None else profile_tables(bank, sold, day, cohort)

    if client is not None:
        _show_plan(planner, sold, source([client]), client, bundle, concession)
        if linked and bundle and bank:
            _show_package(planner, sold, bank, client, bundle, _terms(linked, "--linked", "staff=salary_package"))
        return
    with _steps(f"Plans as of {day}") as step:
        if out is not None:
            step(str(out))
            write_parquet(out, planner.plans(source()))
        if routes is not None:
            step(str(routes))
            write_parquet(routes, Router(planner, sold).of_offers(source()))
        if desks is not None:
            step(str(desks))
            write_parquet(desks, Linker(chosen, sold).of_offers(Router(planner, sold), source()))
        if serve:
            from serving.preparing import lay_out_plans

            step("for the service")
            lay_out_plans(planner, source())
    places = " and ".join([*map(str, files), *(["the service"] if serve else [])])
    console.print(escape(f"By policy {chosen.name} {chosen.version}, as of {day}: {places}."), highlight=False)


def _keep_apart(
    written: dict[str, Path | None], read: dict[str, Path | None] | None = None, data: Path | None = None
) -> None:
    """ValueError where a file would be written over one that was given to be read, over a table of the bank in the
    folder `data`, or over another."""
    from features import TABLES

    places: dict[Path, str] = {path.resolve(): name for name, path in (read or {}).items() if path}
    for name, path in written.items():
        if path and data and path.stem in TABLES and path.resolve().parent == data.resolve():
            raise ValueError(f"{name} would be written over a table of the bank, {path}; give it another place")
        if path and (other := places.setdefault(path.resolve(), name)) != name:
            raise ValueError(f"{name} and {other} are the same file, {path}; give {name} another")


def _policy(path: Path | None, sold: Any, profiles: Path | None, columns: Any = None) -> Any:
    """The policy, checked against the catalog and the columns of the profiles, if there are any."""
    from strategy import DEFAULT as OURS
    from strategy import profile_columns, read_strategy

    return read_strategy(path or OURS, sold, profile_columns(profiles) if profiles else columns)


def _show_plan(planner: Any, sold: Any, source: Any, client: str, bundle: str | None, concession: float) -> None:
    from pricing import NoPriceSheetError
    from strategy import Linker, Router, explained, explained_room, explained_route
    from strategy.linking import quoted
    from strategy.showing import plan_table, room_table, route_table

    router, linker = Router(planner, sold) if bundle else None, Linker(planner.policy, sold)
    found = planner.one(client, source, [*router.keep, *linker.keep] if router else ())
    if router is None or bundle is None:
        console.print(plan_table(planner.policy, found.plan, explained(planner.policy, found.plan, found.last)))
        return
    route = router.one(found.table, bundle, concession)
    values = found.plan | route
    console.print(route_table(planner.policy, route, explained_route(planner.policy, values), sold.currency))
    room = linker.room(values)
    try:
        room = room.shared(quoted(router.book, values, planner.as_of).lines)
    except NoPriceSheetError as error:
        warnings.warn(str(error), stacklevel=2)
    console.print(room_table(planner.policy, room, explained_room(planner.policy, values, room), sold.currency))


def _show_package(planner: Any, sold: Any, bank: Any, client: str, bundle: str, wanted: dict[str, str]) -> None:
    import numpy as np
    import pyarrow as pa

    from features import C, ProfileMatrix, profile_matrices, profile_tables
    from features.links import tied
    from strategy import Linker, Router
    from strategy.packages import Members, Packager
    from strategy.showing import package_table, room_table
    from training import registry

    champion = registry.need_champion().model
    learned = registry.price_response(planner.as_of, champion)
    packager = Packager(champion, sold, None, learned.model if learned else None)
    members = Members.of(tied(bank, planner.as_of, client), wanted)
    if not members.client_ids:
        raise ValueError(f"client {client} has no {' and no '.join(wanted)} among the clients; leave --linked out")
    ids = [client, *members.client_ids]
    found = champion.align(ProfileMatrix.join(list(profile_matrices(bank, sold, planner.as_of, ids))))
    at = {name: row for row, name in enumerate(found.client_ids)}
    values = found.values[[at[name] for name in ids]]
    package = packager.package(values[:1], bundle, values[1:], members.relation, members.bundle)
    console.print(package_table(package, members, bundle, sold.currency))
    offered = np.concatenate([package.joint.open, package.after.open])
    if not package.joint.open.all():
        raise ValueError(f"{bundle} may not be offered to client {client}, or brings nothing; offer another")
    offers = pa.table({
        C.CLIENT: ids, C.BUNDLE: [bundle, *members.bundle],
        C.CONCESSION: np.concatenate([package.joint.concession, package.after.concession]),
    }).filter(pa.array(offered))  # fmt: skip
    router, linker = Router(planner, sold), Linker(planner.policy, sold)
    tables = profile_tables(bank, sold, planner.as_of, offers[C.CLIENT].to_pylist())
    plans = pa.concat_tables(planner.plans(tables, [*router.keep, *linker.keep]))
    console.print(room_table(planner.policy, linker.package(router, plans, offers), (), sold.currency))


@app.command()
def book(
    manager: Annotated[str, typer.Argument(help="The manager's id, of the table clients.")],
    data: DataFolder,
    offers: Annotated[Path, typer.Option(help="Offers, as `sheaf rank --objective value` writes them.")],
    plans: Annotated[
        Path | None, typer.Option(help="Plans, as `sheaf plan --out` writes them. Default: planned anew.")
    ] = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    policy: PolicyFile = None,
    out: Annotated[
        Path | None, typer.Option(help="The calls as a CSV or Parquet file as well.", callback=_table)
    ] = None,
) -> None:
    """Say whom an account manager calls, why, and with what: the best calls that fit a day.

    Ranked by probability × value at stake × urgency, within the contact policy; plans of an earlier day tell the visits
    that are due.
    """
    from features import Bank, profile_tables
    from strategy import Planner, book_of
    from strategy.book import OFFER, PLAN, clients_of, need_day, rows_of
    from strategy.showing import book_table
    from training.sample import last_day

    _keep_apart({"--out": out}, {"--offers": offers, "--plans": plans}, data)
    bank, sold = Bank.open(data), read_catalog(catalog)
    day = _day(as_of) or last_day(bank)
    chosen = _policy(policy, sold, None, _columns_of(bank, sold))
    asked, clients = need_day(chosen).asks, clients_of(bank, day, manager)
    offered = rows_of(offers, OFFER, clients, "offers by value, as `sheaf rank --objective value` writes them")
    with _steps(f"The book of {manager}"):
        if plans is None:
            made = Planner(chosen, day, offers=offers).plans(profile_tables(bank, sold, day, clients))
            planned = [row for part in made for row in part.to_pylist()]
        else:
            columns = [*sorted({*PLAN, *(asked & chosen.of_plans)}), "as_of"]
            planned = rows_of(plans, columns, clients, "plans, as `sheaf plan --out` writes them")
            if (made_on := max((row["as_of"] for row in planned), default=day)) > day:
                raise ValueError(f"{plans} has plans of {made_on}, which is after {day}; give those of an earlier day")
        found = book_of(chosen, sold, bank, day, manager, planned, offered)
    console.print(book_table(found, sold))
    if out is not None:
        _write_table(out, found.calls)
        console.print(escape(f"The calls are in {out}."), highlight=False)


@app.command()
def scorecard(
    data: DataFolder,
    month: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m"], help="The last month, such as 2025-12. Default: the bank's last whole one."),
    ] = None,
    manager: Annotated[str | None, typer.Option(help="Show this manager. Default: the scores of all.")] = None,
    branch: Annotated[str | None, typer.Option(help="Show this branch.")] = None,
    months: Annotated[int, typer.Option(help="So many months, up to the last.", min=1, max=60)] = 1,
    catalog: CatalogPath = DEFAULT,
    policy: PolicyFile = None,
    plan: Annotated[
        Path | None, typer.Option(help="CSV of plans: id (of a manager or branch), measure, plan, and month.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="What is shown as a CSV or Parquet file as well.", callback=_table)
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="A picture of it, such as card.png.")] = None,
) -> None:
    """Judge managers and branches, each by what the same clients would bring anybody, and by plan.

    Deposits, share of wallet, clients won, loans that do not perform, rates against list, foreign exchange, settlement,
    fees, offers: as the policy weighs them, each month as it was known at its end.
    """
    from features import Bank
    from strategy import judge
    from strategy.card_showing import card_table, draw_card, draw_scores, scores_table
    from strategy.scorecard import month_ends, need_card, read_plans

    if manager is not None and branch is not None:
        raise ValueError("a manager is shown, or a branch: leave out --manager or --branch")
    _keep_apart({"--out": out, "--picture": picture}, {"--plan": plan}, data)
    bank, sold = Bank.open(data), read_catalog(catalog)
    chosen = _policy(policy, sold, None)
    plans = read_plans(plan, need_card(chosen)) if plan else None
    ends = month_ends(_last_month(bank, month), months)
    with _steps("Judging"):
        found = judge(chosen, sold, bank, ends, plans)
    unit = ("manager", manager) if manager else ("branch", branch) if branch else None
    rows = found.of(*unit) if unit else found.rows
    console.print(card_table(found, rows, sold) if unit else scores_table(found))
    if out is not None:
        _write_table(out, rows)
    if picture is not None:
        draw_card(rows, picture) if unit else draw_scores(found, picture)
    if places := " and ".join(str(place) for place in (out, picture) if place):
        console.print(escape(f"By policy {chosen.name} {chosen.version}: {places}."), highlight=False)


def _last_month(bank: Any, month: dt.datetime | None) -> dt.date:
    """A day of the month asked for, or of the last that the bank knows as a whole."""
    from strategy.scorecard import known_until, month_ends

    last = known_until(bank)
    if month is None:
        return last if month_ends(last, 1) == [last] else last.replace(day=1) - dt.timedelta(days=1)
    if month.date() > last:
        raise ValueError(f"the bank is known until {last}; give a month up to then")
    return month.date()


def _write_table(out: Path, table: Any) -> None:
    from features import write_csv, write_parquet

    (write_parquet if out.suffix.lower() == ".parquet" else write_csv)(out, [table])


@app.command()
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
    least: Annotated[int, typer.Option(help="Clients of a group at least, for it to be judged.", min=10)] = 30,
    out: Annotated[Path | None, typer.Option(help="A CSV file of every comparison.")] = None,
) -> None:
    """Compare tiers, offers and prices over groups that they may not go by, and say what to look at.

    Each group against all other clients, as they are and among clients of the same worth, with 95 % intervals, on the
    day of the plans. Without --profiles the bank is profiled on that day.
    """
    from importlib.util import find_spec

    from features import Bank, profile_tables
    from strategy.fairness import audit as run
    from strategy.fairness import sentences
    from strategy.gathering import day_of, gathered, protected_of
    from strategy.showing import audit_table

    if find_spec("fairlearn") is None:
        raise ValueError("the audit needs fairlearn: pip install 'sheaf[audit]'")
    if out is not None and out.suffix.lower() != ".csv":
        raise typer.BadParameter(f"{out} would hold CSV; end its name in .csv")
    _keep_apart(
        {"--out": out}, {"--plans": plans, "--profiles": profiles, "--offers": offers, "--routes": routes}, data
    )
    sold, bank = read_catalog(catalog), Bank.open(data)
    attributes, day = protected_of(bank, sold, protected or []), day_of(plans)
    chosen = _policy(policy, sold, profiles, None if profiles else _columns_of(bank, sold))
    with _steps(f"Auditing plans of {day}") as step:
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

        pd.DataFrame(found.rows()).to_csv(out, index=False)
        console.print(escape(f"Every comparison is in {out}."), highlight=False)


def _columns_of(bank: Any, sold: Any) -> dict[str, Any]:
    """The columns of the profiles of a bank."""
    from features import dictionary

    return {one.name: one.type for one in dictionary(bank, sold)}


@app.command()
def clients(
    which: Annotated[
        Literal["win", "repair", "leaving"],
        typer.Argument(metavar="LIST", help="win, repair (or let go), or leaving."),
    ],
    profiles: Annotated[Path, typer.Option(help="Parquet file, as `sheaf profile --out` writes it.")],
    as_of: Annotated[dt.datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day of the profiles.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="For win: the bank, whose links and payments tell who is close.")
    ] = None,
    catalog: CatalogPath = DEFAULT,
    policy: PolicyFile = None,
    previous: PreviousFile = None,
    offers: OffersFile = None,
    last: Annotated[
        Path | None, typer.Option(help="For repair: the list of last time, which tells since when, and what was due.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet or CSV file, a row a client.", callback=_table)] = None,
    top: Annotated[int, typer.Option(help="How many to show.", min=0)] = 10,
) -> None:
    """List clients to act on, by the policy: firms to win, clients to repair or let go, clients about to leave.

    Each with the rule that put it there, the values it looked at, and what would change it.
    """
    from features import Bank
    from strategy import Lister, Planner
    from strategy.showing import list_rows, list_table
    from training.registry import need_attrition

    if (which == "win") != (data is not None):
        raise ValueError("win wants --data, whose links and payments tell who is close to whom; the other lists do not")
    if last is not None and which != "repair":
        raise ValueError("--last is the repair list of last time; leave it out")
    read = {"--profiles": profiles, "--previous": previous, "--offers": offers, "--last": last}
    _keep_apart({"--out": out}, read, data)
    sold, day = read_catalog(catalog), as_of.date()
    lister = Lister(Planner(_policy(policy, sold, profiles), day, previous, offers), profiles)
    with _steps(f"List as of {day}"):
        if data is not None:
            found = lister.win(Bank.open(data))
        elif which == "repair":
            found = lister.repair(last)
        else:
            found = lister.leaving(need_attrition(day).model)
    console.print(list_table(which, found, lister.planner.policy, top))
    if out is None:
        return
    table = list_rows(which, found)
    _write_table(out, table)
    console.print(f"{len(table):,} rows are in {out}.", highlight=False)


@policies.command("check")
def check_policy(
    file: Annotated[Path, typer.Argument(help="YAML of the strategy.")],
    catalog: CatalogPath = DEFAULT,
    profiles: ProfilesFile = None,
) -> None:
    """Say everything that is wrong with a policy, by file and line; exit code 1 if anything is.

    With --profiles its columns count, and the texts in them: sectors that no client is of, or that no list has.
    """
    from strategy import StrategyError, profile_columns, profile_texts, read_strategy

    sold = read_catalog(catalog)
    try:
        columns, texts = (profile_columns(profiles), profile_texts(profiles)) if profiles else (None, None)
        found = read_strategy(file, sold, columns, texts)
    except StrategyError as error:
        console.print(escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(escape(f"{file}: {found.name}, version {found.version}, is as it should be."), highlight=False)


@policies.command("compare")
def compare_policies(
    one: Annotated[Path, typer.Argument(help="YAML of the strategy as it is.")],
    other: Annotated[Path, typer.Argument(help="YAML of the strategy as it may become.")],
    profiles: Annotated[Path, typer.Option(help="Parquet file, as `sheaf profile --out` writes it.")],
    as_of: Annotated[dt.datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day of the profiles.")],
    catalog: CatalogPath = DEFAULT,
    previous: PreviousFile = None,
    offers: OffersFile = None,
) -> None:
    """Show what a change of policy would do to the whole book: tiers, EVA and capital, managers, and offers' routes."""
    from strategy import compare
    from strategy.showing import comparison_tables

    sold = read_catalog(catalog)
    both = (_policy(one, sold, profiles), _policy(other, sold, profiles))
    with _steps("Comparing"):
        found = compare(both, sold, profiles, as_of.date(), previous, offers)
    for table in comparison_tables(found, (both[0].name, both[1].name)):
        console.print(table)


@app.command()
def serve(
    data: Annotated[
        Path | None, typer.Option("--data", help="Bank to profile first. Default: profiles made before.")
    ] = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 3000,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this needs SHEAF_ACCESS.")
    ] = "127.0.0.1",
    prepare_only: Annotated[
        bool, typer.Option(help="Lay out champion and profiles for `bentoml build`, and stop.")
    ] = False,
) -> None:
    """Answer over HTTP: POST /v1/recommend, /v1/quote, /v1/feedback and more, as /openapi.json describes."""
    from serving.access import Gatekeeper
    from serving.decisions import configured, upgrade
    from serving.preparing import command, load, prepare

    starts = [] if prepare_only else command(port, workers, host)  # first: a port that is taken is soon told
    place = configured()
    if data is not None:
        with _steps("Preparing") as step:
            prepare(data, read_catalog(catalog), _day(as_of), step)
    load()  # what cannot be served is told before anything starts
    if prepare_only:
        console.print("Champion and profiles are laid out under mlruns/serving. Next: bentoml build")
        return
    upgrade(*place)
    who = "callers need a key or a token" if Gatekeeper.configured().guarded else "this machine only, nobody else"
    console.print(f"Starting on http://{host}:{port} ({who}). The API: /openapi.json")
    sys.stdout.flush()
    os.execv(starts[0], starts)  # in this very process, so that who stops it stops the service


@app.command()
def outcomes(
    out: Annotated[Path, typer.Option(help="A Parquet file: the table offers of a bank.", callback=_parquet)],
    shown: Annotated[
        Literal["answered", "reported"],
        typer.Option(help="What was offered: all that an answer had, or what its channel reported on."),
    ] = "answered",
) -> None:
    """Turn the decision log into the table offers: what was offered, at which price, and what became of it."""
    from serving.decisions import configured
    from serving.outcomes import Shown, write_outcomes

    written = write_outcomes(configured()[0], out, Shown(shown))
    console.print(f"{written:,} offers are in {out}. In the bank's folder, as offers.parquet, training reads them.")


@decisions.command()
def upgrade() -> None:
    """Make the decision log, or bring its tables up to date; `sheaf serve` does so by itself."""
    from serving.decisions import configured
    from serving.decisions import upgrade as bring
    from serving.decisions.database import shown as place

    url, seconds = configured()
    console.print(f"The decision log {place(url)} has schema {bring(url, seconds)}.", highlight=False)


@decisions.command("keep")
def keep() -> None:
    """Take from the registry the earlier models that decisions rest on, so that the service can replay those."""
    from serving.decisions import Writer, configured
    from serving.earlier import keep_registered
    from serving.preparing import place

    log = Writer(configured()[0], seconds=60.0)  # it may be long, and nobody waits for an answer
    kept, lost = keep_registered(log, place("earlier"))
    log.close()
    console.print(f"{len(kept)} versions that decisions rest on are in {place('earlier')}.", highlight=False)
    if lost:
        console.print(f"The registry does not have: {', '.join(sorted(lost))}.", highlight=False)


def _access_file(path: Path | None) -> Path:
    named = path or (Path(found) if (found := os.environ.get("SHEAF_ACCESS")) else None)
    if named is None:
        raise ValueError("there is no file of keys: name one with --file, or in SHEAF_ACCESS")
    return named


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, such as mobile-app.")],
    scope: Annotated[list[str], typer.Option(help="What it may do: recommend, quote, feedback, audit. Repeatable.")],
    rate: Annotated[str | None, typer.Option(help="How often it may ask, such as 50/second;1000/minute.")] = None,
    file: AccessFile = None,
) -> None:
    """Make a key for a channel and show it, once: the file keeps its hash only. A running service soon takes it."""
    from serving.access import add_key as add

    secret = add(_access_file(file), name, scope, rate)
    console.print(f"The key of {name}, to be sent in the header X-Api-Key; it is not shown again:")
    console.print(secret, highlight=False, soft_wrap=True)


@keys.command("remove")
def remove_key(
    number: Annotated[str, typer.Argument(metavar="ID", help="The key's id, the second part of the key.")],
    file: AccessFile = None,
) -> None:
    """Take a key back. A service that runs refuses it within two seconds."""
    from serving.access import remove_key as remove

    console.print(f"The key {number} of {remove(_access_file(file), number)} is taken back.", highlight=False)


@keys.command("list")
def list_keys(file: AccessFile = None) -> None:
    """Show whose keys there are, and what they may do."""
    from serving.access import RATE, Access

    access = Access.read(_access_file(file))
    table = Table("id", "name", "scopes", "rate")
    for key in access.keys:
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), key.rate or access.rate or RATE)
    console.print(table)


@app.command()
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

    with _steps("Preparing the service") as step:
        prepare(folder, read_catalog(DEFAULT), None, step)
    with _steps("Starting the service") as step:
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


if __name__ == "__main__":
    main()
