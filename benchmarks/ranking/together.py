"""Collaborative filtering: cosine between products, EASE, implicit ALS and BPR. They see who holds and opens what.

A matrix has a row for each client and day. In its form `products` a column is a product, 1 where it was held on the day
or opened after it; in its form `events` holding a product and opening it are two columns, so that stock and flow are
told apart. Each method takes the form, the days and the strength that put a tenth of the clients of the last day,
whose openings it does not see while it chooses, in the best order; then it learns from all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product as every

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from benchmarks.ranking.tasks import Task, View
from sheaf.training.metrics import Ranked, ndcg
from sheaf.training.samples import fold

AT = 5
TENTHS = 10
THREADS = 2
STRENGTHS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)  # EASE's λ: more of it leans to how common things are
FACTORS = (8, 16)
Scores = Callable[[View], np.ndarray]
Method = Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]


@dataclass(frozen=True)
class Choice:
    """The last `days`, the matrix with opening as a column of its own or not, and the method's own two settings."""

    days: int
    events: bool
    strength: float = 0.0
    factors: int = 0


def cosine(task: Task) -> Scores:
    """Cosine between columns; a product scores the sum over what the client holds (Sarwar et al. 2001)."""
    return _best(task, lambda known, asked, strength, factors: asked @ cosines(known), _grid(task))


def cosines(known: np.ndarray) -> np.ndarray:
    """(columns, columns) of a matrix, 0 of a column with itself or with one that is empty."""
    length = np.maximum(np.sqrt((known**2).sum(axis=0)), 1.0)
    alike: np.ndarray = known.T @ known / np.outer(length, length)
    np.fill_diagonal(alike, 0.0)
    return alike


def ease(task: Task) -> Scores:
    """Embarrassingly shallow autoencoder (Steck 2019, WWW)."""
    return _best(
        task, lambda known, asked, strength, factors: asked @ autoencoder(known, strength), _grid(task, STRENGTHS)
    )


def autoencoder(known: np.ndarray, strength: float) -> np.ndarray:
    """EASE's weights: `B = I − P·diag(1/diag(P))` with `P = (XᵀX + λI)⁻¹`."""
    inverse = np.linalg.inv(known.T @ known + strength * np.eye(known.shape[1]))
    weights: np.ndarray = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def als(task: Task) -> Scores:
    """Matrix factorisation by alternating least squares (Hu, Koren, Volinsky 2008); ranked clients are folded in."""
    from implicit.als import AlternatingLeastSquares

    def score(known: np.ndarray, asked: np.ndarray, strength: float, factors: int) -> np.ndarray:
        model = AlternatingLeastSquares(
            factors=factors, regularization=strength, iterations=20, num_threads=THREADS, random_state=0
        )
        with threadpool_limits(1, "blas"):  # it has threads of its own
            model.fit(sp.csr_matrix(known), show_progress=False)
        of_asked = model.recalculate_user(np.arange(len(asked)), sp.csr_matrix(asked))
        return np.asarray(of_asked @ model.item_factors.T)

    return _best(task, score, _grid(task, (0.1, 1.0, 10.0), FACTORS))


def bpr(task: Task) -> Scores:
    """Matrix factorisation by pairwise order (Rendle et al. 2009); what ranked clients hold is learned from as well."""
    from implicit.bpr import BayesianPersonalizedRanking

    def score(known: np.ndarray, asked: np.ndarray, strength: float, factors: int) -> np.ndarray:
        model = BayesianPersonalizedRanking(
            factors=factors, regularization=strength, learning_rate=0.05, iterations=100, num_threads=1, random_state=0
        )  # one thread: with more, two runs differ
        with threadpool_limits(1, "blas"):
            model.fit(sp.csr_matrix(np.concatenate([known, asked])), show_progress=False)
        return np.asarray(model.user_factors[len(known) :] @ model.item_factors.T)

    return _best(task, score, _grid(task, (0.1, 0.2), FACTORS, forms=(False,)))  # of `events` it makes nothing


def _grid(
    task: Task,
    strengths: Sequence[float] = (0.0,),
    factors: Sequence[int] = (0,),
    forms: Sequence[bool] = (False, True),
) -> list[Choice]:
    days = sorted({1, len(task.sample.days)})
    return [Choice(*choice) for choice in every(days, forms, strengths, factors)]


def _best(task: Task, method: Method, grid: Sequence[Choice]) -> Scores:
    last = task.learned[-1]
    out = fold(last.profiles.client_ids, TENTHS) == 0
    reached, opened = last.slate.reached[out], task.sample.days[-1].opened[out]
    client, product = np.nonzero(reached)
    if len(grid) > 1 and opened.any() and not out.all():

        def good(choice: Choice) -> float:
            score = _scores(method, choice, list(_matrices(task, without=True)), last.slate.held[out])
            return float(ndcg(Ranked.of(client, score[client, product], opened[client, product]), AT).mean())

        chosen = max(grid, key=good)
    else:
        chosen = grid[0]
    known = list(_matrices(task))
    return lambda view: _scores(method, chosen, known, view.slate.held)


def _matrices(task: Task, without: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of every day what was held and what was opened; `without` the tenth of clients that settings are chosen by."""
    for view, day in zip(task.learned, task.sample.days, strict=True):
        kept = fold(view.profiles.client_ids, TENTHS) > 0 if without else slice(None)
        yield view.slate.held[kept].astype(float), day.opened[kept].astype(float)


def _scores(
    method: Method, choice: Choice, known: Sequence[tuple[np.ndarray, np.ndarray]], held: np.ndarray
) -> np.ndarray:
    """(clients, products) of clients who hold `held`."""
    of_days = known[-choice.days :]
    if choice.events:
        matrix = np.concatenate([np.concatenate(of_day, axis=1) for of_day in of_days])
        asked = np.concatenate([held.astype(float), np.zeros(held.shape)], axis=1)
        return method(matrix, asked, choice.strength, choice.factors)[:, held.shape[1] :]
    matrix = np.concatenate([np.maximum(*of_day) for of_day in of_days])
    return method(matrix, held.astype(float), choice.strength, choice.factors)
