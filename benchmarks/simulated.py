"""How near the ranking comes to the truth at a simulated bank, where the probability of every opening is known.

A bank is simulated, `sheaf.training.pipeline` learns from month-ends whose horizons end by 2025-11-30 (it is handed the
bank as known on that day, so no later row exists for it), and the clients of 2025-11-30 are ranked. What they opened in
December is the label of this measurement and of nothing else. Compared on the same candidates of the same clients:

- truth: the probabilities that the simulation drew the openings with;
- sheaf: the trained model, products by adoption probability, bundles by the model's own order;
- stage one: the same without the order that its second stage learned, to see what that one adds;
- popularity, by segment (kind of client, tier, age band), logistic (one regression a product): `baselines`.

Whatever gives probabilities orders products by them, and bundles by the gain expected from them. NDCG@5 is the mean
over clients who opened something that counts; intervals are bootstrapped over clients, in pairs. `--without TABLE`
trains a second model that never saw the table, to see what it is worth. Calibration errors of the same clients are
told by line, kind of client and size of bundle.
"""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import typer
from rich.table import Table

from benchmarks.baselines import Baselines
from benchmarks.figures import Figure
from benchmarks.measure import bootstrap, console, report, simulated
from sheaf.catalog import DEFAULT, Catalog, Line, read_catalog
from sheaf.features import Bank, ProfileMatrix
from sheaf.training import Candidates, Model, Parameters, Slate, bundle_rows, evaluate, read_sample
from sheaf.training.metrics import Ranked, ndcg
from sheaf.training.pipeline import train
from sheaf.training.ranker.bundle_order import gain, opened_of
from sheaf.training.samples import Day, held_out

RANKED = dt.date(2025, 11, 30)  # the last day that the truth is told of
HORIZON = 30  # days: from a month-end what is opened in the next month, and never beyond `RANKED`
DECEMBER = 31  # days
AT = 5
TARGET = 0.95
CALIBRATION = 0.01  # at most, of every segment
LATELY = 2.0  # months
OURS = ("sheaf", "stage one")


@dataclass(frozen=True)
class Measured:
    """The day that is ranked: profiles in the model's columns, what may be offered, and what was opened."""

    candidates: Candidates
    profiles: ProfileMatrix
    slate: Slate
    opened: np.ndarray

    @classmethod
    def of(cls, day: Day, model: Model, sold: Catalog) -> Measured:
        candidates = model.candidates(sold)
        profiles = model.align(day.profiles, candidates)
        return cls(candidates, profiles, candidates.slate(profiles.values), day.opened)

    def by_probability(self, probability: np.ndarray) -> dict[str, np.ndarray]:
        """The order by probabilities (clients, products): scores of all candidate products and bundles."""
        products, reached = self.slate.products, np.where(self.slate.reached, probability, 0.0)
        rows = bundle_rows(self.candidates, self.profiles.values, self.slate, reached)
        return {"products": probability[products.client, products.item], "bundles": rows.column("expected_gain")}

    def by_model(self, model: Model, threads: int) -> dict[str, dict[str, np.ndarray]]:
        """The same as the model has it, and as its first stage alone would."""
        values, pairs = self.profiles.values, self.slate.pairs
        peers = self.candidates.peer_groups(values)
        probability = model.adoption.of_clients(self.candidates, values, self.slate, peers, threads)
        ranking = model.rank(self.candidates, values, peers, threads)
        score = np.empty((len(values), len(self.candidates.offers)))
        score[ranking.client, ranking.item] = ranking.score
        alone = self.by_probability(probability)
        return {"sheaf": alone | {"bundles": score[pairs.client, pairs.item]}, "stage one": alone}

    def pairs(self, what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Client, item and gain of all candidate products or bundles."""
        if what == "products":
            client, product = self.slate.products.client, self.slate.products.item
            return client, product, (self.opened[client, product] > 0).astype(float)
        client, item = self.slate.pairs.client, self.slate.pairs.item
        brings = ((~self.slate.held).astype(float) @ self.candidates.parts.T)[client, item]
        taken = opened_of(self.candidates, self.slate.pairs, self.opened, self.slate.held)
        return client, item, gain(taken, brings)

    def segments(self, what: str) -> dict[str, np.ndarray]:
        """Masks over these pairs: all, by line of the product or bundle, by kind of client, of who joined lately."""
        client, item, _ = self.pairs(what)
        sold = self.candidates.catalog.products if what == "products" else self.candidates.offers
        line = np.array([str(of.line) for of in sold])[item]
        kind = self.profiles.values[:, self.profiles.columns.index("kind")][client]
        masks = {"all": np.ones(len(client), dtype=bool)}
        masks |= {f"line: {name}": line == name for name in Line}
        masks |= {f"clients: {text}": kind == code for code, text in enumerate(self.profiles.categories["kind"])}
        tenure = self.profiles.values[:, self.profiles.columns.index("tenure_months")]
        return masks | {f"joined in {LATELY:g} months": tenure[client] < LATELY}


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=500)] = 100_000,
    months: Annotated[int, typer.Option(help="Month-ends to learn from, the last 2025-10-31.", min=1, max=12)] = 6,
    data: Annotated[Path | None, typer.Option(help="Where the bank lies, or is made and kept.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 0,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="A table to do without in a second model.")] = None,
) -> None:
    """NDCG@5 of sheaf's ranking as a share of that by the true probabilities, beside three baselines."""
    folder = simulated(clients, 24, seed, data)
    bank, sold = Bank.open(folder), read_catalog(DEFAULT)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    days = [month_end(10 - back) for back in range(months)]
    known = bank.known_on(RANKED)
    model = _train(known, sold, days, chosen)
    with console.status("Profiles and labels"):
        day = _day(bank, sold)
        measured = Measured.of(day, model, sold)
    methods = {"truth": measured.by_probability(truth(folder, measured))}
    methods |= measured.by_model(model, chosen.threads)
    with console.status("Baselines"):
        sample = read_sample(known, sold, days, HORIZON)
        seen = [day.where(~held_out(day.profiles.client_ids, chosen.holdout_share)) for day in sample.days]
        baselines = Baselines(seen, measured.candidates)
        for name in ("popularity", "by_segment", "logistic"):
            probability = getattr(baselines, name)()(measured.profiles)
            methods[name.replace("_", " ")] = measured.by_probability(probability)
    if without:
        lesser = Bank({name: known[name] for name in known if name not in without})
        blind = _train(lesser, sold, days, chosen)
        methods[f"without {', '.join(without)}"] = Measured.of(day, blind, sold).by_model(blind, chosen.threads)[
            "sheaf"
        ]
    figures = [figure for what in ("products", "bundles") for figure in _compare(what, methods, measured)]
    figures += _calibration(model, day, sold, chosen.threads)
    data_set = f"Simulated bank of {clients:,} clients, seed {seed}, {months} month-ends"
    report(
        f"Ranking as of {RANKED}, NDCG@{AT} of the {len(measured.opened):,} clients who opened something",
        data_set,
        figures,
    )


def month_end(month: int) -> dt.date:
    year, month = (RANKED.year, month) if month > 0 else (RANKED.year - 1, month + 12)
    return dt.date(year, month, calendar.monthrange(year, month)[1])


def _train(bank: Bank, sold: Catalog, days: Sequence[dt.date], parameters: Parameters) -> Model:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place), console.status("Training") as status:
        trained = train(bank, sold, days, HORIZON, None, parameters, lambda step: status.update(f"Training: {step}"))
    seconds = time.monotonic() - started
    console.print(f"Trained in {seconds:.0f} s as of {', '.join(map(str, sorted(days)))}.", highlight=False)
    return trained.model


def _day(bank: Bank, sold: Catalog) -> Day:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small bank may open nothing on the year's last day
        [day] = read_sample(bank, sold, [RANKED], DECEMBER).days
    return day


def _calibration(model: Model, day: Day, sold: Catalog, threads: int) -> list[Figure]:
    """Prints the calibration error of every segment; returns the worst of products and of bundles."""
    found = evaluate(model, day, sold, threads)
    table = Table(title="expected calibration error, all candidates")
    for name in ("", "products", "bundles"):
        table.add_column(name, justify="left" if not name else "right")
    products, bundles = (
        {
            name.partition(".")[2]: value
            for name, value in found.figures.items()
            if name.partition(".")[0] == stem and np.isfinite(value)
        }
        for stem in ("product_calibration_error", "calibration_error")
    )
    for segment in bundles | products:
        values = (f"{of[segment]:.4f}" if segment in of else "" for of in (products, bundles))
        table.add_row(segment.replace("_", " ") or "all", *values)
    console.print(table)
    figures = []
    for what, of_segment in (("products", products), ("bundles", bundles)):
        worst = max(of_segment, key=lambda segment: of_segment[segment])
        figures.append(Figure(f"{what}, calibration error", "the worst segment", worst, of_segment[worst], CALIBRATION))
    return figures


def truth(folder: Path, measured: Measured) -> np.ndarray:
    told = duckdb.read_parquet(str(folder / "truth" / "opening_probability.parquet"))
    rows = told.filter(f"as_of = date '{RANKED}'").df()
    row = {client: index for index, client in enumerate(measured.profiles.client_ids)}
    probability = np.full(measured.opened.shape, np.nan)
    positions = measured.candidates.positions
    probability[rows.client_id.map(row).to_numpy(), rows.product_id.map(positions).to_numpy()] = rows.probability
    untold = measured.slate.reached & np.isnan(probability)
    if untold.any():
        of = f"{untold.sum():,} of {measured.slate.reached.sum():,} candidate products"
        console.print(f"{of} have no true probability, which counts as 0.")
    return np.nan_to_num(probability)


def _compare(what: str, methods: dict[str, dict[str, np.ndarray]], measured: Measured) -> list[Figure]:
    """Prints NDCG@5 of every method, in total, by line and by kind; returns the figures of the total, and the worst
    line's or kind's against the truth."""
    client, item, worth = measured.pairs(what)
    table = Table(title=f"{what}, NDCG@{AT}")
    for name in ("", "clients", *methods, "sheaf / truth"):
        table.add_column(name, justify="left" if not name else "right")
    figures, by_segment = [], {}
    for segment, of in measured.segments(what).items():
        told = {
            name: ndcg(Ranked.of(client[of], scores[what][of], worth[of], item[of]), AT)
            for name, scores in methods.items()
        }
        if not len(told["truth"]):
            continue
        ratio, interval = _ratio(told["sheaf"], told["truth"])
        means = [f"{per_client.mean():.4f}" for per_client in told.values()]
        within = f"{ratio:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
        table.add_row(segment, f"{len(told['truth']):,}", *means, within, end_section=segment == "all")
        if ": " in segment:
            by_segment[segment] = (ratio, interval)
        if segment == "all":
            figures = [_figure(what, told, other) for other in methods if other not in OURS]
    console.print(table)
    worst = min(by_segment, key=lambda segment: by_segment[segment][0])
    return [
        *figures,
        Figure(what, f"worst: {worst}", "truth", by_segment[worst][0], TARGET, False, by_segment[worst][1]),
    ]


def _figure(what: str, told: dict[str, np.ndarray], other: str) -> Figure:
    ratio, interval = _ratio(told["sheaf"], told[other])
    target = TARGET if other == "truth" else 1.0
    ours, theirs = (f"{name} {told[name].mean():.4f}" for name in ("sheaf", other))
    return Figure(what, ours, theirs, ratio, target, False, interval)


def _ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, tuple[float, float]]:
    interval = bootstrap(lambda drawn: ours[drawn].mean() / theirs[drawn].mean(), len(ours))
    return float(ours.mean() / theirs.mean()), interval


if __name__ == "__main__":
    typer.run(main)
