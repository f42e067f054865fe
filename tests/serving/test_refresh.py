"""What is laid out anew is taken up by a service that runs; what cannot be answered with is not."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import ProfileMatrix
from sheaf.features.client_positions import Relationships
from sheaf.features.snapshot import Snapshot
from sheaf.serving.engine.version_archive import keep
from sheaf.serving.runtime.demonstration import running
from sheaf.serving.runtime.preparation import load, prepare
from sheaf.serving.settings import FOLDER
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
    assert (laid_out.folder / "earlier" / "model" / line.champion.version).is_dir()  # as the one before, each time
    assert [path.name for path in (laid_out.folder / "earlier" / "catalog").iterdir()] == [
        f"{line.recommender.candidates.catalog.version}.json"
    ]


def test_what_an_earlier_champion_answered_is_replayed_over_http(laid_out: Running, line: WholeLine) -> None:
    def ask(kind: str, body: dict[str, str]) -> dict[str, Any]:
        return dict(httpx.post(f"{laid_out.url}/v1/{kind}", json=body, timeout=30).json())

    body = {"client_id": laid_out.client}
    answer = ask("recommend", body)
    quoted = ask("quote", body | {"bundle_id": answer["offers"][0]["bundle_id"]})
    keep(laid_out.folder, laid_out.folder / "earlier")
    another = replace(line.champion, about={**line.champion.about, "note": "another"})
    another.save(laid_out.folder / ".another")
    (laid_out.folder / "model").rename(laid_out.folder / ".before")
    (laid_out.folder / ".another").rename(laid_out.folder / "model")
    assert becomes(lambda: laid_out.now()["model_version"] == another.version)
    decided, of_quote = (
        f"{laid_out.url}/v1/decisions/{answer['decision_id']}",
        f"{laid_out.url}/v1/quotes/{quoted['quote_id']}",
    )
    try:
        earlier, away = laid_out.folder / "earlier", laid_out.folder / ".earlier"
        earlier.rename(away)
        told = httpx.get(decided, timeout=30).json()["replay"]
        assert (told["same"], f"model {line.champion.version} is not kept here" in told["why"]) == (None, True)
        away.rename(earlier)
        found = httpx.get(decided, timeout=30).json()
        assert (found["model_version"], found["replay"]["same"]) == (line.champion.version, True)
        assert found["profile"]
        assert httpx.get(of_quote, timeout=30).json()["replay"]["same"] is True
    finally:
        shutil.rmtree(laid_out.folder / "model")
        (laid_out.folder / ".before").rename(laid_out.folder / "model")
        assert becomes(lambda: laid_out.now()["model_version"] == line.champion.version)


def sheaf_profile(line: WholeLine, folder: Path, *more: str) -> subprocess.Popen[str]:
    """The command as somebody gives it, in the folder of the service."""
    command = [str(Path(sys.executable).with_name("sheaf")), "profile", "--data", str(line.bank), "--serve", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_sheaf_profile_refreshes_a_service_that_runs_and_killed_it_changes_nothing(
    laid_out: Running, line: WholeLine
) -> None:
    before, folder = laid_out.now(), laid_out.folder.parents[1]
    asked = Asked(laid_out.url, laid_out.client)
    thread = threading.Thread(target=asked.run)
    thread.start()
    try:
        killed = sheaf_profile(line, folder, "--as-of", "2025-11-30")
        assert becomes(lambda: any(laid_out.folder.glob(".new-*")))
        killed.kill()
        killed.communicate()
        time.sleep(3)
        assert laid_out.now() == before
        assert (Snapshot.read(laid_out.folder / "profiles").as_of, Relationships.read(
            laid_out.folder / "relationships.arrow").as_of) == (dt.date(2025, 12, 31),) * 2  # fmt: skip
        done = sheaf_profile(line, folder, "--as-of", "2025-11-30")
        out, err = done.communicate()
        assert done.returncode == 0, out + err
        assert "Profiles as of 2025-11-30 are laid out" in out
        assert becomes(partial(laid_out.is_of, dt.date(2025, 11, 30)))
        assert laid_out.now() == before | {"profile_day": "2025-11-30"}
        bundle = httpx.post(f"{laid_out.url}/v1/recommend", json={"client_id": laid_out.client}).json()["offers"][0]
        body = {"client_id": laid_out.client, "bundle_id": bundle["bundle_id"]}
        assert httpx.post(f"{laid_out.url}/v1/quote", json=body).json()["as_of"] == "2025-11-30"  # both, or neither
        assert sheaf_profile(line, folder).wait() == 0  # without a day, the bank's last
        assert becomes(partial(laid_out.is_of, dt.date(2025, 12, 31)))
    finally:
        asked.over = True
        thread.join()
    assert asked.failed == []
    refused = sheaf_profile(line, folder, "--catalog", "catalog.yaml")
    assert "--serve goes with --data and --as-of only" in refused.communicate()[1]
    assert refused.returncode == 1


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


def _another_price(path: Path) -> None:
    sold = json.loads(path.read_text())
    sold["products"][0]["name"] += "!"
    path.write_text(json.dumps(sold))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def _flip_a_bit_of_the_values(folder: Path) -> None:
    _flip_a_bit(folder / "values.f32")


def _no_catalog(path: Path) -> None:
    path.write_text("{")


def _half_of_the_relationships(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _something_else(path: Path) -> None:
    shutil.copy(path.with_name("relationships.arrow"), path)


def _unknown_authority(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"signs":"head_office"', b'"signs":"HEAD_OFFICE"'))


WRONG: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a damaged model": ("model", _damage_model),
    "profiles of another dictionary": ("profiles", _other_columns),
    "half of the profiles": ("profiles", _half_of_the_profiles),
    "profiles of another day than what is held": ("profiles", _another_day),
    "a catalog with an unknown product": ("catalog.json", _unknown_product),
    "a catalog that was altered": ("catalog.json", _another_price),
    "a flipped bit in the profiles": ("profiles", _flip_a_bit_of_the_values),
    "no catalog": ("catalog.json", _no_catalog),
    "half of what is held": ("relationships.arrow", _half_of_the_relationships),
    "nothing of what is held": ("relationships.arrow", Path.unlink),
    "nothing of the plans": ("plans.arrow", Path.unlink),
    "half of the plans": ("plans.arrow", _half_of_the_relationships),
    "plans that are something else": ("plans.arrow", _something_else),
    "plans that an unknown authority signs": ("plans.arrow", _unknown_authority),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_answered_with_is_refused_and_the_old_goes_on(laid_out: Running, wrong: str) -> None:
    name, damage = WRONG[wrong]
    before, place = laid_out.now(), laid_out.folder / name
    good, bad = laid_out.folder / ".good", laid_out.folder / ".bad"
    (shutil.copytree if place.is_dir() else shutil.copy)(place, bad)
    damage(bad)
    place.rename(good)
    if bad.exists():
        bad.rename(place)
    asked = Asked(laid_out.url, laid_out.client)
    thread = threading.Thread(target=asked.run)
    thread.start()
    time.sleep(5)
    asked.over = True
    thread.join()
    assert asked.failed == []
    assert laid_out.now() == before
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    good.rename(place)
    assert laid_out.now() == before


def test_a_catalog_that_was_removed_is_not_taken_for_the_models(
    line: WholeLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has the catalog that it was trained with, maybe with other prices."""
    folder = tmp_path / FOLDER
    shutil.copytree(line.folder / FOLDER, folder)
    held = Relationships.read(folder / "relationships.arrow").rows
    of_another = held.replace_schema_metadata((held.schema.metadata or {}) | {b"catalog": b"another"})
    Relationships(of_another).write(folder / "relationships.arrow")
    (folder / "catalog.json").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"altered or removed.*--prepare-only"):
        load()
