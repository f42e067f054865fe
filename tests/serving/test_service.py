"""The service as its callers meet it: a process of its own, asked over HTTP."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from jsonschema import validate

from sheaf.catalog import Line
from sheaf.serving import ANSWER, Answer
from sheaf.serving.runtime.demonstration import running
from sheaf.serving.settings import FOLDER
from tests.conftest import ROOT, WholeLine
from tests.test_house import repository_files


def post(service: str, body: Any, to: str = "v1/recommend") -> httpx.Response:
    """The answer to a body of JSON, or of bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{service}/{to}", content=content, headers={"content-type": "application/json"}, timeout=30)


def unlogged(reply: httpx.Response) -> Answer:
    """The answer as a recommender gives it that logs nothing."""
    answer = ANSWER.validate_python(reply.json())
    assert answer.decision_id
    return replace(answer, decision_id=None)


@pytest.fixture(scope="module")
def client_id(line: WholeLine) -> str:
    return str(line.recommender.snapshot.profiles.client_ids[0])


def test_a_client_gets_offers_with_reasons_model_and_day(service: str, line: WholeLine, client_id: str) -> None:
    reply = post(service, {"client_id": client_id, "k": 3})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    answer = unlogged(reply)
    assert reply.json().keys() == {
        "client_id", "offers", "horizon_days", "profile_day", "model_version", "catalog_version", "objective",
        "resting", "explored", "plan", "decision_id"
    }  # fmt: skip
    assert answer == line.recommender.recommend(client_id, k=3)
    assert len(answer.offers) == 3
    first = reply.json()["offers"][0]
    assert first.keys() == {
        "rank", "bundle_id", "name", "line", "probability", "score", "products", "reasons", "why", "gates", "worth",
        "route",
    }  # fmt: skip
    assert first["products"][0].keys() == {"product_id", "name", "line", "held", "probability"}


def test_ordered_by_value_every_offer_says_what_it_is_worth(service: str, client_id: str) -> None:
    answer = post(service, {"client_id": client_id, "objective": "value"}).json()
    assert answer["objective"] == "value"
    assert answer["offers"]
    assert all(offer["score"] == offer["worth"]["value"] for offer in answer["offers"])
    assert post(service, {"client_id": client_id, "objective": "profit"}).json()["errors"][0]["field"] == "objective"


def test_lines_and_k_have_defaults(service: str, client_id: str) -> None:
    assert len(post(service, {"client_id": client_id}).json()["offers"]) == 5
    only = post(service, {"client_id": client_id, "lines": ["intermediary"], "k": 100}).json()["offers"]
    assert {offer["line"] for offer in only} == {"intermediary"}


@pytest.mark.parametrize("kind", ["retail", "corporate", "institution"])
def test_someone_new_gets_offers(service: str, kind: str) -> None:
    reply = post(service, {"new_client": {"kind": kind, "age": None}})
    assert reply.status_code == 200
    assert reply.json()["client_id"] is None
    assert len(reply.json()["offers"]) == 5


@pytest.mark.parametrize("client", ["C9999999", "nobody", "漢字", "a/b?c=d", " ", "\\", "x" * 200, "\x00"])
def test_an_unknown_client_is_a_404_that_names_it(service: str, client: str) -> None:
    reply = post(service, {"client_id": client})
    assert reply.status_code == 404
    assert f"no client {client!r} in the profiles of 2025-12-31" in reply.json()["detail"]


BAD = [
    (b"", "body", "JSON"),
    (b"{", "body", "JSON"),
    (b"not json at all", "body", "JSON"),
    (b'\xff\xfe{"client_id": 1}', "body", ""),
    (b"[]", "body", ""),
    (b"null", "body", ""),
    (b"{}", "body", "give either client_id or new_client"),
    (b'{"client_id": "a", "k": NaN}', "k", ""),
    (b'{"new_client": {"kind": "retail", "age": NaN}}', "new_client.age", "finite"),
    (b'{"new_client": {"kind": "retail", "age": Infinity}}', "new_client.age", "finite"),
    (b'{"client_id": "\\ud800"}', "body", "hex escape at line 1 column 22"),
    ({"client_id": 7}, "client_id", "string"),
    ({"client_id": ""}, "client_id", "at least 1"),
    ({"client_id": ["a"]}, "client_id", "string"),
    ({"client_id": "x" * 201}, "client_id", "at most 200"),
    ({"client_id": "a", "k": 0}, "k", "greater than or equal to 1"),
    ({"client_id": "a", "k": 101}, "k", "less than or equal to 100"),
    ({"client_id": "a", "k": "five"}, "k", "integer"),
    ({"client_id": "a", "k": 1.5}, "k", "integer"),
    ({"client_id": "a", "k": True}, "k", "integer"),
    ({"client_id": "a", "k": None}, "k", "integer"),
    ({"client_id": "a", "lines": ["retail", "space"]}, "lines.1", "'corporate', 'retail', 'intermediary'"),
    ({"client_id": "a", "lines": "retail"}, "lines", "array"),
    ({"client_id": "a", "lines": [*Line, "retail"]}, "lines", "at most 4"),
    ({"client_id": "a", "channel": ""}, "channel", "at least 1"),
    ({"client_id": "a", "channel": "a\x00"}, "channel", "pattern"),
    ({"client_id": "a", "channel": "x" * 101}, "channel", "at most 100"),
    ({"client_id": "a", "customer": "b"}, "customer", "not permitted"),
    ({"client_id": "a", "new_client": {"kind": "retail"}}, "body", "give either client_id or new_client"),
    ({"new_client": {}}, "body", "new_client needs its kind"),
    ({"new_client": {"age": 31}}, "body", "new_client needs its kind"),
    ({"new_client": {"kind": 3}}, "body", "new_client needs its kind"),
    ({"new_client": {"kind": "wizard"}}, "new_client", "kind: 'wizard' is none of retail, corporate, institution"),
    ({"new_client": {"kind": "retail", "shoe_size": 43}}, "new_client", "shoe_size: no such column of a profile"),
    ({"new_client": {"kind": "retail", "age": "old"}}, "new_client", "age: a number is wanted"),
    ({"new_client": {"kind": "retail", "age": 1e300}}, "new_client", "age: 1e+300"),
    ({"new_client": {"kind": "retail", "age": [1]}}, "new_client.age", ""),
    ({"new_client": {"kind": "retail", **{f"a{n}": 1 for n in range(500)}}}, "new_client", "at most 500"),
]


@pytest.mark.parametrize(("body", "field", "problem"), BAD, ids=[str(body)[:50] for body, *_ in BAD])
def test_a_bad_body_is_a_422_that_names_the_field(service: str, body: Any, field: str, problem: str) -> None:
    reply = post(service, body)
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()["errors"]
    assert all(item.keys() == {"field", "problem"} for item in told)
    assert "Value error" not in reply.text
    mine = [item["problem"] for item in told if item["field"] == field]
    assert mine, told
    assert any(problem in item for item in mine), told


def test_several_wrong_fields_are_told_at_once(service: str) -> None:
    told = post(service, {"client_id": 1, "k": 0, "lines": ["x"], "more": 1}).json()["errors"]
    assert {item["field"] for item in told} == {"client_id", "k", "lines.0", "more"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_a_body_that_does_not_say_it_is_json_is_a_415(service: str, kind: str, client_id: str) -> None:
    """So that no page in somebody's browser can ask on their behalf: it would have to ask for permission first."""
    body = json.dumps({"client_id": client_id})
    reply = httpx.post(f"{service}/v1/recommend", content=body, headers={"content-type": kind})
    assert reply.status_code == 415
    assert "application/json" in reply.json()["detail"]
    as_json = {"content-type": "Application/JSON; charset=utf-8"}
    assert httpx.post(f"{service}/v1/recommend", content=body, headers=as_json).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"client_id": "x" * 5_000_000},
        {"new_client": {"kind": "retail", "region": "y" * 1_000_000}},
        {"new_client": {str(number): number for number in range(100_000)}},
        [[[[]]]] * 10_000,
        b"[" * 100_000,
        b"\x00" * 1_000_000,
    ],
    ids=["long id", "long text", "many fields", "lists", "deep", "zeros"],
)
def test_a_huge_body_is_the_callers_fault(service: str, body: Any) -> None:
    assert 400 <= post(service, body).status_code < 500


def test_texts_of_all_scripts_pass_through(service: str) -> None:
    reply = post(service, {"new_client": {"kind": "retail", "sector": "Kfz-Gewerbe 漢字 🏦 {value}"}})
    assert reply.status_code == 200


def test_other_ways_in_are_closed(service: str) -> None:
    assert httpx.get(f"{service}/v1/recommend").status_code == 405
    assert httpx.get(f"{service}/nothing").status_code == 404


def test_health_and_metrics_are_told(service: str) -> None:
    for path in ("livez", "readyz", "healthz", "metrics"):
        assert httpx.get(f"{service}/{path}").status_code == 200


def test_a_connection_that_is_idle_for_a_while_answers_still(service: str) -> None:
    with closing(HTTPConnection(urlsplit(service).netloc)) as connection:
        for idle in (0.0, 6.0):  # uvicorn's own default is five seconds
            time.sleep(idle)
            connection.request("GET", "/livez")
            reply = connection.getresponse()
            reply.read()
            assert (reply.status, reply.will_close) == (200, False)


def test_every_figure_that_the_page_names_is_told(service: str, client_id: str) -> None:
    with running() as fresh:  # in the folder of `service`; BentoML forgets figures when another one starts
        answer = post(fresh, {"client_id": client_id}).json()
        told = {"decision_id": answer["decision_id"], "bundle_id": answer["offers"][0]["bundle_id"], "outcome": "shown"}
        now = dt.datetime.now(dt.UTC).isoformat()
        assert post(fresh, told | {"idempotency_key": f"figures-{now}", "at": now}, "v1/feedback").status_code == 200
        figures = httpx.get(f"{fresh}/metrics").text
    page = (ROOT / "docs" / "guides" / "running.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bsheaf_[a-z_]+(?:_seconds|_total|_info|_count|_bucket)\b", page))
    there = set(re.findall(r"^(sheaf_\w+)[{ ]", figures, re.MULTILINE))
    assert len(named) >= 8
    # The histogram stands there by its parts; nothing was laid out anew yet, and no connection was closed.
    assert named - there == {"sheaf_request_seconds", "sheaf_refresh_total", "sheaf_connections_closed_total"}


def test_figures_do_not_name_what_is_asked_for(service: str, client_id: str) -> None:
    assert httpx.get(f"{service}/v1/clients/{client_id}").status_code == 200
    assert httpx.get(f"{service}/v1/made-up").status_code == httpx.get(f"{service}/made-up").status_code == 404
    figures = httpx.get(f"{service}/metrics").text
    assert 'sheaf_request_seconds_count{route="/v1/clients/{client_id}",status="200"}' in figures
    assert client_id not in figures
    assert "made-up" not in figures


def test_the_api_describes_itself(service: str) -> None:
    told, again = (httpx.get(f"{service}/openapi.json").json() for _ in range(2))
    assert told == again
    ask = told["paths"]["/v1/recommend"]["post"]
    assert ask["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Ask"}
    assert {"client_id", "new_client", "k", "lines", "objective", "channel"} == told["components"]["schemas"]["Ask"][
        "properties"
    ].keys()
    assert httpx.get(f"{service}/docs").status_code == 404  # its scripts would come from the internet


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"new_client": {"kind": "retail"}}, "application/json"),
        (404, {"client_id": "nobody"}, "application/json"),
        (415, {"client_id": "nobody"}, "text/plain"),
        (422, {"client_id": "a", "k": 0, "lines": ["x"]}, "application/json"),
        (422, {"new_client": {"kind": "wizard"}}, "application/json"),
        (422, "nothing", "application/json"),
    ],
)
def test_every_answer_is_as_the_description_says(service: str, status: int, body: Any, kind: str) -> None:
    reply = httpx.post(f"{service}/v1/recommend", content=json.dumps(body), headers={"content-type": kind})
    assert reply.status_code == status
    is_as_described(service, reply, "/v1/recommend")


def is_as_described(service: str, reply: httpx.Response, path: str) -> None:
    described = httpx.get(f"{service}/openapi.json").json()
    of_method = described["paths"][path][reply.request.method.lower()]["responses"]
    kind = "application/json" if reply.status_code < 400 else "application/problem+json"
    assert reply.headers["content-type"] == kind
    schema = of_method[str(reply.status_code)]["content"][kind]["schema"]
    validate(reply.json(), {**schema, "components": closed(described["components"])})


def closed(components: Any) -> Any:
    """The same schemas, but no object may hold more than they say."""
    for schema in components["schemas"].values():
        schema.setdefault("additionalProperties", False)
        assert set(schema.get("required", ())) == set(schema.get("properties", ())) or "examples" in schema
    return components


def test_callers_at_the_same_time_get_their_own_answers(service: str, line: WholeLine) -> None:
    clients = [str(client) for client in line.recommender.snapshot.profiles.client_ids[:40]]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda client: unlogged(post(service, {"client_id": client})), clients))
    # What a client accepted in another test rests, of which the plain recommender knows nothing.
    free = [(client, answer) for client, answer in zip(clients, answers, strict=True) if not answer.resting]
    assert len(free) > 30
    for client, answer in free:
        assert answer == line.recommender.recommend(client)


# An editable installation finds the project from anywhere; a machine without the source does not.
NO_SOURCE = """
import sys

sys.meta_path[:] = [one for one in sys.meta_path if not getattr(one, "__module__", "").startswith("__editable__")]
"""


def test_a_bento_built_from_a_clean_checkout_serves_away_from_its_source(
    line: WholeLine, tmp_path: Path, client_id: str
) -> None:
    source, elsewhere, away = tmp_path / "source", tmp_path / "elsewhere", tmp_path / "away"
    for path in repository_files():
        place = source / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    shutil.copytree(line.folder / FOLDER, source / FOLDER)
    for folder in (elsewhere, away):
        folder.mkdir()
    (away / "sitecustomize.py").write_text(NO_SOURCE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHEAF_")}
    environment |= {"BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": str(away)}

    def python(*arguments: str, where: Path = elsewhere) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)

    assert "ModuleNotFoundError" in python("-c", "import sheaf").stderr
    built = python("-m", "bentoml", "build", "--output", "tag", where=source)
    assert built.returncode == 0, built.stderr
    shutil.rmtree(source)
    [src] = (tmp_path / "bentoml").glob("bentos/sheaf/*/src")
    assert {path.name for path in src.iterdir() if path.is_dir()} == {
        "sheaf", "catalog", "features", "pricing", "training", "strategy", "serving", "mlruns"
    }  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-P", "-m", "bentoml", "serve", "sheaf:latest", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(serve, cwd=elsewhere, env=environment, start_new_session=True) as process:
        try:
            reply = _once_it_answers(f"http://127.0.0.1:{port}", {"client_id": client_id, "k": 3})
            mapped = {
                at.path for one in psutil.Process(process.pid).children(recursive=True) for at in one.memory_maps()
            }
        finally:
            os.killpg(process.pid, signal.SIGTERM)
    assert unlogged(reply) == line.recommender.recommend(client_id, k=3)
    assert any(path.startswith(str(src)) for path in mapped)  # profiles, of the bento's own
    assert not [path for path in mapped if path.startswith(str(line.folder))]
    assert (elsewhere / "mlruns" / "decisions.db").exists()


def _once_it_answers(service: str, body: Any, seconds: float = 60) -> httpx.Response:
    until = time.monotonic() + seconds
    while True:
        try:
            return post(service, body)
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("path", ["v1/clients/C1", "v1/decisions/x", "metrics"])
def test_a_page_of_another_name_reads_nothing(service: str, path: str) -> None:
    assert httpx.get(f"{service}/{path}", headers={"host": "localhost:1"}).status_code in (200, 404)
    reply = httpx.get(f"{service}/{path}", headers={"host": "rebound.evil.example"})
    assert reply.status_code == 403
    assert reply.headers["content-type"] == "application/problem+json"
