"""Whether the catalog's conditions fit what profiles have: one answer for check, train, rank, plan and serve."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

import narwhals as nw
import numpy as np
import pyarrow.compute as pc

from sheaf.catalog import Catalog, Range
from sheaf.catalog.messages import wanted
from sheaf.catalog.spelling import plain
from sheaf.catalog.validation import did_you_mean
from sheaf.features.attribute_types import tell_numbers_as_texts
from sheaf.features.bank import Bank
from sheaf.features.dictionary import feature_dictionary
from sheaf.features.feature import Feature, FeatureType
from sheaf.features.matrix import UNSEEN, ProfileMatrix

MANY = 100  # clients whose value is known: of fewer, that nobody meets a condition may be chance
Kinds = Mapping[str, FeatureType]


class ConditionError(ValueError):
    """Conditions of the catalog that cannot be compared with the columns of profiles."""


@dataclass(frozen=True)
class Unfit:
    """What is wrong with the conditions on a column; `refused` where eligibility would rest on it in silence."""

    column: str
    problem: str
    remedy: str
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.column}: {self.problem}; {self.remedy}"


@dataclass
class Occurring:
    """What the columns that the catalog's conditions ask for have: texts, and the least and the greatest number."""

    catalog: Catalog
    texts: dict[str, set[str]] = field(default_factory=dict)
    extents: dict[str, tuple[float, float]] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)

    def add(self, profiles: ProfileMatrix) -> None:
        for name in conditions(self.catalog).keys() & {*profiles.columns}:
            values = profiles.values[:, profiles.columns.index(name)]
            values = values[~np.isnan(values)]
            self.known[name] = self.known.get(name, 0) + len(values)
            if name in profiles.categories:
                known = profiles.categories[name]
                self.texts.setdefault(name, set()).update(known[int(code)] for code in np.unique(values))
            elif len(values):
                low, high = self.extents.get(name, (np.inf, -np.inf))
                self.extents[name] = min(low, float(values.min())), max(high, float(values.max()))

    def watch(self, parts: Iterable[ProfileMatrix]) -> Iterator[ProfileMatrix]:
        """The same parts, each looked at on its way."""
        for part in parts:
            self.add(part)
            yield part

    def tell(self) -> None:
        """Warns of conditions that nobody meets."""
        tell_unmet(self.catalog, self.texts, self.extents, self.known)


def conditions(catalog: Catalog) -> dict[str, list[tuple[str, Range | tuple[str, ...]]]]:
    """By column the conditions of products and bundles, each with the key it stands at."""
    found: dict[str, list[tuple[str, Range | tuple[str, ...]]]] = {}
    items = [(f"products.{one.product_id}", one.where) for one in catalog.products]
    items += [(f"bundles.{one.bundle_id}", one.where) for one in catalog.bundles]
    for place, where in items:
        for name, condition in where.items():
            found.setdefault(name, []).append((place, condition))
    return found


def unfit(catalog: Catalog, kinds: Kinds) -> list[Unfit]:
    """Columns of conditions that profiles lack, or that hold the other kind of value."""
    found = []
    for name, stated in conditions(catalog).items():
        at = _places([place for place, _ in stated])
        if name not in kinds:
            found.append(_missing(name, at, kinds))
        elif (kinds[name] is FeatureType.CATEGORY) == isinstance(stated[0][1], Range):
            text = kinds[name] is FeatureType.CATEGORY
            if text:
                problem = f"{at} want numbers of it, and the bank's are texts"
                remedy = "keep nothing but numbers and nulls in the column, or write texts in the catalog: [a, b]"
            else:
                has = "0 and 1 (true and false)" if kinds[name] is FeatureType.FLAG else "numbers"
                problem = f"{at} want texts of it, and the bank has {has}"
                remedy = "write a range in the catalog, such as {min: 2, max: 2}, or keep texts in Parquet"
            found.append(Unfit(name, problem, remedy, True))
        elif kinds[name] is FeatureType.FLAG and any(beyond_flags(one) for _, one in stated if isinstance(one, Range)):
            problem = f"{at} want numbers of it, and the bank has 0 and 1 (true and false)"
            found.append(Unfit(name, problem, "hand over the number itself, or ask for {min: 1} or {max: 0}", True))
    return found


def beyond_flags(condition: Range) -> bool:
    """Whether a bound of the range lies outside of 0 to 1, where no flag can be."""
    return any(bound is not None and not 0 <= bound <= 1 for bound in (condition.min, condition.max))


def _missing(name: str, at: str, kinds: Kinds) -> Unfit:
    same = next((one for one in kinds if plain(one) == plain(name)), None)
    if same is None and f"{name}_months" in kinds:
        remedy = f"a day counts as months since: ask for {name}_months in the catalog, or keep numbers in the column"
        return Unfit(name, f"{at} ask for it, and profiles have no such column", remedy, True)
    near = same or next(iter(get_close_matches(name, list(kinds), 1, 0.8)), None)
    remedy = f"did you mean {near}? Names count as written" if near else "hand it over with clients, or take it out"
    return Unfit(name, f"{at} ask for it, and profiles have no such column: it excludes nobody", remedy, bool(same))


def unmet(
    catalog: Catalog,
    texts: Mapping[str, Iterable[str]],
    extents: Mapping[str, tuple[float, float]],
    known: Mapping[str, int] | None = None,
) -> Iterator[Unfit]:
    """Conditions that no client meets: by texts that no client has, by numbers of another scale than the bank's.

    A text is named where none of its condition occurs, or where a client has nearly the same; ranges of a column where
    every one of them leaves out all clients. `texts` and `extents` (least, greatest) are those that occur;
    where `known` says that few clients have a value, only texts with a near one are named.
    """
    for name, stated in conditions(catalog).items():
        occurring = set(texts.get(name, ())) - {UNSEEN}
        few = known is not None and known.get(name, 0) < MANY
        for place, condition in stated:
            if not occurring or isinstance(condition, Range):
                continue
            absent = [text for text in condition if text not in occurring]
            near = {text: of for text in absent if (of := _nearest(text, occurring))}
            if few or len(absent) < len(condition):
                absent = [text for text in absent if text in near]
            if absent:
                told = [f"did you mean {near[text]}?" if text in near else "" for text in absent]
                remedy = next(filter(None, told), did_you_mean(absent[0], sorted(occurring)))
                yield Unfit(name, f"{place} wants {', '.join(absent)}, which no client has", remedy)
        ranges = [condition for _, condition in stated if isinstance(condition, Range)]
        if ranges and name in extents and not few:
            low, high = extents[name]
            if all((of.min is not None and high < of.min) or (of.max is not None and low > of.max) for of in ranges):
                at = _places([place for place, _ in stated])
                problem = f"nobody meets {at} ({wanted(ranges[0])}): the bank has {low:g} to {high:g}"
                yield Unfit(name, problem, "write both in the same unit")


def tell_unmet(
    catalog: Catalog,
    texts: Mapping[str, Iterable[str]],
    extents: Mapping[str, tuple[float, float]] | None = None,
    known: Mapping[str, int] | None = None,
) -> None:
    """Warns of conditions that nobody meets."""
    for one in unmet(catalog, texts, extents or {}, known):
        warnings.warn(f"catalog, condition on {one}", stacklevel=3)


def _nearest(text: str, occurring: Iterable[str]) -> str | None:
    by_spelling = {plain(one): one for one in sorted(occurring)}
    sought = plain(text)
    if sought in by_spelling:
        return by_spelling[sought]
    within = [one for one in by_spelling if min(len(one), len(sought)) >= 4 and (sought in one or one in sought)]
    if within:
        return by_spelling[min(within, key=len)]
    near = get_close_matches(sought, list(by_spelling), 1, 0.8)
    return by_spelling[near[0]] if near else None


def need_comparable(catalog: Catalog, kinds: Kinds) -> None:
    """Raises ConditionError where conditions cannot be compared with the profiles' columns."""
    _refuse(unfit(catalog, kinds))


def _refuse(found: Iterable[Unfit]) -> None:
    if refused := [str(one) for one in found if one.refused]:
        raise ConditionError("the catalog's conditions do not fit the profiles: " + "\n".join(refused))


def need_fitting(catalog: Catalog, kinds: Kinds) -> None:
    """Raises as `need_comparable`; warns where a column is missing altogether, whose values are not known then and
    exclude nobody."""
    found = unfit(catalog, kinds)
    _refuse(found)
    if lacking := [str(one) for one in found]:
        warnings.warn("catalog, conditions on columns that are not there: " + "; ".join(lacking), stacklevel=3)


def need_met(bank: Bank, catalog: Catalog) -> None:
    """Raises and warns as `need_fitting` for a bank's profiles, and warns of what none of its clients meets.

    Reads of table clients the columns that the catalog's conditions ask for, and nothing where they ask for none.
    """
    tell_numbers_as_texts(bank, catalog)
    asked = conditions(catalog)
    kinds = kinds_of_bank(bank, catalog)
    need_fitting(catalog, kinds)
    names = [name for name in bank["clients"].collect_schema().names() if name in asked and name in kinds]
    if not names:
        return
    clients = bank["clients"].select(*names).collect("pyarrow").to_native()
    texts: dict[str, set[str]] = {}
    extents: dict[str, tuple[float, float]] = {}
    known: dict[str, int] = {}
    for name in names:
        values = clients[name].drop_null()
        known[name] = len(values)
        if kinds[name] is FeatureType.CATEGORY:
            texts[name] = {str(text) for text in values.unique().to_pylist()}
        elif len(values):
            found = pc.min_max(values.cast("float64")).as_py()
            extents[name] = found["min"], found["max"]
    tell_unmet(catalog, texts, extents, known)


def kinds_of(features: Iterable[Feature]) -> dict[str, FeatureType]:
    return {feature.name: feature.type for feature in features}


def kinds_of_bank(bank: Bank, catalog: Catalog, features: Iterable[Feature] | None = None) -> dict[str, FeatureType]:
    """The kinds of the columns of a bank's profiles, `features` where they are stated already.

    A column of clients without any value is of the kind that the catalog's conditions want: there is nothing that could
    be compared wrongly.
    """
    kinds = kinds_of(feature_dictionary(bank, catalog) if features is None else features)
    wanted = {one.column: conditions(catalog)[one.column][0][1] for one in unfit(catalog, kinds) if one.column in kinds}
    names = [name for name in bank["clients"].collect_schema().names() if name in wanted]
    if names:
        filled = bank["clients"].select(*(nw.col(name).count().cast(nw.Int64()) for name in names)).collect("pyarrow")
        for name in names:
            if not filled[name].to_list()[0]:
                number = isinstance(wanted[name], Range)
                kinds[name] = FeatureType.NUMBER if number else FeatureType.CATEGORY
    return kinds


def kinds_in(columns: Iterable[str], categories: Iterable[str]) -> dict[str, FeatureType]:
    """The kinds of an encoding's columns, where flags are numbers."""
    coded = set(categories)
    return {name: FeatureType.CATEGORY if name in coded else FeatureType.NUMBER for name in columns}


def _places(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
