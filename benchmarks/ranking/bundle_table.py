"""Does the second stage earn its place? The best bundle of n products for a client who opened n at once.

Is it exactly theirs, and how much of theirs is in it. Against the engine stands the product of single probabilities,
by which the best bundle is that of the n likeliest products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.ranking.bundles import CHANCE, ORDER, SIZES, WHOLE
from benchmarks.ranking.tables import Sheet, difference, told
from benchmarks.ranking.tasks import Answers
from sheaf.catalog import Catalog
from sheaf.training.metrics import calibration_error

DRAWS = 20
ALONE = "single probabilities"


@dataclass(frozen=True)
class Hits:
    """Of every client who opened a number of products in `SIZES`: that number, was it exact, and the share covered."""

    size: np.ndarray
    exact: np.ndarray
    covered: np.ndarray

    @classmethod
    def of(cls, answers: Answers, chosen: Mapping[int, np.ndarray]) -> Hits:
        """`chosen` are, by size, (clients, size) positions."""
        opened = answers.opened & answers.reached
        parts = []
        for size, positions in chosen.items():
            asked = np.flatnonzero(opened.sum(axis=1) == size)
            of_asked = positions[asked]
            there = (of_asked >= 0) & np.take_along_axis(opened[asked], np.maximum(of_asked, 0), axis=1)
            parts.append((np.full(len(asked), size), there.all(axis=1), there.mean(axis=1)))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @classmethod
    def join(cls, parts: Sequence[Hits]) -> Hits:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("size", "exact", "covered")))


def sheet(
    title: str, answers: Sequence[Answers], probability: Sequence[np.ndarray], sets: Sequence[Mapping[str, np.ndarray]]
) -> Sheet:
    """Of each fold the answers, the single probabilities, and what `best` found."""
    alone = Hits.join([Hits.of(*of_fold) for of_fold in zip(answers, map(_alone, answers, probability), strict=True)])
    columns = ("", "clients", "exactly theirs", "of it covered", "exactly, difference", "covered, difference")
    table = Sheet(f"{title}: the best bundle for who opened several products, against {ALONE}, 95 % intervals", columns)
    for by in (ALONE, ORDER, WHOLE):
        hits = alone
        if by != ALONE:
            chosen = [{size: of_fold[f"{by} {size}"] for size in SIZES} for of_fold in sets]
            hits = Hits.join([Hits.of(*of_fold) for of_fold in zip(answers, chosen, strict=True)])
        for name, asked in _asked(hits.size):
            row = [f"{by}, {name}", f"{asked.sum():,}", f"{hits.exact[asked].mean():.4f}"]
            row += [f"{hits.covered[asked].mean():.4f}"]
            for theirs, against in ((hits.exact, alone.exact), (hits.covered, alone.covered)):
                of_asked = (values[asked].astype(float) for values in (theirs, against))
                row.append("" if by == ALONE else told(*difference(*of_asked)))
            table.rows.append(row)
    return table


def calibration(
    title: str,
    catalog: Catalog,
    answers: Sequence[Answers],
    probability: Sequence[np.ndarray],
    sets: Sequence[Mapping[str, np.ndarray]],
) -> Sheet:
    """Expected calibration errors over the clients of all folds: of candidate products, in all and by line; and of each
    client's likeliest bundle of a size, that all of it is opened. Beside them the mean error of as many outcomes drawn
    with the very probabilities that were told: less than that cannot be expected of so few."""
    reached, opened, chance = (
        np.concatenate(parts) for parts in ([a.reached for a in answers], [a.opened for a in answers], probability)
    )
    columns = ("", "pairs", "told", "opened", "expected calibration error", "if they were true")
    table = Sheet(f"{title}: calibration", columns)

    def tell(name: str, told: np.ndarray, happened: np.ndarray) -> None:
        if not len(told):
            return
        rng = np.random.default_rng(0)
        true = np.mean([calibration_error(told, rng.random(len(told)) < told) for _ in range(DRAWS)])
        means = [f"{number:.4f}" for number in (told.mean(), happened.mean(), calibration_error(told, happened), true)]
        table.rows.append([name, f"{len(told):,}", *means])

    tell("products", chance[reached], opened[reached])
    lines = np.array([str(product.line) for product in catalog.products])
    for line in dict.fromkeys(lines):
        of_line = reached & (lines == line)
        tell(f"products, {line}", chance[of_line], opened[of_line])
    for size in SIZES:
        whole, bundle = (np.concatenate([of[f"{name} {size}"] for of in sets]) for name in (CHANCE, WHOLE))
        there = np.isfinite(whole)
        happened = np.asarray(np.take_along_axis(opened[there], bundle[there], axis=1).all(axis=1))
        tell(f"the likeliest bundle of {size}", whole[there], happened)
    return table


def _alone(answers: Answers, probability: np.ndarray) -> dict[int, np.ndarray]:
    likeliest = np.argsort(-np.where(answers.reached, probability, -1.0), axis=1, kind="stable")
    return {size: likeliest[:, :size] for size in SIZES}


def _asked(size: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "all", np.ones(len(size), dtype=bool)
    for number in SIZES:
        if (size == number).any():
            yield f"of {number}", size == number
