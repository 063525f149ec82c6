"""Files that go with a transaction: gone again if it is rolled back, and deleted only once it has committed."""

import os
from contextlib import suppress
from pathlib import Path

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.core.db.unit_of_work import db
from app.core.errors import Unavailable

log = structlog.get_logger()


class StorageUnavailable(Unavailable):
    reason, message = "storage_unavailable", "The file cannot be stored: the disk is full or cannot be written."


def store(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all, on the disk before the transaction that is going on commits.

    Raises StorageUnavailable.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        for left in (part, path):
            _delete(left)
        log.error("file_not_stored", file=path.name, error=repr(error))
        raise StorageUnavailable() from None
    db.session.info.setdefault("stored_files", []).append(path)


def drop(path: Path) -> None:
    """Delete a file once the transaction that is going on has committed."""
    db.session.info.setdefault("dropped_files", []).append(path)


def _sync_directory(directory: Path) -> None:
    """Make a file's name durable too."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete(path: Path) -> None:
    # What cannot be deleted now is found by whoever looks for what nobody needs.
    with suppress(OSError):
        path.unlink(missing_ok=True)


@event.listens_for(Session, "after_commit")
def _keep_stored(session: Session) -> None:
    session.info.pop("stored_files", None)
    for path in session.info.pop("dropped_files", ()):
        _delete(path)


@event.listens_for(Session, "after_rollback")
def _delete_stored(session: Session) -> None:
    session.info.pop("dropped_files", None)
    for path in session.info.pop("stored_files", ()):
        _delete(path)
