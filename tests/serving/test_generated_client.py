"""The channel developers' tutorial runs as it stands, with the client that a generator makes from the API."""

from __future__ import annotations

import json
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

TUTORIAL = (ROOT / "docs" / "tutorials" / "channel-developer.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
HERE, CLIENT = "http://localhost:3000", "C0000164"


@pytest.fixture(scope="module")
def client(line: WholeLine) -> str:
    """A client with offers."""
    ids = map(str, line.recommender.snapshot.profiles.client_ids)
    return next(client for client in ids if len(line.recommender.recommend(client, 3).offers) == 3)


def block(word: str) -> str:
    """The tutorial's block of Python that has the word."""
    [found] = [text for text in re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL) if word in text]
    return str(found)


def commands(word: str) -> list[list[str]]:
    """The tutorial's indented commands that have the word, with their continuation lines."""
    lines = re.findall(rf"^    (\S*{word} (?:.*\\\n)*.*)$", TUTORIAL, re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " ")) for line in lines]


@pytest.fixture(scope="module")
def generated(service: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial's command has made `sheaf_client`."""
    folder = tmp_path_factory.mktemp("channel")
    [line] = commands("openapi-python-client")
    generator, *arguments = (part.replace(HERE, service) for part in line)
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
    offers, refusal, with_key = (
        json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
        for curl in commands("curl")
        for line in [[part.replace("localhost:3000", service).replace(CLIENT, client) for part in curl]]
    )
    assert len(offers["offers"]) == 1
    assert refusal["status"] == 404
    assert decision(service, with_key["decision_id"])["request_id"] == "app-8812"
