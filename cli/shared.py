"""What the commands share: options, the consoles, progress, and files that are kept apart."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment

from sheaf.catalog.escaping import without_control


class PlainConsole(Console):
    """Shows texts of the bank's tables without the control characters in them, which a terminal would obey."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_control(segment.text), segment.style)


if TYPE_CHECKING:
    from sheaf.features import Bank

# Without emoji: ":100:" between a file and a message is a line's number, and no picture.
console = PlainConsole(width=None if sys.stdout.isatty() else 120, emoji=False)
errors = PlainConsole(stderr=True, emoji=False)

DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder with the bank's tables (Parquet, folders of it, or CSV).")
]
CatalogPath = Annotated[
    Path,
    typer.Option("--catalog", help="YAML file or folder of the catalog. Default: the catalog of Sheaf."),
]
AccessFile = Annotated[
    Path | None, typer.Option(help="YAML file of access. Default: the file that SHEAF_ACCESS names.")
]
AuthorityOption = Annotated[
    str | None,
    typer.Option(help="For prices: one of the catalog's authorities. Default: the smallest."),
]
ObjectiveOption = Annotated[
    Literal["relevance", "value"],
    typer.Option(help="Order by what the client wants next, or by its value to the bank."),
]
Days = Annotated[
    list[dt.datetime] | None,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="As-of day, repeatable. Default: the last days possible."),
]
Day = Annotated[dt.datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day, such as 2025-11-30.")]


PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="YAML of the strategy policy. Default: the one of Sheaf.")
]
ProfilesFile = Annotated[
    Path | None, typer.Option("--profiles", help="Parquet file, as `sheaf profile --out` writes it.")
]
PreviousFile = Annotated[
    Path | None, typer.Option("--previous", help="Previous plans: clients near a threshold keep their tier.")
]
OffersFile = Annotated[
    Path | None, typer.Option("--offers", help="Offers, as `sheaf rank --objective value` writes them.")
]


def parquet_file(out: Path | None) -> Path | None:
    if out is not None and out.suffix.lower() != ".parquet":
        raise typer.BadParameter(f"{out} would hold Parquet; end its name in .parquet")
    return out


def table_file(out: Path | None) -> Path | None:
    if out is not None and out.suffix.lower() not in (".parquet", ".csv"):
        raise typer.BadParameter(f"{out} would hold Parquet or CSV; end its name in .parquet or .csv")
    return out


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """A line that says which step is under way and for how long."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=errors) as progress:
        task = progress.add_task(title)
        yield lambda step: progress.update(task, description=f"{title}: {step}")


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; what is yielded is called with how much is done, and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def open_bank(data: Path) -> Bank:
    """The bank in the folder; what is dated after today moves its last day no further."""
    from sheaf.features import Bank

    return Bank.open(data, today=dt.date.today())


def date_of(day: dt.datetime | None) -> dt.date | None:
    return None if day is None else day.date()


def keep_apart(
    written: dict[str, Path | None], read: dict[str, Path | None] | None = None, data: Path | None = None
) -> None:
    """ValueError where a file would be written over one that was given to be read, over a table of the bank in the
    folder `data`, or over another."""
    from sheaf.features import TABLES

    places: dict[Path, str] = {path.resolve(): name for name, path in (read or {}).items() if path}
    for name, path in written.items():
        if path and data and path.stem in TABLES and path.resolve().parent == data.resolve():
            raise ValueError(f"{name} would be written over a table of the bank, {path}; give it another place")
        if path and (other := places.setdefault(path.resolve(), name)) != name:
            raise ValueError(f"{name} and {other} are the same file, {path}; give {name} another")


def of_one_day(day: dt.date, asked: str, read: dict[str, Path | None], previous: Path | None = None) -> None:
    """ValueError where a file that is read says that it is of another day than the one that is `asked` for, or plans
    made before of a later one. Files that say none, as others write them, are taken as they are."""
    from sheaf.features import written_as_of

    told = {f"{name} {path}": of for name, path in read.items() if path and (of := written_as_of(path))}
    days = {asked: day} | told
    for name, of in told.items():
        other = next((one for one in reversed(days) if days[one] != of), None)
        if other:
            raise ValueError(f"{name} is of {of}, and {other} of {days[other]}; give what is of one day")
    if previous and (of := written_as_of(previous)) and of > day:
        raise ValueError(f"--previous {previous} is of {of}, after {asked} of {day}; give plans made before")


def write_table(out: Path, table: Any) -> None:
    from sheaf.features import write_csv, write_parquet

    (write_parquet if out.suffix.lower() == ".parquet" else write_csv)(out, [table])


def policy_of(path: Path | None, sold: Any, profiles: Path | None, columns: Any = None, told: bool = False) -> Any:
    """The policy, checked against the catalog and the columns of the profiles, if there are any.

    `told`: what is wrong with the catalog's conditions was said already.
    """
    from sheaf.features.conditions import need_fitting, tell_unmet
    from sheaf.strategy import DEFAULT as OURS
    from sheaf.strategy import profile_columns, profile_texts, read_strategy

    columns = profile_columns(profiles) if profiles else columns
    if columns is not None and not told:
        need_fitting(sold, columns)
    if profiles:
        tell_unmet(sold, profile_texts(profiles))
    return read_strategy(path or OURS, sold, columns)


def columns_of(bank: Any, sold: Any) -> dict[str, Any]:
    """The columns of the profiles of a bank."""
    from sheaf.features import feature_dictionary

    return {one.name: one.type for one in feature_dictionary(bank, sold)}


def terms_of(terms: list[str], option: str = "--with", such_as: str = "mortgage.rate=0.035") -> dict[str, str]:
    without = [term for term in terms if "=" not in term]
    if without:
        raise ValueError(f"{option} {without[0]}: has no value; write it as {such_as}")
    pairs = [(name.strip(), value.strip()) for name, _, value in (term.partition("=") for term in terms)]
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{option} {twice[0]}: is given more than once; give it one value")
    return dict(pairs)
