"""Transactional files: a stored file is deleted on rollback, a dropped file after the commit."""

from collections.abc import Collection
from typing import BinaryIO

import structlog

from app.core.db.endings import after_commit, after_rollback
from app.core.errors import Unavailable
from app.core.messages import tr
from app.core.storage.protocol import StorageError
from app.core.storage.storage import storage

log = structlog.get_logger()


class StorageUnavailable(Unavailable):
    reason, message = "storage_unavailable", tr("Files cannot be stored or read at the moment: the storage fails.")


def store(name: str, content: bytes) -> None:
    """Write a new file atomically and durably, before the current transaction commits.

    Raises StorageUnavailable.
    """
    try:
        storage().write(name, content)
    except StorageError as error:
        log.error("file_not_stored", file=name, error=str(error))
        raise StorageUnavailable() from None
    after_rollback(_delete, name)


def read(name: str) -> BinaryIO:
    """The content of a file; raises FileNotFoundError and StorageUnavailable."""
    try:
        return storage().open(name)
    except StorageError as error:
        log.error("file_not_read", file=name, error=str(error))
        raise StorageUnavailable() from None


def drop(name: str) -> None:
    """Delete a file after the commit of the current transaction."""
    after_commit(_delete, name)


def _delete(names: Collection[str]) -> None:
    try:
        storage().delete(names)
    except StorageError as error:
        # The job that deletes unneeded files finds it later.
        log.warning("file_not_deleted", files=len(names), error=str(error))
