"""All SQLAlchemy listeners, attached in one place: to the application's engine and to our own session class."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Flask
from sqlalchemy import Engine, event

from app.core.addresses import address_key
from app.core.db import measurement
from app.core.db.dialects.protocol import Listener
from app.core.db.dialects.registry import dialect_of
from app.core.db.statements import note_changed_table
from app.core.db.unit_of_work import Session, db
from app.core.values import fold_value, natural_key, plain_number


class Listeners(NamedTuple):
    """The listeners that do not belong to the database itself."""

    before_flush: Listener
    after_flush: Listener
    do_orm_execute: Listener


def attach(app: Flask, listeners: Listeners, sql_functions: Mapping[str, Callable[[Any], Any]]) -> None:
    """Attach the listeners; `sql_functions` are those that SQL may call, as `fold`, where the database calls Python."""
    functions: dict[str, Callable[[Any], Any]] = {
        "fold": fold_value,
        "natural_key": natural_key,
        "address_key": address_key,
        "plain_number": plain_number,
        **sql_functions,
    }
    with app.app_context():
        engine = db.engine
    app.extensions["engine"] = engine
    attach_to_connections(engine, dialect_of(engine).connections.listeners(functions))
    event.listen(engine, "after_execute", note_changed_table)
    # The session class is one for all applications of the process.
    for name, listener in listeners._asdict().items():
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener)


def attach_to_connections(engine: Engine, listeners: Mapping[str, Listener]) -> None:
    """Attach what listens to the connections of an engine, be it that of a standby."""
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    event.listen(engine, "checkout", measurement.check_out)
    event.listen(engine, "checkin", measurement.check_in)
