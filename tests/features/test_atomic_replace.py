"""Parts of a folder are replaced together: whoever reads has all of the new ones or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sheaf.features import atomic_replace
from tests.conftest import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from sheaf.features import atomic_replace
left = [0]
def dying(function):
    def call(*arguments, **named):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return function(*arguments, **named)
    return call
for name in ("rename", "replace", "mkdir", "write_text", "unlink"):
    setattr(Path, name, dying(getattr(Path, name)))
atomic_replace.shutil.rmtree = dying(atomic_replace.shutil.rmtree)
for left[0], folder in enumerate(map(Path, sys.argv[1:])):
    if (pid := os.fork()) == 0:
        with atomic_replace.staging(folder) as new:
            for name in ("model", "profiles"):
                (new / name).mkdir()
                (new / name / "day").write_text("new")
            (new / "catalog.json").write_text("new")
            atomic_replace.replace(folder, new, gone=["price_response"])
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    print(folder, killed)
    if not killed:
        break
"""


def read(folder: Path) -> dict[str, str]:
    found = {}
    for name, file in (("model", "day"), ("profiles", "day"), ("price_response", "day"), ("catalog.json", "")):
        place = atomic_replace.part(folder, name) / file
        if place.exists():
            found[name] = place.read_text()
    return found


OLD = dict.fromkeys(("model", "profiles", "price_response", "catalog.json"), "old")
NEW = dict.fromkeys(("model", "profiles", "catalog.json"), "new")


def laid_out(folder: Path) -> Path:
    for name in ("model", "profiles", "price_response"):
        (folder / name).mkdir(parents=True)
        (folder / name / "day").write_text("old")
    (folder / "catalog.json").write_text("old")
    (folder / "plans.arrow").write_text("kept")
    return folder


def test_killed_at_any_step_all_or_nothing_is_replaced_and_the_next_clears_up(tmp_path: Path) -> None:
    folders = [laid_out(tmp_path / str(step)) for step in range(60)]
    command = [sys.executable, "-c", KILLED, *map(str, folders)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    steps = [line.split() for line in done.stdout.splitlines()]
    assert [killed for _, killed in steps] == ["True"] * (len(steps) - 1) + ["False"], done.stderr
    found = []
    for folder, _ in zip(folders, steps, strict=False):
        found.append(read(folder))
        assert found[-1] in (OLD, NEW), folder
        with atomic_replace.staging(folder) as new:  # somebody else, afterwards
            (new / "model").mkdir()
            (new / "model" / "day").write_text("third")
            atomic_replace.replace(folder, new)
        assert read(folder) == found[-1] | {"model": "third"}
        assert {path.name for path in folder.iterdir()} == {*found[-1], "plans.arrow"}
    assert len(steps) > 11
    assert found == sorted(found, key=lambda one: one["model"] == "new")  # once new, always new
    assert (found[0], found[-1]) == (OLD, NEW)


def test_what_another_is_making_is_left_alone(tmp_path: Path) -> None:
    with atomic_replace.staging(tmp_path) as one, atomic_replace.staging(tmp_path) as other:
        (one / "model").write_text("one")
        (other / "model").write_text("other")
        atomic_replace.replace(tmp_path, other)
        atomic_replace.replace(tmp_path, one)
    assert (tmp_path / "model").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_is_replaced_where_the_last_look_refuses(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ValueError("another model was laid out")

    folder = laid_out(tmp_path / "served")
    with atomic_replace.staging(folder) as new:
        (new / "catalog.json").write_text("new")
        with pytest.raises(ValueError, match="another model"):
            atomic_replace.replace(folder, new, before=refuse)
    assert read(folder) == OLD


def test_what_is_renamed_is_on_the_disk_and_so_is_its_new_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses power after the switch has the new parts, not empty files."""
    done: list[tuple[str, str]] = []
    synced, renamed = os.fsync, Path.rename

    def sync(number: int) -> None:
        done.append(("on the disk", Path(f"/proc/self/fd/{number}").readlink().name))
        synced(number)

    def rename(self: Path, target: Path) -> Path:
        done.append(("renamed", self.name))
        return renamed(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    folder = laid_out(tmp_path / "serving")
    with atomic_replace.staging(folder) as new:
        (new / "profiles").mkdir()
        (new / "profiles" / "values.f32").write_text("new")
        atomic_replace.replace(folder, new)
    switch = done.index(("renamed", new.name))
    assert {"values.f32", "profiles", new.name} <= {name for what, name in done[:switch] if what == "on the disk"}
    assert done[switch + 1] == ("on the disk", "serving")
    gone = max(at for at, (what, name) in enumerate(done) if (what, name) == ("renamed", atomic_replace.NEXT))
    moved = max(at for at, (what, name) in enumerate(done) if (what, name) == ("renamed", "profiles"))
    assert ("on the disk", "serving") in done[moved:gone]
    made, place = tmp_path / "made", tmp_path / "plans.arrow"
    made.write_text("new")
    done.clear()
    atomic_replace.put(made, place)
    assert done == [("on the disk", "made"), ("on the disk", tmp_path.name)]
