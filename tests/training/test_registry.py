from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sheaf.training import registry
from tests.conftest import ROOT

MAKE = "from sheaf.training import registry; print(registry.experiment_id(registry.client()))"


def test_two_at_once_in_a_new_folder_make_one_database(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [one.communicate(timeout=120)[0].strip().splitlines()[-1:] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert told[0] == told[1] != []
    assert [path.name for path in (tmp_path / "mlruns").iterdir()] == ["mlflow.db"]


@pytest.mark.usefixtures("workplace")
def test_a_database_that_is_none_is_told_and_is_no_lack_of_a_champion() -> None:
    (registry.FOLDER / "mlflow.db").write_bytes(b"no database at all" * 400)
    with pytest.raises(registry.RegistryError, match=r"MLflow at sqlite:.* cannot be used: .*not a database"):
        registry.champion()


@pytest.mark.usefixtures("workplace")
def test_a_server_that_is_not_there_is_no_lack_of_a_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(registry.RegistryError, match=r"MLflow at http://127.0.0.1:9 cannot be used"):
        registry.champion()
