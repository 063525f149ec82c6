"""The newest event of each chain, noted in a file outside the database after every commit.

Whoever rules the database can delete the newest events of a chain and shorten the chain to match. This file, beside
the checkpoints, shows it, also before the events are sealed. It is one JSON object: `{"<chain>": [<number>, "<mac>"]}`.
"""

import fcntl
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog
from flask import current_app

log = structlog.get_logger()


class Head(NamedTuple):
    """The last event of a chain of a log."""

    log: str
    chain: int
    number: int
    mac: str


class DamagedHeads(Exception):
    """The file is not what `note` writes."""


def heads_path(log_name: str) -> Path:
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    return folder / f"{log_name.replace('/', '-')}.events.json"


def note(heads: Collection[Head]) -> None:
    """Note events of one log that were committed; a later event that another process has noted stays.

    A file that cannot be written is logged: the events are committed. It is not synchronised to the disk, because a
    verification finds only a file that is ahead of the database, and never one behind it.
    """
    try:
        file = os.open(heads_path(next(iter(heads)).log), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            noted = _parse(os.pread(file, os.fstat(file).st_size, 0))
            for _, chain, number, mac in heads:
                if number > noted.get(chain, (0, ""))[0]:
                    noted[chain] = (number, mac)
            content = orjson.dumps(noted, option=orjson.OPT_NON_STR_KEYS)
            os.pwrite(file, content, 0)
            os.ftruncate(file, len(content))
        finally:
            os.close(file)
    except (OSError, DamagedHeads) as error:
        log.warning("event_heads_not_written", error=repr(error))


def read(log_name: str) -> list[Head]:
    """The heads that were noted, none if there is no file; raises DamagedHeads."""
    try:
        with heads_path(log_name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            noted = _parse(file.read())
    except FileNotFoundError:
        return []
    return [Head(log_name, chain, number, mac) for chain, (number, mac) in noted.items()]


def _parse(content: bytes) -> dict[int, tuple[int, str]]:
    if not content:
        return {}
    try:
        return {int(chain): (int(number), str(mac)) for chain, (number, mac) in orjson.loads(content).items()}
    except (ValueError, AttributeError, TypeError):
        raise DamagedHeads("The file is not what this platform has written.") from None
