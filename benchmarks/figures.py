"""Figures of the benchmarks as JSON, one file a case, and the page that is generated from them.

A case is a benchmark module with its arguments: `python -m benchmarks.attrition --clients 100000` writes
`results/attrition-clients-100000.json`. `python -m benchmarks.figures` generates the page `docs/reference/figures.md`.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "reference" / "figures.md"
SUBJECTS = {  # of the page, in its order, with the benchmark modules of each
    "Ranking": ("santander", "simulated", "ranking", "new_products"),
    "Discovery of bundles": ("discovery",),
    "Prices": ("pricing", "logged_prices"),
    "Linked clients": ("linkage",),
    "Clients who leave": ("attrition",),
    "Service": ("serving", "schema", "durability"),
    "Training": ("training",),
    "Profiles, ranking and plans in bulk": ("profiles", "rank", "strategy"),
    "Simulation": ("simulation",),
}
INTRODUCTION = """\
# Figures

This page is generated from `benchmarks/results` by `.venv/bin/python -m benchmarks.figures`; do not edit it.

Each figure is a ratio of two measurements of the same run, unless its unit says otherwise. Intervals are 95 %
intervals. A figure without a target is there for comparison. Each figure is of the commit and day that stand above its
table; those of November 2026 were carried over from an earlier page.
How to run the benchmarks and how to read the figures: `benchmarks/README.md`.
"""


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark: `value`, most often the ratio of `measured` to `against`, and its target (`at_most`, or
    else at least)."""

    name: str
    measured: str
    against: str
    value: float
    target: float | None = None
    at_most: bool = True
    interval: tuple[float, float] | None = None
    decimals: int = 3

    @property
    def met(self) -> bool:
        return self.target is None or (self.value <= self.target if self.at_most else self.value >= self.target)

    @property
    def target_text(self) -> str:
        """Such as "≤ 1.5"; empty without a target."""
        return "" if self.target is None else f"{'≤' if self.at_most else '≥'} {self.target:g}"

    @property
    def verdict(self) -> str:
        """ "met" or "missed"; empty without a target."""
        return "" if self.target is None else "met" if self.met else "missed"

    @property
    def value_text(self) -> str:
        """Such as "0.963 (0.958 to 0.968)", with `decimals` decimals."""
        low_high = [f"{bound:.{self.decimals}f}" for bound in self.interval or ()]
        return f"{self.value:.{self.decimals}f}" + (f" ({' to '.join(low_high)})" if low_high else "")


@dataclass(frozen=True)
class Case:
    """What one run of a benchmark measured, of what data, by which command, at which commit and on which machine."""

    name: str
    title: str
    data: str
    command: str
    commit: str
    machine: str
    date: str
    figures: tuple[Figure, ...]

    @classmethod
    def of(cls, title: str, data: str, figures: Sequence[Figure]) -> Case:
        """The case of the running process."""
        module, arguments = _module(), sys.argv[1:]
        name = re.sub(r"[^a-z0-9]+", "-", " ".join([module, *arguments]).lower()).strip("-")
        command = " ".join([".venv/bin/python -m", f"benchmarks.{module}", *arguments])
        return cls(name, title, data, command, _commit(), _machine(), str(dt.date.today()), tuple(figures))

    @classmethod
    def read(cls, path: Path) -> Case:
        """Raises ValueError where a figure's verdict is not what its value and target say."""
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = []
        for told in content.pop("figures"):
            verdict, interval = told.pop("verdict"), told.pop("interval")
            figures.append(Figure(**told, interval=interval and tuple(interval)))
            if verdict != (right := figures[-1].verdict):
                raise ValueError(f"{path.name}: {told['name']}: the verdict is {verdict!r} and should be {right!r}")
        return cls(name=path.stem, **content, figures=tuple(figures))

    def to_json(self) -> str:
        content = asdict(self)
        del content["name"]  # the file's
        content["figures"] = [asdict(figure) | {"verdict": figure.verdict} for figure in self.figures]
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write(case: Case) -> None:
    """Writes the case to its file, in place of an earlier run of the same command."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{case.name}.json").write_text(case.to_json(), encoding="utf-8")


def cases() -> list[Case]:
    """All that lie in `results`, by name. Raises ValueError as `Case.read` does."""
    return sorted(map(Case.read, RESULTS.glob("*.json")), key=lambda case: case.name)


def page(of: Sequence[Case]) -> str:
    """The page of figures as Markdown: a section a subject, a table a case. Raises ValueError for a case of none."""
    parts, left = [INTRODUCTION], list(of)
    for subject, modules in SUBJECTS.items():
        mine = [case for module in modules for case in left if re.match(rf"{module.replace('_', '-')}(-|$)", case.name)]
        left = [case for case in left if case not in mine]
        parts += [f"## {subject}\n", *map(_table, mine)] if mine else []
    if left:
        raise ValueError(f"{left[0].name}.json is of no subject; add its module to SUBJECTS in benchmarks/figures.py")
    return "\n".join(parts)


def _table(case: Case) -> str:
    lines = [
        f"### {case.title}\n",
        f"{case.data}. `{case.command}`, {case.date}, commit {case.commit}, {case.machine}.\n",
        "| what | measured | against | figure | target | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for figure in case.figures:
        verdict = f"**{figure.verdict}**" if figure.verdict == "missed" else figure.verdict
        cells = (figure.name, figure.measured, figure.against, figure.value_text, figure.target_text, verdict)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _module() -> str:
    """The benchmark that runs, without the package's name: `python -m benchmarks.serving` is "serving"."""
    spec = sys.modules["__main__"].__spec__
    name = spec.name if spec else Path(sys.argv[0]).stem
    return name.removeprefix("benchmarks.").removesuffix(".__main__")


def _commit() -> str:
    """Seven digits of the checkout's commit, with "+" where files were changed since."""
    try:
        run = [
            subprocess.run(["git", *of], cwd=ROOT, capture_output=True, check=True, text=True).stdout.strip()
            for of in (["rev-parse", "--short=7", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run[0] + "+" * bool(run[1])


def _machine() -> str:
    gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {gib:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    PAGE.write_text(page(cases()), encoding="utf-8")
