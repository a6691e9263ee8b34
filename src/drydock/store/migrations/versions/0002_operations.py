"""The journal of update operations, and image backups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create both collections."""
    op.create_table(
        "operations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("container_id", sa.Text, nullable=False),
        sa.Column("new_container_id", sa.Text),
        sa.Column("old_container_id", sa.Text),
        sa.Column("unfinished", sa.Boolean, nullable=False),
        sa.Column("committed", sa.Boolean, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    for column in ("key", "container_id", "new_container_id", "old_container_id", "unfinished", "updated_at"):
        op.create_index(f"ix_operations_{column}", "operations", [column])
    op.create_table(
        "backups",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("container_name", sa.Text, nullable=False),
        sa.Column("timestamp", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("ix_backups_key", "backups", ["key", "timestamp"])
    op.create_index("ix_backups_container_name", "backups", ["container_name", "timestamp"])
