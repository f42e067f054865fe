"""What an audit compares, brought together from a bank's tables, plans, profiles, offers and routes: a row a client."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from sheaf.catalog import Catalog
from sheaf.catalog.validation import did_you_mean
from sheaf.features import Bank, C
from sheaf.features.bank import connect
from sheaf.strategy.fairness.audit import outcomes_of
from sheaf.strategy.policy.columns import of_file, parquet
from sheaf.strategy.policy.conditions import quoted
from sheaf.strategy.policy.schema import Strategy

_PLANS = (C.CLIENT, "as_of", "tier", "priority", "visit_days")
_OFFERS, _ROUTES = (C.CLIENT, C.BUNDLE), (C.CLIENT, C.BUNDLE, "list_price", "days")


def day_of(plans: Path) -> dt.date:
    """The day of a file of plans. Raises ValueError where it has none, or several."""
    days = sorted(set(_read(plans, ("as_of",), "plans, as `sheaf plan --out` writes them")["as_of"]))
    if len(days) != 1:
        raise ValueError(f"{plans} has plans of {len(days)} days; audit those of one")
    return pd.Timestamp(days[0]).date()


def protected_of(bank: Bank, catalog: Catalog, named: Sequence[str] = ()) -> list[str]:
    """The attributes to compare over: those named, or else those that the catalog protects and table clients has.

    Raises ValueError for one that is not there, is named twice or is written in other capitals, and where there is
    none.
    """
    there = sorted(bank.attributes)
    if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
        raise ValueError(f"--protected names {twice[0]} more than once; name each attribute once")
    for name in named or catalog.policy.protected:
        if alike := [one for one in there if one != name and one.casefold() == name.casefold()]:
            who = "--protected names" if named else "the catalog protects"
            raise ValueError(
                f"table clients has an attribute {alike[0]}, and {who} {name}; write it alike, or it is not compared"
            )
    for name in named:
        if name not in there:
            raise ValueError(f"table clients has no attribute {name}; {did_you_mean(name, there)}")
    found = list(named) or [name for name in catalog.policy.protected if name in there]
    if not found:
        listed = ", ".join(catalog.policy.protected)
        raise ValueError(f"table clients has none of the attributes that the catalog protects ({listed}); name others: "
                         "--protected")  # fmt: skip
    return found


def gathered(
    bank: Bank,
    catalog: Catalog,
    policy: Strategy,
    protected: Sequence[str],
    plans: Path,
    profiles: Path | Iterable[pa.Table],
    offers: Path | None = None,
    routes: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clients and their outcomes, a row each, as `sheaf.strategy.fairness.audit.audit` takes them, of the clients who
    have a plan.

    Attributes are as known on the day of the plans, worth and the columns that the policy asks for those of `profiles`.
    Raises ValueError for a file that lacks what it should have, and where no client of the plans is in table clients.
    """
    planned = _read(plans, _PLANS, "plans, as `sheaf plan --out` writes them", [*sorted(policy.of_plans)])
    if twice := planned[C.CLIENT][planned[C.CLIENT].duplicated()].tolist():
        raise ValueError(f"{plans} has client {twice[0]} twice; give plans with a row a client")
    wanted = [*(policy.asks_of_clients | policy.asks_of_pairs), "eva"]
    parts = [_some(part, wanted) for part in profiles] if not isinstance(profiles, Path) else [
        _read(profiles, (C.CLIENT,), "profiles, as `sheaf profile --out` writes them", wanted)]  # fmt: skip
    people = bank.clients_on(day_of(plans)).select(C.CLIENT, C.KIND, *protected).collect("pyarrow").to_native()
    known = _texts(people.to_pandas()).rename(columns={C.KIND: "_kind"})
    clients = planned.merge(known, on=C.CLIENT, how="inner", suffixes=("", "_known"))
    if not len(clients):
        raise ValueError(f"no client of {plans} is in table clients; name the bank that they were made of: --data")
    there = [name for name in pd.concat(parts).columns if name == C.CLIENT or name not in clients]
    clients = clients.merge(pd.concat(parts, ignore_index=True)[there], on=C.CLIENT, how="left")
    clients[C.KIND] = clients["_kind"]
    offered = None if offers is None else _read(
        offers, _OFFERS, "offers, as `sheaf rank` writes them", ["acceptance", C.CONCESSION])  # fmt: skip
    routed = None if routes is None else _read(routes, _ROUTES, "routes, as `sheaf plan --routes` writes them")
    return clients, outcomes_of(clients, catalog, offered, routed)


def _read(path: Path, needed: Sequence[str], wanted: str, more: Sequence[str] = ()) -> pd.DataFrame:
    """Columns of a Parquet file, `more` where it has them."""
    connection = connect()
    source = parquet(connection, path)
    there = of_file(connection, source)
    if missing := [name for name in needed if name not in there]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; give {wanted}")
    names = dict.fromkeys([*needed, *(name for name in more if name in there)])
    table = connection.sql(f"select {', '.join(map(quoted, names))} from {source}").to_arrow_table()
    return _texts(table.to_pandas())


def _some(part: pa.Table, wanted: Sequence[str]) -> pd.DataFrame:
    there = [name for name in part.column_names if name == C.CLIENT or name in wanted]
    return _texts(part.select(there).to_pandas())


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{C.CLIENT: frame[C.CLIENT].astype(str)}) if C.CLIENT in frame else frame
