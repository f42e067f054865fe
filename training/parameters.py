"""The choices of a training run, with the product's defaults; a YAML file can replace any of them."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LIGHTGBM = {"adoption": "binary", "choice": "multiclass", "ranking": "lambdarank"}  # fields of its own, and objectives

# What LightGBM takes by the place of a column: another table or product moves them, and a constraint on one that holds
# categories ends the process.
BY_PLACE = {
    "monotone_constraints", "mc", "monotone_constraint", "monotonic_cst", "interaction_constraints",
    "feature_contri", "feature_contrib", "fc", "fp", "feature_penalty", "max_bin_by_feature",
}  # fmt: skip

_FIRST_STAGE = {"bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0, "max_bin": 127, "cat_smooth": 20.0}


class ParameterError(ValueError):
    """A parameter that cannot be used; the message names the file, the field and what it may be."""


class Parameters(BaseModel):
    """How models are trained. LightGBM's own parameters go in `adoption`, `choice` and `ranking` under its names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(0, ge=0, description="the same seed on the same profiles gives the same model")
    threads: int = Field(
        2, ge=1, description="of LightGBM; not part of a model's version, as any number grows the same trees"
    )
    folds: int = Field(2, ge=2, description="parts, by client, of the cross-fit")
    averaged: bool = Field(
        False, description="average the log-odds of the cross-fit models too: steadier, with folds + 1 times the trees"
    )
    holdout_share: float = Field(
        0.1, gt=0, lt=1, description="share of the clients that take part in no training, for validation"
    )
    negatives: float = Field(15.0, gt=0, description="pairs without an opening, kept for every pair with one")
    least_rows: int = Field(200_000, ge=1, description="pairs are left out only beyond this many")
    judged: int = Field(
        100_000,
        ge=1,
        description="approximate number of clients and days that calibration and the second stage learn from",
    )
    rounds: int = Field(800, ge=1, description="most boosting rounds of the adoption model")
    patience: int = Field(30, ge=1, description="rounds without a better validation loss after which boosting stops")
    adoption: dict[str, Any] = {
        **_FIRST_STAGE,
        "learning_rate": 0.05,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.4,
    }
    choice_rounds: int = Field(60, ge=0, description="most boosting rounds of the choice model; 0 leaves it out")
    choice: dict[str, Any] = {
        **_FIRST_STAGE,
        "learning_rate": 0.15,
        "num_leaves": 15,
        "min_data_in_leaf": 30,
        "feature_fraction": 0.3,
    }
    ranking_rounds: int = Field(200, ge=0, description="most boosting rounds of the ranking model; 0 leaves it out")
    ranking: dict[str, Any] = {
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.7,
        "lambda_l2": 10.0,
        "max_bin": 127,
        "lambdarank_truncation_level": 10,
    }

    @classmethod
    def read(cls, path: Path) -> Parameters:
        """The defaults with what the YAML file at `path` says instead.

        Raises ParameterError with everything that is wrong, by file and field, parameters of LightGBM among them.
        """
        try:
            content = YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
            read = cls.model_validate(content)
        except FileNotFoundError as error:
            raise ParameterError(f"{path}: there is no such file; give a YAML file") from error
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise ParameterError(f"{path}: cannot be read as YAML: {error}") from error
        except ValidationError as error:
            names = f"no such parameter; there are {', '.join(cls.model_fields)}"
            ours = {"extra_forbidden": names, "model_type": "give parameters by name, such as seed: 1"}
            wrong = "\n".join(
                f"{path}: {'.'.join(map(str, item['loc'])) or 'the file'}: {ours.get(item['type'], item['msg'])}"
                for item in error.errors()
            )
            raise ParameterError(wrong) from error
        refusals = [
            f"{path}: {group}.{name}: {value}: {message}"
            for group in LIGHTGBM
            if group in read.model_fields_set
            for name, value in getattr(read, group).items()
            if (message := refused(group, name, value))
        ]
        if refusals:
            raise ParameterError("\n".join(refusals))
        return read

    def lightgbm(self, objective: str) -> dict[str, Any]:
        """LightGBM parameters that give the same trees for the same seed, whatever else the machine does."""
        (own,) = (getattr(self, group) for group, its in LIGHTGBM.items() if its == objective)
        return {
            **own,
            "objective": objective,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_col_wise": True,
            "verbose": -1,
        }


def refused(group: str, name: str, value: Any) -> str | None:
    """Why LightGBM, or Sheaf, does not take this parameter of a field of `LIGHTGBM`; None where it is taken.

    LightGBM itself is asked, by training on a handful of rows: it passes over a name that it does not know, and an
    alias of one that is given, with no more than a word on standard output.
    """
    own = Parameters().lightgbm(LIGHTGBM[group]) | ({"num_class": 2} if group == "choice" else {})
    if name in own.keys() - getattr(Parameters(), group).keys():
        return "this is Sheaf's to set; leave it out"
    if name in BY_PLACE:
        return "goes by the places of columns, which are Sheaf's to lay out; leave it out"
    x, y, said = np.arange(8.0)[:, None], np.arange(8) % 2, io.StringIO()
    settings = {**own, "num_threads": 1, "verbose": 0, name: value}
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that dart stops at no loss
            data = lgb.Dataset(x, y, group=[4, 4] if group == "ranking" else None)
            lgb.train(settings, data, 1, valid_sets=[data], callbacks=[lgb.early_stopping(1, verbose=False)])
    except (lgb.basic.LightGBMError, TypeError, ValueError) as error:
        return str(error).split(" at /")[0].strip()
    for told in said.getvalue().splitlines():
        if re.search(rf"Unknown parameter: {re.escape(name)}\b", told):
            return "LightGBM knows no such parameter"
        if found := re.search(rf"(\w+) is set=\S+, {re.escape(name)}=\S+ will be ignored", told):
            return f"is another name of {found[1]}, which is set already; give that one"
    return None
