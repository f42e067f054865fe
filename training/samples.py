"""What a training run learns from: clients as of one or more days, and what they opened within the horizon after."""

from __future__ import annotations

import datetime as dt
import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
from narwhals.typing import IntoFrame

from sheaf.catalog import Catalog
from sheaf.features import (
    Bank,
    C,
    Feature,
    ProfileMatrix,
    day_number,
    feature_dictionary,
    from_day_number,
    profile_matrices,
)
from sheaf.features.conditions import Occurring, kinds_of_bank, need_fitting
from sheaf.features.expressions import DAYS_A_MONTH
from sheaf.features.table_age import last_opening, latest_opening

HORIZON_DAYS = 31
DAYS = 6  # as-of days that a run uses where none are named


class SampleError(ValueError):
    """A sample that cannot be trained on; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Day:
    """The clients of one as-of day: their profiles, and `opened` (clients, products) 1 where opened in the horizon."""

    as_of: dt.date
    profiles: ProfileMatrix
    opened: np.ndarray

    def where(self, kept: np.ndarray) -> Day:
        """The clients for which `kept` is True."""
        return Day(self.as_of, self.profiles[kept], self.opened[kept])


@dataclass(frozen=True)
class TrainingSample:
    """Days in order of time, and the dictionary of their profiles' columns."""

    days: tuple[Day, ...]
    features: tuple[Feature, ...]
    horizon_days: int


def read_sample(
    bank: Bank,
    catalog: Catalog,
    days: Sequence[dt.date],
    horizon_days: int = HORIZON_DAYS,
    cohorts: IntoFrame | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> TrainingSample:
    """Profiles and labels of the clients of each day. `cohorts` is a frame of `client_id, as_of`: who, and when.

    Raises SampleError for a day after which nothing was opened any more, and where nobody of the cohort is there.
    Warns where the bank's last opening lies within a day's horizon: its labels may not be complete yet; and of products
    that nobody opened and attributes that nobody has, of which nothing can be learned.
    """
    need_horizons(bank, days, horizon_days)
    need_fitting(catalog, kinds_of_bank(bank, catalog))
    read, occurring = [], Occurring(catalog)
    for day in sorted(set(days)):
        progress(f"profiles as of {day}")
        profiles = ProfileMatrix.join(list(profile_matrices(bank, catalog, day, cohorts)))
        if not len(profiles.client_ids):
            raise SampleError(f"as-of {day}: no client of the cohort is active on that day; give another day or cohort")
        if cohorts is not None:
            _warn_of_who_is_not_there(bank, cohorts, day, profiles.client_ids)
        read.append(Day(day, profiles, labels(bank, catalog, day, horizon_days, profiles.client_ids)))
        occurring.add(profiles)
    occurring.tell()
    _warn_of_what_teaches_nothing(bank, catalog, read, horizon_days)
    return TrainingSample(tuple(read), tuple(feature_dictionary(bank, catalog)), horizon_days)


def _warn_of_who_is_not_there(bank: Bank, cohorts: IntoFrame, day: dt.date, there: np.ndarray) -> None:
    named = bank.listed(cohorts).filter(nw.col(C.AS_OF) == day_number(day))
    lacking = sorted(set(named.select(C.CLIENT).collect()[C.CLIENT].to_list()) - set(there.tolist()))
    if lacking:
        warnings.warn(
            f"as-of {day}: {len(lacking):,} clients of the cohort are left out, as table clients has none of that id, "
            f"or they have left: {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}",
            stacklevel=3,
        )


def need_horizons(bank: Bank, days: Sequence[dt.date], horizon_days: int) -> None:
    """Raises SampleError for a day after which the bank's tables tell nothing, and warns of horizons that end after
    the bank's last opening."""
    if horizon_days < 1:
        raise SampleError(f"a horizon of {horizon_days} days holds no opening; give at least 1")
    last, latest = last_day(bank), latest_opening(bank)
    late = [str(day) for day in days if latest is None or day >= latest]
    if late:
        raise SampleError(
            f"as-of {', '.join(late)}: the last opening in table holdings is of {last}, so there is nothing to learn "
            f"of what came after; take {last - dt.timedelta(days=horizon_days)} or earlier"
        )
    early = [str(day) for day in days if day + dt.timedelta(days=horizon_days) > last]
    if early:
        warnings.warn(
            f"as-of {', '.join(early)}: the horizon of {horizon_days} days ends after the last opening of table "
            f"holdings ({last}); if the bank opened more since, these labels are not complete",
            stacklevel=3,
        )


def _warn_of_what_teaches_nothing(bank: Bank, catalog: Catalog, days: Sequence[Day], horizon_days: int) -> None:
    opened = np.any([day.opened.any(axis=0) for day in days], axis=0)
    never = [product.product_id for product, was in zip(catalog.products, opened, strict=True) if not was]
    if 0 < len(never) < len(opened):  # where nothing at all was opened, training says so
        warnings.warn(
            f"never opened within {horizon_days} days after {', '.join(str(day.as_of) for day in days)}: "
            f"{', '.join(never)}; what is told of them rests on their attributes alone",
            stacklevel=3,
        )
    columns = days[0].profiles.columns
    known = np.any([~np.isnan(day.profiles.values).all(axis=0) for day in days], axis=0)
    attributes = {name: {name, f"{name}_months"} & set(columns) for name in bank.attributes}
    null = sorted(name for name, of in attributes.items() if of and not any(known[columns.index(one)] for one in of))
    if null:
        warnings.warn(
            f"table clients: columns {', '.join(null)} have no value on any as-of day, so nothing is learned from them",
            stacklevel=3,
        )


def labels(bank: Bank, catalog: Catalog, as_of: dt.date, horizon_days: int, client_ids: np.ndarray) -> np.ndarray:
    """(clients, products) int8: 1 where the client opened the product in (as_of, as_of + horizon]."""
    start = day_number(as_of)
    opened_on = nw.col(C.OPENED_ON)
    rows = (
        bank["holdings"]
        .filter(opened_on > start, opened_on <= start + horizon_days)
        .select(C.CLIENT, C.PRODUCT)
        .unique()
        .collect()
    )
    client_at = {client: index for index, client in enumerate(client_ids)}
    product_at = {product.product_id: index for index, product in enumerate(catalog.products)}
    opened = np.zeros((len(client_ids), len(product_at)), dtype=np.int8)
    for client, product in rows.iter_rows():
        if client in client_at and product in product_at:
            opened[client_at[client], product_at[product]] = 1
    return opened


def last_day(bank: Bank) -> dt.date:
    """The day of the bank's last opening, as `sheaf.features.table_age` finds it: up to there, its openings are
    told."""
    last = last_opening(bank)
    if last is None:
        by = f" by {bank.today}" if bank.today else ""
        raise SampleError(
            f"table holdings has no opening at all{by}, so there is nothing to learn from; fill in opened_on of what "
            "is held"
        )
    return last


def default_days(
    bank: Bank, horizon_days: int = HORIZON_DAYS, count: int = DAYS, cohorts: IntoFrame | None = None
) -> list[dt.date]:
    """The last as-of days whose horizons are complete and hardly overlap, in order of time.

    Where there are `cohorts`, given or handed over by the bank, the days are theirs. Where it hands over positions,
    they are month-ends, on which these are fresh. Days on which no client was there yet are left out, and so are days
    of a cohort after which nothing was opened any more: those that were given with a warning, or SampleError where
    there are no others.
    """
    last = last_day(bank)
    if cohorts is not None or "cohorts" in bank:
        told = bank.listed(cohorts).select(C.AS_OF).drop_nulls().unique().collect()[C.AS_OF].to_list()
        days = sorted(map(from_day_number, told))
        past = [day for day in days if day < last]
        late = ", ".join(str(day) for day in days if day >= last)
        if cohorts is not None and late and past:
            warnings.warn(
                f"as-of {late}: days of the cohort that are left out, as the last opening in table holdings is of "
                f"{last}, so there is nothing to learn of what came after",
                stacklevel=2,
            )
        if cohorts is not None and not past:
            raise SampleError(
                f"the cohort has {f'no other days than {late}' if late else f'no day at all in {C.AS_OF}'}, and the "
                f"last opening in table holdings is of {last}; give clients as of an earlier day"
            )
        if past:
            return past
    first = bank["holdings"].select(nw.col(C.OPENED_ON).min()).collect().item()
    days = [last - dt.timedelta(days=horizon_days * back) for back in range(count, 0, -1)]
    if "positions" in bank:
        months = max(1, round(horizon_days / DAYS_A_MONTH))
        days = [_month_end(days[-1], months * back) for back in range(count - 1, -1, -1)]
    return [day for day in days if day_number(day) >= first] or days[-1:]


def _month_end(day: dt.date, back: int) -> dt.date:
    """The last month-end that is not after `day`, or the one `back` months before that."""
    month = (day + dt.timedelta(days=1)).replace(day=1) - dt.timedelta(days=1)
    for _ in range(back):
        month = month.replace(day=1) - dt.timedelta(days=1)
    return month


def held_out(client_ids: np.ndarray, share: float) -> np.ndarray:
    """True for the clients whom no training ever sees, the same in every run: a share by the hash of the id."""
    return np.array([_hash(client) < share for client in client_ids], dtype=bool)


def fold(client_ids: np.ndarray, folds: int, name: str = "fold") -> np.ndarray:
    """The fold of every client, by the hash of its id: all its days fall into one fold.

    Folds of another `name` are drawn anew, independently of these.
    """
    return np.array([int(_hash(f"{name} {client}") * folds) for client in client_ids], dtype=int)


def _hash(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(str(text).encode(), digest_size=7).digest(), "big") / 2**56
