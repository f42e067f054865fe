"""What the documents say of commands and parameters is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sheaf.cli import app
from sheaf.serving.runtime.preparation import PLACES
from sheaf.training import Parameters

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
VERBS = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
VERBS |= {str(group.name) for group in app.registered_groups}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^|[`/ ])sheaf ([a-z]+)\b(?= |`|$)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named & VERBS or not named
    assert named <= VERBS | {"is"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_every_training_parameter_is_explained_with_its_default() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for name, value in Parameters().model_dump().items():
        told = "see" if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else f"{value:g}"
        assert re.search(rf"\| `{name}` \| {re.escape(told)}", text), name


def test_every_variable_of_the_environment_is_in_the_one_table_and_does_something() -> None:
    """Those of Sheaf wherever they stand, and whatever else the code reads or sets."""
    rooms = [*(path.parent for path in ROOT.glob("*/__init__.py")), ROOT / "tests"]
    files = [path for room in rooms for path in room.rglob("*.py")] + list((ROOT / "cli").rglob("*.py"))
    code = {path: path.read_text(encoding="utf-8") for path in files}
    named = {name for text in code.values() for name in re.findall(r"\bSHEAF_[A-Z_]*[A-Z]\b", text)}
    named |= {f"SHEAF_{what.upper()}" for what in (*PLACES, "earlier")}
    for path, text in code.items():
        if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks"):
            named |= set(re.findall(r"""environ(?:\.\w+)?[\[(]["'](\w+)""", text))
    table = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([A-Z][A-Z_]+)` \|", table, re.MULTILINE)
    assert sorted(told) == sorted(named)
