"""The database handle, the base every model shares, and the one transaction per request."""

import enum
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, ParamSpec, TypeVar

import sqlalchemy as sa
from flask import Flask, g, has_app_context, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from psycopg import errors as postgres
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from app.core.columns import Id, Json, Money, Quantity, UtcDateTime
from app.core.connections import engine_options
from app.core.values import Choice, utcnow

P = ParamSpec("P")

R = TypeVar("R")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

ATTEMPTS = 4
"""How often a write is tried when the database sacrifices it to resolve a deadlock."""


class Base(DeclarativeBase):
    """The root of every model; constraint names are part of the API, errors.py reads them back."""

    __table__: ClassVar[sa.Table]

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        date: sa.Date,
        float: Quantity,
        Decimal: Money,
        str: sa.String(255),
        Choice: sa.Enum(
            enum.Enum,
            native_enum=False,
            create_constraint=True,
            length=32,
            values_callable=lambda kind: [member.value for member in kind],
        ),
        dict[str, Any]: Json,
        list[str]: Json,
        list[dict[str, Any]]: Json,
    }


class Entity(Base):
    """A row that clients see: numbered, versioned, dated and owned."""

    __abstract__ = True

    label: ClassVar[str] = "name"
    """The column by which a person recognises the object; what a reference to it shows as `name`."""
    watched: ClassVar[bool] = False
    """Whether the session's listeners guard its rules, so that the set-based writer may not touch it."""

    id: Mapped[int] = mapped_column(Id, primary_key=True, sort_order=-2)
    version: Mapped[int] = mapped_column(sort_order=-1)
    created_at: Mapped[datetime] = mapped_column(default=utcnow, sort_order=98)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, sort_order=99)

    @declared_attr
    @classmethod
    def created_by_id(cls) -> Mapped[int | None]:
        return mapped_column(Id, sa.ForeignKey("users.id"), index=True, sort_order=97)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return table_args()

    def __str__(self) -> str:
        return str(getattr(self, self.label))

    @classmethod
    def flaws(cls, _values: Mapping[str, Any]) -> dict[str, list[str]]:
        """What is wrong with an object of these values as a whole, by field; a constraint guards it too."""
        return {}


def table_args(*constraints: Any) -> tuple[Any, ...]:
    """The `__table_args__` of an entity: its constraints, and ids that SQLite never hands out twice.

    An id that came back would continue the audit trail of the object that had it before.
    """
    return (*constraints, {"sqlite_autoincrement": True})


def unique(table: str, *fields: str, folded: Sequence[str] = ()) -> sa.Index:
    """Each combination of `fields` once; `folded` text compares ignoring case.

    With `folded` text, an absent parent counts as a parent, so that names are unique there too; without it,
    absent values never collide.
    """
    expressions: list[Any] = [
        sa.text(f"lower({name})" if name in folded else f"coalesce({name}, 0)") if folded else name for name in fields
    ]
    return sa.Index(
        f"uq_{table}_{'_'.join(fields)}",
        *expressions,
        unique=True,
        info={"fields": fields, "folded": tuple(folded)},
    )


def unique_fields(table: sa.Table) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The (fields, folded fields) of every uniqueness rule of a table."""
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique and "fields" in index.info:
            yield index.info["fields"], index.info["folded"]


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
