"""The indexes that the console's history is read by."""

from alembic import op

revision = "0002"
down_revision = "0001"

_INDEXES = {
    "idx_sessions_ended": ["namespace", "destroyed_at", "id"],
    "idx_sessions_ended_anywhere": ["destroyed_at", "id"],
}


def upgrade() -> None:
    """Make them where they are missing: 0001 makes the tables of today, with all their indexes."""
    for name, columns in _INDEXES.items():
        op.create_index(name, "sessions", columns, if_not_exists=True)


def downgrade() -> None:
    """Take them away."""
    for name in _INDEXES:
        op.drop_index(name, "sessions")
