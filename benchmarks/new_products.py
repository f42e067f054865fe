"""How well a product or bundle that was added to the catalog yesterday is ranked, by its attributes alone.

The products of the default catalog are dealt into parts. For each part a model is trained by `sheaf.training.pipeline`
at a bank that does not have the part's products yet: they are not in its catalog, and nobody holds them. Then they are
added to the catalog, and the clients of 2025-11-30 of that same bank are ranked, products with which the model was
trained and new ones alike. What they opened in December is the label. Beside it stand the model that was trained with
all products, the new product's own popularity (which ranks no client before another: 0.5), and the truth.

- AUC: of the clients who may be offered a product, the chance that one who opens it is placed before one who does not;
  the mean over products with at least ten openings, its interval by bootstrap over products;
- NDCG@5 of all products, new and known together, over clients who opened something;
- bundles: the same for NDCG@5 of bundles by the model's order, all of whose products are known, where a part of the
  declared bundles was left out of training.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import narwhals as nw
import numpy as np
import typer
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.figures import Figure
from benchmarks.measure import bootstrap, console, report, simulated
from benchmarks.simulated import DECEMBER, HORIZON, RANKED, Measured, month_end, truth
from sheaf.catalog import DEFAULT, Bundle, Catalog, read_catalog
from sheaf.features import Bank, C, day_number
from sheaf.training import Model, Parameters, evaluate, read_sample
from sheaf.training.metrics import Ranked, ndcg
from sheaf.training.pipeline import train
from sheaf.training.samples import Day

AT = 5
LEAST = 10  # openings of a product in the month that is measured
KEPT = 0.8  # of what the model trained with the product has above 0.5
BUNDLES = 0.98


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=2_000)] = 10_000,
    months: Annotated[int, typer.Option(help="Month-ends to learn from, the last 2025-10-31.", min=1, max=12)] = 4,
    data: Annotated[Path | None, typer.Option(help="Where the bank lies, or is made and kept.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 1,
    parts: Annotated[int, typer.Option(help="Into how many parts the products are dealt.", min=2)] = 3,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
) -> None:
    """AUC of products that the model was trained without, beside the model trained with them."""
    folder = simulated(clients, 24, seed, data)
    bank, sold = Bank.open(folder), read_catalog(DEFAULT)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    days = [month_end(10 - back) for back in range(months)]
    whole = _Ranked.by(bank, bank, sold, sold, days, chosen, "all products")
    true = truth(folder, whole.measured)
    knowing, told = whole.auc(whole.probability), whole.auc(true)
    unknown: dict[str, float] = {}
    order: dict[str, list[np.ndarray]] = {"new": [], "known": [], "popularity": []}
    for part in range(parts):
        new = {product.product_id for product in sold.products[part::parts]}
        ranked = _Ranked.by(bank, _without(bank, new), sold, _lesser(sold, new), days, chosen, f"part {part + 1}")
        unknown |= {product: value for product, value in ranked.auc(ranked.probability).items() if product in new}
        order["new"].append(ranked.products(ranked.probability))
        order["known"].append(whole.products(whole.probability))
        order["popularity"].append(whole.products(_without_order(whole.probability, sold, new)))
    _print(sold, knowing, unknown, told)
    names = sorted(unknown)
    ours, theirs, best = (np.array([of[name] for name in names]) for of in (unknown, knowing, told))
    kept = float((ours.mean() - 0.5) / (theirs.mean() - 0.5))
    between = bootstrap(lambda d: (ours[d].mean() - 0.5) / (theirs[d].mean() - 0.5), len(ours))
    above = bootstrap(lambda d: ours[d].mean() / 0.5, len(ours))
    joined = {name: np.concatenate(of) for name, of in order.items()}
    figures = [
        Figure("AUC", f"new {ours.mean():.3f}", "chance 0.5", float(ours.mean() / 0.5), 1.0, False, above),
        Figure("AUC above 0.5", f"new {ours.mean():.3f}", f"known {theirs.mean():.3f}", kept, KEPT, False, between),
        Figure("AUC above 0.5", f"known {theirs.mean():.3f}", f"truth {best.mean():.3f}",
               float((theirs.mean() - 0.5) / (best.mean() - 0.5))),
    ]  # fmt: skip
    for other in ("known", "popularity"):
        ratio = bootstrap(lambda d, other=other: joined["new"][d].mean() / joined[other][d].mean(), len(joined["new"]))  # type: ignore[misc]
        figures.append(
            Figure(f"NDCG@{AT}, all products", f"new {joined['new'].mean():.4f}", f"{other} {joined[other].mean():.4f}",
                   float(joined["new"].mean() / joined[other].mean()), None, False, ratio)
        )  # fmt: skip
    figures.append(_bundles(whole, bank, days, chosen))
    data_set = f"Simulated bank of {clients:,} clients, seed {seed}, {months} month-ends"
    report(f"Products and bundles that training did not see, as of {RANKED}, {parts} parts", data_set, figures)


class _Ranked:
    """A model of a bank, and what it says of the clients of the measured day."""

    def __init__(self, model: Model, day: Day, sold: Catalog, threads: int):
        self.model, self.day, self.sold = model, day, sold
        self.measured = Measured.of(day, model, sold)
        values = self.measured.profiles.values
        peers = self.measured.candidates.peer_groups(values)
        self.probability = model.adoption.of_clients(
            self.measured.candidates, values, self.measured.slate, peers, threads
        )

    @classmethod
    def by(
        cls, bank: Bank, had: Bank, sold: Catalog, taught: Catalog, days: Any, parameters: Parameters, what: str
    ) -> _Ranked:
        """Trained at the bank as it `had` been with the catalog `taught`, ranking with all that is `sold`."""
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place), console.status(what) as status:
            model = train(
                had.known_on(RANKED), taught, days, HORIZON, None, parameters,
                lambda step: status.update(f"{what}: {step}"),
            ).model  # fmt: skip
            status.update(f"{what}: the day that is measured")
            [of] = read_sample(had if had is bank else _with_labels(had, bank), sold, [RANKED], DECEMBER).days
        return cls(model, of, sold, parameters.threads)

    def auc(self, probability: np.ndarray) -> dict[str, float]:
        """By product, among the clients who may be offered it; where enough opened it."""
        slate, opened = self.measured.slate, self.day.opened
        told = {}
        for at, product in enumerate(self.sold.products):
            may = slate.reached[:, at]
            if opened[may, at].sum() >= LEAST:
                told[product.product_id] = float(roc_auc_score(opened[may, at], probability[may, at]))
        return told

    def products(self, probability: np.ndarray) -> np.ndarray:
        client, item, worth = self.measured.pairs("products")
        return ndcg(Ranked.of(client, probability[client, item], worth, item), AT)


def _without(bank: Bank, new: Collection[str]) -> Bank:
    """The bank before it had these products: no row of theirs, nor of an offer of them, in any table."""
    gone = nw.col(C.PRODUCT).is_in(sorted(new))
    of = {name: frame.collect_schema().names() for name, frame in bank.items()}
    return Bank({name: frame.filter(~gone) if C.PRODUCT in of[name] else frame for name, frame in bank.items()})


def _with_labels(had: Bank, bank: Bank) -> Bank:
    """The same bank up to the day that is measured, and what was opened after it: the new products too."""
    after = nw.col(C.OPENED_ON) > day_number(RANKED)
    holdings = nw.concat([had["holdings"].filter(~after), bank["holdings"].filter(after)])
    return Bank({**had, "holdings": holdings})


def _lesser(sold: Catalog, new: Collection[str], bundles: Sequence[Bundle] | None = None) -> Catalog:
    """The catalog before it had these products, and so before it had any bundle with one of them."""
    return Catalog(
        name=sold.name,
        currency=sold.currency,
        products=tuple(product for product in sold.products if product.product_id not in new),
        bundles=tuple(bundle for bundle in bundles or sold.bundles if not set(bundle.products) & set(new)),
        policy=sold.policy,
    )


def _without_order(probability: np.ndarray, sold: Catalog, new: Collection[str]) -> np.ndarray:
    """What could be done without a model of the new products: the same mean for every client."""
    flat = probability.copy()
    for at, product in enumerate(sold.products):
        if product.product_id in new:
            some = flat[:, at] > 0
            flat[some, at] = flat[some, at].mean() if some.any() else 0.0
    return flat


def _bundles(whole: _Ranked, bank: Bank, days: Any, parameters: Parameters) -> Figure:
    """NDCG@5 of bundles by a model that was trained without every other declared bundle, and with all of them."""
    sold = whole.sold
    less = _Ranked.by(bank, bank, sold, _lesser(sold, (), sold.bundles[::2]), days, parameters, "half of the bundles")
    ours, theirs = (evaluate(of.model, of.day, sold, parameters.threads).deciding for of in (less, whole))
    interval = bootstrap(lambda drawn: ours[drawn].mean() / theirs[drawn].mean(), len(ours))
    names = f"half new {ours.mean():.4f}", f"all known {theirs.mean():.4f}"
    return Figure(f"NDCG@{AT}, bundles", *names, float(ours.mean() / theirs.mean()), BUNDLES, False, interval)


def _print(sold: Catalog, known: dict[str, float], new: dict[str, float], true: dict[str, float]) -> None:
    table = Table(title=f"AUC by product, of those with at least {LEAST} openings")
    for name in ("product", "line", "new", "known", "truth"):
        table.add_column(name, justify="right" if name in ("new", "known", "truth") else "left")
    for product in sold.products:
        name = product.product_id
        if name in new:
            table.add_row(name, str(product.line), *(f"{of[name]:.3f}" for of in (new, known, true)))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
