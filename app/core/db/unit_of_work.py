"""The database handle, the base every model shares, and the one transaction per request."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from flask import Flask, g, has_app_context, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from psycopg import errors as postgres
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from app.core.db.engines import engine_options
from app.core.db.models import Base

P = ParamSpec("P")

R = TypeVar("R")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

ATTEMPTS = 4
"""How often a write is tried when the database sacrifices it to resolve a deadlock."""


class Session(FlaskSession):
    """A session whose safe requests read without opening a transaction.

    Under READ COMMITTED each statement has its own snapshot anyway; autocommit saves two round trips and,
    on SQLite, keeps readers from ever waiting for the one writer.
    """

    def get_bind(self, *_: Any, **__: Any) -> sa.Engine | sa.Connection:
        return reading_connection() if is_reading() else db.engine

    def _refuse_bulk(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("A bulk write would bypass the audit log; use the set-based writer.")

    # These tell no listener.
    bulk_save_objects = bulk_insert_mappings = bulk_update_mappings = _refuse_bulk


# Models are plain SQLAlchemy and inherit from Base; Flask-SQLAlchemy lends the engine and the session.
db = SQLAlchemy(
    metadata=Base.metadata,
    # What a view returns is read after the commit; refetching it could show somebody else's later change.
    session_options={"class_": Session, "expire_on_commit": False},
)


def transactional(view: Callable[P, R]) -> Callable[P, R]:
    """Commit when the view returns, roll back when it raises.

    Runs inside Flask's exception handling, so a constraint that only fails at commit still becomes an
    envelope; an `after_request` hook could not do that. A read that meets a dead connection is repeated once
    on a new one, a write that loses a deadlock from its start.
    """

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        reading = has_request_context() and request.method in SAFE_METHODS
        for attempt in range(1, ATTEMPTS + 1):
            g.reading = reading
            try:
                response = view(*args, **kwargs)
                commit_now()
            except DBAPIError as error:
                roll_back()
                if attempt == ATTEMPTS or not _may_repeat(error, reading=reading, attempt=attempt):
                    raise
            except BaseException:
                roll_back()
                raise
            else:
                return response
        raise AssertionError("The last attempt returns or raises.")

    return wrapper


def _may_repeat(error: DBAPIError, *, reading: bool, attempt: int) -> bool:
    if isinstance(error.orig, (postgres.DeadlockDetected, postgres.SerializationFailure)):
        return True
    return reading and attempt == 1 and error.connection_invalidated


def commit_now() -> None:
    """End the transaction, and let go of its connection: what was written is there, whatever comes after.

    Views end in it by themselves. Jobs take their steps by it, and so does a request for what must survive its own
    failure (a counted wrong password).
    """
    # A request that only read has no unit of work, and it costs a tenth of it to begin one.
    if db.session.registry.has():
        db.session.commit()
    _release()


def roll_back() -> None:
    """Undo what the request has done since it last committed."""
    if db.session.registry.has():
        db.session.rollback()
    _release()


def begin_reading() -> None:
    """Let a request look first and then write: until `begin_writing` it has no lock and waits for none."""
    commit_now()
    g.reading = True


def looks_first(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view that writes begin without a lock, its caller's token included; it calls `begin_writing` by itself.

    SQLite has one writer, who may be the very work that the view is about.
    """

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        begin_reading()
        return view(*args, **kwargs)

    return wrapper


def is_reading() -> bool:
    """Whether there is no transaction, in which something could be changed."""
    return bool(g.get("reading"))


def let_go() -> None:
    """End the transaction before something slow: nobody waits for a connection or a lock that waits for others."""
    commit_now()
    # What comes after is another transaction, which others may have been before.
    db.session.expire_all()


def begin_writing() -> None:
    """Let a safe request write: what it has to record (an export, a download) needs a transaction."""
    commit_now()
    g.reading = False


def reading_connection() -> sa.Connection:
    """The one connection on which a safe request reads, with a unit of work or without."""
    if "connection" not in g:
        g.connection = db.engine.connect().execution_options(access="read")
    connection: sa.Connection = g.connection
    return connection


def _release() -> None:
    connection: sa.Connection | None = g.pop("connection", None)
    if connection is not None:
        connection.close()


def touch(*tables: str) -> None:
    """Note that the current transaction changes these tables, for whoever must know after the commit."""
    db.session.info.setdefault("changed_tables", set()).update(tables)


@event.listens_for(sa.Engine, "after_execute")
def _note_changed_table(_connection: Any, statement: Any, *_: Any) -> None:
    """Every INSERT, UPDATE and DELETE comes by here, the flushed ones too; COPY says so itself."""
    if statement.is_dml and has_app_context():
        touch(statement.table.name)


def init_app(app: Flask) -> None:
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(app.config["SQLALCHEMY_DATABASE_URI"])
    # Torn down in the reverse order: the session lets go of the connection before it goes back.
    app.teardown_appcontext(lambda _: _release())
    db.init_app(app)
