"""What training costs: against the bare `lightgbm.train` calls inside it, in memory, and as a bank grows.

`sheaf.training.pipeline.train` takes a simulated bank's tables to a registered model: profiles and labels of six
month-ends, the backtest's model and the released one, their evaluation, the registry. Each run is a process of its own,
in which every call of `lightgbm.train` is timed; all else of the run is what Sheaf adds. The default parameters are
used.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.figures import Figure
from benchmarks.measure import child, console, hand_back, report, simulated
from benchmarks.simulated import HORIZON, RANKED, month_end

DAYS = 6
TARGET, GIB, TIMES = 1.5, 8, 4


def main(
    clients: Annotated[int, typer.Option(help="How many clients to train on; a quarter of them beside it.")] = 100_000,
    parameters: Annotated[Path | None, typer.Option(help="YAML of training parameters.")] = None,
    inside: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Seconds and memory of training, against its own calls of LightGBM and against a quarter of the clients."""
    if inside:
        _train(inside, parameters)
        return
    runs: list[dict[str, Any]] = []
    for size in (clients // TIMES, clients):
        folder = simulated(size, 24)
        options = ["--parameters", parameters.resolve()] if parameters else []
        with console.status(f"Training on {size:,} clients"):
            runs.append(child("benchmarks.training", "--inside", folder, *options))
        console.print(
            f"{size:,} clients: {runs[-1]['seconds']:.0f} s, of which {runs[-1]['boosting']:.0f} s in "
            f"{runs[-1]['calls']} calls of lightgbm.train; {runs[-1]['peak_gib']:.2f} GiB"
        )
    small, large = runs
    names, bare = [f"{run['seconds']:.0f} s" for run in runs], f"bare calls {large['boosting']:.0f} s"
    report(
        "Training from tables to registry",
        f"Simulated bank of {clients:,} clients, {DAYS} month-ends",
        [
            Figure("seconds", names[1], bare, large["seconds"] / large["boosting"], TARGET),
            Figure("peak memory", f"{large['peak_gib']:.2f} GiB", f"{GIB} GiB", large["peak_gib"] / GIB, 1.0),
            Figure(f"seconds, {TIMES} × clients", names[1], names[0], large["seconds"] / small["seconds"], TIMES),
            Figure(
                "seconds but for the calls", f"{large['seconds'] - large['boosting']:.0f} s",
                f"{small['seconds'] - small['boosting']:.0f} s",
                (large["seconds"] - large["boosting"]) / (small["seconds"] - small["boosting"]), TIMES,
            ),
        ],
    )  # fmt: skip


def _train(folder: Path, parameters: Path | None) -> None:
    import lightgbm as lgb

    from sheaf.catalog import DEFAULT, read_catalog
    from sheaf.features import Bank
    from sheaf.training import Parameters
    from sheaf.training.pipeline import train

    taken: list[float] = []
    bare = lgb.train

    def timed(*given: Any, **named: Any) -> lgb.Booster:
        started = time.perf_counter()
        booster = bare(*given, **named)
        taken.append(time.perf_counter() - started)
        return booster

    lgb.train = timed
    settings = Parameters.read(parameters) if parameters else Parameters()
    bank, days = Bank.open(folder).known_on(RANKED), [month_end(10 - back) for back in range(DAYS)]
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        started = time.perf_counter()
        train(bank, read_catalog(DEFAULT), days, HORIZON, None, settings)
        hand_back(seconds=time.perf_counter() - started, boosting=sum(taken), calls=len(taken))


if __name__ == "__main__":
    typer.run(main)
