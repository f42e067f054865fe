"""Pictures of a training run: is the probability true, what carries the model, where is it good."""

from __future__ import annotations

import numpy as np

from sheaf._extras import needs_extra
from sheaf.catalog import Kind, Line
from sheaf.training.evaluation import MAP_AT, Evaluation
from sheaf.training.price_response.learning import LearnedPriceResponse
from sheaf.training.price_response.models import KINDS
from sheaf.training.ranker.model import Model

with needs_extra("train"):
    from matplotlib.figure import Figure


def calibration(evaluation: Evaluation) -> Figure:
    """Share that happened against the probability given, a point for each bin, on logarithmic axes.

    A panel each for products and bundles by line and by kind of client, and for bundles by size.
    """
    panels = [("products", "."), ("products", ".kind_"), ("bundles", "."), ("bundles", ".kind_"), ("bundles", ".size_")]
    tables = evaluation.calibration
    low = min([1e-3, *(table[table[:, 0] > 0, 0].min(initial=1.0) for table in tables.values())])
    figure = Figure(figsize=(15, 9), layout="constrained")
    for index, (what, by) in enumerate(panels):
        axes = figure.add_subplot(2, 3, index + 1 + (index > 1))
        for name, table in tables.items():
            of, _, segment = name.partition(".")
            if of != what or (segment and not _of(segment, by)):
                continue
            shown = table[(table[:, 0] > 0) & (table[:, 1] > 0)]
            label = segment.replace("_", " ") or "all"
            axes.plot(shown[:, 0], shown[:, 1], marker="o", markersize=4, label=label)
        axes.plot([low, 1], [low, 1], color="grey", linestyle=":", label="true")
        axes.set(xscale="log", yscale="log", xlabel="probability given", ylabel="share opened", title=what)
        axes.legend()
    return figure


def _of(segment: str, by: str) -> bool:
    return f".{segment}".startswith(by) if by != "." else segment in list(Line)


def gain(model: Model, most: int = 25) -> Figure:
    """Total gain of the adoption model's splits by column, the largest first."""
    gains = model.adoption.booster.feature_importance("gain")
    order = np.argsort(-gains, kind="stable")[:most][::-1]
    names = model.encoding.product_columns
    figure = Figure(figsize=(7, 0.28 * len(order) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh([names[index] for index in order], gains[order])
    axes.set(xlabel="gain", title="What the adoption model looks at")
    return figure


def by_segment(evaluation: Evaluation) -> Figure:
    """MAP@7 of products by line and by kind of client, with intervals."""
    stem = f"product_map_at_{MAP_AT}"
    names = ["", *(f".{line}" for line in Line), *(f".kind_{kind}" for kind in Kind)]
    names = [name for name in names if np.isfinite(evaluation.figures.get(stem + name, np.nan))]
    values = np.array([evaluation.figures[stem + name] for name in names])
    bounds = np.array([evaluation.intervals[stem + name] for name in names]).reshape(-1, 2)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    errors = np.abs(bounds.T - values)
    axes.bar([name.lstrip(".").replace("kind_", "kind ") or "all" for name in names], values, yerr=errors, capsize=3)
    axes.tick_params(axis="x", rotation=30)
    axes.set(ylabel=f"MAP@{MAP_AT}", title="Order of products, by line and kind of client")
    return figure


def reliability(table: np.ndarray, happened: str) -> Figure:
    """Share that happened against the probability given, a point for each bin of `metrics.reliability`."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    shown = table[(table[:, 0] > 0) & (table[:, 1] > 0)]
    low = min(1e-3, shown[:, :2].min(initial=1.0))
    axes.plot([low, 1], [low, 1], color="grey", linestyle=":", label="true")
    axes.plot(shown[:, 0], shown[:, 1], marker="o")
    axes.set(xscale="log", yscale="log", xlabel="probability given", ylabel=f"share that {happened}")
    return figure


def price_response(found: LearnedPriceResponse, steps: int = 7) -> Figure:
    """Share that accepted against the share of the list price conceded, a panel for each kind of client.

    Points are offers of the past, weighed as in training, with two standard errors; the lines are what the logit and
    the response that answers tell of the same offers.
    """
    made = found.offers
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    edges = np.linspace(0.0, max(made.share.max(), 1e-6), steps + 1)
    step = np.clip(np.searchsorted(edges, made.share, side="right") - 1, 0, steps - 1)
    lines = {"logit": found.logit} | ({} if found.response is found.logit else {"answers": found.response})
    told = {name: of.accepts(made.offers, made.share * made.list_price) for name, of in lines.items()}
    for place, (kind, axes) in enumerate(zip(KINDS, np.atleast_1d(figure.subplots(1, len(KINDS))), strict=True)):
        rows = []
        for number in range(steps):
            at = (step == number) & (made.x[:, place] > 0)
            weight = made.weight[at]
            if weight.sum() > 0:
                mean = np.average(made.accepted[at], weights=weight)
                error = np.sqrt(mean * (1 - mean) * (weight**2).sum()) / weight.sum()
                given = [np.average(of[at], weights=weight) for of in told.values()]
                rows.append((np.average(made.share[at], weights=weight), mean, 2 * error, *given))
        if rows:
            share, mean, error, *given = np.array(rows).T
            axes.errorbar(share, mean, error, fmt="o", label="offers")
            for name, line in zip(told, given, strict=True):
                axes.plot(share, line, label=name)
            axes.legend()
        axes.set(
            title=f"{kind} clients",
            xlabel="share of the list price conceded",
            ylabel="share that accepts",
            ylim=(0, None),
        )
    return figure
