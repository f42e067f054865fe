"""Decisions and feedback."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(36), primary_key=True),
        sa.Column("request_id", sa.String(200)),
        sa.Column("caller", sa.String(200)),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_id", sa.String(200)),
        sa.Column("new_client", sa.Text),
        sa.Column("channel", sa.String(100)),
        sa.Column("objective", sa.String(20), nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("lines", sa.Text, nullable=False),
        sa.Column("authority", sa.String(100)),
        sa.Column("candidates", sa.Text, nullable=False),
        sa.Column("propensity", sa.Float, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("profile", sa.LargeBinary, nullable=False),
        sa.Column("profile_day", sa.String(10), nullable=False),
        sa.Column("model_version", sa.String(40), nullable=False),
        sa.Column("catalog_version", sa.String(40), nullable=False),
        sa.Column("response_version", sa.String(40)),
    )
    op.create_index("ix_decisions_client_id", "decisions", ["client_id"])
    op.create_table(
        "feedback",
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
        sa.Column("caller", sa.String(200)),
    )
    op.create_index("ix_feedback_decision_id", "feedback", ["decision_id"])
    answered = sa.text("outcome <> 'shown'")
    op.create_index(
        "uq_feedback_answered",
        "feedback",
        ["decision_id", "bundle_id"],
        unique=True,
        sqlite_where=answered,
        postgresql_where=answered,
    )
