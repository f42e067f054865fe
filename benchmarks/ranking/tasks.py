"""What every peer is given: profiles and openings to learn from, profiles to rank, and the candidates to be ranked.

Two tasks: a fold of Santander, and the last month of a simulated bank. A task lies in a file, and each peer reads it in
a process of its own, so none knows more than another: not one row of what the ranked clients opened is in it.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import simulated
from benchmarks.santander import folds
from sheaf.catalog import DEFAULT, Catalog, read_catalog
from sheaf.features import Bank, ProfileMatrix
from sheaf.training import Candidates, Encoding, Pairs, Population, Slate, TrainingSample, read_sample
from sheaf.training.candidates.co_openings import CoOpenings
from sheaf.training.pipeline import fingerprint


@dataclass(frozen=True)
class View:
    """Clients of one day as models read them: profiles in the encoding's columns, and the population of the day."""

    profiles: ProfileMatrix
    candidates: Candidates

    @property
    def values(self) -> np.ndarray:
        return self.profiles.values

    @cached_property
    def slate(self) -> Slate:
        return self.candidates.slate(self.values)

    def rows(self) -> tuple[np.ndarray, Pairs]:
        """The adoption model's rows of all candidate products, and whose they are."""
        pairs = self.slate.products
        return self.candidates.product_rows(self.values, pairs, self.candidates.peer_groups(self.values)), pairs


@dataclass(frozen=True)
class Task:
    """`sample` to learn from, `profiles` to rank.

    `last` is how many of the last days simple counts do best with, `segment` the columns of popularity by segment,
    `strength` is scikit-learn's C of the logistic regressions, `parameters` a file of ours: each found on the data
    themselves.
    """

    catalog: Catalog
    sample: TrainingSample
    profiles: ProfileMatrix
    last: int
    segment: tuple[str, ...]
    strength: float
    parameters: Path | None = None

    @cached_property
    def encoding(self) -> Encoding:
        texts: dict[str, set[str]] = {}
        for day in self.sample.days:
            for name, seen in day.profiles.categories.items():
                texts.setdefault(name, set()).update(seen)
        return Encoding.of(self.sample.features, {name: sorted(seen) for name, seen in texts.items()}, self.catalog)

    @cached_property
    def learned(self) -> list[View]:
        """The days of the sample, each with the population of that very day."""
        encoding = self.encoding
        aligned = [day.profiles.align(encoding.columns, encoding.categories) for day in self.sample.days]
        unknown = CoOpenings.independent(len(encoding.products))
        return [
            View(profiles, Candidates(encoding, self.catalog, Population.of(profiles, encoding.products), unknown))
            for profiles in aligned
        ]

    @cached_property
    def ranked(self) -> View:
        """The clients to rank, with the population of the last day learned from."""
        aligned = self.profiles.align(self.encoding.columns, self.encoding.categories)
        return View(aligned, self.learned[-1].candidates)

    @cached_property
    def fingerprint(self) -> str:
        """Stands for all that a peer reads."""
        told = (fingerprint(self.sample), self.catalog.model_dump_json(), self.last, self.segment, self.strength)
        digest = hashlib.sha256(repr(told).encode())
        digest.update(np.nan_to_num(self.profiles.values, nan=-1e30).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Answers:
    """Of the ranked clients, (clients, products): which products are candidates, and which of these were opened.

    `truth` is the probability that openings were drawn with, where it is known.
    """

    reached: np.ndarray
    opened: np.ndarray
    truth: np.ndarray | None = None


def santander(folded: folds.Folds, number: int) -> tuple[Task, Answers]:
    """A fold, from 0. What its clients opened is in the answers only: the bank that profiles are made of lacks it."""
    mine, others = folded.fold(number)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the data ends within the last horizon
        folded.hand_over(mine, others, Path(place))
        bank, sold = Bank.open(Path(place) / "bank"), read_catalog(folds.CATALOG)
        days, cohorts = [folds.TRAINED, folds.RANKED], pd.read_parquet(Path(place) / "train.parquet")
        sample = read_sample(bank, sold, days, folds.HORIZON, cohorts)
        [ranked] = read_sample(bank, sold, [folds.RANKED], folds.HORIZON).days
    task = Task(
        sold,
        sample,
        ranked.profiles,
        last=1,
        segment=("age", "entry_channel"),
        strength=0.1,
        parameters=folds.PARAMETERS,
    )
    row = {client: index for index, client in enumerate(mine.clients.client_id)}
    column = [folded.products.index(product.product_id) for product in sold.products]
    opened = mine.opened[np.ix_([row[client] for client in ranked.profiles.client_ids], column)]
    return task, Answers(task.ranked.slate.reached, opened)


def simulated_bank(folder: Path, months: int) -> tuple[Task, Answers]:
    """The last month of a simulated bank, learned from `months` month-ends before; as `benchmarks.simulated` has it."""
    bank, sold = Bank.open(folder), read_catalog(DEFAULT)
    known = bank.known_on(simulated.RANKED)
    days = [simulated.month_end(10 - back) for back in range(months)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small bank may open nothing on the year's last day
        sample = read_sample(known, sold, days, simulated.HORIZON)
        [ranked] = read_sample(bank, sold, [simulated.RANKED], simulated.DECEMBER).days
    task = Task(sold, sample, ranked.profiles, last=months, segment=("kind", "tier", "age"), strength=0.01)
    view = task.ranked
    measured = simulated.Measured(view.candidates, view.profiles, view.slate, ranked.opened)
    return task, Answers(view.slate.reached, ranked.opened > 0, simulated.truth(folder, measured))
