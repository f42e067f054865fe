"""Figures never cost an answer: they lie in memory that the workers of one service share, and on no disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sheaf.serving.runtime.shared_metrics import Slot
from tests.conftest import ROOT, WholeLine
from tests.serving.test_logs import becomes
from tests.serving.test_shutdown import serving

FORKED = """
import os
from sheaf.serving.runtime import metrics
from sheaf.serving.runtime import shared_metrics
shared_metrics.share(2)
def worker(slot, count, day):
    if (pid := os.fork()) == 0:
        shared_metrics.take(slot)
        for _ in range(count):
            metrics.request("/v1/recommend", 200, 0.002)
        metrics._profiles.set(day)
        os._exit(0)
    os.waitpid(pid, 0)
worker(0, 3, 10.0)
worker(1, 4, 20.0)
before = metrics.figures().decode()
shared_metrics.gone(0)
worker(0, 5, 30.0)
print(before, "---", metrics.figures().decode())
"""


def test_workers_are_added_up_and_a_dead_one_counts_on_in_its_successor() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = (text.splitlines() for text in done.stdout.split("---"))
    labels = '{route="/v1/recommend",status="200"}'
    assert f"sheaf_request_seconds_count{labels} 7.0" in before
    assert "sheaf_turned_away_total 0.0" in before  # from the beginning, so that a first one is a rise
    assert "sheaf_profiles_timestamp_seconds 10.0" in before  # the oldest of those who live
    assert f"sheaf_request_seconds_count{labels} 12.0" in after
    assert "sheaf_profiles_timestamp_seconds 20.0" in after
    buckets = [line for line in after if line.startswith("sheaf_request_seconds_bucket")]
    assert [line.split()[1] for line in buckets][:3] == ["0.0", "12.0", "12.0"]  # cumulative from 2.5 ms on


def test_what_there_is_no_room_for_is_not_counted() -> None:
    slot = Slot(most=2, texts=64)
    places = [slot.place(name, 0.0) for name in ("one", "x" * 100, "two", "three")]
    assert places == [1, None, 2, None]
    assert dict(slot) == {"one": 1, "two": 2}
    assert slot.place("one", 5.0) == 1
    slot.resume()
    assert slot.place("two", 5.0) == 2


def counted(port: int) -> float:
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text.splitlines()
    return sum(float(line.split()[1]) for line in told if line.startswith("sheaf_offers_total"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, full but for what is needed to start."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 512):
                pass
        except OSError:
            return filler
    return filler


def test_a_full_disk_under_bentoml_costs_no_answer(line: WholeLine, tmp_path: Path, small_disk: Path) -> None:
    clients = [str(one) for one in line.recommender.snapshot.profiles.client_ids[:60]]
    home, log = small_disk / "bentoml", tmp_path / "decisions.db"
    with serving(line.folder, log, 2, BENTOML_HOME=str(home)) as (_, port):
        fill(small_disk)
        statuses = [
            httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"client_id": one}, timeout=20).status_code
            for one in clients
        ]
        assert set(statuses) == {200}
        assert counted(port) > 0
    assert "another takes its place" not in log.with_suffix(".said").read_text()


def test_a_full_disk_under_the_log_is_a_503_and_passes(line: WholeLine, tmp_path: Path, small_disk: Path) -> None:
    client, log = str(line.recommender.snapshot.profiles.client_ids[0]), small_disk / "decisions.db"
    said = tmp_path / "decisions.db"  # what the service says goes beside it, not to the full disk
    with serving(
        line.folder, said, 1, SHEAF_DECISIONS=str(log), BENTOML_HOME=str(small_disk), SHEAF_DECISIONS_SECONDS="2"
    ) as (_, port):

        def ask() -> httpx.Response:
            return httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"client_id": client}, timeout=20)

        assert ask().status_code == 200
        filler = fill(small_disk)
        refused: list[httpx.Response] = []
        for _ in range(300):  # the log has some room left in what it allocated before
            if (reply := ask()).status_code != 200:
                refused.append(reply)
            if len(refused) == 3:
                break
        assert len(refused) == 3
        assert {(reply.status_code, reply.headers["content-type"]) for reply in refused} == {
            (503, "application/problem+json")
        }
        filler.unlink()
        assert becomes(lambda: ask().status_code == 200, 20)
    assert "another takes its place" not in said.with_suffix(".said").read_text()


def test_two_services_of_one_user_count_for_themselves(line: WholeLine, tmp_path: Path) -> None:
    client, home = str(line.recommender.snapshot.profiles.client_ids[0]), str(tmp_path / "bentoml")
    with serving(line.folder, tmp_path / "one.db", 1, BENTOML_HOME=home) as (_, first):
        body = {"client_id": client}
        offers = httpx.post(f"http://127.0.0.1:{first}/v1/recommend", json=body, timeout=20).json()["offers"]
        with serving(line.folder, tmp_path / "other.db", 1, BENTOML_HOME=home) as (_, second):
            assert (counted(first), counted(second)) == (len(offers), 0)
