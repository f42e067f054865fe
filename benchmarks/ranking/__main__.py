"""Which product comes next: ours beside the peers that a bank could use instead, in one run on the same data.

Two tasks. On Santander's data, the five folds of `benchmarks.santander`: what clients of May 2016 open, learned from
June 2015 and the other folds. On a simulated bank, what clients open in December, learned from the month-ends before,
beside the probabilities that it was drawn with (`benchmarks.simulated` compares bundles too). Every peer is given the
same profiles and openings, learns with two threads in a process of its own, and orders the same candidates: the
products that a client may have and does not hold. Figures are over clients who opened one of them.

The peers' libraries are the extra `peers`. RecTools' two-stage ranker is not among them: all its releases ask for
pandas below 3 (the last is 0.19), so it cannot be installed beside this project.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.measure import console, report, simulated
from benchmarks.ranking import bundle_table, results, tables, tasks
from benchmarks.ranking.peers import OURS, PEERS
from benchmarks.ranking.results import Result
from benchmarks.ranking.tables import Quality, Sheet
from benchmarks.ranking.tasks import Answers, Task
from benchmarks.santander import folds as santander

MONTHS = 4  # month-ends learned from, the last 2025-10-31


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Peer to run, again for more: {', '.join(PEERS)}.")] = None,
    folds: Annotated[int, typer.Option(help="How many of Santander's folds.", min=1, max=santander.FOLDS)] = 5,
    clients: Annotated[int, typer.Option(help="Size of the simulated bank.", min=500)] = 20_000,
    skip_santander: Annotated[bool, typer.Option("--skip-santander", help="Leave out Santander.")] = False,
    skip_simulated: Annotated[bool, typer.Option("--skip-simulated", help="Leave out the simulated bank.")] = False,
    data: Annotated[Path, typer.Option(help="Santander's clients, holdings and cohorts as Parquet.")] = santander.DATA,
    cache: Annotated[Path, typer.Option(help="Where results are kept; a run goes on from them.")] = results.CACHE,
    markdown: Annotated[Path | None, typer.Option(help="File to write the tables to as well, as Markdown.")] = None,
) -> None:
    """MAP@7, NDCG@5, recall@5, coverage, calibration error, seconds and memory of ours and of its peers."""
    unknown = sorted(set(only or ()) - set(PEERS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: known are {', '.join(PEERS)}", param_hint="--only")
    names = [name for name in PEERS if not only or name in only or name == OURS]
    sheets: list[Sheet] = []
    if not skip_santander:
        if lacking := santander.lacking(data):
            console.print(f"skipped: {lacking}; see --data")
        else:
            folded = santander.Folds(data)
            stands_for = results.digest(*(_content(data / f"{name}.parquet") for name in santander.TABLES))
            made = {
                f"santander-{number + 1}": (stands_for, partial(tasks.santander, folded, number))
                for number in range(folds)
            }
            sheets += _compare(f"Santander, {folds} of {santander.FOLDS} folds", made, names, cache)
    if not skip_simulated:
        folder = simulated(clients, 24)
        made = {f"simulated-{clients}": (folder.name, partial(tasks.simulated_bank, folder, MONTHS))}
        sheets += _compare(f"Simulated bank of {clients:,} clients, December", made, names, cache)
    for sheet in sheets:
        console.print(sheet.rich())
    if markdown:
        markdown.write_text("\n\n".join(sheet.markdown() for sheet in sheets) + "\n", encoding="utf-8")


def _compare(
    title: str, made: Mapping[str, tuple[str, Callable[[], tuple[Task, Answers]]]], names: Sequence[str], cache: Path
) -> list[Sheet]:
    """The tables of a data set, whose tasks are `made` of what stands for their data and of a function."""
    lacking = {name: PEERS[name].lacking for name in names if PEERS[name].lacking}
    answers: list[Answers] = []
    found: dict[str, list[Result]] = {name: [] for name in names if name not in lacking}
    for task_name, (data, make) in made.items():
        with console.status(f"{task_name}: profiles and openings"):
            path, task, of_task = results.kept_task(task_name, data, make, cache)
        answers.append(of_task)
        for name, so_far in found.items():
            with console.status(f"{task_name}: {name}"):
                so_far.append(results.of_peer(name, task_name, path, task, cache))
            quality, cost = _quality([of_task], so_far[-1:]), so_far[-1]
            told = f"MAP@{tables.MAP_AT} {quality.ap.mean():.4f}, learned in {cost.training:.0f} s"
            console.print(f"{task_name}: {name} {told}", highlight=False)
    qualities = {name: _quality(answers, of_peer) for name, of_peer in found.items()}
    truth = [of_task.truth for of_task in answers if of_task.truth is not None]
    if truth:
        qualities[tables.TRUTH] = Quality.of(answers, truth, truth)
    sheets = [
        tables.figures(f"{title}: {len(qualities[OURS].ap):,} clients", qualities, found),
        tables.differences(f"{title}: difference to {OURS}, 95 % intervals", qualities, OURS),
    ]
    if all(result.more for result in found[OURS]):
        probability = [result.probability for result in found[OURS] if result.probability is not None]
        sets = [result.more for result in found[OURS]]
        sheets.append(bundle_table.sheet(title, answers, probability, sets))
        sheets.append(bundle_table.calibration(title, task.catalog, answers, probability, sets))
    report(title, f"{len(qualities[OURS].ap):,} clients who opened something", tables.compared(qualities, OURS))
    sheets[0].notes += [f"{name} is left out: {why}" for name, why in lacking.items()]
    return sheets


def _quality(answers: Sequence[Answers], of_peer: Sequence[Result]) -> Quality:
    probability = [result.probability for result in of_peer if result.probability is not None]
    return Quality.of(answers, [result.score for result in of_peer], probability)


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    typer.run(main)
