"""Who is about to leave: LightGBM over profiles, calibrated, learned from who left within the horizon after some days.

A client has left where the day of leaving lies in (as_of, as_of + horizon], or where all that was held on the day was
closed by then and nothing is held any more. The model is cross-fitted by client: its calibration rests on what boosters
say of clients that they never saw on any day. Its figures are those of a model of the earlier days on the last day,
with labels as they were known on that day; the model that is registered then learns from all days.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import narwhals as nw
import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from sheaf.catalog import Catalog
from sheaf.features import UNSEEN, Bank, C, ProfileMatrix, day_number, feature_dictionary, profile_matrices
from sheaf.features.conditions import need_met
from sheaf.training.booster_text import read_booster
from sheaf.training.boosting import cross_fit
from sheaf.training.candidates.pairs import split_product
from sheaf.training.json_artifact import OneFile
from sheaf.training.metrics import bootstrap_interval, calibration_error, reliability
from sheaf.training.parameters import Parameters
from sheaf.training.promotion import Verdict, contest
from sheaf.training.ranker.opening_probability import Calibration, keep_share
from sheaf.training.samples import HORIZON_DAYS, default_days, fold, need_horizons

BY_PRODUCT = ("held", "balance", "in_1m", "in_3m", "out_1m", "out_3m")
"""Of what profiles know product by product, or by kind of booking, this tells of leaving too."""
LEAST = 20  # clients who left: fewer teach nothing
LEAST_KNOWN = 0.8  # of a horizon, as for `sheaf train`
FOLDS = 5
ROUNDS, PATIENCE = 400, 25
TREES: Mapping[str, Any] = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 100, "lambda_l2": 10.0,
    "feature_fraction": 0.3, "bagging_fraction": 0.8, "bagging_freq": 1, "max_bin": 127, "cat_smooth": 20.0,
    "deterministic": True, "force_col_wise": True, "verbosity": -1,
}  # fmt: skip


class AttritionError(ValueError):
    """A bank from which nothing can be learned of leaving; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Attrition(OneFile):
    """The chance to leave within the horizon, from profiles: `columns` and texts of `categories` as it learned them."""

    FILE, FORMAT, AGAIN = "attrition.json", 1, "sheaf attrition"

    booster: lgb.Booster
    calibration: Calibration
    columns: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    about: dict[str, Any]

    def probabilities(self, profiles: ProfileMatrix, threads: int = 1) -> np.ndarray:
        """(clients,): the calibrated probability of each to leave within `about["horizon_days"]` days."""
        values = profiles.align(self.columns, self.categories).values
        if not len(values):
            return np.zeros(0)
        return self.calibration(np.asarray(self.booster.predict(values, raw_score=True, num_threads=threads)))

    def of_table(self, profiles: pa.Table, threads: int = 1) -> np.ndarray:
        """`probabilities` of profiles as a table, as `features.profile_tables` gives them.

        Raises ValueError where the table lacks a column that the model goes by.
        """
        lacking = [name for name in self.columns if name not in profiles.column_names]
        if lacking:
            raise ValueError(
                f"the profiles lack {', '.join(lacking[:5])}{' …' * (len(lacking) > 5)}, which attrition goes by; "
                "profile the bank that it was learned from, or learn it anew: sheaf attrition"
            )
        values = np.empty((len(profiles), len(self.columns)), dtype=np.float32)
        for at, name in enumerate(self.columns):
            column = profiles[name]
            if name in self.categories:
                place = {text: code for code, text in enumerate(self.categories[name])}
                unseen = place[UNSEEN]
                told = column.cast(pa.string()).to_pylist()
                values[:, at] = [np.nan if text is None else place.get(text, unseen) for text in told]
            else:
                values[:, at] = column.cast(pa.float64()).to_numpy()
        ids = profiles[C.CLIENT].to_numpy()
        categories = {name: list(texts) for name, texts in self.categories.items()}
        return self.probabilities(ProfileMatrix(ids, list(self.columns), categories, values), threads)

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "categories": self.categories,
            "calibration": asdict(self.calibration),
            "about": self.about,
            "booster": self.booster.model_to_string(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Attrition:
        return cls(
            read_booster(content["booster"]),
            Calibration(**content["calibration"]),
            tuple(content["columns"]),
            {name: tuple(texts) for name, texts in content["categories"].items()},
            content["about"],
        )


@dataclass(frozen=True)
class ClientRows:
    """Clients of one or more days: `x` are profiles in the model's columns, `left` 1 where the client left."""

    client_id: np.ndarray
    x: np.ndarray
    left: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[ClientRows]) -> ClientRows:
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


@dataclass(frozen=True)
class LearnedAttrition:
    """A model of all days; and on the last day, by a model of the earlier ones: `figures` with their 95 % `intervals`,
    the `reliability` table, and the log `losses` of it, of one share for all, and of the present champion."""

    model: Attrition
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    reliability: np.ndarray
    losses: dict[str, float]
    present: dict[str, Any] | None = None  # what the present champion is about

    @property
    def verdict(self) -> Verdict:
        """Champion where it tells who leaves better than one share for all, and than the present champion."""
        mine = self.losses["attrition"]
        losing_to = " and ".join(name for name, loss in self.losses.items() if name != "attrition" and mine >= loss)
        left = int(self.figures["left"])
        deciding = min(left, int(self.figures["clients"]) - left) if "present champion" in self.losses else 0
        return contest(self.model.about, self.present, losing_to, deciding, "clients who left")


def fit_attrition(
    bank: Bank,
    catalog: Catalog,
    days: Sequence[dt.date] = (),
    horizon_days: int = HORIZON_DAYS,
    parameters: Parameters | None = None,
    progress: Callable[[str], None] = lambda step: None,
    present: Attrition | None = None,
) -> LearnedAttrition:
    """Learns from clients as of two days or more, default those of `sheaf train`; the last one is for the figures.

    Raises SampleError for days without anything after them, AttritionError where too few left, or nobody stayed.
    """
    parameters = parameters or Parameters()
    days = sorted(set(days)) or default_days(bank, horizon_days)
    need_horizons(bank, days, horizon_days)
    need_met(bank, catalog)
    _need_ends(bank)
    columns, matrices = _columns(bank, catalog), []
    for day in days:
        progress(f"profiles as of {day}")
        matrices.append(_profiles(bank, catalog, day, columns))
    categories = {
        name: (*sorted({text for one in matrices for text in one.categories.get(name, ())}), UNSEEN)
        for name in matrices[0].categories
    }
    about = {
        "as_of": [str(day) for day in days], "horizon_days": horizon_days, "catalog": catalog.name,
        "catalog_version": catalog.version, "known_by": str(days[-1] + dt.timedelta(days=horizon_days)),
    }  # fmt: skip
    rows = {}
    for day, matrix in zip(days, matrices, strict=True):
        x = matrix.align(columns, categories).values
        rows[day] = ClientRows(matrix.client_ids, x, left_within(bank, day, horizon_days, matrix.client_ids))

    def fitted(parts: Sequence[ClientRows]) -> Attrition:
        booster, calibration = fit(ClientRows.join(parts), [columns.index(name) for name in categories], parameters)
        return Attrition(booster, calibration, columns, categories, about)

    last = days[-1]
    earlier = _known_by(bank, rows, last, horizon_days)
    progress("model of the earlier days")
    past = fitted(earlier)
    progress("model of all days")
    model = fitted(list(rows.values()))
    told = {"attrition": past.probabilities(matrices[-1], parameters.threads)}
    share = np.concatenate([part.left for part in earlier]).mean()
    told["one share"] = np.full(len(rows[last].left), share)
    overlap = dt.timedelta(days=(1 - LEAST_KNOWN) * horizon_days)  # month-ends a short month apart
    if present is not None and present.about["known_by"] <= str(last + overlap):
        told["present champion"] = present.probabilities(matrices[-1], parameters.threads)
    losses = {name: float(_log_loss(q, rows[last].left).mean()) for name, q in told.items()}
    figures, intervals = measured(told["attrition"], rows[last].left)
    return LearnedAttrition(model, figures, intervals, reliability(told["attrition"], rows[last].left), losses,
                 None if present is None else present.about)  # fmt: skip


def fit(rows: ClientRows, categorical: list[int], parameters: Parameters) -> tuple[lgb.Booster, Calibration]:
    """The mean of the folds' boosters and of one of all rows, and Platt's calibration of the folds' on other clients.

    No client is in two folds. Raises AttritionError where there is too little to learn from.
    """
    left, clients = int(rows.left.sum()), len(np.unique(rows.client_id))
    part = fold(rows.client_id, FOLDS, "attrition")
    alone = [number for number in range(FOLDS) if not 0 < rows.left[part != number].sum() < (part != number).sum()]
    if left < LEAST or alone or left == len(rows.left):
        who = "all of them" if left == len(rows.left) else f"{left:,}"
        raise AttritionError(
            f"of {len(rows.left):,} profiles of {clients:,} clients {who} left within the horizon; a model needs "
            f"{LEAST} at least, and clients who stayed: give more as-of days, a longer horizon, or more clients. "
            "Leaving is told by left_on in table clients, and by closed_on of all that a client holds"
        )
    share = keep_share(len(rows.left), left, parameters)  # of those who stayed, who are enough sooner
    kept = (rows.left > 0) | (np.random.default_rng(parameters.seed).random(len(rows.left)) < share)
    x, happened, part = rows.x[kept], rows.left[kept], part[kept]
    weight = np.where(happened > 0, 1.0, 1.0 / share)
    settings = {**TREES, "seed": parameters.seed, "num_threads": parameters.threads}
    chosen = parameters.model_copy(update={"folds": FOLDS, "patience": PATIENCE, "averaged": True})
    data = lgb.Dataset(x, happened, weight=weight, categorical_feature=categorical, params=settings)
    boosters, _ = cross_fit(settings, data, part, ROUNDS, chosen)
    log_odds = np.empty(len(happened))
    for number in range(FOLDS):
        of = part == number
        if of.any():
            log_odds[of] = boosters[number].predict(x[of], raw_score=True, num_threads=parameters.threads)
    return boosters[None], Calibration.fit(log_odds, happened, weight)


def left_within(bank: Bank, as_of: dt.date, horizon_days: int, client_ids: np.ndarray) -> np.ndarray:
    """(clients,) float: 1 where the client left in (as_of, as_of + horizon], as known at its end."""
    start, end = day_number(as_of), as_of + dt.timedelta(days=horizon_days)
    gone = nw.col(C.LEFT_ON) > start  # a later day is not known yet, and null
    left = bank.clients_on(end).filter(gone).select(C.CLIENT)
    closed = nw.col(C.CLOSED_ON)
    holdings = (
        bank.known_on(end)["holdings"]
        .filter(closed.is_null() | (closed > start))
        .with_columns(
            nw.when(closed.is_null()).then(1.0).otherwise(0.0).alias("_open"),
            nw.when(nw.col(C.OPENED_ON) <= start).then(1.0).otherwise(0.0).alias("_then"),
        )
    )
    held = holdings.group_by(C.CLIENT).agg(nw.col("_open").max(), nw.col("_then").max())
    emptied = held.filter(nw.col("_open") == 0.0, nw.col("_then") == 1.0).select(C.CLIENT)
    names = {client for frame in (left, emptied) for client in frame.collect()[C.CLIENT].to_list()}
    return np.array([float(str(client) in names) for client in client_ids])


def measured(probability: np.ndarray, left: np.ndarray) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """AUC, calibration error, log loss, how many there are and how many left; and intervals of AUC and log loss."""
    both = 0 < left.sum() < len(left)
    loss = _log_loss(probability, left)
    figures = {
        "auc": float(roc_auc_score(left, probability)) if both else np.nan,
        "calibration_error": calibration_error(probability, left),
        "log_loss": float(loss.mean()), "clients": float(len(left)), "left": float(left.sum()),
        "expected": float(probability.sum()),
    }  # fmt: skip
    intervals = {"log_loss": bootstrap_interval(loss)}
    if both:
        intervals["auc"] = auc_interval(probability, left)
    return figures, intervals


def auc_interval(probability: np.ndarray, left: np.ndarray) -> tuple[float, float]:
    """95 % interval of the AUC: Hanley and McNeil 1982, The meaning and use of the area under a ROC curve."""
    auc, n, m = roc_auc_score(left, probability), left.sum(), (1 - left).sum()
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    half = 1.96 * np.sqrt(variance)
    return float(max(auc - half, 0.0)), float(min(auc + half, 1.0))


def _need_ends(bank: Bank) -> None:
    """Raises where the tables cannot tell that anybody left; warns where only closings can."""
    if bank.has("clients", C.LEFT_ON):
        return
    if not bank.has("holdings", C.CLOSED_ON):
        raise AttritionError(
            "table clients has no column left_on and table holdings no closed_on, so nobody is known to have left; "
            "hand over one of them"
        )
    warnings.warn(
        "table clients has no column left_on: who closed all that was held counts as having left", stacklevel=3
    )


def _columns(bank: Bank, catalog: Catalog) -> tuple[str, ...]:
    """The profile columns that the model goes by: those of the client, and `BY_PRODUCT`."""
    products = [product.product_id for product in catalog.products]
    stems = {one.name: split_product(one.name, products) for one in feature_dictionary(bank, catalog)}
    return tuple(name for name, (stem, product) in stems.items() if product is None or stem in BY_PRODUCT)


def _profiles(bank: Bank, catalog: Catalog, day: dt.date, columns: Sequence[str]) -> ProfileMatrix:
    parts = [
        part.align(columns, {name: texts for name, texts in part.categories.items() if name in columns})
        for part in profile_matrices(bank, catalog, day)
    ]
    found = ProfileMatrix.join(parts)
    if not len(found.client_ids):
        raise AttritionError(f"as-of {day}: no client is active on that day; give another day")
    return found


def _known_by(bank: Bank, rows: Mapping[dt.date, ClientRows], last: dt.date, horizon_days: int) -> list[ClientRows]:
    """The days before the last, with who left as known on the last; those of mostly later horizons are left out."""
    found, known = [], bank.known_on(last)
    for day, of_day in rows.items():
        span = min(horizon_days, (last - day).days)
        if span >= LEAST_KNOWN * horizon_days:
            found.append(ClientRows(of_day.client_id, of_day.x, left_within(known, day, span, of_day.client_id)))
    if not found:
        raise AttritionError(
            f"no as-of day lies {horizon_days} days or so before {last}: the last is for the figures, and a model of "
            "earlier ones tells them; give one more day, a horizon earlier"
        )
    return found


def _log_loss(probability: np.ndarray, left: np.ndarray) -> np.ndarray:
    q = np.clip(probability, 1e-9, 1 - 1e-9)
    loss: np.ndarray = -np.log(np.where(left > 0, q, 1 - q))
    return loss
