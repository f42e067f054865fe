"""One peer learns from a task and ranks, in a process of its own: `python -m benchmarks.ranking.one TASK PEER OUT`.

It hands back the seconds of learning and of ranking from profiles that lie in memory, and leaves scores and
probabilities, (clients, products), in OUT.
"""

from __future__ import annotations

import pickle
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.measure import hand_back, peak_gib
from benchmarks.ranking.ours import Ours
from benchmarks.ranking.peers import PEERS
from benchmarks.ranking.tasks import Task


def main(task: Path, name: str, out: Path) -> None:
    read: Task = pickle.loads(task.read_bytes())  # written by this very benchmark
    warnings.simplefilter("ignore")  # of libraries, about what peers are known to do
    view = read.ranked  # profiles in the models' columns, those learned from as well: before the clock starts
    started, busy = time.perf_counter(), time.process_time()
    score = PEERS[name].learn(read)
    learned, learned_busy = time.perf_counter(), time.process_time()
    scores, probabilities = score(view)
    ranked, highest = time.perf_counter(), peak_gib()
    told = {"score": scores} if probabilities is None else {"score": scores, "probability": probabilities}
    if isinstance(score, Ours):
        told |= score.more(view)
    np.savez(out, allow_pickle=False, **told)
    hand_back(
        training=learned - started,
        training_cpu=learned_busy - busy,
        ranking=ranked - learned,
        rows=len(view.slate.products.client),
        memory=highest,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
