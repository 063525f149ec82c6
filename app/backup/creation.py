"""Making a backup while the platform runs.

Order matters. The files of checkpoints are copied before the database, because a verification reports a file that is
ahead of it; then they get the checkpoints that only the copy of the database has, because the log was sealed meanwhile.
Images are copied before and after: one that is added meanwhile is found afterwards, one that is replaced was there
before.
"""

import fcntl
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa
from flask import current_app

from app.assets import image_store
from app.backup import copying, manifest, scratch
from app.backup.manifest import CHECKPOINTS, DATABASE, SECRETS, UPLOADS, Manifest
from app.core.audit.shared_heads import audit_storage
from app.core.db import schema
from app.core.db.dialects.registry import current_dialect
from app.core.db.unit_of_work import db, reading, writing
from app.core.storage.folder import sync_directory
from app.core.storage.storage import storage
from app.core.values import as_json, utcnow
from app.proof.outside.copying import to_files
from app.proof.sealer import CannotSeal, log_name, verifier_keys, write_checkpoint_file
from app.proof.verification import snapshot
from app.version import VERSION

ATTEMPTS = 3
"""How often the database is copied where an image was replaced between the two copies of the images."""
SECRETS_NEEDED = {
    "SECRET_KEY": "signs the audit log unless AUDIT_KEY is set, and encrypts waiting mail",
    "JWT_SECRET_KEY": "signs the tokens of sessions: another one signs everybody out",
    "AUDIT_KEY": "signs the audit log",
    "AUDIT_KEYS_BEFORE": "verifies what earlier keys have signed",
}


class CannotBackUp(Exception):
    """A backup cannot be made; the message says why."""


def create(folder: Path, *, with_secrets: bool) -> Manifest:
    """Write a backup into a new folder, which has its name only when it is complete.

    Raises CannotBackUp, SQLAlchemyError and OSError.
    """
    if folder.exists():
        raise CannotBackUp(f"{folder} exists already: name a new folder.")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    draft.mkdir(mode=0o700, parents=True)
    try:
        written = _write(draft, with_secrets=with_secrets)
        os.replace(draft, folder)
        sync_directory(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return written


def _write(draft: Path, *, with_secrets: bool) -> Manifest:
    started_at = as_json(utcnow())
    with reading():
        log, keys = log_name(), [str(key) for key in verifier_keys()]
    _copy_checkpoints(log, draft / CHECKPOINTS)
    _copy_images(draft / UPLOADS)
    for _ in range(ATTEMPTS):
        (draft / DATABASE).unlink(missing_ok=True)
        revision, counts, known, shown = _copy_database(draft / DATABASE)
        _copy_images(draft / UPLOADS, known)
        missing = sorted(name for name in shown if not (draft / UPLOADS / name).exists())
        if not missing:
            break
    for image in (draft / UPLOADS).glob("*"):
        # Uploaded since the copy of the database.
        if image.name not in known:
            image.unlink()
    secrets = {name: use for name, use in SECRETS_NEEDED.items() if current_app.config[name]}
    if with_secrets:
        _write_secrets(draft / SECRETS, secrets)
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    result = Manifest(
        version=VERSION,
        revision=revision,
        source=current_dialect().name,
        log=log,
        keys=keys,
        started_at=started_at,
        counts=counts,
        files={str(path.relative_to(draft)): manifest.describe(path) for path in files},
        missing=missing,
        secrets=secrets,
    )
    result.write(draft)
    for directory in {draft, *(path.parent for path in files)}:
        sync_directory(directory)
    return result


def _copy_database(path: Path) -> tuple[str, dict[str, int], set[str], set[str]]:
    """Copy one moment of the database into a file of SQLite.

    Returns the revision of its schema, the rows of each table, and the names of its images: all, and those shown.
    """
    if current_dialect().is_file:
        _copy_file(path)
    else:
        _copy_rows(path)
    with (
        scratch.opened(path, path.parent / CHECKPOINTS),
        scratch.reading_connection() as connection,
    ):
        # A damaged file is evidence: it is backed up as it is.
        with suppress(CannotSeal):
            write_checkpoint_file()
        revision = schema.revision_of(connection) or ""
        return revision, count_rows(connection), *image_store.names_in(connection)


def count_rows(connection: sa.Connection) -> dict[str, int]:
    return {
        str(table.name): connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        for table in scratch.tables()
    }


def _copy_file(path: Path) -> None:
    with scratch.reading_connection() as connection, closing(sqlite3.connect(path)) as target:
        # All pages in one step: the copy is of one moment, and the write-ahead log lets others write meanwhile.
        connection.connection.driver_connection.backup(target)  # type: ignore[union-attr]


def _copy_rows(path: Path) -> None:
    with snapshot() as source, scratch.opened(path, path.parent / CHECKPOINTS):
        schema.upgrade()
        with writing():
            copying.load(source, copying.last_numbers(source))


def _copy_checkpoints(log: str, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if shared := audit_storage():
        to_files(shared, log, folder)
        return
    checkpoints: Path = current_app.config["AUDIT_CHECKPOINTS"]
    for path in checkpoints.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                # Their writers hold it exclusively.
                fcntl.flock(file, fcntl.LOCK_SH)
                manifest.copy(file, folder / path.name)


def _copy_images(folder: Path, names: set[str] | None = None) -> None:
    """Copy those of the images that the folder does not have yet."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if names is None:
        with reading():
            names, _ = image_store.names_in(db.session.connection())
    for name in names:
        if (folder / name).exists():
            continue
        try:
            with storage().open(name) as file:
                manifest.copy(file, folder / name)
        except FileNotFoundError:
            # Its upload is under way, it was replaced since, or the file was deleted by hand.
            continue


def _write_secrets(path: Path, names: dict[str, str]) -> None:
    path.touch(mode=0o600)
    with path.open("w") as file:
        for name in names:
            value = current_app.config[name]
            file.write(f"{name}={value if isinstance(value, str) else ','.join(value)}\n")
