"""Maintenance of the counters: folding, comparing them with the objects, counting anew."""

from app.core.db.counters.models import counted_of
from app.core.db.dialects.registry import current_dialect
from app.core.db.models import Entity
from app.core.db.unit_of_work import db, writing


def fold_counters() -> int:
    """Replace several rows of one number by one; returns how many numbers were folded."""
    statement = current_dialect().counters.folding()
    if statement is None:
        return 0
    with writing():
        return db.session.connection().exec_driver_sql(statement).rowcount


def wrong_numbers(model: type[Entity]) -> list[tuple[str, str]]:
    """The counter and the key of each number that is not that of the objects, of one moment."""
    statement = current_dialect().counters.differences(counted_of(model))
    if statement is None:
        return []
    dialect, connection = current_dialect(), db.session.connection()
    dialect.connections.lift_timeout(connection)
    return [(counter, str(key)) for counter, key in connection.exec_driver_sql(statement)]


def rebuild_counters(model: type[Entity]) -> int:
    """Count the objects of a model anew in the current transaction; returns how many rows the counters have then."""
    dialect, connection = current_dialect(), db.session.connection()
    dialect.connections.lift_timeout(connection)
    count = 0
    for statement in dialect.counters.rebuilding(counted_of(model)):
        count = connection.exec_driver_sql(statement).rowcount
    return count
