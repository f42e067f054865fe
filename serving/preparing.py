"""What must lie on disk before the service starts: the champion's folder and the profiles of a day."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from catalog import Catalog
from features import Bank, profile_matrices
from features.snapshot import Snapshot
from training.model import Model
from training.registry import need_champion
from training.sample import last_day

FOLDER = Path("mlruns/serving")


def prepare(
    data: Path, catalog: Catalog, as_of: dt.date | None = None, progress: Callable[[str], None] = lambda step: None
) -> None:
    """Lays out, for the service, the champion, the catalog, and the bank's profiles as of a day (default: its last)."""
    progress("champion")
    champion = need_champion()
    place = FOLDER / ".model"
    shutil.rmtree(place, ignore_errors=True)
    champion.model.save(place)
    shutil.rmtree(FOLDER / "model", ignore_errors=True)
    place.rename(FOLDER / "model")
    sold = FOLDER / ".catalog.json"
    sold.write_text(catalog.model_dump_json(indent=1), encoding="utf-8")
    sold.replace(FOLDER / "catalog.json")
    bank = Bank.open(data)
    day = as_of or last_day(bank)
    Snapshot.write(
        FOLDER / "profiles", profile_matrices(bank, catalog, day), day,
        lambda clients: progress(f"profiles as of {day}, {clients:,} clients"),
    )  # fmt: skip


def profile_one(
    client: str,
    data: Path,
    catalog: Catalog,
    as_of: dt.date | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[Model, Snapshot, Catalog]:
    """The champion, the profile of one client of the bank in `data` as of a day (default: its last), the catalog."""
    progress("champion")
    model, bank = need_champion().model, Bank.open(data)
    day = as_of or last_day(bank)
    progress(f"profile as of {day}")
    [profiles] = profile_matrices(bank, catalog, day, [client])
    return model, Snapshot(day, profiles), catalog


def command(port: int, workers: int = 1) -> list[str]:
    """The command that serves on this machine's loopback address."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    return [
        sys.executable, "-m", "bentoml", "serve", "serving.service:SheafService",
        "--host", "127.0.0.1", "--port", str(port), "--api-workers", str(workers),
    ]  # fmt: skip
