"""Whether a database can be used: it answers, is one, and has the schema of this version.

Alembic, 9 MB of memory, is imported where it is used: processes that answer requests or run jobs never do.
"""

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import click
import sqlalchemy as sa
from flask import Flask
from flask.cli import with_appcontext
from werkzeug.local import LocalProxy

from app.core.db.dialects.protocol import UnusableDatabase
from app.core.db.dialects.registry import dialect_of
from app.core.db.unit_of_work import db
from app.core.values import fold

P = ParamSpec("P")
R = TypeVar("R")

MIGRATIONS = str(Path(__file__).parents[3] / "migrations")
FOLDED_DIFFERENTLY = "İSTANBUL i\u0307 ΟΔΟΣ Å I ＳＶ－０１ Cafe\u0301"
"""A text that databases of other encodings and locales fold in other ways."""


def schema_problem(engine: sa.Engine) -> str | None:
    """Why this version cannot work on a database, as a sentence with a cure.

    A shared database is migrated by a command, not by the first machine that starts. A file of SQLite that does not
    exist is not created.
    """
    if problem := missing_file_problem(engine):
        return problem
    try:
        with engine.connect().execution_options(access="read") as connection:
            if problem := dialect_of(engine).connections.settings_problem(connection):
                return problem
            current = revision_of(connection)
    except sa.exc.DBAPIError as error:
        return connection_problem(error, engine)
    if not current:
        return "The database has no schema: run `flask db upgrade`."
    if problem := newer_schema_problem({current}):
        return problem
    if current != newest_revision():
        return "The schema of the database is not that of this version: run `flask db upgrade`."
    return folding_problem(engine)


def newest_revision() -> str:
    """The revision of the schema that this version works with."""
    return str(_scripts().get_current_head())


def known_revisions() -> set[str]:
    """The revisions that this version can upgrade, and its own."""
    return {script.revision for script in _scripts().walk_revisions()}


def revision_of(connection: sa.Connection) -> str | None:
    """The revision of a database's schema; None without one."""
    from alembic.migration import MigrationContext  # noqa: PLC0415 - see above

    return MigrationContext.configure(connection).get_current_revision()


def upgrade() -> None:
    """Bring the database of the current application to the newest revision."""
    import flask_migrate  # noqa: PLC0415 - see above

    flask_migrate.upgrade(directory=MIGRATIONS)


def _scripts() -> Any:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

    return ScriptDirectory(MIGRATIONS)


def missing_file_problem(engine: sa.Engine) -> str | None:
    """That there is no file of SQLite: to connect would create it."""
    path = engine.url.database
    if not dialect_of(engine).is_file or not is_file(path) or Path(str(path)).exists():
        return None
    return f"There is no database at {path}: correct DATABASE_URL, or create it with `flask db upgrade`."


def newer_schema_problem(revisions: Collection[str]) -> str | None:
    """Why a schema of these revisions cannot be upgraded; None if this version knows them."""
    if known_revisions().issuperset(revisions):
        return None
    return (
        f"The schema of the database ({', '.join(sorted(revisions))}) is that of a newer version: run that version, "
        "or restore a backup of this one."
    )


def is_file(name: str | None) -> bool:
    """Whether a SQLite database of this name is a file, and not in memory."""
    return bool(name) and name != ":memory:" and not str(name).startswith("file:")


def connection_problem(error: sa.exc.DBAPIError, engine: sa.Engine) -> str:
    """Why a database could not be used at all."""
    reason = str(error.orig).strip().splitlines()[0]
    if dialect_of(engine).is_file:
        return f"{engine.url.database} cannot be used as a database: {reason} (DATABASE_URL)."
    if isinstance(error.orig, UnusableDatabase):
        return f"The database cannot be used: {reason} (DATABASE_URL)."
    return f"The database does not answer: {reason} (DATABASE_URL)."


def folding_problem(engine: sa.Engine) -> str | None:
    """Why a database cannot compare texts as the application does: names would be taken twice, or not be found."""
    try:
        with engine.connect().execution_options(access="read") as connection:
            folded = connection.scalar(sa.select(sa.func.fold(sa.literal(FOLDED_DIFFERENTLY, sa.Text()))))
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).rstrip(". \n")
        return f"The database cannot compare texts: {reason}. It needs the encoding UTF8, and what migrations create."
    if folded != fold(FOLDED_DIFFERENTLY):
        return "The database does not compare texts as this version does: create it anew with the encoding UTF8."
    return None


def needs_schema(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command that works on the database: without a usable one it ends with one sentence."""

    @with_appcontext
    @functools.wraps(command)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if problem := schema_problem(db.engine):
            raise click.ClickException(problem)
        try:
            return command(*args, **kwargs)
        except sa.exc.OperationalError as error:
            raise click.ClickException(connection_problem(error, db.engine)) from error

    return checked


class MigrationCommands(click.Group):
    """`flask db`: stands for the commands of Flask-Migrate until one of them is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        from flask_migrate.cli import db as commands  # noqa: PLC0415 - see above

        return cast(click.Group, commands).make_context(info_name, args, parent, **extra)


def init_app(app: Flask) -> None:
    """Let Flask-Migrate migrate the database of an application, by `flask db` or by its functions."""
    app.cli.add_command(MigrationCommands("db", help="Perform database migrations."))

    def configured() -> Any:
        from flask_migrate import Migrate  # noqa: PLC0415 - see above

        # In the place of the proxy.
        Migrate(app, db, render_as_batch=False)
        return app.extensions["migrate"]

    app.extensions["migrate"] = LocalProxy(configured)
