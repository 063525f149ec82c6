"""The newest event of each chain, noted in a bucket: each process writes an object of its own, readers take the latest.

A commit does not wait for the bucket: a thread writes what changed, at most once in PAUSE_SECONDS. Until then a
deletion of these events is not noticed; once they are sealed, the checkpoints show it. So an object is needed for some
seconds only; its name has the day on which it was last written.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import date

import orjson
import structlog
from flask import Flask, current_app

from app.core.process_end import at_process_end
from app.core.storage.protocol import Storage, StorageError
from app.core.storage.storage import names_beginning, storage_at
from app.core.values import utcnow

logger = structlog.get_logger()

PAUSE_SECONDS = 1.0

Heads = dict[int, tuple[int, str]]
"""The number and the MAC of the last event of each chain."""


def init_app(app: Flask) -> None:
    place = app.config["AUDIT_CHECKPOINTS"]
    app.extensions["audit_storage"] = storage_at(place, app.config) if isinstance(place, str) else None
    if storage := app.extensions["audit_storage"]:
        app.extensions["shared_heads"] = SharedHeads(storage)


def audit_storage() -> Storage | None:
    """The bucket of AUDIT_CHECKPOINTS; None if that is a folder."""
    storage: Storage | None = current_app.extensions["audit_storage"]
    return storage


def shared_heads() -> "SharedHeads | None":
    """The notes in that bucket; None if they are in a folder."""
    heads: SharedHeads | None = current_app.extensions.get("shared_heads")
    return heads


class SharedHeads:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._noted: dict[str, Heads] = {}
        self._changed = False
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pid = 0
        self._name = ""

    def note(self, log_name: str, heads: Mapping[int, tuple[int, str]]) -> None:
        """Have these events noted soon; a later one of the same chain stays."""
        with self._lock:
            merge(self._noted.setdefault(log_name, {}), heads)
            self._changed = True
            if self._pid != os.getpid():
                # The first event of this process, whose parent has an object and a thread of its own.
                self._pid, self._writer = os.getpid(), None
                self._name = f"{socket.gethostname()}-{self._pid}-{secrets.token_hex(4)}"
                at_process_end(self.write)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_until_done, name="event-heads", daemon=True)
                self._writer.start()

    def write(self) -> None:
        """Write what this process has noted. A bucket that fails is logged: the events are committed."""
        with self._lock:
            contents = {log: orjson.dumps(heads, option=orjson.OPT_NON_STR_KEYS) for log, heads in self._noted.items()}
            is_changed, self._changed = self._changed, False
        try:
            for log_name, content in contents.items() if is_changed else ():
                self._storage.write(f"{prefix(log_name)}{utcnow():%Y%m%d}-{self._name}.json", content)
        except StorageError as error:
            logger.warning("event_heads_not_written", error=str(error))
            self._changed = True

    def _write_until_done(self) -> None:
        while True:
            self.write()
            time.sleep(PAUSE_SECONDS)
            with self._lock:
                if not self._changed:
                    self._writer = None
                    return

    def read(self, log_name: str) -> Iterator[bytes]:
        """The contents of the objects of all processes. Raises StorageError."""
        for name in self.names(log_name):
            try:
                with self._storage.open(name) as file:
                    yield file.read()
            except FileNotFoundError:
                continue

    def names(self, log_name: str) -> Collection[str]:
        return list(names_beginning(self._storage, prefix(log_name)))

    def delete_before(self, log_name: str, day: date) -> None:
        """Delete the objects that were last written before a day. Raises StorageError."""
        limit = f"{prefix(log_name)}{day:%Y%m%d}"
        self._storage.delete([name for name in self.names(log_name) if name < limit])


def merge(noted: Heads, heads: Mapping[int, tuple[int, str]]) -> None:
    """Merge heads into others: of each chain, the later one stays."""
    for chain, (number, mac) in heads.items():
        if number > noted.get(chain, (0, ""))[0]:
            noted[chain] = (number, mac)


def prefix(log_name: str) -> str:
    return f"{log_name.replace('/', '-')}.events-"
