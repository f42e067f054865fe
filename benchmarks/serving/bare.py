"""The peer of the service: a FastAPI endpoint that predicts 40 ready rows with the same booster, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
from fastapi import FastAPI
from fastapi.responses import JSONResponse

_booster = lgb.Booster(model_file=str(Path(os.environ["BARE_MODEL"])))
_rows = np.load(os.environ["BARE_ROWS"])

app = FastAPI()


@app.post("/v1/recommend")
async def predict() -> JSONResponse:
    """The log-odds of the rows; the request's body is not even read."""
    return JSONResponse(np.asarray(_booster.predict(_rows, raw_score=True, num_threads=1)).tolist())
