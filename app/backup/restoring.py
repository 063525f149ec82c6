"""Restoring a backup: into an empty database, or in place of one that is named."""

import os
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from flask import Flask, current_app

from app.backup import copying, manifest, scratch
from app.backup.checking import check_content, check_files, unpacked
from app.backup.manifest import CHECKPOINTS, UPLOADS, Manifest
from app.core.audit.shared_heads import audit_storage
from app.core.cache.generations import cache, generations_of_app
from app.core.db import schema
from app.core.db.dialects.registry import current_dialect
from app.core.db.unit_of_work import db, writing
from app.core.storage.storage import storage
from app.proof.outside.copying import to_objects
from app.proof.report import Status

_FILLED_BY_MIGRATIONS = {"audit_origin"}


class CannotRestore(Exception):
    """A backup is not restored; the message says why. Nothing was changed."""


def restore_backup(folder: Path, *, replace: str | None) -> Manifest:
    """Restore a backup; `replace` is the name of the database whose data is given up for it.

    Raises CannotRestore, NoBackup, SQLAlchemyError and OSError.
    """
    target: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    _require_consent(replace)
    read = check_files(folder)
    is_file = current_dialect().is_file
    database = Path(db.engine.url.database or "")
    with unpacked(folder, read, beside=database.parent if is_file else None) as path:
        report = check_content(folder, read)
        if report.status is not Status.INTACT:
            lines = "\n".join(report.lines())
            raise CannotRestore(f"The audit log of the backup does not verify:\n{lines}")
        if is_file:
            with writing():
                copying.finish(write_derived=read.source != current_dialect().name)
            db.session.remove()
        copied = db.engine
        with target.app_context():
            _require_no_user()
            _restore_images(folder)
            if not is_file:
                _load(copied)
        if is_file:
            db.engine.dispose()
            _put_in_place(path, database)
    _restore_checkpoints(folder, read.log)
    if current_app.config["REDIS_URL"]:
        cache.clear()
    generations_of_app().renew()
    return read


def name_of_database() -> str:
    """The name by which a person names the database: that of the file on SQLite."""
    return Path(db.engine.url.database or "").name


def _require_consent(replace: str | None) -> None:
    name = name_of_database()
    if replace not in (None, name):
        raise CannotRestore(f"The database is {name}, not {replace}.")
    if replace is None and (filled := _filled_tables()):
        raise CannotRestore(
            f"The database {name} has data ({', '.join(filled[:3])}): --replace {name} gives it up for the backup."
        )


def _filled_tables() -> list[str]:
    if current_dialect().is_file and not Path(db.engine.url.database or "").exists():
        return []
    with scratch.reading_connection() as connection:
        existing = set(sa.inspect(connection).get_table_names())
        return [
            table.name
            for table in scratch.tables()
            if table.name in existing - _FILLED_BY_MIGRATIONS
            and connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
        ]


def _require_no_user() -> None:
    """Refuse to replace a database that a running platform uses; raises CannotRestore."""
    db.session.remove()
    db.engine.dispose()
    if current_dialect().connections.is_in_use(db.engine):
        raise CannotRestore(f"The database {name_of_database()} is in use: stop the server and the workers first.")


def _load(copied: sa.Engine) -> None:
    """Replace the rows of the database by those of another one, in one transaction."""
    with scratch.reading_connection() as connection:
        revision = schema.revision_of(connection)
    if revision is None:
        schema.upgrade()
    elif revision != schema.newest_revision():
        raise CannotRestore("The schema of the database is not that of this version: run `flask db upgrade`.")
    with copied.connect().execution_options(access="read") as source, writing():
        copying.load(source, copying.last_numbers(source))
        copying.finish(write_derived=True)


def _put_in_place(path: Path, database: Path) -> None:
    """Replace the file of SQLite, whose last connection has written its write-ahead log into it."""
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{database}{suffix}")
    os.replace(path, database)


def _restore_images(folder: Path) -> None:
    """Images have random names: those of other backups stay beside them."""
    existing = set(storage().names())
    for path in sorted((folder / UPLOADS).iterdir()):
        if path.name not in existing:
            storage().write(path.name, path.read_bytes())


def _restore_checkpoints(folder: Path, log: str) -> None:
    """Restore the checkpoints into a place that has none of this log; others are evidence, and stay."""
    if shared := audit_storage():
        to_objects(folder / CHECKPOINTS, shared, log)
        return
    checkpoints: Path = current_app.config["AUDIT_CHECKPOINTS"]
    for path in sorted((folder / CHECKPOINTS).iterdir()):
        if not (checkpoints / path.name).exists():
            with path.open("rb") as file:
                manifest.copy(file, checkpoints / path.name)
