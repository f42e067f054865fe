"""Approval routes: who signs what a client is offered, on which papers, how fast, and by which rule.

A route's authority is that of the rule, or below it of a sub-authority for key products, and never below the one whom
pricing asks for the concession (`pricing.signing`), as in a quote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sheaf.catalog import Catalog
from sheaf.catalog.validation import did_you_mean
from sheaf.features import C
from sheaf.pricing import Clients, Pricer, PriceTable, signing
from sheaf.strategy.plans.planner import Planner
from sheaf.strategy.policy.columns import OF_PAIR
from sheaf.strategy.policy.conditions import first, literal

HELD = "held__"
PAIR = (C.CLIENT, C.BUNDLE, C.CONCESSION)
"""The columns of offers that routes go by; a concession is money a year."""


class Router:
    """Routes pairs of a client and a bundle of the catalog by a planner's policy."""

    def __init__(self, planner: Planner, catalog: Catalog) -> None:
        """Raises NoPriceSheetError where the catalog has no authorities."""
        self.planner, self.policy, self.catalog = planner, planner.policy, catalog
        self.book = PriceTable(catalog)
        self.pricer = Pricer(self.book, tuple(catalog.offers))
        self.authorities = self.book.pricing.authorities
        sheets = self.book.sheets
        # what a typical contract adds to the exposure; none of a product is the last
        credit = [
            max(p.balance, s.credit.limit) if s and s.credit else 0.0
            for p, s in zip(self.book.products, sheets, strict=True)
        ]
        self.credit = np.array([*credit, 0.0])
        self.places = {offer.bundle_id: at for at, offer in enumerate(catalog.offers)}

    @property
    def keep(self) -> list[str]:
        """The columns of profiles that routes need."""
        pricing = self.book.pricing
        of_price = [name for name in (C.KIND, C.RATING, pricing.turnover) if name]
        own = self.policy.asks_of_pairs - self.policy.of_plans - OF_PAIR.keys()
        held = [HELD + product.product_id for product in self.catalog.products]
        return sorted({*of_price, *own, *held})

    def routes(self, plans: pa.Table, offers: pa.Table) -> pa.Table:
        """A row an offer, as `offers` stand: `client_id`, `bundle_id`, `line`, `credit`, `list_price`, `concession`,
        and the route: `route_priority`, `papers`, `signs` (null where nobody may), `signature`, `days`, the names of
        the rule (`route_rule`) and of the sub-authority that counted, if one did (`sub_authority`), and who may grant
        the concession (`concession_signs`).

        `plans` are those of the offers' clients, with the columns to `keep`. Raises ValueError for a client without a
        plan, a bundle that the catalog has not, that is for other kinds of clients or brings nothing, and a negative
        concession.
        """
        client = _places(plans[C.CLIENT], offers[C.CLIENT])
        if (client < 0).any():
            missing = offers[C.CLIENT].take(pa.array(np.flatnonzero(client < 0)[:3])).to_pylist()
            raise ValueError(f"{(client < 0).sum():,} offers are of clients without a profile: {', '.join(missing)}")
        bundles = offers[C.BUNDLE].to_pylist()
        for bundle in set(bundles) - self.places.keys():
            raise ValueError(f"there is no bundle {bundle!r} in the catalog; {did_you_mean(bundle, self.places)}")
        bundle = np.array([self.places[one] for one in bundles], dtype=int)
        concession = offers[C.CONCESSION].to_numpy().astype(float)
        if (wrong := ~(concession >= 0)).any():
            raise ValueError(f"{wrong.sum():,} offers have a concession below 0, or none; it has to be 0 or more")
        pairs = self._pairs(plans, client, bundle, concession)
        cursor = self.planner.connection.cursor()  # of its own: another query may still be handing its rows on
        cursor.register("pairs", pairs.append_column("_row", pa.array(np.arange(len(bundle)))))
        cursor.register("planned", plans)
        found: pa.Table = cursor.sql(self._query()).to_arrow_table()
        return found

    def one(self, plan: pa.Table, bundle: str, concession: float) -> dict[str, Any]:
        """The route of a bundle for the client whose plan is given, by column, as `routes` gives it."""
        offer = pa.table({C.CLIENT: plan[C.CLIENT], C.BUNDLE: [bundle], C.CONCESSION: [concession]})
        [row] = self.routes(plan, offer).to_pylist()
        found: dict[str, Any] = row
        return found

    def of_offers(self, profiles: Path | Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The routes of the planner's file of offers, in parts, in the order of the profiles and of rank.

        Raises ValueError as `routes` does, and where there are offers of clients without a profile.
        """
        yield from (routes for _, routes in self.with_plans(profiles))

    def with_plans(
        self, profiles: Path | Iterable[pa.Table], keep: Sequence[str] = ()
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The same, each part beside the plans of its clients with the columns to `keep`, those of routes too."""
        cursor, done = self.planner.connection.cursor(), 0
        for plans in self.planner.plans(profiles, sorted({*self.keep, *keep})):
            cursor.register("planned", plans)
            columns = ", ".join(f"o.{name}" for name in PAIR)
            found = cursor.sql(
                f"select {columns} from offers o join planned using ({C.CLIENT}) order by {C.CLIENT}, rank"
            ).to_arrow_table()
            done += len(found)
            yield plans, self.routes(plans, found)
        [[offered]] = cursor.sql("select count(*) from offers").fetchall()
        if done < offered:
            raise ValueError(
                f"{offered - done:,} offers are of clients without a profile; profile them on the same day"
            )

    def _pairs(self, plans: pa.Table, client: np.ndarray, bundle: np.ndarray, concession: np.ndarray) -> pa.Table:
        """What is known of each pair itself."""
        book, slots = self.book, self.pricer.slots[bundle]
        held = np.stack([self._column(plans, HELD + p.product_id, 0.0) > 0 for p in book.products], axis=1)
        sales = self._column(plans, book.pricing.turnover, np.nan)
        ratings = plans[C.RATING].combine_chunks().dictionary_encode() if C.RATING in plans.column_names else None
        code = np.full(len(plans), -1) if ratings is None else ratings.indices.fill_null(-1).to_numpy()
        cell = book.cells_of([] if ratings is None else ratings.dictionary.to_pylist(), code, sales)
        price = np.nan_to_num(self.pricer.price(Clients(cell, held), client, bundle).list_price)
        brings = ~np.concatenate([held, np.ones((len(held), 1), dtype=bool)], axis=1)[client[:, None], slots]
        credit = np.where(brings, self.credit[slots], 0.0)
        offers = self.catalog.offers
        self._refuse(plans, client, bundle, ~brings.any(axis=1), "holds all of {bundle} already")
        if C.KIND in plans.column_names:
            kinds = plans[C.KIND].to_pylist()
            others = [
                kinds[c] is not None and kinds[c] not in offers[b].kinds for c, b in zip(client, bundle, strict=True)
            ]
            self._refuse(plans, client, bundle, np.array(others, dtype=bool), "is of a kind that {bundle} is not for")
        columns: dict[str, Any] = {
            C.CLIENT: plans[C.CLIENT].take(pa.array(client)),
            C.BUNDLE: [offers[at].bundle_id for at in bundle],
            "line": [str(offers[at].line) for at in bundle],
            "credit": credit.sum(axis=1),
            "list_price": price,
            C.CONCESSION: concession,
            "_granted": signing(self.authorities, price, concession),
        }
        for number, one in enumerate(self.policy.routes.sub_authorities):
            covered = np.isin(slots, [book.positions[key] for key in one.products])
            lends = credit > 0
            columns[f"_sub_{number}"] = lends.any(axis=1) & (covered | ~lends).all(axis=1)
        return pa.table(columns)

    def _refuse(self, plans: pa.Table, client: np.ndarray, bundle: np.ndarray, wrong: np.ndarray, why: str) -> None:
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            what = why.format(bundle=self.catalog.offers[bundle[at]].bundle_id)
            raise ValueError(f"client {plans[C.CLIENT][int(client[at])]} {what}; route another bundle")

    def _column(self, plans: pa.Table, name: str | None, unknown: float) -> np.ndarray:
        if name is None or name not in plans.column_names:
            return np.full(len(plans), unknown)
        return np.nan_to_num(plans[name].cast(pa.float64()).to_numpy(), nan=unknown)

    def _query(self) -> str:
        routes, names = self.policy.routes, [one.name for one in self.authorities]
        place = {name: at for at, name in enumerate(names)}
        rules = first([rule.sql for rule in routes.rules])
        lowest = sorted(enumerate(routes.sub_authorities), key=lambda one: place[one[1].signs])  # which fits, counts
        subs = [f"_sub_{number} and ({one.rule.sql})" for number, one in lowest]
        found = f"select *, {rules} as _rule, {first(subs) if subs else 'null::integer'} as _sub "
        found += f"from pairs join planned using ({C.CLIENT})"
        signs = _pick("_rule", [place[rule.then.signs] for rule in routes.rules])
        lower = _pick("_sub", [place[one.signs] for _, one in lowest])
        found = f"select *, {signs} as _signs, {lower} as _lower from ({found})"
        # a sub-authority only counts where it lies below the rule's
        found = f"select *, if(_lower < _signs and _granted < _signs, _lower, null) as _least from ({found})"
        found = f"select *, greatest(coalesce(_least, _signs), _granted) as _at from ({found})"
        columns = [C.CLIENT, C.BUNDLE, "line", "credit", "list_price", C.CONCESSION]
        told = {"priority": "route_priority", "papers": "papers", "days": "days"}
        columns += [
            f"{_pick('_rule', [getattr(rule.then, field) for rule in routes.rules])} as {name}"
            for field, name in told.items()
        ]
        signature = _pick("_rule", [rule.then.signature for rule in routes.rules])
        columns += [
            f"{_pick('_at', names)} as signs",
            f"if(_least is null, {signature}, 'single') as signature",
            f"{_pick('_rule', [rule.name for rule in routes.rules])} as route_rule",
            f"if(_least is null, null, {_pick('_sub', [one.name for _, one in lowest])}) as sub_authority",
            f"{_pick('_granted', names)} as concession_signs",
        ]
        return f"select {', '.join(columns)} from ({found}) order by _row"


def _pick(at: str, values: list[Any]) -> str:
    """The value at that place of the list; null beyond it."""
    each = " ".join(f"when {number} then {literal(value)}" for number, value in enumerate(values))
    return f"case {at} {each} end" if values else "null"


def _places(of: pa.ChunkedArray, wanted: pa.ChunkedArray) -> np.ndarray:
    """Where the wanted ids are; -1 for one that is not there."""
    found = pc.index_in(wanted.cast(pa.string()), value_set=of.combine_chunks().cast(pa.string()))
    places: np.ndarray = found.fill_null(-1).to_numpy()
    return places
