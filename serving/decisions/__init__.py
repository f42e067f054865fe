"""The decision log: every answer with all that it rests on, and what became of it, in SQLite or PostgreSQL."""

from sheaf.serving.decisions.database import configured, upgrade
from sheaf.serving.decisions.entries import (
    Accepted,
    FeedbackEntry,
    Past,
    Visible,
    add_decisions,
    add_feedback,
    add_quote,
    new_id,
    read_accepted,
    read_decision,
    read_past,
    read_quote,
    read_versions,
    unless_accepted,
)
from sheaf.serving.decisions.tables import Outcome
from sheaf.serving.decisions.writer import LogUnavailableError, RefusedError, Writer

__all__ = [
    "Accepted",
    "FeedbackEntry",
    "LogUnavailableError",
    "Outcome",
    "Past",
    "RefusedError",
    "Visible",
    "Writer",
    "add_decisions",
    "add_feedback",
    "add_quote",
    "configured",
    "new_id",
    "read_accepted",
    "read_decision",
    "read_past",
    "read_quote",
    "read_versions",
    "unless_accepted",
    "upgrade",
]
