"""What each peer came to on each task, kept on disk: an interrupted run goes on, and a stale result is none.

A result is kept under what it hangs on: the peer's code, the libraries' versions and all that the task gives.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import ROOT
from benchmarks.measure import KEPT, child
from benchmarks.ranking.peers import PEERS
from benchmarks.ranking.tasks import Answers, Task

CACHE = KEPT / "ranking"
LIBRARIES = ("lightgbm", "numpy", "scikit-learn", "scipy")
DISTRIBUTIONS = {"xgboost": ("xgboost", "xgboost-cpu")}  # under either name it is the same library
OF_TASKS = ("catalog", "features", "training/samples.py", "benchmarks/santander", "benchmarks/ranking/tasks.py")


@dataclass(frozen=True)
class Result:
    """Seconds of learning (by the clock, by the processor) and of ranking `rows` candidates, GiB, and scores.

    `more` is what ours tells beside them, by name.
    """

    training: float
    training_cpu: float
    ranking: float
    rows: int
    memory: float
    score: np.ndarray
    probability: np.ndarray | None
    more: dict[str, np.ndarray]


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def sources(names: Iterable[str]) -> str:
    """Stands for the text of these files, and of all Python and YAML files in these folders."""
    told = hashlib.sha256()
    for name in names:
        place = ROOT / name
        for path in sorted(place.rglob("*.*")) if place.is_dir() else [place]:
            if path.suffix in (".py", ".yaml"):
                told.update(path.read_bytes())
    return told.hexdigest()[:12]


def kept_task(
    name: str, data: str, make: Callable[[], tuple[Task, Answers]], cache: Path
) -> tuple[Path, Task, Answers]:
    """The file that peers read the task from, the task and its answers; made where the cache does not have them.

    `data` stands for the bank's tables.
    """
    place = cache / f"{name}-{digest(data, sources(OF_TASKS))}"
    task, answers = place.with_suffix(".task"), place.with_suffix(".answers")
    if not answers.exists():
        made = make()
        for path, content in zip((task, answers), made, strict=True):
            _write(path, pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL))
    return task, pickle.loads(task.read_bytes()), pickle.loads(answers.read_bytes())  # written by this very benchmark


def of_peer(name: str, task_name: str, path: Path, task: Task, cache: Path, again: bool = False) -> Result:
    """The peer's result on the task: the kept one, or that of a process that learns and ranks now.

    Raises RuntimeError with the last words of a process that failed.
    """
    peer = PEERS[name]
    libraries = [*LIBRARIES, *([peer.library] if peer.library else [])]
    versions = [(library, _version(library)) for library in libraries]
    hangs_on = digest(task.fingerprint, sources((*peer.sources, "benchmarks/ranking/one.py")), versions,
                      platform.python_version())  # fmt: skip
    place = cache / f"{task_name}-{name}-{hangs_on}"
    figures, arrays = place.with_suffix(".json"), place.with_suffix(".npz")
    if again or not figures.exists():
        told = child("benchmarks.ranking.one", path, name, arrays)
        _write(figures, json.dumps({**told, "peer": name, "task": task_name, "versions": dict(versions)}).encode())
    told = json.loads(figures.read_text())
    with np.load(arrays) as kept:
        return Result(
            **{field: told[field] for field in ("training", "training_cpu", "ranking", "rows", "memory")},
            score=kept["score"],
            probability=kept.get("probability"),
            more={name: kept[name] for name in kept.files if name not in ("score", "probability")},
        )


def _version(library: str) -> str:
    for name in DISTRIBUTIONS.get(library, (library,)):
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return ""


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
