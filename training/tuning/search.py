"""One process's part of a study: trials measured, told to Optuna and MLflow, and the best of them written down."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from ruamel.yaml import YAML

from sheaf.training.metrics import bootstrap_interval
from sheaf.training.parameters import Parameters
from sheaf.training.tuning.objective import PARTS, TrialObjective
from sheaf.training.tuning.runs import StudyRuns
from sheaf.training.tuning.space import Space, replaced
from sheaf.training.tuning.study import PRESENT, Study, TuneError

if TYPE_CHECKING:
    from optuna.trial import Trial

MOST_REFUSED = 5  # trials in a row; after these there is no point in going on
REFUSALS = (ValueError, lgb.basic.LightGBMError)  # what values that cannot be trained with raise
Progress = Callable[[str, float], None]  # the step under way, and the share of the study that is done


@dataclass(frozen=True)
class HoldoutCheck:
    """The figure of the present parameters and of the best trial's, on clients that no trial was measured on."""

    present: float
    best: float
    better_by: tuple[float, float]  # 95 % interval of best minus present, paired by client
    clients: int


@dataclass(frozen=True)
class StudyResult:
    """What a study came to. `values` are the best trial's, by key of the space; empty where no trial was better than
    the present parameters. `present` and `best` are on the clients of the trials; `counts` as of `Study.counts`."""

    values: dict[str, Any]
    present: float
    best: float
    parameters: Parameters
    check: HoldoutCheck | None
    counts: dict[str, int]


@dataclass
class _Outcome:
    """How a nested run ends, and with which figures."""

    how: str = "finished"
    figures: dict[str, float] = field(default_factory=dict)


@dataclass
class Search:
    """The search of one process, over the space, for parameters that are better than those it starts from."""

    name: str
    memory: Study
    runs: StudyRuns
    objective: TrialObjective
    space: Space
    start: Parameters
    folds: int
    figure: str
    out: Path
    progress: Progress
    say: Callable[[str], None]
    refused: int = 0  # trials in a row

    def measure_present(self) -> None:
        """What the present parameters come to, measured once a study."""
        if self.memory.kept(PRESENT) is not None:
            return
        with self._nested("present parameters", {}) as outcome:
            reached = self._measure("present parameters", 0.0, self.start, outcome)
            self.memory.start_from(reached[-1], reached, self.space.values(self.start))
        self.say(f"present parameters: {reached[-1]:.4f}")
        self._write()

    def run_trial(self, share: float) -> None:
        """The next trial. One whose values cannot be trained with is remembered as such; several in a row raise."""
        trial, title = self.memory.propose(), f"trial {self.memory.told + 1}"
        try:
            with self._nested(title, trial.params) as outcome:
                reached = self._measure(title, share, replaced(self.start, trial.params), outcome, trial)
                if outcome.how == "pruned":
                    self.memory.prune(trial)
                else:
                    self.memory.finish(trial, reached[-1])
        except REFUSALS as error:
            self.memory.fail(trial, str(error))
            self.say(f"{title}: failed: {error}")
            self.refused += 1
            if self.refused == MOST_REFUSED:
                raise TuneError(f"{MOST_REFUSED} trials in a row failed, the last one with: {error}") from error
            return
        except BaseException:
            self.memory.fail(trial)
            raise
        self.refused = 0
        best = self.memory.best()
        self.say(f"{title}: {reached[-1]:.4f}{' (pruned)' if outcome.how == 'pruned' else ''}")
        if best is not None and best.number == trial.number:
            self._write()

    def result(self) -> StudyResult:
        """What the study came to. The best trial is checked, once, on clients that no trial was measured on."""
        values, present, best = self._best()
        check = None
        if values:
            kept = self.memory.kept("check")
            if kept is None or kept["values"] != values:
                kept = {"values": values, **asdict(self._check(replaced(self.start, values)))}
                self.memory.keep("check", kept)
            check = HoldoutCheck(kept["present"], kept["best"], tuple(kept["better_by"]), kept["clients"])
            low, high = check.better_by
            told = {"present": check.present, "best": check.best, "better_by_low": low, "better_by_high": high}
            self.runs.figures({f"check.{name}": value for name, value in told.items()})
        self.runs.figures({PRESENT: present, "best": best})
        self.runs.texts({"best.yaml": self._write(check)})
        parameters = replaced(self.start, values)
        return StudyResult(values, present, best, parameters, check, self.memory.counts())

    def _best(self) -> tuple[dict[str, Any], float, float]:
        """The values of the best trial, the present figure and the best; no values where no trial was better."""
        present, best = float(self.memory.kept(PRESENT)), self.memory.best()
        if best is None or best.value is None or best.value <= present:
            return {}, present, present
        return dict(best.params), present, float(best.value)

    def _check(self, parameters: Parameters) -> HoldoutCheck:
        first, last = self.folds, min(2 * self.folds, PARTS)
        both: list[list[np.ndarray]] = [[], []]
        for part in range(first, last):
            for which, (title, tried) in enumerate((("present parameters", self.start), ("best trial", parameters))):
                step = self._step(f"check of the {title}, part {part - first + 1} of {last - first}", 1.0)
                both[which].append(self.objective.measure(tried, part, self.figure, step).values)
        present, best = (np.concatenate(values) for values in both)
        return HoldoutCheck(float(present.mean()), float(best.mean()), bootstrap_interval(best - present), len(best))

    def _measure(
        self, title: str, share: float, parameters: Parameters, outcome: _Outcome, trial: Trial | None = None
    ) -> list[float]:
        """The figure over the clients of the first part, the first two, and so on, up to where the trial is pruned."""
        values: list[np.ndarray] = []
        figures: dict[str, list[float]] = {}
        reached: list[float] = []
        started = time.monotonic()
        for part in range(self.folds):
            step = self._step(f"{title}, part {part + 1} of {self.folds}", share)
            measured = self.objective.measure(parameters, part, self.figure, step)
            values.append(measured.values)
            for name, value in measured.figures.items():
                figures.setdefault(name, []).append(value)
            reached.append(float(np.concatenate(values).mean()))
            if trial is not None and part + 1 < self.folds:
                trial.report(reached[-1], part)
                if trial.should_prune():
                    outcome.how = "pruned"
                    break
        outcome.figures = {name: float(np.mean(of_parts)) for name, of_parts in figures.items()}
        outcome.figures |= {self.figure: reached[-1], "seconds": time.monotonic() - started}
        return reached

    def _step(self, title: str, share: float) -> Callable[[str], None]:
        return lambda step: self.progress(f"{title}: {step}", share)

    @contextmanager
    def _nested(self, title: str, values: Mapping[str, Any]) -> Iterator[_Outcome]:
        run_id, outcome = self.runs.start(title, values), _Outcome()
        try:
            yield outcome
        except BaseException as error:
            self.runs.end(run_id, {}, "failed" if isinstance(error, REFUSALS) else "killed")
            raise
        self.runs.end(run_id, outcome.figures, outcome.how)

    def _write(self, check: HoldoutCheck | None = None) -> str:
        """The best parameters so far, into the file that training takes; the file is always whole."""
        values, present, best = self._best()
        counts = ", ".join(f"{count} {how}" for how, count in self.memory.counts().items() if count)
        lines = [
            f"Written by sheaf tune: study {self.name}, trials: {counts or 'none yet'}.",
            f"{self.figure}: present parameters {present:.4f}, these {best:.4f}, on the clients of the trials.",
        ]
        if not values:
            lines.append("No trial was better than the present parameters: these are they.")
        if check is not None:
            low, high = check.better_by
            clients = f"On {check.clients} clients who opened something and on whom no trial was measured"
            difference = f"{check.present:.4f} and {check.best:.4f}, a difference of {low:+.4f} to {high:+.4f}"
            lines.append(f"{clients}: {difference}.")
        text = "".join(f"# {line}\n" for line in lines)
        text += as_yaml(replaced(self.start, values).model_dump(exclude_unset=True))
        place = self.out.with_name(f".{self.out.name}.part")
        place.write_text(text, encoding="utf-8")
        place.replace(self.out)
        return text


def as_yaml(content: Mapping[str, Any]) -> str:
    text = io.StringIO()
    YAML().dump(dict(content), text)
    return text.getvalue()
