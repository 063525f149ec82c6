"""What the errors of MariaDB and MySQL mean: PyMySQL's exceptions have the number and the text of the server."""

import re

import pymysql

from app.core.db.dialects.protocol import Rule, UnusableDatabase, Violation

DEADLOCK = 1213
CHANGED_SINCE_READ = 1020
LOCK_WAIT_TIMEOUT = 1205
STATEMENT_TIMEOUTS = frozenset({1969, 3024})
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
CHECKS_FAILED = frozenset({4025, 3819})
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
_QUOTING_NAMES = frozenset(
    {
        *REFUSED_LOGIN,
        *FOREIGN_KEYS,
        *CLIENT_ERRORS,
        *range(1, 200),
        *(1007, 1008, 1048, 1050, 1054, 1072, 1091, 1109, 1142, 1143, 1146, 1227, 1264, 1265, 1370, 1406, 1901, 3819),
        *(*CHECKS_FAILED, DOES_NOT_EXIST, NO_DEFAULT, READ_ONLY, SIGNALLED, TABLE_FULL),
    }
)
"""Errors that quote names: of files, users, tables, columns, constraints and settings, or what our triggers say."""
_DUPLICATE_VALUE = re.compile(r"(?<=Duplicate entry ').*(?=' for key )", re.DOTALL)
_QUOTED = re.compile(r"(?<=')(?!').*(?=')", re.DOTALL)
"""From the first quote to the last: a value may have quotes in it."""
_FAILED_CHECK = re.compile(
    r"""CONSTRAINT ["`](?P<name>\w+)["`] failed for ["`]\w+["`]\.["`](?P<table>\w+)"""
    r"""|Check constraint '(?P<named>\w+)' is violated"""
)
"""How MariaDB and MySQL name a failed constraint."""

_AWAY = frozenset(
    {READ_ONLY, READ_ONLY_TRANSACTION, KILLED, SHUTDOWN, TOO_MANY_CONNECTIONS, DISK_FULL, TABLE_FULL, *REFUSED_LOGIN}
)

# PyMySQL has these as operational errors, like a lost connection.
for _number in (*CHECKS_FAILED, NO_DEFAULT):
    pymysql.err.error_map[_number] = pymysql.err.IntegrityError
pymysql.err.error_map[SIGNALLED] = pymysql.err.DatabaseError


class UnsupportedServer(UnusableDatabase, pymysql.err.InterfaceError):
    """The server is of an earlier version than ours; no login is sent to it."""


def is_locked(error: BaseException) -> bool:
    """Whether another transaction holds what this one needs."""
    return number_of(error) == LOCK_WAIT_TIMEOUT


def is_too_slow(error: BaseException) -> bool:
    """Whether a statement has taken longer than it may."""
    return number_of(error) in (*STATEMENT_TIMEOUTS, QUERY_INTERRUPTED)


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
    if number in CHECKS_FAILED and (named := _FAILED_CHECK.search(text)):
        return Violation(kind, named["table"], named["name"] or named["named"], ())
    column = re.search(r"(?:Column|Field) '(\w+)'", text)
    return Violation(kind, None, None, (column[1],) if column else ())


def drop_value(error: pymysql.MySQLError) -> None:
    """Drop what an error quotes from its text, which is logged: a value or a part of the statement may be a secret."""
    number = number_of(error)
    if number not in _QUOTING_NAMES:
        pattern = _DUPLICATE_VALUE if number == DUPLICATE else _QUOTED
        error.args = tuple(pattern.sub("…", part) if isinstance(part, str) else part for part in error.args)


def number_of(error: BaseException) -> int | None:
    """The number of a server's error, or of PyMySQL's own."""
    first = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
    return first if isinstance(first, int) else None
