"""The command line: set up the database, make administrators, write the OpenAPI document."""

import secrets
import sys
from dataclasses import replace
from pathlib import Path

import click
import orjson
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app

from app.core.db.unit_of_work import act_in, current_context, db, writing
from app.core.http.access import Role
from app.core.http.api import document
from app.core.jobs.worker import work
from app.environments.models import Environment
from app.proof.commands import audit
from app.resource.formats import email as check_email
from app.resource.formats import username as check_username
from app.users.models import User
from app.users.passwords import password_flaws

ENVIRONMENTS = {"production": "#d62728", "staging": "#ff7f0e", "development": "#2ca02c"}
ROOT = Path(__file__).parent.parent
OPENAPI = ROOT / "openapi.json"
MIGRATIONS = str(ROOT / "migrations")


def init_app(app: Flask) -> None:
    for command in (init_db, create_admin, worker, openapi, audit):
        app.cli.add_command(command)


def prepare_database(app: Flask) -> None:
    """Make the first environments and the first administrator, where there are none."""
    with app.app_context(), writing():
        _act_as_command_line()
        if db.session.scalar(sa.select(sa.func.count()).select_from(Environment)) == 0:
            db.session.add_all(Environment(name=name, color=color) for name, color in ENVIRONMENTS.items())
        if db.session.scalar(sa.select(sa.func.count()).select_from(User)) == 0:
            config = app.config
            password = config["ADMIN_PASSWORD"]
            shown = password or secrets.token_urlsafe(12)
            _add_admin(config["ADMIN_USERNAME"], config["ADMIN_EMAIL"], shown)
            if not password:
                click.echo(
                    f"The first administrator is {config['ADMIN_USERNAME']} with the password {shown}\n"
                    "It is not shown again; change it after the first login."
                )


def schema_problem(engine: sa.Engine) -> str | None:
    """What keeps this version from working on a database: it is away, or its schema is another version's.

    A database that several machines share is migrated on purpose, not by whichever starts first.
    """
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_heads()
    except sa.exc.OperationalError as error:
        return f"The database does not answer: {error.orig}"
    if set(current) != set(ScriptDirectory(MIGRATIONS).get_heads()):
        return "The schema of the database is not that of this version: run `flask db upgrade`."
    return None


@click.command("init-db")
def init_db() -> None:
    """Create the first environments and the first administrator."""
    prepare_database(current_app._get_current_object())  # type: ignore[attr-defined]
    click.echo("The database is ready.")


@click.command("create-admin")
@click.argument("username")
@click.argument("email")
@click.password_option(help="Asked for where it is not given.")
def create_admin(username: str, email: str, password: str) -> None:
    """Create an administrator."""
    _act_as_command_line()
    try:
        with writing():
            _add_admin(username, email, password)
    except sa.exc.IntegrityError:
        raise click.ClickException("There is a user of this name or e-mail already.") from None
    click.echo(f"Created the administrator {username}.")


@click.command("worker")
def worker() -> None:
    """Carry out jobs until SIGTERM or SIGINT, beside servers that have JOB_WORKERS=0."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if not app.config["REDIS_URL"]:
        raise click.ClickException("Without REDIS_URL the server carries out jobs itself: no other process may.")
    if problem := schema_problem(db.engine):
        raise click.ClickException(problem)
    db.engine.dispose()
    work(app)


@click.command("openapi")
@click.option("--check", is_flag=True, help="Only compare; exit with 1 where the file differs.")
def openapi(*, check: bool) -> None:
    """Write openapi.json."""
    text = orjson.dumps(document(), option=orjson.OPT_INDENT_2).decode() + "\n"
    if not check:
        OPENAPI.write_text(text)
        click.echo(f"Wrote {OPENAPI.name}.")
    elif not OPENAPI.exists() or OPENAPI.read_text() != text:
        click.echo("openapi.json is not what the application serves: run `flask openapi`.", err=True)
        sys.exit(1)


def _add_admin(username: str, email: str, password: str) -> None:
    try:
        user = User(
            username=check_username(username),
            email=check_email(email),
            role=Role.ADMIN,
            is_active=True,
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    flaws = password_flaws(password, username)
    if flaws:
        raise click.ClickException(f"The password: {' '.join(flaws)}")
    user.password = password
    db.session.add(user)


def _act_as_command_line() -> None:
    act_in(replace(current_context(), username="command line"))
