"""A training run from end to end: sample, backtest in order of time, release, and the contest for the champion's place.

A fixed share of clients (by the hash of their id) is kept out of every training of every run. The figures are those of
a model trained on earlier days only, on these clients, on the last day. The released model then learns from all days,
still without these clients, so that it can be compared with the present champion on clients neither has seen.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from narwhals.typing import IntoFrame

from sheaf.catalog import Catalog
from sheaf.features import Bank
from sheaf.training import plots, registry
from sheaf.training.candidates.population import KIND
from sheaf.training.evaluation import DECIDING, Evaluation, evaluate
from sheaf.training.metrics import bootstrap_interval
from sheaf.training.parameters import Parameters
from sheaf.training.promotion import Verdict, contest, differing
from sheaf.training.ranker.fitting import fit
from sheaf.training.ranker.model import ArtifactError, Model
from sheaf.training.samples import (
    HORIZON_DAYS,
    Day,
    SampleError,
    TrainingSample,
    default_days,
    held_out,
    labels,
    read_sample,
)

OPENERS = "clients who opened something"
LEAST_KNOWN = 0.8  # of a horizon: month-ends a short month apart overlap by days


@dataclass(frozen=True)
class Trained:
    """What a run came to: the released model, its backtest, and the place it won."""

    model: Model
    version: str
    alias: str
    backtest: Evaluation
    in_order_of_time: bool
    release_deciding: float | None  # None where no validation client opened anything
    champion_deciding: float | None
    better_by: tuple[float, float] | None  # 95 % interval of release minus champion, paired by client
    why: str = ""  # it was not promoted, and what to do


def train(
    bank: Bank,
    catalog: Catalog,
    days: Sequence[dt.date] = (),
    horizon_days: int = HORIZON_DAYS,
    cohorts: IntoFrame | None = None,
    parameters: Parameters | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Trained:
    """Trains, evaluates, logs and registers a model; `champion` where it beats the present one, else `challenger`.

    Raises ValueError (SampleError among them) where there is nothing to learn from.
    """
    parameters = parameters or Parameters()
    days = list(days) or default_days(bank, horizon_days, cohorts=cohorts)
    sample = read_sample(bank, catalog, days, horizon_days, cohorts, progress)
    inside, validation = _split(sample, parameters)
    about = _about(sample, inside, catalog, "all clients" if cohorts is None else _cohort(sample))
    earlier = earlier_days(bank, catalog, inside, validation.as_of)
    if earlier is not None:
        progress("backtest: model of the earlier days")
        past, _ = fit(earlier, catalog, parameters, about, progress)
        backtest = evaluate(past, validation, catalog, parameters.threads)
        progress("release: model of all days")
    release, told = fit(inside, catalog, parameters, about, progress)
    ours = evaluate(release, validation, catalog, parameters.threads)
    if earlier is None:
        backtest = ours
    _warn_of_lacking_figures(backtest, validation)
    progress("registry")
    crowned, (terms, theirs) = registry.crowned(), _of_champion(validation, catalog, parameters, about)
    figures = {
        **{f"backtest.{name}": value for name, value in backtest.figures.items()},
        **{f"release.{name}": value for name, value in ours.figures.items()},
        **told,
    }
    if theirs is not None:
        figures[f"champion.{DECIDING}"] = theirs.figures[DECIDING]
    registered = registry.record(
        release,
        {**_flat(parameters), **{name: str(value) for name, value in about.items()}},
        figures,
        {
            "calibration": plots.calibration(backtest),
            "gain": plots.gain(release),
            "segments": plots.by_segment(backtest),
        },
        {"validation_clients": str(backtest.clients), "in_order_of_time": str(earlier is not None)},
    )
    while (now := registry.crowned()) != crowned:  # another training ended meanwhile: it is the one to beat
        crowned, (terms, theirs) = now, _of_champion(validation, catalog, parameters, about)
    verdict, better_by = _contest(ours, theirs, about, terms)
    alias = registry.CHAMPION if verdict.promoted else registry.CHALLENGER
    registry.crown(registered, alias, why=verdict.why)
    return Trained(
        release,
        registered.version,
        alias,
        backtest,
        earlier is not None,
        _deciding(ours),
        None if theirs is None else _deciding(theirs),
        better_by,
        verdict.why,
    )


def fit_but_for_validation(sample: TrainingSample, catalog: Catalog, parameters: Parameters) -> Model:
    """The model of a sample without its validation clients, as `train` releases it; nothing is logged."""
    inside, _ = _split(sample, parameters)
    about = {**_about(sample, inside, catalog, "all clients"), "holdout_share": parameters.holdout_share}
    return fit(inside, catalog, parameters, about)[0]


def fingerprint(sample: TrainingSample) -> str:
    """Sixteen hexadecimal digits that stand for all that the models saw: clients, profiles and labels of every day."""
    digest = hashlib.sha256()
    for day in sample.days:
        digest.update(str(day.as_of).encode())
        digest.update("\0".join(day.profiles.columns).encode())
        digest.update("\0".join(map(str, day.profiles.client_ids)).encode())
        digest.update(_but_for_rounding(day.profiles.values).tobytes())
        digest.update(day.opened.tobytes())
    return digest.hexdigest()[:16]


def _but_for_rounding(values: np.ndarray) -> np.ndarray:
    """The bits of float32 values without the last twelve: DuckDB adds up in the order in which its threads come to an
    end, so that a few values of millions have another last bit in the next run."""
    bits = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=-1e30).view(np.uint32)
    rounded: np.ndarray = (bits + 0x800) & 0xFFFFF000
    return rounded


def _about(sample: TrainingSample, inside: TrainingSample, catalog: Catalog, cohort: str) -> dict[str, Any]:
    """What a model of the sample is about, as it is kept with the model."""
    return {
        "as_of": [str(day.as_of) for day in sample.days],
        "horizon_days": sample.horizon_days,
        "catalog": catalog.name,
        "catalog_version": catalog.version,
        "cohort": cohort,
        "data_fingerprint": fingerprint(sample),
        "trained_clients": int(sum(len(day.opened) for day in inside.days)),
    }


def _split(sample: TrainingSample, parameters: Parameters) -> tuple[TrainingSample, Day]:
    """The sample without the validation clients, and these clients on the last day."""
    out = [held_out(day.profiles.client_ids, parameters.holdout_share) for day in sample.days]
    inside = tuple(day.where(~of_day) for day, of_day in zip(sample.days, out, strict=True))
    for day, of_day in zip(sample.days, out, strict=True):
        if of_day.all():
            raise SampleError(
                f"as-of {day.as_of}: all {len(of_day)} clients are validation clients, a share of "
                f"{parameters.holdout_share:g} by the hash of the id (parameter holdout_share), so there is nobody to "
                "train on; give more clients or another day"
            )
    validation = sample.days[-1].where(out[-1])
    return TrainingSample(inside, sample.features, sample.horizon_days), validation


def _warn_of_lacking_figures(found: Evaluation, validation: Day) -> None:
    """Where nobody opened anything there is no figure: of the whole, or of some line or kind of client."""
    if not len(found.deciding):
        warnings.warn(
            f"none of the {found.clients} validation clients opened anything after {validation.as_of}: the model "
            "cannot be measured, nor compared with a champion",
            stacklevel=3,
        )
        return
    lacking = {name.partition(".")[2] for name, values in found.per_client.items() if not len(values)}
    if lacking:
        warnings.warn(
            f"after {validation.as_of} the validation clients opened nothing of: "
            f"{', '.join(map(_in_words, sorted(lacking)))}; of the order of these there are no figures",
            stacklevel=3,
        )


def _in_words(segment: str) -> str:
    """A segment of `evaluation`: a kind of client, a size of bundle or a line."""
    what, _, which = segment.partition("_")
    told = {"kind": f"what {which} clients are offered", "size": f"bundles of {which} products"}
    return told.get(what, f"line {segment}")


def _deciding(found: Evaluation) -> float | None:
    return float(found.deciding.mean()) if len(found.deciding) else None


def earlier_days(bank: Bank, catalog: Catalog, sample: TrainingSample, as_of: dt.date) -> TrainingSample | None:
    """The days before, with what was opened by `as_of` and no later; None where nothing was.

    A day whose horizon mostly lies after `as_of` is left out: next to none of its labels were there yet.
    """
    complete = []
    for day in sample.days:
        known = min(sample.horizon_days, (as_of - day.as_of).days)
        if known == sample.horizon_days:
            complete.append(day)
        elif known >= LEAST_KNOWN * sample.horizon_days:
            opened = labels(bank, catalog, day.as_of, known, day.profiles.client_ids)
            complete.append(replace(day, opened=opened))
    if not any(day.opened.any() for day in complete):
        return None
    return TrainingSample(tuple(complete), sample.features, sample.horizon_days)


def _cohort(sample: TrainingSample) -> str:
    """The kinds of the clients of a cohort that was handed over, in words."""
    kinds: set[str] = set()
    for day in sample.days:
        codes = day.profiles.values[:, day.profiles.columns.index(KIND)]
        kinds |= {day.profiles.categories[KIND][int(code)] for code in np.unique(codes[np.isfinite(codes)])}
    return f"chosen {' and '.join(sorted(kinds))} clients"


def _of_champion(
    validation: Day, catalog: Catalog, parameters: Parameters, about: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, Evaluation | None]:
    """What the present champion is about, if there is one, and where it was learned on the terms of `about`, its
    figures on those of the validation clients whom it was not trained on."""
    try:
        found = registry.champion()
    except ArtifactError as error:
        warnings.warn(f"the present champion is refused and gives way: {error}", stacklevel=3)
        return None, None
    if found is None or differing(about, found.model.about):
        return (None if found is None else found.model.about), None
    share = registry.holdout_share(found)
    if share is not None and share < parameters.holdout_share:
        unseen = held_out(validation.profiles.client_ids, share)
        warnings.warn(
            f"the present champion, version {found.version}, was trained with holdout_share {share:g}, so it saw "
            f"{int((~unseen).sum())} of the {len(unseen)} validation clients of holdout_share "
            f"{parameters.holdout_share:g}: both are compared on the other {int(unseen.sum())} only; keep the share",
            stacklevel=3,
        )
        validation = validation.where(unseen)
    return found.model.about, evaluate(found.model, validation, catalog, parameters.threads)


def _contest(
    ours: Evaluation, theirs: Evaluation | None, about: Mapping[str, Any], terms: Mapping[str, Any] | None
) -> tuple[Verdict, tuple[float, float] | None]:
    """The verdict, and the interval of the difference; `terms` are the champion's, None where there is none."""
    if theirs is None:
        return contest(about, terms, "", 0, OPENERS), None
    # What may be offered hangs on the columns that a model knows, so each may count clients whom the other does not.
    _, mine, others = np.intersect1d(ours.openers, theirs.openers, assume_unique=True, return_indices=True)
    difference = ours.deciding[mine] - theirs.deciding[others]
    losing_to = "" if len(difference) and float(difference.mean()) > 0 else "the present champion"
    interval = bootstrap_interval(difference) if len(difference) else None
    return contest(about, terms, losing_to, len(difference), OPENERS), interval


def _flat(parameters: Parameters) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in parameters.model_dump().items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": str(of_inner) for inner, of_inner in value.items()}
        else:
            flat[name] = str(value)
    return flat
