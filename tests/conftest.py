from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

os.environ["BENTOML_DO_NOT_TRACK"] = "true"
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as training sets it: some tests import LightGBM before

# No deadline: the first example pays for imports and for a DuckDB connection. The same examples every time under CI,
# so that a submission is never judged by another one's luck; new ones on every run at a developer's desk.
settings.register_profile("sheaf", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("sheaf")

if TYPE_CHECKING:  # the fixtures import what they need: the tests of the other rooms need not wait for LightGBM
    from sheaf.features.snapshot import Snapshot
    from sheaf.serving import Recommender
    from sheaf.training import Model, TrainingSample

ROOT = Path(__file__).resolve().parents[1]
HEAVY_FOLDERS = {"benchmarks", "serving", "simulation", "training"}
HEAVY_MODULES = {
    "test_atomic_replace", "test_banks", "test_cli", "test_client_groups", "test_completeness", "test_contributing",
    "test_currencies", "test_docs", "test_extras", "test_notebooks", "test_packages", "test_profile",
    "test_public_api", "test_snapshot",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as heavy the rooms and modules whose tests start servers or processes, or train."""
    for item in items:
        if item.path.parent.name in HEAVY_FOLDERS or item.path.stem in HEAVY_MODULES:
            item.add_marker("heavy")


@pytest.fixture(scope="session")
def sample() -> TrainingSample:
    """Two days of the made bank (`tests.made`)."""
    from sheaf.training import read_sample
    from tests import made

    return read_sample(made.bank(), made.CATALOG, made.DAYS)


@pytest.fixture(scope="session")
def model(sample: TrainingSample) -> Model:
    """Trained on the made bank."""
    from sheaf.training import fit
    from tests import made

    trained, _ = fit(sample, made.CATALOG, made.QUICK, {"horizon_days": sample.horizon_days})
    return trained


@pytest.fixture(scope="session")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made bank as files: `bank/`, `catalog.yaml`, and `quick.yaml` of training parameters."""
    from ruamel.yaml import YAML

    from tests import made

    folder = tmp_path_factory.mktemp("made")
    made.write(folder / "bank", made.frames())
    made.write_catalog(folder / "catalog.yaml")
    YAML().dump(made.QUICK.model_dump(exclude_unset=True), folder / "quick.yaml")
    return folder


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The made bank's profiles as of its last day."""
    from sheaf.features import profile_matrices
    from sheaf.features.snapshot import Snapshot
    from tests import made

    bank, folder = made.bank(), tmp_path_factory.mktemp("snapshot") / "profiles"
    Snapshot.write(folder, profile_matrices(bank, made.CATALOG, made.LAST_DAY), made.LAST_DAY)
    return Snapshot.read(folder)


@pytest.fixture(scope="session")
def recommender(model: Model, snapshot: Snapshot) -> Recommender:
    from sheaf.serving import Recommender

    return Recommender(model, snapshot)


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it; laying its tables out takes seconds, copying it does not."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    MlflowClient(f"sqlite:///{path.as_posix()}").search_experiments()
    return path


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_registry: Path) -> Path:
    """An own current folder with an empty registry under `mlruns/`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(_with_registry(tmp_path, empty_registry))
    return tmp_path


def _with_registry(folder: Path, empty: Path) -> Path:
    (folder / "mlruns").mkdir()
    shutil.copy(empty, folder / "mlruns" / "mlflow.db")
    return folder


@dataclass(frozen=True)
class WholeLine:
    """A simulated bank with every table in `bank`, and the champion trained on it, laid out for the service."""

    folder: Path
    bank: Path
    champion: Model
    recommender: Recommender


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> WholeLine:
    """The way from a simulated bank to a service, gone once, with the default catalog."""
    from sheaf.catalog import DEFAULT, read_catalog
    from sheaf.features import Bank, profile_tables
    from sheaf.features.client_positions import Relationships
    from sheaf.features.snapshot import Snapshot
    from sheaf.serving import Recommender
    from sheaf.serving.runtime.preparation import lay_out_plans, prepare
    from sheaf.serving.settings import FOLDER
    from sheaf.simulation import simulate
    from sheaf.strategy import DEFAULT as POLICY
    from sheaf.strategy import Planner, read_strategy
    from sheaf.strategy.plans.snapshot import Plans
    from sheaf.training import Model
    from sheaf.training.pipeline import train
    from tests import made

    folder = _with_registry(tmp_path_factory.mktemp("line"), empty_registry)
    catalog, bank = read_catalog(DEFAULT), folder / "bank"
    simulate(bank, 500, months=4, seed=2)
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        trained = train(Bank.open(bank), catalog, made.DAYS[-1:], parameters=made.QUICK)
        prepare(bank, catalog)
        planner = Planner(read_strategy(POLICY, catalog), made.LAST_DAY)
        lay_out_plans(planner, profile_tables(Bank.open(bank), catalog, made.LAST_DAY))
    laid_out = folder / FOLDER
    recommender = Recommender(
        Model.load(laid_out / "model"), Snapshot.read(laid_out / "profiles"),
        relationships=Relationships.read(laid_out / "relationships.arrow"),
        plans=Plans.read(laid_out / "plans.arrow", catalog),
    )  # fmt: skip
    return WholeLine(folder, bank, trained.model, recommender)


@pytest.fixture(scope="session")
def service(line: WholeLine) -> Iterator[str]:
    """The address of the service over the simulated bank, run by BentoML in a process of its own."""
    from sheaf.serving.runtime.demonstration import running

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        with ExitStack() as stack, chdir(line.folder):
            with pytest.MonkeyPatch.context() as of_start:  # services started later keep their figures elsewhere
                of_start.setenv("BENTOML_HOME", str(line.folder / "bentoml"))
                url = stack.enter_context(running())
            yield url
