"""A study's runs in MLflow: one for the study, and nested in it one for each trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sheaf.training import registry

PARENT, OF_STUDY = "mlflow.parentRunId", "sheaf.study"


class StudyRuns:
    """The runs of the study of this name; those of an earlier process are taken up again."""

    def __init__(self, study: str, parameters: Mapping[str, Any], texts: Mapping[str, str]):
        self._client = registry.client()
        self._experiment = registry.experiment_id(self._client)
        found = self._client.search_runs([self._experiment], f"tags.`{OF_STUDY}` = '{study}'", max_results=1)
        if found:
            self.run_id = found[0].info.run_id
            self._client.update_run(self.run_id, status="RUNNING")
            self._bury()
        else:
            self.run_id = self._create(study, {OF_STUDY: study}, parameters)
            self.texts(texts)

    def start(self, name: str, parameters: Mapping[str, Any]) -> str:
        """A nested run; returns its id."""
        return self._create(name, {PARENT: self.run_id}, parameters)

    def end(self, run_id: str, figures: Mapping[str, float], how: str) -> None:
        """Logs the figures; `how` the trial ended becomes a tag, and all but `finished` and `pruned` a failed run."""
        self.figures(figures, run_id=run_id)
        self._client.set_tag(run_id, "ended", how)
        self._client.set_terminated(run_id, "FINISHED" if how in ("finished", "pruned") else "FAILED")

    def figures(self, figures: Mapping[str, float], step: int = 0, run_id: str | None = None) -> None:
        """Logs figures of the study, or of a nested run; what is not a number is no figure and is left out."""
        from mlflow.entities import Metric

        metrics = [Metric(name, value, 0, step) for name, value in figures.items() if value == value]
        self._client.log_batch(run_id or self.run_id, metrics=metrics)

    def texts(self, texts: Mapping[str, str]) -> None:
        """Logs texts of the study by the name of their file."""
        for name, text in texts.items():
            self._client.log_text(self.run_id, text, name)

    def close(self, status: str) -> None:
        """The study's own run ends, as MLflow's `FINISHED`, `FAILED` or `KILLED`."""
        self._client.set_terminated(self.run_id, status)

    def _create(self, name: str, tags: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        run_id: str = self._client.create_run(self._experiment, tags=dict(tags), run_name=name).info.run_id
        params = [Param(key, str(value)) for key, value in parameters.items()]
        self._client.log_batch(run_id, params=params)
        return run_id

    def _bury(self) -> None:
        """Ends the nested runs that a process left behind when it was killed."""
        running = f"tags.`{PARENT}` = '{self.run_id}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([self._experiment], running):
            self.end(run.info.run_id, {}, "killed")
