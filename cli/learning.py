"""What a data scientist has learned: what clients open next, how they answer to prices, who leaves."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from sheaf.catalog import DEFAULT, Line, read_catalog
from sheaf.cli.shared import CatalogPath, DataFolder, Days, console, date_of, errors, keep_apart, open_bank, steps


def train(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Days = None,
    horizon_days: Annotated[
        int, typer.Option(help="Days after the as-of day in which openings count as labels.", min=1)
    ] = 31,
    cohorts: Annotated[
        Path | None, typer.Option(help="Parquet or CSV of client_id, as_of: the clients to train on, by day.")
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML with training parameters (see docs/guides/training.md).")
    ] = None,
) -> None:
    """Train, evaluate in order of time, log to MLflow and register; champion if it beats the present champion."""
    from sheaf.training.parameters import Parameters
    from sheaf.training.pipeline import train as run

    bank = open_bank(data)
    days = [day.date() for day in as_of or []]
    chosen = Parameters.read(parameters) if parameters else Parameters()
    with steps("Training") as step:
        trained = run(bank, read_catalog(catalog), days, horizon_days, _cohorts(cohorts), chosen, step)
    console.print(_figures(trained))
    how = "earlier days only, in order of time" if trained.in_order_of_time else "other clients of the same day"
    console.print(
        f"{trained.backtest.clients:,} clients never seen, on the last day, by a model of {how}; "
        "who opened: those of them who opened something there.",
        highlight=False,
    )
    if trained.better_by is not None:
        console.print(
            f"NDCG@5 of this model {trained.release_deciding:.4f}, of the champion {trained.champion_deciding:.4f}; "
            f"difference between {trained.better_by[0]:+.4f} and {trained.better_by[1]:+.4f}.",
            highlight=False,
        )
    console.print(
        f"Registered as version {trained.version}, alias [bold]{trained.alias}[/]. {escape(trained.why)}".rstrip(),
        highlight=False,
    )


def tune(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Annotated[
        list[dt.datetime] | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="As-of day, repeatable. Default: as for `sheaf train`."),
    ] = None,
    horizon_days: Annotated[
        int, typer.Option(help="Days after the as-of day in which openings count as labels.", min=1)
    ] = 31,
    cohorts: Annotated[Path | None, typer.Option(help="Parquet or CSV of client_id, as_of, as for training.")] = None,
    parameters: Annotated[Path | None, typer.Option(help="YAML of the parameters to start from.")] = None,
    space: Annotated[
        Path | None, typer.Option(help="YAML of the search space. Default: training/tuning/space.yaml.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials in the study. Default: 50.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Start no trial after this many minutes.", min=0.0)] = None,
    folds: Annotated[int, typer.Option(help="Number of parts, of five, to evaluate on.", min=1, max=4)] = 2,
    figure: Annotated[str, typer.Option(help="Figure to optimise, such as map_at_7.")] = "ndcg_at_5",
    all_days: Annotated[bool, typer.Option(help="Also train on other clients of the last day.")] = False,
    study: Annotated[str | None, typer.Option(help="Name of the study. Default: derived from the input.")] = None,
    out: Annotated[Path, typer.Option(help="YAML file for the best parameters, for `sheaf train`.")] = Path(
        "tuned.yaml"
    ),
) -> None:
    """Search for better training parameters; after an interruption, the same command continues."""
    from sheaf.training.parameters import Parameters
    from sheaf.training.tuning.space import DEFAULT as EVERYTHING
    from sheaf.training.tuning.space import Space
    from sheaf.training.tuning.tune import tune as run

    keep_apart({"--out": out}, {"--parameters": parameters, "--space": space, "--cohorts": cohorts}, data)
    start = Parameters.read(parameters) if parameters else Parameters()
    entries = Space.read(space or EVERYTHING)
    days = [day.date() for day in as_of or []]
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("Tuning", total=1.0)
        tuned = run(
            open_bank(data), read_catalog(catalog), entries, out, days, horizon_days, _cohorts(cohorts), start,
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
    from sheaf.training.tuning.space import present

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
    following = f"{out} has the best of the search." if high < 0 else f"Next: sheaf train … --parameters {out}"
    console.print(following, highlight=False)


def _cohorts(path: Path | None) -> Any:
    if path is None:
        return None
    import pyarrow.parquet as pq
    from pyarrow import csv

    if not path.is_file():
        raise ValueError(f"--cohorts {path}: no such file; it is Parquet or CSV with the columns client_id, as_of")
    if path.suffix == ".csv":
        as_text = csv.ConvertOptions(column_types={"client_id": "string"})
        return _dated(path, csv.read_csv(path, convert_options=as_text))
    return _dated(path, pq.read_table(path))


def _dated(path: Path, cohorts: Any) -> Any:
    """ValueError for an as_of that is no day; a missing column is the table's own matter."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "as_of" not in cohorts.column_names or not pa.types.is_string(cohorts["as_of"].type):
        return cohorts
    days = pc.strptime(
        pc.utf8_slice_codeunits(cohorts["as_of"], 0, 10), format="%Y-%m-%d", unit="s", error_is_null=True
    )
    wrong = pc.index(pc.and_(pc.is_null(days), pc.is_valid(cohorts["as_of"])), True).as_py()
    if wrong >= 0:
        raise ValueError(
            f"--cohorts {path}: row {wrong + 1}: as_of {cohorts['as_of'][wrong].as_py()!r} is no day; write YYYY-MM-DD"
        )
    return cohorts


def _figures(trained: Any) -> Table:
    table = Table(title="Backtest")
    table.add_column("", no_wrap=True)
    for name in ("who opened", "bundles NDCG@5", "products MAP@7", "products NDCG@5", "products recall@5",
                 "calibr. error"):  # fmt: skip
        table.add_column(name, justify="right")
    found = trained.backtest.figures
    groups = [""]
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
        group = "" if not segment else "clients" if "kind" in segment else "line"
        if group not in groups:
            groups.append(group)
            table.add_section()
            table.add_row(f"[bold]{group}[/]")
        label = segment.lstrip(".").replace("kind_", "") or "all"
        opened = len(trained.backtest.per_client[f"product_map_at_7{segment}"])
        table.add_row(label, f"{opened:,}", *("–" if value != value else f"{value:.4f}" for value in told))
    return table


def price_response(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Annotated[
        dt.datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="Use offers answered by this day. Default: the last day."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML with training parameters (see docs/guides/training.md).")
    ] = None,
) -> None:
    """Learn from the bank's own offers how acceptance depends on price, for quotes and rankings by value.

    Table offers holds the concession and the outcome of each offer. The result is registered in MLflow. It is used
    from then on if it predicts later offers better than the policy's assumption, one rate for all, and the present
    champion.
    """
    from sheaf.pricing.price_table import need_pricing
    from sheaf.training import registry
    from sheaf.training.parameters import Parameters
    from sheaf.training.price_response.learning import fit_price_response
    from sheaf.training.registration import register_price_response

    sold = read_catalog(catalog)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    need_pricing(sold)
    present = registry.price_response()
    with steps("Learning") as step:
        found = fit_price_response(
            open_bank(data),
            sold,
            date_of(as_of),
            chosen,
            True,
            step,
            present.model if present else None,
        )
        step("registry")
        version, alias = register_price_response(found)
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
    console.print(
        f"Registered as version {version}, alias [bold]{alias}[/]. {escape(found.verdict.why)}".rstrip(),
        highlight=False,
    )


def attrition(
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Days = None,
    horizon_days: Annotated[int, typer.Option(help="Days after the as-of day in which leaving counts.", min=1)] = 31,
    parameters: Annotated[
        Path | None, typer.Option(help="YAML with training parameters: seed, threads, least_rows and negatives count.")
    ] = None,
) -> None:
    """Learn who is about to leave, calibrated, for `sheaf clients leaving`.

    A client has left by left_on of table clients, or when all its products are closed. The figures are for the last
    day, by a model of the earlier days. The registered model learns from all days; it becomes champion if it is better.
    """
    from sheaf.strategy.views.plans import attrition_lines
    from sheaf.training import registry
    from sheaf.training.attrition import fit_attrition
    from sheaf.training.parameters import Parameters
    from sheaf.training.registration import register_attrition

    present = registry.attrition()
    chosen = Parameters.read(parameters) if parameters else Parameters()
    with steps("Learning") as step:
        found = fit_attrition(
            open_bank(data), read_catalog(catalog), [day.date() for day in as_of or []], horizon_days, chosen, step,
            present.model if present else None,
        )  # fmt: skip
        step("registry")
        version, alias = register_attrition(found)
    for line in attrition_lines(found):
        console.print(line, highlight=False)
    console.print(
        f"Registered as version {version}, alias [bold]{alias}[/]. {escape(found.verdict.why)}".rstrip(),
        highlight=False,
    )
