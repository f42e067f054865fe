"""What prices and an order by value bring, beside prices set and bundles ordered by the true response; and how fast.

A simulated bank makes offers over two years, half of them at prices drawn by chance with logged propensity, half at a
manager's, who sees more than the tables tell. It is handed over as known on 2025-11-30: the champion is trained on it,
the response learned from it (`sheaf.training.price_response`). Every bundle that a client may be offered in
December is then priced, whoever would have to grant it. What a concession s brings is what the truth says:

    q(s)·(EVA at list price + change in what is held - (1 - tax)·s)

- best: s by the true response; sheaf: by the learned one; beside them the list price, a flat tenth off, the past
  policy (its chances and its managers), the policy's assumption, and a response learned from all offers as if their
  prices had been drawn by chance. Bundles that bring nothing even so are left out for all alike.
- by value: the three bundles of each client that sheaf puts first, at its prices, beside the three that the truth puts
  first, at the best prices.
- slope: what log-odds of acceptance the whole list price conceded would add, the mean over December's bundles.

Intervals are by bootstrap over clients, those of the slope by their robust errors. Speed: pairs are those of December;
the model's probabilities are ready, as in `sheaf rank`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import typer
from rich.table import Table
from scipy.special import expit

from benchmarks.figures import Figure
from benchmarks.measure import bootstrap, console, report, simulated, telling
from benchmarks.simulated import RANKED, month_end
from sheaf.catalog import DEFAULT, Catalog, read_catalog
from sheaf.features import Bank, ProfileMatrix, profile_matrices
from sheaf.pricing import AcceptanceModel, Clients, Offers, Pricer, Prices
from sheaf.simulation import offers as policy
from sheaf.training import Candidates, Model, Parameters, fit, read_sample
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.inputs import cells, inputs
from sheaf.training.price_response.learning import LearnedPriceResponse, between, choose_price_response
from sheaf.training.price_response.models import KINDS, ShareLogit, Trees
from sheaf.training.price_response.offer_history import OfferHistory, read_offer_history
from sheaf.training.ranker.model import ordered
from sheaf.training.value_order import Valuer

ANYBODY = "head_office"
OF_BEST, BY_VALUE, OFF = 0.95, 0.95, 0.10
AT_ONCE, MILLISECONDS = 60, 3.0
MANY, SECONDS, TIMES_BARE = 1_000_000, 60.0, 1.5
TOP = 3


@dataclass(frozen=True)
class True_:
    """The true response; its inputs are utility at list price and what a unit of money adds."""

    assumption: bool = False
    told: str = "the truth"

    def as_logit(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        assert offers.inputs is not None
        return offers.inputs[:, 0], offers.inputs[:, 1]

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        utility, slope = self.as_logit(offers)
        q: np.ndarray = expit(utility + slope * s)
        return q


@dataclass
class Timed:
    """A response that tells how long it was asked."""

    of: AcceptanceModel
    seconds: float = 0.0
    assumption: bool = False
    told: str = ""
    ways: dict[str, object] = field(default_factory=dict)

    def __getattr__(self, name: str) -> object:
        if name == "as_logit" and hasattr(self.of, name):
            return lambda offers: self._timed(lambda: self.of.as_logit(offers))  # type: ignore[attr-defined]
        if name == "levels":
            return getattr(self.of, name)
        raise AttributeError(name)

    def accepts(self, offers: Offers, s: np.ndarray) -> np.ndarray:
        return self._timed(lambda: self.of.accepts(offers, s))

    def _timed(self, asked: Callable[[], np.ndarray]) -> np.ndarray:
        started = time.perf_counter()
        answer = asked()
        self.seconds += time.perf_counter() - started
        return answer


@dataclass(frozen=True)
class December:
    """All pairs that may be offered, flat: what pricing takes of them, and how clients would truly answer."""

    candidates: Candidates
    values: np.ndarray
    clients: Clients
    client: np.ndarray
    item: np.ndarray
    probability: np.ndarray
    log_odds: np.ndarray
    inputs: np.ndarray
    truth: np.ndarray

    @classmethod
    def of(cls, folder: Path, bank: Bank, sold: Catalog, model: Model, threads: int) -> December:
        candidates = model.candidates(sold)
        profiles = model.align(ProfileMatrix.join(list(profile_matrices(bank, sold, RANKED))))
        values = profiles.values
        ranking = model.rank(candidates, values, candidates.peer_groups(values), threads)
        told = duckdb.read_parquet(str(folder / "truth" / "offer_response.parquet"))
        rows = told.filter(f"as_of = date '{RANKED}'").df()
        row = {client: at for at, client in enumerate(profiles.client_ids)}
        bundle = {offer.bundle_id: at for at, offer in enumerate(candidates.offers)}
        true = np.full((len(values) + 1, len(bundle), 2), np.nan)
        true[rows.client_id.map(row).fillna(-1).astype(int), rows.bundle_id.map(bundle)] = rows[["utility", "slope"]]
        true = true[:-1][ranking.client, ranking.item]
        known = np.isfinite(true).all(axis=1)
        client, item, probability, log_odds = (
            of[known] for of in (ranking.client, ranking.item, ranking.probability, ranking.log_odds)
        )
        held = candidates.held(values)
        book = Pricer(Valuer(candidates).book, ()).book
        given = inputs(candidates, values, held, client, item, log_odds)
        return cls(
            candidates, values, Clients(cells(book, candidates, values), held), client, item, probability,
            log_odds, given,
            true[known],
        )  # fmt: skip

    def pricer(self, response: AcceptanceModel | None) -> Pricer:
        return Pricer(Valuer(self.candidates).book, tuple(self.candidates.offers), response)

    def price(self, response: AcceptanceModel | None, given: np.ndarray | None) -> Prices:
        return self.pricer(response).price(self.clients, self.client, self.item, ANYBODY, given)

    def accepts(self, s: np.ndarray) -> np.ndarray:
        q: np.ndarray = expit(self.truth[:, 0] + self.truth[:, 1] * s)
        return q


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=2_000)] = 100_000,
    months: Annotated[int, typer.Option(help="Month-ends the champion learns from.", min=1, max=12)] = 12,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 2,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
) -> None:
    """Expected EVA by sheaf's prices and order, as a share of the best possible; slope; seconds."""
    folder = simulated(clients, 24, seed, offers=True)
    bank, sold = Bank.open(folder), read_catalog(DEFAULT)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    known = bank.known_on(RANKED)
    with telling("Pricing") as tell:
        tell(f"the champion learns from {months} month-ends")
        sample = read_sample(known, sold, [month_end(10 - back) for back in range(months)], progress=tell)
        model, _ = fit(sample, sold, chosen, {"horizon_days": sample.horizon_days}, progress=tell)
        made = read_offer_history(bank, sold, RANKED, chosen, tell)
        tell("price responses, with propensities and without")
        found, naive = (choose_price_response(made, sold, how, {}) for how in (True, False))
        tell("December's bundles, priced")
        december = December.of(folder, known, sold, model, chosen.threads)
    console.print(f"{found.response.told}; of all, without propensities: {len(naive.offers.share):,}.", highlight=False)
    losses = (" ".join(f"{name} {loss:.4f}" for name, loss in of.losses.items()) for of in (found, naive))
    console.print("Log loss: {}; without propensities: {}.".format(*losses), highlight=False)
    with telling("Figures") as tell:
        tell("what prices bring, with intervals")
        figures = [*_prices(december, found, naive), *_by_value(december, found)]
        figures += [_slope("slope", december, found), _slope("slope, propensities ignored", december, naive)]
        tell(f"speed, {MANY:,} quotes")
        figures += _speed(december, found)
    data = f"Simulated bank of {clients:,} clients with offers, seed {seed}, {months} month-ends"
    report("Prices for December 2025", data, figures)


def _prices(december: December, found: LearnedPriceResponse, naive: LearnedPriceResponse) -> list[Figure]:
    best = december.price(True_(), december.truth)
    value = best.eva + best.change
    worth_it = value > 0
    keep = 1 - december.pricer(None).book.pricing.tax
    most = np.minimum(best.room, best.affordable)
    learned = {"sheaf": found.response, "propensities ignored": naive.response}
    ways = {"best": best.concession}
    ways |= {name: december.price(of, december.inputs).concession for name, of in learned.items()}
    ways["the policy's assumption"] = december.price(None, None).concession
    ways["list price"] = np.zeros(len(value))
    ways[f"{OFF:.0%} off"] = np.minimum(OFF * best.list_price, most)
    expected = {name: december.accepts(s) * (value - keep * s) for name, s in ways.items()}
    expected["past policy"] = _past_policy(december, best, value, keep)
    of_client = {
        name: np.bincount(december.client[worth_it], of[worth_it], len(december.values))
        for name, of in expected.items()
    }
    table = Table(title=f"{worth_it.sum():,} bundles that bring something")
    for name in ("prices", "share of the best EVA", "mean concession, share of list price"):
        table.add_column(name, justify="right" if name != "prices" else "left")
    figures = []
    for name, brought in of_client.items():
        share, interval = _share(brought, of_client["best"])
        conceded = ways.get(name)
        given = "" if conceded is None else f"{(conceded / best.list_price)[worth_it].mean():.3f}"
        table.add_row(name, f"{share:.4f} ({interval[0]:.4f} to {interval[1]:.4f})", given)
        if name == "sheaf":
            figures.append(Figure("expected EVA", "learned prices", "the best prices", share, OF_BEST, False, interval))
        elif name != "best":
            ratio, between = _share(of_client["sheaf"], brought)
            figures.append(Figure("expected EVA", "learned prices", name, ratio, 1.0, False, between))
    console.print(table)
    return figures


def _past_policy(december: December, best: Prices, value: np.ndarray, keep: float) -> np.ndarray:
    """Expected over what it draws: a level by its chances, or a manager's judgement."""
    many = december.clients.held.sum(axis=1)[december.client] >= policy.MANY_PRODUCTS
    steps = np.arange(len(policy.LEVELS)) - (len(policy.LEVELS) - 1) / 2
    chances = np.exp(np.where(many[:, None], policy.TILT, -policy.TILT) * steps)
    chances /= chances.sum(axis=1, keepdims=True)

    def brings(share: np.ndarray) -> np.ndarray:
        s = share * best.list_price
        return december.accepts(s) * (value - keep * s)

    by_chance = sum(chances[:, at] * brings(np.full(len(value), level)) for at, level in enumerate(policy.LEVELS))
    rng = np.random.default_rng(0)
    judged = policy.MANAGER_BASE + policy.MANAGER_SEES * (december.truth[:, 0] - policy.AT_LIST)
    judged = judged + policy.MANAGER_SPREAD * rng.standard_normal(len(value))
    by_manager = brings(np.clip(judged, 0.0, policy.LEVELS[-1]))
    return policy.BY_CHANCE * by_chance + (1 - policy.BY_CHANCE) * by_manager


def _by_value(december: December, found: LearnedPriceResponse) -> list[Figure]:
    """What the first three of each client bring in truth."""
    valuer = Valuer(december.candidates, ANYBODY, PriceResponse(found.response, {}))
    held = december.clients.held
    worth = valuer(december.values, held, december.client, december.item, december.probability, december.log_odds)
    best = december.price(True_(), december.truth)
    keep = 1 - valuer.book.pricing.tax
    value = best.eva + best.change
    oracle = np.where(worth.sold, december.accepts(best.concession) * (value - keep * best.concession), -np.inf)
    ours = np.where(worth.sold, december.accepts(worth.concession) * (value - keep * worth.concession), -np.inf)

    def first(score: np.ndarray, brought: np.ndarray) -> np.ndarray:
        order, ranking = ordered(december.client, december.item, score, december.probability, december.log_odds)
        kept = (ranking.rank <= TOP) & np.isfinite(brought[order]) & (score[order] > 0)
        return np.bincount(ranking.client[kept], brought[order][kept], len(december.values))

    top = first(oracle, oracle)
    told = {
        "by value": first(worth.value, ours),
        "by relevance": first(np.where(worth.sold, december.probability, 0), ours),
    }
    figures = []
    for name, brought in told.items():
        share, interval = _share(brought, top)
        target = BY_VALUE if name == "by value" else None
        figures.append(Figure(f"EVA of the first {TOP}", name, "true values", share, target, False, interval))
    return figures


def _slope(what: str, december: December, found: LearnedPriceResponse) -> Figure:
    price = december.price(None, None).list_price
    true = float((december.truth[:, 1] * price).mean())
    mix = december.inputs[:, : len(KINDS)].mean(axis=0)
    told, (low, high) = between(found.offers, found.logit, mix)
    kinds = ", ".join(f"{kind} {slope:.2f}" for kind, slope in zip(KINDS, found.logit.slopes, strict=True))
    console.print(f"{what}: {kinds}; in truth {_true_by_kind(december, price)}", highlight=False)
    return Figure(what, f"told {told:.2f}", f"true {true:.2f}", told / true, None, False, (low / true, high / true))


def _true_by_kind(december: December, price: np.ndarray) -> str:
    steep = december.truth[:, 1] * price
    return ", ".join(
        f"{kind} {steep[december.inputs[:, at] > 0].mean():.2f}"
        for at, kind in enumerate(KINDS)
        if (december.inputs[:, at] > 0).any()
    )


def _share(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, tuple[float, float]]:
    interval = bootstrap(lambda drawn: ours[drawn].sum() / theirs[drawn].sum(), len(ours), 400)
    return float(ours.sum() / theirs.sum()), interval


def _speed(december: December, found: LearnedPriceResponse) -> list[Figure]:
    made: OfferHistory = found.offers
    part = np.arange(len(made.share)) % 3
    responses: dict[str, ShareLogit | Trees] = {
        "logit": found.logit,
        "trees": Trees.fit(made.x, made.share, made.accepted, made.weight, part),
    }
    figures = []
    rows = np.resize(np.arange(len(december.client)), MANY)
    rows.sort()
    for name, response in responses.items():
        figures.append(_at_once(name, december, response))
        timed = Timed(response)
        pricer = december.pricer(timed)
        pricer.price(december.clients, december.client[:1], december.item[:1], ANYBODY, december.inputs[:1])
        timed.seconds = 0.0
        started = time.perf_counter()
        pricer.price(december.clients, december.client[rows], december.item[rows], ANYBODY, december.inputs[rows])
        seconds = time.perf_counter() - started
        figures += [
            Figure(f"a million quotes, {name}", f"{seconds:.1f} s", f"{SECONDS:g} s", seconds / SECONDS, 1.0),
            Figure("the same", f"{seconds:.1f} s", f"its calls of the response {timed.seconds:.1f} s",
                   seconds / timed.seconds, TIMES_BARE if name == "trees" else None),
        ]  # fmt: skip
    return figures


def _at_once(name: str, december: December, response: ShareLogit | Trees) -> Figure:
    """The median over clients of the time that their quotes take, from encoded profile and probabilities."""
    pricer, took = december.pricer(response), []
    candidates = december.candidates
    item = np.resize(np.arange(len(candidates.offers)), AT_ONCE)
    client, log_odds = np.zeros(AT_ONCE, dtype=int), np.full(AT_ONCE, -4.0)
    for row in range(200):
        values, held = december.values[row : row + 1], december.clients.held[row : row + 1]
        started = time.perf_counter()
        given = inputs(candidates, values, held, client, item, log_odds)
        pricer.price(Clients(december.clients.cell[row : row + 1], held), client, item, None, given)
        took.append(1000 * (time.perf_counter() - started))
    median = float(np.median(took))
    return Figure(f"{AT_ONCE} bundles of a client, {name}", f"{median:.2f} ms", f"{MILLISECONDS:g} ms",
                  median / MILLISECONDS, 1.0)  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
