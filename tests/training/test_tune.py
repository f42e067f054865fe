"""Studies on the made bank: small, but with Optuna's and MLflow's own databases, and a process that is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import chdir, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna import load_study

from sheaf._extras import MissingExtraError
from sheaf.features import Bank
from sheaf.training import Parameters, SampleError, TrainingSample, read_sample, registry
from sheaf.training.pipeline import train
from sheaf.training.samples import fold, held_out
from sheaf.training.tuning.objective import PARTS, TrialObjective
from sheaf.training.tuning.space import Space
from sheaf.training.tuning.study import TuneError
from sheaf.training.tuning.tune import Tuned, tune
from tests.conftest import ROOT, _with_registry
from tests.made import CATALOG, DAYS, QUICK, bank, frames

SPACE = """
adoption.num_leaves: {type: int, low: 2, high: 31, log: true}
adoption.learning_rate: {type: float, low: 0.001, high: 0.5, log: true}
ranking_rounds: {type: categorical, choices: [0, 6]}
"""
START = QUICK.model_copy(
    update={
        "rounds": 3,
        "choice_rounds": 0,
        "threads": 1,
        "holdout_share": 0.1,
        "adoption": {**QUICK.adoption, "learning_rate": 0.001},
    }
)  # fmt: skip; which is easy to beat
TRIALS = 8  # enough for one to be pruned


def space(content: str = SPACE) -> Space:
    Path("space.yaml").write_text(content)
    return Space.read(Path("space.yaml"))


def tuned(trials: int | None = TRIALS, content: str = SPACE, start: Parameters = START, **options) -> Tuned:
    return tune(bank(), CATALOG, space(content), Path("tuned.yaml"), DAYS, 30, None, start, trials, **options)


def trials_of(study: str):
    return load_study(study_name=study, storage="sqlite:///mlruns/optuna.db").trials


def proposed(study: str, killed: bool = False) -> list[tuple[dict, float | None]]:
    """Parameters and figure of every trial that came to its end."""
    return [(trial.params, trial.value) for trial in trials_of(study) if killed or trial.state.name != "FAIL"]


def nested(study: str):
    """The study's own run in MLflow, and those of its trials in order of time."""
    client = registry.client()
    experiment = [registry.experiment_id(client)]
    (parent,) = client.search_runs(experiment, f"tags.`sheaf.study` = '{study}'")
    children = client.search_runs(
        experiment, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", order_by=["attributes.start_time ASC"]
    )
    return parent, children


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> tuple[Path, Tuned]:
    """A study of `TRIALS` trials that nothing interrupted, and the folder that it ran in."""
    folder = _with_registry(tmp_path_factory.mktemp("whole"), empty_registry)
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return folder, tuned()


def test_what_it_found_is_better_and_can_be_trained_with(whole: tuple[Path, Tuned]) -> None:
    folder, told = whole
    found = told.found
    with chdir(folder):
        best = max(value for params, value in proposed(told.study) if value is not None)
        assert found.best == best > found.present
        assert (found.values, found.best) in proposed(told.study)
        read = Parameters.read(Path("tuned.yaml"))
        assert read == found.parameters
        assert {name: read.adoption[name] for name in ("num_leaves", "learning_rate")} == {
            name: found.values[f"adoption.{name}"] for name in ("num_leaves", "learning_rate")
        }
        assert (read.ranking_rounds, read.rounds, read.ranking) == (found.values["ranking_rounds"], 3, START.ranking)
        assert f"study {told.study}, trials: " in Path("tuned.yaml").read_text()
        run = train(bank(), CATALOG, DAYS, 30, parameters=read)
        assert run.alias == "champion"
    assert told.in_order_of_time


def test_the_best_is_checked_on_clients_that_no_trial_was_measured_on(whole: tuple[Path, Tuned]) -> None:
    _, told = whole
    objective = TrialObjective.of(bank(), CATALOG, sample_of_two_days(), START.holdout_share, False)
    values = {
        which: np.concatenate([objective.measure(parameters, part, "ndcg_at_5").values for part in (2, 3)])
        for which, parameters in (("present", START), ("best", told.found.parameters))
    }
    assert told.found.check is not None
    assert told.found.check.clients == len(values["best"]) > 10
    assert told.found.check.present == pytest.approx(values["present"].mean())
    assert told.found.check.best == pytest.approx(values["best"].mean())
    low, high = told.found.check.better_by
    assert low <= (values["best"] - values["present"]).mean() <= high


def test_every_trial_is_a_run_nested_in_the_study(whole: tuple[Path, Tuned]) -> None:
    folder, told = whole
    with chdir(folder):
        parent, children = nested(told.study)
        trials = trials_of(told.study)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", told.study)
    assert parent.data.params["figure"] == "ndcg_at_5"
    assert parent.data.metrics["best"] == told.found.best
    present, *of_trials = children
    assert present.data.metrics["ndcg_at_5"] == told.found.present
    ended = Counter(run.data.tags["ended"] for run in of_trials)
    assert ended == {how: count for how, count in told.found.counts.items() if count}
    assert set(ended) == {"finished", "pruned"}
    for run, trial in zip(of_trials, [trial for trial in trials if "present" not in trial.user_attrs], strict=True):
        assert run.info.status == "FINISHED"
        assert run.data.params == {key: str(value) for key, value in trial.params.items()}
        assert run.data.metrics["ndcg_at_5"] == trial.value
        assert all(np.isfinite(value) for value in run.data.metrics.values())


def test_the_same_seed_proposes_the_same_and_another_one_something_else(
    workplace: Path, whole: tuple[Path, Tuned]
) -> None:
    folder, told = whole
    with chdir(folder):
        first = proposed(told.study)
        assert tuned() == told  # nothing is left to do
        assert proposed(told.study) == first
        assert len(nested(told.study)[1]) == 1 + TRIALS
    again, other = tuned(1), tuned(1, start=START.model_copy(update={"seed": 1}))
    assert again.study == told.study  # the name stands for the input
    assert proposed(again.study) == first[: len(proposed(again.study))]
    assert other.study != told.study
    assert proposed(other.study)[-1] not in first


def test_after_kill_9_the_same_command_goes_on(
    workplace: Path, made_folder: Path, whole: tuple[Path, Tuned], tmp_path: Path
) -> None:
    """The trial under way is marked as failed, is not counted, and the study comes to what it comes to anyway."""
    from ruamel.yaml import YAML

    space()
    YAML().dump(START.model_dump(exclude_unset=True), Path("start.yaml"))
    days = [argument for day in DAYS for argument in ("--as-of", str(day))]
    command: list[str | Path] = [
        sys.executable, "-m", "sheaf", "tune", "--data", made_folder / "bank", "--catalog",
        made_folder / "catalog.yaml", *days, "--horizon-days", "30", "--parameters", "start.yaml",
        "--space", "space.yaml", "--trials", "3",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_a_trial_under_way(process, after=1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL

    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr
    (study,) = {path.stem for path in (workplace / "mlruns").glob("tune-*.lock")}
    states = Counter(trial.state.name for trial in trials_of(study) if "present" not in trial.user_attrs)
    assert states.pop("FAIL") == 1
    assert states.total() == 3
    assert "1 killed" in " ".join(again.stdout.split())
    parent, children = nested(study)
    assert parent.info.status == "FINISHED"
    statuses = Counter((run.info.status, run.data.tags["ended"]) for run in children)
    assert statuses.pop(("FAILED", "killed")) == 1
    assert {status for status, _ in statuses} == {"FINISHED"}
    assert statuses.total() == 1 + 3

    folder, told = whole
    found = proposed(study)
    with chdir(folder):
        uninterrupted = proposed(told.study)
    assert study == told.study
    assert found == uninterrupted[: len(found)]
    assert Parameters.read(Path("tuned.yaml"))


def wait_for_a_trial_under_way(process: subprocess.Popen[str], after: int) -> None:
    """Until so many trials have ended and another one runs, for Optuna and for MLflow."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1]
        states = Counter(asked("mlruns/optuna.db", "select state from trials"))
        runs = Counter(asked("mlruns/mlflow.db", "select status from runs"))
        if states["COMPLETE"] + states["PRUNED"] > after and states["RUNNING"] == 1 and runs["RUNNING"] == 2:
            return
        time.sleep(0.01)
    raise AssertionError("no trial ran within two minutes")


def asked(path: str, query: str) -> list[str]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [row[0] for row in database.execute(query)]
    except sqlite3.OperationalError:  # not there yet, or just being written
        return []


@pytest.mark.usefixtures("workplace")
def test_a_study_that_another_process_is_at_is_left_alone() -> None:
    said: list[str] = []

    def start_a_second_one(line: str) -> None:
        if not said:
            said.append(line)
            with pytest.raises(TuneError, match="another process is at study mine; let it finish"):
                tuned(1, study="mine")

    assert tuned(1, study="mine", folds=1, say=start_a_second_one).study == "mine"
    assert said


@pytest.mark.usefixtures("workplace")
def test_a_study_is_of_one_input_only() -> None:
    tuned(1, study="mine", folds=1)
    with pytest.raises(TuneError, match="study mine is of another parameters, folds: give this one another name"):
        tuned(1, study="mine", start=START.model_copy(update={"patience": 3}))
    with pytest.raises(TuneError, match="--study a/b: a name is of letters"):
        tuned(1, study="a/b")


@pytest.mark.usefixtures("workplace")
def test_no_trial_starts_when_the_time_is_over_and_a_later_run_goes_on() -> None:
    first = tuned(None, minutes=0.0)
    assert sum(first.found.counts.values()) == 0
    assert first.found.parameters == START == Parameters.read(Path("tuned.yaml"))
    assert "No trial was better than the present parameters" in Path("tuned.yaml").read_text()
    shares: list[float] = []
    later = tuned(None, minutes=0.06, progress=lambda step, share: shares.append(share))
    assert sum(later.found.counts.values()) > 0
    assert later.found.present == first.found.present
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


@pytest.mark.usefixtures("workplace")
def test_values_that_cannot_be_trained_with_are_a_failed_trial_and_end_a_study_of_nothing_else() -> None:
    said: list[str] = []
    with pytest.raises(TuneError, match=r"5 trials in a row failed, the last one with: .*folds"):
        tuned(20, "folds: {type: int, low: 4000, high: 5000}", folds=1, say=said.append)
    assert said[1].startswith("trial 1: failed: ")
    assert Parameters.read(Path("tuned.yaml")) == START
    (study,) = {path.stem for path in Path("mlruns").glob("tune-*.lock")}
    assert [state for state, _ in Counter(trial.state.name for trial in trials_of(study)).items()] == ["FAIL"]
    assert len({trial.params["folds"] for trial in trials_of(study)}) > 1  # each tries something else
    parent, children = nested(study)
    assert parent.info.status == "FAILED"
    assert [run.data.tags["ended"] for run in children] == ["finished", *["failed"] * 5]


@pytest.mark.usefixtures("workplace")
def test_stopping_it_leaves_the_trial_to_be_tried_again(whole: tuple[Path, Tuned]) -> None:
    _, told = whole

    def stop(step: str, share: float) -> None:
        if step.startswith("trial 1, part 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(1, progress=stop)
    parent, children = nested(told.study)
    assert parent.info.status == "KILLED"
    assert [run.data.tags["ended"] for run in children] == ["finished", "killed"]
    again = tuned(1)
    assert again.found.counts == {"finished": 1, "pruned": 0, "failed": 0, "killed": 1}
    stopped, repeated = trials_of(told.study)[-2:]
    assert stopped.params == repeated.params


def test_without_optuna_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"optuna is not installed. .*pip install 'sheaf\[tune\]'"):
        tuned(1)


@pytest.mark.usefixtures("workplace")
def test_figures_and_folds_are_limited() -> None:
    with pytest.raises(TuneError, match="there is no figure auc"):
        tuned(1, figure="auc")
    with pytest.raises(TuneError, match="5 folds"):
        tuned(1, folds=5)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"trials": 0}, "0 trials: give 1 or more"),
        ({"trials": None, "minutes": -1.0}, "-1 minutes: give 0 or more"),
        ({"trials": None, "minutes": float("nan")}, "nan minutes: give 0 or more"),  # such a time would never be over
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(TuneError, match=message):
        tuned(**budget)


@pytest.mark.usefixtures("workplace")
def test_a_folder_in_the_results_place_is_told_before_any_trial() -> None:
    Path("tuned.yaml").mkdir()
    with pytest.raises(TuneError, match=r"--out tuned.yaml is a folder; give the name of a file"):
        tuned(1)


def sample_of_two_days() -> TrainingSample:
    return read_sample(bank(), CATALOG, DAYS, 30)


def objective_of(sample: TrainingSample, all_days: bool = False) -> TrialObjective:
    return TrialObjective.of(bank(), CATALOG, sample, START.holdout_share, all_days)


def test_the_clients_who_decide_the_contest_take_no_part() -> None:
    """Whatever they opened, and whatever is known of them."""
    sample = sample_of_two_days()
    days = []
    for day in sample.days:
        theirs = held_out(day.profiles.client_ids, START.holdout_share)
        values, opened = day.profiles.values.copy(), day.opened.copy()
        values[theirs], opened[theirs] = np.nan, 0
        assert theirs.sum() > 20
        days.append(replace(day, profiles=replace(day.profiles, values=values), opened=opened))
    one, other = (objective_of(of).measure(START, 0, "ndcg_at_5") for of in (sample, replace(sample, days=tuple(days))))
    assert one.values.tolist() == other.values.tolist()
    assert len(one.values) > 5


def test_a_trial_learns_nothing_from_the_clients_it_is_measured_on_nor_from_the_last_day() -> None:
    sample = sample_of_two_days()
    earlier, last = sample.days
    part = fold(earlier.profiles.client_ids, PARTS, "part") == 1
    forgotten = replace(earlier, opened=np.where(part[:, None], 0, earlier.opened).astype(np.int8))
    others = fold(last.profiles.client_ids, PARTS, "part") != 1
    otherwise = replace(last, opened=np.where(others[:, None], np.roll(last.opened, 1, axis=1), last.opened))
    one = objective_of(sample).measure(START, 1, "map_at_7")
    other = objective_of(replace(sample, days=(forgotten, otherwise))).measure(START, 1, "map_at_7")
    assert one.values.tolist() == other.values.tolist()
    with_last = objective_of(sample, all_days=True)
    assert (with_last.in_order_of_time, [day.as_of for day in with_last.learned.days]) == (False, DAYS)
    assert [day.as_of for day in objective_of(sample).learned.days] == DAYS[:1]


def test_with_one_day_only_trials_learn_from_other_clients_of_it() -> None:
    with pytest.warns(UserWarning, match="no earlier day with openings than 2025-11-30"):
        objective = objective_of(read_sample(bank(), CATALOG, DAYS[1:], 30))
    assert not objective.in_order_of_time
    assert len(objective.measure(START, 0, "ndcg_at_5").values) > 5


def test_too_few_openings_to_measure_by_are_told_before_any_trial() -> None:
    few = Bank.of(**frames(30))
    sample = read_sample(few, CATALOG, DAYS, 30)
    with pytest.raises(SampleError, match=r"as-of 2025-11-30: of \d+ clients \d+ opened something within the horizon"):
        TrialObjective.of(few, CATALOG, sample, START.holdout_share, False)
