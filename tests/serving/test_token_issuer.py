"""The issuer's keys: which of them are taken, and what an issuer that misbehaves can hold up."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.requests import Request

from sheaf.serving.http import token_issuer as of_issuer
from sheaf.serving.http.access import Caller, Gatekeeper, Scope
from sheaf.serving.http.problems import Refusal
from sheaf.serving.http.token_issuer import Issuer, usable
from tests.serving.test_access import AUDIENCE, ISSUER, SIGNER, STRANGER, public, token

EVERY = ("RS256", "PS256", "PS512", "ES256", "ES384", "EdDSA")
CURVED, EDWARDS = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None = "one", **more: Any) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: "RSA", ec.EllipticCurvePrivateKey: "EC", ed25519.Ed25519PrivateKey: "OKP"}
    [kind] = [kinds[of] for of in kinds if isinstance(key, of)]
    algorithm = getattr(jwt.algorithms, {"RSA": "RSAAlgorithm", "EC": "ECAlgorithm", "OKP": "OKPAlgorithm"}[kind])
    told = json.loads(algorithm.to_jwk(key.public_key()))
    return told | ({} if kid is None else {"kid": kid}) | more


def keys_of(*keys: Any, algorithms: tuple[str, ...] = EVERY) -> set[tuple[str, str]]:
    return set(usable(json.dumps({"keys": keys}).encode(), algorithms))


def gate(tmp_path: Path, keys: list[Any], algorithms: str = "[RS256, PS256, ES256, EdDSA]") -> Gatekeeper:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
    return gate_at(tmp_path, str(tmp_path / "keys.json"), algorithms)


def gate_at(tmp_path: Path, place: str, algorithms: str = "[RS256]") -> Gatekeeper:
    path = tmp_path / "access.yaml"
    people = f"{{issuer: {ISSUER}, audience: {AUDIENCE}, jwks: '{place}', algorithms: {algorithms}}}"
    path.write_text(f"rate: 9999/second\npeople: {people}\n")
    return Gatekeeper(path)


async def admitted(of: Gatekeeper, text: str) -> Caller:
    return await of.admit(Request({"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())]}),
                          Scope.AUDIT)  # fmt: skip


def taken(of: Gatekeeper, text: str) -> bool:
    try:
        return bool(asyncio.run(admitted(of, text)))
    except Refusal as refused:
        if refused.status != 401:
            raise
        return False


def test_a_key_without_alg_verifies_by_every_configured_algorithm_of_its_type() -> None:
    assert keys_of(jwk(SIGNER)) == {("one", "RS256"), ("one", "PS256"), ("one", "PS512")}
    assert keys_of(jwk(CURVED)) == {("one", "ES256")}
    assert keys_of(jwk(EDWARDS)) == {("one", "EdDSA")}


def test_one_kid_may_have_a_key_for_each_algorithm(tmp_path: Path) -> None:
    of = gate(tmp_path, [jwk(SIGNER, alg="RS256"), jwk(STRANGER, alg="PS256"), jwk(CURVED, alg="ES256")])
    assert taken(of, token(SIGNER, algorithm="RS256"))
    assert taken(of, token(STRANGER, algorithm="PS256"))
    assert taken(of, token(CURVED, algorithm="ES256"))
    assert not taken(of, token(STRANGER, algorithm="RS256"))  # its key is for PS256


def test_one_kid_and_algorithm_may_have_two_keys(tmp_path: Path) -> None:
    of = gate(tmp_path, [jwk(SIGNER), jwk(STRANGER)])
    assert taken(of, token(SIGNER, algorithm="PS256"))
    assert taken(of, token(STRANGER, algorithm="PS256"))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert not taken(of, token(other, algorithm="PS256"))


def test_a_key_set_and_a_token_without_kid_fit() -> None:
    assert keys_of(jwk(SIGNER, kid=None), algorithms=("RS256",)) == {("", "RS256")}


@pytest.mark.parametrize(
    "key",
    [
        jwk(SIGNER, use="enc"),
        jwk(SIGNER, key_ops=["encrypt"]),
        jwk(SIGNER, alg="RSA-OAEP"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {"kty": "RSA", "kid": "one", "n": "?", "e": "AQAB"},
        {"kty": "EC", "crv": "P-384", "kid": "one", "x": "AA", "y": "AA"},
        {},
        "no key",
        None,
    ],
    ids=["encrypts", "key_ops of one that encrypts", "another alg", "symmetric", "broken RSA", "broken EC", "empty",
         "a text", "null"],
)  # fmt: skip
def test_a_key_that_cannot_verify_is_left_out_and_takes_no_other_with_it(key: Any) -> None:
    assert keys_of(key, jwk(CURVED, "two")) == {("two", "ES256")}
    with pytest.raises(ValueError, match="it has no key for RS256"):
        keys_of(key, algorithms=("RS256",))


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS512", "ES256", "", None, 3])
def test_an_algorithm_that_is_not_configured_is_refused_without_a_fetch(tmp_path: Path, algorithm: Any) -> None:
    of = Issuer(str(tmp_path / "not-there.json"), ("RS256",))
    with pytest.raises(jwt.InvalidAlgorithmError, match="not one of RS256"):
        asyncio.run(of.keys("one", str(algorithm)))
    assert of._asked == -float("inf")


@pytest.mark.parametrize("more", [{"key_ops": None}, {"key_ops": 5}, {"key_ops": "verify"}, {"use": None}, {"alg": []}])
def test_a_member_of_another_kind_takes_no_other_key_with_it(more: dict[str, Any]) -> None:
    assert keys_of(jwk(SIGNER, **more), jwk(CURVED, "two")) == {("two", "ES256")}


def test_a_private_key_in_the_set_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(SIGNER)) | {"kid": "one"}
    del private["key_ops"]
    with caplog.at_level(logging.ERROR):
        assert not taken(gate(tmp_path, [private, jwk(CURVED, "two")]), token())
    assert "key 0 of the issuer is private and is left out" in caplog.text


def test_a_set_of_very_many_keys_is_refused_before_they_are_read() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="it has 70,000 keys, of which 200 are read at most"):
        keys_of(*[{"kty": "RSA"}] * 70_000)
    assert time.monotonic() - started < 1


def test_a_key_set_that_is_a_pipe_holds_nothing_up(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    assert not taken(gate_at(tmp_path, str(tmp_path / "pipe")), token())
    assert taken(gate(tmp_path, [public(SIGNER, "one")]), token())  # the thread that reads is free again
    assert time.monotonic() - started < 2


@contextmanager
def dripping(head: bytes, drip: bytes, asked: list[float]) -> Iterator[str]:
    """An issuer that sends a byte now and then, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(connection: socket.socket) -> None:
            try:
                connection.sendall(head)
                while True:
                    connection.sendall(drip)
                    time.sleep(0.05)
            except OSError:
                connection.close()

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                asked.append(time.monotonic())
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/keys"


MISBEHAVING = {
    "drips its body": (b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b" "),
    "drips its head": (b"HTTP/1.1 200 OK\r\nx: ", b"a"),
    "says nothing": (b"", b""),
    "never ends": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 100_000),
}


@pytest.mark.parametrize("how", MISBEHAVING)
def test_an_issuer_that_misbehaves_is_given_up_at_the_deadline_and_asked_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setattr(of_issuer, "DEADLINE", 0.4)
    asked: list[float] = []
    with dripping(*MISBEHAVING[how], asked) as place:
        of = gate_at(tmp_path, place)

        async def many() -> list[Any]:
            tokens = [token(kid=f"made up {number}") for number in range(20)]
            return await asyncio.gather(*(admitted(of, text) for text in tokens), return_exceptions=True)

        started = time.monotonic()
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                assert all(isinstance(one, Refusal) and one.status == 401 for one in asyncio.run(many()))
        assert time.monotonic() - started < 3
    assert len(asked) == 1
    assert len([line for line in caplog.messages if "the issuer's keys cannot be fetched" in line]) == 1


def test_a_known_key_does_not_wait_for_an_issuer_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_issuer, "SOON", 0.1)
    with dripping(*MISBEHAVING["says nothing"], []) as place:
        of = gate_at(tmp_path, place)
        assert of._issuer is not None
        of._issuer._keys = usable(json.dumps({"keys": [public(SIGNER, "one")]}).encode(), ("RS256",))
        started = time.monotonic()
        assert taken(of, token())
        assert time.monotonic() - started < 2


def test_an_issuer_that_sends_elsewhere_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    head = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    with dripping(head, b"", []) as place, caplog.at_level(logging.ERROR):
        assert not taken(gate_at(tmp_path, place), token())
    assert "the status is 302" in caplog.text


def test_a_change_of_the_file_asks_the_issuer_no_sooner_than_a_minute_after_the_last_fetch(tmp_path: Path) -> None:
    of = gate(tmp_path, [public(SIGNER, "one")])
    assert taken(of, token())
    assert of._issuer is not None
    first = of._issuer._asked
    for _ in range(3):
        path = tmp_path / "access.yaml"
        path.write_text(path.read_text() + "# touched\n")
        of._looked -= 10
        assert taken(of, token())
    assert of._issuer._asked == first


@pytest.mark.parametrize("value", [["M1"], "", " ", None, 1.0, True, {"id": "M1"}, "M1\n", "a\x00", "x" * 201, []])
@pytest.mark.parametrize("claim", ["manager_id", "branch_id"])
def test_a_claim_that_is_there_and_unusable_sees_nobody(tmp_path: Path, claim: str, value: Any) -> None:
    of = gate(tmp_path, [public(SIGNER, "one")])
    other = {"manager_id": "M1", "branch_id": "B1"}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": time.time() + 600, **other, claim: value}
    for scope in ("audit", "audit all_clients"):
        text = jwt.encode(claims | {"scope": scope}, SIGNER, "RS256", headers={"kid": "one"})
        caller = asyncio.run(admitted(of, text))
        assert not any(caller.sees(book) for book in (("M1", "B1"), ("M1", None), (None, "B1"), ("1", "1"), None))


@pytest.mark.parametrize(("value", "book"), [("M1", "M1"), (7, "7"), ("7", "7")])
def test_a_text_or_a_whole_number_is_a_usable_claim(tmp_path: Path, value: Any, book: str) -> None:
    of = gate(tmp_path, [public(SIGNER, "one")])
    caller = asyncio.run(admitted(of, token(manager_id=value)))
    assert caller.sees((book, "B1"))
    assert not caller.sees(("other", "B1"))


@pytest.mark.parametrize("scope", [3, {"audit": 1}, [["audit"]], [{}], None, True])
def test_a_scope_claim_that_is_no_text_or_list_of_texts_gives_no_scope(tmp_path: Path, scope: Any) -> None:
    of = gate(tmp_path, [public(SIGNER, "one")])
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": time.time() + 600, "scope": scope}
    with pytest.raises(Refusal) as refused:
        asyncio.run(admitted(of, jwt.encode(claims, SIGNER, "RS256", headers={"kid": "one"})))
    assert refused.value.status == 403
