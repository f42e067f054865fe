"""Ours among the peers: `training.fit` with the product's default parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.ranking.tasks import Task, View
from training import Parameters, fit


def learn(task: Task) -> Callable[[View], tuple[np.ndarray, np.ndarray]]:
    """Scores and probabilities of products."""
    parameters = Parameters()
    model, _ = fit(task.sample, task.catalog, parameters, {})
    candidates = model.candidates()
    single = candidates.size == 1

    def by_rank(view: View) -> tuple[np.ndarray, np.ndarray]:
        """As `sheaf rank` orders a catalog whose every product is an offer of its own."""
        values = model.align(view.profiles).values
        ranking = model.rank(candidates, values, candidates.peer_groups(values), parameters.threads)
        kept = single[ranking.item]
        client, product = ranking.client[kept], candidates.parts.argmax(axis=1)[ranking.item[kept]]
        score, probability = (np.zeros((len(values), candidates.parts.shape[1])) for _ in range(2))
        score[client, product], probability[client, product] = ranking.score[kept], ranking.probability[kept]
        return score, probability

    def by_probability(view: View) -> tuple[np.ndarray, np.ndarray]:
        """Where bundles are offered too: products by their own probability."""
        values = model.align(view.profiles).values
        slate, peers = candidates.slate(values), candidates.peer_groups(values)
        probability = model.adoption.of_clients(candidates, values, slate, peers, parameters.threads)
        return probability, probability

    return by_rank if (candidates.parts[single].sum(axis=0) > 0).all() else by_probability
