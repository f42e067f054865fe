"""Runs the migrations on the connection, and in the transaction, of `sheaf.serving.decisions.database.upgrade`."""

from alembic import context

from sheaf.serving.decisions.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's as well, in a transaction that was begun explicitly
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
