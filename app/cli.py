"""The commands of `flask`: set up the database, create administrators, run jobs, write the OpenAPI document."""

import platform
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import click
import sqlalchemy as sa
from flask import Flask, current_app

from app.assets.commands import storage
from app.backup.commands import backup, restore, resume
from app.core.db.counters.commands import counters
from app.core.db.schema import needs_schema, newest_revision
from app.core.db.unit_of_work import act_as, act_in, current_context, db, reading, writing
from app.core.error_catalog import as_page
from app.core.http.api import document
from app.core.http.openapi.viewers import as_lines
from app.core.jobs.worker import work
from app.core.request_context import Actor, Role
from app.core.storage.storage import settings_problem
from app.demo.service import NotEmpty, UnderWay, request_estate
from app.environments.service import add_first_environments
from app.proof.commands import audit
from app.search.commands import search
from app.users.models import User
from app.users.service import add_admin, add_first_admin, first_admin, new_admin
from app.version import VERSION

ROOT = Path(__file__).parent.parent
OPENAPI = ROOT / "openapi.json"
ERRORS = ROOT / "docs" / "errors.md"


def init_app(app: Flask) -> None:
    audit.add_command(resume)
    for command in (init_db, create_admin, demo, worker, openapi, version):
        app.cli.add_command(command)
    for command in (audit, search, counters, storage, backup, restore):
        app.cli.add_command(command)


def prepare_database(app: Flask) -> None:
    """Add the first environments and the first administrator to a database that has none."""
    with app.app_context():
        _act_as_command_line()
        # Before the transaction: its password is hashed.
        admin = first_admin()
        with writing():
            add_first_environments()
            is_added = admin is not None and add_first_admin(admin)
    if is_added and admin is not None and admin.generated:
        click.echo(
            f"The first administrator is {admin.username} with the password {admin.generated}\n"
            "It is not shown again; change it after the first login."
        )


@click.command("version")
def version() -> None:
    """Show the versions of the platform, of the schema that it works with, of Flask and of Python."""
    click.echo(f"{VERSION} (schema {newest_revision()})")
    click.echo(f"Flask {metadata.version('flask')}, Python {platform.python_version()}")


@click.command("init-db")
@needs_schema
def init_db() -> None:
    """Create the first environments and the first administrator."""
    prepare_database(current_app._get_current_object())  # type: ignore[attr-defined]
    click.echo("The database is ready.")


@click.command("create-admin")
@click.argument("username")
@click.argument("email")
@click.password_option(help="Prompted for if it is not given.")
@needs_schema
def create_admin(username: str, email: str, password: str) -> None:
    """Create an administrator."""
    _act_as_command_line()
    try:
        admin = new_admin(username, email, password)
        with writing():
            add_admin(admin)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    except sa.exc.IntegrityError:
        raise click.ClickException("A user with this name or e-mail address exists already.") from None
    click.echo(f"Created the administrator {username}.")


@click.command("demo")
@needs_schema
def demo() -> None:
    """Import a sample estate into an empty installation."""
    try:
        with reading():
            admin = db.session.scalars(sa.select(User).where(User.role == Role.ADMIN).order_by(User.id)).first()
        if admin is None:
            raise click.ClickException("There is no administrator yet: run `flask init-db`.")
        act_as(Actor(id=admin.id, username=admin.username, role=admin.role))
        with writing():
            import_id = request_estate()
    except (NotEmpty, UnderWay) as error:
        raise click.ClickException(error.message) from None
    click.echo(f"Import {import_id} creates the sample estate as soon as a server runs. Undo the import to remove it.")


@click.command("worker")
@click.option("--port", type=click.IntRange(1, 65535), help="Answer /health and /metrics on this port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for --port.")
@needs_schema
def worker(port: int | None, host: str) -> None:
    """Run jobs until SIGTERM or SIGINT, for servers with JOB_WORKERS=0."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if not app.config["REDIS_URL"]:
        raise click.ClickException(
            "Without REDIS_URL the server runs the jobs itself, and no other process may: set REDIS_URL."
        )
    if problem := settings_problem():
        raise click.ClickException(problem)
    db.engine.dispose()
    work(app, status_at=None if port is None else (host, port))


@click.command("openapi")
@click.option("--check", is_flag=True, help="Compare only, and exit with 1 if the file differs.")
def openapi(*, check: bool) -> None:
    """Write openapi.json, and the page of all errors."""
    for path, text in ((OPENAPI, as_lines(document(current_app)) + "\n"), (ERRORS, as_page())):
        if not check:
            path.write_text(text)
            click.echo(f"Wrote {path.name}.")
        elif not path.exists() or path.read_text() != text:
            click.echo(f"{path.name} is not what the application serves: run `flask openapi`.", err=True)
            sys.exit(1)


def _act_as_command_line() -> None:
    act_in(replace(current_context(), username="command line"))
