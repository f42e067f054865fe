"""MLflow: where runs are logged, models are registered, and the champion is found.

State lives in `mlruns/` of the current folder (SQLite, artifacts beside it) unless MLFLOW_TRACKING_URI says otherwise.
MLflow takes seconds to import: it is imported here, when needed, and never by the service.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sheaf._extras import needs_extra
from sheaf.training.attrition import Attrition
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.ranker.model import ArtifactError, Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NAME, RESPONSE, ATTRITION = "sheaf", "sheaf-price-response", "sheaf-attrition"
ABOUT = {
    NAME: "Ranks product bundles for clients",
    RESPONSE: "How clients answer to a price",
    ATTRITION: "Who is about to leave",
}
CHAMPION, CHALLENGER = "champion", "challenger"
NOT_PROMOTED = "not_promoted"  # tag of a version: why it is no champion
FOLDER = Path("mlruns")


class RegistryError(RuntimeError):
    """The registry lacks what is asked for, or cannot be reached; the message says what to do."""


class Saved(Protocol):
    """What can be registered."""

    def save(self, folder: Path) -> str:
        """Writes it into a new folder and returns its fingerprint."""
        ...


M = TypeVar("M", bound=Saved)


@dataclass(frozen=True)
class Registered(Generic[M]):
    """A model of the registry, and the version it has there."""

    model: M
    version: str
    run_id: str


def tracking_uri() -> str:
    """MLflow's tracking address: MLFLOW_TRACKING_URI, else SQLite under `mlruns/`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(FOLDER / 'mlflow.db').resolve().as_posix()}"


def client() -> MlflowClient:
    """A client of the tracking server, whose experiment exists."""
    with needs_extra("train"):
        from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):  # they tell of every table made in a new database
        logging.getLogger(noisy).setLevel(logging.WARNING)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    with _reached():
        if local:
            _lay_out()
        found = MlflowClient(tracking_uri())
        if found.get_experiment_by_name(NAME) is None:
            place = (FOLDER / "artifacts").resolve().as_uri() if local else None
            with _unless("RESOURCE_ALREADY_EXISTS"):  # another made it meanwhile
                found.create_experiment(NAME, artifact_location=place)
    return found


def _lay_out() -> None:
    """Makes MLflow's database in `mlruns/` where there is none, whole or not at all: MLflow makes it table by table,
    and what was killed meanwhile, or was made by two at once, is of no use any more."""
    from mlflow import MlflowClient

    place = (FOLDER / "mlflow.db").resolve()
    if place.exists():
        return
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=FOLDER) as folder:
        made = Path(folder).resolve() / place.name
        MlflowClient(f"sqlite:///{made.as_posix()}").get_experiment_by_name(NAME)
        with suppress(FileExistsError):  # another made it meanwhile
            os.link(made, place)


@contextmanager
def _reached() -> Iterator[None]:
    """RegistryError for what MLflow, or the database below it, cannot do."""
    with needs_extra("train"):
        from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        raise RegistryError(
            f"MLflow at {tracking_uri()} cannot be used: {why[:300]}; see that it is there and whole, and that nobody "
            "else holds it, then do this again"
        ) from error


@contextmanager
def _unless(code: str) -> Iterator[None]:
    """Passes over MLflow's error of this code, and no other."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


def experiment_id(registry: MlflowClient) -> str:
    """The experiment that all runs are logged to."""
    experiment = registry.get_experiment_by_name(NAME)
    assert experiment is not None  # `client` made it
    return str(experiment.experiment_id)


def record(
    model: M,
    parameters: Mapping[str, Any],
    figures: Mapping[str, float],
    figures_by_name: Mapping[str, Figure],
    tags: Mapping[str, str],
    name: str = NAME,
) -> Registered[M]:
    """Logs a run with everything, and registers its model by that name. No alias moves (`crown` does that)."""
    from mlflow.entities import Metric, Param, RunTag

    registry = client()
    with _reached():
        run_id = registry.create_run(experiment_id(registry)).info.run_id
        try:
            registry.log_batch(
                run_id,
                metrics=[
                    Metric(key, value, 0, 0)
                    for key, value in figures.items()
                    if value == value  # NaN (nobody opened anything) is not a figure to log
                ],
                params=[Param(key, str(value)) for key, value in parameters.items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            for key, figure in figures_by_name.items():
                registry.log_figure(run_id, figure, f"plots/{key}.png")
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "model"
                fingerprint = model.save(folder)
                registry.log_artifacts(run_id, str(folder), "model")
            with _unless("RESOURCE_ALREADY_EXISTS"):
                registry.create_registered_model(name, description=ABOUT[name])
            source = f"{registry.get_run(run_id).info.artifact_uri}/model"
            version = registry.create_model_version(name, source, run_id, tags={"fingerprint": fingerprint})
        except BaseException:
            registry.set_terminated(run_id, "FAILED")
            raise
        registry.set_terminated(run_id)
    return Registered(model, str(version.version), run_id)


def crown(registered: Registered[Any], alias: str, name: str = NAME, why: str = "") -> None:
    """Gives the version the alias; whoever had it before loses it. `why` says why it is no champion."""
    with _reached():
        if why:
            client().set_model_version_tag(name, registered.version, NOT_PROMOTED, why)
        client().set_registered_model_alias(name, alias, registered.version)


def _not_promoted(name: str) -> str:
    """What is known of the challenger of that name, as a sentence; empty where there is none."""
    found: dict[str, str] = {}
    with _reached(), _unless("RESOURCE_DOES_NOT_EXIST"):
        found = client().get_registered_model(name).aliases
    if (number := found.get(CHALLENGER)) is None:
        return ""
    with _reached():
        why = client().get_model_version(name, str(number)).tags.get(NOT_PROMOTED, "")
    return f"version {number} is a challenger only. {why}".strip()


def crowned(name: str = NAME) -> str | None:
    """The champion's version, or None where there is none yet."""
    found: dict[str, str] = {}
    with _reached(), _unless("RESOURCE_DOES_NOT_EXIST"):
        found = client().get_registered_model(name).aliases
    return found.get(CHAMPION)


def champion() -> Registered[Model] | None:
    """The champion, or None where there is none yet. Raises ArtifactError where its folder was damaged or altered."""
    return _champion(NAME, Model.load)


def holdout_share(registered: Registered[Model]) -> float | None:
    """The share of clients whom the model's training never saw; None where its run does not say."""
    with _reached():
        told = client().get_run(registered.run_id).data.params.get("holdout_share")
    return None if told is None else float(told)


def price_response(day: dt.date | None = None, model: Model | None = None) -> Registered[PriceResponse] | None:
    """The price response that answers, or None where none was learned yet, or what it learned from was not known on
    the day, which a warning says; one says also how it differs from the `model` that it is to answer beside. Raises
    ArtifactError as `champion` does."""
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    if local and not (FOLDER / "mlflow.db").exists():
        return None  # a quote needs no registry, and makes none
    found = _champion(RESPONSE, PriceResponse.load)
    until = found.model.about.get("as_of", "") if found else ""
    if day is not None and until > str(day):
        warnings.warn(
            f"the price response was learned from answers up to {until}, which nobody knew on {day}: prices go by the "
            "policy's assumption",
            stacklevel=2,
        )
        return None
    if found is not None and model is not None and (differing := found.model.differs(model)):
        warnings.warn(
            f"the price response was learned with {differing}: what it takes for readiness to open a bundle is told of "
            "something else; train a champion like it, or learn it anew with `sheaf price-response`",
            stacklevel=2,
        )
    return found


def attrition() -> Registered[Attrition] | None:
    """The attrition model that answers, or None where none was learned yet. Raises ArtifactError as `champion` does."""
    return _champion(ATTRITION, Attrition.load)


def need_attrition(day: dt.date) -> Registered[Attrition]:
    """The same for clients as of a day. Raises RegistryError where there is none, or what it learned from was not known
    on the day."""
    found = attrition()
    if found is None and (known := _not_promoted(ATTRITION)):
        raise RegistryError(f"no attrition model in {tracking_uri()} answers: {known}")
    if found is None:
        raise RegistryError(
            f"there is no attrition model in {tracking_uri()}; run `sheaf attrition --data DIR` first, in this folder"
        )
    if (until := found.model.about["known_by"]) > str(day):
        raise RegistryError(
            f"the attrition model was learned from who left up to {until}, which nobody knew on {day}; ask for a later "
            "day, or learn one from earlier days in another folder"
        )
    return found


def need_champion() -> Registered[Model]:
    """The champion. Raises RegistryError where there is none."""
    found = champion()
    if found is None and (known := _not_promoted(NAME)):
        raise RegistryError(f"no model in {tracking_uri()} is champion: {known}")
    if found is None:
        raise RegistryError(f"there is no champion in {tracking_uri()}; run `sheaf train` first, in this folder")
    return found


def models() -> Iterator[Registered[Model]]:
    """Every model that is registered, the newest first; a warning names one that has lost its files."""
    return _every(NAME, Model.load)


def price_responses() -> Iterator[Registered[PriceResponse]]:
    """Every price response that is registered, as `models` gives models."""
    return _every(RESPONSE, PriceResponse.load)


def _every(name: str, load: Callable[[Path, str | None], M]) -> Iterator[Registered[M]]:
    with _reached():
        versions = client().search_model_versions(f"name = '{name}'")
    for version in sorted(versions, key=lambda one: -int(one.version)):
        try:
            yield _loaded(version, load)
        except ArtifactError as error:
            warnings.warn(str(error), stacklevel=2)


def _champion(name: str, load: Callable[[Path, str | None], M]) -> Registered[M] | None:
    if (number := crowned(name)) is None:
        return None
    with _reached():
        version = client().get_model_version(name, number)
    return _loaded(version, load)


def _loaded(version: ModelVersion, load: Callable[[Path, str | None], M]) -> Registered[M]:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        folder = Path(download_artifacts(artifact_uri=version.source, tracking_uri=tracking_uri()))
    except (MlflowException, OSError) as error:
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        raise ArtifactError(
            f"version {version.version}{aliases} of {version.name} has lost its files at {version.source}: restore "
            "them or train anew"
        ) from error
    return Registered(load(folder, version.tags.get("fingerprint")), str(version.version), str(version.run_id))
