"""Who may ask what: keys of channels, tokens of people, their scopes, their books, and how often they may ask.

SHEAF_ACCESS names a YAML file (`docs/guides/access.md`); it is read again when it changes. Without one, callers on this
machine may ask everything, and nobody else anything.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import logging
import math
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import jwt
import limits
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from starlette.requests import Request

from sheaf.serving.http.problems import Refusal, in_words
from sheaf.serving.http.token_issuer import Issuer, file_content
from sheaf.serving.settings import settings

RATE = "50/second"  # of a caller that none is named for
READ_EVERY = 1.0  # seconds between two looks at the file
LEEWAY = 10  # seconds by which an issuer's clock may differ from ours
LONGEST_FILE = 1_000_000  # bytes of the file
LONGEST_WINDOW = 31 * 86_400  # seconds that a rate may look back
LONGEST_RATE = 100  # characters of a rate
MOST_HITS = 1_000_000  # requests of a window
LONGEST_CLAIM = 200  # characters of a manager or branch
LONGEST_SUBJECT = 255  # characters of a token's `sub`, by OpenID Connect
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z.-]+)(?::[0-9]*)?", re.ASCII | re.IGNORECASE)
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
        items = limits.parse_many(text) if len(text) <= LONGEST_RATE else []
    except ValueError:
        items = []
    # Each request within a window is remembered: a large rate over a long window would fill the memory.
    if not items or not all(0 < item.amount <= MOST_HITS and 0 < item.get_expiry() <= LONGEST_WINDOW for item in items):
        raise ValueError(
            f"{text[:LONGEST_RATE]!r} is no rate; write 50/second or 50/second;1000/minute, each from 1 to "
            f"{MOST_HITS:,} requests in at most 31 days"
        )
    return text


def _place(text: str) -> str:
    """Keys that decide who is who do not travel in the clear, but within this machine."""
    address = urlsplit(text)
    if "\0" in text or ("://" in text and not (address.hostname and address.port != 0)):  # a port is read here
        raise ValueError("give a whole address, such as https://login.bank.example/keys, or a file")
    if "://" in text and address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("give an address that begins with https://, or a file")
    return text


Rate = Annotated[str, AfterValidator(_rate)]
Name = Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, content: Any) -> Any:
        """A field that is left empty is as if it were not there."""
        if not isinstance(content, Mapping):
            return content
        return {name: value for name, value in content.items() if value not in ("", "null", "~")}


class Key(_Model):
    """A channel's key, of which only the hash is kept. Two keys may have one name while they are rotated."""

    name: Name
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = Field(min_length=1)
    rate: Rate | None = None
    authority: Annotated[str, Field(pattern=r"^[!-~]{1,100}$")] | None = None


class People(_Model):
    """Whose tokens are taken: those that `issuer` signed for `audience` with a key of `jwks`, an address or a file."""

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    jwks: Annotated[str, Field(min_length=1), AfterValidator(_place)]
    algorithms: tuple[Annotated[str, Field(pattern="^(RS|PS|ES)(256|384|512)$|^EdDSA$")], ...] = Field(
        ("RS256", "ES256"), min_length=1
    )
    scope_claim: str = "scope"
    manager_claim: str = "manager_id"
    branch_claim: str = "branch_id"
    authority_claim: str = "authority"
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
            text = file_content(path, LONGEST_FILE).decode("utf-8")
            return cls.model_validate(YAML(typ="base").load(text) or {})  # every value of this file is a text
        except FileNotFoundError as error:
            raise AccessError(f"{path}: there is no such file; `sheaf keys add` makes it") from error
        except RecursionError as error:
            raise AccessError(
                f"{path} cannot be read as YAML: it is nested too deeply; see docs/guides/access.md"
            ) from error
        except ValidationError as error:
            wrong = (
                f"{path}: {'.'.join(map(str, one['loc'])) or 'the file'}: {in_words(one)}" for one in error.errors()
            )
            raise AccessError("\n".join(wrong)) from error
        except AccessError:
            raise
        except (OSError, YAMLError, ValueError, LookupError, TypeError) as error:
            raise AccessError(f"{path} cannot be read as YAML: {error}; see docs/guides/access.md") from error

    @cached_property
    def by_hash(self) -> dict[str, Key]:
        return {key.sha256: key for key in self.keys}


@dataclass(frozen=True)
class Caller:
    """Who asks, `key:…` or `person:…`. A client is seen whose manager and branch are named here; None names none.
    `authority` is the catalog's that the caller may grant by; None: the one who may grant least."""

    name: str | None
    scopes: frozenset[Scope]
    everybody: bool
    manager: str | None = None
    branch: str | None = None
    rate: str | None = None
    authority: str | None = None

    def sees(self, book: tuple[str | None, str | None] | None) -> bool:
        """Whether a client is of the caller's book, by its manager and branch; None where neither is known."""
        if self.everybody:
            return True
        if book is None or (self.manager is None and self.branch is None):
            return False
        manager, branch = book
        return self.manager in (None, manager) and self.branch in (None, branch)


ANYBODY = Caller(None, frozenset(Scope), True)  # of this machine, where no access is configured


def add_key(path: Path, name: str, scopes: Sequence[str], rate: str | None = None, authority: str | None = None) -> str:
    """Adds a channel's key to the file, which is made where it is not there, and returns the secret that the channel
    sends: it has 256 bits of chance, so its hash gives nothing away.

    Raises AccessError for a name, scope or rate that cannot be, and for a file that cannot be used.
    """
    number = secrets.token_hex(4)
    secret = f"sheaf_{number}_{secrets.token_urlsafe(32)}"
    try:
        key = Key(name=name, id=number, sha256=_hash(secret), scopes=tuple(scopes), rate=rate, authority=authority)
    except ValidationError as error:
        raise AccessError("; ".join(f"{one['loc'][0]}: {in_words(one)}" for one in error.errors())) from error
    with _changing(path) as content:
        content["keys"] = [*(content.get("keys") or []), key.model_dump(mode="json", exclude_none=True)]
    return secret


def remove_key(path: Path, number: str) -> str:
    """Takes the key of that id out of the file and returns whose it was. Raises AccessError where it is not there."""
    with _changing(path, needed=True) as content:
        names = {key.id: key.name for key in Access.read(path).keys}
        if number not in names:
            raise AccessError(f"{path} has no key {number!r}; it has {', '.join(names) or 'none'}")
        content["keys"] = [key for key in content["keys"] if str(key["id"]) != number]
    return names[number]


@contextmanager
def _changing(path: Path, needed: bool = False) -> Iterator[Any]:
    """The content of the file, comments and all, to be changed: one after another, and all of it or nothing.

    The file keeps its owner and its mode, and a link to it stays one. Where it is not there it is made, unless it is
    `needed`. Raises AccessError for a file that cannot be used or written.
    """
    try:
        real = path.resolve()
        folder = os.open(real.parent, os.O_RDONLY)  # its lock, as that of a file would go with the file
    except RuntimeError as error:  # of `resolve`, in Python 3.11 and 3.12
        raise AccessError(f"{path} is a link that leads to itself; name a file") from error
    except OSError as error:
        raise AccessError(f"{path}: the folder cannot be opened: {error.strerror}; make it, or name another") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if needed or real.exists():
            Access.read(path)
            content = _with_comments(real)
        else:
            content = {}
        yield content
        _replace(real, content)
        os.fsync(folder)
    except OSError as error:
        remedy = "see that its folder may be written to and has room"
        raise AccessError(f"{path} cannot be written, it stays as it was: {error.strerror}; {remedy}") from error
    finally:
        os.close(folder)


def _with_comments(path: Path) -> Any:
    """What a file that can be used holds, comments and all; ids of keys, which may look like numbers, are texts."""
    try:
        content = YAML().load(path.read_text(encoding="utf-8")) or {}
        for key, told in zip(content.get("keys") or [], Access.read(path).keys, strict=True):
            key["id"] = told.id
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise AccessError(f"{path} stays as it was: {why}; {_PLAIN}") from error
    return content


_PLAIN = (
    "sheaf keys changes files of plain values only: put days between quotes, and leave out YAML tags and merge keys"
)


def _replace(path: Path, content: Any) -> None:
    """Replaces the file at once, so that nobody reads half of it; what others left who were killed goes."""
    for left in path.parent.glob(f".{path.name}.*.new"):  # nobody is writing one: the folder is locked
        left.unlink(missing_ok=True)
    before = path.stat() if path.exists() else None
    number, made = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            YAML().dump(content, file)
            if before is not None:
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
        try:
            Access.read(Path(made))
        except AccessError as error:
            raise AccessError(f"{path} stays as it was: it could not be read afterwards; {_PLAIN}") from error
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


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
        self._issuer = self._issuer_of(self._access)

    @property
    def guarded(self) -> bool:
        """Whether callers have to say who they are."""
        return self._access is not None

    @classmethod
    def configured(cls) -> Gatekeeper:
        return cls(settings().access)

    def admit_reader(self, request: Request) -> None:
        """For what everybody may read. Raises Refusal for a page that reads this machine by another name."""
        self._refresh()
        if self._access is None and request.client is not None and _is_here(request.client.host):
            _only_here(request)

    async def admit(self, request: Request, scope: Scope) -> Caller:
        """Who asks, `request.state.caller` as soon as that is known. Raises Refusal: 401 who does not say, 429 who
        asks too often, 403 who may not."""
        self._refresh()
        if self._access is None:
            _only_here(request)
            request.state.caller = ANYBODY
            return ANYBODY
        request.state.caller = caller = await self._caller(self._access, request)
        self._count(caller)  # first: who may not ask is not to ask without end
        if scope not in caller.scopes:
            raise Refusal(403, f"this needs the scope {scope}, which {caller.name} does not have")
        return caller

    async def _caller(self, access: Access, request: Request) -> Caller:
        secret, told = request.headers.get("x-api-key"), request.headers.get("authorization", "")
        if secret is not None and told:
            raise _unknown("give either the header X-Api-Key or Authorization, not both")
        if secret is not None:
            key = access.by_hash.get(_hash(secret))
            if key is None:
                raise _unknown("this API key is not known, or not any more")
            rate = key.rate or access.rate
            return Caller(f"key:{key.name}", frozenset(key.scopes), True, rate=rate, authority=key.authority)
        kind, _, token = told.partition(" ")
        if kind.lower() != "bearer" or access.people is None:
            how = ["an API key in the header X-Api-Key"] if access.keys else []
            how += ["a bearer token in the header Authorization"] if access.people else []
            raise _unknown(f"say who asks: {' or '.join(how) or 'nobody may ask yet'}")
        return await self._person(access.people, access.rate, token.strip())

    async def _person(self, people: People, rate: str, token: str) -> Caller:
        try:
            claims = await self._claims(people, token)
        except jwt.PyJWTError as error:
            raise _unknown(f"this token is not taken: {error}") from error
        told = claims.get(people.scope_claim, "")
        names = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        scopes = frozenset(Scope(name) for name in names if isinstance(name, str) and name in set(Scope))
        if not _is_usable(claims["sub"], LONGEST_SUBJECT):  # cut, or cleaned, it might be another's
            raise _unknown(f"this token is not taken: sub is not 1 to {LONGEST_SUBJECT} printable characters")
        name, rate = f"person:{claims['sub']}", people.rate or rate
        try:
            manager, branch = (_claim(claims, name) for name in (people.manager_claim, people.branch_claim))
        except ValueError:  # what was meant is not known
            return Caller(name, scopes, False, rate=rate)
        authority = None
        if people.authority_claim in claims:  # what is no text is no authority of the catalog, and refused as such
            told = claims[people.authority_claim]
            authority = told if isinstance(told, str) and told else repr(told)[:100]
        return Caller(name, scopes, Scope.ALL_CLIENTS in scopes, manager, branch, rate, authority)

    async def _claims(self, people: People, token: str) -> dict[str, Any]:
        """What the token says, after one of the issuer's keys of its name and algorithm was found to have signed it."""
        header = jwt.get_unverified_header(token)
        name, algorithm = header.get("kid", ""), str(header.get("alg"))
        assert self._issuer is not None
        signers = await self._issuer.keys(name if isinstance(name, str) else "", algorithm)
        for number, signer in enumerate(signers, 1):
            try:
                claims: dict[str, Any] = jwt.decode(
                    token, signer, algorithms=[algorithm], audience=people.audience, issuer=people.issuer,
                    leeway=LEEWAY, options={"require": ["exp", "iss", "aud", "sub"]},
                )  # fmt: skip
                return claims
            except jwt.InvalidSignatureError:
                if number == len(signers):
                    raise
        raise jwt.InvalidKeyError("the issuer has no such key")

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
            self._issuer = self._issuer_of(self._access)
            _log.warning("access is read anew: %d keys", len(self._access.keys))
        except AccessError as error:
            _log.error("access stays as it was: %s", error)

    def _issuer_of(self, access: Access | None) -> Issuer | None:
        """The issuer that the file names: the present one with what it was asked and when, if it is the same."""
        if access is None or access.people is None:
            return None
        present: Issuer | None = getattr(self, "_issuer", None)
        issuer = Issuer(access.people.jwks, access.people.algorithms)
        if present is None or (present.place, present.algorithms) != (issuer.place, issuer.algorithms):
            return issuer
        present.expire()
        return present

    def _stamp(self) -> tuple[int, ...] | None:
        """Changes with the file, also where the new one was given the time of the old."""
        with suppress(OSError):
            if self._path is not None:
                found = self._path.stat()
                return found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size
        return None


def _only_here(request: Request) -> None:
    """Refuses who does not ask from this machine, and who asks it by another name: a web page may have its own name
    resolve to this machine, and would then read the answers (DNS rebinding)."""
    host = request.client.host if request.client else "127.0.0.1"  # a socket of this machine's has no address
    if not _is_here(host):
        raise Refusal(403, "no access is configured, so only this machine is answered; name a file: SHEAF_ACCESS")
    asked = request.headers.getlist("host") or ["localhost"]  # no browser leaves it out
    named = _HOST.fullmatch(asked[0]) if len(asked) == 1 else None
    if named is None or not (named[1].lower() == "localhost" or _is_here(named[1].strip("[]"))):
        raise Refusal(
            403, "no access is configured, so this machine is answered by its own names only: ask localhost or "
            "127.0.0.1 (header Host), or name a file: SHEAF_ACCESS",
        )  # fmt: skip


def _is_here(address: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return False


def _unknown(why: str) -> Refusal:
    return Refusal(401, why, headers={"www-authenticate": "Bearer"})


def _claim(claims: Mapping[str, Any], name: str) -> str | None:
    """The text or whole number of a claim; None where the token does not have it. Raises ValueError for anything else:
    a list, null, a fraction, a blank text."""
    if name not in claims:
        return None
    value = claims[name]
    told = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _is_usable(told, LONGEST_CLAIM):
        raise ValueError(f"the claim {name} is unusable")
    return told


def _is_usable(text: str, longest: int) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= longest
