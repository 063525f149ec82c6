"""The commands `flask backup`, `flask restore` and `flask audit resume`."""

import sys
from dataclasses import replace as replace_fields
from pathlib import Path

import click
import sqlalchemy as sa
from flask.cli import with_appcontext

from app.backup.checking import check_content, check_files, unpacked
from app.backup.creation import CannotBackUp, create
from app.backup.manifest import SECRETS, Manifest, NoBackup
from app.backup.restoring import CannotRestore, restore_backup
from app.backup.resumption import problem
from app.backup.resumption import resume as resume_sealing
from app.core.db.schema import connection_problem, needs_schema
from app.core.db.unit_of_work import act_in, current_context, db
from app.proof.sealer import CannotSeal

FOLDER = click.Path(path_type=Path)


@click.command("backup")
@click.argument("folder", type=FOLDER)
@click.option("--with-secrets", is_flag=True, help=f"Write the values of the secrets into {SECRETS}, too.")
@needs_schema
def backup(folder: Path, *, with_secrets: bool) -> None:
    """Copy database, images and checkpoints into a new FOLDER, while the platform runs."""
    try:
        written = create(folder.absolute(), with_secrets=with_secrets)
    except (CannotBackUp, CannotSeal, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Wrote {folder}: {_summary(written)}.")
    if written.missing:
        click.echo(f"Images whose files were missing before: {', '.join(written.missing)}", err=True)
    if not with_secrets:
        click.echo(f"Keep these secrets elsewhere, the backup needs them: {', '.join(written.secrets)}.")


@click.command("restore")
@click.argument("folder", type=FOLDER)
@click.option("--check", is_flag=True, help="Verify the backup only: hashes, rows, images and the audit log.")
@click.option("--replace", metavar="NAME", help="Give up the data of the database of this name.")
@with_appcontext
def restore(folder: Path, *, check: bool, replace: str | None) -> None:
    """Restore the backup in FOLDER into an empty database, or verify it."""
    try:
        if check:
            _check(folder.absolute())
            return
        restored = restore_backup(folder.absolute(), replace=replace)
        reason = problem()
    except (NoBackup, CannotRestore, CannotSeal, OSError, sa.exc.IntegrityError) as error:
        raise click.ClickException(str(error)) from None
    except sa.exc.DBAPIError as error:
        raise click.ClickException(connection_problem(error, db.engine)) from None
    click.echo(f"Restored {folder}: {_summary(restored)}.")
    if reason:
        click.echo(f"{reason} Sealing has stopped until you run `flask audit resume`.", err=True)


@click.command("resume")
@needs_schema
def resume() -> None:
    """After an older state was restored: set the newer checkpoints aside, record that, and seal."""
    act_in(replace_fields(current_context(), username="command line"))
    try:
        aside = resume_sealing()
    except (CannotSeal, OSError) as error:
        raise click.ClickException(str(error)) from None
    if aside is None:
        click.echo("Sealing has not stopped: nothing was changed.")
    else:
        click.echo(f"Sealing goes on. The checkpoints that were ahead are in {aside}: keep them as evidence.")


def _check(folder: Path) -> None:
    read = check_files(folder)
    with unpacked(folder, read):
        report = check_content(folder, read)
    for line in report.lines():
        click.echo(line)
    click.echo(f"The files are those of the manifest: {_summary(read)}.")
    sys.exit(report.status.value)


def _summary(written: Manifest) -> str:
    images = sum(name.startswith("uploads/") for name in written.files)
    records = written.counts["audit_logs"]
    return f"{sum(written.counts.values())} rows, {records} of them audit records, and {images} images"
