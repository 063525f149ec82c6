"""The commands `flask audit seal`, `keys`, `verify`, `archive` and `prove`."""

import sys
from pathlib import Path

import click
import orjson
import sqlalchemy as sa
from flask.cli import AppGroup

from app.core.db.schema import needs_schema, schema_problem
from app.core.db.unit_of_work import db
from app.proof import archive
from app.proof.checkpoints import VerifierKey
from app.proof.models import checkpoints
from app.proof.report import Report
from app.proof.sealer import CannotSeal, verifier_keys
from app.proof.sealer import seal as seal_records
from app.proof.verification import verify

PATH = click.Path(path_type=Path)

audit = AppGroup("audit", help="Seal the audit log and prove that it was not changed.")


@audit.command()
@needs_schema
def seal() -> None:
    """Append the unsealed records to the tree now."""
    try:
        count = seal_records()
    except (CannotSeal, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Sealed {count} records; {_newest_size()} in all.")


@audit.command("keys")
@needs_schema
def show_keys() -> None:
    """Show the public keys that verify checkpoints, the current one first."""
    for key in verifier_keys():
        click.echo(key)


@audit.command("verify")
@click.option("--archive", "folder", type=PATH, help="Verify a folder that `archive` wrote; needs no database.")
@click.option("--proof", type=PATH, help="Verify a file that `prove` wrote; needs no database.")
@click.option("--key", "keys", multiple=True, help="A trusted public key, for --archive and --proof.")
@click.option("--json", "as_json", is_flag=True, help="Show the report as JSON.")
def verify_log(folder: Path | None, proof: Path | None, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Verify records, tree, checkpoints and live rows: exit code 0 intact, 1 tampered, 2 undecided."""
    try:
        trusted = [VerifierKey.parse(key) for key in keys]
        if folder is not None:
            report = archive.verify(folder, trusted)
        elif proof is not None:
            report = archive.verify_record(orjson.loads(proof.read_bytes()), trusted)
        elif problem := schema_problem(db.engine):
            raise ValueError(problem)
        else:
            report = verify()
    except (sa.exc.SQLAlchemyError, OSError, ValueError) as error:
        report = Report()
        report.add_doubt(f"This cannot be read: {error}")
    show(report, as_json=as_json)


@audit.command("archive")
@click.argument("folder", type=PATH)
@click.option("--size", type=click.IntRange(min=1), help="At most this many records; default: all that are sealed.")
@needs_schema
def write_archive(folder: Path, size: int | None) -> None:
    """Write the sealed records and their proof into a folder; the log stays as it is."""
    try:
        count = archive.write(folder, size)
    except (archive.CannotArchive, CannotSeal, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Archived {count} records in {folder}.")


@audit.command()
@click.argument("record_id", type=click.IntRange(min=1))
@needs_schema
def prove(record_id: int) -> None:
    """Show one record with the proof that it is in the log, for `verify --proof`."""
    proof = archive.prove(record_id)
    if proof is None:
        raise click.ClickException(f"Record {record_id} is not sealed.")
    click.echo(orjson.dumps(proof, option=orjson.OPT_INDENT_2))


def show(report: Report, *, as_json: bool) -> None:
    """Print a report and exit with its code."""
    if as_json:
        click.echo(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(report.status.value)


def _newest_size() -> int:
    return db.session.scalar(sa.select(sa.func.max(checkpoints.c.size))) or 0
