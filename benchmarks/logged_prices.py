"""The slope of the price response when offers come from the decision log, with the price propensity where it was drawn.

The simulated bank's offers are written to a decision log as the service keeps them: the chance of the list is 1, and
the chance of the concession stands beside it only where the simulation drew it. `sheaf outcomes` turns the log into the
table offers, and the price response learns from that. Its slope is compared with the slope that the simulation answered
with, averaged over the same kinds of clients; once as logged, and once as if every concession had been drawn.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pandas as pd
import sqlalchemy as sa
import typer

from benchmarks.figures import Figure
from benchmarks.measure import report, simulated, telling
from benchmarks.simulated import RANKED
from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import TABLES, Bank
from sheaf.serving.decisions import new_id, upgrade
from sheaf.serving.decisions.database import connect, parsed
from sheaf.serving.decisions.outcomes import write_outcomes
from sheaf.serving.decisions.tables import decisions, feedback
from sheaf.training.parameters import Parameters
from sheaf.training.price_response.learning import between, choose_price_response
from sheaf.training.price_response.models import KINDS
from sheaf.training.price_response.offer_history import read_offer_history

LEAST, MOST = 0.9, 1.1
SECONDS = 60.0  # for the whole log in one transaction


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=2_000)] = 40_000,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 2,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
) -> None:
    """The learned slope over the true one, from offers that went through the decision log."""
    folder, sold = simulated(clients, 24, seed, offers=True), read_catalog(DEFAULT)
    chosen = Parameters.read(parameters) if parameters else Parameters()
    figures = []
    with telling("Prices from the log") as tell, tempfile.TemporaryDirectory() as place:
        tell("the log")
        offers = Path(place) / "bank" / "offers.parquet"
        url = parsed(str(Path(place) / "decisions.db"))
        upgrade(url)
        write_log(url, duckdb.read_parquet(str(folder / "offers.parquet")).df())
        rows = write_outcomes(url, offers)
        for table in folder.iterdir():  # the bank's own, with these offers in place of its
            if table.stem in TABLES and table.stem != "offers":
                (offers.parent / table.name).symlink_to(table)
        bank = Bank.open(offers.parent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # concessions above the list price of what a client lacks are left out
            made = read_offer_history(bank, sold, RANKED, chosen, tell)
            tell("price responses")
            true, mix = truth(folder)
            for name, drawn, least in (("as logged", True, LEAST), ("as if drawn", False, None)):
                found = choose_price_response(made, sold, drawn, {})
                slope, (low, high) = between(found.offers, found.logit, mix)
                of, against, interval = f"learned {slope:.2f}", f"true {true:.2f}", (low / true, high / true)
                figures.append(Figure(f"slope, {name}", of, against, slope / true, least, False, interval))
                if least is not None:
                    figures.append(Figure(f"slope, {name}", of, against, slope / true, MOST, True, interval))
    data = f"Simulated bank of {clients:,} clients with offers, seed {seed}; {rows:,} offers of the decision log"
    report("Price response from the decision log", data, figures)


def write_log(url: sa.URL, offers: pd.DataFrame) -> None:
    """Writes each offer as a decision of one bundle, and its outcome as feedback."""
    told: dict[str, list[dict[str, Any]]] = {"decisions": [], "feedback": []}
    for row in offers.itertuples():
        decision, asked = new_id(), _moment(row.offered_at)
        chance = None if pd.isna(row.price_propensity) else json.dumps({row.bundle_id: row.price_propensity})
        offer = {"rank": 1, "bundle_id": row.bundle_id, "worth": {"concession": row.concession}}
        told["decisions"].append(
            {"decision_id": decision, "asked_at": asked, "client_id": row.client_id, "channel": row.channel,
             "objective": "value", "k": 1, "lines": "[]", "candidates": "{}", "list_propensity": 1.0,
             "price_propensity": chance, "answer": json.dumps({"offers": [offer]}), "profile": b"",
             "profile_day": str(asked.date()), "model_version": "-", "catalog_version": "-"}
        )  # fmt: skip
        if not pd.isna(row.responded_at):
            at = _moment(row.responded_at)
            told["feedback"].append(
                {"idempotency_key": decision, "caller": "", "decision_id": decision, "bundle_id": row.bundle_id,
                 "outcome": row.outcome, "at": at, "recorded_at": at}
            )  # fmt: skip
    with connect(url, SECONDS).begin() as connection:
        connection.execute(sa.insert(decisions), told["decisions"])
        connection.execute(sa.insert(feedback), told["feedback"])


def truth(folder: Path) -> tuple[float, np.ndarray]:
    """The mean true slope of the last month's offers, per share of the list price, and each kind's part of them."""
    response = duckdb.read_parquet(str(folder / "truth" / "offer_response.parquet")).df()
    response = response[response["as_of"] == response["as_of"].max()]
    kinds = duckdb.read_parquet(str(folder / "clients.parquet")).df().drop_duplicates("client_id")
    kind = response["client_id"].map(kinds.set_index("client_id")["kind"])
    mix = np.array([float((kind == name).mean()) for name in KINDS])
    return float((response["slope"] * response["list_price"]).mean()), mix


def _moment(day: Any) -> dt.datetime:
    return dt.datetime.combine(pd.Timestamp(day).date(), dt.time(), dt.UTC)


if __name__ == "__main__":
    typer.run(main)
