"""All SQLAlchemy listeners, attached in one place: to the application's engine and to our own session class."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Flask
from sqlalchemy import event

from app.core.addresses import address_key
from app.core.db import connections, postgresql
from app.core.db.statements import note_changed_table
from app.core.db.timeouts import LOCK_SECONDS
from app.core.db.unit_of_work import Session, db
from app.core.values import fold_value, joined_search_text, natural_key, plain_number

Listener = Callable[..., Any]


class Listeners(NamedTuple):
    """The listeners that do not belong to the database itself."""

    handle_error: Listener
    before_flush: Listener
    after_flush: Listener
    do_orm_execute: Listener


def attach(app: Flask, listeners: Listeners, sql_functions: Mapping[str, Callable[[Any], Any]]) -> None:
    """Attach the listeners, nine on either database; `sql_functions` are created on each connection to SQLite."""
    functions: dict[str, Callable[[Any], Any]] = {
        "fold": fold_value,
        "natural_key": natural_key,
        "address_key": address_key,
        "plain_number": plain_number,
        **sql_functions,
    }
    with app.app_context():
        engine = db.engine
    event.listen(engine, "begin", connections.begin)
    event.listen(engine, "checkout", connections.check_out)
    event.listen(engine, "checkin", connections.check_in)
    event.listen(engine, "after_execute", note_changed_table)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _record: _prepare_sqlite(connection, functions))
        event.listen(engine, "handle_error", listeners.handle_error)
    else:
        event.listen(engine, "do_connect", connections.connect)
        event.listen(engine, "handle_error", postgresql.keep_pool)
    # The session class is one for all applications of the process.
    for name in ("before_flush", "after_flush", "do_orm_execute"):
        if not event.contains(Session, name, getattr(listeners, name)):
            event.listen(Session, name, getattr(listeners, name))


def _prepare_sqlite(connection: sqlite3.Connection, functions: Mapping[str, Callable[[Any], Any]]) -> None:
    # The driver must not begin transactions by itself: it would begin deferred ones.
    connection.isolation_level = None
    for name, function in functions.items():
        connection.create_function(name, 1, function, deterministic=True)
    connection.create_function("search_text", -1, joined_search_text, deterministic=True)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
        f"busy_timeout={LOCK_SECONDS * 1000:.0f}",
    ):
        connection.execute(f"PRAGMA {pragma}")
