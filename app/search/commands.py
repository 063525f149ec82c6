"""`flask search`: maintenance of the search table."""

import click
from flask.cli import AppGroup

from app.catalog import CATALOG
from app.core.db.dialects.registry import current_dialect
from app.core.db.schema import needs_schema
from app.core.db.unit_of_work import db, writing
from app.resource import Resource
from app.resource.query.searched_fields import is_searched, searched_of

search = AppGroup("search", help="Look after the table of what can be found.")


@search.command("rebuild")
@needs_schema
def rebuild() -> None:
    """Rebuild the search table from the stored objects.

    Needed only after rows were written past the triggers. Searches go on meanwhile; a write waits until
    the entries of its resource are written.
    """
    for resource in filter(is_searched, CATALOG.values()):
        with writing():
            count = rebuild_entries(resource)
        click.echo(f"{resource.name}: {count}")


def rebuild_entries(resource: Resource) -> int:
    """Write the search entries of one resource in the current transaction; returns how many."""
    connection, dialect = db.session.connection(), current_dialect()
    dialect.connections.lift_timeout(connection)
    dialect.search.lock(connection)
    statements = searched_of(resource).rebuilding(dialect.search.insertion)
    return [connection.exec_driver_sql(statement).rowcount for statement in statements][-1]
