"""What must lie on disk before the service starts: laid out by `prepare`, read by `load`, served by `command`."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from sheaf.catalog import Catalog
from sheaf.features import Bank, ProfileMatrix, profile_matrices
from sheaf.features.acceptances import awaited
from sheaf.features.atomic_replace import NEXT, part, put, replace, staging
from sheaf.features.client_positions import Relationships
from sheaf.features.conditions import Occurring, kinds_in, kinds_of_bank, need_fitting
from sheaf.features.snapshot import Snapshot
from sheaf.serving.decisions import Accepted
from sheaf.serving.engine.recommender import Recommender
from sheaf.serving.engine.version_archive import keep, keep_policy
from sheaf.serving.settings import FOLDER, pass_on, settings
from sheaf.strategy import Planner
from sheaf.strategy.plans.snapshot import Plans
from sheaf.training.price_response.artifact import FILE, PriceResponse
from sheaf.training.ranker.model import Model
from sheaf.training.registry import need_champion, price_response
from sheaf.training.samples import last_day

_OF_MODEL = ("model", "catalog")  # what profiles are laid out for
_AGAIN = 5  # times that what is being replaced is read
PLACES = ("model", "profiles", "relationships", "catalog", "price_response", "plans")  # what `load` reads
HOST = "127.0.0.1"  # this machine only: nobody has to show who they are
KEPT = 75  # seconds that an idle connection stays open: longer than callers keep it, who may ask as it is closed


def prepare(
    data: Path, catalog: Catalog, as_of: dt.date | None = None, progress: Callable[[str], None] = lambda step: None
) -> None:
    """Lays out, for the service, the champion, the price response if one was learned, the catalog, and the bank's
    profiles and relationships as of a day (default: its last).

    All is made beside what is there and then put in its place at once; a service that runs takes it up by itself. What
    answered before is kept (`sheaf.serving.engine.version_archive`).
    """
    progress("champion")
    champion, bank = need_champion(), Bank.open(data, today=dt.date.today())
    need_fitting(catalog, kinds_of_bank(bank, catalog))
    day, occurring = as_of or last_day(bank), Occurring(catalog)
    with staging(FOLDER) as new:
        champion.model.save(new / "model")
        if (learned := price_response(day, champion.model)) is not None:
            learned.model.save(new / "price_response")
        (new / "catalog.json").write_text(catalog.model_dump_json(indent=1), encoding="utf-8")
        progress("what clients hold")
        Relationships.of(bank, catalog, day).write(new / "relationships.arrow")
        # In the model's own columns and categories, so that no request has to bring its client's into them.
        parts = map(champion.model.align, occurring.watch(profile_matrices(bank, catalog, day)))
        Snapshot.write(
            new / "profiles", parts, day, lambda clients: progress(f"profiles as of {day}, {clients:,} clients")
        )
        gone = [] if learned else ["price_response"]
        replace(FOLDER, new, gone, lambda: keep(FOLDER, place("earlier")))
    occurring.tell()


def refresh(data: Path, as_of: dt.date | None = None, progress: Callable[[str], None] = lambda step: None) -> dt.date:
    """Lays out the bank's profiles and relationships as of a day (default: its last) for the model and the catalog that
    the service has already, and returns the day. A service that runs takes them up by itself, both or none.

    Raises ValueError where no model is laid out, or another was meanwhile.
    """
    bank, answering, (model, sold) = Bank.open(data, today=dt.date.today()), stamp(_OF_MODEL), _answering()
    catalog, day = model.candidates(sold).catalog, as_of or last_day(bank)
    need_fitting(catalog, kinds_of_bank(bank, catalog))
    occurring = Occurring(catalog)

    def unchanged() -> None:
        if stamp(_OF_MODEL) != answering:
            raise ValueError("another model or catalog was laid out meanwhile; run this again for that one")

    with staging(FOLDER) as new:
        progress("what clients hold")
        Relationships.of(bank, catalog, day).write(new / "relationships.arrow")
        parts = map(model.align, occurring.watch(profile_matrices(bank, catalog, day)))
        named = {what: place(what) for what in settings().model_fields_set & {"profiles", "relationships"}}
        profiles = named.get("profiles", new / "profiles")
        Snapshot.write(profiles, parts, day, lambda clients: progress(f"profiles as of {day}, {clients:,} clients"))
        if "relationships" in named:  # places of the bank's own are replaced each by itself
            with staging(named["relationships"].parent) as beside:
                shutil.move(new / "relationships.arrow", beside / "relationships.arrow")
                put(beside / "relationships.arrow", named["relationships"])
        replace(FOLDER, new, before=unchanged)
    occurring.tell()
    return day


def lay_out_plans(planner: Planner, profiles: Path | Iterable[pa.Table]) -> int:
    """Lays out the plans of profiles for the service, and returns how many there are. A service that runs takes them
    up by itself; the policy is kept for replays."""
    keep_policy(planner.policy, place("earlier"))
    return Plans.write(place("plans"), planner, profiles)


def profile_one(
    client: str,
    data: Path,
    catalog: Catalog,
    as_of: dt.date | None = None,
    progress: Callable[[str], None] = lambda step: None,
    authority: str | None = None,
) -> tuple[Recommender, list[Accepted]]:
    """The recommender of the champion over the profile of one client of the bank in `data` as of a day (default: its
    last), and what the client has accepted that holdings do not show yet."""
    progress("champion")
    model, bank = need_champion().model, Bank.open(data, today=dt.date.today())
    day = as_of or last_day(bank)
    need_fitting(catalog, kinds_of_bank(bank, catalog))
    progress(f"profile as of {day}")
    learned = price_response(day, model)
    found = recommender_of(model, bank, catalog, day, client, learned.model if learned else None, authority)
    return found, accepted_by(client, bank, catalog, day)


def recommender_of(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    day: dt.date,
    client: str | None = None,
    learned: PriceResponse | None = None,
    authority: str | None = None,
) -> Recommender:
    """The recommender over the profiles of a day: of one client, or of all where none is named."""
    parts = list(profile_matrices(bank, catalog, day, None if client is None else [client]))
    relationships = Relationships.of(bank, catalog, day, client)
    return Recommender(model, Snapshot(day, ProfileMatrix.join(parts)), catalog, learned, authority, relationships)


def accepted_by(client: str, bank: Bank, catalog: Catalog, day: dt.date) -> list[Accepted]:
    """What the client has accepted that holdings do not show yet."""
    return [
        Accepted("", dt.datetime.combine(on, dt.time(), dt.UTC), frozenset({product}))
        for product, on in awaited(bank, catalog, day, [client]).get(client, {}).items()
    ]


def load(authority: str | None = None) -> Recommender:
    """The recommender over the model, the profiles and, where they are there, the catalog, what clients hold, the
    learned price response and the plans, each in the place that its setting names (default: where `prepare` lays it
    out).

    Where no catalog is, it is the one the model was trained with.
    Raises ValueError, which says what is wrong with which of them. What `prepare` lays out is read as a whole: again,
    where it was replaced meanwhile.
    """
    for left in reversed(range(_AGAIN)):
        before, moving = stamp(), (FOLDER / NEXT).exists()
        try:
            found = _load(authority)
        except (ValueError, OSError):
            if not left or (stamp() == before and not moving and not (FOLDER / NEXT).exists()):
                raise
            time.sleep(0.1)  # while its parts go to their places
        else:
            if stamp() == before or not left:
                return found
    raise AssertionError


def _load(authority: str | None) -> Recommender:
    (model, catalog), snapshot = _answering(), Snapshot.read(place("profiles"))
    relationships = Relationships.read(place("relationships")) if place("relationships").exists() else None
    laid_out_together = not settings().model_fields_set & {"catalog", "relationships"}
    sold = catalog or model.catalog
    if laid_out_together and relationships and relationships.catalog_version != sold.version:
        raise ValueError(
            f"{place('catalog')} is not the catalog that the rest was laid out for: it was damaged, altered or "
            "removed. Lay all out anew: sheaf serve --data DIR --prepare-only"
        )
    learned = PriceResponse.load(place("price_response")) if (place("price_response") / FILE).exists() else None
    plans = None
    need_fitting(sold, kinds_in(model.encoding.columns, model.encoding.categories))
    if "plans" in settings().model_fields_set or place("plans").exists():
        plans = Plans.read(place("plans"), sold)
    return Recommender(model, snapshot, catalog, learned, authority, relationships, plans)


def _answering() -> tuple[Model, Catalog | None]:
    """The model and the catalog that are laid out; None: the one that the model was trained with. Raises ValueError."""
    if not place("model").is_dir():
        raise ValueError(
            f"nothing is laid out to serve in {place('model')}; name the bank with --data DIR, as sheaf serve and "
            "sheaf recommend take it, or the folder of a model: SHEAF_MODEL"
        )
    model, sold = Model.load(place("model")), place("catalog")
    if not sold.exists() and "catalog" not in settings().model_fields_set:
        return model, None
    try:
        return model, Catalog.model_validate_json(sold.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise ValueError(f"{sold} is no catalog as `sheaf serve --data DIR` lays it out: {why}") from error


def stamp(places: Iterable[str] = PLACES) -> tuple[tuple[int, int] | None, ...]:
    """Changes when anything that `load` reads is laid out anew."""
    found: list[tuple[int, int] | None] = []
    for what in places:
        try:
            told = place(what).stat()
            found.append((told.st_ino, told.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def place(what: str) -> Path:
    """Where the service's `model`, `profiles`, `relationships`, `price_response`, `catalog` or `plans` lies, and those
    that are `earlier`."""
    present = settings()
    named: Path = getattr(present, what)
    return named if what in present.model_fields_set else part(FOLDER, named.name)


def command(port: int, workers: int = 1, host: str = HOST) -> list[str]:
    """The command that serves, with the environment that it needs set in this one.

    Raises ValueError for a port that cannot be listened on, and for another host than this machine's loopback address
    where no access is configured.
    """
    if host != HOST and settings().access is None:
        raise ValueError(
            f"nobody has to say who asks, so only {HOST} can be listened on; configure who may: SHEAF_ACCESS, "
            "docs/guides/access.md"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was left a moment ago is free
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"port {port} cannot be listened on ({error.strerror}); stop what has it, or name another: --port N"
            ) from error
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    pass_on(workers=workers)  # BentoML's own --api-workers does nothing for services of this kind
    serve = [sys.executable, "-m", "bentoml", "serve", "sheaf.serving.service:SheafService"]
    return [*serve, "--host", host, "--port", str(port), "--timeout-keep-alive", str(KEPT)]
