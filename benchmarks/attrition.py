"""How near the attrition model comes to the truth at a simulated bank, where everybody's chance to leave is known.

A bank is simulated with attrition, `sheaf.training.attrition` learns from month-ends whose horizons end by 2025-11-30
(it is handed the bank as known on that day), and the clients of 2025-11-30 get their probabilities to leave. Who left
in December is the label of this measurement and of nothing else. Beside it, on the same clients, the probabilities that
the simulation drew them with: no model can order clients better, and even they have a calibration error, as few leave.

Differences and errors have intervals by bootstrap over clients, in pairs. As who leaves is drawn, the AUC that is
expected over all draws is told as well: `Σ q_i (1 - q_j)` over the pairs in the right order, over all pairs, with the
true `q`. At last the lists of `sheaf clients` are timed against plans of the same clients, from file to rows.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import typer
from sklearn.metrics import roc_auc_score

from benchmarks.figures import Figure
from benchmarks.measure import KEPT, bootstrap, console, in_turns, median_ratio, report, simulated
from benchmarks.simulated import DECEMBER, RANKED, month_end
from sheaf.catalog import DEFAULT, Catalog, read_catalog
from sheaf.features import Bank, ProfileMatrix, profile_matrices, profile_tables, write_parquet
from sheaf.strategy import DEFAULT as POLICY
from sheaf.strategy import Lister, Planner, read_strategy
from sheaf.training.attrition import Attrition, fit_attrition, left_within
from sheaf.training.metrics import calibration_error
from sheaf.training.parameters import Parameters

MONTHS = 20  # of the bank
HORIZON = 31  # days: nobody leaves on the first of a month, so from a month-end on it is what happens in the next
TARGET, CALIBRATION = 0.02, 0.01
LIKELIEST = 0.02  # of the clients


def main(
    clients: Annotated[int, typer.Option(help="Size of the bank.", min=5_000)] = 40_000,
    months: Annotated[int, typer.Option(help="Month-ends to learn from, the last 2025-10-31.", min=2, max=12)] = 8,
    data: Annotated[Path | None, typer.Option(help="Where the bank lies, or is made and kept.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated bank.")] = 0,
    threads: Annotated[int, typer.Option(help="For LightGBM.", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="How often each list is made.", min=1)] = 3,
) -> None:
    """AUC and calibration of the attrition model beside those of the true probabilities, and what the lists cost."""
    folder = simulated(clients, MONTHS, seed, data, attrition=True)
    bank, sold = Bank.open(folder), read_catalog(DEFAULT)
    days, started = [month_end(10 - back) for back in range(months)], time.monotonic()
    with console.status("Learning") as status, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last horizon ends a day after the bank is known, on which nobody leaves
        found = fit_attrition(
            bank.known_on(RANKED), sold, days, HORIZON, Parameters(threads=threads),
            lambda step: status.update(f"Learning: {step}"),
        )  # fmt: skip
    seconds = time.monotonic() - started
    console.print(f"Learned in {seconds:.0f} s as of {', '.join(map(str, sorted(days)))}.", highlight=False)
    with console.status("Profiles and labels"):
        profiles = ProfileMatrix.join([_narrow(part, found.model) for part in profile_matrices(bank, sold, RANKED)])
        told = found.model.probabilities(profiles, threads)
        left = left_within(bank, RANKED, DECEMBER, profiles.client_ids)
    truth = true_probabilities(folder, profiles.client_ids)
    with console.status("Intervals"):
        figures = [*order(told, truth, left), *calibration(told, truth, left)]
    with console.status("Lists"):
        figures += cost(bank, sold, found.model, rounds)
    data_set = f"Simulated bank of {clients:,} clients with attrition, seed {seed}, {months} month-ends"
    report(f"Leaving after {RANKED}: {left.sum():,.0f} of {len(left):,} clients", data_set, figures)


def order(told: np.ndarray, truth: np.ndarray, left: np.ndarray) -> list[Figure]:
    """The truth's AUC less ours: of who left in this draw, and expected over all draws."""

    def less(drawn: np.ndarray) -> float:
        return float(roc_auc_score(left[drawn], truth[drawn]) - roc_auc_score(left[drawn], told[drawn]))

    everybody = np.arange(len(left))
    ours, best = (f"{name} {roc_auc_score(left, of):.4f}" for name, of in (("sheaf", told), ("truth", truth)))
    each = [expected_auc(of, truth) for of in (told, truth)]
    return [
        Figure("AUC, the truth's less ours", ours, best, less(everybody), TARGET, True, bootstrap(less, len(left))),
        Figure("the same, expected", f"sheaf {each[0]:.4f}", f"truth {each[1]:.4f}", each[1] - each[0], TARGET),
    ]


def expected_auc(score: np.ndarray, truth: np.ndarray) -> float:
    """The AUC of a score where clients leave by the true probabilities, over all draws; equal scores count half."""
    _, place = np.unique(score, return_inverse=True)
    leave, stay = (np.bincount(place, weights=weight) for weight in (truth, 1 - truth))
    below = np.cumsum(stay) - stay / 2
    same = np.sum(truth * (1 - truth)) / 2  # nobody is a pair with itself; half of it is in `below`
    return float((leave @ below - same) / (truth.sum() * (1 - truth).sum() - 2 * same))


def calibration(told: np.ndarray, truth: np.ndarray, left: np.ndarray) -> list[Figure]:
    """The calibration errors of ours and of the truth, and how many left of the likeliest."""
    clients = len(left)

    def error(of: np.ndarray) -> tuple[float, tuple[float, float]]:
        return calibration_error(of, left), bootstrap(lambda drawn: calibration_error(of[drawn], left[drawn]), clients)

    (ours, interval), (best, of_best) = error(told), error(truth)
    beside = f"truth {best:.4f} ({of_best[0]:.4f} to {of_best[1]:.4f})"
    likeliest = np.argsort(-told, kind="stable")[: round(LIKELIEST * clients)]
    gone, expected = left[likeliest], told[likeliest]
    within = bootstrap(lambda drawn: gone[drawn].sum() / expected[drawn].sum(), len(gone))
    return [
        Figure("calibration error", f"sheaf {ours:.4f}", beside, ours, CALIBRATION, True, interval),
        Figure(f"left of the {LIKELIEST:.0%} likeliest", f"{gone.sum():,.0f} of {len(gone):,}",
               f"{expected.sum():,.1f} told, {truth[likeliest].sum():,.1f} in truth", gone.sum() / expected.sum(),
               None, True, within),
    ]  # fmt: skip


def cost(bank: Bank, sold: Catalog, model: Attrition, rounds: int) -> list[Figure]:
    """Seconds of the lists beside those of plans, all from one file of profiles."""
    profiles = KEPT / "attrition-profiles.parquet"
    policy = read_strategy(POLICY, sold)
    write_parquet(profiles, profile_tables(bank, sold, RANKED))

    def plans() -> None:
        for _ in Planner(policy, RANKED).plans(profiles):
            pass

    def lister() -> Lister:
        return Lister(Planner(policy, RANKED), profiles)

    ways = {"leaving": lambda: lister().leaving(model), "win": lambda: lister().win(bank)}
    seconds = in_turns(rounds, plans=plans, **ways)
    profiles.unlink()
    return [
        Figure(f"list {name}", f"{np.median(seconds[name]):.1f} s", f"plans {np.median(seconds['plans']):.1f} s",
               median_ratio(seconds[name], seconds["plans"]))
        for name in ways
    ]  # fmt: skip


def true_probabilities(folder: Path, client_ids: np.ndarray) -> np.ndarray:
    """(clients,): what the simulation drew each of them with."""
    told = duckdb.read_parquet(str(folder / "truth" / "leaving_probability.parquet"))
    rows = told.filter(f"as_of = date '{RANKED}'").df().set_index("client_id")["probability"]
    found: np.ndarray = rows.loc[client_ids].to_numpy()
    return found


def _narrow(part: ProfileMatrix, model: Attrition) -> ProfileMatrix:
    return part.align(model.columns, model.categories)


if __name__ == "__main__":
    typer.run(main)
