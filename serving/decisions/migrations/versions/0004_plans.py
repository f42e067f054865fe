"""How a client was served when it was answered for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in ("decisions", "quotes"):
        op.add_column(table, sa.Column("plan", sa.Text))
        op.add_column(table, sa.Column("policy_version", sa.String(40)))
