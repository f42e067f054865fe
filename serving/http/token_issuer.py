"""The public keys of the issuer of people's tokens: fetched within one deadline, at most once a minute."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt

KEYS_EVERY = 60.0  # seconds between two fetches, whatever happens
KEYS_AGE = 3_600.0  # seconds after which keys are fetched anyway: one that was taken back is trusted no longer
DEADLINE = 5.0  # seconds for a fetch as a whole
SOON = 0.5  # seconds that a token of a known key waits for keys that are due
MOST = 1_000_000  # bytes of a key set
MOST_KEYS = 200
OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", "Ed448": "EdDSA"}
_POOL = ThreadPoolExecutor(1, thread_name_prefix="issuer")  # an issuer that hangs holds up nothing else
_log = logging.getLogger("sheaf.access")

Signers = Mapping[tuple[str, str], tuple[jwt.PyJWK, ...]]


class Issuer:
    """The keys of one key set, an `https` address or a file, for `algorithms`."""

    def __init__(self, place: str, algorithms: Iterable[str]):
        self.place, self.algorithms = place, tuple(algorithms)
        self._keys: Signers = {}
        self._asked = self._fresh = -float("inf")
        self._fetch: asyncio.Task[None] | None = None

    def expire(self) -> None:
        """Has the keys fetched anew with the next token, a minute after the last fetch at the soonest."""
        self._fresh = -float("inf")

    async def keys(self, name: str, algorithm: str) -> tuple[jwt.PyJWK, ...]:
        """The keys of that name (`kid`, empty for none) and algorithm. A name that is not known waits for a fetch, if
        one is allowed or under way.

        Raises InvalidKeyError where there is none.
        """
        if algorithm not in self.algorithms:
            raise jwt.InvalidAlgorithmError(f"the algorithm is not one of {', '.join(self.algorithms)}")
        known = (name, algorithm) in self._keys
        now = time.monotonic()
        if (not known or now - self._fresh > KEYS_AGE) and now - self._asked > KEYS_EVERY:
            self._asked = now
            self._fetch = asyncio.create_task(self._refresh())
        if self._fetch is not None and not self._fetch.done():
            await asyncio.wait([self._fetch], timeout=SOON if known else DEADLINE + SOON)
        if found := self._keys.get((name, algorithm)):
            return found
        raise jwt.InvalidKeyError("the issuer has no key of that name, or its keys cannot be fetched")

    async def _refresh(self) -> None:
        """Where the fetch fails, the keys known so far stay."""
        try:
            async with asyncio.timeout(DEADLINE):
                self._keys = usable(await _content(self.place), self.algorithms)
            self._fresh = time.monotonic()
        except Exception as error:
            why = f"no answer within {DEADLINE:g} seconds" if isinstance(error, TimeoutError) else _why(error)
            _log.error("the issuer's keys cannot be fetched, those known stay: %s", why)
        finally:
            self._asked = time.monotonic()


def usable(content: bytes, algorithms: Iterable[str]) -> dict[tuple[str, str], tuple[jwt.PyJWK, ...]]:
    """The signing keys of a JWK set (RFC 7517) by (`kid`, algorithm). A key without `alg` is good for each of the
    `algorithms` that its type can verify.

    Keys for encryption, symmetric and private keys and keys that cannot be read are left out; the log says which are
    private or cannot be read.
    Raises ValueError for what is no JWK set, or one without a usable key.
    """
    key_set = json.loads(content)
    if not isinstance(key_set, dict) or not isinstance(key_set.get("keys"), list):
        raise ValueError("it is no JWK set: an object with the list keys")
    if len(key_set["keys"]) > MOST_KEYS:  # reading them all would hold up other requests
        raise ValueError(f"it has {len(key_set['keys']):,} keys, of which {MOST_KEYS} are read at most")
    signers: dict[tuple[str, str], tuple[jwt.PyJWK, ...]] = {}
    for number, key in enumerate(key_set["keys"]):
        if not isinstance(key, dict) or not _verifies(key):
            continue
        if "d" in key:  # whoever reads the set can sign with it
            _log.error("key %d of the issuer is private and is left out; have the issuer replace it", number)
            continue
        name = key.get("kid")
        for algorithm in algorithms:
            if not _fits(key, algorithm):
                continue
            try:
                signer = jwt.PyJWK(key, algorithm=algorithm)
            except Exception as error:  # a key that is broken takes no other key with it
                _log.error("key %d of the issuer cannot be read and is left out: %s", number, type(error).__name__)
                break
            at = (name if isinstance(name, str) else "", algorithm)
            signers[at] = (*signers.get(at, ()), signer)
    if not signers:
        raise ValueError(f"it has no key for {', '.join(algorithms)}")
    return signers


def _verifies(key: Mapping[str, Any]) -> bool:
    operations = key.get("key_ops", ["verify"])
    return key.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a key may verify by the algorithm: its own `alg` where it has one, and its type in any case."""
    kind = key.get("kty")
    if key.get("alg", algorithm) != algorithm:
        return False
    if kind == "RSA":
        return algorithm[:2] in ("RS", "PS")
    return kind in ("EC", "OKP") and OF_CURVE.get(str(key.get("crv"))) == algorithm


async def _content(place: str) -> bytes:
    """At most `MOST` bytes of the address or file."""
    loop = asyncio.get_running_loop()
    if "://" not in place:
        return await loop.run_in_executor(_POOL, file_content, Path(place), MOST)
    import httpx

    context = await loop.run_in_executor(_POOL, ssl.create_default_context)
    async with httpx.AsyncClient(verify=context, timeout=DEADLINE) as client, client.stream("GET", place) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"the status is {response.status_code}")
        content = b""
        async for part in response.aiter_bytes():
            content = _bounded(content + part)
    return content


def file_content(path: Path, most: int) -> bytes:
    """The bytes of a file. Raises ValueError for a folder, for a pipe or a device, which might never end, and for more
    than `most` bytes; OSError where it cannot be read."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:  # pipes would wait
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no file (a folder, a pipe or a device); name a file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is longer than {most:,} bytes")
    return content


def _bounded(content: bytes) -> bytes:
    if len(content) > MOST:
        raise ValueError(f"it is longer than {MOST:,} bytes")
    return content


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]
