"""The storage of uploaded files that the settings name: the bucket of STORAGE_URL, else the folder UPLOAD_DIR.

Several machines need a bucket, or a folder that all of them share. The address of a bucket is a setting of the
administrator and no input of users, so it may be in a private network: the policy for outgoing requests, which keeps
users from reaching into it, does not apply.
"""

import secrets
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import structlog
from flask import Flask, current_app

from app.core.storage.folder import Folder
from app.core.storage.protocol import Storage, StorageError, WrongSettings

log = structlog.get_logger()


def init_app(app: Flask) -> None:
    app.extensions["storage"] = storage_at(app.config["STORAGE_URL"] or app.config["UPLOAD_DIR"], app.config)


def storage() -> Storage:
    """The storage of the current application."""
    current: Storage = current_app.extensions["storage"]
    return current


def storage_at(place: str | Path, config: Mapping[str, Any]) -> Storage:
    """The storage at s3://bucket/prefix, with the credentials of the settings, or in a folder."""
    if isinstance(place, Path):
        return Folder(place)
    from app.core.storage.s3 import S3Bucket  # noqa: PLC0415 - obstore is optional, and takes 9 MB of memory

    return S3Bucket(place, config)


def settings_problem() -> str | None:
    """Why a storage will not work with these settings; None if they do, or if only time can tell."""
    checkpoints = current_app.config["AUDIT_CHECKPOINTS"]
    try:
        check(storage())
        if isinstance(checkpoints, str):
            # Its account may be one that must not delete, so nothing is written to try.
            next(storage_at(checkpoints, current_app.config).names(), None)
    except WrongSettings as error:
        return str(error)
    except StorageError as error:
        log.warning("storage_away", error=str(error))
    return None


def names_beginning(used: Storage, begin: str) -> Iterator[str]:
    """The names of the files that begin so, in lexical order."""
    return takewhile(lambda name: name.startswith(begin), used.names(begin))


def check(used: Storage) -> None:
    """Write, list, read and delete a file; raises StorageError, or WrongSettings with what to change."""
    name, content = f"check-{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        used.write(name, content)
        next(used.names())
        with used.open(name) as file:
            if file.read() != content:
                raise StorageError("A file was read with another content than it was written with.")
    except FileNotFoundError:
        raise StorageError("A file that was just written could not be read.") from None
    used.delete([name])
