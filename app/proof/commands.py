"""The command line of the proof: `flask audit seal`."""

import click
import sqlalchemy as sa
from flask.cli import AppGroup

from app.core.chain import keyring
from app.core.database import db
from app.proof.checkpoints import verifier
from app.proof.models import checkpoints
from app.proof.sealer import CannotSeal
from app.proof.sealer import seal as seal_records

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
    note = db.session.scalar(sa.select(checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1))
    if note is None:
        raise click.ClickException("Nothing has been sealed yet: run `flask audit seal`.")
    for key in keyring():
        click.echo(verifier(key, note.partition("\n")[0]))


def _newest_size() -> int:
    return db.session.scalar(sa.select(sa.func.max(checkpoints.c.size))) or 0
