"""Figures of peers side by side, and how each differs from ours: intervals by bootstrap over clients, in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.ranking.results import Result
from benchmarks.ranking.tasks import Answers
from sheaf.training import metrics
from sheaf.training.metrics import Ranked

MAP_AT, AT = 7, 5
BINS = 15
DRAWS = 1000
NONE = "–"
TRUTH = "truth"


@dataclass
class Sheet:
    """A table for a terminal or for a Markdown file; texts left of numbers."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rich(self) -> Table:
        table = Table(title=self.title, caption="\n".join(self.notes) or None, caption_justify="left")
        for number, name in enumerate(self.columns):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join([f"**{self.title}**", table, *self.notes])


@dataclass(frozen=True)
class Quality:
    """Per client who opened a candidate: AP@7, NDCG@5, recall@5. `coverage` is of all products that are candidates.

    `bins` is (clients, bins, 3): of each client's pairs in each bin of equal weight over all pairs, the sums of
    probability and of openings, and their number; None where there is no probability.
    """

    ap: np.ndarray
    ndcg: np.ndarray
    recall: np.ndarray
    coverage: float
    bins: np.ndarray | None

    @classmethod
    def of(cls, answers: Sequence[Answers], scores: Sequence[np.ndarray], probability: Sequence[np.ndarray]) -> Quality:
        """Over several folds taken together; `probability` is empty where there is none."""
        reached, opened, score = (
            np.concatenate(parts) for parts in ([a.reached for a in answers], [a.opened for a in answers], scores)
        )
        client, item = np.nonzero(reached)
        happened = opened[client, item]
        ranked = Ranked.of(client, score[client, item], happened.astype(float), item)
        return cls(
            metrics.average_precision(ranked, MAP_AT),
            metrics.ndcg(ranked, AT),
            metrics.recall(ranked, AT),
            metrics.coverage(ranked, AT, int(reached.any(axis=0).sum())),
            _bins(client, np.concatenate(probability)[client, item], happened) if len(probability) else None,
        )

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over all candidates; NaN without probabilities."""
        return np.nan if self.bins is None else float(_errors(self.bins.sum(axis=0)))


def _bins(client: np.ndarray, probability: np.ndarray, happened: np.ndarray) -> np.ndarray:
    order = np.argsort(probability, kind="stable")
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order)) * BINS // max(len(order), 1)
    sums = np.zeros((int(client.max(initial=-1)) + 1, BINS, 3))
    np.add.at(sums, (client, place), np.stack([probability, happened, np.ones(len(order))], axis=1))
    return sums


def _errors(bins: np.ndarray) -> np.ndarray:
    """`Σ_b |Σ probability − Σ happened| / pairs` of (…, bins, 3): the expected calibration error."""
    error: np.ndarray = np.abs(bins[..., 0] - bins[..., 1]).sum(axis=-1) / bins[..., 2].sum(axis=-1)
    return error


def difference(theirs: np.ndarray, ours: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The mean difference of paired per-client values, and its 95 % interval."""
    return float((theirs - ours).mean()), metrics.bootstrap_interval(theirs - ours, draws=DRAWS)


def against_first(title: str, found: Mapping[str, tuple[np.ndarray, float]]) -> Table:
    """MAP of every line's AP@7 by client, its difference to the first line's, and the seconds that it took."""
    sheet = Sheet(title, ("", f"MAP@{MAP_AT}", "difference, 95 % interval", "seconds"))
    first = next(iter(found.values()))[0]
    for name, (precision, seconds) in found.items():
        mean, (low, high) = difference(precision, first)
        told = "" if precision is first else f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
        sheet.rows.append([name, f"{precision.mean():.4f}", told, f"{seconds:.0f}"])
    return sheet.rich()


def calibration_difference(theirs: np.ndarray, ours: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The difference of calibration errors, both over the same draws of clients, each in bins fixed beforehand."""
    clients = len(ours)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(clients, np.full(clients, 1 / clients), DRAWS).astype(np.float32)
    errors = [
        _errors((drawn @ bins.reshape(clients, -1).astype(np.float32)).reshape(DRAWS, BINS, 3))
        for bins in (theirs, ours)
    ]
    low, high = np.quantile(errors[0] - errors[1], [0.025, 0.975])
    return float(_errors(theirs.sum(axis=0)) - _errors(ours.sum(axis=0))), (float(low), float(high))


def figures(title: str, qualities: Mapping[str, Quality], results: Mapping[str, Sequence[Result]]) -> Sheet:
    """A line for each peer, in their order."""
    columns = ("", f"MAP@{MAP_AT}", f"NDCG@{AT}", f"recall@{AT}", f"coverage@{AT}", "calibration error",
               "training s (CPU s)", "rows/s", "GiB")  # fmt: skip
    sheet = Sheet(title, columns)
    for name, quality in qualities.items():
        means = [f"{values.mean():.4f}" for values in (quality.ap, quality.ndcg, quality.recall)]
        error = NONE if quality.bins is None else f"{quality.calibration_error:.4f}"
        sheet.rows.append([name, *means, f"{quality.coverage:.2f}", error, *_costs(results.get(name, ()))])
    return sheet


def _costs(results: Sequence[Result]) -> list[str]:
    if not results:
        return [NONE] * 3
    seconds, busy = (np.mean([getattr(of, name) for of in results]) for name in ("training", "training_cpu"))
    speed = sum(of.rows for of in results) / max(sum(of.ranking for of in results), 1e-9)
    return [f"{seconds:.1f} ({busy:.1f})", f"{speed:,.0f}", f"{max(of.memory for of in results):.2f}"]


def differences(title: str, qualities: Mapping[str, Quality], ours: str) -> Sheet:
    """What each peer has more (in calibration error: less is better) than ours, with 95 % intervals."""
    columns = ("minus " + ours, f"MAP@{MAP_AT}", f"NDCG@{AT}", f"recall@{AT}", f"coverage@{AT}", "calibration error")
    sheet, mine = Sheet(title, columns), qualities[ours]
    for name, quality in qualities.items():
        if name == ours:
            continue
        means = [difference(getattr(quality, column), getattr(mine, column)) for column in ("ap", "ndcg", "recall")]
        error = NONE
        if quality.bins is not None and mine.bins is not None:
            error = told(*calibration_difference(quality.bins, mine.bins))
        sheet.rows.append([name, *(told(*of) for of in means), f"{quality.coverage - mine.coverage:+.2f}", error])
    return sheet


def compared(qualities: Mapping[str, Quality], ours: str) -> list[Figure]:
    """MAP@7 of ours less that of each peer, which is to be above 0; with no target for the truth's."""
    mine, found = qualities[ours].ap, []
    for name, quality in qualities.items():
        if name != ours:
            mean, interval = difference(mine, quality.ap)
            against, target = f"{name} {quality.ap.mean():.4f}", None if name == TRUTH else 0.0
            what = f"MAP@{MAP_AT}, difference"
            found.append(Figure(what, f"{ours} {mine.mean():.4f}", against, mean, target, False, interval, decimals=4))
    return found


def told(value: float, interval: tuple[float, float]) -> str:
    """A difference with its interval, in words."""
    return f"{value:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"
