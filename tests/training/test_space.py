from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.training import ParameterError, Parameters
from sheaf.training.parameters import LIGHTGBM, refused
from sheaf.training.tuning.space import Space, replaced

NO_SUCH = "no such parameter; wanted is one of folds, averaged"


def read(tmp_path: Path, content: str) -> Space:
    (tmp_path / "s.yaml").write_text(content)
    return Space.read(tmp_path / "s.yaml")


def test_the_space_that_comes_with_sheaf_holds_the_parameters_that_come_with_sheaf() -> None:
    found = Space.read().values(Parameters())
    assert found is not None
    assert found["adoption.learning_rate"] == Parameters().adoption["learning_rate"]


def test_what_lies_outside_is_not_held(tmp_path: Path) -> None:
    space = read(tmp_path, "adoption.max_bin: {type: int, low: 200, high: 255}\n")
    assert space.values(Parameters()) is None
    assert space.values(Parameters(adoption={"max_bin": 255})) == {"adoption.max_bin": 255}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("adoption.learnig_rate: {type: float, low: 0.1, high: 0.2}", "0.1: LightGBM knows no such parameter"),
        ("adoption.eta: {type: float, low: 0.1, high: 0.2}", "0.1: is another name of learning_rate"),
        ("adoption.num_threads: {type: int, low: 1, high: 2}", "1: this is Sheaf's to set"),
        ("adoption.num_leaves: {type: int, low: 1, high: 9}", r"1: Check failed: \(num_leaves\) > \(1\)$"),
        ("adoption.feature_fraction: {type: float, low: 0.5, high: 1.5}", "1.5: Check failed"),
        ("ranking.lambdarank_truncation_level: {type: int, low: 0, high: 5}", "0: Check failed"),
        ("choice.num_class: {type: int, low: 3, high: 5}", "3: this is Sheaf's to set"),
        ("choice.num_leaves: {type: int, low: 1, high: 5}", "1: Check failed"),
        ("ranking.max_bin: {type: categorical, choices: [63, many]}", "many: "),
        ("ranking.max_bin: {type: categorical, choices: [63, [1]]}", "a choice is a text, a number, true, false or"),
        ("ranking.max_bin: {type: categorical, choices: [63, 63]}", "a choice is there twice"),
        ("ranking.max_bin: {type: categorical}", "choices: Field required"),
        ("ranking.lambda_l2: {type: float, low: 3, high: 1}", "low must be less than high, and 3 is not less than 1"),
        ("ranking.lambda_l2: {type: float, low: 0, high: 1, log: true}", "a logarithmic scale starts above 0"),
        ("ranking.lambda_l2: {type: float, low: .nan, high: 1}", "low: Input should be a finite number"),
        ("ranking.lambda_l2: {type: float, low: 0, high: 1, stop: 1}", "stop: Extra inputs are not permitted"),
        ("ranking.max_bin: {type: int, low: 9.5, high: 20}", "low and high of an int are whole numbers"),
        ("rounds: {type: int, low: 0, high: 20}", "0: Input should be greater than or equal to 1"),
        ("folds: {type: float, low: 2, high: 4}", "is a whole number; give type: int"),
        ("holdout_share: {type: float, low: 0.1, high: 0.2}", "cannot be tuned: these clients decide between"),
        ("seed: {type: int, low: 0, high: 9}", "cannot be tuned: another seed is luck"),
        ("roundz: {type: int, low: 1, high: 2}", NO_SUCH),
        ("adoption: {type: int, low: 1, high: 2}", NO_SUCH),
        ("boosting.rounds: {type: int, low: 1, high: 2}", NO_SUCH),
        ("patience: [1, 3]", "an entry says its type, one of int, float, categorical"),
        ("patience: {type: log, low: 1, high: 3}", "an entry says its type, one of int, float, categorical"),
    ],
)
def test_an_entry_that_cannot_be_searched_is_named_with_file_and_key(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ParameterError, match=rf"s\.yaml: {entry.partition(':')[0]}: {message}"):
        read(tmp_path, entry)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "s.yaml: the file: wanted are keys with entries, such as `adoption.learning_rate: "),
        ("- 1\n", "s.yaml: the file: wanted are keys with entries"),
        ("rounds: [1\n", "s.yaml: cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_space_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        read(tmp_path, content)
    with pytest.raises(ParameterError, match=r"absent.yaml: there is no such file; give a YAML file"):
        Space.read(tmp_path / "absent.yaml")


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as told:
        read(tmp_path, "seed: {type: int, low: 0, high: 9}\nroundz: 3\npatience: {type: int, low: 3, high: 2}\n")
    assert len(str(told.value).splitlines()) == 3


def test_values_replace_what_they_name_and_null_leaves_it_out() -> None:
    start = Parameters(patience=7, adoption={"num_leaves": 9, "max_bin": 63})
    found = replaced(start, {"adoption.num_leaves": None, "adoption.lambda_l1": 2.0, "folds": 3, "ranking.max_bin": 31})
    assert found.adoption == {"max_bin": 63, "lambda_l1": 2.0}
    assert found.ranking == {**Parameters().ranking, "max_bin": 31}
    assert (found.patience, found.folds, start.adoption["num_leaves"]) == (7, 3, 9)


@pytest.mark.parametrize("group", LIGHTGBM)
def test_lightgbm_takes_the_parameters_that_come_with_sheaf(group: str) -> None:
    assert [refused(group, name, value) for name, value in getattr(Parameters(), group).items()] == [None] * len(
        getattr(Parameters(), group)
    )
