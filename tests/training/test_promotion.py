"""The contest for the champion's place: its terms, and how many events it takes."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sheaf.training import registry
from sheaf.training.attrition import LearnedAttrition
from sheaf.training.metrics import reliability
from sheaf.training.promotion import LEAST, contest

TERMS = {"horizon_days": 31, "catalog": "retail", "cohort": "all clients"}
FIGURES = {"clients": 1_000.0, "left": 40.0}


def found(**changes: object) -> LearnedAttrition:
    """An attrition model that is better than one share and than the present champion."""
    losses = {"attrition": 0.1, "one share": 0.2, "present champion": 0.15}
    model = SimpleNamespace(about={"horizon_days": 31, "catalog": "retail"})
    given = LearnedAttrition(model, FIGURES, {}, reliability(np.empty(0), np.empty(0)), losses, TERMS)  # type: ignore[arg-type]
    return replace(given, **changes)  # type: ignore[arg-type]


def test_the_better_model_is_promoted_and_a_first_one_needs_no_rival() -> None:
    assert contest(TERMS, TERMS, "", LEAST, "openers").promoted
    assert contest(TERMS, None, "", 0, "openers").promoted
    assert contest(TERMS, {}, "", LEAST, "openers").promoted  # a champion of an older Sheaf does not say its terms


@pytest.mark.parametrize(
    ("key", "value"), [("horizon_days", 62), ("catalog", "corporate"), ("cohort", "chosen corporate clients")]
)
def test_a_contest_with_a_champion_of_other_terms_is_refused(key: str, value: object) -> None:
    verdict = contest({**TERMS, key: value}, TERMS, "", 10_000, "openers")
    assert not verdict.promoted
    assert verdict.why.startswith("The contest is refused: this model was learned with ")
    assert str(value) in verdict.why
    assert str(TERMS[key]) in verdict.why
    assert "The champion stays." in verdict.why


@pytest.mark.parametrize("deciding", [0, 4, LEAST - 1])
def test_few_openers_do_not_dethrone_a_champion(deciding: int) -> None:
    verdict = contest(TERMS, TERMS, "", deciding, "clients who opened something")
    assert not verdict.promoted
    assert verdict.why.startswith(f"Not enough to say: {deciding} clients who opened something decide")


def test_few_leavers_do_not_dethrone_a_champion() -> None:
    assert found().verdict.promoted
    assert not found(figures={**FIGURES, "left": 4.0}).verdict.promoted
    assert not found(figures={**FIGURES, "left": 996.0}).verdict.promoted  # four stayed


def test_a_champion_that_saw_all_of_it_is_not_dethroned_without_a_contest() -> None:
    unseen = found(losses={"attrition": 0.1, "one share": 0.2})
    assert unseen.verdict.why.startswith("Not enough to say: 0 clients who left decide")


@pytest.mark.usefixtures("workplace")
def test_a_first_attrition_model_that_does_not_answer_says_why_and_leads_in_no_circle() -> None:
    worse = found(losses={"attrition": 0.3, "one share": 0.2}, present=None)
    assert worse.verdict.why.startswith("It does not answer, as it is no better than one share. Give more as-of days")

    class Empty:
        def save(self, folder: object) -> str:
            folder.mkdir()  # type: ignore[attr-defined]
            return "f"

    made = registry.record(Empty(), {}, {}, {}, {}, registry.ATTRITION)
    registry.crown(made, registry.CHALLENGER, registry.ATTRITION, worse.verdict.why)
    with pytest.raises(registry.RegistryError, match=r"version 1 is a challenger only\. It does not answer") as told:
        registry.need_attrition(dt.date(2025, 12, 31))
    assert "run `sheaf attrition" not in str(told.value)
