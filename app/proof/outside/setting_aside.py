"""Checkpoints and noted events that are set aside as evidence, in a folder or under names of their own."""

import os
from pathlib import Path

from flask import current_app

from app.core.audit.shared_heads import audit_storage
from app.core.storage.protocol import Storage
from app.core.storage.storage import names_beginning
from app.core.values import utcnow
from app.proof.outside.checkpoint_objects import SET_ASIDE


def new_label() -> str:
    """The prefix of the names of checkpoints that are set aside now."""
    return f"{SET_ASIDE}{utcnow():%Y%m%dT%H%M%SZ}"


def set_aside(label: str) -> str:
    """Set everything aside that is beside the database, and return where it is now. Raises OSError."""
    if storage := audit_storage():
        for name in [name for name in storage.names() if not name.startswith(SET_ASIDE)]:
            _rename(storage, name, f"{label}.{name}")
        return f"{current_app.config['AUDIT_CHECKPOINTS']}/{label}.*"
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    (folder / label).mkdir(mode=0o700)
    _move_files(folder, folder / label)
    return str(folder / label)


def bring_back(label: str) -> None:
    """Undo `set_aside`. Raises OSError."""
    if storage := audit_storage():
        for name in list(names_beginning(storage, f"{label}.")):
            _rename(storage, name, name.removeprefix(f"{label}."))
        return
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    _move_files(folder / label, folder)
    (folder / label).rmdir()


def _move_files(source: Path, target: Path) -> None:
    for path in [path for path in source.iterdir() if path.is_file()]:
        os.replace(path, target / path.name)


def _rename(storage: Storage, name: str, new_name: str) -> None:
    with storage.open(name) as file:
        storage.write(new_name, file.read())
    storage.delete([name])
