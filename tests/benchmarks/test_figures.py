"""The page of figures and the JSON files it is made of say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import Case, Figure

CASE = Case(
    "attrition", "Leaving", "Simulated bank", ".venv/bin/python -m benchmarks.attrition", "0123456", "2 cores",
    "2026-11-30",
    (Figure("AUC", "0.89", "0.91", 0.0202, 0.02, True, (0.008, 0.034), 4), Figure("left", "3", "4", 0.75)),
)  # fmt: skip


def test_the_page_of_figures_is_what_the_results_give():
    assert figures.PAGE.read_text(encoding="utf-8") == figures.page(figures.cases())


def test_a_case_survives_its_file(tmp_path: Path):
    path = tmp_path / "attrition.json"
    path.write_text(CASE.to_json(), encoding="utf-8")
    assert Case.read(path) == CASE


def test_a_missed_target_is_marked():
    page = figures.page([CASE])
    assert "| AUC | 0.89 | 0.91 | 0.0202 (0.0080 to 0.0340) | ≤ 0.02 | **missed** |" in page
    assert "| left | 3 | 4 | 0.750 |  |  |" in page


def test_a_verdict_that_contradicts_its_figure_is_refused(tmp_path: Path):
    content = json.loads(CASE.to_json())
    content["figures"][0]["verdict"] = "met"
    path = tmp_path / "attrition.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"attrition\.json: AUC: the verdict is 'met' and should be 'missed'"):
        Case.read(path)


def test_a_case_without_a_subject_is_refused():
    with pytest.raises(ValueError, match="of no subject; add its module to SUBJECTS"):
        figures.page([replace(CASE, name="unheard-of")])


def test_every_result_names_data_command_commit_machine_and_date():
    for case in figures.cases():
        assert all(vars(case).values()), case.name
