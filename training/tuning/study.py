"""A study's memory: its trials, which Optuna keeps in `mlruns/optuna.db`.

Optuna has a file of its own beside MLflow's: both keep the version of their tables in a table `alembic_version`. A
process that was killed leaves a trial that seems to run for ever; who opens a study has it alone, so every trial that
still seems to run then is a dead one, and is marked as failed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sheaf._extras import needs_extra
from sheaf.training import registry
from sheaf.training.tuning.space import Space

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

STORE = "optuna.db"
WAIT = 60  # seconds, for somebody who looks into the file meanwhile
STARTUP = 10  # trials drawn at random before those that learn from others
UNPRUNED = 5  # trials that are measured to the end before any is pruned
PRESENT = "present"


class TuneError(ValueError):
    """A study that cannot start or go on; the message says what to do."""


class Study:
    """Trials proposed, told and remembered. `opened` opens one."""

    def __init__(self, study: optuna.Study, space: Space, seed: int):
        self._study, self._space, self._seed = study, space, seed

    def propose(self) -> Trial:
        """The next trial: the same for the same seed and trials before it, whether one process made them or several."""
        from optuna.samplers import TPESampler

        # What a sampler drew so far is lost with its process: one of its own for each trial loses nothing.
        seed = (self._seed * 1_000_003 + self.told) % 2**32
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=STARTUP)
        return self._study.ask(self._space.distributions())

    def finish(self, trial: Trial, value: float) -> None:
        self._study.tell(trial, value)

    def prune(self, trial: Trial) -> None:
        self._study.tell(trial, state=_states().PRUNED)

    def fail(self, trial: Trial, error: str | None = None) -> None:
        """`error` says why these values cannot be trained with; without one the same trial will be proposed again."""
        if error is not None:
            trial.set_user_attr("error", error)
        self._study.tell(trial, state=_states().FAIL)

    def counts(self) -> dict[str, int]:
        """Trials by how they ended: `finished`, `pruned`, `failed` for their values, or `killed` with their process."""
        counts = dict.fromkeys(("finished", "pruned", "failed", "killed"), 0)
        for trial in self._trials():
            if trial.state is _states().FAIL:
                counts["failed" if "error" in trial.user_attrs else "killed"] += 1
            elif trial.state.is_finished():
                counts["pruned" if trial.state is _states().PRUNED else "finished"] += 1
        return counts

    @property
    def told(self) -> int:
        """Trials that came to an end; those that were killed are not counted."""
        counts = self.counts()
        return sum(counts.values()) - counts["killed"]

    def best(self) -> FrozenTrial | None:
        """The finished trial with the highest value, of two the earlier one; None where none has finished."""
        finished = [trial for trial in self._trials() if trial.state is _states().COMPLETE]
        return max(finished, key=lambda trial: (trial.value, -trial.number), default=None)

    def start_from(self, value: float, reports: Sequence[float], values: Mapping[str, Any] | None) -> None:
        """Keeps what the present parameters came to; proposals learn from it where the space holds their `values`."""
        from optuna.trial import create_trial

        if values is not None:
            self._study.add_trial(
                create_trial(
                    value=value,
                    params=dict(values),
                    distributions=self._space.distributions(),
                    intermediate_values=dict(enumerate(reports)),
                    user_attrs={PRESENT: True},
                )
            )
        self.keep(PRESENT, value)

    def keep(self, name: str, value: Any) -> None:
        """Keeps something that JSON can tell about the study as a whole; `kept` gives it back."""
        self._study.set_user_attr(name, value)

    def kept(self, name: str) -> Any:
        """What was kept under the name, or None."""
        return self._study.user_attrs.get(name)

    def bury(self) -> None:
        """Marks the trials as failed that a process left behind when it was killed."""
        for trial in self._study.get_trials(deepcopy=False, states=(_states().RUNNING,)):
            self._study.tell(trial.number, state=_states().FAIL)

    def _trials(self) -> list[FrozenTrial]:
        """All but the one that stands for the present parameters."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if PRESENT not in trial.user_attrs]


@contextmanager
def opened(name: str, about: Mapping[str, Any], space: Space, seed: int) -> Iterator[Study]:
    """The study of this name, new or as far as it came, for this process alone; `about` is in JSON's types.

    Raises TuneError where another process has it open, or where it is `about` something else.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise TuneError(f"--study {name}: a name is of letters, digits, and any of _ . -")
    optuna = need_optuna()
    registry.FOLDER.mkdir(exist_ok=True)
    store = (registry.FOLDER / STORE).resolve()
    with _alone(registry.FOLDER / f"{name}.lock", name):
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{store.as_posix()}", engine_kwargs={"connect_args": {"timeout": WAIT}}
        )
        try:
            found = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
                load_if_exists=True,
            )
            study = Study(found, space, seed)
            before = study.kept("about")
            if before is None:
                study.keep("about", dict(about))
            elif before != about:
                other = ", ".join(key for key in about if before.get(key) != about[key])
                raise TuneError(f"study {name} is of another {other}: give this one another name with --study")
            study.bury()
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


@contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Held until the process ends, however it ends: SQLite's lock of a file works wherever Python does."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise TuneError(
                f"another process is at study {name}; let it finish, or give this one another name with --study"
            ) from error
        yield


def need_optuna() -> Any:
    """Optuna, which says nothing below a warning. Raises MissingExtraError where it is not installed."""
    with needs_extra("tune"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState
