from __future__ import annotations

from pathlib import Path

import pytest

from sheaf.training import ParameterError, Parameters


def test_a_file_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("rounds: 7\nadoption: {num_leaves: 5}\n")
    read = Parameters.read(tmp_path / "p.yaml")
    assert (read.rounds, read.adoption["num_leaves"], read.folds) == (7, 5, Parameters().folds)


def test_an_empty_file_leaves_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# nothing yet\n")
    assert Parameters.read(tmp_path / "p.yaml") == Parameters()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rounds: many\n", "p.yaml: rounds: "),
        ("rounds: 0\nfolds: 1\n", r"p.yaml: folds: .*\n.*p.yaml: rounds: |p.yaml: rounds: .*\n.*p.yaml: folds: "),
        ("roundz: 3\n", "p.yaml: roundz: "),
        ("holdout_share: 1.0\n", "p.yaml: holdout_share: "),
        ("- 1\n", "p.yaml: the file: "),
        ("just text\n", "p.yaml: the file: "),
        ("rounds: [1\n", "p.yaml: cannot be read as YAML: "),
        ("rounds: 1\nrounds: 2\n", "p.yaml: cannot be read as YAML: "),
        ("adoption: {learnig_rate: 0.1}\n", "p.yaml: adoption.learnig_rate: 0.1: LightGBM knows no such parameter"),
        ("ranking: {num_leaves: 1}\n", "p.yaml: ranking.num_leaves: 1: Check failed"),
        ("seed: -1\n", "p.yaml: seed: Input should be greater than or equal to 0"),
        (
            "adoption: {metric: None}\n",
            "p.yaml: adoption.metric: None: For early stopping, at least one .* eval metric",
        ),
        ("adoption: {monotone_constraints: [1]}\n", "p.yaml: adoption.monotone_constraints: .*: goes by the places of"),
        ("ranking: {seed: 1}\n", "p.yaml: ranking.seed: 1: this is Sheaf's to set"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named_with_its_file(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(ParameterError, match=message):
        Parameters.read(tmp_path / "p.yaml")


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"p.yaml: there is no such file; give a YAML file"):
        Parameters.read(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00rounds")
    with pytest.raises(ParameterError, match=r"p.yaml: cannot be read as YAML"):
        Parameters.read(tmp_path / "p.yaml")


def test_every_run_is_told_to_repeat_itself() -> None:
    told = Parameters(seed=5, threads=1).lightgbm("binary")
    assert (told["seed"], told["deterministic"], told["force_col_wise"], told["num_threads"]) == (5, True, True, 1)
    assert Parameters().lightgbm("lambdarank")["num_leaves"] == Parameters().ranking["num_leaves"]
