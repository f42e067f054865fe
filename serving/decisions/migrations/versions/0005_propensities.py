"""The chance of a list and the chances of its prices are two things."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Not alter_column: SQLite would copy the whole table for it.
    op.execute(sa.text("ALTER TABLE decisions RENAME COLUMN propensity TO list_propensity"))
    op.add_column("decisions", sa.Column("price_propensity", sa.Text))
