"""Stage two: the order of bundles for a client, and how likely a whole bundle is opened.

The order starts from what the products' own probabilities promise and LambdaRank learns what they miss:
which products are opened together, and what a bundle brings beside what is held. Where held-out clients show no
gain, the start is the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

import lightgbm as lgb
import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from sheaf.training.boosting import on_any_machine
from sheaf.training.candidates.co_openings import CoOpenings, sets_of
from sheaf.training.candidates.pairs import Candidates, Pairs, Slate
from sheaf.training.candidates.population import KIND
from sheaf.training.metrics import Ranked, ndcg
from sheaf.training.parameters import Parameters
from sheaf.training.ranker.opening_probability import TINY, logit, sigmoid

COLUMNS = (
    "expected_gain", "brings", "size", "held_share", "expected_openings", "most_likely", "least_likely",
    "all_independently", "all_together", "tie_to_held", "lines", "line", "kind", "products_held", "chosen",
)  # fmt: skip
CATEGORIES = (COLUMNS.index("line"), COLUMNS.index("kind"))
GAIN_STEPS = 60  # LambdaRank wants whole labels; 1/60 keeps halves, thirds, quarters and fifths exact
AT = 5
LEAST_WHOLE = 20  # bundles opened whole that a regression takes
LIKELIEST = 6  # products of a client, of whose sets `Completion` learns where the catalog has too few bundles


@dataclass(frozen=True)
class BundleRows:
    """Rows of candidate (client, bundle) pairs; `columns` says how each of `COLUMNS` is worked out, if it is asked for.

    All are float32: then a client's numbers are the same alone and among others.
    """

    pairs: Pairs
    columns: Mapping[str, Callable[[], np.ndarray]]
    _told: dict[str, np.ndarray] = field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        """(pairs,) float32."""
        if name not in self._told:
            self._told[name] = np.asarray(self.columns[name](), dtype=np.float32)
        return self._told[name]

    @cached_property
    def x(self) -> np.ndarray:
        """(pairs, columns) float32, all of them."""
        return np.stack([self.column(name) for name in COLUMNS], axis=1)


def bundle_rows(
    candidates: Candidates, values: np.ndarray, slate: Slate, probability: np.ndarray, share: np.ndarray | None = None
) -> BundleRows:
    """The ranking rows of every candidate bundle of the slate.

    `probability` is (clients, products): calibrated, of opening each product within the horizon. `share` is of the
    client's next opening, as the choice model has it; `chosen` is 0 for a client of whom that says nothing. Beside
    `COLUMNS` there is `log_odds`: the mean of those that the bundle's missing products are opened, each by itself.
    """
    held, missing = slate.held, ~slate.held
    client, item = slate.pairs.client, slate.pairs.item
    chance = np.where(missing, np.clip(probability, TINY, 1 - TINY), 0.0)
    parts = candidates.parts.T.astype(float)
    brings = (missing @ parts)[client, item]
    expected = (chance @ parts)[client, item]

    slots = candidates.slots[item]

    @cache
    def of_slots() -> np.ndarray:
        # An offer with fewer parts than the largest has slots that point at an extra product nobody lacks.
        padded = np.full((len(values), missing.shape[1] + 1), np.nan)
        np.copyto(padded[:, :-1], chance, where=missing)
        told: np.ndarray = padded[client[:, None], slots]
        return told

    def tie_to_held() -> np.ndarray:
        tie = np.where(missing, held.astype(float) @ candidates.population.affinity, 0.0)
        return (tie @ parts)[client, item] / brings

    def chosen() -> np.ndarray:
        if share is None:
            return np.zeros(len(client))
        known = missing & ~np.isnan(share)
        among = np.where(known, chance, 0.0).sum(axis=1)
        # a product that the choice model does not know has its probability beside those that it knows
        told = np.where(known, share, chance / np.where(among > 0, among, 1.0)[:, None])
        return np.where(among[client] > 0, np.log(np.maximum((told @ parts)[client, item], TINY)), 0.0)

    columns: dict[str, Callable[[], np.ndarray]] = {
        "expected_gain": lambda: np.log(expected_gain(expected, (chance**2 @ parts)[client, item], brings)),
        "brings": lambda: brings,
        "size": lambda: candidates.size[item],
        "held_share": lambda: 1.0 - brings / candidates.size[item],
        "expected_openings": lambda: expected,
        "most_likely": lambda: logit(np.fmax.reduce(of_slots(), axis=1)),
        "least_likely": lambda: logit(np.fmin.reduce(of_slots(), axis=1)),
        "all_independently": lambda: (np.log(np.where(missing, chance, 1.0)) @ parts)[client, item],
        "all_together": lambda: candidates.co_openings.weights(logit(chance), missing, client, slots),
        "tie_to_held": tie_to_held,
        "lines": lambda: candidates.line_numbers[item, 0],
        "line": lambda: candidates.line_numbers[item, 1],
        "kind": lambda: values[:, candidates.encoding.columns.index(KIND)][client],
        "products_held": lambda: held.sum(axis=1)[client],
        "chosen": chosen,
        "log_odds": lambda: (
            (np.where(missing, logit(np.clip(probability, TINY, 1 - TINY)), 0.0) @ parts)[client, item] / brings
        ),
    }
    return BundleRows(slate.pairs, columns)


def gain(opened: np.ndarray, brings: np.ndarray) -> np.ndarray:
    """What a bundle was worth to a client: `opened² / brings`, of the products it brings those that were opened.

    It is 1 for a single product opened, n for a whole bundle of n, and 1/n for one product of it:
    the number opened, discounted by the share of the bundle that was wanted.
    """
    return opened**2 / brings


def expected_gain(expected: np.ndarray, squares: np.ndarray, brings: np.ndarray) -> np.ndarray:
    """`gain` expected where products open independently: `(Σp(1-p) + (Σp)²) / brings`, from `Σp` and `Σp²`."""
    return np.maximum(expected - squares + expected**2, TINY**2) / brings


def opened_of(candidates: Candidates, pairs: Pairs, opened: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Of each pair, how many of the products the bundle brings the client opened; `opened` is (clients, products)."""
    counts: np.ndarray = ((opened > 0) & ~held) @ candidates.parts.T
    return counts[pairs.client, pairs.item]


@dataclass(frozen=True)
class Completion:
    """Probability that all products a bundle brings are opened.

    For one product it is that product's own. For more it is a logistic regression on the weight that `CoOpenings` gives
    them, the log of the product of the probabilities, the logit of the least likely one and their number, and never
    more than the least likely one. It is its own estimate because products of a bundle are not opened independently.
    Bundles of two and of `more` have coefficients of their own (the intercept comes last); None: independence.
    """

    two: tuple[float, ...] | None = None
    more: tuple[float, ...] | None = None

    COLUMNS = ("all_together", "all_independently", "least_likely", "brings")

    @classmethod
    def fit(cls, x: np.ndarray, whole: np.ndarray, weight: np.ndarray) -> Completion:
        """Fitted on rows that bring at least two products; where too few bundles of two, or of more, were opened whole,
        on all of them, and without any that were: independence."""

        def regressed(rows: np.ndarray) -> tuple[float, ...] | None:
            if whole[rows].sum() < LEAST_WHOLE or whole[rows].all():
                return None
            fitted = LogisticRegression(C=1.0, tol=1e-6, max_iter=500).fit(x[rows], whole[rows], weight[rows])
            return (*map(float, fitted.coef_[0]), float(fitted.intercept_[0]))

        pairs, every = x[:, -1] == 2, regressed(np.ones(len(x), dtype=bool))
        return cls(regressed(pairs) or every, regressed(~pairs) or every)

    @classmethod
    def inputs(cls, rows: BundleRows) -> np.ndarray:
        return np.stack([rows.column(name) for name in cls.COLUMNS], axis=1).astype(float)

    def __call__(self, rows: BundleRows) -> np.ndarray:
        x = self.inputs(rows)
        _, independently, least, brings = x.T
        least = sigmoid(least)
        whole = np.exp(independently)
        for of, told in ((brings == 2, self.two), (brings > 2, self.more)):
            if told is not None:
                whole = np.where(of, sigmoid(x @ np.array(told[:-1]) + told[-1]), whole)
        return np.where(brings > 1, np.minimum(whole, least), least)


def likeliest_sets(
    probability: np.ndarray, reached: np.ndarray, opened: np.ndarray, co_openings: CoOpenings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every two and three of each client's `LIKELIEST` products what `Completion` learns from, whatever the catalog
    bundles: `Completion.COLUMNS` (sets, columns), was all of it opened, and whose it is. Arrays in are (clients,
    products)."""
    chance = np.where(reached, np.clip(probability, TINY, 1 - TINY), 0.0)
    likeliest = np.argsort(-chance, axis=1, kind="stable")[:, :LIKELIEST]
    log_odds, parts = logit(chance), []
    for size in (2, 3):
        client, products = sets_of(likeliest, size)
        there = reached[client[:, None], products].all(axis=1)
        client, products = client[there], products[there]
        of_set = chance[client[:, None], products]
        columns = [
            co_openings.weights(log_odds, reached, client, products),
            np.log(of_set).sum(axis=1),
            logit(of_set.min(axis=1, initial=1.0)),
            np.full(len(client), float(size)),
        ]
        parts.append((np.stack(columns, axis=1), (opened[client[:, None], products] > 0).all(axis=1), client))
    x, whole, client = (np.concatenate(column) for column in zip(*parts, strict=True))
    return x, whole, client


@dataclass(frozen=True)
class Sample:
    """Bundle rows of several days for stage two: those of clients who opened something, and of a share of the rest."""

    x: np.ndarray
    client: np.ndarray  # a number that is another for each (client, day), ascending
    gain: np.ndarray
    whole: np.ndarray
    weight: np.ndarray
    part: np.ndarray

    @classmethod
    def join(cls, parts: list[Sample]) -> Sample:
        shifted, start = [], 0
        for part in parts:
            shifted.append(part.client + start)
            start += int(part.client.max(initial=-1)) + 1
        joined = {name: np.concatenate([getattr(part, name) for part in parts])
                  for name in ("x", "gain", "whole", "weight", "part")}  # fmt: skip
        return cls(client=np.concatenate(shifted), **joined)


@dataclass(frozen=True)
class Order:
    """The ranking model, or None where it orders held-out clients no better than its start.

    The start is `expected_gain + share·chosen`: what the probabilities promise, and how much of the client's next
    opening the choice model puts on it, which orders better than it calibrates.
    """

    booster: lgb.Booster | None
    share: float = 0.0

    def score(self, rows: BundleRows, threads: int) -> np.ndarray:
        start = rows.column("expected_gain").astype(float)
        if self.share:
            start = start + self.share * rows.column("chosen").astype(float)
        if self.booster is None or not len(start):
            return start
        return start + np.asarray(self.booster.predict(rows.x, raw_score=True, num_threads=threads))


def fit_order(sample: Sample, parameters: Parameters) -> tuple[Order, dict[str, float]]:
    """The order, and NDCG of held-out clients before and after it (`before`, `after`, `rounds`)."""
    wanted = np.isin(sample.client, np.unique(sample.client[sample.gain > 0]))
    held_out = wanted & (sample.part == sample.part.max(initial=0))
    inside = wanted & ~held_out
    if not wanted.any():
        return Order(None), {}
    share = _share(sample, wanted)
    if parameters.ranking_rounds == 0 or not inside.any() or not held_out.any():
        return Order(None, share), {"share": share}
    settings = {
        **parameters.lightgbm("lambdarank"),
        "label_gain": [step / GAIN_STEPS for step in range(int(_labels(sample.gain).max()) + 1)],
        "metric": "ndcg",
        "eval_at": [AT],
    }
    train = _dataset(sample, inside, share)
    valid = _dataset(sample, held_out, share, train)
    booster = lgb.train(
        settings, train, parameters.ranking_rounds, valid_sets=[valid],
        callbacks=[lgb.early_stopping(parameters.patience, verbose=False)],
    )  # fmt: skip
    rounds = booster.best_iteration or parameters.ranking_rounds
    start = _start(sample, held_out, share)
    before = _ndcg(sample, held_out, start)
    after = _ndcg(sample, held_out, start + np.asarray(booster.predict(sample.x[held_out], raw_score=True)))
    better = after - before
    told = {"before": float(before.mean()), "after": float(after.mean()), "rounds": float(rounds), "share": share}
    # The rounds were chosen on these very clients, so a gain within one standard error is taken for luck.
    if better.mean() <= better.std() / np.sqrt(len(better)):
        return Order(None, share), told
    return Order(on_any_machine(lgb.train(settings, _dataset(sample, wanted, share), rounds)), share), told


def _share(sample: Sample, rows: np.ndarray) -> float:
    """How much `chosen` counts in the start, for each unit of `expected_gain`.

    Both are weighed so that the softmax over a client's bundles is nearest to what these were worth, every client
    counting once (ListNet's loss: Cao et al. 2007, Learning to rank: from pairwise approach to listwise approach).
    0 where clients, none of whom the models behind it saw, are told no better by it than one more weight does by chance
    (Akaike 1974, A new look at the statistical model identification). Their NDCG is too noisy to say.
    """
    x = np.stack([sample.x[rows, COLUMNS.index(name)] for name in ("expected_gain", "chosen")], axis=1).astype(float)
    _, starts, client = np.unique(sample.client[rows], return_index=True, return_inverse=True)
    worth = sample.gain[rows] / np.add.reduceat(sample.gain[rows], starts)[client]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = x @ weights
        most = np.maximum.reduceat(score, starts)
        odds = np.exp(score - most[client])
        total = np.add.reduceat(odds, starts)
        missed = (np.log(total) + most).sum() - worth @ score
        return float(missed / len(starts)), (odds / total[client] - worth) @ x / len(starts)

    # bounds for where one of the two orders every client rightly, or wrongly
    alone, both = (minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=[(0.1, 10), (0, most)]) for most in (0, 10))
    of_gain, of_chosen = both.x
    return float(of_chosen / of_gain) if len(starts) * (alone.fun - both.fun) > 1 else 0.0


def _start(sample: Sample, rows: np.ndarray, share: float) -> np.ndarray:
    gain, chosen = (sample.x[rows, COLUMNS.index(name)].astype(float) for name in ("expected_gain", "chosen"))
    start: np.ndarray = gain + share * chosen
    return start


def _labels(gains: np.ndarray) -> np.ndarray:
    return np.rint(gains * GAIN_STEPS).astype(int)


def _dataset(sample: Sample, rows: np.ndarray, share: float, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    _, groups = np.unique(sample.client[rows], return_counts=True)
    return lgb.Dataset(
        sample.x[rows],
        _labels(sample.gain[rows]),
        group=groups,
        init_score=_start(sample, rows, share),
        categorical_feature=list(CATEGORIES),
        reference=reference,
    )


def _ndcg(sample: Sample, rows: np.ndarray, score: np.ndarray) -> np.ndarray:
    return ndcg(Ranked.of(sample.client[rows], score, sample.gain[rows]), AT)


def slices(clients: int, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most `rows` clients."""
    for start in range(0, clients, rows):
        yield slice(start, min(start + rows, clients))
