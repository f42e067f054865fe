"""How good a model is on clients it never saw: figures in total, by line and by kind of client, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sheaf.catalog import Catalog, Line
from sheaf.training import metrics
from sheaf.training.candidates.population import KIND
from sheaf.training.metrics import Ranked, bootstrap_interval, calibration_error, reliability
from sheaf.training.ranker.bundle_order import bundle_rows, gain, opened_of
from sheaf.training.ranker.model import Model
from sheaf.training.samples import Day

NDCG_AT, MAP_AT, RECALL_AT = 5, 7, 5
DECIDING = f"ndcg_at_{NDCG_AT}"  # the figure by which a challenger beats a champion


@dataclass(frozen=True)
class Evaluation:
    """`figures` by name (`ndcg_at_5`, `product_map_at_7`, `ndcg_at_5.retail`, …); NaN where nobody opened anything.

    `per_client` holds, of every figure that is a mean over clients, the value of each client who opened something,
    in order of the client; `calibration` (bins, 3) reliability tables of `bundles`, `products`, `products.retail`, …;
    `openers` are the ids of the clients of `deciding`; `clients` counts those evaluated.
    """

    figures: dict[str, float]
    per_client: dict[str, np.ndarray]
    calibration: dict[str, np.ndarray] = field(default_factory=dict)
    clients: int = 0
    openers: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))

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

    Bundles: NDCG@5 with the graded gain of `sheaf.training.ranker.bundle_order.gain`; MAP@7, recall@5 and coverage of
    whole bundles. Products, whose figures begin with `product_`: MAP@7, NDCG@5, recall@5, coverage. Calibration errors
    are over all candidate pairs, for bundles of the probability of the whole. Each also by line, `.retail`, with the
    order within the line, and by kind of client, `.kind_retail`; those of bundles by how many products they have,
    `.size_2`.
    """
    candidates = model.candidates(catalog)
    aligned = model.align(day.profiles, candidates)
    peers = candidates.peer_groups(aligned.values)
    slate = candidates.slate(aligned.values)
    probability, share = model.adoption.estimates(candidates, aligned.values, slate, peers, threads)
    rows = bundle_rows(candidates, aligned.values, slate, probability, share)
    kind = aligned.values[:, aligned.columns.index(KIND)]
    kinds = {code: name for code, name in enumerate(aligned.categories.get(KIND, [])) if (kind == code).any()}

    client, item = rows.pairs.client, rows.pairs.item
    opened, brings = opened_of(candidates, rows.pairs, day.opened, slate.held), rows.column("brings")
    score, chance = model.order.score(rows, threads), model.completion(rows)
    worth, whole = gain(opened, brings), (opened >= brings).astype(float)
    openers = day.profiles.client_ids[np.unique(client[worth > 0])]
    found = Evaluation({}, {}, {}, len(day.opened), openers)
    lines = np.array([offer.line for offer in candidates.offers])
    segments = _segments(lines[item], kind[client], kinds)
    sizes = candidates.size[item].astype(int)
    segments |= {f".size_{size}": sizes == size for size in np.unique(sizes)}
    for suffix, of in segments.items():
        _calibrated(found, "bundles", suffix, "calibration_error", chance[of], whole[of])
        graded = Ranked.of(client[of], score[of], worth[of], item[of])
        exact = Ranked.of(client[of], score[of], whole[of], item[of])
        _tell(found, f"ndcg_at_{NDCG_AT}{suffix}", metrics.ndcg(graded, NDCG_AT))
        _tell(found, f"map_at_{MAP_AT}{suffix}", metrics.average_precision(exact, MAP_AT))
        _tell(found, f"recall_at_{RECALL_AT}{suffix}", metrics.recall(exact, RECALL_AT))
        offered = len(candidates.offers) if not suffix else len(np.unique(item[of]))
        found.figures[f"coverage_at_{NDCG_AT}{suffix}"] = metrics.coverage(graded, NDCG_AT, offered)

    client, item = slate.products.client, slate.products.item
    chance, adopted = probability[client, item], day.opened[client, item].astype(float)
    lines = np.array([product.line for product in candidates.catalog.products])
    for suffix, of in _segments(lines[item], kind[client], kinds).items():
        _calibrated(found, "products", suffix, "product_calibration_error", chance[of], adopted[of])
        ranked = Ranked.of(client[of], chance[of], adopted[of], item[of])
        _tell(found, f"product_map_at_{MAP_AT}{suffix}", metrics.average_precision(ranked, MAP_AT))
        _tell(found, f"product_ndcg_at_{NDCG_AT}{suffix}", metrics.ndcg(ranked, NDCG_AT))
        _tell(found, f"product_recall_at_{RECALL_AT}{suffix}", metrics.recall(ranked, RECALL_AT))
        offered = len(np.unique(item[of]))
        found.figures[f"product_coverage_at_{NDCG_AT}{suffix}"] = metrics.coverage(ranked, NDCG_AT, offered)
    return found


def _segments(line: np.ndarray, kind: np.ndarray, kinds: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Masks over pairs: all of them, by line where there are any, by kind of client."""
    masks = {"": np.ones(len(line), dtype=bool)}
    masks |= {f".{of}": line == of for of in Line if (line == of).any()}
    return masks | {f".kind_{name}": kind == code for code, name in kinds.items()}


def _calibrated(found: Evaluation, what: str, suffix: str, name: str, chance: np.ndarray, happened: np.ndarray) -> None:
    found.calibration[what + suffix] = reliability(chance, happened)
    found.figures[name + suffix] = calibration_error(chance, happened)


def _tell(found: Evaluation, name: str, values: np.ndarray) -> None:
    found.figures[name] = float(values.mean()) if len(values) else float("nan")
    found.per_client[name] = values
