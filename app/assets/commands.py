"""The commands `flask storage check` and `flask storage copy`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from app.assets import image_store
from app.core.db.schema import needs_schema
from app.core.db.unit_of_work import db, reading
from app.core.storage import storage as storages
from app.core.storage.protocol import Storage, StorageError

COPIES = 8
"""Files that are copied at once."""


@click.group("storage")
def storage() -> None:
    """Where uploaded images are kept."""


@storage.command("check")
@with_appcontext
def check() -> None:
    """Write, list, read and delete a file in the storage of the settings."""
    try:
        storages.check(storages.storage())
    except StorageError as error:
        raise click.ClickException(str(error)) from None
    click.echo("The storage works.")


@storage.command("copy")
@click.argument("source")
@click.argument("target")
@needs_schema
def copy(source: str, target: str) -> None:
    """Copy the images from one storage to another: a folder, or s3://bucket/prefix.

    What is in the target already is left out, and nothing is deleted from the source. It may run while the platform
    does: run it again after the platform has started with the other setting.
    """
    origin, destination = _storage_at(source), _storage_at(target)
    with reading():
        stored, shown = image_store.names_in(db.session.connection())
    try:
        existing = set(destination.names())
        missing = stored - existing - set(_copied(origin, destination, sorted(stored - existing)))
    except StorageError as error:
        raise click.ClickException(f"{error} What was copied stays: run the command again to go on.") from None
    click.echo(f"Copied {len(stored - existing - missing)} images; {len(stored & existing)} were there already.")
    # An upload that is under way, or was given up, is stored and not shown.
    if lost := sorted(missing & shown):
        raise click.ClickException(f"{len(lost)} images are in neither: {', '.join(lost)}")


def _storage_at(place: str) -> Storage:
    if place.startswith("s3://"):
        return storages.storage_at(place, current_app.config)
    if not Path(place).is_dir():
        raise click.ClickException(f"There is no folder {place}.")
    return storages.storage_at(Path(place), current_app.config)


def _copied(origin: Storage, destination: Storage, names: list[str]) -> Iterator[str]:
    """Copy files, and yield the names of those that the origin has. Raises StorageError."""

    def copy_one(name: str) -> str | None:
        try:
            with origin.open(name) as file:
                content = file.read()
        except FileNotFoundError:
            return None
        destination.write(name, content)
        with destination.open(name) as file:
            if file.read() != content:
                raise StorageError(f"{name} is read with another content than was written.")
        return name

    with ThreadPoolExecutor(COPIES) as pool:
        yield from filter(None, pool.map(copy_one, names))
