"""Whom the client is tied to, and what those hold: employers and staff, owners, groups, suppliers, guarantors.

A row of `links` says that the linked client is the client's employer, owner and so on; it counts for both of them,
each in its own direction.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, day_number
from sheaf.features.contract import C, Relation
from sheaf.features.expressions import Frame, Tables, indicator, months_before, ratio
from sheaf.features.feature import Feature, Of, count

RECENT_MONTHS = 3
_OTHER, _WAY = "_other", "_way"
_TIES = {f"links_{relation}": f"Clients that are this client's {relation}." for relation in Relation} | {
    f"links_{relation}_of": f"Clients whose {relation} this client is." for relation in Relation
}
_GROUPS = {"linked": None, "employer": "links_employer", "staff": "links_employer_of"}


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    if "links" not in bank:
        return []
    stated = [count(name, "clients", meaning) for name, meaning in _TIES.items()]
    stated.append(count("linked_clients", "clients", "Different clients that this client is tied to in any way."))
    for product in catalog.products:
        key, name = product.product_id, product.name
        of_linked = [
            count(
                f"linked_held__{key}",
                "share",
                f"Share of the clients tied to this client that hold {name}.",
                f"Of those close to this client, {{value}} hold {name}",
            ),
            count(
                f"linked_opened__{key}",
                "clients",
                f"Clients tied to this client that opened {name} in the last {RECENT_MONTHS} months.",
                f"{{value}} close to this client took {name} in the last {RECENT_MONTHS} months",
            ),
            count(
                f"employer_held__{key}",
                "share",
                f"Share of the client's employers that hold {name}.",
                f"The employer holds {name}",
            ),
            count(
                f"staff_held__{key}",
                "share",
                f"Share of the clients employed by this client that hold {name}.",
                f"Of the staff, {{value}} hold {name}",
            ),
        ]
        stated += [replace(feature, of=Of.LINKED) for feature in of_linked]
    return stated


def tied(bank: Bank, as_of: dt.date, client_id: str) -> dict[str, list[str]]:
    """The active clients whom links tie to a client on the day, by the column that counts them; ids ascending."""
    known = bank.known_on(as_of)
    if "links" not in known:
        return {}
    active = known.clients_on(as_of).filter(nw.col(C.JOINED_ON) <= day_number(as_of), nw.col(C.LEFT_ON).is_null())
    ties = _ties(known["links"], active.filter(nw.col(C.CLIENT) == client_id).select(C.CLIENT))
    others = ties.join(active.select(C.CLIENT), left_on=_OTHER, right_on=C.CLIENT, how="semi")
    rows = others.select(_WAY, _OTHER).collect("pyarrow")
    found: dict[str, list[str]] = {}
    for way, other in sorted(zip(rows[_WAY].to_list(), rows[_OTHER].to_list(), strict=True)):
        found.setdefault(way, []).append(other)
    return found


def build(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    ties = _ties(known["links"], clients)
    by_way = (
        ties.with_columns(*(indicator(nw.col(_WAY) == name).alias(name) for name in _TIES))
        .group_by(C.CLIENT)
        .agg(*(nw.col(name).sum() for name in _TIES))
    )
    others = _neighbours(ties).group_by(C.CLIENT).agg(nw.col("linked").sum().alias("linked_clients"))
    return by_way.join(others, on=C.CLIENT, how="left")


def build_by_product(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    ties = _ties(known["links"], clients)
    neighbours = _neighbours(ties)
    held = _held(known, catalog, ties, months_before(as_of, RECENT_MONTHS))
    counts = neighbours.group_by(C.CLIENT).agg(*(nw.col(group).sum().alias(f"_{group}") for group in _GROUPS))
    sums = (
        neighbours.join(held, left_on=_OTHER, right_on="_holder", how="inner")
        .with_columns(*((nw.col(group) * nw.col("_held")).alias(f"{group}_held") for group in _GROUPS))
        .group_by(C.CLIENT, C.PRODUCT)
        .agg(*(nw.col(f"{group}_held").sum() for group in _GROUPS), nw.col("linked_opened").sum())
    )
    shares = [ratio(nw.col(f"{group}_held"), nw.col(f"_{group}")).alias(f"{group}_held") for group in _GROUPS]
    return sums.join(counts, on=C.CLIENT, how="left").select(C.CLIENT, C.PRODUCT, *shares, "linked_opened")


def _ties(links: Frame, clients: Frame) -> Frame:
    """One row a client, the other client and the way they are tied, from either side of every link that still holds."""
    links = links.filter(nw.col(C.UNTIL).is_null(), nw.col(C.CLIENT) != nw.col(C.LINKED))
    way = nw.concat_str(nw.lit("links_"), nw.col(C.RELATION))
    out = links.select(C.CLIENT, nw.col(C.LINKED).alias(_OTHER), way.alias(_WAY))
    back = links.select(
        nw.col(C.LINKED).alias(C.CLIENT),
        nw.col(C.CLIENT).alias(_OTHER),
        nw.concat_str(way, nw.lit("_of")).alias(_WAY),
    )
    return nw.concat([out, back]).unique().join(clients.select(C.CLIENT), on=C.CLIENT, how="semi")


def _neighbours(ties: Frame) -> Frame:
    """One row a client and other client, with 1.0 in the groups that the other one is of."""
    groups = {group: nw.lit(1.0) if way is None else indicator(nw.col(_WAY) == way) for group, way in _GROUPS.items()}
    return (
        ties.with_columns(*(value.alias(group) for group, value in groups.items()))
        .group_by(C.CLIENT, _OTHER)
        .agg(*(nw.col(group).max() for group in groups))
    )


def _held(known: Tables, catalog: Catalog, ties: Frame, recent: int) -> Frame:
    """One row a tied client and product: whether it is held, and whether it was opened after the day `recent`."""
    holdings = known["holdings"].filter(nw.col(C.PRODUCT).is_in([product.product_id for product in catalog.products]))
    return (
        holdings.join(ties.select(_OTHER), left_on=C.CLIENT, right_on=_OTHER, how="semi")
        .select(
            nw.col(C.CLIENT).alias("_holder"),
            C.PRODUCT,
            indicator(nw.col(C.CLOSED_ON).is_null()).alias("_held"),
            indicator(nw.col(C.OPENED_ON) > recent).alias("linked_opened"),
        )
        .group_by("_holder", C.PRODUCT)
        .agg(nw.col("_held").max(), nw.col("linked_opened").max())
    )
