"""A machine installs what it needs: without an extra, everything else works, and an error names the extra."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sheaf._extras import needs_extra
from sheaf.simulation import simulate

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
EXTRAS = ("serve", "train", "postgres", "discover", "audit", "tune")
READY = "import sys\nsys.modules.update(dict.fromkeys({blocked}))\n"  # an import of None is that of a missing library


def modules(*extras: str) -> list[str]:
    """What is imported of the libraries that the extras bring."""
    wanted = {canonicalize_name(Requirement(line).name) for extra in extras for line in OPTIONAL[extra]}
    found = {
        module: {canonicalize_name(name) for name in distributions}
        for module, distributions in packages_distributions().items()
    }
    assert wanted <= set().union(*found.values())
    return sorted(module for module, distributions in found.items() if distributions & wanted)


def without(blocked: list[str], code: str, where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READY.format(blocked=blocked) + code],
        cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a small bank is."""
    place = tmp_path_factory.mktemp("without")
    simulate(place / "bank", clients=200, months=1)
    return place


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("serve", ["serve"]),
        ("serve", ["demo"]),
        ("serve", ["keys", "list", "--file", "access.yaml"]),
        ("train", ["train", "--data", "bank"]),
        ("postgres", ["decisions", "upgrade"]),
        ("discover", ["discover", "--data", "bank", "--out", "proposal.yaml"]),
        ("audit", ["audit", "--data", "bank", "--plans", "bank/clients.parquet"]),
        ("tune", ["tune", "--data", "bank"]),
    ],
)
def test_a_command_without_its_extra_names_the_extra(extra: str, arguments: list[str], folder: Path) -> None:
    code = f"sys.argv = {['sheaf', *arguments]}\nfrom sheaf.cli import main\nmain()"
    run = without(modules(extra), code, folder, SHEAF_DECISIONS="postgresql://sheaf@127.0.0.1:1/log")
    assert run.returncode == 1, run.stdout + run.stderr
    said = " ".join(run.stderr.split())
    assert f"pip install 'sheaf[{extra}]'" in said
    assert any(f"{module} is not installed" in said for module in modules(extra))
    assert "Traceback" not in run.stderr


def test_the_service_needs_its_own_extra_only(tmp_path: Path) -> None:
    blocked = modules(*(extra for extra in EXTRAS if extra != "serve"))
    run = without(blocked, "import sheaf.serving.service", tmp_path)
    assert run.returncode == 0, run.stderr


def test_the_base_ranks_and_prices_without_any_extra(tmp_path: Path) -> None:
    rooms = ("catalog", "pricing", "features", "features.validation.check", "training", "strategy", "simulation", "cli")
    engine = ("serving.engine.recommender", "serving.runtime.preparation", "serving.decisions")
    code = "\n".join(f"import sheaf.{room}" for room in (*rooms, *engine))
    run = without(modules(*EXTRAS), code, tmp_path)
    assert run.returncode == 0, run.stderr


def test_a_fault_inside_sheaf_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError) as raised, needs_extra("train"):
        import_module("sheaf.no_such_module")
    assert raised.type is ModuleNotFoundError
