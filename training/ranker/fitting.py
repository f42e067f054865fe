"""From a sample to a model: both stages fitted, with everything that a candidate row is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sheaf.catalog import Bundle, Catalog, Product
from sheaf.features import ProfileMatrix
from sheaf.training.boosting import Boosters
from sheaf.training.candidates.co_openings import CoOpenings
from sheaf.training.candidates.pairs import Candidates, Encoding, Pairs
from sheaf.training.candidates.population import Population
from sheaf.training.parameters import Parameters
from sheaf.training.ranker import bundle_order, choice, opening_probability
from sheaf.training.ranker.bundle_order import Completion, Sample, slices
from sheaf.training.ranker.choice import ChoiceModel, Openings
from sheaf.training.ranker.model import CLIENTS, Model
from sheaf.training.ranker.opening_probability import Adoption, Odds, PairRows, keep_share, logit
from sheaf.training.samples import Day, TrainingSample, fold


def fit(
    sample: TrainingSample,
    catalog: Catalog,
    parameters: Parameters,
    about: Mapping[str, Any],
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[Model, dict[str, float]]:
    """A model of the sample, and what fitting it told (rounds, NDCG before and after the second stage).

    Raises ValueError where there is nothing to learn from; warns where the profiles say nothing.
    """
    _need_clients_and_columns(sample, parameters)
    encoding = Encoding.of(sample.features, _texts(sample, catalog), catalog)
    days = [Prepared(day, encoding, catalog, parameters) for day in sample.days]
    progress("choice model")
    categorical = [index for index, name in enumerate(encoding.columns) if name in encoding.categories]
    openings = Openings.join([day.openings() for day in days])
    choices = choice.fit(openings, len(encoding.products), categorical, parameters)
    progress("adoption model")
    boosters, rounds = opening_probability.fit(_product_rows(days, parameters), encoding.product_categories, parameters)
    progress("calibration")
    judged = list(_judged(days, boosters, choices, parameters))
    odds = Odds(*(np.concatenate([getattr(block.odds, name) for block in judged]) for name in ("adoption", "choice")))
    opened, weight = (np.concatenate([getattr(block, name) for block in judged]) for name in ("opened", "weight"))
    stage_one = Adoption.calibrated(boosters[None], choices.get(None), odds, opened, weight)
    progress("ranking model")
    crossed = [_Crossed.of(block, stage_one) for block in judged]
    co_openings = _co_openings(crossed, parameters)
    joined = Sample.join([block.sample(co_openings) for block in crossed])
    order, told = bundle_order.fit_order(joined, parameters)
    completion = _completion(crossed, joined, co_openings)
    model = Model(
        encoding=encoding,
        catalog=catalog,
        population=days[-1].candidates.population,
        co_openings=co_openings,
        adoption=stage_one,
        order=order,
        completion=completion,
        features=sample.features,
        about=dict(about),
    )
    return model, {f"ranking_{name}": value for name, value in told.items()} | {"adoption_rounds": rounds}


def _need_clients_and_columns(sample: TrainingSample, parameters: Parameters) -> None:
    clients = len(np.unique(np.concatenate([day.profiles.client_ids for day in sample.days])))
    if clients < parameters.folds:
        raise ValueError(
            f"clients to train on: {clients}, fewer than the {parameters.folds} folds of the cross-fit; give more "
            + (
                "clients, or fewer folds (parameter folds, at least 2)"
                if clients > 1
                else "clients: one is not enough for any folds"
            )
        )
    if all(np.isnan(day.profiles.values).all() for day in sample.days):
        warnings.warn(
            f"all {len(sample.features)} columns of the profiles are null: the model knows how common a product is, "
            "and nothing of any client",
            stacklevel=3,
        )


class Prepared:
    """One day in the models' columns, with the population of that very day."""

    def __init__(self, day: Day, encoding: Encoding, catalog: Catalog, parameters: Parameters):
        self.profiles: ProfileMatrix = day.profiles.align(encoding.columns, encoding.categories)
        self.opened = day.opened
        population = Population.of(self.profiles, encoding.products)
        independent = CoOpenings.independent(len(encoding.products))  # until they are learned
        self.candidates = Candidates(encoding, catalog, population, independent)
        self.peers = self.candidates.peer_groups(self.profiles.values)
        self.part = fold(self.profiles.client_ids, parameters.folds)
        self.pairs = Pairs(*np.nonzero(self.candidates.products(self.profiles.values)))

    def openings(self) -> Openings:
        """The day's openings of products that the client might have been offered."""
        opened = self.labels() > 0
        client = self.pairs.client[opened]
        weight = 1.0 / np.bincount(client, minlength=len(self.part))[client]
        return Openings(self.profiles.values[client], self.pairs.item[opened], self.part[client], weight)

    def labels(self) -> np.ndarray:
        return self.opened[self.pairs.client, self.pairs.item]


def _texts(sample: TrainingSample, catalog: Catalog) -> dict[str, list[str]]:
    """All texts of each category: those seen, and those that the catalog's conditions speak of."""
    texts: dict[str, set[str]] = {}
    for day in sample.days:
        for name, seen in day.profiles.categories.items():
            texts.setdefault(name, set()).update(seen)
    items: list[Product | Bundle] = [*catalog.products, *catalog.offers]
    for item in items:
        for name, condition in item.where.items():
            if name in texts and isinstance(condition, tuple):
                texts[name].update(condition)
        if "kind" in texts:
            texts["kind"].update(map(str, item.kinds))
    return {name: sorted(seen) for name, seen in texts.items()}


def _product_rows(days: Sequence[Prepared], parameters: Parameters) -> PairRows:
    """Sampled candidate rows of all days, in one block that is allocated once."""
    rng = np.random.default_rng(parameters.seed)
    labels = [day.labels() for day in days]
    share = keep_share(sum(map(len, labels)), int(sum(label.sum() for label in labels)), parameters)
    kept = [(label > 0) | (rng.random(len(label)) < share) for label in labels]
    total = sum(int(keep.sum()) for keep in kept)
    x = np.empty((total, len(days[0].candidates.encoding.product_columns)), dtype=np.float32)
    opened, weight, part, start = [], [], [], 0
    for day, label, keep in zip(days, labels, kept, strict=True):
        client, item, label = day.pairs.client[keep], day.pairs.item[keep], label[keep]
        values = day.profiles.values
        for block in slices(len(values), CLIENTS):
            low, high = np.searchsorted(client, [block.start, block.stop])
            pairs = Pairs(client[low:high] - block.start, item[low:high])
            rows = day.candidates.product_rows(values[block], pairs, day.peers[block])
            x[start : start + len(rows)] = rows
            start += len(rows)
        opened.append(label)
        weight.append(np.where(label > 0, 1.0, 1.0 / share))
        part.append(day.part[client])
    return PairRows(x, np.concatenate(opened).astype(np.float32), np.concatenate(weight), np.concatenate(part))


@dataclass(frozen=True)
class _Judged:
    """Some clients of a day with the odds that models give which never saw them: `clients` are rows of the day's
    profiles, `weight` is how many clients each stands for, `reached` (clients, products) what they might be offered."""

    day: Prepared
    clients: np.ndarray
    weight: np.ndarray
    odds: Odds
    reached: np.ndarray

    @property
    def opened(self) -> np.ndarray:
        return self.day.opened[self.clients]


@dataclass(frozen=True)
class _Crossed(_Judged):
    """The same, with what the calibrated first stage makes of the odds: `probability` and `share`, (clients, products);
    the probability of what is no candidate is 0."""

    probability: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, judged: _Judged, stage_one: Adoption) -> _Crossed:
        probability, share = stage_one.of_odds(judged.odds.adoption, judged.odds.choice)
        return cls(**vars(judged), probability=np.nan_to_num(probability), share=share)

    def sample(self, co_openings: CoOpenings) -> Sample:
        """The rows of the clients' candidate bundles."""
        candidates = replace(self.day.candidates, co_openings=co_openings)
        values = self.day.profiles.values[self.clients]
        slate = candidates.slate(values)
        rows = bundle_order.bundle_rows(candidates, values, slate, self.probability, self.share)
        client, brings = rows.pairs.client, rows.column("brings").astype(float)
        counts = bundle_order.opened_of(candidates, rows.pairs, self.opened, slate.held)
        return Sample(
            x=rows.x,
            client=client,
            gain=bundle_order.gain(counts, brings),
            whole=counts >= brings,
            weight=self.weight[client],
            part=self.day.part[self.clients][client],
        )


def _judged(
    days: Sequence[Prepared], boosters: Boosters, choices: Mapping[int | None, ChoiceModel], parameters: Parameters
) -> Iterator[_Judged]:
    """Clients who opened something, up to half of `judged`, and about as many others."""
    rng = np.random.default_rng(parameters.seed + 1)
    clients = sum(len(day.opened) for day in days)
    active = sum(int(day.opened.any(axis=1).sum()) for day in days)
    of_openers = min(1.0, parameters.judged / 2 / active)
    of_others = max(parameters.least_rows / 10, active * of_openers) / max(clients - active, 1)
    for day in days:
        share = np.where(day.opened.any(axis=1), of_openers, min(1.0, of_others))
        kept = np.flatnonzero(rng.random(len(share)) < share)
        for block in slices(len(kept), CLIENTS):
            of = kept[block]
            values, reached = day.profiles.values[of], np.zeros((len(of), day.opened.shape[1]), dtype=bool)
            odds = Odds(*(np.full(reached.shape, np.nan) for _ in range(2)))
            for part in set(boosters) - {None}:
                mine = np.flatnonzero(day.part[of] == part)
                slate = day.candidates.slate(values[mine])
                reached[mine] = slate.reached
                rows = day.candidates.product_rows(values[mine], slate.products, day.peers[of][mine])
                if len(rows):
                    told = boosters[part].predict(rows, raw_score=True, num_threads=parameters.threads)
                    odds.adoption[mine[slate.products.client], slate.products.item] = told
                if part in choices:
                    of_choice = choices[part].log_odds(day.candidates, values[mine], slate.reached, parameters.threads)
                    odds.choice[mine] = of_choice
            yield _Judged(day, of, 1.0 / share[of], odds, reached)


def _co_openings(crossed: Sequence[_Crossed], parameters: Parameters) -> CoOpenings:
    log_odds = logit(np.concatenate([block.probability for block in crossed]))
    opened = np.concatenate([block.opened for block in crossed])
    return CoOpenings.fit(log_odds, opened, np.concatenate([block.reached for block in crossed]), parameters.seed)


def _completion(crossed: Sequence[_Crossed], joined: Sample, co_openings: CoOpenings) -> Completion:
    """Learned from the catalog's bundles; where too few were opened whole, from all sets of the likeliest products."""
    many = joined.x[:, bundle_order.COLUMNS.index("brings")] > 1
    inputs = [bundle_order.COLUMNS.index(name) for name in Completion.COLUMNS]
    completion = Completion.fit(joined.x[many][:, inputs].astype(float), joined.whole[many], joined.weight[many])
    if completion.two is not None:
        return completion
    parts = [
        bundle_order.likeliest_sets(block.probability, block.reached, block.opened, co_openings) for block in crossed
    ]
    x, whole = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:2])
    weight = np.concatenate([block.weight[client] for block, (_, _, client) in zip(crossed, parts, strict=True)])
    return Completion.fit(x, whole, weight)
