"""Logs a model that was learned beside the ranker, registers it, and gives it the alias that its contest ended with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from sheaf.training import plots, registry
from sheaf.training.attrition import LearnedAttrition
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.learning import LearnedPriceResponse, described
from sheaf.training.promotion import Verdict


def register_attrition(learned: LearnedAttrition) -> tuple[str, str]:
    """Version and alias of the attrition model, which becomes champion where its verdict says so."""
    about = learned.model.about
    parameters = {name: json.dumps(value) if isinstance(value, list) else value for name, value in about.items()}
    losses = {f"log_loss.{name.replace(' ', '_')}": loss for name, loss in learned.losses.items()}
    drawn = {"reliability": plots.reliability(learned.reliability, "left within the horizon")}
    return _register(learned.model, parameters, learned.figures | losses, drawn, registry.ATTRITION, learned.verdict)


def register_price_response(learned: LearnedPriceResponse) -> tuple[str, str]:
    """Version and alias of the price response, which becomes champion where its verdict says so."""
    parameters = {**learned.about, "prices_by_chance": learned.by_chance}
    drawn = {"price_response": plots.price_response(learned)}
    model = PriceResponse(learned.response, learned.about)
    return _register(model, parameters, described(learned), drawn, registry.RESPONSE, learned.verdict)


def _register(
    model: registry.Saved,
    parameters: Mapping[str, Any],
    figures: Mapping[str, float],
    drawn: Mapping[str, Figure],
    name: str,
    verdict: Verdict,
) -> tuple[str, str]:
    registered = registry.record(model, parameters, figures, drawn, {}, name)
    alias = registry.CHAMPION if verdict.promoted else registry.CHALLENGER
    registry.crown(registered, alias, name, verdict.why)
    return registered.version, alias
