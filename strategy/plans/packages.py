"""A client's bundle and those of its linked clients offered as one package: the client first, the others by its answer.

What a client opens, those linked to it see: the columns of their profiles that tell of it move, and with them the
model's chance that they take what they are offered. So the client's acceptance is worth its own EVA and what it adds
to the others':

    separately   q(s)·v(s) + Σ w
    together     q(s')·(v(s') + Σ (w' − w)) + Σ w

with v what the client's acceptance brings at the concession, q its chance, w and w' what an offer to each of the others
is worth at its best price before and after it. s is best for the client alone; s' counts what the others add, within
the same floors, hurdle and authority. Together is worth no less than separately unless the others would rather take
their bundles without it: then there is no package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from sheaf.catalog import Catalog
from sheaf.catalog.validation import did_you_mean
from sheaf.pricing import Clients, Offers
from sheaf.pricing.acceptance import best_concession
from sheaf.pricing.client_value import Own
from sheaf.strategy.plans.linking import TIES
from sheaf.strategy.policy.schema import Tie
from sheaf.training import Model
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.inputs import inputs
from sheaf.training.value_order import Valuer

SHARES: Mapping[Tie, tuple[str, str]] = {
    "staff": ("employer_held__", "links_employer"), "employer": ("staff_held__", "links_employer_of")
}  # fmt: skip
"""What the others' profiles tell of the client by their relation to it: a share, and what counts whose share it is."""


@dataclass(frozen=True)
class Offered:
    """A bundle offered to clients, one entry each; money a year.

    `eva` is what acceptance brings at the `concession`, with what it changes in products held. `open`: the bundle may
    be offered to the client, and is worth something; the others are not offered it, and have 0 throughout.
    """

    open: np.ndarray
    concession: np.ndarray
    acceptance: np.ndarray
    eva: np.ndarray

    @property
    def value(self) -> np.ndarray:
        value: np.ndarray = self.acceptance * self.eva
        return value


@dataclass(frozen=True)
class Package:
    """A client's bundle with those of its linked clients; expected EVA a year.

    `alone` and `joint` are the client's offer at the price that is best for it alone and for all; `before` and `after`
    those of the others without its acceptance and with it.
    """

    alone: Offered
    joint: Offered
    before: Offered
    after: Offered

    @property
    def gain(self) -> float:
        """What the client's acceptance adds to the others' offers."""
        return float((self.after.value - self.before.value).sum())

    @property
    def separately(self) -> float:
        return float(self.alone.value.sum() + self.before.value.sum())

    @property
    def together(self) -> float:
        joint = self.joint
        return float((joint.acceptance * (joint.eva + self.gain * joint.open)).sum() + self.before.value.sum())


class Packager:
    """Offers bundles by a model's probabilities; a learned response answers for the policy's assumption."""

    def __init__(
        self, model: Model, catalog: Catalog, authority: str | None = None, learned: PriceResponse | None = None
    ) -> None:
        """Raises as `Valuer` does."""
        self.model, self.candidates = model, model.candidates(catalog)
        self.valuer = Valuer(self.candidates, authority, learned)
        self.places = {offer.bundle_id: at for at, offer in enumerate(self.candidates.offers)}
        self.column = {name: at for at, name in enumerate(self.candidates.encoding.columns)}

    def package(
        self, client: np.ndarray, bundle: str, others: np.ndarray, relation: Sequence[Tie], theirs: Sequence[str],
        own: tuple[Own, Own] | None = None,
    ) -> Package:  # fmt: skip
        """The package of a client (1, columns) and its `others` (clients, columns), profiles in the model's columns:
        `relation` is what each is to the client, `theirs` the bundle of each. `own`: what they hold as it stands.

        Raises ValueError for a bundle that the catalog has not.
        """
        of_client, of_others = own or (None, None)
        alone = self.offered(client, [bundle], of_client)
        before = self.offered(others, theirs, of_others)
        after = self.offered(self.after(others, relation, self.brings(client, bundle)), theirs, of_others)
        gain = (after.value - before.value).sum(keepdims=True)
        return Package(alone, self.offered(client, [bundle], of_client, gain), before, after)

    def brings(self, client: np.ndarray, bundle: str) -> list[str]:
        """The products of the bundle that the client (1, columns) does not hold."""
        held = self.candidates.held(client)[0]
        return [key for key in self.candidates.offers[self._place(bundle)].products
                if not held[self.candidates.positions[key]]]  # fmt: skip

    def after(self, values: np.ndarray, relation: Sequence[Tie], products: Sequence[str]) -> np.ndarray:
        """The profiles of clients who are of that relation to one who opens the products, once it has."""
        found = values.copy()

        def told(name: str) -> np.ndarray:
            return np.nan_to_num(values[:, self.column[name]]) if name in self.column else np.zeros(len(values))

        def share(name: str, of: str, rows: np.ndarray) -> None:
            """One more of so many has it now."""
            if name in self.column:
                many = np.maximum(told(of), 1.0)
                found[rows, self.column[name]] = np.minimum(told(name) + 1 / many, 1.0)[rows]

        for key in products:
            share(f"linked_held__{key}", "linked_clients", np.ones(len(values), dtype=bool))
            if (opened := f"linked_opened__{key}") in self.column:
                found[:, self.column[opened]] = told(opened) + 1
            for tie, (stem, of) in SHARES.items():
                share(f"{stem}{key}", of, np.array([one == tie for one in relation], dtype=bool))
        return found

    def offered(
        self, values: np.ndarray, bundle: Sequence[str], own: Own | None = None, gain: np.ndarray | None = None
    ) -> Offered:
        """To each client (clients, columns) its bundle, at the price that is best; `gain` (clients,) is what
        acceptance adds elsewhere, which counts for the price and is not in `eva`."""
        wanted = np.array([self._place(one) for one in bundle], dtype=int)
        valuer, pricer = self.valuer, self.valuer.pricer
        ranking = self.model.rank(self.candidates, values, self.candidates.peer_groups(values))
        rows = np.flatnonzero(ranking.item == wanted[ranking.client])
        client, item = ranking.client[rows], ranking.item[rows]
        probability, log_odds = ranking.probability[rows], ranking.log_odds[rows]
        held = self.candidates.held(values)
        worth = valuer(values, held, client, item, probability, log_odds, own)
        concession, acceptance, eva = worth.concession, worth.acceptance, worth.eva
        more = np.zeros(len(rows)) if gain is None else gain[client]
        if gain is not None:
            given = inputs(self.candidates, values, held, client, item, log_odds) if valuer.learned else None
            whom = Clients(valuer.cells(values), held, own)
            priced = pricer.price(whom, client, item, valuer.authority, given, probability)
            keep = 1 - valuer.book.pricing.tax
            value, offers = priced.eva + priced.change, Offers(priced.list_price, given, probability)
            most = np.minimum(np.minimum(priced.room, priced.affordable), priced.authority)
            best = best_concession(pricer.answer, offers, value + more, keep, most)
            at_list = worth.concession < priced.concession  # by a rule of the catalog's jurisdiction
            concession = np.where(at_list, 0.0, np.floor(best * 100 + 1e-7) / 100)
            acceptance = pricer.answer.accepts(offers, concession)
            eva = value - keep * concession
        sold = worth.sold & (eva + more > 0)
        found = Offered(np.zeros(len(values), dtype=bool), *np.zeros((3, len(values))))
        for name, column in zip(vars(found), (sold, concession, acceptance, eva), strict=True):
            getattr(found, name)[client] = np.where(sold, column, 0)
        return found

    def _place(self, bundle: str) -> int:
        if bundle not in self.places:
            raise ValueError(f"there is no bundle {bundle!r} in the catalog; {did_you_mean(bundle, self.places)}")
        return self.places[bundle]


@dataclass(frozen=True)
class Members:
    """The linked clients of a package: ids, what each is to the client, and the bundle that each is offered."""

    client_ids: tuple[str, ...]
    relation: tuple[Tie, ...]
    bundle: tuple[str, ...]

    @classmethod
    def of(cls, tied: Mapping[str, Sequence[str]], wanted: Mapping[str, str]) -> Members:
        """Who is `tied` (ids by the column that counts them) by a relation that is `wanted`, with its bundle. Who is
        tied in several ways is in the package once, by the first relation. Raises ValueError for an unknown one."""
        for relation in wanted:
            if relation not in TIES:
                raise ValueError(f"there is no relation {relation}; {did_you_mean(relation, TIES)}")
        found: dict[str, tuple[Tie, str]] = {}
        for relation, bundle in wanted.items():
            ways = ("links_group", "links_group_of") if relation == "group" else (TIES[cast(Tie, relation)],)
            for one in (client for way in ways for client in tied.get(way, ())):
                found.setdefault(one, (cast(Tie, relation), bundle))
        rows = [(one, *of) for one, of in found.items()]
        return cls(*(tuple(column) for column in zip(*rows, strict=True))) if rows else cls((), (), ())
