"""Verification of a backup without a change to anything: hashes, database, images, and the audit log."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from app.assets import image_store
from app.backup import manifest, scratch
from app.backup.creation import count_rows
from app.backup.manifest import CHECKPOINTS, DATABASE, UPLOADS, Manifest, NoBackup
from app.core.db import schema
from app.core.db.unit_of_work import reading
from app.proof.report import Report
from app.proof.sealer import CannotSeal, verifier_keys
from app.proof.verification import verify


class AnotherKey(NoBackup):
    """The settings hold none of the keys that have signed the audit log of the backup."""


@contextmanager
def unpacked(folder: Path, read: Manifest, beside: Path | None = None) -> Iterator[Path]:
    """Open a copy of the backup's database as the current application, at the schema of this version.

    The copy is in the folder `beside`, else among the temporary files, and goes at the end. Raises NoBackup.
    """
    if read.revision not in schema.known_revisions():
        raise NoBackup(f"The backup is of version {read.version}, which is newer: restore it with that version.")
    with tempfile.TemporaryDirectory(prefix=".itam-backup-", dir=beside) as directory:
        path = Path(directory) / DATABASE
        shutil.copyfile(folder / DATABASE, path)
        checkpoints = shutil.copytree(folder / CHECKPOINTS, Path(directory) / CHECKPOINTS)
        with scratch.opened(path, checkpoints):
            if read.revision != schema.newest_revision():
                schema.upgrade()
            yield path


def check_files(folder: Path) -> Manifest:
    """The manifest of a backup whose files are what it says; raises NoBackup with everything that is not."""
    read = manifest.read(folder)
    if differences := list(manifest.differences(folder, read)):
        raise NoBackup("\n".join(differences))
    return read


def check_content(folder: Path, read: Manifest) -> Report:
    """Verify the database that is open: rows, images and the audit log. Raises NoBackup."""
    with scratch.reading_connection() as connection:
        if connection.scalar(sa.text("PRAGMA integrity_check")) != "ok":
            raise NoBackup(f"{DATABASE} is damaged.")
        if count_rows(connection) != read.counts and read.revision == schema.newest_revision():
            raise NoBackup(f"{DATABASE} has other rows than the manifest says.")
        _, shown = image_store.names_in(connection)
    lost = sorted(name for name in shown if not (folder / UPLOADS / name).exists() and name not in read.missing)
    if lost:
        raise NoBackup(f"Images are missing: {', '.join(lost)}")
    require_key(read)
    return verify()


def require_key(read: Manifest) -> None:
    """Raise AnotherKey unless the settings hold the key that last signed the audit log of the backup."""
    try:
        with reading():
            own = {str(key) for key in verifier_keys()}
    except CannotSeal as error:
        raise NoBackup(str(error)) from None
    if read.keys[0] not in own:
        raise AnotherKey(
            "The audit log of the backup is signed by another key: set AUDIT_KEY (or SECRET_KEY, where there is none) "
            "to that of the installation that made it, or put it into AUDIT_KEYS_BEFORE."
        )
