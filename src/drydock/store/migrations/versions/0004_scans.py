"""Scan results by digest, and the last alert of each container."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the collections of the security room."""
    op.create_table(
        "scans",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "scan_alerts",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("findings", sa.Text, nullable=False),
    )
