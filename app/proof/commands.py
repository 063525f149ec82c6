"""The command line of the proof: `flask audit seal`, `verify`, `archive`."""

import sys

import click
import orjson
import sqlalchemy as sa
from flask.cli import AppGroup

from app.core.database import db
from app.proof.findings import Report
from app.proof.models import checkpoints
from app.proof.sealer import CannotSeal, verifiers
from app.proof.sealer import seal as seal_records
from app.proof.verification import verify

audit = AppGroup("audit", help="Prove that nobody has touched the audit log.")


@audit.command()
def seal() -> None:
    """Put the records that are not sealed yet into the tree, now."""
    try:
        count = seal_records()
    except (CannotSeal, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Sealed {count} records; {_newest_size()} in all.")


@audit.command("keys")
def show_keys() -> None:
    """Show the public keys that verify checkpoints, the current one first."""
    for key in verifiers():
        click.echo(key)


@audit.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Show the report as JSON.")
def verify_log(*, as_json: bool) -> None:
    """Verify records, tree, checkpoints and live rows: exit code 0 intact, 1 tampered with, 2 cannot decide."""
    try:
        report = verify()
    except (sa.exc.SQLAlchemyError, OSError) as error:
        report = Report()
        report.doubt(f"The log cannot be read: {error}")
    show(report, as_json=as_json)


def show(report: Report, *, as_json: bool) -> None:
    """Print a report and end with its exit code."""
    if as_json:
        click.echo(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(report.status.value)


def _newest_size() -> int:
    return db.session.scalar(sa.select(sa.func.max(checkpoints.c.size))) or 0
