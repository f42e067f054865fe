"""What the documents say of commands and parameters is so."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import sheaf
from sheaf.cli import app
from sheaf.serving.schemas.answers import ANSWER
from sheaf.serving.settings import Settings, variable
from sheaf.training import Parameters

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        ROOT / "RELEASE.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
    ]
)
VERBS = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
VERBS |= {str(group.name) for group in app.registered_groups}


@cache
def hooks() -> Any:
    """The module that generates reference pages when the site is built."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^|[`/ ])sheaf ([a-z]+)\b(?= |`|$)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named & VERBS or not named
    assert named <= VERBS | {"is"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    options = {
        " ".join(path): {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        for path, command in hooks().commands(get_command(app), ("sheaf",))
    }
    called = r"(?:^|[`/ ])(sheaf (?:(?:keys|policy|decisions) )?[a-z-]+)\b([^`\n#&|]*)"
    named = re.findall(called, page.read_text(encoding="utf-8"), re.MULTILINE)
    wrong = {
        f"{verb} {option}"
        for verb, line in named
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)
        if verb in options and option not in {*options[verb], "--help"}
    }
    assert wrong == set()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    generated = [(ROOT / "docs" / path).resolve() for path in hooks().PAGES]
    assert [link for link in missing if (page.parent / link).resolve() not in generated] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """In code spans: modules, other files and folders, such as `strategy/default.yaml` and `benchmarks/trials/`."""
    folders = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."))
    named = re.findall(rf"`((?:{folders})/[\w./-]*?(?:\.py|\.yaml|\.md|\.ipynb|/))`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not name.startswith(("mlruns/", "site/")) and not (ROOT / name).exists()] == []


def test_every_training_parameter_is_described() -> None:
    page = hooks().parameters_page()
    for name, field in Parameters.model_fields.items():
        value = field.get_default(call_default_factory=True)
        shown = "see below" if isinstance(value, dict) else f"`{value}`"
        assert f"| `{name}` | {shown} |" in page
        assert field.description or isinstance(value, dict), name


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    stated = re.findall(r"^::: sheaf\.([\w.]+)$", page, re.MULTILINE)
    assert sorted(name.rpartition(".")[2] for name in stated) == sorted(sheaf.__all__)


def test_every_verb_is_in_the_generated_reference() -> None:
    page = hooks().command_line_page()
    assert [verb for verb in VERBS if f"## sheaf {verb}" not in page] == []


def test_the_site_builds_strictly_without_a_network(tmp_path: Path) -> None:
    """Neither building nor reading the site takes anything from outside."""
    build = (
        "import socket\n"
        "def refuse(*arguments): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from mkdocs.__main__ import cli\n"
        f"cli(['build', '--strict', '--quiet', '--site-dir', {str(tmp_path)!r}])"
    )
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run([sys.executable, "-c", build], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) > 50
    loaded = r"""<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*\shref="(?:https?:)?//"""
    assert [path.name for path, text in pages.items() if re.search(loaded, text)] == []


def test_the_page_of_settings_is_the_generated_one() -> None:
    page, path = hooks().settings_page(), ROOT / "docs" / "reference" / "settings.md"
    if os.environ.get("SHEAF_WRITE_DOCS"):
        path.write_text(page, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page, f"set SHEAF_WRITE_DOCS=1 to write {path.name} anew"


def test_the_tutorial_shows_an_answer_as_the_service_sends_it() -> None:
    page = (ROOT / "docs" / "tutorials" / "channel-developer.md").read_text(encoding="utf-8")
    [shown] = [text for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if '"offers"' in text]
    assert json.loads(ANSWER.dump_json(ANSWER.validate_json(shown))) == json.loads(shown)


def test_every_log_message_of_the_operations_page_is_in_the_code() -> None:
    page = (ROOT / "docs" / "guides" / "running.md").read_text(encoding="utf-8").split("## Log messages")[1]
    texts = [path.read_text(encoding="utf-8") for room in ("serving", "cli") for path in (ROOT / room).rglob("*.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))  # texts that are parted over lines
    messages = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    parts = [part.strip(" ;:,") for message in messages for part in re.split(r"…(?: \(…\))?", message)]
    assert [part for part in parts if part not in code] == []


def test_every_variable_of_the_environment_is_documented_and_does_something() -> None:
    """Those of Sheaf wherever they stand, and whatever else the code reads or sets."""
    rooms = [*(path.parent for path in ROOT.glob("*/__init__.py")), ROOT / "tests"]
    files = [path for room in rooms for path in room.rglob("*.py")] + list((ROOT / "cli").rglob("*.py"))
    code = {path: path.read_text(encoding="utf-8") for path in files}
    named = {name for text in code.values() for name in re.findall(r"\bSHEAF_[A-Z_]*[A-Z]\b", text)}
    elsewhere = "".join(text for path, text in code.items() if path.parts[-2:] != ("serving", "settings.py"))
    for name in Settings.model_fields:
        assert re.search(rf"""\.{name}\b|["']{name}["']|\b{variable(name)}\b""", elsewhere), name
        named.add(variable(name))
    for path, text in code.items():
        if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks"):
            named |= set(re.findall(r"""environ(?:\.\w+)?[\[(]["'](\w+)""", text))
    told = re.findall(r"^\| `([A-Z][A-Z_]+)` \|", hooks().settings_page(), re.MULTILINE)
    assert sorted(told) == sorted(named)
