"""The strategy guides describe the policy that comes with the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sheaf.strategy import DEFAULT, Strategy
from sheaf.strategy.policy.managers import CallDay, Card
from sheaf.strategy.policy.measures import MEASURES
from sheaf.strategy.policy.schema import Facts, Route, Service
from tests.strategy.banks import POLICY

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PAGE = "\n".join(
    (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    for name in ("strategy", "approvals", "client-lists", "call-list", "scorecard")
)


@pytest.mark.parametrize("model", [Strategy, Facts, Service, Route, CallDay, Card])
def test_every_part_of_the_policy_is_on_the_page(model: type[Strategy]) -> None:
    assert [name for name in model.model_fields if name != "name" and f"`{name}`" not in PAGE] == []


def test_every_measure_is_on_the_page() -> None:
    assert [name for name in MEASURES if f"| `{name}` |" not in PAGE] == []


def test_the_answers_are_those_of_the_default_policy() -> None:
    assert set(re.findall(r"policy Default strategy (\w+)", PAGE)) == {POLICY.version}


def test_the_tiers_shown_are_the_default_ones() -> None:
    [shown] = re.findall(r"```yaml\n(tiers:.*?)```", PAGE, re.DOTALL)
    lines = {line.strip() for line in DEFAULT.read_text(encoding="utf-8").splitlines()}
    assert [line for line in shown.splitlines() if line.strip() not in lines] == []
