"""What a quote is worked out again from."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("quotes", sa.Column("priced_by", sa.Text))
