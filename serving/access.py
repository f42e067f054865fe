"""Who may ask what: keys of channels, tokens of people, their scopes, their books, and how often they may ask.

SHEAF_ACCESS names a YAML file (`docs/access.md`); it is read anew when it changes. Without one everybody on this very
machine may ask everything, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import jwt
import limits
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from starlette.requests import Request

from serving.problems import Refusal, in_words

RATE = "50/second"  # of a caller that none is named for
READ_EVERY = 1.0  # seconds between two looks at the file
KEYS_EVERY = 60.0  # seconds between two fetches of an issuer's keys, where a token names one that is not known
KEYS_AGE = 3_600.0  # seconds after which they are fetched anyway: one that was taken back is trusted no longer
LEEWAY = 10  # seconds by which an issuer's clock may differ from ours
_log = logging.getLogger("sheaf.access")


class Scope(StrEnum):
    """What a caller may do. `all_clients` lets a person see clients of every book; channels always do."""

    RECOMMEND = "recommend"
    QUOTE = "quote"
    FEEDBACK = "feedback"
    AUDIT = "audit"
    ALL_CLIENTS = "all_clients"


class AccessError(ValueError):
    """The file that SHEAF_ACCESS names cannot be used; the message names file, field and remedy."""


def _rate(text: str) -> str:
    try:
        limits.parse_many(text)
    except ValueError:
        raise ValueError(f"{text!r} is no rate; write 50/second or 50/second;1000/minute") from None
    return text


def _place(text: str) -> str:
    """Keys that decide who is who do not travel in the clear, but within this machine."""
    address = urlsplit(text)
    if "://" in text and address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("give an address that begins with https://, or a file")
    return text


Rate = Annotated[str, AfterValidator(_rate)]
Name = Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Key(_Model):
    """A channel's key, of which only the hash is kept. Two keys may have one name while they are rotated."""

    name: Name
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = Field(min_length=1)
    rate: Rate | None = None


class People(_Model):
    """Whose tokens are taken: those that `issuer` signed for `audience` with a key of `jwks`, an address or a file."""

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    jwks: Annotated[str, Field(min_length=1), AfterValidator(_place)]
    algorithms: tuple[Annotated[str, Field(pattern="^(RS|PS|ES)(256|384|512)$|^EdDSA$")], ...] = ("RS256", "ES256")
    scope_claim: str = "scope"
    manager_claim: str = "manager_id"
    branch_claim: str = "branch_id"
    rate: Rate | None = None


class Access(_Model):
    """The file: `keys` of channels and `people` with tokens."""

    keys: tuple[Key, ...] = ()
    people: People | None = None
    rate: Rate = RATE

    @classmethod
    def read(cls, path: Path) -> Access:
        """Raises AccessError with everything that is wrong, by field."""
        try:
            content = YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
            return cls.model_validate(content)
        except FileNotFoundError as error:
            raise AccessError(f"{path}: there is no such file; `sheaf keys add` makes it") from error
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise AccessError(f"{path} cannot be read as YAML: {error}") from error
        except ValidationError as error:
            wrong = (
                f"{path}: {'.'.join(map(str, one['loc'])) or 'the file'}: {in_words(one)}" for one in error.errors()
            )
            raise AccessError("\n".join(wrong)) from error

    @cached_property
    def by_hash(self) -> dict[str, Key]:
        return {key.sha256: key for key in self.keys}


@dataclass(frozen=True)
class Caller:
    """Who asks, `key:…` or `person:…`. A client is seen whose manager and branch are named here; None names none."""

    name: str | None
    scopes: frozenset[Scope]
    everybody: bool
    manager: str | None = None
    branch: str | None = None
    rate: str | None = None

    def sees(self, book: tuple[str | None, str | None] | None) -> bool:
        """Whether a client is of the caller's book, by its manager and branch; None where neither is known."""
        if self.everybody:
            return True
        if book is None or (self.manager is None and self.branch is None):
            return False
        manager, branch = book
        return self.manager in (None, manager) and self.branch in (None, branch)


ANYBODY = Caller(None, frozenset(Scope), True)  # of this machine, where no access is configured


def add_key(path: Path, name: str, scopes: Sequence[str], rate: str | None = None) -> str:
    """Adds a channel's key to the file, which is made where it is not there, and returns the secret that the channel
    sends: it has 256 bits of chance, so its hash gives nothing away.

    Raises AccessError for a name, scope or rate that cannot be, and for a file that cannot be used.
    """
    number = secrets.token_hex(4)
    secret = f"sheaf_{number}_{secrets.token_urlsafe(32)}"
    try:
        key = Key(name=name, id=number, sha256=_hash(secret), scopes=tuple(scopes), rate=rate)
    except ValidationError as error:
        raise AccessError("; ".join(f"{one['loc'][0]}: {in_words(one)}" for one in error.errors())) from error
    content = _content(path) if path.exists() else {}
    content.setdefault("keys", []).append(key.model_dump(mode="json", exclude_none=True))
    _write(path, content)
    return secret


def remove_key(path: Path, number: str) -> str:
    """Takes the key of that id out of the file and returns whose it was. Raises AccessError where it is not there."""
    content = _content(path)
    of = {key["id"]: key for key in content.get("keys") or []}
    if number not in of:
        raise AccessError(f"{path} has no key {number!r}; it has {', '.join(of) or 'none'}")
    content["keys"] = [key for key in content["keys"] if key["id"] != number]
    _write(path, content)
    return str(of[number]["name"])


def _content(path: Path) -> Any:
    """The file as it is written, comments and all, after it was found to be usable."""
    Access.read(path)
    return YAML().load(path.read_text(encoding="utf-8")) or {}


def _write(path: Path, content: Any) -> None:
    """Replaces the file at once, so that nobody reads half of it."""
    made = path.with_name(f".{path.name}.new")
    with made.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), path.stat().st_mode & 0o777 if path.exists() else 0o600)
        YAML().dump(content, file)
    made.replace(path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Gatekeeper:
    """Tells who asks, and refuses who may not. One of each process; rates are counted by process."""

    def __init__(self, path: Path | None):
        """Raises AccessError for a file that cannot be used."""
        self._path, self._access = path, None if path is None else Access.read(path)
        self._changed, self._looked = self._stamp(), time.monotonic()
        self._limiter = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
        self._rates: dict[str, list[limits.RateLimitItem]] = {}
        self._signers: dict[str, jwt.PyJWK] = {}
        self._fetched, self._fresh, self._fetching = -math.inf, -math.inf, asyncio.Lock()

    @property
    def guarded(self) -> bool:
        """Whether callers have to say who they are."""
        return self._access is not None

    @classmethod
    def configured(cls) -> Gatekeeper:
        named = os.environ.get("SHEAF_ACCESS")
        return cls(Path(named) if named else None)

    async def admit(self, request: Request, scope: Scope) -> Caller:
        """Who asks. Raises Refusal: 401 who does not say, 403 who may not, 429 who asks too often."""
        self._refresh()
        if self._access is None:
            _only_here(request)
            return ANYBODY
        caller = await self._caller(self._access, request)
        if scope not in caller.scopes:
            raise Refusal(403, f"this needs the scope {scope}, which {caller.name} does not have")
        self._count(caller)
        return caller

    async def _caller(self, access: Access, request: Request) -> Caller:
        secret, told = request.headers.get("x-api-key"), request.headers.get("authorization", "")
        if secret is not None and told:
            raise _unknown("give either the header X-Api-Key or Authorization, not both")
        if secret is not None:
            key = access.by_hash.get(_hash(secret))
            if key is None:
                raise _unknown("this API key is not known, or not any more")
            return Caller(f"key:{key.name}", frozenset(key.scopes), True, rate=key.rate or access.rate)
        kind, _, token = told.partition(" ")
        if kind.lower() != "bearer" or access.people is None:
            how = ["an API key in the header X-Api-Key"] if access.keys else []
            how += ["a bearer token in the header Authorization"] if access.people else []
            raise _unknown(f"say who asks: {' or '.join(how) or 'nobody may ask yet'}")
        return await self._person(access.people, access.rate, token.strip())

    async def _person(self, people: People, rate: str, token: str) -> Caller:
        try:
            signer = await self._signer(people, jwt.get_unverified_header(token))
            claims = jwt.decode(
                token, signer, algorithms=list(people.algorithms), audience=people.audience, issuer=people.issuer,
                leeway=LEEWAY, options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise _unknown(f"this token is not taken: {error}") from error
        told = claims.get(people.scope_claim, "")
        names = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        scopes = frozenset(Scope(name) for name in names if name in set(Scope))
        manager, branch = (_text(claims, name) for name in (people.manager_claim, people.branch_claim))
        everybody = Scope.ALL_CLIENTS in scopes
        return Caller(f"person:{claims['sub']}"[:200], scopes, everybody, manager, branch, people.rate or rate)

    async def _signer(self, people: People, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The key that the token names; the issuer's keys are fetched when it is not among those known."""
        name = str(header.get("kid", ""))
        if self._wanted(name):
            async with self._fetching:  # who comes while they are fetched waits for them
                if self._wanted(name):
                    try:
                        self._signers = await asyncio.to_thread(_keys, people.jwks)
                        self._fresh = time.monotonic()
                    except Exception as error:  # with the keys known so far, tokens of these are taken
                        _log.error("the issuer's keys cannot be fetched, those known stay: %s", type(error).__name__)
                    self._fetched = time.monotonic()
        if name not in self._signers:
            raise jwt.InvalidKeyError("the issuer has no key of that name, or its keys cannot be fetched")
        return self._signers[name]

    def _wanted(self, name: str) -> bool:
        """Whether the issuer's keys are to be fetched now, for a token that names this one."""
        now = time.monotonic()
        return (name not in self._signers or now - self._fresh > KEYS_AGE) and now - self._fetched > KEYS_EVERY

    def _count(self, caller: Caller) -> None:
        rate = caller.rate or RATE
        for item in self._rates.setdefault(rate, limits.parse_many(rate)):
            if not self._limiter.hit(item, str(caller.name)):
                until = self._limiter.get_window_stats(item, str(caller.name)).reset_time
                wait = max(math.ceil(until - time.time()), 1)
                told = f"{caller.name} may ask {item}; ask again in {wait} s"
                raise Refusal(429, told, headers={"retry-after": str(wait)})

    def _refresh(self) -> None:
        """Reads the file anew where it changed; one that cannot be used is told on the log, and the old one stays."""
        if self._path is None or time.monotonic() - self._looked < READ_EVERY:
            return
        self._looked, stamp = time.monotonic(), self._stamp()
        if stamp == self._changed:
            return
        self._changed = stamp
        try:
            self._access = Access.read(self._path)
            self._fetched = self._fresh = -math.inf
            _log.warning("access is read anew: %d keys", len(self._access.keys))
        except AccessError as error:
            _log.error("access stays as it was: %s", error)

    def _stamp(self) -> tuple[int, int] | None:
        with suppress(OSError):
            if self._path is not None:
                found = self._path.stat()
                return found.st_mtime_ns, found.st_size
        return None


def _only_here(request: Request) -> None:
    """Refuses who does not ask from this machine."""
    host = request.client.host if request.client else "127.0.0.1"  # a socket of this machine's has no address
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise Refusal(403, "no access is configured, so only this machine is answered; name a file: SHEAF_ACCESS")


def _unknown(why: str) -> Refusal:
    return Refusal(401, why, headers={"www-authenticate": "Bearer"})


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _keys(place: str) -> dict[str, jwt.PyJWK]:
    if "://" in place:
        found = jwt.PyJWKClient(place, timeout=5).get_jwk_set()
    else:
        found = jwt.PyJWKSet.from_dict(json.loads(Path(place).read_text(encoding="utf-8")))
    return {key.key_id: key for key in found.keys if key.key_id}
