"""The database handle, the base every model shares, and the one transaction per request."""

import enum
import functools
import select
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, ClassVar, Literal, ParamSpec, Self, TypeVar, TypeVarTuple

import orjson
import psycopg
import sqlalchemy as sa
from flask import Flask, g, has_app_context, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from psycopg import errors as postgres
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.pool import Pool

P = ParamSpec("P")
R = TypeVar("R")
Columns = TypeVarTuple("Columns")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ATTEMPTS = 4
"""How often a write is tried when the database sacrifices it to resolve a deadlock."""

# What the driver's numbers may hold: beyond them SQLite overflows and PostgreSQL compares as numeric.
MAX_INTEGER = 2**31 - 1
MAX_ID = 2**63 - 1

CENT = Decimal("0.01")

ROWS_AT_ONCE = 1000
"""Rows that a set-based write converts together."""
ROWS_A_COPY = 10_000

Bind = Callable[[Any], Any]


def utcnow() -> datetime:
    return datetime.now(UTC)


class Choice(enum.Enum):
    """An enumeration stored and sent by value; further values of a member are its import aliases."""

    aliases: tuple[str, ...]

    def __new__(cls, value: str, *aliases: str) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.aliases = aliases
        return member


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time in microseconds, also on SQLite, which stores no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        if dialect.name == "postgresql":
            # The driver reads it as it should be, because our connections are in UTC.
            return None
        read: Any = self.impl_instance.dialect_impl(dialect).result_processor(dialect, coltype)
        return lambda value: None if value is None else read(value).replace(tzinfo=UTC)


class Quantity(sa.types.TypeDecorator[float]):
    """A measured amount with up to three decimals (cores, gigabytes); whole amounts read as integers."""

    impl = sa.Numeric(15, 3, asdecimal=False)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        return None if value is None else whole(round(value, 3))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], float | None]:
        return lambda value: None if value is None else whole(float(value))


class Money(sa.types.TypeDecorator[Decimal]):
    """An amount to the cent, never a float; SQLite, which has no decimals, stores the cents."""

    impl = sa.Numeric(15, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Numeric(15, 2, asdecimal=False))
        return dialect.type_descriptor(sa.Numeric(15, 2))

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> Decimal | int | None:
        if value is None:
            return None
        cents = value.quantize(CENT)
        return int(cents * 100) if dialect.name == "sqlite" else cents

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        return (Decimal(value) / 100 if dialect.name == "sqlite" else Decimal(value)).quantize(CENT)


class JsonText(sa.types.TypeDecorator[Any]):
    """JSON kept as the exact text that was written, so that its bytes can be hashed and verified."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json_text(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else orjson.loads(value)


Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# SQLite numbers rows only where the key is exactly INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


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
        return _reading_connection() if is_reading() else db.engine

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


def engine_options(url: str) -> dict[str, Any]:
    """The `SQLALCHEMY_ENGINE_OPTIONS` for a database URL."""
    # The default serializer writes "\\u4e2d" for a Chinese character, which no search would find.
    json = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
    }
    if url.startswith("sqlite"):
        return {**json, "connect_args": {"timeout": 30}}
    return {
        **json,
        # The driver begins nothing by itself: `_begin` does, where there is something to write.
        "isolation_level": "AUTOCOMMIT",
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 3,
            # To compile a plan takes longer than any of ours runs.
            "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC -c jit=off",
        },
    }


@event.listens_for(sa.Engine, "connect")
def _prepare_sqlite(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    # The driver must not begin transactions by itself: it would begin deferred ones.
    connection.isolation_level = None
    # SQLite's own lower() and LIKE know ASCII only; names are unique and found ignoring case in any script.
    connection.create_function("lower", 1, _lower, deterministic=True)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _lower(value: Any) -> Any:
    return fold(value) if isinstance(value, str) else value


def fold(text: str) -> str:
    """The text in lower case, as PostgreSQL's lower() has it: each character by itself.

    Python's own also looks at the neighbours (a final sigma) and makes two characters of one (a dotted I).
    """
    return text.lower() if text.isascii() else "".join(character.lower()[0] for character in text)


Access = Literal["write", "read", "snapshot"]
"""What a connection is for, its execution option `access`: "read" sees each statement's own moment and holds nothing
between them, "snapshot" sees one moment throughout."""

_BEGIN: Mapping[str, Mapping[Access, str]] = {
    # The write lock is taken at once: an upgrade from read to write fails whatever the timeout.
    "sqlite": {"write": "BEGIN IMMEDIATE", "snapshot": "BEGIN"},
    "postgresql": {"write": "BEGIN", "snapshot": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
}


@event.listens_for(sa.Engine, "begin")
def _begin(connection: sa.Connection) -> None:
    access = connection.get_execution_options().get("access", "write")
    if access != "read":
        connection.exec_driver_sql(_BEGIN[connection.dialect.name][access])


@event.listens_for(Pool, "checkout")
def _check_liveness(connection: Any, _record: Any, _fairy: Any) -> None:
    """Replace a connection that the server has closed meanwhile, without asking the server each time.

    Nobody has asked it anything, so whatever there is to read is a farewell, or a notice that the ping reads away.
    """
    if isinstance(connection, psycopg.Connection) and _has_something_to_read(connection):
        try:
            connection.execute("")
        except psycopg.Error as error:
            raise InvalidatePoolError from error


def _has_something_to_read(connection: psycopg.Connection) -> bool:
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


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


def _reading_connection() -> sa.Connection:
    """The one connection on which a safe request reads, with a unit of work or without."""
    if "connection" not in g:
        g.connection = db.engine.connect().execution_options(access="read")
    connection: sa.Connection = g.connection
    return connection


def _release() -> None:
    connection: sa.Connection | None = g.pop("connection", None)
    if connection is not None:
        connection.close()


@contextmanager
def planned_by_value(*, from_bitmaps: bool = False) -> Iterator[None]:
    """Have PostgreSQL plan the session's statements meanwhile for the very values that they are asked with.

    The plan that it keeps for a statement fits all values alike: where some find ten rows and others ten million, it
    is wrong for most. A large bitmap needs memory too, or each row of its pages is looked at again. `from_bitmaps`
    says what the planner cannot know: that few rows match, so they are to be found first and sorted then.
    """
    if db.engine.dialect.name != "postgresql":
        yield
        return
    settings = {"plan_cache_mode": "force_custom_plan", "work_mem": "64MB"}
    if from_bitmaps:
        settings |= {"enable_seqscan": "off", "enable_indexscan": "off"}
    db.session.execute(sa.select(*(sa.func.set_config(name, value, False) for name, value in settings.items())))
    try:
        yield
    except BaseException:
        # Nobody else is to get a connection with these settings.
        db.session().invalidate()
        raise
    for name in ("enable_seqscan", "enable_indexscan") if from_bitmaps else settings:
        db.session.execute(sa.text(f"RESET {name}"))


def touch(*tables: str) -> None:
    """Note that the current transaction changes these tables, for whoever must know after the commit."""
    db.session.info.setdefault("changed_tables", set()).update(tables)


@event.listens_for(sa.Engine, "after_execute")
def _note_changed_table(_connection: Any, statement: Any, *_: Any) -> None:
    """Every INSERT, UPDATE and DELETE comes by here, the flushed ones too; COPY says so itself."""
    if statement.is_dml and has_app_context():
        touch(statement.table.name)


def read_rows(statement: sa.Select[*Columns], values: Mapping[str, Any] | None = None) -> sa.CursorResult[*Columns]:
    """The rows of a query that builds no ORM objects; the way to read whatever is read often.

    A safe request needs no unit of work for that, which would cost more than they do.
    """
    connection = _reading_connection() if is_reading() else db.session.connection()
    return connection.execute(statement, values)


def write_rows(table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert many rows in the current transaction, each a sequence of values in the order of `columns`.

    COPY on PostgreSQL (measured at twice the rows a second of any INSERT), executemany on SQLite.
    """
    connection = db.session.connection()
    dialect = connection.dialect
    binds = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
    names = ", ".join(map(dialect.identifier_preparer.quote, columns))
    cursor: Any = connection.connection.cursor()
    try:
        if dialect.name == "postgresql":
            bound = _bound(binds, rows)
            # One statement for all of them could take longer than a statement may.
            while part := list(islice(bound, ROWS_A_COPY)):
                with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                    for row in part:
                        copy.write_row(row)
        else:
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
            cursor.executemany(statement, _bound(binds, rows))
    except dialect.loaded_dbapi.Error as error:
        # The driver's own error, because SQLAlchemy has no part in COPY: given the shape of all others.
        raise DBAPIError.instance(table.name, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
    finally:
        cursor.close()
    touch(table.name)


def _bound(binds: Sequence[Bind | None], rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The rows as the driver takes them, some at a time, so that what a column repeats is converted once."""
    places = [(place, bind) for place, bind in enumerate(binds) if bind is not None]
    rest = iter(rows)
    while some := list(islice(rest, ROWS_AT_ONCE)):
        columns: list[Sequence[Any]] = list(zip(*some, strict=True))
        for place, bind in places:
            columns[place] = _bound_column(bind, columns[place])
        yield from zip(*columns, strict=True)


def _bound_column(bind: Bind, values: Sequence[Any]) -> list[Any]:
    try:
        known = {value: None if value is None else bind(value) for value in set(values)}
    except TypeError:
        # JSON is not hashable.
        return [None if value is None else bind(value) for value in values]
    return [known[value] for value in values]


def any_of(column: sa.ColumnElement[Any], values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """`column IN (values)` as one parameter, for lists longer than a statement may have parameters."""
    listed = list(values)
    numeric = all(isinstance(value, int) for value in listed)
    kind: sa.types.TypeEngine[Any] = sa.BigInteger() if numeric else sa.Text()
    if db.engine.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(listed, sa.ARRAY(kind)))
    each = sa.func.json_each(sa.literal(orjson.dumps(listed).decode(), sa.Text())).table_valued("value")
    return column.in_(sa.select(each.c.value))


class json_items(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The members of a JSON list as rows with a text column `value`."""

    inherit_cache = True


class json_entries(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The entries of a JSON object as rows with the text columns `key` and `value`."""

    inherit_cache = True


class json_member(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 - the name of an SQL function
    """The value of a JSON object's key as text."""

    type = sa.Text()
    inherit_cache = True


# SQLite has no booleans: it would show them as 1 and 0.
_SQLITE_TEXT = "CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE value END"


@compiles(json_items)
@compiles(json_entries)
def _json_each(element: Any, compiler: Any, **options: Any) -> str:
    argument = compiler.process(element.clause_expr, **options)
    if compiler.dialect.name == "postgresql":
        names = {"json_items": "jsonb_array_elements_text", "json_entries": "jsonb_each_text"}
        return f"{names[element.name]}{argument}"
    return f"(SELECT key, {_SQLITE_TEXT} AS value FROM json_each{argument})"  # noqa: S608 - compiled parts


@compiles(json_member)
def _json_member(element: Any, compiler: Any, **options: Any) -> str:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    if compiler.dialect.name == "postgresql":
        return f"({document} ->> {key})"
    return f"(SELECT {_SQLITE_TEXT} FROM json_each({document}) WHERE key = {key})"  # noqa: S608


def whole(value: float) -> float:
    """An integer where the number is one, so that 256.0 and 256 are the same text everywhere."""
    return int(value) if value == int(value) else value


def json_text(value: Any) -> str:
    """JSON with every value as `as_json` renders it; a float must be `whole` already."""
    return orjson.dumps(value, default=as_json, option=orjson.OPT_UTC_Z).decode()


def as_json(value: Any) -> Any:
    """Render a column value the way answers, audit records and plans show it."""
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, str, list, dict)):
        return value
    if isinstance(value, float):
        return whole(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"No JSON form for {type(value).__name__}.")


def init_app(app: Flask) -> None:
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(app.config["SQLALCHEMY_DATABASE_URI"])
    # Torn down in the reverse order: the session lets go of the connection before it goes back.
    app.teardown_appcontext(lambda _: _release())
    db.init_app(app)
