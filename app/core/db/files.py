"""Transactional files: a stored file is deleted on rollback, a dropped file after the commit."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from app.core.db.unit_of_work import after_commit, after_rollback
from app.core.errors import Unavailable
from app.core.messages import tr

log = structlog.get_logger()


class StorageUnavailable(Unavailable):
    reason, message = "storage_unavailable", tr("The file cannot be stored: the disk is full or cannot be written.")


def store(path: Path, content: bytes) -> None:
    """Write a new file atomically and durably, before the current transaction commits.

    Raises StorageUnavailable.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        _delete([part, path])
        log.error("file_not_stored", file=path.name, error=repr(error))
        raise StorageUnavailable() from None
    after_rollback(_delete, path)


def drop(path: Path) -> None:
    """Delete a file after the commit of the current transaction."""
    after_commit(_delete, path)


def sync_directory(directory: Path) -> None:
    """Make the file's directory entry durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        # A file that cannot be deleted now is found later by the job that deletes unneeded ones.
        with suppress(OSError):
            path.unlink(missing_ok=True)
