"""What each database does in its own way: a protocol for each module of a dialect.

A dialect is chosen once, by `dialect_of`; nothing else asks for the name of a database.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import sqlalchemy as sa

from app.core.db.counters.declaration import Counted
from app.core.db.dialects.commit_protocol import CommitStatements
from app.core.db.search.declaration import Searched

Access = Literal["write", "read", "snapshot"]
"""What a connection is for, its execution option `access`: "read" sees each statement's own moment and holds nothing
between them, "snapshot" sees one moment throughout."""

Listener = Callable[..., Any]
SqlFunctions = Mapping[str, Callable[[Any], Any]]
"""Functions of one argument that SQL may call, by their names, where the database calls Python."""
Rows = Sequence[Mapping[str, Any]]
Sql = object
"""A part of a statement, which is compiled when it is formatted."""


class Query(NamedTuple):
    """A statement for the driver, and its values as the driver takes them."""

    text: str
    values: Any
    by_value: bool
    """Whether it is planned for its values, each time anew."""


class UnusableDatabase(Exception):
    """A database that answers, and cannot keep our promises; the text says why. Drivers' exceptions inherit from it."""


Rule = Literal["unique", "foreign key", "check"]


class Violation(NamedTuple):
    """What a database says of a violated constraint: its name, or the columns that it covers."""

    kind: Rule
    table: str | None
    constraint: str | None
    columns: tuple[str, ...]


class Connections(Protocol):
    """Connections: their settings, how they begin transactions and wait, and their end."""

    def engine_options(self) -> dict[str, Any]:
        """The engine options of this database."""

    def listeners(self, functions: SqlFunctions, /) -> Mapping[str, Listener]:
        """What listens to the engine, by the names of SQLAlchemy's events."""

    def take(self, engine: sa.Engine, access: Access, /) -> sa.Connection | None:
        """A connection that another block has given back, or a new one; None where the pool is to be asked.

        Raises DBAPIError, and SQLAlchemy's TimeoutError where the pool has none left.
        """

    def give_back(self, connection: sa.Connection, /) -> None:
        """Take a connection back from a block that has ended."""

    def settings_problem(self, connection: sa.Connection, /) -> str | None:
        """Why the settings of the server, where no connection can change them, cannot hold our promises."""

    def largest_file(self, connection: sa.Connection, /) -> int | None:
        """How many bytes a value may have that is sent to the server; None without a limit below that of an import."""

    def only_migrator(self, connection: sa.Connection, /) -> AbstractContextManager[None]:
        """Wait until no other process migrates the database, and keep others from it; the connection holds the lock."""

    def close(self, engine: sa.Engine, /) -> None:
        """Do what the end of a process needs before its connections are closed."""

    def is_in_use(self, engine: sa.Engine, /) -> bool:
        """Whether other connections of the platform are open on the database."""

    def lift_timeout(self, connection: sa.Connection, /) -> None:
        """Let the statements of the current transaction take as long as they need."""

    def commit_without_disk(self, connection: sa.Connection, /) -> None:
        """Let the current transaction be visible to others before it is on the disk: a crash may lose it."""


class Errors(Protocol):
    """What the errors of a driver mean."""

    def is_locked(self, error: BaseException, /) -> bool:
        """Whether another transaction holds what this one needs."""

    def is_too_slow(self, error: BaseException, /) -> bool:
        """Whether a statement has taken longer than it may."""

    def is_away(self, error: BaseException, /) -> bool:
        """Whether the database does not answer, or does not write."""

    def is_conflict(self, error: BaseException, /) -> bool:
        """Whether the transaction was given up for others, and may be run again."""

    def violation_of(self, error: BaseException, /) -> Violation:
        """What an IntegrityError says about the violated constraint."""


class Statements(Protocol):
    """Statements over many rows, and how values are stored."""

    TIMES_HAVE_ZONES: bool
    """Whether the driver reads times as aware."""
    MONEY_IN_CENTS: bool
    """Whether amounts are stored in cents, because there are no exact decimals."""
    HAS_ROW_LOCKS: bool
    PARAMSTYLE: str | None
    """How `fetch` takes parameters (PEP 249, or SQLAlchemy's "numeric_dollar"); None as the driver does."""
    WITH_MAY_WRITE: bool
    """Whether a WITH clause may insert and update, which saves round trips."""
    HAS_LATERAL: bool
    """Whether a subquery may be run for each row of what it is joined with."""

    def fetch(self, pooled: Any, queries: Sequence[Query], /) -> Sequence[tuple[Sequence[Any], Sequence[Any]]]:
        """The rows of each query that is given to a pooled connection of the driver, and the cursor's description.

        Several are sent at once where the driver can. Raises the driver's errors.
        """

    def insert_missing(self, table: sa.Table, /) -> Any:
        """An INSERT that leaves out the rows whose key exists."""

    def insert_or_lock(self, table: sa.Table, /) -> Any:
        """An INSERT of a row that locks the row with its primary key instead, where there is one."""

    def any_of(self, column: sa.ColumnElement[Any], values: Collection[Any], kind: Any, /) -> sa.ColumnElement[bool]:
        """`column IN (values)` as one parameter."""

    def among(self, column: sa.ColumnElement[Any], name: str, /) -> sa.ColumnElement[bool]:
        """Whether a column has one of the integers of the parameter `name`, which `listed` makes."""

    def listed(self, values: Collection[int], /) -> Any: ...

    def write_rows(self, cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], /) -> None:
        """Insert rows by the fastest way. Table and columns are quoted already."""

    def update_versions(
        self, connection: sa.Connection, table: sa.Table, rows: Rows, common: Mapping[str, Any], /
    ) -> int:
        """Set the values of objects that are at their versions, and values that are common to all.

        `rows` have the keys `id`, `version` and the same other columns. Returns how many were at their versions.
        """

    def select_next_id(self, table: sa.Table, /) -> sa.Select[Any]:
        """A query of an id for a new row; no other transaction gets the same one."""

    def allocate_ids(self, connection: sa.Connection, table: sa.Table, count: int, /) -> list[int]:
        """Reserve new ids of a table."""

    def running_transactions(self, connection: sa.Connection, /) -> tuple[int, int]:
        """(xmin, xmax): transactions below xmin have ended, from xmax on none has begun; (0, 0) without such."""

    def planned_by_value(self, connection: sa.Connection, /, *, from_bitmaps: bool) -> AbstractContextManager[None]:
        """Have statements planned for their actual parameter values."""


class Functions(Protocol):
    """How the functions of app.core.db.functions are written."""

    def json_items(self, document: Sql, /) -> str: ...
    def json_entries(self, document: Sql, /) -> str: ...
    def json_member(self, document: Sql, key: Sql, /) -> str: ...
    def json_number(self, document: Sql, key: Sql, /) -> str: ...
    def text_member(self, document: Sql, key: Sql, /) -> str: ...
    def contains_text(self, text: Sql, pattern: Sql, part: Sql, /) -> str: ...
    def resembles(self, text: Sql, pattern: Sql, plain: Sql, /) -> str: ...
    def position_in(self, text: Sql, part: Sql, /) -> str: ...
    def utc_day(self, moment: Sql, /) -> str: ...
    def seconds_between(self, start: Sql, end: Sql, /) -> str: ...
    def whole_part(self, number: Sql, /) -> str: ...


class AuditStatements(Protocol):
    """What is asked of the audit log."""

    TAKE_PLACES: sa.TextClause
    """Takes `count` places in a chain of events: its id, its length before, the MAC of the event there, and the log."""

    def select_macs(self, places: Sequence[tuple[str, int, int]], /) -> tuple[sa.TextClause, Mapping[str, Any]]:
        """A query of (resource type, id, version, MAC) of the records at these places, and its parameters."""

    def has_all_terms(self, changes: sa.ColumnElement[Any], terms: Sequence[str], /) -> sa.ColumnElement[bool]:
        """Whether a record has all of these terms (see app.audit_logs.change_terms)."""

    def has_any_term(self, changes: sa.ColumnElement[Any], terms: Sequence[str], /) -> sa.ColumnElement[bool]:
        """Whether a record has one of these terms."""

    def lost_one(self, changes: sa.ColumnElement[Any], name: str, ids: Collection[int], /) -> sa.ColumnElement[bool]:
        """Whether a record took one of these ids from a column."""


class SearchStatements(Protocol):
    """Statements about the search table, see app.core.db.search.entries."""

    def creation(self) -> Iterator[str]:
        """The statements that create the table, before its triggers."""

    def triggers(self, searched: Searched, /) -> Iterator[str]:
        """The statements that create what keeps the entries of a table."""

    def removal(self, searched: Searched, /) -> Iterator[str]:
        """The statements that remove what `triggers` creates, and the entries."""

    def insertion(self, searched: Searched, row: str, /) -> str:
        """An INSERT of the entries of rows, up to its FROM clause; `row` is their name there."""

    def lock(self, connection: sa.Connection, /) -> None:
        """Let other writers of entries commit before the objects are read, or wait."""


class CounterStatements(Protocol):
    """Statements about the counters, see app.core.db.counters."""

    ARE_KEPT: bool
    """Whether triggers keep the counters. Else objects are counted each time."""

    def triggers(self, counted: Counted, /) -> Iterator[str]:
        """The statements that create what keeps the counters of a table."""

    def removal(self, counted: Counted, /) -> Iterator[str]:
        """The statements that remove what `triggers` creates, and the numbers."""

    def rebuilding(self, counted: Counted, /) -> Iterator[str]:
        """The statements that recount the objects of a table. The first keeps other writers out until the commit."""

    def differences(self, counted: Counted, /) -> str | None:
        """A query of the counter and key of each number that is not that of the objects; None without counters."""

    def folding(self) -> str | None:
        """The statement that replaces several rows of one number by one; None without counters."""


class Restoring(Protocol):
    """Replacing all rows of a database by those of a backup."""

    def last_numbers(self, connection: sa.Connection, /) -> dict[str, int]:
        """The last number that each table has given to a row."""

    def set_last_number(self, connection: sa.Connection, table: sa.Table, number: int, /) -> None:
        """Let a table give greater numbers than this one and than those of its rows."""

    def emptied(
        self, connection: sa.Connection, tables: Sequence[str], derived: Sequence[str], /
    ) -> AbstractContextManager[None]:
        """Empty all tables, and let the triggers rest meanwhile: they guard single changes, not a whole state.

        `derived` tables are written anew from the others.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """What one database does in its own way."""

    name: str
    is_file: bool
    """Whether the database is a file of one machine, which the platform creates, migrates, copies and replaces."""
    connections: Connections
    errors: Errors
    statements: Statements
    functions: Functions
    audit: AuditStatements
    search: SearchStatements
    counters: CounterStatements
    restoring: Restoring
    commits: CommitStatements | None = None
    """None where the database does not number commits; then the cache does."""
