"""Quotes, and what of a client's holdings an answer was priced by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "quotes",
        sa.Column("quote_id", sa.String(36), primary_key=True),
        sa.Column("request_id", sa.String(200)),
        sa.Column("caller", sa.String(200)),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_id", sa.String(200), nullable=False),
        sa.Column("channel", sa.String(100)),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("held", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("model_version", sa.String(40), nullable=False),
        sa.Column("catalog_version", sa.String(40), nullable=False),
        sa.Column("response_version", sa.String(40)),
    )
    op.create_index("ix_quotes_client_id", "quotes", ["client_id"])
    op.add_column("decisions", sa.Column("own", sa.Text))
