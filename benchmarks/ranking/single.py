"""Which single model tells best what comes next, on Santander's folds: `python -m benchmarks.ranking.single`.

Multiclass against binary against LambdaRank, one model for all products against one a product, clients who opened
several products weighed in three ways, and the mean of several seeds. All learn from the same profiles with the choice
model's parameters for this data, or the adoption model's where they learn from candidate rows, for a number of rounds
that is stated. Differences in MAP@7 are to the first line, paired, with 95 % intervals by bootstrap over clients.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import lightgbm as lgb
import numpy as np
import typer

from benchmarks.measure import console
from benchmarks.ranking import tasks
from benchmarks.ranking.tables import Quality, against_first
from benchmarks.ranking.tasks import Task
from benchmarks.santander import folds as santander
from sheaf.training import Parameters

ROUNDS, OF_ROWS = 120, 450
OF_ONE = 80  # rounds of a model of one product
SEEDS = 3
LEAVES = 91  # of the adoption model's trees, by its own rule for these clients
PARAMETERS = Parameters.read(santander.PARAMETERS)


def multiclass(task: Task, shared: float = 0.0, seeds: int = 1) -> np.ndarray:
    """Log of each product's share; an opening of a client who opened n at once counts `n ** -shared`."""
    values = np.concatenate([view.values for view in task.learned])
    opened = np.concatenate([day.opened for day in task.sample.days])
    row, product = np.nonzero(opened)
    weight = opened.sum(axis=1)[row] ** -shared
    settings = {**PARAMETERS.lightgbm("multiclass"), "num_class": opened.shape[1]}
    shares = []
    for seed in range(seeds):
        data = lgb.Dataset(values[row], product, weight=weight, categorical_feature=_coded(task))
        booster = lgb.train({**settings, "seed": seed}, data, ROUNDS)
        shares.append(np.log(np.asarray(booster.predict(task.ranked.values))))
    told: np.ndarray = np.mean(shares, axis=0)
    return told


def one_a_product(task: Task) -> np.ndarray:
    """A binary model of each product, over the clients who may have it."""
    settings = PARAMETERS.lightgbm("binary") | PARAMETERS.choice
    told = np.full(task.ranked.slate.reached.shape, -np.inf)
    for product in range(len(task.catalog.products)):
        kept = [view.slate.reached[:, product] for view in task.learned]
        values = np.concatenate([view.values[of] for view, of in zip(task.learned, kept, strict=True)])
        opened = np.concatenate([day.opened[of, product] for day, of in zip(task.sample.days, kept, strict=True)])
        if opened.any():
            booster = lgb.train(settings, lgb.Dataset(values, opened, categorical_feature=_coded(task)), OF_ONE)
            told[:, product] = booster.predict(task.ranked.values, raw_score=True)
    return told


def over_rows(task: Task, objective: str) -> np.ndarray:
    """One model of all candidate rows, each of a client and a product."""
    parts, groups = [], []
    for view, day in zip(task.learned, task.sample.days, strict=True):
        rows, pairs = view.rows()
        parts.append((rows, day.opened[pairs.client, pairs.item]))
        groups.append(np.unique(pairs.client, return_counts=True)[1])
    x, opened = (np.concatenate(of) for of in zip(*parts, strict=True))
    settings = {**PARAMETERS.lightgbm("binary"), "objective": objective, "num_leaves": LEAVES}
    group = np.concatenate(groups) if objective == "lambdarank" else None
    data = lgb.Dataset(x, opened, group=group, categorical_feature=task.encoding.product_categories)
    booster = lgb.train(settings, data, OF_ROWS)
    rows, pairs = task.ranked.rows()
    told = np.zeros(task.ranked.slate.reached.shape)
    told[pairs.client, pairs.item] = booster.predict(rows, raw_score=True)
    return told


def _coded(task: Task) -> list[int]:
    return [index for index, name in enumerate(task.encoding.columns) if name in task.encoding.categories]


MODELS: dict[str, Callable[[Task], np.ndarray]] = {
    f"multiclass, {ROUNDS} rounds": multiclass,
    "the same, who opened n counts n times n^-1/2": partial(multiclass, shared=0.5),
    "the same, who opened n counts once": partial(multiclass, shared=1.0),
    f"the same, mean of {SEEDS} seeds": partial(multiclass, seeds=SEEDS),
    f"binary, one model for all products, {OF_ROWS} rounds": partial(over_rows, objective="binary"),
    f"binary, one model a product, {OF_ONE} rounds": one_a_product,
    f"LambdaRank, one model for all products, {OF_ROWS} rounds": partial(over_rows, objective="lambdarank"),
}


def main(
    folds: Annotated[int, typer.Option(help="How many of the five folds.", min=1, max=santander.FOLDS)] = 5,
    data: Annotated[Path, typer.Option(help="Santander's clients, holdings and cohorts as Parquet.")] = santander.DATA,
) -> None:
    """MAP@7 of single models."""
    if lacking := santander.lacking(data):
        console.print(f"skipped: {lacking}; see --data")
        return
    folded = santander.Folds(data)
    found: dict[str, list[np.ndarray]] = {name: [] for name in MODELS}
    seconds = dict.fromkeys(MODELS, 0.0)
    for number in range(folds):
        with console.status(f"fold {number + 1}: profiles and openings"):
            task, answers = tasks.santander(folded, number)
        for name, model in MODELS.items():
            started = time.monotonic()
            with console.status(f"fold {number + 1}: {name}"):
                found[name].append(Quality.of([answers], [model(task)], []).ap)
            seconds[name] += time.monotonic() - started
    joined = {name: (np.concatenate(parts), seconds[name]) for name, parts in found.items()}
    console.print(against_first(f"Santander, {folds} of {santander.FOLDS} folds", joined))


if __name__ == "__main__":
    typer.run(main)
