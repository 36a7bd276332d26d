"""Costs that are no session's: those of pools, images and classes."""

import sqlalchemy as sa
from alembic import op

from spawnai.database.tables import SOON, VIEWS

revision = "0003"
down_revision = "0002"

_TABLE = "cost_tracking"


def upgrade() -> None:
    """Let a cost be no session's, and make all views anew: they read what changes.

    0001 makes the tables of today, with all their columns.
    """
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(_TABLE)}
    _drop_views()
    # SQLite changes a column by copying the table.
    with op.batch_alter_table(_TABLE) as table:
        table.alter_column("session_id", existing_type=sa.String(64), nullable=True)
        if "kind" not in known:
            table.add_column(
                sa.Column("kind", sa.String(20), nullable=False, server_default="session")
            )
            table.add_column(sa.Column("owner_name", sa.String(253)))
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query.format(soon=SOON[op.get_bind().dialect.name])}")


def downgrade() -> None:
    """Forget what is no session's; the views stay, as they read no more than there was."""
    _drop_views()
    op.execute(f"DELETE FROM {_TABLE} WHERE session_id IS NULL")  # noqa: S608 - our name
    with op.batch_alter_table(_TABLE) as table:
        table.drop_column("owner_name")
        table.drop_column("kind")
        table.alter_column("session_id", existing_type=sa.String(64), nullable=False)
    for name, query in VIEWS.items():
        if name != "shared_costs":
            soon = SOON[op.get_bind().dialect.name]
            op.execute(f"CREATE VIEW {name} AS {query.format(soon=soon)}")


def _drop_views() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW IF EXISTS {name}")
