"""What the README shows channel developers is run as it stands, with the client that a generator makes of the API."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, WholeLine

README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
HERE, CLIENT = "http://localhost:3000", "C0000140"


@pytest.fixture(scope="module")
def client(line: WholeLine) -> str:
    """A client with offers."""
    ids = map(str, line.recommender.snapshot.profiles.client_ids)
    return next(client for client in ids if len(line.recommender.recommend(client, 3).offers) == 3)


def block(word: str) -> str:
    """The README's block of Python that has the word."""
    [found] = [text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if word in text]
    return str(found)


def command(word: str) -> list[str]:
    """The README's indented command that has the word, its continuation lines with it."""
    [found] = re.findall(rf"^    (\S*{word} (?:.*\\\n)*.*)$", README, re.MULTILINE)
    return shlex.split(found.replace("\\\n", " "))


@pytest.fixture(scope="module")
def generated(service: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's command has made `sheaf_client`."""
    folder = tmp_path_factory.mktemp("channel")
    generator, *arguments = (part.replace(HERE, service) for part in command("openapi-python-client"))
    assert generator == ".venv/bin/openapi-python-client"
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])  # it has ruff tidy up what it makes
    run = subprocess.run(
        [BIN / "openapi-python-client", *arguments, "--fail-on-warning"], cwd=folder, env={**os.environ, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def run(code: str, service: str, client: str, then: str, folder: Path) -> list[str]:
    """The lines that the code prints in a process of its own, at this service and for this client."""
    code = f"key = 'none is needed here'\n{code.replace(HERE, service).replace(CLIENT, client)}\n{then}"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def decision(service: str, decision_id: str) -> Any:
    return httpx.get(f"{service}/v1/decisions/{decision_id}").json()


def test_a_generated_client_asks_and_tells_what_became_of_it(service: str, client: str, generated: Path) -> None:
    told = "print(answer.decision_id, recorded.bundle_id, recorded.outcome.value, answer.offers[0].name, sep='\\n')"
    decision_id, bundle, outcome, name = run(block("sheaf_client"), service, client, told, generated)
    found = decision(service, decision_id)
    assert (found["client_id"], found["request_id"], found["channel"], found["k"]) == (client, "app-8812", "app", 3)
    assert (found["answer"]["offers"][0]["bundle_id"], found["answer"]["offers"][0]["name"]) == (bundle, name)
    assert [(one["bundle_id"], one["outcome"]) for one in found["feedback"]] == [(bundle, outcome)] == [
        (bundle, "shown")
    ]  # fmt: skip


def test_a_generated_client_reads_a_refusal(service: str, generated: Path) -> None:
    code = f"""
from sheaf_client import Client
from sheaf_client.api.quote import quote
from sheaf_client.models import AskQuote, Problem

refused = quote.sync(
    client=Client(base_url={service!r}), body=AskQuote(client_id="nobody", bundle_id="x"), x_request_id="app-1"
)
assert isinstance(refused, Problem)
print(refused.status, refused.request_id, refused.detail)
"""
    [line] = run(code, service, "", "", generated)
    assert line.startswith("404 app-1 no client 'nobody' in the profiles")


def test_plain_python_and_curl_do_as_well(service: str, client: str, tmp_path: Path) -> None:
    [python] = run(block("import httpx"), service, client, "print(answer['decision_id'])", tmp_path)
    assert decision(service, python)["client_id"] == client
    curl = [part.replace("localhost:3000", service).replace(CLIENT, client) for part in command("curl")]
    done = subprocess.run(curl, capture_output=True, text=True, check=True)
    assert decision(service, httpx.Response(200, text=done.stdout).json()["decision_id"])["request_id"] == "app-8812"
