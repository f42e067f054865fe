"""A price response as the registry and the service keep it: one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sheaf.training.booster_text import read_booster
from sheaf.training.json_artifact import OneFile
from sheaf.training.price_response.models import COLUMNS, KINDS, ShareLogit, Trees
from sheaf.training.promotion import differing
from sheaf.training.ranker.model import ArtifactError, Model

FILE = "response.json"


@dataclass(frozen=True)
class PriceResponse(OneFile):
    """A response as the registry and the service keep it."""

    FILE, FORMAT, AGAIN = FILE, 3, "sheaf price-response"

    response: ShareLogit | Trees
    about: dict[str, Any]

    def differs(self, model: Model) -> str:
        """How the model that now tells what clients open differs from the one that this was learned with, in words;
        empty where it does not."""
        return differing(self.about, model.about)

    def to_json(self) -> dict[str, Any]:
        which = "trees" if isinstance(self.response, Trees) else "logit"
        return {"columns": COLUMNS, "told": self.response.told, "about": self.about, which: self.response.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PriceResponse:
        if tuple(content["columns"]) != COLUMNS:
            raise ArtifactError(f"{cls.FILE} is of another version of Sheaf; learn it anew: {cls.AGAIN}")
        return cls(replace(_read(content), told=content["told"]), content["about"])


def _read(content: Mapping[str, Any]) -> ShareLogit | Trees:
    if "trees" in content:
        of = content["trees"]
        return Trees(read_booster(of["booster"]), np.array(of["levels"], dtype=float))
    of = content["logit"]
    coefficients, slopes = (
        np.array([of[key][name] for name in names]) for key, names in (("coefficients", COLUMNS), ("slopes", KINDS))
    )
    coefficients = np.concatenate([coefficients, of["beyond_knots"]])
    return ShareLogit(float(of["intercept"]), coefficients, slopes, np.array(of["knots"], dtype=float))
