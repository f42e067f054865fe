"""The search for better training parameters: trials proposed by Optuna, measured in order of time, remembered.

The first thing measured is what there is already: the present parameters. Whatever is found has to be better than
these, at last on clients that no trial was measured on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
from narwhals.typing import IntoFrame

from sheaf.catalog import Catalog
from sheaf.features import Bank
from sheaf.training.evaluation import DECIDING
from sheaf.training.parameters import Parameters
from sheaf.training.pipeline import fingerprint
from sheaf.training.samples import HORIZON_DAYS, default_days, read_sample
from sheaf.training.tuning.objective import FIGURES, PARTS, TrialObjective
from sheaf.training.tuning.runs import StudyRuns
from sheaf.training.tuning.search import Progress, Search, StudyResult, as_yaml
from sheaf.training.tuning.space import Space
from sheaf.training.tuning.study import TuneError, need_optuna, opened

TRIALS = 50  # where neither a number of trials nor a time is given


@dataclass(frozen=True)
class Tuned:
    """What a study of this name came to, and whether its trials were measured in order of time."""

    study: str
    in_order_of_time: bool
    found: StudyResult


def tune(
    bank: Bank,
    catalog: Catalog,
    space: Space,
    out: Path,
    days: Sequence[dt.date] = (),
    horizon_days: int = HORIZON_DAYS,
    cohorts: IntoFrame | None = None,
    parameters: Parameters | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    folds: int = 2,
    figure: str = DECIDING,
    all_days: bool = False,
    study: str | None = None,
    progress: Progress = lambda step, share: None,
    say: Callable[[str], None] = lambda line: None,
) -> Tuned:
    """Searches the space and writes the best parameters to `out`, as YAML for `Parameters.read`.

    Goes on with the study of this name (by default a name that stands for all that is given here but the budget)
    until it has `trials` trials, or until no further one may start after `minutes`. Each is measured on the clients
    of `folds` of five parts (`sheaf.training.tuning.objective`). The same seed on the same data proposes the same
    trials. Raises TuneError, SampleError and other ValueErrors where it cannot start.
    """
    started = time.monotonic()
    parameters = parameters or Parameters()
    trials = TRIALS if trials is None and minutes is None else trials
    if trials is not None and trials < 1:
        raise TuneError(f"{trials} trials: give 1 or more; minutes=0 measures the present parameters only")
    if minutes is not None and not minutes >= 0:  # not a number is never over
        raise TuneError(f"{minutes:g} minutes: give 0 or more")
    if not 1 <= folds < PARTS:
        raise TuneError(f"{folds} folds: give 1 to {PARTS - 1}")
    if figure not in FIGURES:
        raise TuneError(f"there is no figure {figure}; give one of {', '.join(FIGURES)}")
    if out.is_dir():
        raise TuneError(f"--out {out} is a folder; give the name of a file, such as tuned.yaml")
    need_optuna()
    progress("tables", 0.0)
    sample = read_sample(
        bank, catalog, list(days) or default_days(bank, horizon_days, cohorts=cohorts), horizon_days, cohorts,
        lambda step: progress(step, 0.0),
    )  # fmt: skip
    about: dict[str, Any] = {  # in JSON's types
        "data": fingerprint(sample),
        "as_of": [str(day.as_of) for day in sample.days],
        "horizon_days": horizon_days,
        "catalog": catalog.version,
        "space": {key: entry.model_dump(mode="json") for key, entry in space.entries.items()},
        "parameters": parameters.model_dump(mode="json", exclude={"threads"}),
        "figure": figure,
        "folds": folds,
        "all_days": all_days,
        "lightgbm": lgb.__version__,
    }
    name = study or f"tune-{hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:10]}"
    objective = TrialObjective.of(bank, catalog, sample, parameters.holdout_share, all_days)
    del sample  # the objective has rows of its own
    out.parent.mkdir(parents=True, exist_ok=True)

    def spent(told: int) -> float:
        by_trials = 0.0 if trials is None else told / trials
        by_time = 0.0 if minutes is None else (time.monotonic() - started) / max(60 * minutes, 1e-9)
        return min(1.0, max(by_trials, by_time))

    with opened(name, about, space, parameters.seed) as memory:
        texts = {f"{key}.yaml": as_yaml(about.pop(key)) for key in ("space", "parameters")}
        search = Search(
            name, memory, StudyRuns(name, about, texts), objective, space, parameters, folds, figure, out, progress, say
        )
        try:
            search.measure_present()
            while (share := spent(memory.told)) < 1.0:
                search.run_trial(share)
            found = search.result()
        except BaseException as error:
            search.runs.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        search.runs.close("FINISHED")
    return Tuned(name, objective.in_order_of_time, found)
