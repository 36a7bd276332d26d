"""The first tables and views."""

from alembic import op

from spawnai.database.tables import SOON, VIEWS, metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables and views."""
    connection = op.get_bind()
    metadata.create_all(connection)
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query.format(soon=SOON[connection.dialect.name])}")


def downgrade() -> None:
    """Take them away."""
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
    metadata.drop_all(op.get_bind())
