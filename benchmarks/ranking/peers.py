"""The peers by name: how each learns, what it needs installed, and the code that its figures hang on.

A peer learns from a task and returns what scores a day's clients: (clients, products), higher is better. Those that
tell probabilities score by them; ours ranks by its own order and tells probabilities beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from benchmarks.baselines import Baselines
from benchmarks.ranking import ours, together, trees
from benchmarks.ranking.tasks import Task, View

EXTRA = "make peers"
OURS = "sheaf"
ROWS = ("training/candidates/pairs.py", "training/candidates/population.py")
Scores = Callable[[View], np.ndarray]
Told = tuple[np.ndarray, np.ndarray | None]  # scores, and probabilities where there are any


@dataclass(frozen=True)
class Peer:
    """`sources` are the files, or folders of Python files, whose change makes earlier figures worthless."""

    learn: Callable[[Task], Callable[[View], Told]]
    sources: tuple[str, ...]
    library: str = ""

    @property
    def lacking(self) -> str:
        """Why it cannot run here; empty where it can."""
        there = not self.library or find_spec(self.library) is not None
        return "" if there else f"{self.library} is not installed: {EXTRA}"


def _scores(learn: Callable[[Task], Scores]) -> Callable[[Task], Callable[[View], Told]]:
    def learned(task: Task) -> Callable[[View], Told]:
        score = learn(task)
        return lambda view: (score(view), None)

    return learned


def _probabilities(learn: Callable[[Task], Scores]) -> Callable[[Task], Callable[[View], Told]]:
    def learned(task: Task) -> Callable[[View], Told]:
        score = learn(task)

        def told(view: View) -> Told:
            probability = score(view)
            return probability, probability

        return told

    return learned


def _baselines(task: Task) -> Baselines:
    return Baselines(task.sample.days[-task.last :], task.learned[-1].candidates, task.segment)


def _popularity(task: Task) -> Scores:
    score = _baselines(task).popularity()
    return lambda view: score(view.profiles)


def _by_segment(task: Task) -> Scores:
    score = _baselines(task).by_segment()
    return lambda view: score(view.profiles)


def _logistic(task: Task) -> Scores:
    score = _baselines(task).logistic(task.strength)
    return lambda view: score(view.profiles)


PEERS = {
    "popularity": Peer(_probabilities(_popularity), ("benchmarks/baselines.py",)),
    "by-segment": Peer(_probabilities(_by_segment), ("benchmarks/baselines.py",)),
    "cosine": Peer(_scores(together.cosine), ("benchmarks/ranking/together.py",)),
    "ease": Peer(_scores(together.ease), ("benchmarks/ranking/together.py",)),
    "als": Peer(_scores(together.als), ("benchmarks/ranking/together.py",), "implicit"),
    "bpr": Peer(_scores(together.bpr), ("benchmarks/ranking/together.py",), "implicit"),
    "logistic": Peer(_probabilities(_logistic), ("benchmarks/baselines.py",)),
    "multiclass": Peer(_probabilities(trees.multiclass), ("benchmarks/ranking/trees.py",)),
    "xgboost": Peer(_scores(trees.xgboost), ("benchmarks/ranking/trees.py", *ROWS), "xgboost"),
    "catboost": Peer(_scores(trees.catboost), ("benchmarks/ranking/trees.py", *ROWS), "catboost"),
    OURS: Peer(
        ours.learn, ("training", "benchmarks/ranking/ours.py", "benchmarks/ranking/bundles.py", "benchmarks/santander")
    ),
}
