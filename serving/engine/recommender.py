"""The plain object that answers: which bundles for this client, how likely, and why."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from sheaf.catalog import Catalog, Exploration, Kind, Line
from sheaf.catalog.validation import did_you_mean
from sheaf.features import Alignment, C, Of, ProfileMatrix, of_earlier
from sheaf.features.acceptances import awaited_since
from sheaf.features.client_positions import Relationships
from sheaf.features.conditions import kinds_in, need_comparable
from sheaf.features.snapshot import Snapshot
from sheaf.pricing import Client, Clients, Pricer, apply_terms, price_bundle
from sheaf.pricing.client_value import Own
from sheaf.pricing.price_table import need_pricing
from sheaf.pricing.rules import ELIGIBLE, SUITABILITY
from sheaf.pricing.what_if import OF_RESPONSE
from sheaf.serving.decisions import Accepted
from sheaf.serving.engine.contact import awaited
from sheaf.serving.engine.gates import applicable, as_rated, eligible, judged, lapsed, noted, suitable
from sheaf.serving.engine.reasons import Grounds, Reasons
from sheaf.serving.schemas.answers import Answer, Decided, Fact, Offer, Part, Pick, Portrait, Priced, PricedBy, Resting
from sheaf.serving.schemas.plans import Approved, Gate, Plan, WholePlan, in_short, reasoned, whole, worked_out_without
from sheaf.serving.schemas.quotes import AcceptanceBy, Quoted, plain
from sheaf.serving.schemas.requests import AskQuote
from sheaf.strategy import explained_route
from sheaf.strategy.plans.single_client import Approval, Approver
from sheaf.strategy.plans.snapshot import Plans, read_plan
from sheaf.strategy.policy.schema import POTENTIAL
from sheaf.training import Candidates, Contributions, Model, bundle_rows
from sheaf.training.candidates.pairs import Pairs
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.inputs import pair_of
from sheaf.training.value_order import Aim, Valuer, Worth


class UnknownClientError(LookupError):
    """No profile of that client; the message says of which day the profiles are."""


Sees = Callable[[str], bool]
"""Whether a client, by id, may be told of to who asks."""


@dataclass(frozen=True)
class Hidden:
    """Which columns of a client's profile a caller is not told, by name: those that follow `of` rows of others."""

    of: frozenset[Of] = frozenset()
    whose: Callable[[str], Of] = of_earlier

    def __call__(self, column: str) -> bool:
        return bool(self.of) and self.whose(column) in self.of


NOTHING_HIDDEN = Hidden()
Draw = Callable[[int, int], tuple[int, ...] | None]
"""Of how many of the best, how many to show: their places, or None where this list is not explored."""


def explorer(policy: Exploration | None) -> Draw | None:
    """Draws lists as the policy has it; None where it explores nothing."""
    if policy is None or not policy.share:
        return None
    chance = random.SystemRandom()

    def draw(best: int, shown: int) -> tuple[int, ...] | None:
        return tuple(chance.sample(range(best), shown)) if chance.random() < policy.share else None

    return draw


class Recommender:
    """Answers from one model, one snapshot of profiles and one catalog; all are only read, so threads may share it."""

    def __init__(
        self,
        model: Model,
        snapshot: Snapshot,
        catalog: Catalog | None = None,
        learned: PriceResponse | None = None,
        authority: str | None = None,
        relationships: Relationships | None = None,
        plans: Plans | None = None,
    ):
        """`authority`: who prices offers; the one who may grant least where none is named. `relationships` are what
        quotes go by, `plans` how clients are served."""
        self.model, self.learned, self.authority = model, learned, authority
        self.snapshot, self.relationships, self.plans = snapshot, relationships, plans
        self.candidates: Candidates = model.candidates(catalog)
        profiles, columns = snapshot.profiles, self.candidates.columns
        _need_one_day(model, snapshot, relationships)
        need_comparable(self.candidates.catalog, kinds_in(columns, model.encoding.categories))
        self._align = Alignment(profiles.columns, profiles.categories, columns, model.encoding.categories)
        self._approver = None if plans is None else Approver(plans.policy, self.candidates.catalog)
        self.draw = explorer(self.candidates.catalog.policy.exploration)
        self._contributions = Contributions(model.adoption.booster)
        self._reasons = Reasons(model, self.candidates)
        self._features = {feature.name: feature for feature in model.features}
        # The class that NumPy maps files with costs more than what is done here; a plain array reads the same map.
        self._values = np.asarray(profiles.values)
        positions = self.candidates.positions
        self._parts = [[positions[product] for product in offer.products] for offer in self.candidates.offers]
        self._bundle_ids = [offer.bundle_id for offer in self.candidates.offers]
        self._rests_on: dict[str, Any] = {
            "horizon_days": int(model.about["horizon_days"]),
            "profile_day": str(snapshot.as_of),
            "model_version": model.version,
            "catalog_version": self.candidates.catalog.version,
        }

    def recommend(
        self,
        client_id: str,
        k: int = 5,
        lines: Sequence[Line] = (),
        objective: Aim = Aim.RELEVANCE,
        accepted: Sequence[Accepted] = (),
    ) -> Answer:
        """The k best bundles for a client of the snapshot, of the lines named (none: of all), without those that bring
        what was `accepted`.

        Raises UnknownClientError for a client without a profile, and NoPriceSheetError where bundles are to be ordered
        by value and the catalog has no prices.
        """
        values = self.profile_of(client_id)
        own, plans = self.own(values, [client_id]), self.plans_of([client_id])
        rests = {client_id: self.awaited(client_id, accepted)}
        return self.decide(values, [client_id], k, lines, objective, own, rests, plans=plans)[0].answer

    def recommend_new(
        self,
        attributes: Mapping[str, float | str | None],
        k: int = 5,
        lines: Sequence[Line] = (),
        objective: Aim = Aim.RELEVANCE,
    ) -> Answer:
        """The same for someone who is not a client yet: `attributes` by profile column, at least `kind`.

        Raises ValueError as `profile_of_new` does.
        """
        values = self.profile_of_new(attributes)
        return self.decide(values, [None], k, lines, objective, self.own(values, [None]))[0].answer

    def profile_of(self, client_id: str) -> np.ndarray:
        """float32 (1, columns of the candidates) of a client of the snapshot. Raises UnknownClientError."""
        row = self.snapshot.row(client_id)
        if row is None:
            raise self.unknown(client_id)
        return self._align(self._values[row : row + 1])

    def unknown(self, client_id: str) -> UnknownClientError:
        """What is raised for a client without a profile."""
        return UnknownClientError(
            f"no client {client_id!r} in the profiles of {self.snapshot.as_of}; check the id, or profile anew if the "
            "client joined later"
        )

    def knows(self, client_id: str) -> bool:
        """Whether there is a profile of the client."""
        return self.snapshot.row(client_id) is not None

    def book(self, client_id: str) -> tuple[str | None, str | None] | None:
        """The client's manager and branch; None where the client is not known, or nothing of it was laid out."""
        return self.relationships.book(client_id) if self.relationships else None

    def profile_of_new(self, attributes: Mapping[str, float | str | None]) -> np.ndarray:
        """The same of someone who is not a client yet. What is not given is not known; nothing is held.

        Raises ValueError for a column that profiles lack, a text where they hold a number, a number that is not finite,
        and a kind that is none.
        """
        profiles = self.snapshot.profiles
        values = np.full((1, len(profiles.columns)), np.nan, dtype=np.float32)
        at = {name: index for index, name in enumerate(profiles.columns)}
        for feature in self.model.features:
            if feature.missing is not None and feature.name in at:
                values[0, at[feature.name]] = feature.missing
        categories = {name: list(texts) for name, texts in profiles.categories.items()}
        for name, value in attributes.items():
            if name not in at:
                raise ValueError(f"{name}: no such column of a profile; {_near(name, at)}")
            if value is None:
                continue
            if (name in categories) != isinstance(value, str):
                raise ValueError(f"{name}: {'a text' if name in categories else 'a number'} is wanted, not {value!r}")
            if isinstance(value, str):
                if name == C.KIND and value not in set(Kind):  # what is not known would exclude nobody
                    raise ValueError(f"{name}: {value!r} is none of {', '.join(Kind)}")
                if value not in categories[name]:
                    folded = value.strip().casefold()
                    meant = next((text for text in categories[name] if text.strip().casefold() == folded), None)
                    if meant is not None:  # as another text it would meet no condition
                        raise ValueError(f"{name}: {value!r} differs from {meant!r} in case or blanks; write {meant!r}")
                    categories[name].append(value)
                values[0, at[name]] = categories[name].index(value)
            elif not abs(value) <= float(np.finfo(np.float32).max):
                raise ValueError(f"{name}: {value:g} is not a number that profiles can hold")
            else:
                values[0, at[name]] = value
        new = ProfileMatrix(np.array([""]), profiles.columns, categories, values)
        return self.model.align(new, self.candidates).values

    def tells_group(self, client_id: str, sees: Sees) -> bool:
        """Whether who `sees` certain clients may be told of the client's group: of sums, others could be worked out."""
        return self.relationships is None or all(map(sees, self.relationships.group_ids(client_id)))

    @cached_property
    def since(self) -> dt.datetime:
        """The beginning, in UTC, of the last day that holdings tell of: profiles may lack what was accepted from then
        on."""
        until = self.relationships.until.get("holdings") if self.relationships else None
        day = awaited_since(self.snapshot.as_of, dt.date.fromisoformat(until) if until else None)
        return dt.datetime.combine(day, dt.time(), dt.UTC)

    def awaited(self, client_id: str, accepted: Sequence[Accepted]) -> tuple[Resting, ...]:
        """What is not offered as the client `accepted` it since then. Raises UnknownClientError."""
        if not accepted:
            return ()
        held, sold = self.candidates.held(self.profile_of(client_id))[0], self.candidates.catalog.products
        has = {product.product_id for product, holds in zip(sold, held.tolist(), strict=True) if holds}
        brings = {offer.bundle_id: frozenset(offer.products) - has for offer in self.candidates.offers}
        return awaited(brings, accepted, self.since.date())

    def hidden(self, client_id: str | None, sees: Sees, everybody: bool) -> Hidden:
        """The columns of a client that a caller is not told: sums of the client's group where not all of it is seen,
        and what linked clients hold, which only a caller who sees every client is told."""
        if everybody:
            return NOTHING_HIDDEN
        whole_group = client_id is None or self.tells_group(client_id, sees)
        return Hidden(frozenset({Of.LINKED} if whole_group else {Of.LINKED, Of.GROUP}), self._of)

    def _of(self, column: str) -> Of:
        """Whose rows the column follows from; of one that the model does not have, its name says so."""
        feature = self._features.get(column)
        return of_earlier(column) if feature is None else feature.of

    def reasons_without(self, answer: Answer, profile: np.ndarray, hidden: Hidden) -> Answer:
        """The answer with the reasons that the model has for the same offers where hidden columns hold what they do of
        a client of whom there are no rows: neither what they say nor what they weigh shows in them."""
        positions, values = self.candidates.positions, self.values_without(profile.reshape(1, -1), hidden)
        new = [[positions[part.product_id] for part in offer.products if not part.held] for offer in answer.offers]
        brings = sorted({product for products in new for product in products})
        if not brings:
            return answer
        pairs = Pairs(np.zeros(len(brings), dtype=int), np.array(brings))
        rows = self.candidates.product_rows(values, pairs, self.candidates.peer_groups(values))
        contributions = self._contributions.of(self._contributions.leaves(rows))
        grounds = Grounds(self._reasons, contributions, rows, brings, self.candidates.held(values)[0])
        offers = (
            replace(offer, reasons=grounds.reasons([brings.index(product) for product in sorted(products)]))
            for offer, products in zip(answer.offers, new, strict=True)
        )
        return replace(answer, offers=tuple(offers))

    def values_without(self, values: np.ndarray, hidden: Hidden) -> np.ndarray:
        """A client's row (1, columns) in which hidden columns hold what they do of a client of whom there are no rows,
        or are not known where a bundle's condition looks at them: such a bundle is for nobody who may not be told."""
        if not hidden.of:
            return values
        at = [at for at, name in enumerate(self.candidates.columns[: values.shape[1]]) if hidden(name)]
        told = np.array(values, dtype=np.float32)
        told[:, at] = self._without_rows[at]
        return told

    @cached_property
    def _without_rows(self) -> np.ndarray:
        """What every column holds of a client of whom there are no rows; NaN where a bundle's condition looks at it."""
        conditions = {name for offer in self.candidates.offers for name in offer.where}
        stated = (None if name in conditions else self._features.get(name) for name in self.candidates.columns)
        return np.array([np.nan if one is None or one.missing is None else one.missing for one in stated], np.float32)

    @cached_property
    def authorities(self) -> list[str]:
        """The catalog's authorities, who may grant least first. Raises NoPriceSheetError where it has no prices."""
        return [one.name for one in need_pricing(self.candidates.catalog).authorities]

    def quote(
        self,
        asked: AskQuote,
        sees: Sees = lambda client_id: True,
        caller_authority: str | None = None,
        accepted: Sequence[Accepted] = (),
        hidden: Hidden = NOTHING_HIDDEN,
    ) -> tuple[Quoted, PricedBy]:
        """The bundle priced for a client of the bank, and what it was priced by: what is held, and the like; the group
        too where all of it is seen. Who asks may grant by `caller_authority`, or by whichever is asked for if None; a
        quote that supposes more, or other terms than the catalog's, is a what-if, as is one whose gates fail. A
        condition on a column that is `hidden` from who asks leaves its gate open, and the model out. Notes tell where
        the client has `accepted` what the tables do not show yet.

        Raises UnknownClientError for a client that is not there, ValueError as `pricing.quote` and `pricing.what_if`
        do, NoPriceSheetError where the catalog has no prices.
        """
        catalog, there = self.candidates.catalog, self.relationships
        need_pricing(catalog)
        if there is None:
            raise ValueError("what clients hold was not laid out, so nothing can be quoted; run sheaf serve --data DIR")
        values = self.values_without(self.profile_of(asked.client_id), hidden)
        known = whom = there.client(asked.client_id, catalog)
        whom = replace(
            whom, rating=asked.rating or whom.rating, suitable_until=asked.suitable_until or whom.suitable_until
        )
        gate, pair = self._eligible(asked.bundle_id, values, hidden, asked.rating), None
        if gate is None or gate.status != "open":  # whether it is a candidate would tell of what is hidden
            pair = pair_of(self.model, self.candidates, values, asked.bundle_id)
        # what is supposed of acceptance goes before what was learned, and before what the model tells
        learned = None if OF_RESPONSE & asked.terms.keys() else self.learned
        inputs = None if pair is None or learned is None else pair.inputs[0].tolist()
        told = pair is not None and inputs is None and "acceptance" not in asked.terms
        at_list = pair.probability if pair is not None and told else None
        tells = self.tells_group(asked.client_id, sees)
        group, left_out = there.group(asked.client_id, catalog) if tells else ((), 0)
        [plan] = self.plans_of([asked.client_id], [hidden])
        wanted = asked.authority or caller_authority or self.authority or self.authorities[0]
        own = caller_authority or wanted
        rests = self.awaited(asked.client_id, accepted)
        notes = tuple(one.why for one in rests if one.bundle_id == asked.bundle_id)
        by = PricedBy(
            whom, group, there.as_of, wanted, inputs, at_list, plan, left_out, own, notes=notes, eligible=gate,
            untold=tuple(sorted(hidden.of)),
        )  # fmt: skip
        if asked.terms or asked.rating or wanted != own:
            by = replace(by, caller_limit=_limit(catalog, known, asked.bundle_id, there.as_of, own))
        return self.priced(asked, by), by

    def priced(self, asked: AskQuote, by: PricedBy) -> Quoted:
        """The quote for a request and what is known; equal for equal input. Raises what `price_bundle` does."""
        catalog = self.candidates.catalog
        terms = {name: str(value) for name, value in asked.terms.items()}
        sold = apply_terms(catalog, terms, by.client.rating) if terms else catalog
        learned = None if by.inputs is None else self.learned
        quoted = price_bundle(
            sold, by.client, asked.bundle_id, by.as_of, by.authority, asked.concession,
            learned.response if learned else None, None if by.inputs is None else np.array([by.inputs]),
            by.acceptance, group=by.group, left_out=by.group_left_out,
        )  # fmt: skip
        told = plain(quoted, catalog.version, learned.version if learned else None)
        told.notes += by.notes
        if by.eligible is not None:
            told.gates = judged(by.eligible, len(told.lines), len(quoted.bundle.products), quoted.checks)
            told.acceptance_by = _acceptance_by(asked, by)
            told.notes = (*noted(told.gates, told.acceptance_by), *told.notes)
        if by.caller_authority is not None:
            told.caller_authority = by.caller_authority
            told.caller_limit = told.limit if by.caller_limit is None else by.caller_limit
            told.what_if = tuple(self._supposed(asked, told, by.caller_authority, told.caller_limit))
        if self.plans is not None and by.plan is not None:
            values, _ = read_plan(by.plan)
            if C.RATING in values and asked.rating:
                values[C.RATING] = asked.rating
            approver, held = Approver(self.plans.policy, sold), by.client.held
            pairs = approver.pairs([asked.bundle_id], held, [told.total.list_price], [told.concession])
            told.plan = in_short(self.plans.policy, values)
            [told.route] = approver.approve(values, pairs, held)
        return told

    def _supposed(self, asked: AskQuote, told: Quoted, own: str, limit: float) -> Iterator[str]:
        """Why the quote is a what-if, and not for the caller to offer."""
        if self.authorities.index(told.authority) > self.authorities.index(own):
            yield f"authority: {told.authority} may grant more than {own}, whose quote this is"
        yield from (f"terms.{name}: supposed, not the catalog's" for name in asked.terms)
        if asked.rating is not None:
            yield "rating: supposed, not the client's"
        for gate in told.gates or ():
            if gate.status == "failed":
                yield f"gates.{gate.gate}: failed, so the bundle is not for this client: {gate.why}"
            elif gate.gate == "eligible" and gate.status == "open":
                yield f"gates.eligible: rests on what is not told to you, so ask who may see it: {gate.why}"
        if told.gates is not None:
            if asked.suitable_until is not None and any(check.rule == SUITABILITY for check in told.checks):
                yield "suitable_until: supposed, not the client's"
            for check in told.checks:
                if check.status == "broken" and check.rule not in (ELIGIBLE, SUITABILITY):
                    yield f"checks: the bundle must not be sold so: {check.rule}: {check.text}"
        if told.total.concession > limit + 0.005:
            yield f"concession: {told.total.concession:,.2f} is above the {limit:,.2f} that {own} may grant"

    def _eligible(self, bundle_id: str, values: np.ndarray, hidden: Hidden, rating: str | None = None) -> Gate | None:
        """The gate of the bundle's kinds and conditions for a client, as if it had the `rating`; None: no bundle."""
        if bundle_id not in self._bundle_ids:
            return None
        offer, encoding = self.candidates.offers[self._bundle_ids.index(bundle_id)], self.model.encoding
        return eligible(offer, encoding, as_rated(encoding, values, rating), hidden)

    def plans_of(self, client_ids: Sequence[str | None], hidden: Sequence[Hidden] = ()) -> list[str | None]:
        """Their plans as JSON, as they were laid out; worked out again without the columns that are `hidden`, of each
        client, where there are any. None for who has none."""
        plans = [None if self.plans is None else self.plans.of(client) for client in client_ids]
        return [self._plan_without(*one) for one in zip(plans, hidden, strict=True)] if hidden else plans

    def _plan_without(self, plan: str | None, hidden: Hidden) -> str | None:
        if plan is None or self.plans is None or not hidden.of:
            return plan
        # A ranking by all columns gave the potential.
        return worked_out_without(self.plans.policy, plan, lambda column: column == POTENTIAL or hidden(column))

    def whole_plan(self, client_id: str, hidden: Hidden = NOTHING_HIDDEN) -> WholePlan:
        """How the client is served, with the reason for every outcome; what follows from `hidden` columns is as if they
        were not known. Raises UnknownClientError for a client without a profile, and where no plan of the client is
        laid out."""
        if not self.knows(client_id):
            raise self.unknown(client_id)
        return whole(self._need_plans().policy, client_id, self._plan(client_id, hidden))

    def approval(
        self, client_id: str, bundle_id: str, concession: float = 0.0, hidden: Hidden = NOTHING_HIDDEN
    ) -> Approved:
        """How the bundle is approved for the client at that concession, money a year, and why, with the gates that it
        passes; a condition on a `hidden` column leaves its gate open. Raises as `whole_plan`
        does, and ValueError for a bundle that there is not, that is for others or that brings the client nothing."""
        values = self.values_without(self.profile_of(client_id), hidden)
        plan, _ = read_plan(self._plan(client_id, hidden))
        if bundle_id not in self._bundle_ids:
            raise ValueError(f"there is no bundle {bundle_id!r}; {did_you_mean(bundle_id, self._bundle_ids)}")
        number, held = self._bundle_ids.index(bundle_id), self.candidates.held(values)
        offer, sold = self.candidates.offers[number], self.candidates.catalog.products
        has = {product.product_id for product, holds in zip(sold, held[0].tolist(), strict=True) if holds}
        if has.issuperset(offer.products):
            raise ValueError(f"the client holds all of {bundle_id} already; name another bundle")
        kind = self.in_words(values).get(C.KIND)
        if kind is not None and kind not in offer.kinds:
            raise ValueError(f"{bundle_id} is for {' and '.join(offer.kinds)} clients; name another bundle")
        whom, first = Clients(self.valuer.cells(values), held), np.zeros(1, dtype=int)
        pricer = Pricer(self.valuer.book, tuple(self.candidates.offers))  # a list price takes no response
        list_price = float(np.nan_to_num(pricer.price(whom, first, np.array([number])).list_price[0]))
        approver = Approver(self._need_plans().policy, self.candidates.catalog)
        pairs = approver.pairs([bundle_id], has, [list_price], [concession])
        [route] = approver.approve(plan, pairs, has)
        why = reasoned(explained_route(approver.policy, plan | pairs[0]))
        brings = sum(product not in has for product in offer.products)
        gates = (
            eligible(offer, self.model.encoding, values, hidden),
            *self._gates(number, brings)[1:],
        )
        if self.prices and not self.valuer.suits(values)[number]:
            gates = lapsed(gates)
        return Approved(bundle_id, pairs[0]["credit"], list_price, concession, route, why, gates)

    def _need_plans(self) -> Plans:
        if self.plans is None:
            raise UnknownClientError("no plans are laid out; make them: sheaf plan --data DIR --serve")
        return self.plans

    def _plan(self, client_id: str, hidden: Hidden) -> str:
        plans = self._need_plans()
        [found] = self.plans_of([client_id], [hidden])
        if found is None:
            raise UnknownClientError(
                f"no plan of client {client_id!r} as of {plans.as_of}; make plans anew: sheaf plan --data DIR --serve"
            )
        return found

    def portrait(self, client_id: str, hidden: Hidden = NOTHING_HIDDEN) -> Portrait:
        """The client's profile as a person reads it, without hidden columns. Raises UnknownClientError."""
        values = self.profile_of(client_id)
        texts, known = self._reasons, self.in_words(values)
        facts = [
            Fact(name, feature.meaning, feature.unit, known[name], texts.of_feature(feature, value))
            for name, value in zip(self.candidates.columns, values[0].tolist(), strict=True)
            if (feature := self._features.get(name)) is not None and known[name] is not None and not hidden(name)
        ]
        sold = self.candidates.catalog.products
        holds = tuple(sold[at].product_id for at in np.flatnonzero(self.candidates.held(values)[0]))
        until = self.relationships.until if self.relationships else {}
        return Portrait(client_id, str(self.snapshot.as_of), until, holds, tuple(facts), self.model.version)

    def in_words(self, profile: np.ndarray) -> dict[str, float | str | None]:
        """A profile's row by column: numbers, texts of categories, None for what is not known."""
        categories = self.model.encoding.categories
        told: dict[str, float | str | None] = {}
        # Not strict: decisions logged by earlier versions have the model's own columns only, which come first.
        for name, value in zip(self.candidates.columns, profile.ravel().tolist(), strict=False):
            known = not math.isnan(value)
            texts = categories.get(name)
            told[name] = None if not known else value if texts is None else texts[int(value)]
        return told

    @cached_property
    def valuer(self) -> Valuer:
        """What bundles are worth. Raises NoPriceSheetError where the catalog has no prices."""
        return Valuer(self.candidates, self.authority, self.learned)

    @cached_property
    def prices(self) -> bool:
        """Whether the catalog has prices."""
        return self.candidates.catalog.pricing is not None

    def own(self, values: np.ndarray, client_ids: Sequence[str | None]) -> Own | None:
        """What clients with these rows hold as it stands, by which they are priced; None where that was not laid out,
        or nothing is priced."""
        if not self.prices or self.relationships is None:
            return None
        return self.relationships.own(self.valuer.book, client_ids, self.valuer.cells(values))

    def answers(
        self,
        values: np.ndarray,
        client_ids: Sequence[str | None],
        k: int,
        lines: Sequence[Line],
        objective: Aim,
        resting: Mapping[str, tuple[Resting, ...]],
        hidden: Sequence[Hidden] = (),
    ) -> list[Decided]:
        """What `decide` gives by all that was laid out, and explored as the policy has it; of each client without the
        columns that are `hidden`, if any are. Raises as `decide`."""
        plans = self.plans_of(client_ids, hidden)
        if any(one.of for one in hidden):
            rows = zip(values, hidden, strict=True)
            values = np.concatenate([self.values_without(row[None], of_client) for row, of_client in rows])
        own = self.own(values, client_ids)
        decided = self.decide(values, client_ids, k, lines, objective, own, resting, self.draw, plans)
        untold = (tuple(sorted(one.of)) for one in hidden or [NOTHING_HIDDEN] * len(decided))
        return [replace(one, untold=of_client) for one, of_client in zip(decided, untold, strict=True)]

    def decide(
        self,
        values: np.ndarray,
        client_ids: Sequence[str | None],
        k: int = 5,
        lines: Sequence[Line] = (),
        objective: Aim = Aim.RELEVANCE,
        own: Own | None = None,
        resting: Mapping[str, tuple[Resting, ...]] | None = None,
        draw: Draw | None = None,
        plans: Sequence[str | None] | None = None,
    ) -> list[Decided]:
        """The answers for rows as `profile_of` and `profile_of_new` give them, each with all that it was chosen from.

        Prices go by what the clients hold, as `own` has it; without, by typical contracts. What is `resting`, by
        client, is not offered, and `draw` may leave the best order. `plans` say how they are served. But for that the
        same row, holdings and parameters give the same answer, alone and among others. Raises NoPriceSheetError as
        `recommend` does.
        """
        if not len(values):
            return []
        model, candidates = self.model, self.candidates
        slate = candidates.slate(values)
        rows = candidates.product_rows(values, slate.products, candidates.peer_groups(values))
        probability, share = np.zeros(slate.held.shape), np.full(slate.held.shape, np.nan)
        leaves = self._contributions.leaves(rows)
        log_odds = self._contributions.log_odds(leaves)
        at = slate.products.client, slate.products.item
        probability[at], share[at] = model.adoption.of_rows(candidates, values, slate, log_odds, threads=1)
        bundles = bundle_rows(candidates, values, slate, probability, share)
        client, item = bundles.pairs.client, bundles.pairs.item
        whole, apart = model.completion(bundles), bundles.column("log_odds")
        if objective is Aim.VALUE:
            worth = self.valuer(values, slate.held, client, item, whole, apart, own)
            score, allowed = worth.value, worth.sold
        else:
            score = model.order.score(bundles, threads=1)
            allowed = self.valuer.allowed(values, client, item) if self.prices else np.ones(len(item), dtype=bool)
        order, starts = np.lexsort((item, -score, client)), np.searchsorted(client, np.arange(len(values) + 1))
        mine = [order[start:end] for start, end in pairwise(starts.tolist())]
        kept, holds = [of[allowed[of]] for of in mine], slate.held.tolist()
        rests = [(resting or {}).get(client_id or "", ()) for client_id in client_ids]
        shown = [
            self._shown(zip(of.tolist(), item[of].tolist(), strict=True), held, k, lines, of_client, draw)
            for of, held, of_client in zip(kept, holds, rests, strict=True)
        ]
        chosen = [picks for picks, _, _ in shown]
        places = [place for picks in chosen for place, _, _ in picks]
        if not self.prices:
            priced: list[tuple[Priced | None, float]] = [(None, 0.0)] * len(places)
        elif objective is Aim.VALUE:
            priced = self._priced(worth[np.array(places, dtype=int)])
        else:
            chosen_ones = client[places], item[places], whole[places], apart[places]
            priced = self._priced(self.valuer(values, slate.held, *chosen_ones, own)) if places else []
        brought = [sorted({product for _, _, products in picks for product in products}) for picks in chosen]
        row_of = np.full(slate.held.shape, -1)
        row_of[at] = np.arange(len(rows))
        of_brought = np.concatenate([row_of[row, brings] for row, brings in enumerate(brought)]).astype(int)
        contributions, looked_at = self._contributions.of(leaves[of_brought]), rows[of_brought]
        decided, start = [], 0
        for row, (picks, brings) in enumerate(zip(chosen, brought, strict=True)):
            their = slice(start, start := start + len(brings))
            held = slate.held[row]
            grounds = Grounds(self._reasons, contributions[their], looked_at[their], brings, held)
            place_of = {product: place for place, product in enumerate(brings)}
            chance = probability[row].tolist()
            prices = [priced.pop(0) for _ in picks]
            plan, routes = self._served(None if plans is None else plans[row], picks, holds[row], prices)
            offers = []
            for rank, (place, number, products) in enumerate(picks, start=1):
                offer = candidates.offers[number]
                offers.append(
                    Offer(
                        rank=rank,
                        bundle_id=offer.bundle_id,
                        name=offer.name,
                        line=offer.line,
                        probability=float(whole[place]),
                        score=float(score[place]),
                        products=tuple(self._part(product, holds[row], chance) for product in self._parts[number]),
                        reasons=grounds.reasons([place_of[product] for product in products]),
                        why=offer.why,
                        gates=self._gates(number, len(products)),
                        worth=prices[rank - 1][0],
                        route=routes[rank - 1],
                    )
                )
            answer = Answer(
                client_id=client_ids[row],
                offers=tuple(offers),
                objective=objective,
                resting=rests[row],
                explored=shown[row][1] is not None,
                decision_id=None,
                plan=plan,
                **self._rests_on,
            )
            ids, not_sold = self._bundle_ids, mine[row][~allowed[mine[row]]]
            considered = item[kept[row]].tolist()
            decided.append(
                Decided(
                    answer, values[row : row + 1], [ids[number] for number in considered], score[kept[row]].tolist(),
                    whole[kept[row]].tolist(), [ids[number] for number in sorted(item[not_sold].tolist())],
                    None if own is None else Own(*(of[row : row + 1] for of in (own.eva, own.of_balance, own.balance))),
                    *shown[row][1:], None if plan is None or plans is None else plans[row],
                )
            )  # fmt: skip
        return decided

    def _priced(self, worth: Worth) -> list[tuple[Priced | None, float]]:
        """Of each pair its price and worth, None where it has none, and its list price."""
        columns = (worth.concession, worth.acceptance, worth.eva, worth.value, worth.sold, worth.list_price)
        currency = self.candidates.catalog.currency
        return [
            (Priced(currency, *numbers), list_price) if sold else (None, 0.0)
            for *numbers, sold, list_price in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _served(
        self,
        plan: str | None,
        picks: Sequence[Pick],
        held: Sequence[bool],
        prices: Sequence[tuple[Priced | None, float]],
    ) -> tuple[Plan | None, list[Approval | None]]:
        """The plan in short, and how each of what is shown is approved; None where there is no plan."""
        if plan is None or self.plans is None or self._approver is None:
            return None, [None] * len(picks)
        values, _ = read_plan(plan)
        sold = self.candidates.catalog.products
        has = {product.product_id for product, holds in zip(sold, held, strict=True) if holds}
        bundles = [self._bundle_ids[number] for _, number, _ in picks]
        conceded = [0.0 if worth is None else worth.concession for worth, _ in prices]
        pairs = self._approver.pairs(bundles, has, [price for _, price in prices], conceded)
        return in_short(self.plans.policy, values), [*self._approver.approve(values, pairs, has)]

    def _gates(self, number: int, brings: int) -> tuple[Gate, ...]:
        of, suits, size = self._passed[number]
        return of, applicable(brings, size), suits

    @cached_property
    def _passed(self) -> list[tuple[Gate, Gate, int]]:
        """Of each offer the gates that are passed alike by everybody who passes them, and its size."""
        needs = self.valuer.unsuitable.tolist() if self.prices else [False] * len(self.candidates.offers)
        return [
            (eligible(offer, self.model.encoding), suitable(need), len(offer.products))
            for offer, need in zip(self.candidates.offers, needs, strict=True)
        ]

    def _shown(
        self,
        order: Iterable[tuple[int, int]],
        held: Sequence[bool],
        k: int,
        lines: Sequence[Line],
        resting: Sequence[Resting],
        draw: Draw | None,
    ) -> tuple[list[Pick], tuple[int, ...] | None, float]:
        """What is shown, the places drawn if the list is explored, and its propensity."""
        rests = {one.bundle_id for one in resting}
        if None in rests:
            return [], None, 1.0
        policy = self.candidates.catalog.policy.exploration
        if draw is None or policy is None:
            return self._choose(order, held, k, lines, rests), None, 1.0
        best = self._choose(order, held, max(k, policy.depth), lines, rests)
        pool, number = min(len(best), policy.depth), min(len(best), policy.depth, k)
        drawn = draw(pool, number) if number else None
        places = tuple(range(number)) if drawn is None else drawn
        list_propensity = policy.share / math.perm(pool, number) + (1 - policy.share) * (places == tuple(range(number)))
        return [*(best[place] for place in places), *best[policy.depth : k]], drawn, list_propensity

    def _choose(
        self,
        order: Iterable[tuple[int, int]],
        held: Sequence[bool],
        k: int,
        lines: Sequence[Line],
        rests: Container[str | None],
    ) -> list[Pick]:
        """Of (place, offer) in order the first k, of these lines, that do not rest, each with the products it brings.

        Bundles that would bring a client the same products are one offer: the first of them is shown.
        """
        chosen: dict[tuple[int, ...], tuple[int, int]] = {}
        for place, item in order:
            offer = self.candidates.offers[item]
            if (not lines or offer.line in lines) and offer.bundle_id not in rests:
                brings = tuple(sorted(product for product in self._parts[item] if not held[product]))
                chosen.setdefault(brings, (place, item))
                if len(chosen) == k:
                    break
        return [(place, item, list(products)) for products, (place, item) in chosen.items()]

    def _part(self, product: int, held: Sequence[bool], probability: Sequence[float]) -> Part:
        sold = self.candidates.catalog.products[product]
        return Part(
            product_id=sold.product_id,
            name=sold.name,
            line=sold.line,
            held=held[product],
            probability=None if held[product] else probability[product],
        )


def _acceptance_by(asked: AskQuote, by: PricedBy) -> AcceptanceBy:
    """Whose the acceptance at list price is."""
    if by.inputs is not None:
        return "response"
    if by.acceptance is not None:
        return "model"
    return "request" if "acceptance" in asked.terms else "policy"


def _limit(catalog: Catalog, client: Client, bundle_id: str, day: dt.date, authority: str) -> float:
    """What the authority may grant on the bundle at the catalog's terms; nothing where it has no price at these."""
    try:
        return float(price_bundle(catalog, client, bundle_id, day, authority).limit)
    except ValueError:
        return 0.0


def _near(name: str, columns: Iterable[str]) -> str:
    """The remedy for a column that there is not."""
    near = did_you_mean(name, columns)
    return near if near.startswith("did") else "docs/reference/features.md has those there are"


def _need_one_day(model: Model, snapshot: Snapshot, relationships: Relationships | None) -> None:
    """Raises ValueError for profiles that lack columns of the model, and for relationships of another day."""
    lacking = sorted(set(model.encoding.columns) - set(snapshot.profiles.columns))
    if lacking:
        raise ValueError(
            f"the profiles of {snapshot.as_of} lack {len(lacking)} of the model's columns ({', '.join(lacking[:5])}): "
            "they are of another feature dictionary; lay model and profiles out together: sheaf serve --data DIR"
        )
    if relationships is not None and relationships.as_of != snapshot.as_of:
        raise ValueError(
            f"the profiles are of {snapshot.as_of} and what clients hold is of {relationships.as_of}; lay both out "
            "together: sheaf serve --data DIR"
        )
