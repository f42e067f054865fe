"""Every setting of Sheaf: environment variables that begin with SHEAF_, validated in one place.

docs/reference/settings.md is generated from `Settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SHEAF_"
_CODE = Path(__file__).resolve().parents[1]
# A built bento holds what it serves beside its code; else it is the current folder that has it.
FOLDER = (_CODE if (_CODE.parent / "bento.yaml").exists() else Path()) / "mlruns" / "serving"


class SettingError(ValueError):
    """A setting cannot be used; the message names it and the remedy."""


class Settings(BaseSettings):
    """The settings by name, without the prefix, each with the values that it accepts in words.

    An empty variable has the default.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    access: Annotated[Path | None, "a YAML file"] = Field(
        None,
        description="Keys and sign-on ([access](../guides/access.md)). Without it, only this machine may call.",
    )
    decisions: Annotated[str, "a file (SQLite), or `postgresql://user:password@host/name`"] = Field(
        str(Path("mlruns") / "decisions.db"),
        repr=False,  # a URL has a password
        description="The [decision log](../guides/decisions.md).",
    )
    decisions_seconds: Annotated[float, "seconds between 0.1 and 9"] = Field(
        2.0, ge=0.1, le=9.0, description="Time limit of an entry of the decision log; then callers get a 503."
    )  # BentoML gives a request ten seconds
    model: Annotated[Path, "a folder"] = Field(FOLDER / "model", description="The model.")
    profiles: Annotated[Path, "a folder"] = Field(FOLDER / "profiles", description="The profiles, memory-mapped.")
    relationships: Annotated[Path, "a file"] = Field(
        FOLDER / "relationships.arrow",
        description="Holdings, manager and branch of clients, memory-mapped; quotes and portfolios use it.",
    )
    catalog: Annotated[Path, "a file"] = Field(
        FOLDER / "catalog.json", description="Products, bundles, prices and policy."
    )
    price_response: Annotated[Path, "a folder"] = Field(
        FOLDER / "price_response",
        description="The learned price response. Without one, the policy's assumption holds.",
    )
    plans: Annotated[Path, "a file"] = Field(
        FOLDER / "plans.arrow",
        description="Plans, memory-mapped, as `sheaf plan --serve` writes them. Without it, answers have no plan.",
    )
    earlier: Annotated[Path, "a folder"] = Field(
        FOLDER / "earlier", description="The version archive, for [replays](../guides/decisions.md#audit-a-decision)."
    )
    wait_seconds: Annotated[float, "seconds between 0.01 and 5"] = Field(
        0.1,
        ge=0.01,
        le=5.0,
        description="Mean time of an answer above which [load shedding](../guides/running.md#load-shedding) starts.",
    )
    log_level: Annotated[Literal["info", "warning"], "info or warning"] = Field(
        "info", description="`info`: one line for every request; `warning`: only problems."
    )
    workers: Annotated[int, "a whole number from 1 on"] = Field(
        1,
        ge=1,
        description="Processes that answer; `sheaf serve --workers` sets it. Each further one takes some 60 MiB.",
    )
    traceback: Annotated[str, "any value"] = Field(
        "", description="A command that fails prints a traceback, for developers."
    )
    supervisor: Annotated[str, "set by Sheaf"] = Field(
        "", description="The process that started the service and a token: its processes end with it. Do not set it."
    )
    checked: Annotated[str, "set by Sheaf"] = Field(
        "", description="Profiles that were verified at the start, so that workers need not repeat it. Do not set it."
    )


def settings() -> Settings:
    """The settings that the environment has now.

    Raises:
        SettingError: A variable has a value that its setting does not accept.
    """
    return _read(tuple(item for item in os.environ.items() if item[0].startswith(PREFIX)))


@lru_cache(maxsize=1)
def _read(environment: tuple[tuple[str, str], ...]) -> Settings:
    """Reads the environment, which takes a millisecond, only where it changed."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingError("; ".join(map(_explain, error.errors()))) from None


def pass_on(**values: object) -> None:
    """Sets settings, by name, for this process and those that it starts."""
    os.environ.update({variable(name): str(value) for name, value in values.items()})


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def accepted(name: str) -> str:
    """The values that a setting accepts, in words."""
    [words] = [item for item in Settings.model_fields[name].metadata if isinstance(item, str)]
    return words


def _explain(error: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    return f"{variable(name)} is {error['input']!r}; give {accepted(name)}"
