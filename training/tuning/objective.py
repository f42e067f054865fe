"""What a trial of the tuning is measured by: a model of the earlier days, on clients it never saw, on the last day.

The clients who decide between champion and challenger take no part: they are to judge what the tuning found. The
others fall into five parts by the hash of their id. Trials are measured on the first parts, each by a model of the
other four. The parts after those are left for one last look at the best trial, whose figure on the clients that it
was chosen by is too good: the best of many figures is lucky as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sheaf.catalog import Catalog
from sheaf.features import Bank
from sheaf.training.evaluation import DECIDING, MAP_AT, NDCG_AT, RECALL_AT, evaluate
from sheaf.training.parameters import Parameters
from sheaf.training.pipeline import earlier_days
from sheaf.training.ranker.fitting import fit
from sheaf.training.samples import Day, SampleError, TrainingSample, fold, held_out

PARTS = 5
FIGURES = (  # means over clients, the more the better
    DECIDING, f"map_at_{MAP_AT}", f"recall_at_{RECALL_AT}",
    f"product_map_at_{MAP_AT}", f"product_ndcg_at_{NDCG_AT}", f"product_recall_at_{RECALL_AT}",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What a model came to on one part: the figure of each client who opened something, and all its figures."""

    values: np.ndarray
    figures: dict[str, float]


@dataclass(frozen=True)
class TrialObjective:
    """Days to learn from and the day to measure on, without the clients who decide between champion and challenger."""

    catalog: Catalog
    learned: TrainingSample
    measured: Day
    in_order_of_time: bool

    @classmethod
    def of(cls, bank: Bank, catalog: Catalog, sample: TrainingSample, share: float, all_days: bool) -> TrialObjective:
        """Learns from the days before the last; with `all_days`, or where there are none, from other clients of the
        last day too. Raises SampleError where nobody of some part opened anything after the last day."""
        days = tuple(day.where(~held_out(day.profiles.client_ids, share)) for day in sample.days)
        inside, last = TrainingSample(days, sample.features, sample.horizon_days), days[-1]
        part = fold(last.profiles.client_ids, PARTS, "part")
        openers = np.bincount(part[last.opened.any(axis=1)], minlength=PARTS)
        if not openers.all():
            raise SampleError(
                f"as-of {last.as_of}: of {len(part)} clients {openers.sum()} opened something within the horizon, too "
                f"few to measure trials by ({PARTS} parts of them, and at least one in each); give more clients, "
                "another last day or a longer horizon"
            )
        earlier = None if all_days else earlier_days(bank, catalog, inside, last.as_of)
        if earlier is None and not all_days:
            warnings.warn(
                f"there is no earlier day with openings than {last.as_of}: trials learn from other clients of the same "
                "day, so their figures are not in order of time",
                stacklevel=3,
            )
        return cls(catalog, earlier or inside, last, earlier is not None)

    def measure(
        self, parameters: Parameters, part: int, figure: str, progress: Callable[[str], None] = lambda step: None
    ) -> Measured:
        """A model of the other parts, on the clients of this one. Raises ValueError where there is nothing to learn
        from or to measure by."""
        others = [day.where(fold(day.profiles.client_ids, PARTS, "part") != part) for day in self.learned.days]
        learned = TrainingSample(tuple(others), self.learned.features, self.learned.horizon_days)
        model, told = fit(learned, self.catalog, parameters, {}, progress)
        unseen = self.measured.where(fold(self.measured.profiles.client_ids, PARTS, "part") == part)
        progress("figures")
        found = evaluate(model, unseen, self.catalog, parameters.threads)
        values = found.per_client[figure]
        if not len(values):
            raise SampleError(
                f"as-of {unseen.as_of}: nobody of part {part + 1} of the clients opened what may be offered to them, "
                f"so there is no {figure}; give more clients or another last day"
            )
        return Measured(values, found.figures | told)
