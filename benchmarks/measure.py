"""What the benchmarks share: timing in turns, memory of a child process, simulated banks, and tables of figures."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.figures import ROOT, Case, Figure, write

KEPT = Path(tempfile.gettempdir()) / "sheaf-benchmarks"  # banks made for benchmarks stay here for the next run
KIB_A_GIB = 2**20

console = Console(width=None if sys.stdout.isatty() else 136)


@contextmanager
def telling(title: str) -> Iterator[Callable[[str], None]]:
    """Tells every step of what takes long: in place at a terminal, else in a line with the seconds that have passed."""
    if console.is_terminal:
        with console.status(title) as status:
            yield lambda step: status.update(f"{title}: {step}")
        return
    started = time.perf_counter()

    def tell(step: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {title}: {step}", file=sys.stderr, flush=True)

    yield tell


def report(title: str, data: str, figures: Sequence[Figure]) -> None:
    """Prints the figures, each beside its target, and keeps them in `benchmarks/results`; `data` names the data set."""
    table = Table(title=title)
    for name in ("", "measured", "against"):
        table.add_column(name)
    for name in ("figure", "target", ""):
        table.add_column(name, justify="right")
    for figure in figures:
        colour = "green" if figure.met else "red"
        verdict = figure.verdict and f"[{colour}]{figure.verdict}[/]"
        table.add_row(figure.name, figure.measured, figure.against, figure.value_text, figure.target_text, verdict)
    console.print(table)
    write(Case.of(title, data, figures))


def in_turns(rounds: int, **ways: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of every round of every way. The order turns from round to round, so that none is always the first."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else reversed(list(ways)):
            started = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of ours to theirs: what slows the machine down for a round slows both."""
    return float(np.median(np.array(ours) / np.array(theirs)))


def child(module: str, *arguments: object) -> dict[str, Any]:
    """What `python -m module arguments` hands back with `hand_back`. Raises RuntimeError with its last words."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{(run.stdout + run.stderr).strip()[-3000:]}")
    told: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return told


def hand_back(**figures: Any) -> None:
    """The last line that a child prints: its figures, and its peak memory in GiB."""
    print(json.dumps({**figures, "peak_gib": peak_gib()}), flush=True)


def peak_gib() -> float:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux lets ru_maxrss begin at the peak of the process that started this one
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / KIB_A_GIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def simulated(
    clients: int, months: int, seed: int = 0, folder: Path | None = None, offers: bool = False, attrition: bool = False
) -> Path:
    """The folder of a simulated bank, made now where it is not there yet.

    Without a `folder` it is named after the simulation's own files too, so that no bank outlives a change of these.
    """
    made_by = hashlib.sha256()
    for room in ("catalog", "pricing", "simulation"):  # offers are made at list prices
        for path in sorted((ROOT / room).rglob("*.*")):
            if path.suffix in (".py", ".yaml"):
                made_by.update(path.read_bytes())
    what = f"bank{'-offers' * offers}{'-attrition' * attrition}"
    folder = folder or KEPT / f"{what}-{clients}-{months}-{seed}-{made_by.hexdigest()[:8]}"
    if not (folder / "clients.parquet").exists():
        with telling("Simulation") as tell:
            tell(f"{clients:,} clients over {months} months")
            more = (*("--offers",) * offers, *("--attrition",) * attrition)
            sheaf("simulate", folder, "--clients", clients, "--months", months, "--seed", seed, *more, cwd=ROOT)
    return folder


def sheaf(*arguments: object, cwd: Path) -> str:
    """What the command `sheaf arguments` prints, run in `cwd`. Raises RuntimeError with its last words."""
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    env["PYTHONPATH"] = str(ROOT)  # the folder that `cwd` would otherwise be
    command = [sys.executable, "-m", "sheaf", *map(str, arguments)]
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"sheaf {arguments[0]} failed:\n{(run.stdout + run.stderr).strip()[-3000:]}")
    return run.stdout


def bootstrap(draw: Callable[[np.ndarray], float], clients: int, draws: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of what `draw` makes of clients drawn with replacement (positions from 0)."""
    rng = np.random.default_rng(0)
    low, high = np.quantile([draw(rng.integers(0, clients, clients)) for _ in range(draws)], [0.025, 0.975])
    return float(low), float(high)
