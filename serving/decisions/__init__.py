"""The decision log: every answer with all that it rests on, and what became of it, in SQLite or PostgreSQL."""

from serving.decisions.database import LogSettingError, configured, upgrade
from serving.decisions.entries import Told, add_decision, add_feedback, new_id, read_decision
from serving.decisions.tables import Outcome
from serving.decisions.writer import LogUnavailableError, RefusedError, Writer

__all__ = [
    "LogSettingError",
    "LogUnavailableError",
    "Outcome",
    "RefusedError",
    "Told",
    "Writer",
    "add_decision",
    "add_feedback",
    "configured",
    "new_id",
    "read_decision",
    "upgrade",
]
