"""How good a model is on clients it never saw: figures in total, by line and by kind of client, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from catalog import Catalog, Line
from training import metrics
from training.candidates import Candidates
from training.metrics import Ranked, bootstrap_interval, calibration_error, reliability
from training.model import Model
from training.population import KIND
from training.ranking import bundle_rows, gain, opened_of
from training.sample import Day

NDCG_AT, MAP_AT, RECALL_AT = 5, 7, 5
DECIDING = f"ndcg_at_{NDCG_AT}"  # the figure by which a challenger beats a champion


@dataclass(frozen=True)
class Evaluation:
    """`figures` by name (`ndcg_at_5`, `product_map_at_7`, `ndcg_at_5.retail`, …); NaN where nobody opened anything.

    `per_client` holds, of every figure that is a mean over clients, the value of each client who opened something,
    in order of the client; `calibration` (bins, 3) reliability tables by name; `clients` counts those evaluated.
    """

    figures: dict[str, float]
    per_client: dict[str, np.ndarray]
    calibration: dict[str, np.ndarray] = field(default_factory=dict)
    clients: int = 0

    @property
    def deciding(self) -> np.ndarray:
        """NDCG@5 of every client who opened something, in order of the client."""
        return self.per_client[DECIDING]

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % bootstrap intervals over clients, of every figure that is a mean over clients."""
        return {name: bootstrap_interval(values) for name, values in self.per_client.items()}


def evaluate(model: Model, day: Day, catalog: Catalog, threads: int = 2) -> Evaluation:
    """The model's figures on the clients of a day, against what they opened of this catalog within the horizon.

    Bundles: NDCG@5 with the graded gain of `training.ranking.gain`; MAP@7, recall@5 and coverage of whole bundles.
    Products: MAP@7, NDCG@5, recall@5, coverage, each also by line (order within the line). Calibration errors are
    over all candidate pairs.
    """
    aligned = model.align(day.profiles)
    candidates = model.candidates(catalog)
    peers = candidates.peer_groups(aligned.values)
    slate = candidates.slate(aligned.values)
    probability = model.adoption.of_clients(candidates, aligned.values, slate, peers, threads)
    rows = bundle_rows(candidates, aligned.values, slate, probability)
    opened = opened_of(candidates, rows.pairs, day.opened, slate.held)
    brings = rows.column("brings")
    score, whole_probability = model.order.score(rows, threads), model.completion(rows)
    client, item = rows.pairs.client, rows.pairs.item
    whole = (opened >= brings).astype(float)
    graded = Ranked.of(client, score, gain(opened, brings), item)
    exact = Ranked.of(client, score, whole, item)
    figures: dict[str, float] = {}
    per_client: dict[str, np.ndarray] = {}
    _tell(figures, per_client, DECIDING, metrics.ndcg(graded, NDCG_AT))
    _tell(figures, per_client, f"map_at_{MAP_AT}", metrics.average_precision(exact, MAP_AT))
    _tell(figures, per_client, f"recall_at_{RECALL_AT}", metrics.recall(exact, RECALL_AT))
    figures[f"coverage_at_{NDCG_AT}"] = metrics.coverage(graded, NDCG_AT, len(candidates.offers))
    tables = {"bundles": reliability(whole_probability, whole)}
    figures["calibration_error"] = calibration_error(whole_probability, whole)

    pair_client, product = slate.products.client, slate.products.item
    chance, adopted = probability[pair_client, product], day.opened[pair_client, product].astype(float)
    tables["products"] = reliability(chance, adopted)
    figures["product_calibration_error"] = calibration_error(chance, adopted)
    _products(figures, per_client, "", candidates, pair_client, product, chance, adopted)
    lines = np.array([of.line for of in candidates.catalog.products])
    for line in Line:
        of_line = lines[product] == line
        if of_line.any():
            figures[f"product_calibration_error.{line}"] = calibration_error(chance[of_line], adopted[of_line])
            _products(
                figures, per_client, f".{line}", candidates,
                pair_client[of_line], product[of_line], chance[of_line], adopted[of_line],
            )  # fmt: skip
    codes = aligned.values[:, list(aligned.columns).index(KIND)]
    for code, kind in enumerate(aligned.categories.get(KIND, [])):
        of_kind = codes == code
        if not of_kind.any():
            continue
        mine = of_kind[client]
        ranked = Ranked.of(client[mine], score[mine], gain(opened, brings)[mine], item[mine])
        _tell(figures, per_client, f"{DECIDING}.kind_{kind}", metrics.ndcg(ranked, NDCG_AT))
        mine = of_kind[pair_client]
        figures[f"product_calibration_error.kind_{kind}"] = calibration_error(chance[mine], adopted[mine])
        _products(
            figures, per_client, f".kind_{kind}", candidates,
            pair_client[mine], product[mine], chance[mine], adopted[mine],
        )  # fmt: skip
    return Evaluation(figures, per_client, tables, len(day.opened))


def _products(
    figures: dict[str, float],
    per_client: dict[str, np.ndarray],
    suffix: str,
    candidates: Candidates,
    client: np.ndarray,
    product: np.ndarray,
    chance: np.ndarray,
    opened: np.ndarray,
) -> None:
    ranked = Ranked.of(client, chance, opened, product)
    _tell(figures, per_client, f"product_map_at_{MAP_AT}{suffix}", metrics.average_precision(ranked, MAP_AT))
    _tell(figures, per_client, f"product_ndcg_at_{NDCG_AT}{suffix}", metrics.ndcg(ranked, NDCG_AT))
    _tell(figures, per_client, f"product_recall_at_{RECALL_AT}{suffix}", metrics.recall(ranked, RECALL_AT))
    offered = len(np.unique(product))
    figures[f"product_coverage_at_{NDCG_AT}{suffix}"] = (
        metrics.coverage(ranked, NDCG_AT, offered) if offered else float("nan")
    )


def _tell(figures: dict[str, float], per_client: dict[str, np.ndarray], name: str, values: np.ndarray) -> None:
    figures[name] = float(values.mean()) if len(values) else float("nan")
    per_client[name] = values
