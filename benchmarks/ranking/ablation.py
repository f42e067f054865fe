"""What each idea in the models is worth: ours on Santander's folds, with one of them left out at a time.

`.venv/bin/python -m benchmarks.ranking.ablation`. The models are those of `training.fit` with this data's parameters,
learned and measured as in `benchmarks.ranking`, but for a cross-fit of two parts whose models do not answer, and twice
the learning rate, which learn in a sixth of the time; one line adds the one, and one the other, instead of leaving
something out. Of every idea the difference in
MAP@7 is told with its paired 95 % interval, by bootstrap over clients: below zero it is what the idea is worth.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer

from benchmarks.measure import console
from benchmarks.ranking import tasks
from benchmarks.ranking.ours import Ours
from benchmarks.ranking.tables import Quality, against_first
from benchmarks.ranking.tasks import Answers, Task, View
from benchmarks.santander import folds as santander
from sheaf.features import ProfileMatrix
from sheaf.training import Parameters, Population, fit
from sheaf.training.candidates import pairs
from sheaf.training.candidates.pairs import split_product
from sheaf.training.samples import Day, TrainingSample

CHANGES = ("opened_months", "closed_months", "openings", "closings")
PARAMETERS = Parameters.read(santander.PARAMETERS)
CHEAPER: dict[str, Any] = {
    "folds": 2,
    "averaged": False,
    "choice_rounds": PARAMETERS.choice_rounds // 2,
    **{name: of | {"learning_rate": 2 * of["learning_rate"]}
       for name, of in (("adoption", PARAMETERS.adoption), ("choice", PARAMETERS.choice))},
}  # fmt: skip
PAST = ("held_1m", "held_2m", "held_3m", "held_4m")


@dataclass(frozen=True)
class Idea:
    """What is left out: columns by stem or name, days, parameters, or a part of the code."""

    name: str
    stems: Sequence[str] = ()
    days: slice = field(default_factory=lambda: slice(None))
    parameters: Mapping[str, Any] = field(default_factory=dict)
    without: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext


@contextlib.contextmanager
def _no_population() -> Iterator[None]:
    """Every product as common as any other, and none that goes with another."""
    of = Population.of

    def flat(profiles: ProfileMatrix, products: Sequence[str]) -> Population:
        counted = of(profiles, products)
        return replace(
            counted, **{name: np.zeros_like(getattr(counted, name)) for name in ("holds", "opened", "affinity")}
        )

    with mock.patch.object(Population, "of", flat):
        yield


IDEAS = (
    Idea("nothing"),
    Idea("nothing, with the cross-fit of five parts, which answers too", parameters={"folds": 5, "averaged": True}),
    Idea("nothing, with half the learning rate",
         parameters={name: getattr(PARAMETERS, name) for name in ("adoption", "choice", "choice_rounds")}),
    Idea("the choice model", parameters={"choice_rounds": 0}),
    Idea("the ranking model", parameters={"ranking_rounds": 0}),
    Idea("a choice model of larger trees for longer",
         parameters={name: getattr(Parameters(), name) for name in ("choice", "choice_rounds")}),
    Idea("what is held and when it was opened, of the other products",
         without=lambda: mock.patch.object(pairs, "ACROSS", ())),
    Idea("openings and closings: months since, counts", stems=CHANGES),
    Idea("what was held one to four months ago", stems=PAST),
    Idea("both of these", stems=(*CHANGES, *PAST)),
    Idea("the bank's and the peers' habits, co-ownership", without=_no_population),
    Idea("the month of the year", stems=("season_month",)),
    Idea("June 2015", days=slice(1, None)),
    Idea("May 2016", days=slice(0, 1)),
)  # fmt: skip


def main(
    folds: Annotated[int, typer.Option(help="How many of the five folds.", min=1, max=santander.FOLDS)] = 1,
    data: Annotated[Path, typer.Option(help="Santander's clients, holdings and cohorts as Parquet.")] = santander.DATA,
) -> None:
    """MAP@7 of ours with one idea left out at a time."""
    if lacking := santander.lacking(data):
        console.print(f"skipped: {lacking}; see --data")
        return
    folded = santander.Folds(data)
    with console.status("Profiles and openings"):
        given = [tasks.santander(folded, number) for number in range(folds)]
    found: dict[str, tuple[np.ndarray, float]] = {}
    for idea in IDEAS:
        started = time.monotonic()
        with console.status(f"without {idea.name}"):
            precision = np.concatenate([_precision(idea, *of_fold) for of_fold in given])
        found[idea.name] = precision, time.monotonic() - started
        console.print(f"without {idea.name}: {precision.mean():.4f}", highlight=False)
    console.print(against_first(f"Santander, {folds} of {santander.FOLDS} folds, left out", found))


def _precision(idea: Idea, task: Task, answers: Answers) -> np.ndarray:
    """AP@7 of every client who opened a candidate."""
    products = [product.product_id for product in task.catalog.products]
    kept = [feature for feature in task.sample.features if not _named(feature.name, idea.stems, products)]
    names = [feature.name for feature in kept]
    days = tuple(Day(day.as_of, _columns(day.profiles, names), day.opened) for day in task.sample.days[idea.days])
    parameters = PARAMETERS.model_copy(update=CHEAPER | dict(idea.parameters))
    sample = TrainingSample(days, tuple(kept), task.sample.horizon_days)
    with idea.without():
        model, _ = fit(sample, task.catalog, parameters, {"horizon_days": sample.horizon_days})
        profiles = model.align(_columns(task.profiles, names))
        score, _ = Ours(model, parameters.threads)(View(profiles, model.candidates()))
    return Quality.of([answers], [score], []).ap


def _named(name: str, stems: Sequence[str], products: Sequence[str]) -> bool:
    return split_product(name, products)[0] in stems


def _columns(profiles: ProfileMatrix, names: Sequence[str]) -> ProfileMatrix:
    return profiles.align(tuple(names), {name: of for name, of in profiles.categories.items() if name in names})


if __name__ == "__main__":
    typer.run(main)
