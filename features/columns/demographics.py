"""Who the client is: kind, sector, rating, tenure, and every further attribute that the bank hands over.

Ids never become features, nor do the attributes that the policy protects.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.catalog.spelling import holding, spelled_as
from sheaf.features.bank import EPOCH, MINUTES_A_DAY, Bank, TableError, day_number
from sheaf.features.contract import TABLES, C
from sheaf.features.expressions import DAYS_A_MONTH, Frame, Tables, indicator, months_since, where
from sheaf.features.feature import Feature, category, flag, number

_STATED = (
    category(C.KIND, "Kind of client: retail, corporate or institution."),
    category(C.SECTOR, "Sector of business or profession, in the bank's own terms.", "Works in the sector {value}"),
    category(C.RATING, "Rating grade, in the bank's own terms."),
)
_TIMES = (
    number("tenure_months", "months", "Time since the client joined.", "Client for {value}"),
    number("season_month", "month", "Month of the year of the profile's day, 1 to 12."),
)
OWN = (*_STATED, *_TIMES)


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    protected, attributes = catalog.policy.protected, bank.attributes
    stated = [feature for feature in _STATED if feature.name not in protected]
    return [*stated, *_TIMES, *(_feature(name, attributes[name]) for name in open_attributes(attributes, catalog))]


def build(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    protected = catalog.policy.protected
    named = {column.name for column in TABLES["clients"].columns}
    attributes = {name: dtype for name, dtype in clients.collect_schema().items() if name not in named}
    columns = [nw.col(feature.name) for feature in _STATED if feature.name not in protected]
    columns += [
        months_since(C.JOINED_ON, as_of).alias("tenure_months"),
        nw.lit(float(as_of.month)).alias("season_month"),
    ]
    columns += [_value(name, attributes[name], as_of) for name in open_attributes(attributes, catalog)]
    return clients.select(C.CLIENT, *columns)


def open_attributes(attributes: Iterable[str], catalog: Catalog) -> list[str]:
    """Those that the policy does not protect. Raises TableError for a protected one in another spelling."""
    if wrong := protected_spellings(attributes, catalog):
        raise TableError("table clients: " + "; ".join(f"column {name!r} {what}" for name, what in wrong.items()))
    return [name for name in attributes if name not in catalog.policy.protected]


def protected_spellings(attributes: Iterable[str], catalog: Catalog) -> dict[str, str]:
    """The attributes that spell a protected one in another way, hold it once more, or have it in their name
    (`client_sex`), with what to do about each."""
    protected = catalog.policy.protected
    found = {}
    for name in attributes:
        if name in protected:
            continue
        if of := spelled_as(name, protected):
            remedy = f"call it {of}, or leave it out"
            found[name] = f"spells {of} in another way, which the catalog's policy protects; {remedy}"
        elif of := holding(name, protected):
            remedy = f"add {name} to policy.protected, leave it out, or give it a name without {of} if it tells no such"
            found[name] = f"has {of} in its name, which the catalog's policy protects; {remedy} thing"
    return found


def _feature(name: str, dtype: nw.dtypes.DType) -> Feature:
    title = name.replace("_", " ")
    if dtype.is_temporal():
        return number(f"{name}_months", "months", f"Time since {title}; null for a day that is still to come.")
    if dtype.is_numeric():
        return number(name, "", f"The bank's own attribute {title}.", f"{title.capitalize()}: {{value}}")
    if dtype == nw.Boolean:
        return flag(name, f"The bank's own attribute {title}.", missing=None)
    return category(name, f"The bank's own attribute {title}.", f"{title.capitalize()}: {{value}}")


def _value(name: str, dtype: nw.dtypes.DType, as_of: dt.date) -> nw.Expr:
    column = nw.col(name)
    if dtype.is_temporal():
        days = (column.cast(nw.Datetime("us")) - nw.lit(EPOCH)).dt.total_minutes() / MINUTES_A_DAY
        months = (day_number(as_of) - days.floor()) / DAYS_A_MONTH
        return where(months >= 0, months).alias(name + "_months")
    if dtype.is_numeric():
        return column.cast(nw.Float64)
    if dtype == nw.Boolean:
        return where(~column.is_null(), indicator(column)).alias(name)
    return where(~column.is_null(), column.cast(nw.String)).alias(name)
