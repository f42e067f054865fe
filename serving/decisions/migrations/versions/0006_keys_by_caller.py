"""Idempotency keys are each caller's own, and callers have names as long as their tokens give them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

CALLER = sa.String(200).with_variant(sa.String(300), "postgresql")


def upgrade() -> None:
    op.execute(sa.text("UPDATE feedback SET caller = '' WHERE caller IS NULL"))
    if op.get_bind().dialect.name == "sqlite":
        return _copy_feedback()
    for table in ("decisions", "quotes", "feedback"):
        op.alter_column(table, "caller", type_=CALLER)
    op.alter_column("feedback", "caller", nullable=False)
    op.drop_constraint("feedback_pkey", "feedback")
    op.create_primary_key("feedback_pkey", "feedback", ["idempotency_key", "caller"])


def _copy_feedback() -> None:
    """SQLite changes no primary key of a table; rows of feedback are short."""
    op.create_table(
        "feedback_of_callers",
        sa.Column("idempotency_key", sa.String(200), primary_key=True),
        sa.Column(
            "decision_id",
            sa.String(36),
            sa.ForeignKey("decisions.decision_id", name="fk_feedback_decision_id"),
            nullable=False,
        ),
        sa.Column("bundle_id", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("caller", CALLER, primary_key=True),
    )
    names = "idempotency_key, decision_id, bundle_id, outcome, at, recorded_at, caller"
    op.execute(sa.text(f"INSERT INTO feedback_of_callers ({names}) SELECT {names} FROM feedback ORDER BY rowid"))
    op.drop_table("feedback")
    op.rename_table("feedback_of_callers", "feedback")
    op.create_index("ix_feedback_decision_id", "feedback", ["decision_id"])
    op.create_index(
        "uq_feedback_answered",
        "feedback",
        ["decision_id", "bundle_id"],
        unique=True,
        sqlite_where=sa.text("outcome <> 'shown'"),
    )
