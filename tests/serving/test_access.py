"""Who may ask what: every sort of caller at every endpoint, for a client of its own, another's, and none at all."""

from __future__ import annotations

import base64
import datetime as dt
import errno
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sheaf.features import Of
from sheaf.serving.http.access import Access, AccessError, Caller, Scope, add_key, remove_key
from sheaf.serving.runtime.demonstration import running
from tests.conftest import ROOT, WholeLine

ISSUER, AUDIENCE = "https://login.bank.example", "sheaf"
SCOPES = [scope for scope in Scope if scope is not Scope.ALL_CLIENTS]
SIGNER, STRANGER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def public(key: rsa.RSAPrivateKey, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return told | {"kid": name, "alg": "RS256", "use": "sig"}


def token(signer: Any = SIGNER, kid: str = "one", algorithm: str = "RS256", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": time.time() + 600, "scope": " ".join(SCOPES)}
    told = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(told, signer, algorithm, headers={"kid": kid})


@contextmanager
def issuer(keys: dict[str, Any], asked: list[float] | None = None) -> Iterator[str]:
    """The address of an issuer's keys, which are those of `keys` at the time; when it was `asked` is written down."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(time.monotonic())
            if not keys:
                self.send_error(500)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": list(keys.values())}).encode())

        def log_message(self, *told: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()


@contextmanager
def served(line: WholeLine, access: Path, patch: pytest.MonkeyPatch, log: Path | None = None) -> Iterator[str]:
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    patch.setenv("BENTOML_HOME", str(line.folder / "bentoml"))
    patch.setenv("SHEAF_DECISIONS", str(access.with_name("decisions.db")))
    patch.setenv("SHEAF_ACCESS", str(access))
    with chdir(line.folder), running(log=log) as url:
        yield url


@dataclass(frozen=True)
class Guarded:
    """A service that wants to know who asks, what is in its file, and the secrets of channels by name."""

    url: str
    access: Path
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def guarded(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    path = tmp_path_factory.mktemp("access") / "access.yaml"
    with issuer({"one": public(SIGNER, "one")}) as jwks, pytest.MonkeyPatch.context() as patch:
        path.write_text(f"rate: 1000/second\npeople: {{issuer: {ISSUER}, audience: {AUDIENCE}, jwks: '{jwks}'}}\n")
        of_channel: dict[str, list[str]] = {
            "app": ["recommend", "feedback"],
            "desk": ["quote"],
            "audit": ["audit"],
            "all": list(SCOPES),
        }
        secrets = {name: add_key(path, name, scopes) for name, scopes in of_channel.items()}
        secrets["slow"] = add_key(path, "slow", list(SCOPES), "3/minute")
        with served(line, path, patch) as url:
            yield Guarded(url, path, secrets)


@dataclass(frozen=True)
class Somebody:
    """A caller as a bank has one: how it says who it is, what it may do, whose clients it sees."""

    headers: dict[str, str]
    scopes: frozenset[Scope]
    sees: frozenset[str]  # of "mine", "others"
    known: bool = True


def bearer(**changes: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {token(**changes)}"}


@pytest.fixture(scope="module")
def books(line: WholeLine) -> dict[str, tuple[str, str, str]]:
    """Two clients of different branches: id, manager, branch."""
    relationships = line.recommender.relationships
    assert relationships is not None
    ids = [str(client) for client in line.recommender.snapshot.profiles.client_ids]
    told = [(client, *(relationships.book(client) or (None, None))) for client in ids]
    whole = [(client, manager, branch) for client, manager, branch in told if manager and branch]
    others = next(one for one in whole if one[1] != whole[0][1] and one[2] != whole[0][2])
    return {"mine": whole[0], "others": others}


@pytest.fixture(scope="module")
def callers(guarded: Guarded, books: dict[str, tuple[str, str, str]]) -> dict[str, Somebody]:
    _, manager, branch = books["mine"]
    every, own, none = frozenset({"mine", "others"}), frozenset({"mine"}), frozenset[str]()
    may = {"app": "recommend feedback", "desk": "quote", "audit": "audit", "all": " ".join(SCOPES)}
    found = {
        f"key of {name}": Somebody({"x-api-key": guarded.secrets[name]}, frozenset(map(Scope, scopes.split())), every)
        for name, scopes in may.items()
    }
    people: dict[str, tuple[dict[str, Any], frozenset[str]]] = {
        "the manager": ({"manager_id": manager}, own),
        "the manager, with the branch": ({"manager_id": manager, "branch_id": branch}, own),
        "the branch": ({"branch_id": branch}, own),
        "the manager, of another branch": ({"manager_id": manager, "branch_id": "elsewhere"}, none),
        "another manager": ({"manager_id": "M-none"}, none),
        "nobody's manager": ({}, none),
        "an empty manager": ({"manager_id": ""}, none),
        "the head office": ({"scope": " ".join(Scope)}, every),
    }
    for name, (claims, sees) in people.items():
        found[name] = Somebody(bearer(**claims), frozenset(SCOPES), sees)
    for scope in SCOPES:
        found[f"only {scope}"] = Somebody(bearer(manager_id=manager, scope=[scope]), frozenset({scope}), own)
    found["no scope"] = Somebody(bearer(manager_id=manager, scope=None), frozenset(), own)
    unknown = {
        "nobody": {}, "a wrong key": {"x-api-key": "sheaf_00000000_x"}, "an empty key": {"x-api-key": ""},
        "no bearer": {"authorization": "Basic YTpi"}, "no token": {"authorization": "Bearer"},
        "two ways": {"x-api-key": guarded.secrets["all"], "authorization": f"Bearer {token()}"},
    }  # fmt: skip
    for name, headers in unknown.items():
        found[name] = Somebody(headers, frozenset(), none, known=False)
    return found


@pytest.fixture(scope="module")
def logged(guarded: Guarded, books: dict[str, tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    """By whose client: the ids of a decision and a quote about it, and a bundle of theirs; and of nobody's."""
    found = {"none": dict.fromkeys(("decision", "quote"), "01978b5e-2c51-7d0e-9a3f-3b1d1c0f2a4e") | {"bundle": "x"}}
    headers = {"x-api-key": guarded.secrets["all"]}
    for whose, (client, *_) in books.items():
        answer = httpx.post(f"{guarded.url}/v1/recommend", json={"client_id": client}, headers=headers).json()
        bundle = answer["offers"][0]["bundle_id"]
        body = {"client_id": client, "bundle_id": bundle}
        quoted = httpx.post(f"{guarded.url}/v1/quote", json=body, headers=headers).json()
        found[whose] = {"decision": answer["decision_id"], "quote": quoted["quote_id"], "bundle": bundle}
    return found


ENDPOINTS = {
    "recommend": Scope.RECOMMEND, "recommend_batch": Scope.RECOMMEND, "quote": Scope.QUOTE, "clients": Scope.RECOMMEND,
    "plan": Scope.RECOMMEND, "approval": Scope.RECOMMEND,
    "decisions": Scope.AUDIT, "quotes": Scope.AUDIT, "feedback": Scope.FEEDBACK,
}  # fmt: skip


def ask(url: str, endpoint: str, client: str, of: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    headers = {**headers, "x-request-id": "r-1"}  # refusals tell it

    def post(body: Any) -> httpx.Response:
        return httpx.post(f"{url}/v1/{endpoint}", json=body, headers=headers, timeout=30)

    if endpoint == "recommend":
        return post({"client_id": client})
    if endpoint == "recommend_batch":
        return post({"client_ids": [client]})
    if endpoint == "quote":
        return post({"client_id": client, "bundle_id": of["bundle"]})
    if endpoint == "feedback":
        now = dt.datetime.now(dt.UTC).isoformat()
        told = {"decision_id": of["decision"], "bundle_id": of["bundle"], "outcome": "shown", "at": now}
        return post(told | {"idempotency_key": os.urandom(8).hex()})
    if endpoint in ("plan", "approval"):
        asked = {"bundle_id": of["bundle"]} if endpoint == "approval" else {}
        return httpx.get(f"{url}/v1/clients/{client}/plan", params=asked, headers=headers, timeout=30)
    which = {"clients": client, "decisions": of["decision"], "quotes": of["quote"]}[endpoint]
    return httpx.get(f"{url}/v1/{endpoint}/{which}", headers=headers, timeout=30)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_caller_at_every_endpoint_for_every_client(
    guarded: Guarded,
    callers: dict[str, Somebody],
    books: dict[str, tuple[str, str, str]],
    logged: dict[str, dict[str, str]],
    endpoint: str,
) -> None:
    ids = {whose: client for whose, (client, *_) in books.items()} | {"none": "C-none"}
    for name, who in callers.items():
        refused = {}
        for whose, client in ids.items():
            reply = ask(guarded.url, endpoint, client, logged[whose], who.headers)
            told = f"{name}, {endpoint}, {whose}: {reply.status_code} {reply.text[:300]}"
            if not who.known:
                assert reply.status_code == 401, told
                assert reply.headers["www-authenticate"] == "Bearer"
            elif ENDPOINTS[endpoint] not in who.scopes:
                assert reply.status_code == 403, told
            elif endpoint == "recommend_batch":
                assert reply.status_code == 200, told
                seen = [answer["client_id"] for answer in reply.json()["answers"]]
                assert seen == ([client] if whose in who.sees else []), told
            else:
                assert reply.status_code == (200 if whose in who.sees else 404), told
            if whose not in who.sees:
                text = reply.text
                for private in (client, *logged[whose].values()):
                    text = text.replace(private, "…")
                refused[whose] = (reply.status_code, text)
        assert len(set(refused.values())) <= 1, f"{name} learns at {endpoint} who is a client: {refused}"


def test_who_asked_is_logged_and_sees_a_new_client_of_its_own(
    guarded: Guarded, callers: dict[str, Somebody], books: dict[str, tuple[str, str, str]]
) -> None:
    mine = bearer(manager_id=books["mine"][1], sub="anna")
    body = {"new_client": {"kind": "retail", "age": 31}}
    made = httpx.post(f"{guarded.url}/v1/recommend", json=body, headers=mine).json()["decision_id"]
    place = f"{guarded.url}/v1/decisions/{made}"
    assert httpx.get(place, headers=mine).json()["caller"] == "person:anna"
    assert httpx.get(place, headers=bearer(manager_id=books["mine"][1], sub="bert")).status_code == 404
    assert httpx.get(place, headers=callers["key of audit"].headers).status_code == 200


def test_an_idempotency_key_is_its_callers_own(
    guarded: Guarded, callers: dict[str, Somebody], logged: dict[str, dict[str, str]]
) -> None:
    """Another's use of the same key neither blocks a caller nor tells it anything."""
    now = dt.datetime.now(dt.UTC).isoformat()
    place, told = f"{guarded.url}/v1/feedback", {"idempotency_key": "k-1", "outcome": "shown", "at": now}
    of_key, of_person = (
        told | {"decision_id": logged[whose]["decision"], "bundle_id": logged[whose]["bundle"]}
        for whose in ("others", "mine")
    )
    for _ in range(2):
        for body, name in ((of_key, "key of app"), (of_person, "the manager")):
            reply = httpx.post(place, json=body, headers=callers[name].headers)
            assert reply.status_code == 200, reply.text
            assert reply.json()["decision_id"] == body["decision_id"]
    stranger = bearer(manager_id="M-none", sub="bert")
    hidden = httpx.post(place, json=of_key, headers=stranger)
    unused = httpx.post(place, json=of_key | {"idempotency_key": "k-2"}, headers=stranger)
    assert (hidden.status_code, hidden.json()["detail"]) == (404, unused.json()["detail"])


def test_callers_whose_names_begin_alike_are_two(guarded: Guarded, books: dict[str, tuple[str, str, str]]) -> None:
    one, other = (bearer(manager_id=books["mine"][1], sub="a" * 254 + last) for last in "xy")
    body = {"new_client": {"kind": "retail", "age": 31}}
    made = httpx.post(f"{guarded.url}/v1/recommend", json=body, headers=one).json()["decision_id"]
    place = f"{guarded.url}/v1/decisions/{made}"
    assert httpx.get(place, headers=one).json()["caller"] == "person:" + "a" * 254 + "x"
    assert httpx.get(place, headers=other).status_code == 404


@pytest.mark.parametrize("sub", ["", " ", "a" * 256, "a\x00", "anna\n", "a\ud800", "a\u200b", 7, ["anna"], {}, True])
def test_a_token_whose_sub_cannot_be_kept_whole_is_refused(guarded: Guarded, sub: Any) -> None:
    reply = httpx.get(f"{guarded.url}/v1/clients/x", headers=bearer(sub=sub))
    assert reply.status_code == 401
    assert "this token is not taken" in reply.json()["detail"]


def _unsigned() -> str:
    """A token that says it needs no signature."""
    parts = ({"alg": "none", "kid": "one"}, {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": time.time() + 600,
                                             "scope": " ".join(Scope)})  # fmt: skip
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), ""])


def _by_public_key() -> str:
    """A token signed with the issuer's public key as if that were a shared secret."""
    parts = [{"alg": "HS256", "kid": "one"}, {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": time.time() + 600}]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    import hmac

    secret = json.dumps(public(SIGNER, "one")).encode()
    signature = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return (text + b"." + signature).decode()


FORGED = {
    "no signature": _unsigned,
    "the public key as a secret": _by_public_key,
    "expired": lambda: token(exp=time.time() - 60),
    "never expires": lambda: token(exp=None),
    "another issuer's": lambda: token(iss="https://login.other.example"),
    "for another audience": lambda: token(aud="other"),
    "of nobody": lambda: token(sub=None),
    "signed by a stranger": lambda: token(STRANGER),
    "with a key that the issuer lacks": lambda: token(STRANGER, "two"),
    "not valid yet": lambda: token(nbf=time.time() + 600),
    "no token": lambda: "a.b.c",
    "not even that": lambda: "~",
    "altered": lambda: token()[:-6] + "AAAAAA",
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_token_that_the_issuer_did_not_give_for_this_is_refused(
    guarded: Guarded, books: dict[str, tuple[str, str, str]], forged: str
) -> None:
    headers = {"authorization": f"Bearer {FORGED[forged]()}"}
    reply = httpx.get(f"{guarded.url}/v1/clients/{books['mine'][0]}", headers=headers)
    assert reply.status_code == 401, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert "retail" not in reply.text


def test_who_asks_too_often_is_told_when_to_ask_again(guarded: Guarded, books: dict[str, tuple[str, str, str]]) -> None:
    def asked(name: str) -> httpx.Response:
        return httpx.get(f"{guarded.url}/v1/clients/{books['mine'][0]}", headers={"x-api-key": guarded.secrets[name]})

    assert [asked("slow").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert 1 <= int(asked("slow").headers["retry-after"]) <= 60
    assert asked("app").status_code == 200


def test_keys_are_rotated_without_a_restart_and_a_broken_file_changes_nothing(
    guarded: Guarded, books: dict[str, tuple[str, str, str]]
) -> None:
    def status(secret: str) -> int:
        found = httpx.get(f"{guarded.url}/v1/clients/{books['mine'][0]}", headers={"x-api-key": secret})
        return found.status_code

    def soon(secret: str, wanted: int) -> bool:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if status(secret) == wanted:
                return True
            time.sleep(0.1)
        return False

    old = add_key(guarded.access, "kiosk", ["recommend"])
    assert soon(old, 200)
    new = add_key(guarded.access, "kiosk", ["recommend"])
    assert soon(new, 200)
    assert status(old) == 200
    assert remove_key(guarded.access, old.split("_")[1]) == "kiosk"
    assert soon(old, 401)
    assert status(new) == 200
    whole = guarded.access.read_text()
    guarded.access.write_text("keys: [{name: 3}]\n")
    time.sleep(2.5)
    assert status(new) == 200
    guarded.access.write_text(whole)
    assert old not in whole
    assert new.split("_", 2)[2] not in whole


def test_bodies_that_are_too_long_or_too_slow_are_cut_off(guarded: Guarded) -> None:
    headers = {"x-api-key": guarded.secrets["all"], "content-type": "application/json"}
    reply = httpx.post(f"{guarded.url}/v1/recommend", content=b" " * 600_000, headers=headers)
    assert reply.status_code == 413

    host, port = guarded.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        head = "POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n"
        slow.sendall(f"{head}x-api-key: {guarded.secrets['all']}\r\n\r\n{{".encode())
        started = time.monotonic()
        assert b" 408 " in slow.recv(65536).split(b"\r\n")[0]
        assert 4 < time.monotonic() - started < 9


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "a\nb", "a\x00b"])
def test_headers_carry_nothing_in(guarded: Guarded, books: dict[str, tuple[str, str, str]], value: str) -> None:
    host, port = guarded.url.removeprefix("http://").split(":")
    body = json.dumps({"client_id": books["mine"][0]})
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        head = (
            f"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        )
        secret = guarded.secrets["all"]
        raw.sendall(f"{head}\r\nx-api-key: {secret}\r\nx-request-id: {value}\r\n\r\n{body}".encode())
        answer = raw.recv(65536).split(b"\r\n\r\n")[0].lower()
    assert b"x-injected" not in answer
    assert answer.split(b"\r\n")[0].split()[1] in (b"200", b"400", b"422")


def test_keys_from_a_file_and_new_ones_of_the_issuer(line: WholeLine, tmp_path: Path) -> None:
    """A token of a key that the issuer has only just begun to use is taken."""
    import asyncio

    from starlette.requests import Request

    from sheaf.serving.http.access import Gatekeeper

    def request(text: str) -> Request:
        return Request({"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())]})

    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [public(SIGNER, "one")]}))
    access = tmp_path / "access.yaml"
    access.write_text(f"people: {{issuer: {ISSUER}, audience: {AUDIENCE}, jwks: {keys}}}\n")
    gate = Gatekeeper(access)
    caller = asyncio.run(gate.admit(request(token(branch_id="B1")), Scope.AUDIT))
    assert caller == Caller("person:anna", frozenset(SCOPES), False, None, "B1", "50/second")

    async def at_once() -> list[Caller]:
        assert gate._issuer is not None
        gate._issuer._keys = {}
        gate._issuer._asked -= 61
        return await asyncio.gather(*(gate.admit(request(token()), Scope.AUDIT) for _ in range(5)))

    assert len(asyncio.run(at_once())) == 5  # those who come while the keys are fetched wait for them
    keys.write_text(json.dumps({"keys": [public(SIGNER, "one"), public(STRANGER, "two")]}))
    assert gate._issuer is not None
    gate._issuer._asked -= 61  # a minute later
    assert asyncio.run(gate.admit(request(token(STRANGER, "two")), Scope.AUDIT)).name == "person:anna"


def test_a_new_key_of_the_issuer_is_taken_up_and_an_old_one_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issuer is a server of its own. It is asked for a reason, and not as often as somebody makes one up."""
    import asyncio

    from starlette.requests import Request

    from sheaf.serving.http import access
    from sheaf.serving.http.problems import Refusal

    every, age = 0.5, 2.5
    monkeypatch.setattr("sheaf.serving.http.token_issuer.KEYS_EVERY", every)
    monkeypatch.setattr("sheaf.serving.http.token_issuer.KEYS_AGE", age)
    keys, asked = {"one": public(SIGNER, "one")}, list[float]()
    old, new = token(), token(STRANGER, "two")

    def taken(gate: access.Gatekeeper, text: str) -> bool:
        request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())]})
        try:
            return asyncio.run(gate.admit(request, Scope.AUDIT)).name == "person:anna"
        except Refusal as refused:
            return refused.status != 401

    with issuer(keys, asked) as jwks:
        path = tmp_path / "access.yaml"
        path.write_text(f"rate: 9999/second\npeople: {{issuer: {ISSUER}, audience: {AUDIENCE}, jwks: '{jwks}'}}\n")
        gate = access.Gatekeeper(path)
        assert taken(gate, old)
        assert [taken(gate, old) for _ in range(20)] == [True] * 20
        assert len(asked) == 1
        keys["two"] = public(STRANGER, "two")
        assert not taken(gate, new)  # it was asked a moment ago
        time.sleep(every)
        assert taken(gate, new)
        assert taken(gate, old)
        assert len(asked) == 2
        until = time.monotonic() + 3 * every
        while time.monotonic() < until:
            assert not taken(gate, token(STRANGER, f"made up {time.monotonic_ns()}"))
        assert 3 <= len(asked) <= 6
        assert all(later - earlier >= every for earlier, later in pairwise(asked))
        del keys["one"]  # taken back, as one that somebody stole
        time.sleep(age + every)
        assert taken(gate, new)
        assert not taken(gate, old)
        keys["one"] = public(SIGNER, "one")
        time.sleep(every)
        assert taken(gate, old)
        del keys["one"]
        path.touch()  # nobody has to wait for it
        time.sleep(access.READ_EVERY)
        assert not taken(gate, old)
        keys.clear()  # the issuer fails: whom it vouched for goes on being taken
        time.sleep(age + every)
        before = len(asked)
        assert taken(gate, new)
        assert len(asked) == before + 1


def test_without_access_only_this_machine_is_answered() -> None:
    import asyncio

    from starlette.requests import Request

    from sheaf.serving.http.access import ANYBODY, Gatekeeper
    from sheaf.serving.http.problems import Refusal

    gate = Gatekeeper(None)
    for host, fine in (("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("2001:db8::1", False), ("?", False)):
        request = Request({"type": "http", "headers": [], "client": (host, 1)})
        if fine:
            assert asyncio.run(gate.admit(request, Scope.AUDIT)) is ANYBODY
        else:
            with pytest.raises(Refusal, match="only this machine is answered") as refused:
                asyncio.run(gate.admit(request, Scope.AUDIT))
            assert refused.value.status == 403


@pytest.mark.parametrize("kind", ["pipe", "device without end", "folder", "link to itself"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A service that read a pipe or a device would wait, or fill the memory, while it runs."""
    path = tmp_path / "access.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device without end" else path)
    started = time.monotonic()
    for use in (lambda: Access.read(path), lambda: add_key(path, "app", ["recommend"]), lambda: remove_key(path, "0")):
        with pytest.raises(AccessError, match=str(path)):
            use()
    assert time.monotonic() - started < 2


HERE = [
    "localhost",
    "LOCALHOST:3000",
    "127.0.0.1",
    "127.0.0.1:3000",
    "127.9.9.9:80",
    "[::1]",
    "[::1]:3000",
    "localhost:",
]
ELSEWHERE = [
    "evil.example", "evil.example:3000", "localhost.evil.example", "127.0.0.1.nip.io", "evil.localhost", "0.0.0.0:3000",
    "10.0.0.7", "[::]:3000", "", " ", ":3000", "localhost@evil.example", "127.0.0.1:80@evil.example", "localhost/x",
    "evil.example#localhost", "localhost,evil.example", "127.0.0.1:x", "::1", "localhost\x00", "l\u00f6calhost", "[::1",
]  # fmt: skip


def test_without_access_this_machine_is_answered_by_its_own_names_only() -> None:
    """A web page whose name resolves to 127.0.0.1 reads nothing (DNS rebinding)."""
    import asyncio

    from starlette.requests import Request

    from sheaf.serving.http.access import ANYBODY, Gatekeeper
    from sheaf.serving.http.problems import Refusal

    def request(*hosts: str, peer: str = "127.0.0.1") -> Request:
        headers = [(b"host", host.encode("latin-1")) for host in hosts]
        return Request({"type": "http", "headers": headers, "client": (peer, 1)})

    gate = Gatekeeper(None)
    for host in HERE:
        assert asyncio.run(gate.admit(request(host), Scope.AUDIT)) is ANYBODY, host
        gate.admit_reader(request(host))
    for hosts in [*((host,) for host in ELSEWHERE), ("localhost", "evil.example"), ("localhost", "localhost")]:
        with pytest.raises(Refusal, match=r"ask localhost or 127\.0\.0\.1 \(header Host\)") as refused:
            asyncio.run(gate.admit(request(*hosts), Scope.AUDIT))
        assert refused.value.status == 403, hosts
        with pytest.raises(Refusal):
            gate.admit_reader(request(*hosts))
    gate.admit_reader(request("sheaf.bank.example", peer="10.0.0.7"))  # Prometheus, from another machine


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("keys: [{name: a}]", "keys.0.sha256: Field required"),
        (
            "keys: [{name: a, id: '00000000', sha256: secret, scopes: [recommend]}]",
            "keys.0.sha256: String should match",
        ),
        ("rate: often", "rate: 'often' is no rate; write 50/second"),
        ("people: {issuer: a, audience: b, jwks: 'http://login.bank.example/keys'}", "begins with https://, or a file"),
        ("people: {issuer: a, audience: b, jwks: c, algorithms: [HS256]}", "people.algorithms.0: String should match"),
        ("people: {issuer: a, audience: b, jwks: c, algorithms: [none]}", "people.algorithms.0: String should match"),
        ("keys: [", "cannot be read as YAML"),
        ("more: 1", "more: Extra inputs are not permitted"),
        ("rate: 0/second", "rate: '0/second' is no rate; write 50/second"),
        ("rate: 5/second;0/minute", "rate: '5/second;0/minute' is no rate"),
        ("rate: 9999999999/second", "is no rate; write 50/second or 50/second;1000/minute, each from 1 to 1,000,000"),
        ("rate: '" + ";".join(["9/second"] * 20) + "'", "is no rate; write 50/second"),
        (
            "people: {issuer: a, audience: b, jwks: c, algorithms: []}",
            "people.algorithms: Tuple should have at least 1",
        ),
        ("people: {issuer: a, audience: b, jwks: 'https://'}", "people.jwks: give a whole address, such as https://"),
        ("people: {issuer: a, audience: b, jwks: 'https://x:0/y'}", "people.jwks: give a whole address"),
        ("rate: 1/9999999 year", "in at most 31 days"),
        ("rate: 2024-02-30", "rate: '2024-02-30' is no rate"),
        ("rate: !!int x", "rate: 'x' is no rate"),
        ("keys: !!float x", "keys: Input should be a valid tuple"),
        ("keys: " + "[" * 3000, "nested too deeply"),
        ("keys: " + "{a: " * 3000, "nested too deeply"),
        ("people: &a [*a]", "people: Input should be a valid dictionary"),
        ("keys: []\nkeys: []", "cannot be read as YAML"),
        ("--- {}\n--- {}", "cannot be read as YAML"),
        ("[1, 2]", "the file: Input should be a valid dictionary"),
        ("rate: 5/second\0", "cannot be read as YAML"),
        ("# " + "x" * 1_000_001, "longer than 1,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_field(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(content)
    with pytest.raises(AccessError) as error:
        Access.read(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", ["", "keys:\n", "people:\nrate:\n", "{}", "keys: null"])
def test_fields_that_are_left_empty_are_as_if_not_there(tmp_path: Path, content: str) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(content)
    assert Access.read(path) == Access()


def test_a_file_that_is_no_text_or_a_folder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    path.write_bytes(b"rate: 5/second # caf\xe9")
    with pytest.raises(AccessError, match=r"access.yaml cannot be read as YAML"):
        Access.read(path)
    with pytest.raises(AccessError, match="cannot be read as YAML"):
        Access.read(tmp_path)


@pytest.mark.parametrize("content", ["rate: 2024-02-30", "rate: 0/second", "a: !!int x", "[" * 3000, None])
def test_a_file_that_breaks_while_the_service_runs_leaves_access_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    import asyncio

    from starlette.requests import Request

    from sheaf.serving.http.access import Gatekeeper

    path = tmp_path / "access.yaml"
    secret = add_key(path, "app", ["recommend"])
    gate = Gatekeeper(path)
    path.unlink() if content is None else path.write_text(content)
    gate._looked -= 10
    request = Request({"type": "http", "headers": [(b"x-api-key", secret.encode())]})
    assert asyncio.run(gate.admit(request, Scope.RECOMMEND)).name == "key:app"
    assert "access stays as it was" in caplog.text
    assert str(path) in caplog.text


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=r"access.yaml: there is no such file; `sheaf keys add` makes it"):
        Access.read(tmp_path / "access.yaml")


def test_a_key_that_cannot_be_changes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    for name, scopes, rate in (("a b", ["quote"], None), ("a", ["all"], None), ("a", ["quote"], "x"), ("a", [], None)):
        with pytest.raises(AccessError):
            add_key(path, name, scopes, rate)
    assert not path.exists()
    secret = add_key(path, "a", ["quote"])
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("# ours\n" + path.read_text())
    with pytest.raises(AccessError, match="has no key 'ffffffff'; it has"):
        remove_key(path, "ffffffff")
    assert remove_key(path, secret.split("_")[1]) == "a"
    assert path.read_text().startswith("# ours\n")


def test_the_file_of_keys_keeps_its_owner_its_mode_and_the_link_to_it(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("rate: 5/second\n")
    real.chmod(0o640)
    owner = 12345 if os.geteuid() == 0 else os.geteuid()  # only root may give a file to somebody else
    os.chown(real, owner, -1)
    link.symlink_to(real.name)
    secret = add_key(link, "a", ["quote"])
    remove_key(link, secret.split("_")[1])
    add_key(link, "b", ["quote"])
    assert link.is_symlink()
    assert (real.stat().st_uid, real.stat().st_mode & 0o777) == (owner, 0o640)
    assert [key.name for key in Access.read(real).keys] == ["b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


AT_ONCE = """
import os, sys
from pathlib import Path
from sheaf.serving.http.access import add_key, remove_key
path, gone, at_once = Path(sys.argv[1]), sys.argv[2:], []
for at in range(4):  # forked: they have imported all of it, and begin together
    if (pid := os.fork()) == 0:
        for number in gone[at::4]:
            remove_key(path, number)
            add_key(path, f"new{at}", ["quote"])
        os._exit(0)
    at_once.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in at_once))
"""


def test_keys_that_many_add_and_remove_at_once_are_all_added_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    gone = [add_key(path, f"old{number}", ["quote"]).split("_")[1] for number in range(8)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", AT_ONCE, path, *gone], env=environment, check=True, timeout=60)
    assert sorted(key.name for key in Access.read(path).keys) == sorted(["new0", "new1", "new2", "new3"] * 2)


def test_a_file_of_keys_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "access.yaml"
    add_key(path, "a", ["quote"])
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        AccessError, match=r"access.yaml cannot be written, it stays as it was: No space left on device"
    ):
        add_key(path, "b", ["quote"])
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["access.yaml"]
    with pytest.raises(AccessError, match="the folder cannot be opened"):
        add_key(tmp_path / "nowhere" / "access.yaml", "a", ["quote"])


def test_requests_without_the_scope_count_to_the_rate(tmp_path: Path) -> None:
    import asyncio

    from starlette.requests import Request

    from sheaf.serving.http.access import Gatekeeper
    from sheaf.serving.http.problems import Refusal

    path = tmp_path / "access.yaml"
    secret = add_key(path, "slow", ["quote"], "2/minute")
    gate, told = Gatekeeper(path), []
    for scope in (Scope.AUDIT, Scope.AUDIT, Scope.QUOTE):
        request = Request({"type": "http", "headers": [(b"x-api-key", secret.encode())]})
        with pytest.raises(Refusal) as refused:
            asyncio.run(gate.admit(request, scope))
        told.append((refused.value.status, request.state.caller.name))
    assert told == [(403, "key:slow"), (403, "key:slow"), (429, "key:slow")]


def test_a_caller_sees_who_fits_every_claim() -> None:
    somebody = Caller("a", frozenset(), False, "m", "b")
    assert [somebody.sees(book) for book in (("m", "b"), ("m", None), ("m", "c"), (None, "b"), None)] == [
        True, False, False, False, False
    ]  # fmt: skip
    assert not replace(somebody, manager=None, branch=None).sees((None, None))
    assert replace(somebody, everybody=True).sees(None)


def test_who_does_not_see_all_of_a_group_is_told_nothing_of_it(guarded: Guarded, line: WholeLine) -> None:
    of = line.recommender
    assert of.relationships is not None
    for client in map(str, of.snapshot.profiles.client_ids):
        group = of.relationships.group_ids(client)
        branches = [(of.relationships.book(one) or (None, None))[1] for one in group]
        offers = of.recommend(client, 3).offers if len(group) > 1 else ()
        offer = next((one for one in offers if one.worth), None)
        if offer and branches[group.index(client)] and len(set(branches)) > 1:
            break
    else:
        raise AssertionError("no group of two books")
    asked = {"client_id": client, "bundle_id": offer.bundle_id}
    every, branch = {"x-api-key": guarded.secrets["all"]}, bearer(branch_id=branches[group.index(client)])
    for headers, whole in ((every, True), (branch, False)):
        quoted = httpx.post(f"{guarded.url}/v1/quote", json=asked, headers=headers).json()
        facts = httpx.get(f"{guarded.url}/v1/clients/{client}", headers=headers).json()["profile"]
        plan = httpx.get(f"{guarded.url}/v1/clients/{client}/plan", headers=headers).json()
        looked = [one for of_part in plan["outcomes"] for one in of_part["because"]]
        looked += [need for of_part in plan["outcomes"] for way in of_part["would_change"] for need in way["needs"]]
        assert (quoted["group"] is not None) == whole
        assert any(fact["name"].startswith("group_") for fact in facts) == whole
        assert any(one["column"].startswith("group_") for one in looked)
        assert any(one["column"].startswith("group_") and one["now"] != "not told" for one in looked) == whole
        if whole:
            of_channel = quoted["quote_id"]
    audited = httpx.get(f"{guarded.url}/v1/quotes/{of_channel}", headers=branch).json()
    assert audited["answer"]["group"] is None
    assert audited["replay"]["same"] is True


def test_what_linked_clients_hold_is_told_only_to_who_sees_every_client(guarded: Guarded, line: WholeLine) -> None:
    of = line.recommender
    assert of.relationships is not None
    every, told = {"x-api-key": guarded.secrets["all"]}, 0
    of_linked = tuple(one.name for one in of.model.features if one.of is Of.LINKED)
    for client in map(str, of.snapshot.profiles.client_ids[:400]):
        branch = (of.relationships.book(client) or (None, None))[1]
        values = of.in_words(of.profile_of(client))
        if not branch or not any(values.get(name) for name in values if name in of_linked):
            continue
        hers = bearer(branch_id=branch)
        for headers, whole in ((every, True), (hers, False)):
            facts = httpx.get(f"{guarded.url}/v1/clients/{client}", headers=headers).json()["profile"]
            assert any(fact["name"] in of_linked for fact in facts) == whole
        body = {"client_id": client, "k": 20}
        full, part = (
            httpx.post(f"{guarded.url}/v1/recommend", json=body, headers=headers).json() for headers in (every, hers)
        )
        batch = httpx.post(
            f"{guarded.url}/v1/recommend_batch", json={"client_ids": [client], "k": 20}, headers=hers
        ).json()["answers"][0]
        audited = httpx.get(f"{guarded.url}/v1/decisions/{full['decision_id']}", headers=hers).json()
        assert not any(name in of_linked for name in audited["profile"])
        assert audited["replay"]["same"] is True
        ranked = [offer["bundle_id"] for offer in full["offers"]]
        hers_ranked = [offer["bundle_id"] for offer in part["offers"]]  # as if nothing were known of others
        for answer, order in ((part, hers_ranked), (batch, hers_ranked), (audited["answer"], ranked)):
            assert [offer["bundle_id"] for offer in answer["offers"]] == order
            assert not [one for offer in answer["offers"] for one in offer["reasons"] if _of_linked(one)]
        told += 1
        if told == 15:
            return
    assert told


def test_hidden_values_show_in_no_reason_of_who_does_not_see_every_client(line: WholeLine) -> None:
    of, spoken, replaced = line.recommender, 0, 0
    hidden = of.hidden(None, lambda client: False, everybody=False)
    at = [number for number, name in enumerate(of.candidates.columns) if hidden(name)]
    assert at
    for client in map(str, of.snapshot.profiles.client_ids[:150]):
        profile = of.profile_of(client)
        told = []
        for value in (0.0, 0.5, 1.0):
            of_bank = profile.copy()
            of_bank[0, at] = value
            [decided] = of.decide(of_bank, [client], 20)
            told.append(
                {offer.bundle_id: offer.reasons for offer in of.reasons_without(decided.answer, of_bank, hidden).offers}
            )
            whole = {offer.bundle_id: offer.reasons for offer in decided.answer.offers}
            spoken += sum(_of_linked(one) for reasons in whole.values() for one in reasons)
            replaced += sum(bool(set(told[-1][bundle]) - set(reasons)) for bundle, reasons in whole.items())
        for other in told[1:]:
            assert all(other[bundle] == reasons for bundle, reasons in told[0].items() if bundle in other)
    assert spoken
    assert replaced


def _of_linked(sentence: str) -> bool:
    return sentence.startswith(("The employer holds", "Of the staff", "Of those close")) or "close to this" in sentence


ODD = ["2024-02-30", "!!int x", "!!float y", "!!bool maybe", "!!timestamp 2024-99-99", "!!binary zzz"]


@pytest.mark.parametrize("field", ["issuer", "audience", "scope_claim"])
@pytest.mark.parametrize("value", ODD)
def test_a_file_that_keys_cannot_keep_is_refused_in_words_and_stays_as_it_was(
    tmp_path: Path, field: str, value: str
) -> None:
    """The service reads every value as a text; `sheaf keys`, which keeps comments, does not."""
    people = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": "keys.json"} | {field: value}
    path = tmp_path / "access.yaml"
    path.write_text("people:\n" + "".join(f"  {name}: {told}\n" for name, told in people.items()))
    before = path.read_bytes()
    Access.read(path)
    for changing in (lambda: add_key(path, "app", ["recommend"]), lambda: remove_key(path, "0123abcd")):
        with pytest.raises(AccessError) as refused:
            changing()
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)
        assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_whose_id_looks_like_a_number_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    rows = [
        f"  - {{name: k, id: {number}, sha256: {number * 8}, scopes: [quote]}}" for number in ("01234567", "123e4567")
    ]
    path.write_text("keys:\n" + "\n".join(rows) + "\n")
    assert remove_key(path, "01234567") == "k"
    assert [key.id for key in Access.read(path).keys] == ["123e4567"]
    assert remove_key(path, "123e4567") == "k"


def test_a_file_with_the_time_and_size_of_the_one_before_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools that deploy files often give them a fixed time; a key that was taken back must not stay."""
    from sheaf.serving.http import access

    monkeypatch.setattr(access, "READ_EVERY", 0.0)
    path = tmp_path / "access.yaml"
    add_key(path, "app", ["recommend"])
    os.utime(path, (0, 0))
    gate, text = access.Gatekeeper(path), path.read_text()
    path.with_suffix(".new").write_text(text.replace(Access.read(path).keys[0].sha256, "0" * 64))
    path.with_suffix(".new").replace(path)
    os.utime(path, (0, 0))
    gate._refresh()
    assert gate._access is not None
    assert [key.sha256 for key in gate._access.keys] == ["0" * 64]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """It has the hashes of keys, also of such as were taken back since."""
    path = tmp_path / "access.yaml"
    add_key(path, "app", ["recommend"])
    (tmp_path / ".access.yaml.0jfo054y.new").write_text(path.read_text())
    (tmp_path / ".other.yaml.0jfo054y.new").touch()
    add_key(path, "desk", ["quote"])
    assert sorted(one.name for one in tmp_path.iterdir()) == [".other.yaml.0jfo054y.new", "access.yaml"]
