"""Who the clients are when the bank is first seen, and who will join: people, firms, institutions, and their ties."""

from __future__ import annotations

from typing import Any

import numpy as np

from sheaf.catalog import Catalog, Kind
from sheaf.simulation.behaviour import read_behaviour
from sheaf.simulation.state import IDLE, NOBODY, RATINGS, SECTORS, SEXES, Array, Bank, Edges, Segment
from sheaf.simulation.timing import DAYS_A_YEAR, Draws, Month, Purpose

SHARE_RETAIL, SHARE_INSTITUTIONS = 0.88, 0.02  # of all clients; the rest are firms
JOINERS_A_YEAR = 0.04  # share of all clients
TENURE_YEARS, TENURE_LIMIT_YEARS = 7.0, 25.0  # mean and limit at the start
ADULT_YEARS, YOUNGEST_JOINER_YEARS = 18, 15
EMPLOYED_SHARE, EMPLOYED_BY_CLIENT_SHARE = 0.82, 0.75  # of people from 20 to 64; of those
INCOME_MEDIAN, INCOME_SPREAD = 27_000.0, 0.5  # reporting currency a year, standard deviation of the logarithm
TURNOVER_A_HEAD, TURNOVER_SPREAD = 110_000.0, 0.6  # reporting currency a year, standard deviation of the logarithm
SIZES = ((0.66, 1, 9), (0.23, 10, 49), (0.085, 50, 249), (0.025, 250, 1500))  # share of firms, heads from, to
RATING_SHARES = (0.15, 0.3, 0.32, 0.16, 0.07)
FIRM_SECTOR_SHARES = (0.07, 0.18, 0.14, 0.22, 0.1, 0.09, 0.2)
EXPORTERS = {"manufacturing": 0.45, "agriculture": 0.25, "transport": 0.25, "services": 0.15, "tourism": 0.1}
EMPLOYER_PULL = 0.75  # exponent of a firm's heads when people choose an employer
CLIENTS_A_BRANCH, BRANCHES_A_REGION, RETAIL_A_MANAGER, FIRMS_A_MANAGER = 900, 6, 1500, 60
GROUPED_SHARE, MEMBERS_A_GROUP = 0.16, 4
SUPPLIERS_A_FIRM = 1.1
OWNED_SHARE = {"micro": 0.85, "small": 0.7}
GUARANTEED_SHARE = 0.25  # of owned firms, by their owner


def populate(clients: int, months: list[Month], catalog: Catalog, draws: Draws) -> Bank:
    """The bank of `clients` clients on the day before the first month; those to join later are in it already."""
    n_retail = max(1, round(SHARE_RETAIL * clients))
    n_institutions = min(round(SHARE_INSTITUTIONS * clients), clients - n_retail)
    retail = _segment("retail", 0, 0, np.full(n_retail, 0, np.int8), months, catalog, draws)
    kinds = np.full(clients - n_retail, list(Kind).index(Kind.CORPORATE), np.int8)
    kinds[len(kinds) - n_institutions :] = list(Kind).index(Kind.INSTITUTION)
    firms = _segment("firms", 1, n_retail, kinds, months, catalog, draws)
    _people(retail, months[0].first, draws.of(Purpose.PEOPLE, segment=0, block=1))
    _firms(firms, draws.of(Purpose.PEOPLE, segment=1, block=1))
    rng = draws.of(Purpose.LINKS)
    employer, since = _employers(retail, firms, months, rng)
    owners = _owners(retail, firms, rng)
    guarantees = rng.random(len(owners.source)) < GUARANTEED_SHARE
    bank = Bank(
        retail=retail,
        firms=firms,
        number=rng.permutation(clients).astype(np.int32) + 1,
        employer=employer,
        employed_since=since,
        owners=owners,
        suppliers=_suppliers(firms, months, rng),
        heads=_groups(firms, rng),
        guarantors=Edges("guarantor", owners.source[guarantees], owners.target[guarantees], owners.since[guarantees]),
    )
    for segment in bank.segments:
        _homes(segment, clients, draws.of(Purpose.PEOPLE, segment=segment.place, block=2))
    return bank


def hire(firms: Segment, hiring: Array, people: int, rng: np.random.Generator) -> Array:
    """An employer among the `hiring` firms for each of `people`, larger ones more often; NOBODY: no client."""
    weight = firms.attributes["employees"].astype(np.float64) ** EMPLOYER_PULL * hiring
    cumulative = np.cumsum(weight)
    outside = rng.random(people) >= EMPLOYED_BY_CLIENT_SHARE
    if not len(cumulative) or cumulative[-1] <= 0:
        return np.full(people, NOBODY, np.int32)
    chosen = np.searchsorted(cumulative, rng.random(people) * cumulative[-1], side="right")
    return np.where(outside, NOBODY, chosen).astype(np.int32)


def _segment(
    name: str, place: int, first: int, kind: Array, months: list[Month], catalog: Catalog, draws: Draws
) -> Segment:
    n, rng = len(kind), draws.of(Purpose.PEOPLE, segment=place)
    behaviour = read_behaviour(name)
    sold = {product.product_id for product in catalog.products}
    products = tuple(product for product in behaviour.products if product in sold)
    start, end = months[0].first, months[-1].last
    tenure = np.minimum(rng.exponential(TENURE_YEARS, n), TENURE_LIMIT_YEARS) * DAYS_A_YEAR
    joins_later = rng.random(n) < JOINERS_A_YEAR * len(months) / 12
    joined = np.where(joins_later, rng.integers(start + 1, end + 1, n), start - 1 - tenure.astype(np.int64))
    shape = (len(products), n)
    needs = (len(behaviour.needs), n)
    return Segment(
        name=name, place=place, first=first, behaviour=behaviour, products=products, kind=kind,
        joined=joined.astype(np.int32), left=np.zeros(n, np.int32), attributes={},
        works=np.zeros(n, bool),
        thrift=np.exp(0.9 * rng.standard_normal(n, np.float32)),
        activity=np.exp(0.35 * rng.standard_normal(n, np.float32)),
        abroad=rng.integers(0, 256, n, np.uint8),
        opened=np.zeros(shape, np.int32), before=np.zeros(shape, bool), balance=np.zeros(shape, np.float32),
        need_age=np.full(needs, IDLE, np.int8), silent=np.zeros(needs, bool),
        drain_age=np.full(n, IDLE, np.int8), closed=np.zeros(n, np.int32),
    )  # fmt: skip


def _people(retail: Segment, start: int, rng: np.random.Generator) -> None:
    n = len(retail)
    age = np.clip(18 + 67 * rng.beta(1.3, 1.7, n), ADULT_YEARS, 90).astype(np.int16)
    works = (age >= 20) & (age < 65) & (rng.random(n) < EMPLOYED_SHARE)
    of_age = 0.65 + 0.45 * np.minimum(age - 18, 30) / 30 - 0.25 * (age >= 65)
    income = INCOME_MEDIAN * of_age * np.exp(INCOME_SPREAD * rng.standard_normal(n)) * np.where(works, 1.0, 0.7)
    children = rng.poisson(np.interp(age, [20, 28, 38, 50, 58], [0.0, 0.4, 1.3, 0.9, 0.1]), n)
    married = rng.random(n) < np.interp(age, [20, 30, 40], [0.05, 0.4, 0.62])
    alone = np.where(age < 45, rng.choice([0, 0, 0, 2], n), rng.choice([0, 2, 2, 3], n))
    earliest = start - ((age - YOUNGEST_JOINER_YEARS) * DAYS_A_YEAR).astype(np.int64)
    retail.joined = np.maximum(retail.joined, earliest).astype(np.int32)
    retail.works = works
    retail.attributes |= {
        "age": age,
        "income": np.round(income, -2).astype(np.float32),
        "children": np.minimum(children, 6).astype(np.int16),
        "sex": rng.integers(0, len(SEXES), n).astype(np.int8),
        "marital_status": np.where(married, 1, alone).astype(np.int8),
        "rating": _ratings(n, rng),
    }


def _firms(firms: Segment, rng: np.random.Generator) -> None:
    n = len(firms)
    institution = firms.kind == list(Kind).index(Kind.INSTITUTION)
    size = rng.choice(len(SIZES), n, p=[share for share, _, _ in SIZES])
    size = np.where(institution, np.minimum(size + 1, len(SIZES) - 1), size)
    low, high = (np.array([bounds[side] for bounds in SIZES])[size] for side in (1, 2))
    employees = np.floor(low * (high / low) ** rng.random(n)).astype(np.int32)
    sector = np.where(
        institution,
        rng.integers(SECTORS.index("public"), len(SECTORS), n),
        rng.choice(len(FIRM_SECTOR_SHARES), n, p=FIRM_SECTOR_SHARES),
    )
    turnover = employees * TURNOVER_A_HEAD * np.exp(TURNOVER_SPREAD * rng.standard_normal(n))
    exports = rng.random(n) < np.array([EXPORTERS.get(name, 0.0) for name in SECTORS])[sector]
    firms.activity *= np.clip(employees**0.4 / 1.7, 0.6, 6.0).astype(np.float32)
    firms.attributes |= {
        "employees": employees,
        "turnover": np.round(turnover, -3).astype(np.float32),
        "export_share": np.where(exports, np.round(rng.beta(1.2, 3.0, n), 2), 0.0).astype(np.float32),
        "sector": sector.astype(np.int8),
        "rating": _ratings(n, rng),
    }


def _ratings(n: int, rng: np.random.Generator) -> Array:
    return rng.choice(len(RATINGS), n, p=RATING_SHARES).astype(np.int8)


def _homes(segment: Segment, clients: int, rng: np.random.Generator) -> None:
    branches = max(2, clients // CLIENTS_A_BRANCH)
    n = len(segment)
    branch = rng.integers(0, branches, n).astype(np.int16)
    load = RETAIL_A_MANAGER if segment.place == 0 else FIRMS_A_MANAGER
    managers = max(1, n // load)
    segment.attributes |= {
        "branch": branch,
        "region": (branch // BRANCHES_A_REGION).astype(np.int16),
        "manager": (rng.integers(0, managers, n) * 2 + segment.place).astype(np.int32),
    }


def _employers(retail: Segment, firms: Segment, months: list[Month], rng: np.random.Generator) -> tuple[Array, Array]:
    n = len(retail)
    employer = np.where(retail.works, hire(firms, firms.active(months[-1].last), n, rng), NOBODY).astype(np.int32)
    years = np.minimum(rng.exponential(5.0, n), np.maximum(retail.attributes["age"] - 19, 0.2))
    since = months[0].first - (years * DAYS_A_YEAR).astype(np.int64)
    met = np.maximum(retail.joined, firms.joined[employer]) if len(firms) else retail.joined
    return employer, np.maximum(since, met).astype(np.int32)


def _edges(relation: str, source: Array, target: Array, ours: Segment, theirs: Segment, since: Any) -> Edges:
    met = np.maximum(ours.joined[source], theirs.joined[target])
    return Edges(relation, source.astype(np.int32), target.astype(np.int32), np.maximum(met, since).astype(np.int32))


def _owners(retail: Segment, firms: Segment, rng: np.random.Generator) -> Edges:
    employees = firms.attributes["employees"]
    share = np.select([employees < 10, employees < 50], [OWNED_SHARE["micro"], OWNED_SHARE["small"]], 0.0)
    owned = np.flatnonzero((rng.random(len(firms)) < share) & (firms.kind == list(Kind).index(Kind.CORPORATE)))
    adults = np.flatnonzero((retail.attributes["age"] >= 25) & (retail.attributes["age"] < 70))
    if not len(adults):
        owned = owned[:0]
    owner = adults[rng.integers(0, max(1, len(adults)), len(owned))] if len(owned) else owned
    return _edges("owner", owned, owner, firms, retail, 0)


def _suppliers(firms: Segment, months: list[Month], rng: np.random.Generator) -> Edges:
    n = len(firms)
    size = int(rng.poisson(SUPPLIERS_A_FIRM * n)) if n > 1 else 0
    weight = np.cumsum(firms.attributes["employees"].astype(np.float64) ** 0.6)
    buyer = np.searchsorted(weight, rng.random(size) * (weight[-1] if n else 1.0), side="right")
    supplier = rng.integers(0, max(n, 1), size)
    pairs = np.unique(np.stack([buyer, supplier])[:, buyer != supplier], axis=1)
    since = rng.integers(months[0].first - 6 * 365, months[-1].first, pairs.shape[1])
    return _edges("supplier", pairs[0], pairs[1], firms, firms, since)


def _groups(firms: Segment, rng: np.random.Generator) -> Edges:
    """The largest of each group heads it."""
    grouped = np.flatnonzero(rng.random(len(firms)) < GROUPED_SHARE)
    group = rng.integers(0, max(1, len(grouped) // MEMBERS_A_GROUP), len(grouped))
    order = np.lexsort((-firms.attributes["employees"][grouped], group))
    member, group = grouped[order], group[order]
    starts = np.r_[True, group[1:] != group[:-1]] if len(group) else np.zeros(0, bool)
    head = member[np.maximum.accumulate(np.where(starts, np.arange(len(member)), 0))] if len(member) else member
    code = np.full(len(firms), NOBODY, np.int32)
    sizes = np.bincount(group, minlength=1) if len(group) else np.zeros(1, np.int64)
    code[member] = np.where(sizes[group] > 1, group, NOBODY) if len(member) else NOBODY
    firms.attributes["group"] = code
    follows = ~starts
    return _edges("group", member[follows], head[follows], firms, firms, 0)
