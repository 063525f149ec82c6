"""The unit of work of a request, a job or a command: who acts, and the transaction that is open.

`with reading():` and `with writing():` are the only ways to a transaction. A block begins its transaction with its
first statement and commits it at its end, or rolls it back where an exception leaves the block; then it calls what
was registered with `after_commit` or `after_rollback`. Inside a block that has not begun yet, another block is a
transaction of its own: a login counts the attempt in one, hashes the password in none, and goes on in the view's.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from flask import Flask, g, has_request_context
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy.exc import DBAPIError

from app.core.db.dialects.protocol import Access
from app.core.db.dialects.registry import dialect_of
from app.core.db.engines import engine_options
from app.core.db.errors import await_repetition
from app.core.db.models import Base
from app.core.db.transaction import Question, Transaction
from app.core.request_context import Actor, RequestContext, context_of_request, context_of_system, current_application

P = ParamSpec("P")
R = TypeVar("R")
_current_globals: Callable[[], Any] = g._get_current_object  # which the proxy looks up for each attribute

ATTEMPTS = 4
"""How often a block is run when the database sacrifices it to resolve a deadlock."""


@dataclass(slots=True)
class UnitOfWork:
    """The state of the request, job or command of this application context."""

    context: RequestContext
    actor: Actor | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    """The content of the request's signed token."""
    transaction: Transaction = field(default_factory=Transaction)
    has_session: bool = False
    connection: sa.Connection | None = None
    """The connection that a reading block reads on, with a session or without."""
    reader: Callable[[], sa.Connection | None] | None = None
    """Gives a reading block a connection to another server, or None where the primary is to be asked."""
    written_to: str | None = None
    """The position in the log of writes that this has reached, where a standby may be read."""
    question: Question | None = None
    """What is to be found out before anything that is read may be looked at: who asks."""

    @property
    def is_reading(self) -> bool:
        return self.transaction.access == "read"

    def settle(self, rows: Any = None) -> None:
        """Answer the open question, from its rows or by asking. It stays open where that raises an error."""
        if (question := self.question) is None:
            return
        self.question = None
        try:
            question.answer(rows)
        except BaseException:
            self.question = question
            raise

    def reading_connection(self) -> sa.Connection:
        """The connection of a block that reads; raises what an open question raises."""
        self.settle()
        return self.open_connection()

    def open_connection(self) -> sa.Connection:
        """The same, while a question may be open."""
        if self.connection is None:
            elsewhere = self.reader() if self.reader else None
            self.connection = elsewhere or _take("read") or db.engine.connect().execution_options(access="read")
        return self.connection

    def writing_connection(self) -> sa.Connection | sa.Engine:
        """What a session that writes is bound to."""
        if self.connection is None:
            self.connection = None if self.transaction.outer is None else _take("write")
        return self.connection or db.engine

    def current_connection(self) -> sa.Connection:
        """The connection of the current block. The session is asked each time: only then has a savepoint begun."""
        return self.reading_connection() if self.is_reading else db.session.connection()

    def commit(self) -> None:
        """Commit the transaction and release its connection."""
        # Most requests that only read need no session, and to make one would cost a tenth of them.
        if self.has_session:
            db.session.commit()
        elif self.transaction.after_commit:
            self.conclude(is_committed=True)
        self.release()

    def roll_back(self) -> None:
        """Roll the transaction back and release its connection."""
        if self.has_session:
            db.session.rollback()
        self.conclude(is_committed=False)
        self.release()

    def conclude(self, *, is_committed: bool) -> None:
        """Call what was registered for the end of the transaction."""
        ended = self.transaction
        self.transaction = Transaction(ended.access, ended.action, ended.outer, ended.is_dry_run)
        if is_committed and ended.changed_tables:
            current_application().extensions["tables_changed"](ended.changed_tables)
        for function, items in (ended.after_commit if is_committed else ended.after_rollback).items():
            function(items.keys())

    def release(self) -> None:
        if self.connection is not None:
            connection, self.connection = self.connection, None
            dialect_of(connection).connections.give_back(connection)

    def begin(self, access: Access, action: str) -> None:
        """Begin a block; raises RuntimeError inside of one that has begun to write."""
        self.settle()
        if self.has_session:
            if self.transaction.outer is not None and not self.is_reading and db.session().in_transaction():
                raise RuntimeError("A block cannot begin inside of another one whose transaction is open.")
            self.commit()
            # Others may have written since these objects were read.
            db.session.expire_all()
        self.release()
        self.transaction = Transaction(access, action, self.transaction)


def _take(access: Access) -> sa.Connection | None:
    engine: sa.Engine = current_application().extensions["engine"]
    return dialect_of(engine).connections.take(engine, access)


def unit_of_work() -> UnitOfWork:
    """The unit of work of this application context, which is made when it is first asked for."""
    try:
        return cast(UnitOfWork, _current_globals().unit_of_work)
    except AttributeError:
        work = g.unit_of_work = UnitOfWork(context_of_request() if has_request_context() else context_of_system())
        return work


def current_context() -> RequestContext:
    """The context of the current request or job; outside of them the system itself acts."""
    return unit_of_work().context


def current_actor() -> Actor:
    """The signed-in user. Only views behind `requires` and jobs have one."""
    return cast(Actor, actor_or_none())


def actor_or_none() -> Actor | None:
    work = unit_of_work()
    work.settle()
    return work.actor


def act_as(actor: Actor) -> None:
    """Attribute everything from here on to `actor`."""
    work = unit_of_work()
    work.actor = actor
    work.context = work.context.of(actor)


def act_in(context: RequestContext) -> None:
    """Attribute everything from here on to this context."""
    unit_of_work().context = context


class Session(FlaskSession):
    """A session that reads without a transaction inside of `reading`, and reports how its transactions end.

    Under READ COMMITTED each statement has its own snapshot anyway; autocommit saves two round trips, and on SQLite no
    reader waits for the one writer.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        unit_of_work().has_session = True

    def get_bind(self, *_: Any, **__: Any) -> sa.Engine | sa.Connection:
        work = unit_of_work()
        return work.reading_connection() if work.is_reading else work.writing_connection()

    def commit(self) -> None:
        self.flush()
        work = unit_of_work()
        changed = work.transaction.changed_tables
        with current_application().extensions["tables_changing"](changed) if changed else nullcontext():
            super().commit()
            work.conclude(is_committed=True)

    def rollback(self) -> None:
        super().rollback()
        unit_of_work().conclude(is_committed=False)

    def _refuse_bulk(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("A bulk write would bypass the audit log; use the set-based writer.")

    # These emit no events.
    bulk_save_objects = bulk_insert_mappings = bulk_update_mappings = _refuse_bulk


# Models are plain SQLAlchemy and inherit from Base; Flask-SQLAlchemy lends the engine and the session.
db = SQLAlchemy(
    metadata=Base.metadata,
    # What a view returns is read after the commit; refetching it could show somebody else's later change.
    session_options={"class_": Session, "expire_on_commit": False},
)


class _Block(AbstractContextManager[None]):
    """A block. Every request has one, for which a generator takes ten calls more."""

    def __init__(self, work: UnitOfWork, access: Access, action: str) -> None:
        self._work, self._access, self._action = work, access, action

    def __enter__(self) -> None:
        self._outer = self._work.transaction
        self._work.begin(self._access, self._action)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        work = self._work
        try:
            if kind is None and not work.transaction.is_dry_run:
                work.commit()
            else:
                work.roll_back()
        except BaseException:
            work.roll_back()
            raise
        finally:
            work.transaction = self._outer


def reading() -> AbstractContextManager[None]:
    """A block that reads: each statement by itself, without locks, and without waiting for any. It changes nothing."""
    return nullcontext() if (work := unit_of_work()).is_reading else _Block(work, "read", "update")


def writing(action: str = "update") -> AbstractContextManager[None]:
    """A block that is one transaction; `action` is what the audit log calls its changes of objects."""
    return _Block(unit_of_work(), "write", action)


def transactional(
    function: Callable[P, R], block: Callable[[], AbstractContextManager[None]] = writing
) -> Callable[P, R]:
    """Run a function as one block, again from its start where only the database is to blame.

    A read that meets a dead connection is repeated once on a new one, a write that loses a deadlock up to ATTEMPTS
    times. A view's block ends inside of Flask's exception handling, so that a constraint may fail at the commit.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with block():
                    return function(*args, **kwargs)
            except DBAPIError as error:
                if attempt == ATTEMPTS or not await_repetition(error, attempt, is_read=block is reading):
                    raise
        raise AssertionError("The last attempt returns or raises.")

    return wrapper


def touch(*tables: str) -> None:
    """Note that the current transaction changes these tables: what is cached of them is out of date after it."""
    unit_of_work().transaction.changed_tables.update(tables)


def init_app(
    app: Flask,
    *,
    tables_changing: Callable[[set[str]], AbstractContextManager[None]],
    tables_changed: Callable[[set[str]], None],
) -> None:
    """Give an application its database; commits are within `tables_changing`, and `tables_changed` is called after."""
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(app.config["SQLALCHEMY_DATABASE_URI"])
    app.extensions["tables_changing"] = tables_changing
    app.extensions["tables_changed"] = tables_changed
    # Torn down in the reverse order: the session lets go of the connection before it goes back.
    app.teardown_appcontext(_release_connection)
    db.init_app(app)


def _release_connection(_error: BaseException | None) -> None:
    if work := _current_globals().get("unit_of_work"):
        work.release()
