"""Groups of linked clients: who is in one with whom. What a group is worth, `sheaf.features.columns.value` says.

Clients are of one group by the same `group_id` or by a link of relation `group`, directly or through others, whichever
way the link runs. Ties also run through clients who have left; only active ones are members. A client is of one group,
and once, however many ways it is tied, so that sums over groups count nobody twice.
"""

from __future__ import annotations

import datetime as dt

import narwhals as nw
import numpy as np
import pyarrow as pa

from sheaf.features.bank import Bank, day_number
from sheaf.features.contract import C, Relation
from sheaf.features.expressions import Frame
from sheaf.pricing.client_value import groups

GROUP = "group"


def told(bank: Bank) -> bool:
    """Whether the bank's tables can say anything of groups."""
    return "links" in bank or bank.has("clients", C.GROUP)


def members(known: Bank, as_of: dt.date) -> Frame:
    """One row a client, active on the day, who is of a group with other active ones: its id, and `GROUP`, the least of
    the ids of its members. `known` is what was known of the bank on the day."""
    joined = known.clients_on(as_of).filter(nw.col(C.JOINED_ON) <= day_number(as_of))
    active = joined.filter(nw.col(C.LEFT_ON).is_null()).select(C.CLIENT).unique()
    client, other = _ties(known, joined)
    names, number = np.unique(np.concatenate([client, other]), return_inverse=True)
    group = groups(len(names), number.reshape(2, -1).T)
    ids, place = np.unique(client, return_index=True)  # every client that is tied is the first of some pair
    table = pa.table({C.CLIENT: pa.array(ids, pa.string()), "_number": group[number[place]].astype(np.int64)})
    of = active.join(known.beside(table), on=C.CLIENT, how="inner")
    least = of.group_by("_number").agg(nw.col(C.CLIENT).min().alias(GROUP), nw.col(C.CLIENT).max().alias("_last"))
    several = least.filter(nw.col("_last") != nw.col(GROUP))
    return of.join(several, on="_number", how="inner").select(C.CLIENT, GROUP)


def _ties(known: Bank, joined: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a client and what it is tied to: another client, by its id, or the group of a `group_id`, which no
    client's id is."""
    group_id = nw.col(C.GROUP)
    by_id = joined.filter(~group_id.is_null(), group_id != "").select(C.CLIENT, C.GROUP).collect("pyarrow")
    pairs = [(_texts(by_id, C.CLIENT), np.array([f"\0{name}" for name in _texts(by_id, C.GROUP)], dtype=object))]
    if "links" in known:
        links = known["links"].filter(nw.col(C.RELATION) == Relation.GROUP.value, nw.col(C.UNTIL).is_null())
        there = joined.select(C.CLIENT)
        links = links.select(C.CLIENT, C.LINKED).join(there, on=C.CLIENT, how="semi")
        found = links.join(there, left_on=C.LINKED, right_on=C.CLIENT, how="semi").collect("pyarrow")
        one, other = _texts(found, C.CLIENT), _texts(found, C.LINKED)
        pairs += [(one, other), (other, one)]
    client, tied_to = (np.concatenate(side).astype(object) for side in zip(*pairs, strict=True))
    return client, tied_to


def _texts(frame: nw.DataFrame[pa.Table], column: str) -> np.ndarray:
    return np.array(frame[column].to_list(), dtype=object)
