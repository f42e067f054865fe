"""What answered before: models, catalogs, price responses and strategies by version, kept so that what they decided can
be worked out again. `prepare` keeps what it replaces; `sheaf decisions keep` adds what the registry has and the log
names.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sheaf.catalog import Catalog
from sheaf.features import ProfileMatrix
from sheaf.features.snapshot import Snapshot
from sheaf.serving.decisions import Writer, read_versions
from sheaf.serving.engine.recommender import Recommender
from sheaf.strategy.plans.snapshot import Plans
from sheaf.strategy.policy.schema import Strategy
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.ranker.model import Model
from sheaf.training.registry import models, price_responses

T = TypeVar("T")
_NOBODY = dt.date(1970, 1, 1)  # the day of profiles of which there are none


def keep(laid_out: Path, kept: Path) -> None:
    """Copies what is laid out in a folder to those `kept`, each under its version. What is damaged, or not there, is
    none that answered."""
    with suppress(ValueError, OSError):
        _add(laid_out / "model", kept / "model" / Model.load(laid_out / "model").version)
    with suppress(ValueError, OSError):
        _add(
            laid_out / "price_response",
            kept / "price_response" / PriceResponse.load(laid_out / "price_response").version,
        )
    with suppress(ValueError, OSError):
        place = laid_out / "catalog.json"
        _add(place, kept / "catalog" / f"{Catalog.model_validate_json(place.read_bytes()).version}.json")


def keep_policy(policy: Strategy, kept: Path) -> None:
    """Writes a strategy to those `kept`, under its version."""
    place = kept / "policy" / f"{policy.version}.json"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        made = place.with_name(f".new-{place.name}")
        made.write_text(policy.model_dump_json(), encoding="utf-8")
        made.replace(place)


def keep_registered(log: Writer, kept: Path) -> tuple[set[str], set[str]]:
    """Keeps the models and price responses that entries of the log rest on, as far as the registry has them. Returns
    the versions that are kept now, and those that are not to be had any more."""
    named, found = log.do(read_versions()), set[str]()
    for what, registered in (("model", models), ("price_response", price_responses)):
        wanted = {one for one in named[what] if not (kept / what / one).exists()}
        found |= named[what] - wanted
        if not wanted:
            continue
        for one in registered():
            if one.model.version in wanted:
                with tempfile.TemporaryDirectory() as made:
                    one.model.save(Path(made) / what)
                    _add(Path(made) / what, kept / what / one.model.version)
                found.add(one.model.version)
                wanted.remove(one.model.version)
            if not wanted:
                break
    return found, (named["model"] | named["price_response"]) - found


def who_decided(present: Recommender, row: Mapping[str, Any], kept: Path) -> tuple[Recommender, list[str]]:
    """What the logged decision was made by, put together from what answers now and what is kept, and in words the
    versions that are in neither; while there are any, it is what answers now."""
    sold = present.candidates.catalog
    model = present.model if row["model_version"] == present.model.version else _kept(_model, kept, row, "model")
    catalog = sold if row["catalog_version"] == sold.version else _kept(_catalog, kept, row, "catalog")
    if catalog is None and model is not None and model.catalog.version == row["catalog_version"]:
        catalog = model.catalog  # the one that it was trained with
    learned, wanted = present.learned, row["response_version"]
    if wanted != (learned.version if learned else None):
        learned = _kept(_response, kept, row, "response") if wanted else None
    plans, of_policy = present.plans, row["policy_version"]
    if of_policy is not None and (plans is None or plans.policy.version != of_policy):
        policy = _kept(_policy, kept, row, "policy")
        plans = None if policy is None else Plans.none(policy)
    found: dict[str, Any] = {"model": model, "catalog": catalog, "response": learned if wanted else ""}
    found["policy"] = plans if of_policy is not None else ""
    missing = [f"{what} {row[f'{what}_version']}" for what, of in found.items() if of is None]
    if model is None or catalog is None or missing:
        return present, missing
    if model is present.model and catalog is sold and learned is present.learned and plans is present.plans:
        return present, []
    columns = list(model.candidates(catalog).columns)
    categories = {name: list(texts) for name, texts in model.encoding.categories.items()}
    nobody = ProfileMatrix(np.empty(0, dtype="U1"), columns, categories, np.empty((0, len(columns)), np.float32))
    return Recommender(model, Snapshot(_NOBODY, nobody), catalog, learned, present.authority, None, plans), []


def _kept(read: Callable[[Path], T], kept: Path, row: Mapping[str, Any], what: str) -> T | None:
    folder = kept.resolve() / ("price_response" if what == "response" else what)
    try:
        return read(folder / str(row[f"{what}_version"]))
    except (ValueError, OSError):
        return None


@lru_cache(maxsize=4)  # an auditor asks for several of one time
def _model(place: Path) -> Model:
    return Model.load(place)


@lru_cache(maxsize=4)
def _response(place: Path) -> PriceResponse:
    return PriceResponse.load(place)


def _catalog(place: Path) -> Catalog:
    return Catalog.model_validate_json(place.with_name(f"{place.name}.json").read_bytes())


def _policy(place: Path) -> Strategy:
    return Strategy.model_validate_json(place.with_name(f"{place.name}.json").read_bytes())


def _add(place: Path, target: Path) -> None:
    """Copies a file or folder, at once, unless it is there."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as made:
        copy: Callable[..., Any] = shutil.copytree if place.is_dir() else shutil.copy
        copy(place, Path(made) / target.name)
        (Path(made) / target.name).rename(target)
