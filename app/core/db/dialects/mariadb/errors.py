"""What the errors of MariaDB mean: PyMySQL's exceptions have the number and the text of the server."""

import re

import pymysql

from app.core.db.dialects.protocol import Rule, Violation

DEADLOCK = 1213
CHANGED_SINCE_READ = 1020
LOCK_WAIT_TIMEOUT = 1205
STATEMENT_TIMEOUT = 1969
QUERY_INTERRUPTED = 1317
READ_ONLY = 1290
READ_ONLY_TRANSACTION = 1792
KILLED = 1927
SHUTDOWN = 1053
TOO_MANY_CONNECTIONS = 1040
DISK_FULL = 1021
TABLE_FULL = 1114
"""What InnoDB says of a disk that is full."""
DOES_NOT_EXIST = 1305
"""There is no procedure, or no savepoint, of this name."""
NO_PRIVILEGE = 1227
CHECK_FAILED = 4025
NO_DEFAULT = 1364
"""An INSERT leaves out a column that has to have a value."""
DUPLICATE = 1062
FOREIGN_KEYS = frozenset({1451, 1452, 1216, 1217})
REFUSED_LOGIN = frozenset({1044, 1045, 1049, 1129, 1130})
SIGNALLED = 1644
"""A trigger of ours has refused a change."""
CLIENT_ERRORS = range(2000, 3000)
"""The connection could not be made, or was lost."""

LOG = "audit_logs"
"""The audit log. The platform alone writes it, so a violation of its rules is never the fault of a client."""
_VALUE = re.compile(r"(?<=Duplicate entry ').*(?=' for key )|(?<=value: ').*(?=')", re.DOTALL)

_AWAY = frozenset(
    {READ_ONLY, READ_ONLY_TRANSACTION, KILLED, SHUTDOWN, TOO_MANY_CONNECTIONS, DISK_FULL, TABLE_FULL, *REFUSED_LOGIN}
)

# PyMySQL has these as operational errors, like a lost connection.
pymysql.err.error_map[CHECK_FAILED] = pymysql.err.IntegrityError
pymysql.err.error_map[NO_DEFAULT] = pymysql.err.IntegrityError
pymysql.err.error_map[SIGNALLED] = pymysql.err.DatabaseError


def is_locked(error: BaseException) -> bool:
    """Whether another transaction holds what this one needs."""
    return number_of(error) == LOCK_WAIT_TIMEOUT


def is_too_slow(error: BaseException) -> bool:
    """Whether a statement has taken longer than it may."""
    return number_of(error) in (STATEMENT_TIMEOUT, QUERY_INTERRUPTED)


def is_away(error: BaseException) -> bool:
    """Whether the database does not answer, or does not write."""
    number = number_of(error)
    return isinstance(error, pymysql.err.InterfaceError) or number in _AWAY or number in CLIENT_ERRORS


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction was given up for others, and may be run again."""
    return number_of(error) in (DEADLOCK, CHANGED_SINCE_READ)


def violation_of(error: BaseException) -> Violation:
    """What an IntegrityError says about the violated constraint."""
    number, text = number_of(error), str(error.args[-1])
    if number == DUPLICATE:
        named = re.search(r"for key '(?:[^']*\.)?([^'.]+)'$", text)
        constraint = named and named[1]
        # The server does not name the table, and one table is told from all others.
        table = LOG if constraint and constraint.startswith(f"uq_{LOG}_") else None
        return Violation("unique", table, constraint, ())
    if number in FOREIGN_KEYS:
        referring = re.search(r"`\.`(\w+)`, CONSTRAINT", text)
        return Violation("foreign key", referring and referring[1], None, ())
    kind: Rule = "check"
    if number == CHECK_FAILED and (
        named := re.search(r'CONSTRAINT ["`](\w+)["`] failed for ["`]\w+["`]\.["`](\w+)', text)
    ):
        return Violation(kind, named[2], named[1], ())
    column = re.search(r"(?:Column|Field) '(\w+)'", text)
    return Violation(kind, None, None, (column[1],) if column else ())


def drop_value(error: pymysql.MySQLError) -> None:
    """Drop the value that an error quotes, which may be a secret, from its text: that is logged."""
    error.args = tuple(_VALUE.sub("…", part) if isinstance(part, str) else part for part in error.args)


def number_of(error: BaseException) -> int | None:
    """The number of a server's error, or of PyMySQL's own."""
    first = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
    return first if isinstance(first, int) else None
