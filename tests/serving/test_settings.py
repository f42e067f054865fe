"""One class has all settings, and nothing else reads the environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sheaf.serving.settings import SettingError, Settings, settings, variable

ROOT = Path(__file__).parents[2]
ROOMS = ("catalog", "cli", "features", "pricing", "serving", "simulation", "strategy", "training")
READERS = {  # of the environment, and why
    "serving/settings.py",
    "cli/__init__.py",  # an unusable setting is an error that may be shown with its traceback
    "features/checksums.py",  # a room before serving hands on what it checked
    "serving/runtime/preparation.py",  # BENTOML_DO_NOT_TRACK
    "serving/service.py",  # the same, before BentoML is imported
    "training/__init__.py",  # GOMP_SPINCOUNT
    "training/registry.py",  # MLFLOW_TRACKING_URI
}


def test_only_the_settings_read_the_environment() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    code = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    assert {path for path, text in code.items() if re.search(r"os\.environ|os\.getenv", text)} == READERS


def test_an_empty_variable_has_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, field in Settings.model_fields.items():
        monkeypatch.setenv(variable(name), "")
        assert getattr(settings(), name) == field.default
    assert not settings().model_fields_set


def test_a_change_of_the_environment_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for workers in ("2", "3"):
        monkeypatch.setenv("SHEAF_WORKERS", workers)
        assert settings().workers == int(workers)


def test_all_unusable_settings_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHEAF_WORKERS", "many")
    monkeypatch.setenv("SHEAF_WAIT_SECONDS", "nan")
    for _ in range(2):  # an environment that was refused is refused again
        with pytest.raises(SettingError) as refused:
            settings()
        assert str(refused.value) == (
            "SHEAF_WAIT_SECONDS is 'nan'; give seconds between 0.01 and 5; "
            "SHEAF_WORKERS is 'many'; give a whole number from 1 on"
        )


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHEAF_DECISIONS", "postgresql://sheaf:geheim@db.bank/log")
    assert "geheim" not in repr(settings())
