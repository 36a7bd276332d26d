"""How Alembic runs the migrations: on the connection that `spawnai export sql` hands over."""

from alembic import context

from spawnai.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="spawnai_schema_version",
)
with context.begin_transaction():
    context.run_migrations()
