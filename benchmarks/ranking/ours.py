"""Ours among the peers: `training.fit` with the task's parameters, or the product's defaults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.ranking import bundles
from benchmarks.ranking.tasks import Task, View
from sheaf.training import Model, Parameters, fit


@dataclass(frozen=True)
class Ours:
    """The trained model, asked as a peer is."""

    model: Model
    threads: int

    def __call__(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Scores and probabilities, (clients, products).

        Where every product is an offer of its own the scores are those of `sheaf rank`, else the probabilities.
        """
        candidates, values = self.model.candidates(), self.model.align(view.profiles).values
        peers, single = candidates.peer_groups(values), candidates.size == 1
        if not (candidates.parts[single].sum(axis=0) > 0).all():
            slate = candidates.slate(values)
            probability = self.model.adoption.of_clients(candidates, values, slate, peers, self.threads)
            return probability, probability
        ranking = self.model.rank(candidates, values, peers, self.threads)
        kept = single[ranking.item]
        client, product = ranking.client[kept], candidates.parts.argmax(axis=1)[ranking.item[kept]]
        score, probability = (np.zeros((len(values), candidates.parts.shape[1])) for _ in range(2))
        score[client, product], probability[client, product] = ranking.score[kept], ranking.probability[kept]
        return score, probability

    def more(self, view: View) -> dict[str, np.ndarray]:
        """Beside the products, the best bundles of a size, where the catalog has none of its own."""
        return {} if self.model.catalog.bundles else bundles.best(self.model, view, self.threads)


def learn(task: Task) -> Ours:
    parameters = Parameters.read(task.parameters) if task.parameters else Parameters()
    model, _ = fit(task.sample, task.catalog, parameters, {})
    return Ours(model, parameters.threads)
