"""What is laid out anew is taken up by a service that runs; what cannot be answered with is not."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from catalog import DEFAULT, read_catalog
from features import ProfileMatrix
from features.snapshot import Snapshot
from serving.demonstration import running
from serving.preparing import FOLDER, prepare
from tests.conftest import ROOT, WholeLine


@dataclass
class Asked:
    """Asks over and over, in a thread of its own, and keeps what does not come back as a 200."""

    url: str
    client: str
    failed: list[str] = field(default_factory=list)
    answers: int = 0
    over: bool = False

    def run(self) -> None:
        with httpx.Client(timeout=30) as http:
            while not self.over:
                try:
                    reply = http.post(f"{self.url}/v1/recommend", json={"client_id": self.client})
                    if reply.status_code != 200:
                        self.failed.append(reply.text)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                self.answers += 1


@dataclass(frozen=True)
class Running:
    url: str
    folder: Path
    client: str

    def now(self) -> dict[str, str]:
        """What an answer rests on."""
        told = httpx.post(f"{self.url}/v1/recommend", json={"client_id": self.client}, timeout=30).json()
        return {name: told[name] for name in ("profile_day", "model_version", "catalog_version")}

    def is_of(self, day: dt.date) -> bool:
        return self.now()["profile_day"] == str(day)


@pytest.fixture(scope="module")
def laid_out(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service over a copy of what is laid out, so that this can be altered."""
    folder = tmp_path_factory.mktemp("refresh") / "line"
    shutil.copytree(line.folder, folder, ignore=shutil.ignore_patterns("bentoml", "decisions.db*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with chdir(folder), running() as url:
            yield Running(url, folder / FOLDER, str(line.recommender.snapshot.profiles.client_ids[3]))


def becomes(told: Callable[[], bool], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if told():
            return True
        time.sleep(0.2)
    return False


def test_profiles_of_another_day_are_taken_up_without_a_dropped_request(laid_out: Running, line: WholeLine) -> None:
    assert laid_out.now()["profile_day"] == "2025-12-31"
    asked = Asked(laid_out.url, laid_out.client)
    thread = threading.Thread(target=asked.run)
    thread.start()
    try:
        for day in (dt.date(2025, 11, 30), dt.date(2025, 12, 31), dt.date(2025, 11, 30)):
            prepare(line.bank, read_catalog(DEFAULT), day)
            assert becomes(partial(laid_out.is_of, day)), day
    finally:
        asked.over = True
        thread.join()
    assert asked.failed == []
    assert asked.answers > 50
    asked_quote = {"client_id": laid_out.client, "bundle_id": "no such bundle"}
    told = httpx.post(f"{laid_out.url}/v1/quote", json=asked_quote).json()["detail"]
    assert "there is no bundle" in told  # what clients hold is of that day too, or this would not be answered
    prepare(line.bank, read_catalog(DEFAULT), dt.date(2025, 12, 31))
    assert becomes(partial(laid_out.is_of, dt.date(2025, 12, 31)))


def _damage_model(folder: Path) -> None:
    text = next(folder.glob("adoption*"))
    text.write_bytes(text.read_bytes()[:-20] + b"leaf_value=1 2 3 4 5")


def _other_columns(folder: Path) -> None:
    found = Snapshot.read(folder)
    kept = [at for at, name in enumerate(found.profiles.columns) if name != "tenure_months"]
    profiles = ProfileMatrix(
        np.array(found.profiles.client_ids), [found.profiles.columns[at] for at in kept], found.profiles.categories,
        np.array(found.profiles.values[:, kept]),
    )  # fmt: skip
    Snapshot.write(folder, [profiles], found.as_of)


def _half_of_the_profiles(folder: Path) -> None:
    values = folder / "values.f32"
    values.write_bytes(values.read_bytes()[:-400])


def _another_day(folder: Path) -> None:
    about = json.loads((folder / "profiles.json").read_text())
    (folder / "profiles.json").write_text(json.dumps(about | {"as_of": "2026-01-31"}))


def _unknown_product(path: Path) -> None:
    sold = json.loads(path.read_text())
    sold["bundles"][0]["products"][0] = "no_such_product"
    path.write_text(json.dumps(sold))


def _no_catalog(path: Path) -> None:
    path.write_text("{")


def _half_of_the_relationships(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


WRONG: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a damaged model": ("model", _damage_model),
    "profiles of another dictionary": ("profiles", _other_columns),
    "half of the profiles": ("profiles", _half_of_the_profiles),
    "profiles of another day than what is held": ("profiles", _another_day),
    "a catalog with an unknown product": ("catalog.json", _unknown_product),
    "no catalog": ("catalog.json", _no_catalog),
    "half of what is held": ("relationships.arrow", _half_of_the_relationships),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_answered_with_is_refused_and_the_old_goes_on(laid_out: Running, wrong: str) -> None:
    name, damage = WRONG[wrong]
    before, place = laid_out.now(), laid_out.folder / name
    good, bad = laid_out.folder / ".good", laid_out.folder / ".bad"
    (shutil.copytree if place.is_dir() else shutil.copy)(place, bad)
    damage(bad)
    place.rename(good)
    bad.rename(place)
    asked = Asked(laid_out.url, laid_out.client)
    thread = threading.Thread(target=asked.run)
    thread.start()
    time.sleep(5)
    asked.over = True
    thread.join()
    assert asked.failed == []
    assert laid_out.now() == before
    (shutil.rmtree if place.is_dir() else os.remove)(place)
    good.rename(place)
    assert laid_out.now() == before
