"""The dialects, by the names that SQLAlchemy gives them."""

import functools
from importlib import import_module
from typing import Protocol

from app.core.db.dialects import postgresql, sqlite
from app.core.db.dialects.protocol import Dialect
from app.core.request_context import current_application

_DIALECTS = {
    **{dialect.name: dialect for dialect in (postgresql.DIALECT, sqlite.DIALECT)},
    # By this one SQLAlchemy prints a statement that no database executes.
    "default": postgresql.DIALECT,
}


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _HasDialect(Protocol):
    @property
    def dialect(self) -> _Named: ...


def current_dialect() -> Dialect:
    """The dialect of the current application's database."""
    # With its first connection an engine may learn what kind of server there is.
    return dialect_of(current_application().extensions["engine"])


def dialect_of(bound: _HasDialect) -> Dialect:
    """The dialect of an engine, a connection, or a compiler."""
    return _DIALECTS.get(bound.dialect.name) or _rare_dialect(bound.dialect.name)


def dialect_named(name: str) -> Dialect:
    """The dialect of this name."""
    return _DIALECTS.get(name) or _rare_dialect(name)


@functools.cache
def _rare_dialect(name: str) -> Dialect:
    """A dialect that is imported where it is used: with PyMySQL it would take up to 70 ms of every start."""
    dialect: Dialect = import_module(f"app.core.db.dialects.{name}").DIALECT
    return dialect
