"""Alembic's entry. `store.schema.migrate` hands over its connection, in a transaction and under its lock.

From the command line (`alembic revision --autogenerate`) it is given a URL by SIZEWISE_DATABASE_URL.
"""

import os

from alembic import context
from sqlalchemy import Connection

from collector.store.schema import comparison_options, engine
from collector.store.tables import metadata


def run_on(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, **comparison_options(connection))
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run_on(given)
else:
    with engine(os.environ["SIZEWISE_DATABASE_URL"]).begin() as own:
        run_on(own)
